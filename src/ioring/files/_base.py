"""Files: descriptors with a position, buffers on both sides, and an order of operations.

Positions are kept here and not in the kernel, where the file has a beginning and an end: so a read that is cancelled
has not happened. Pipes, terminals and files that are appended to have only the kernel's.

Operations with the position run one after the other, in the order in which they were begun. A request that is cancelled
holds its turn until the kernel is done with it; what it wrote counts, and what it read from a pipe is kept.
"""

import asyncio
import collections
import errno
import io
import os
import warnings

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.libc.errno import EINTR

from ioring.files._operations import FSYNC_DATASYNC, close, fadvise, fallocate, fsync, ftruncate
from ioring.files._requests import read_into, vectored

get_running_loop = cython.declare(object, asyncio.get_running_loop)

WINDOW_MIN = cython.declare(cython.Py_ssize_t, 8192)
WINDOW_MAX = cython.declare(cython.Py_ssize_t, 262144)
"""Reading ahead grows to this when a file is read in sequence."""

PIPE_SIZE = 65536
"""What a pipe holds, and so what is asked of it at least when everything is wanted."""


class File:
    """A file with its position and its buffers. What is public of it, the kinds of files say."""

    def __cinit__(self):
        self.fd = -1
        self.ahead = b""
        self.unwritten = []

    def __init__(self):
        raise TypeError("a file comes from ioring.open()")

    def _open(self, find_engine, host, fd, name, spec):
        """The file has its descriptor. The FileSpec, of opening.py, says what may be done with it.

        ``find_engine(loop)`` gives the LoopCore that works for a loop. That is ``host``, or any when it is None.
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
        self.can_seek = self.instant = spec.seekable
        self.tracked = spec.seekable and not spec.appending
        self.buffer_size = spec.buffer_size
        self.window = self.buffer_size or WINDOW_MIN
        if self.tracked:
            self.position = os.lseek(fd, 0, os.SEEK_CUR)
        self.fd = fd  # last: it is the file's to close when nothing can fail any more

    # What every operation asks first.

    def check_open(self):
        if self.detached:
            raise ValueError("raw stream has been detached")
        if self.shut or self.closing:
            raise ValueError("I/O operation on closed file.")
        return self.settle_core()

    def _belongs_to(self, blocking):
        """It shares the descriptor of a blocking file, which is closed after it."""
        self.blocking = blocking

    def _disown(self):
        """The descriptor is somebody else's again."""
        self.fd = -1
        self.shut = True

    def settle_core(self):
        """Finds who works for the loop that runs now, when it is not the one of last time."""
        host = get_running_loop()
        if host is not self.host or self.core._closed:
            core = self.find_engine(host)
            if self.host is not None and (self.core._closed or self.host.is_closed()):
                self.lent = 0  # nothing that was begun there goes on
            self.core = core
            self.host = host
        return 0

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

    # One after the other.

    def turn(self):
        """A future: this operation's turn has come."""
        if self.waiting is None:
            self.waiting = collections.deque()
        future = self.host.create_future()
        self.waiting.append(future)
        return future

    async def _enter(self):
        """Waits for the turn, which is given with `busy` set.

        Raises:
            ValueError: the file was closed before.
        """
        await self._await_turn()
        if self.shut:
            self.leave_turn()
            raise ValueError("I/O operation on closed file.")

    async def _await_turn(self):
        future = self.turn()
        try:
            await future
        except BaseException:
            if future.done() and not future.cancelled():
                self.leave_turn()  # it had come already
            raise

    def leave_turn(self):
        if self.straggler is not None:
            return 0
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                # Never free in between: whoever comes now waits behind.
                future.set_result(None)
                return 0
        self.busy = False
        if self.deserted:
            self.go_on_closing()
        return 0

    def abandoned(self, op):
        self.straggler = op
        return 0

    def caught_up(self, op, res):
        if isinstance(op, Write):
            if res > 0:
                self.wrote(res)
        elif res > 0 and not self.tracked and isinstance(op, Read):
            self.keep(cython.cast(Read, op).data[:res])
        if self.straggler is op:
            self.straggler = None
            if self.deserted and self.unwritten and res <= 0 and res != -ECANCELED and res != -EINTR:
                number = cython.cast(cython.int, -res) or errno.EIO
                self.give_up(OSError(number, os.strerror(number), self.name))
            self.leave_turn()
        return 0

    # Requests at an offset, and others that need no turn: they use the descriptor, which is not closed meanwhile.

    def admit(self):
        if self.shut or self.closing:
            raise ValueError("I/O operation on closed file.")
        return 0

    def borrowed(self):
        self.lent += 1
        return 0

    def returned(self, core):
        if self.lent == 0 or (core is not self.core and core._closed):
            return 0
        self.lent -= 1
        if self.lent == 0:
            idle, self.idle = self.idle, None
            if idle is not None and not idle.done() and not idle.get_loop().is_closed():
                idle.set_result(None)
            elif self.deserted and not self.busy:
                self.go_on_closing()
        return 0

    # Buffers.

    def available(self):
        return PyBytes_GET_SIZE(self.ahead) - self.ahead_at

    def keep(self, data):
        """Puts bytes behind those that were read ahead."""
        if self.available():
            self.ahead = self.ahead[self.ahead_at :] + data
        else:
            self.ahead = data
        self.ahead_at = 0
        return 0

    def taken(self, size):
        """Up to so many of the bytes that were read ahead."""
        size = min(size, self.available())
        if self.ahead_at == 0 and size == PyBytes_GET_SIZE(self.ahead):
            data = self.ahead
            self.ahead = b""
            return data
        data = PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.ahead) + self.ahead_at, size)
        self.ahead_at += size
        if self.available() == 0:
            self.ahead = b""
            self.ahead_at = 0
        return data

    def line_ahead(self):
        """The next line, when what is read ahead has its end."""
        return

    def put_back(self, parts):
        """What was taken is not wanted now."""
        self.ahead = b"".join(parts) + self.ahead[self.ahead_at :]
        self.ahead_at = 0
        return 0

    def forget_ahead(self):
        """What was read ahead is not wanted: the position is where the program sees it."""
        left: cython.Py_ssize_t = self.available()
        if left and self.can_seek:
            if self.tracked:
                self.position -= left
            else:
                os.lseek(self.fd, -left, os.SEEK_CUR)
            self.ahead = b""
            self.ahead_at = 0
        return 0

    def wrote(self, count):
        """So many of the unwritten bytes are with the kernel."""
        size: cython.Py_ssize_t
        self.advanced(count)
        self.unwritten_size -= count
        while count > 0:
            size = len(self.unwritten[0])
            if size > count:
                self.unwritten[0] = bytes(memoryview(self.unwritten[0])[count:])
                return 0
            del self.unwritten[0]
            count -= size
        return 0

    def advanced(self, count):
        if self.tracked:
            self.position += count
        return 0

    def place(self):
        return self.position if self.tracked else -1

    # Requests.

    def fetch(self, size, partial):
        """A request for the next bytes."""
        op: Read = new_read(self.core, self.name, self.fd, self.place(), size)
        op.owner = self
        op.instant = self.instant
        op.partial = partial
        return op

    def push(self, data):
        """A request that writes what is unwritten, which ``data`` is."""
        op: Write = new_write(self.core, self.name, self.fd, self.place(), data)
        op.owner = self
        op.keep_going = self.can_seek
        return op

    async def _flush(self):
        """Writes everything that is unwritten. What cannot be written stays, for the next attempt."""
        while self.unwritten:
            data = self.unwritten[0] if len(self.unwritten) == 1 else b"".join(self.unwritten)
            self.unwritten = [data]
            self.wrote(await self.push(data))

    async def _fill(self):
        """Reads ahead. How many bytes came: 0 at the end."""
        data = await self.fetch(self.window, True)
        if self.tracked and self.window < WINDOW_MAX and len(data) == self.window:
            self.window *= 2
        self.advanced(len(data))
        self.keep(data)
        return len(data)

    async def _read(self, size):
        """Exactly so many bytes, or what there is up to the end when that is less or the size is negative."""
        want: cython.Py_ssize_t = size
        if self.unwritten:
            await self._flush()
        if 0 <= want <= self.available():
            return self.taken(want)
        parts = [self.taken(self.available())]
        want = -1 if want < 0 else want - len(parts[0])
        try:
            while want != 0:
                if 0 < want < self.window:
                    if await self._fill() == 0:
                        break
                    data = self.taken(want)
                else:
                    data = await self.fetch(await self._step(want), not self.can_seek)
                    self.advanced(len(data))
                    if not data:
                        break
                parts.append(data)
                if want > 0:
                    want -= len(data)
        except BaseException:
            self.put_back(parts)
            raise
        return b"".join(parts) if parts[0] or len(parts) != 2 else parts[1]

    async def _step(self, want):
        """How much to ask for next."""
        if want > 0:
            return min(want, CHUNK_MAX)
        if not self.can_seek:
            return max(self.window, PIPE_SIZE)
        left: cython.Py_ssize_t = os.fstat(self.fd).st_size - self._raw_position()
        return min(max(left + 1, 4096), CHUNK_MAX)

    def _raw_position(self):
        return self.position if self.tracked else os.lseek(self.fd, 0, os.SEEK_CUR)

    # What all kinds of files have.

    def fileno(self):
        """The descriptor (``io.IOBase.fileno``). The kernel's position is where the program is, buffers aside."""
        if self.shut:
            raise ValueError("I/O operation on closed file")
        if self.tracked:
            os.lseek(self.fd, self.position, os.SEEK_SET)
        return self.fd

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
        if self.busy:
            await self._enter()
        self.busy = True
        try:
            await self._flush()
        finally:
            self.leave_turn()

    async def readlines(self, hint=-1):
        """The lines, as long as they are no more than ``hint`` bytes (``io.IOBase.readlines``)."""
        limit: cython.Py_ssize_t = -1 if hint is None else hint
        size: cython.Py_ssize_t = 0
        line: bytes
        lines = []
        self.check_readable()
        if self.busy:
            await self._enter()
        self.busy = True
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
            self.leave_turn()

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
        if self.busy:
            await self._enter()
        self.busy = True
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
                # The size is wrong, or the operation is not there (before Linux 6.9).
                await own(self, ftruncate(self.core, self.fd, size, self.name, threaded=True))
            return size
        finally:
            self.leave_turn()

    async def fsync(self):
        """Flushes, and waits until the storage has everything (``os.fsync``)."""
        await self._sync(0)

    async def fdatasync(self):
        """The same without times and the like, which costs less (``os.fdatasync``)."""
        await self._sync(FSYNC_DATASYNC)

    async def _sync(self, flags):
        self.check_open()
        if self.busy:
            await self._enter()
        self.busy = True
        try:
            await self._flush()
            await own(self, fsync(self.core, self.fd, flags, self.name))
        finally:
            self.leave_turn()

    async def allocate(self, offset, size):
        """Reserves storage from ``offset`` on; the file grows if it ends before (``os.posix_fallocate``)."""
        self.check_writable()
        offset = whole(offset, "offset")
        size = whole(size, "size")
        await lend(self, fallocate(self.core, self.fd, offset, size, self.name))

    async def advise(self, offset, size, advice):
        """Says how a part of the file will be used: ``os.POSIX_FADV_...`` (``os.posix_fadvise``)."""
        self.check_open()
        offset = whole(offset, "offset")
        size = whole(size, "size")
        advice = whole(advice, "advice")
        if size < 0 or not 0 <= advice < 1 << 31:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.name)
        await lend(self, fadvise(self.core, self.fd, offset, size, advice, self.name))

    async def close(self):
        """Flushes and closes (``io.IOBase.close``). Closing twice does nothing.

        Requests that are under way end before. When it is cancelled, closing goes on.

        Raises:
            OSError: something could not be written; the file is closed nevertheless.
        """
        if self.detached:
            raise ValueError("raw stream has been detached")
        if self.shut:
            return
        self.settle_core()
        try:
            if self.busy:
                await self._await_turn()
            self.busy = True
            try:
                if not self.shut:
                    self.closing = True
                    await self._close()
            finally:
                self.leave_turn()
        except (asyncio.CancelledError, GeneratorExit):
            if not self.shut:
                self.closing = self.deserted = True
                if not self.busy:
                    self.go_on_closing()
            raise

    async def _close(self):
        if self.unwritten:
            try:
                await self._flush()
            except Exception:
                await self._close_descriptor()
                raise
        await self._close_descriptor()

    async def _close_descriptor(self):
        while self.lent:
            self.idle = self.host.create_future()
            await self.idle
        fd: cython.int = self.give_up_descriptor()
        if fd < 0:
            return
        if self.can_write:
            await close(self.core, fd, self.name)
        else:
            os.close(fd)  # nothing to be written: it does not wait

    def give_up_descriptor(self):
        """The file is closed. What is to be closed yet, or -1."""
        self.shut = True
        fd, self.fd = self.fd, -1
        self.unwritten = []
        self.unwritten_size = 0
        self.ahead = b""
        if self.tracked and not self.closefd:
            os.lseek(fd, self.position, os.SEEK_SET)
        if self.blocking is not None:
            self.blocking.close()  # which has nothing to write
            return -1
        return fd if self.closefd else -1

    # A close() that was cancelled goes on here, when nobody has the turn: no task does it, which could be cancelled.

    def go_on_closing(self):
        if self.shut or self.lent:
            return 0
        if self.unwritten and self.write_on():
            return 0
        fd: cython.int = self.give_up_descriptor()
        if fd >= 0:
            os.close(fd)
        return 0

    def write_on(self):
        """Writes what is unwritten, for nobody. Whether that is to be waited for."""
        op: FileOp
        try:
            if not self.core._closed and not self.host.is_closed():
                self.unwritten = [b"".join(self.unwritten)]
                op = self.push(self.unwritten[0])
                op.state = ABANDONED
                op.start()
                self.straggler = op
                self.busy = True
                return True
        except RuntimeError:
            pass  # the executor is shut down already
        except Exception as error:
            self.give_up(error)
            return False
        try:
            if not self.can_seek:
                raise OSError(ECANCELED, os.strerror(ECANCELED), self.name)  # nobody knows how long it would wait
            self.write_blocking()
        except OSError as error:
            self.give_up(error)
        return False

    def give_up(self, error):
        """What is unwritten cannot be written, and nobody is there to be told."""
        self.unwritten = []
        self.unwritten_size = 0
        message = f"{self!r} could not be written after its close() was cancelled"
        self.host.call_exception_handler({"message": message, "exception": error})
        return 0

    def write_blocking(self):
        """Writes what is unwritten, there and then."""
        while self.unwritten:
            data = b"".join(self.unwritten)
            self.unwritten = [data]
            self.wrote(os.pwrite(self.fd, data, self.position) if self.tracked else os.write(self.fd, data))
        return 0

    def __del__(self):
        if self.shut or self.fd < 0 or self.find_engine is None:
            return
        if self.closefd and not self.deserted:
            warnings.warn(f"unclosed file {self!r}", ResourceWarning, source=self, stacklevel=1)
        try:
            if self.straggler is None:
                self.write_blocking()
        except OSError:
            pass
        if self.closefd:
            os.close(self.fd)
        self.fd = -1

    @property
    def raw(self):
        """A blocking ``io.FileIO`` of the same descriptor, which it does not close. Buffers are not seen by it."""
        return self.blocking_file(self.fileno(), False)

    def blocking_file(self, fd, closefd):
        mode = ("r+" if self.can_write else "r") if self.can_read else "w"
        raw = io.FileIO(fd, mode, closefd)
        raw.name = self.name
        return raw

    def detach(self):
        """A blocking ``io.FileIO`` for the descriptor, which is its own from now on (``io.BufferedIOBase.detach``).

        What is written and not flushed is written now, and this blocks.

        Raises:
            RuntimeError: an operation is under way.
        """
        self.check_open()
        if self.busy or self.lent:
            raise RuntimeError("an operation of the file is under way")
        self.write_blocking()
        self.forget_ahead()
        raw = self.blocking_file(self.fileno(), self.closefd)
        self.fd = -1
        self.shut = self.detached = True
        return raw

    def __repr__(self):
        return f"<ioring.{type(self).__name__} name={self.name!r} mode={self.mode!r}>"

    async def tell(self):
        """The position (``io.IOBase.tell``)."""
        self.check_open()
        if self.busy:
            await self._enter()
        self.busy = True
        try:
            return self._tell()
        finally:
            self.leave_turn()

    def _tell(self):
        if self.tracked:
            return self.position - self.available() + self.unwritten_size
        return os.lseek(self.fd, 0, os.SEEK_CUR) - self.available() + self.unwritten_size

    async def seek(self, offset, whence=0):
        """Moves the position and returns it (``io.IOBase.seek``)."""
        self.check_open()
        if not self.can_seek:
            raise io.UnsupportedOperation("File or stream is not seekable.")
        if self.busy:
            await self._enter()
        self.busy = True
        try:
            return await self._seek(offset, whence)
        finally:
            self.leave_turn()

    async def _seek(self, offset, whence):
        inside: cython.Py_ssize_t
        if self.unwritten:
            await self._flush()
        if whence == 0 and self.tracked and self.available():
            # Often it is close by.
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
