"""Temporary files and folders that are more than a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from ioring.aiofiles.base import AsyncBase, in_executor
from ioring.aiofiles.threadpool import KINDS
from ioring.files import opening as files


class AsyncSpooledTemporaryFile(AsyncBase):
    """A ``tempfile.SpooledTemporaryFile``: in memory at first. Its contents go to a file in the executor; from then on
    it is read and written without threads."""

    def __init__(
        self,
        file: Any,
        newline: str | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(file, loop, executor)
        self._newline = newline
        self._opened: Any = None

    def _current(self) -> Any:
        """The asynchronous file, once there is a file."""
        if self._opened is None and self._file._rolled:
            self._opened = files.wrap(self._file._file, newline=self._newline, kinds=KINDS, ours=True)
        return self._opened

    async def _do(self, name: str, *arguments: Any) -> Any:
        opened = self._current()
        if opened is not None:
            return await getattr(opened, name)(*arguments)
        return getattr(self._file._file, name)(*arguments)

    async def _written(self, name: str, data: Any) -> Any:
        result = await self._do(name, data)
        file = self._file
        if not file._rolled and file._max_size and file._file.tell() > file._max_size:
            await self.rollover()
        return result

    async def rollover(self) -> None:
        """Goes to a file now."""
        if not self._file._rolled:
            await self._loop.run_in_executor(self._executor, self._file.rollover)

    async def fileno(self) -> int:
        """The descriptor; there is one from now on."""
        await self.rollover()
        fd: int = self._current().fileno()
        return fd

    async def write(self, data: Any) -> int:
        count: int = await self._written("write", data)
        return count

    async def writelines(self, lines: Iterable[Any]) -> None:
        await self._written("writelines", lines)

    async def truncate(self, size: int | None = None) -> int:
        if size is not None and size > self._file._max_size > 0:
            await self.rollover()
        length: int = await self._do("truncate", size)
        return length

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        opened = self._current()
        if opened is not None and name != "softspace":
            return getattr(opened, name)
        return getattr(self._file, name)


def _method(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def method(self: AsyncSpooledTemporaryFile, *arguments: Any) -> Any:
        return await self._do(name, *arguments)

    method.__name__ = name
    return method


for _name in ("close", "flush", "isatty", "read", "readline", "readlines", "seek", "tell"):
    setattr(AsyncSpooledTemporaryFile, _name, _method(_name))


@in_executor("cleanup")
class AsyncTemporaryDirectory:
    """A ``tempfile.TemporaryDirectory``."""

    def __init__(
        self, file: Any, loop: asyncio.AbstractEventLoop | None = None, executor: Executor | None = None
    ) -> None:
        self._file = file
        self._loop = loop or asyncio.get_running_loop()
        self._executor = executor

    @property
    def name(self) -> str:
        """The path of the folder."""
        path: str = self._file.name
        return path

    if TYPE_CHECKING:  # in_executor makes it

        async def cleanup(self) -> None: ...

    async def close(self) -> None:
        """Takes the folder away."""
        await self.cleanup()
