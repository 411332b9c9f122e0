"""What the modules beside this one have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from functools import partial, wraps
from typing import Any, Self, TypeVar

from ioring.files.opening import Opening

_T = TypeVar("_T")
_Class = TypeVar("_Class", bound=type)


def wrap(function: Callable[..., _T]) -> Callable[..., Coroutine[Any, Any, _T]]:
    """A blocking function as a coroutine function: it is called in an executor."""

    @wraps(function)
    async def run(
        *args: Any,
        loop: asyncio.AbstractEventLoop | None = None,
        executor: Executor | None = None,
        **kwargs: Any,
    ) -> _T:
        if loop is None:
            loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, partial(function, *args, **kwargs))

    return run


def adopt(function: Callable[..., Awaitable[_T]]) -> Callable[..., Coroutine[Any, Any, _T]]:
    """A coroutine function that takes ``loop`` and ``executor`` as well, and does without."""

    @wraps(function)
    async def run(
        *args: Any,
        loop: asyncio.AbstractEventLoop | None = None,
        executor: Executor | None = None,
        **kwargs: Any,
    ) -> _T:
        return await function(*args, **kwargs)

    return run


class AiofilesContextManager(Opening[_T]):
    """What ``open`` and the like return: awaited, or entered with ``async with``, it gives the file."""

    __slots__ = ()


class AsyncBase:
    """A blocking file whose methods are called in an executor: for files without a descriptor, such as StringIO."""

    def __init__(
        self, file: Any, loop: asyncio.AbstractEventLoop | None = None, executor: Executor | None = None
    ) -> None:
        self._file = file
        self._ref_loop = loop
        self._executor = executor

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._ref_loop or asyncio.get_running_loop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def __repr__(self) -> str:
        return f"{super().__repr__()} wrapping {self._file!r}"

    def __getattr__(self, name: str) -> Any:
        # What does not wait: closed, name, fileno(), ...
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._file, name)


def in_executor(*names: str) -> Callable[[_Class], _Class]:
    """Gives a class methods that call those of its ``_file`` in the executor."""

    def add(cls: _Class) -> _Class:
        for name in names:
            setattr(cls, name, _method(name))
        return cls

    return add


def _method(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = partial(getattr(self._file, name), *args, **kwargs)
        return await self._loop.run_in_executor(self._executor, call)

    method.__name__ = name
    return method
