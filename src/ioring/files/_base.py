"""What all binary files have, whatever their buffers: requests at an offset, positions, lines.

A file is made of layers, each of which is the base of the next: _turns.py, the order of its operations; _read_ahead.py,
its buffers; _closing.py, its end; and this one.
"""

import errno
import io
import os

import cython
from cython.cimports.cpython.bytes import PyBytes_GET_SIZE

from ioring.files._operations import FSYNC_DATASYNC, fadvise, fallocate, fsync, ftruncate
from ioring.files._requests import read_into, vectored


class File(Closing):
    """A binary file: what RawFile, BufferedFile and DirectFile have in common."""

    def __init__(self):
        raise TypeError("a file comes from ioring.open()")

    def _open(self, find_engine, host, fd, name, spec):
        """Gives the file its descriptor, and a FileSpec, of opening.py, that says what may be done with it.

        ``find_engine(loop)`` gives the Engine that works for a loop. The file is for the loop ``host``; when that is
        None, for the loop that it is first used in.
        """
        self.find_engine = find_engine
        if host is not None:
            self.core = find_engine(host)
            self.host = host
        self.name = name
        self.mode = spec.mode
        self.closefd = spec.closefd
        self.can_read = spec.readable
        self.can_write = spec.writable
        self.can_seek = spec.seekable
        self.locking = spec.locking
        self.instant = spec.seekable or spec.locking
        self.buffer_size = spec.buffer_size
        self.window = self.buffer_size or WINDOW_MIN
        if spec.tracked:
            self.position = os.lseek(fd, 0, os.SEEK_CUR)
        self.fd = fd  # if something fails before, the caller closes it
        if spec.tracked:
            self.track()

    def check_readable(self):
        self.check_open()
        if not self.can_read:
            raise io.UnsupportedOperation("File not open for reading" if self.buffer_size == 0 else "not readable")
        return 0

    def check_writable(self):
        self.check_open()
        if not self.can_write:
            raise io.UnsupportedOperation("File not open for writing" if self.buffer_size == 0 else "not writable")
        return 0

    @property
    def closed(self):
        """Whether the file was closed."""
        return self.shut

    def read_at(self, offset, size):
        """Reads up to ``size`` bytes at an offset, whatever the position; many may run at once (``os.pread``).

        Fewer than ``size`` bytes mean the end of the file. What was written and not flushed is not seen.

        Raises:
            OSError: reading failed.
            ValueError: the file is closed, or ``offset`` or ``size`` is negative.
        """
        op: Read
        place: int64_t = whole(offset, "offset")
        count: int64_t = whole(size, "size")
        self.check_readable()
        if place < 0 or count < 0:
            raise ValueError("offset and size must not be negative")
        op = new_read(self.core, self.name, self.fd, place, count)
        op.lender = self
        op.instant = self.instant
        return op

    def readinto_at(self, offset, buffer):
        """Reads at an offset into a writable buffer; how many bytes (``os.preadv``)."""
        place: int64_t = whole(offset, "offset")
        self.check_readable()
        if place < 0:
            raise ValueError("offset must not be negative")
        return lend(self, read_into(self.core, self.name, self.fd, place, buffer, self.instant, False))

    def write_at(self, offset, data):
        """Writes all of ``data`` at an offset; how many bytes (``os.pwrite``). The position does not move.

        Raises:
            OSError: writing failed; what was written before the failure stays.
        """
        op: Write
        place: int64_t = whole(offset, "offset")
        self.check_writable()
        if place < 0:
            raise ValueError("offset must not be negative")
        op = new_write(self.core, self.name, self.fd, place, data)
        op.lender = self
        return op

    def readv_at(self, offset, buffers):
        """Reads at an offset into several buffers, one after the other; how many bytes (``os.preadv``)."""
        place: int64_t = whole(offset, "offset")
        self.check_readable()
        if place < 0:
            raise ValueError("offset must not be negative")
        return lend(self, vectored(self.core, self.name, self.fd, place, buffers, False))

    def writev_at(self, offset, buffers):
        """Writes several buffers at an offset; how many bytes (``os.pwritev``)."""
        place: int64_t = whole(offset, "offset")
        self.check_writable()
        if place < 0:
            raise ValueError("offset must not be negative")
        return lend(self, vectored(self.core, self.name, self.fd, place, buffers, True))

    async def flush(self):
        """Hands everything written to the kernel (``io.IOBase.flush``)."""
        self.check_open()
        if not self.take_turn():
            await self._next_turn()
        try:
            await self._flush()
        finally:
            self.leave()

    def line_ahead(self):
        """The next line if it is read ahead; else None."""
        return

    async def readlines(self, hint=-1):
        """The lines, as long as they are no more than ``hint`` bytes (``io.IOBase.readlines``)."""
        limit: cython.Py_ssize_t = -1 if hint is None else hint
        size: cython.Py_ssize_t = 0
        line: bytes
        lines = []
        self.check_readable()
        if not self.take_turn():
            await self._next_turn()
        try:
            if self.unwritten:
                await self._flush()
            while not 0 < limit < size:
                line = self.line_ahead()
                if line is None:
                    line = await self._readline(-1)
                    if not line:
                        break
                lines.append(line)
                size += PyBytes_GET_SIZE(line)
            return lines
        except BaseException:
            self.put_back(lines)
            raise
        finally:
            if self.buffer_size == 0:
                self.forget_ahead()
            self.leave()

    async def writelines(self, lines):
        """Writes them one after the other (``io.IOBase.writelines``)."""
        self.check_open()
        for line in lines:
            await self.write(line)

    async def truncate(self, size=None):
        """Makes the file ``size`` bytes long, or end at the position (``io.IOBase.truncate``)."""
        self.check_writable()
        if size is not None:
            size = whole(size, "size")
        if not self.take_turn():
            await self._next_turn()
        try:
            await self._flush()
            if size is None:
                size = self._tell()
            self.forget_ahead()
            try:
                await own(self, ftruncate(self.core, self.fd, size, self.name))
            except OSError as error:
                if error.errno != errno.EINVAL or self.core.ring is None:
                    raise
                # Either the size is wrong, or the kernel does not have the operation (before Linux 6.9).
                await own(self, ftruncate(self.core, self.fd, size, self.name, threaded=True))
            return size
        finally:
            self.leave()

    async def fsync(self):
        """Flushes, and waits until the storage has everything (``os.fsync``)."""
        await self._sync(0)

    async def fdatasync(self):
        """The same without times and the like, which costs less (``os.fdatasync``)."""
        await self._sync(FSYNC_DATASYNC)

    async def _sync(self, flags):
        self.check_open()
        if not self.take_turn():
            await self._next_turn()
        try:
            await self._flush()
            await own(self, fsync(self.core, self.fd, flags, self.name))
        finally:
            self.leave()

    async def allocate(self, offset, size):
        """Reserves storage from ``offset`` on; the file grows if it ends before (``os.posix_fallocate``)."""
        self.check_writable()
        offset = whole(offset, "offset")
        size = whole(size, "size")
        try:
            await lend(self, fallocate(self.core, self.fd, offset, size, self.name))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS) or self.core.ring is None:
                raise
            self.check_writable()  # it may have been closed meanwhile
            await lend(self, fallocate(self.core, self.fd, offset, size, self.name, threaded=True))

    async def advise(self, offset, size, advice):
        """Says how a part of the file will be used: ``os.POSIX_FADV_...`` (``os.posix_fadvise``)."""
        self.check_open()
        offset = whole(offset, "offset")
        size = whole(size, "size")
        advice = whole(advice, "advice")
        if size < 0 or not 0 <= advice < 1 << 31:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.name)
        await lend(self, fadvise(self.core, self.fd, offset, size, advice, self.name))

    def __repr__(self):
        return f"<ioring.{type(self).__name__} name={self.name!r} mode={self.mode!r}>"

    async def tell(self):
        """The position (``io.IOBase.tell``)."""
        self.check_open()
        if not self.take_turn():
            await self._next_turn()
        try:
            return self._tell()
        finally:
            self.leave()

    def _tell(self):
        if self.tracked:
            return self.position - self.available() + self.unwritten_size
        return os.lseek(self.fd, 0, os.SEEK_CUR) - self.available() + self.unwritten_size

    async def seek(self, offset, whence=0):
        """Moves the position and returns it (``io.IOBase.seek``)."""
        self.check_open()
        if not self.can_seek:
            raise io.UnsupportedOperation("File or stream is not seekable.")
        if not self.take_turn():
            await self._next_turn()
        try:
            return await self._seek(offset, whence)
        finally:
            self.leave()

    async def _seek(self, offset, whence):
        inside: cython.Py_ssize_t
        if self.unwritten:
            await self._flush()
        if whence == 0 and self.tracked and self.available():
            # Often the new position is within what was read ahead.
            inside = offset - (self.position - PyBytes_GET_SIZE(self.ahead))
            if 0 <= inside <= PyBytes_GET_SIZE(self.ahead):
                self.ahead_at = inside
                return offset
        self.forget_ahead()
        if self.tracked and whence == 1:
            offset, whence = self.position + offset, 0
            if offset < 0:
                raise OSError(22, os.strerror(22), self.name)
        place = os.lseek(self.fd, offset, whence)
        if self.tracked:
            self.position = place
        self.window = self.buffer_size or WINDOW_MIN
        return place

    async def seekable(self):
        """Whether the file has positions (``io.IOBase.seekable``)."""
        self.check_open()
        return bool(self.can_seek)

    def readable(self):
        """Whether it was opened for reading (``io.IOBase.readable``)."""
        if self.shut:
            raise ValueError("I/O operation on closed file")
        return bool(self.can_read)

    async def writable(self):
        """Whether it was opened for writing (``io.IOBase.writable``)."""
        self.check_open()
        return bool(self.can_write)

    async def isatty(self):
        """Whether it is a terminal (``io.IOBase.isatty``)."""
        self.check_open()
        return os.isatty(self.fd)

    def __aiter__(self):
        return self

    async def __anext__(self):
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def __aenter__(self):
        self.check_open()
        return self

    async def __aexit__(self, *exception):
        await self.close()


def own(file, op):
    """A request of a file that has the turn."""
    request: FileOp = op
    request.owner = file
    return request


def lend(file, op):
    """A request that needs no turn: the file's descriptor is lent to it."""
    request: FileOp = op
    request.lender = file
    return request
