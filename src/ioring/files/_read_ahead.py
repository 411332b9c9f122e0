"""The bytes between a program and a file: read ahead and not asked for yet, written and not handed over yet.

The position is kept here and not in the kernel, where the file has a beginning and an end and nobody else has its
descriptor: so a read that is cancelled has not happened. Pipes, terminals and files that are appended to have only the
kernel's. What a cancelled request wrote counts, and what it read from a pipe is kept.

A descriptor that somebody else may have too (a child, a duplicate, the code that gave us its number) shares its
position with them. So from then on it is the kernel's, and what each of them writes comes behind the others' bytes. The
system calls read() and write() lock it; a request of a ring does not, and two of them could write to the same place. So
a thread does it (`locking`), apart from reads that the page cache answers at once, and from appending, which has no
need.
"""

import os

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.libc.string import memcpy
from cython.cimports.posix.unistd import SEEK_SET, lseek

from ioring.files._path_requests import read_part

LARGE_MIN = cython.declare(cython.Py_ssize_t, 4194304)
"""Reads of this many bytes or more, as far as is known, go into one object."""

PIPE_SIZE = 65536
"""How many bytes a pipe holds, and so how many are asked for at least when all are wanted."""


class ReadAhead(Turns):
    """A descriptor with its position, and the buffers on both sides of it."""

    def __cinit__(self):
        self.fd = -1
        self.ahead = b""
        self.unwritten = []

    def __dealloc__(self):
        ioring_drop_position(cython.address(self.entry))

    # Whose the position is.

    def track(self):
        """The position is kept here from now on, as long as nobody else has the descriptor."""
        self.tracked = True
        self.entry.fd = cython.address(self.fd)
        self.entry.position = cython.address(self.position)
        self.entry.tracked = cython.address(self.tracked)
        self.entry.busy = cython.address(self.busy)
        self.entry.sharing = cython.address(self.sharing)
        ioring_keep_position(cython.address(self.entry))
        return 0

    def share(self):
        """Somebody else gets the descriptor."""
        if self.tracked:
            ioring_share_position(cython.address(self.entry))
        return 0

    def share_position(self):
        self.sharing = False
        if self.tracked:
            lseek(self.fd, self.position, SEEK_SET)
            self.tracked = False
            ioring_drop_position(cython.address(self.entry))
        return 0

    # What was read ahead.

    def available(self):
        """How many bytes are read ahead."""
        return PyBytes_GET_SIZE(self.ahead) - self.ahead_at

    def keep(self, data):
        """Appends bytes to those that were read ahead."""
        if self.available():
            self.ahead = self.ahead[self.ahead_at :] + data
        else:
            self.ahead = data
        self.ahead_at = 0
        return 0

    def taken(self, size):
        """Takes up to so many of the bytes that were read ahead."""
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

    def put_back(self, parts):
        """Puts back what was taken: the read did not happen."""
        self.ahead = b"".join(parts) + self.ahead[self.ahead_at :]
        self.ahead_at = 0
        return 0

    def forget_ahead(self):
        """Drops what was read ahead, if the position can be set back to where the program is."""
        left: cython.Py_ssize_t = self.available()
        if left and self.can_seek:
            if self.tracked:
                self.position -= left
            else:
                os.lseek(self.fd, -left, os.SEEK_CUR)
            self.ahead = b""
            self.ahead_at = 0
        return 0

    # What is unwritten.

    def wrote(self, count):
        """So many of the unwritten bytes were written."""
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

    def take_back(self, size):
        """Drops what is left of the last ``size`` bytes that are unwritten. Whether none of them was written.

        They are those of a call that fails, which a program may make again. Those of earlier calls stay, and those of a
        call that is cancelled: the kernel has them already.
        """
        left: cython.Py_ssize_t
        whole: cython.bint = size <= self.unwritten_size
        size = min(size, self.unwritten_size)
        self.unwritten_size -= size
        while size > 0:
            last: bytes = self.unwritten.pop()
            left = PyBytes_GET_SIZE(last) - size
            if left > 0:
                self.unwritten.append(PyBytes_FromStringAndSize(PyBytes_AS_STRING(last), left))
            size -= PyBytes_GET_SIZE(last)
        return whole

    def advanced(self, count):
        """So many bytes were read or written at the position."""
        if self.tracked:
            self.position += count
        return 0

    def place(self):
        """The offset for the next request, or -1 for the descriptor's own position."""
        return self.position if self.tracked else -1

    # Requests.

    def fetch(self, size, partial):
        """A request for the next bytes."""
        op: Read = new_read(self.core, self.name, self.fd, self.place(), size)
        op.owner = self
        op.instant = self.instant
        op.partial = partial
        op.threaded = self.locking and not self.tracked
        return op

    def fetch_part(self, offset, data, start, size):
        """A request for bytes at an offset, into their place in ``data``; None: such files have none."""
        op: FileOp = read_part(self.core, self.name, self.fd, offset, data, start, size)
        op.owner = self
        op.steady = False  # a cancelled one keeps the file's turn until its end
        return op

    def push(self, data):
        """A request that writes what is unwritten, which ``data`` is."""
        op: Write = new_write(self.core, self.name, self.fd, self.place(), data)
        op.owner = self
        op.keep_going = self.can_seek
        op.threaded = self.locking and not self.tracked
        return op

    def caught_up(self, op, res):
        if isinstance(op, Write):
            if res > 0:
                self.wrote(res)
        elif res > 0 and not self.tracked and isinstance(op, Read):
            self.keep(cython.cast(Read, op).data[:res])
        return Turns.caught_up(self, op, res)

    async def _flush(self):
        """Writes everything that is unwritten. What cannot be written stays in the buffer."""
        while self.unwritten:
            data = self.unwritten[0] if len(self.unwritten) == 1 else b"".join(self.unwritten)
            self.unwritten = [data]
            self.wrote(await self.push(data))

    async def _fill(self):
        """Reads ahead. How many bytes: 0 at the end of the file."""
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
                    step = await self._step(want)
                    if step == CHUNK_MAX and len(parts) == 1 and self.tracked and not 0 < want < LARGE_MIN:
                        before = len(parts[0])
                        parts[0] = await self._read_large(parts[0], want)
                        if len(parts[0]) > before:
                            if want > 0:
                                want -= len(parts[0]) - before
                            continue
                    data = await self.fetch(step, not self.can_seek)
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

    async def _read_large(self, head, want):
        """``head`` and what comes next in the file, if that is much: in one object, and not in pieces to be joined.

        Until all of it is there, nothing has been read.
        """
        start: cython.Py_ssize_t = len(head)
        done: cython.Py_ssize_t = 0
        left: cython.Py_ssize_t = os.fstat(self.fd).st_size - self.position
        if 0 < want < left:
            left = want
        if left < LARGE_MIN:
            return head
        data: bytes = PyBytes_FromStringAndSize(cython.NULL, start + left)
        memcpy(PyBytes_AS_STRING(data), PyBytes_AS_STRING(head), start)
        while done < left:
            part = self.fetch_part(self.position + done, data, start + done, min(left - done, CHUNK_MAX))
            if part is None:
                return head
            count = await part
            if not count:
                break
            done += count
        self.advanced(done)
        return data if done == left else data[: start + done]

    async def _step(self, want):
        """How many bytes to ask for next."""
        if want > 0:
            return min(want, CHUNK_MAX)
        if not self.can_seek:
            return max(self.window, PIPE_SIZE)
        left: cython.Py_ssize_t = os.fstat(self.fd).st_size - self._raw_position()
        return min(max(left + 1, 4096), CHUNK_MAX)

    def _raw_position(self):
        return self.position if self.tracked else os.lseek(self.fd, 0, os.SEEK_CUR)


def share_positions():
    """Before a fork: the child gets all descriptors."""
    ioring_share_positions()


os.register_at_fork(before=share_positions)
