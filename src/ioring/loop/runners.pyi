import asyncio
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

from ioring.loop.event_loop import Loop

_T = TypeVar("_T")

def new_event_loop() -> Loop: ...
def run(
    main: Coroutine[Any, Any, _T], *, debug: bool | None = None, fallback: Literal["asyncio"] | None = None
) -> _T: ...

class EventLoopPolicy(asyncio.DefaultEventLoopPolicy): ...
