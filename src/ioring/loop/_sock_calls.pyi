from collections.abc import Awaitable, Callable
from typing import Any

from ioring.loop._leftovers import Leftovers

class SocketCalls(Leftovers):
    # Hooks.
    async def _by_module(
        self, sock: Any, until_ready: Callable[[int], Awaitable[None]], method: str, *arguments: Any
    ) -> Any: ...
    async def _until_readable(self, fd: int) -> None: ...
    async def _until_writable(self, fd: int) -> None: ...

def connect(loop: SocketCalls, sock: Any, name: bytes, address: Any) -> Awaitable[None]: ...
