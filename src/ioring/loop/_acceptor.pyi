from collections.abc import Callable
from contextvars import Context
from typing import Any

from ioring.loop._core import LoopCore

class Acceptor:
    def __init__(
        self,
        loop: LoopCore,
        sock: Any,
        factory: Callable[[], Any],
        wrap: Callable[[int, bool, Any, Context, Any], None] | None,
        server: Any,
        backlog: int,
        context: Context | None,
        shared: bool,
    ) -> None: ...
    def share(self) -> None: ...
    def leave(self) -> bool: ...
    def stop(self) -> None: ...
