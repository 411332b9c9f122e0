"""What the modules beside this one have in common."""

import asyncio
from functools import partial, wraps

from ioring.files.opening import Opening


def wrap(function):
    """A blocking function as a coroutine function: it is called in an executor."""

    @wraps(function)
    async def run(*args, loop=None, executor=None, **kwargs):
        if loop is None:
            loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, partial(function, *args, **kwargs))

    return run


def adopt(function):
    """A coroutine function that takes ``loop`` and ``executor`` as well, and does without."""

    @wraps(function)
    async def run(*args, loop=None, executor=None, **kwargs):
        return await function(*args, **kwargs)

    return run


class AiofilesContextManager(Opening):
    """What ``open`` and the like return: awaited, or entered with ``async with``, it gives the file."""

    __slots__ = ()


class AsyncBase:
    """A blocking file whose methods are called in an executor: for files without a descriptor, such as StringIO."""

    def __init__(self, file, loop=None, executor=None):
        self._file = file
        self._ref_loop = loop
        self._executor = executor

    @property
    def _loop(self):
        return self._ref_loop or asyncio.get_running_loop()

    def __aiter__(self):
        return self

    async def __anext__(self):
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def __repr__(self):
        return f"{super().__repr__()} wrapping {self._file!r}"

    def __getattr__(self, name):
        # What does not wait: closed, name, fileno(), ...
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._file, name)


def in_executor(*names):
    """Gives a class methods that call those of its ``_file`` in the executor."""

    def add(cls):
        for name in names:
            setattr(cls, name, _method(name))
        return cls

    return add


def _method(name):
    async def method(self, *args, **kwargs):
        call = partial(getattr(self._file, name), *args, **kwargs)
        return await self._loop.run_in_executor(self._executor, call)

    method.__name__ = name
    return method
