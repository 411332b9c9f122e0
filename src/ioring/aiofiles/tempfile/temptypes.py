"""Temporary files and folders that are more than a file."""

import asyncio

from ioring.aiofiles.base import AsyncBase, in_executor
from ioring.aiofiles.threadpool import KINDS
from ioring.files import opening as files


class AsyncSpooledTemporaryFile(AsyncBase):
    """A ``tempfile.SpooledTemporaryFile``: in memory at first. Its contents go to a file in the executor; from then on
    it is read and written without threads."""

    def __init__(self, file, newline=None, loop=None, executor=None):
        super().__init__(file, loop, executor)
        self._newline = newline
        self._opened = None

    def _current(self):
        """The asynchronous file, once there is a file."""
        if self._opened is None and self._file._rolled:
            self._opened = files.wrap(self._file._file, newline=self._newline, kinds=KINDS)
        return self._opened

    async def _do(self, name, *arguments):
        opened = self._current()
        if opened is not None:
            return await getattr(opened, name)(*arguments)
        return getattr(self._file._file, name)(*arguments)

    async def _written(self, name, data):
        result = await self._do(name, data)
        file = self._file
        if not file._rolled and file._max_size and file._file.tell() > file._max_size:
            await self.rollover()
        return result

    async def rollover(self):
        """Goes to a file now."""
        if not self._file._rolled:
            await self._loop.run_in_executor(self._executor, self._file.rollover)

    async def fileno(self):
        """The descriptor; there is one from now on."""
        await self.rollover()
        return self._current().fileno()

    async def write(self, data):
        return await self._written("write", data)

    async def writelines(self, lines):
        return await self._written("writelines", lines)

    async def truncate(self, size=None):
        if size is not None and size > self._file._max_size > 0:
            await self.rollover()
        return await self._do("truncate", size)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        opened = self._current()
        if opened is not None and name != "softspace":
            return getattr(opened, name)
        return getattr(self._file, name)


def _method(name):
    async def method(self, *arguments):
        return await self._do(name, *arguments)

    method.__name__ = name
    return method


for _name in ("close", "flush", "isatty", "read", "readline", "readlines", "seek", "tell"):
    setattr(AsyncSpooledTemporaryFile, _name, _method(_name))


@in_executor("cleanup")
class AsyncTemporaryDirectory:
    """A ``tempfile.TemporaryDirectory``."""

    def __init__(self, file, loop=None, executor=None):
        self._file = file
        self._loop = loop or asyncio.get_running_loop()
        self._executor = executor

    @property
    def name(self):
        """The path of the folder."""
        return self._file.name

    async def close(self):
        """Takes the folder away."""
        await self.cleanup()
