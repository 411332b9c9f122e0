from contextvars import Context
from typing import Any

from ioring.loop._core import LoopCore

# asyncio's transport classes say what a transport has.
def stream_of_socket(
    loop: LoopCore,
    sock: Any,
    protocol: Any,
    waiter: Any,
    extra: dict[str, Any] | None,
    server: Any,
    context: Context | None,
) -> Any: ...
def stream_of_descriptor(
    loop: LoopCore, fd: int, direct: bool, protocol: Any, context: Context, server: Any
) -> Any: ...
