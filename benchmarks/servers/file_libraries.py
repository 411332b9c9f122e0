"""Libraries that read and write files in coroutines, all with the same few methods, each as its users would write it.

A method that a library has nothing for is missing. Offsets are given where a library wants them; where it has only a
position, each task has a file of its own.
"""

import asyncio
import os


class Ioring:
    """Its files, on its own loop or beside another."""

    def __init__(self):
        import ioring

        self.ioring = ioring
        self.read_file = ioring.Path.read_bytes

    def path(self, name):
        return self.ioring.Path(name)

    async def open(self, path, mode, direct=False):
        return await self.ioring.open(path, mode, 0, direct=direct)

    async def read_at(self, file, offset, size):
        return await file.read_at(offset, size)

    async def read(self, file, offset, size):
        return await file.read(size)

    async def append(self, file, offset, data):
        await file.write(data)
        await file.fdatasync()

    async def close(self, file):
        await file.close()


class Aiofiles:
    """Threads: each call is one in the loop's executor."""

    path = staticmethod(os.fspath)

    def __init__(self):
        import aiofiles

        self.aiofiles = aiofiles

    async def open(self, path, mode):
        return await self.aiofiles.open(path, mode, 0)

    async def read_at(self, file, offset, size):
        await file.seek(offset)
        return await file.read(size)

    async def read(self, file, offset, size):
        return await file.read(size)

    async def read_file(self, path):
        async with self.aiofiles.open(path, "rb") as file:
            return await file.read()

    async def append(self, file, offset, data):
        await file.write(data)
        await asyncio.to_thread(os.fdatasync, file.fileno())

    async def close(self, file):
        await file.close()


class Blocking:
    """The calls of os in the coroutine: the loop stands still meanwhile. What a read costs at least."""

    path = staticmethod(os.fspath)

    async def open(self, path, mode):
        return open(path, mode, 0)

    async def read_at(self, file, offset, size):
        return os.pread(file.fileno(), size, offset)

    async def read(self, file, offset, size):
        return file.read(size)

    async def read_file(self, path):
        return read_whole(path)

    async def append(self, file, offset, data):
        append_now(file, data)

    async def close(self, file):
        file.close()


class ToThread(Blocking):
    """asyncio.to_thread with a function that does all there is to do, so that one call is enough."""

    async def read_at(self, file, offset, size):
        return await asyncio.to_thread(os.pread, file.fileno(), size, offset)

    async def read(self, file, offset, size):
        return await asyncio.to_thread(file.read, size)

    async def read_file(self, path):
        return await asyncio.to_thread(read_whole, path)

    async def append(self, file, offset, data):
        await asyncio.to_thread(append_now, file, data)


class Aiofile:
    """aiofile over caio, which takes io_uring, Linux's older AIO or threads of its own, whichever there is first."""

    path = staticmethod(os.fspath)

    def __init__(self):
        import aiofile

        self.aiofile = aiofile

    async def open(self, path, mode):
        file = self.aiofile.AIOFile(path, mode)
        await file.open()
        return file

    async def read_at(self, file, offset, size):
        return await file.read_bytes(size, offset)

    read = read_at

    async def read_file(self, path):
        async with self.aiofile.AIOFile(path, "rb") as file:
            return await file.read_bytes()

    async def append(self, file, offset, data):
        await file.write_bytes(data, offset)
        await file.fdsync()

    async def close(self, file):
        await file.close()


class Pyaio(Blocking):
    """pyaio's ring for reading and writing; it opens no files."""

    def __init__(self):
        from pyaio.uring import UringIO

        self.io = UringIO()

    async def read_at(self, file, offset, size):
        return await self.io.read(file.fileno(), offset, size)

    async def read(self, file, offset, size):
        return await self.io.read(file.fileno(), offset, size)

    read_file = None

    async def append(self, file, offset, data):
        await self.io.write_all(file.fileno(), data, offset)
        await self.io.fsync(file.fileno(), datasync=True)


class Turbofile:
    """turbofile's ring, in a thread of Rust's; it has no fdatasync."""

    path = staticmethod(os.fspath)

    def __init__(self):
        import turbofile

        self.turbofile = turbofile
        self.read_file = turbofile.read_bytes

    async def open(self, path, mode):
        return await self.turbofile.open(path, mode)

    async def read_at(self, file, offset, size):
        return await file.read_at(offset, size)

    async def read(self, file, offset, size):
        return await file.read(size)

    async def close(self, file):
        await file.close()


def read_whole(path):
    with open(path, "rb") as file:
        return file.read()


def append_now(file, data):
    file.write(data)
    os.fdatasync(file.fileno())


LIBRARIES = {
    "ioring": Ioring,
    "aiofiles": Aiofiles,
    "blocking": Blocking,
    "to-thread": ToThread,
    "aiofile": Aiofile,
    "pyaio": Pyaio,
    "turbofile": Turbofile,
}
