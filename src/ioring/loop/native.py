"""Coroutines for tasks, as ``python -m asyncio ps`` can read them (Python 3.14 and later).

That command reads the memory of another process, and takes what a task runs for a coroutine of the interpreter's own.
One that is compiled looks different, and the command then fails for the whole process.
"""

import sys
from collections.abc import Awaitable, Coroutine
from types import CoroutineType, GeneratorType
from typing import Any

READ_BY_OTHERS = sys.version_info >= (3, 14)
NATIVE: tuple[type, ...] = (CoroutineType, GeneratorType)


class Once:
    """A coroutine that is closed when its task ended before the first step, as asyncio does with the task's own."""

    __slots__ = ("begun", "coroutine")

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine
        self.begun = False

    def __await__(self) -> Any:
        self.begun = True
        return self.coroutine.__await__()

    def __del__(self) -> None:
        if not self.begun:
            self.coroutine.close()


async def wrapped(awaitable: Awaitable[Any]) -> Any:
    """A coroutine of the interpreter's own that only awaits this."""
    return await awaitable


def native(coroutine: Any) -> Any:
    """The coroutine for a task, by the same name; what is no coroutine at all stays as it is, and asyncio says so."""
    if type(coroutine) in NATIVE or not isinstance(coroutine, Coroutine):
        return coroutine
    result: Any = wrapped(Once(coroutine))
    result.__name__ = getattr(coroutine, "__name__", type(coroutine).__name__)
    result.__qualname__ = getattr(coroutine, "__qualname__", type(coroutine).__qualname__)
    return result


def original(coroutine: Any) -> Any:
    """What wrapped() was given."""
    if type(coroutine) is CoroutineType and coroutine.cr_code is wrapped.__code__ and coroutine.cr_frame is not None:
        return coroutine.cr_frame.f_locals["awaitable"]
    return coroutine
