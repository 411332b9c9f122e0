"""Coroutines for tasks, as ``python -m asyncio ps`` can read them (Python 3.14 and later).

That command reads the memory of another process, and takes what a task runs for a coroutine of the interpreter's own.
One that is compiled looks different, and the command then fails for the whole process.
"""

import sys
from collections.abc import Coroutine
from types import CoroutineType, GeneratorType
from typing import Any

READ_BY_OTHERS = sys.version_info >= (3, 14)
NATIVE: tuple[type, ...] = (CoroutineType, GeneratorType)


class _Start:
    """Awaited, it lets its coroutine wait once, for whoever goes on with it."""

    def __await__(self) -> Any:
        yield


START = _Start()


async def _wrapped(awaitable: Any) -> Any:
    try:
        await START
    except GeneratorExit:
        awaitable.close()
        raise
    except BaseException as error:
        # The task was cancelled before its first step. A coroutine that has not begun raises what is thrown into it.
        try:
            awaitable.throw(error)
        except StopIteration as stop:
            return stop.value
        raise
    return await awaitable


def wrapped(awaitable: Any) -> Any:
    """A coroutine of the interpreter's own that only awaits this.

    It has begun already, so that it can pass on what a task throws into it before the first step.
    """
    result = _wrapped(awaitable)
    result.send(None)
    return result


def native(coroutine: Any) -> Any:
    """The coroutine for a task, by the same name; what is no coroutine at all stays as it is, and asyncio says so."""
    if type(coroutine) in NATIVE or not isinstance(coroutine, Coroutine):
        return coroutine
    result: Any = wrapped(coroutine)
    result.__name__ = getattr(coroutine, "__name__", type(coroutine).__name__)
    result.__qualname__ = getattr(coroutine, "__qualname__", type(coroutine).__qualname__)
    return result


def original(coroutine: Any) -> Any:
    """What wrapped() was given."""
    if type(coroutine) is CoroutineType and coroutine.cr_code is _wrapped.__code__ and coroutine.cr_frame is not None:
        return coroutine.cr_frame.f_locals["awaitable"]
    return coroutine
