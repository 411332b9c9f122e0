"""Requests that move bytes between files and memory.

A read is first tried by a system call that gives what is in the page cache and does not wait (RWF_NOWAIT). The memory
is the request's until it is over: an object of its own, or a buffer of the program's, which is held.
"""

import os

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.libc.errno import EAGAIN, EINTR, EOPNOTSUPP
from cython.cimports.libc.stdlib import calloc, free

from ioring.files._memory import flat

LENGTH_MAX = cython.declare(cython.size_t, 1 << 30)
"""The most bytes that one request asks the kernel for."""

PARTS_MAX = 1024
"""The most buffers that the kernel takes at once (UIO_MAXIOV)."""


class Transfer(FileOp):
    """Bytes from a file into memory. Writes, too, are kinds of this."""

    def cost(self):
        return CALL_COST + cython.cast(int64_t, self.size) if self.instant else 0

    def attempt(self):
        return self.read_now()

    def writes(self):
        """Whether the bytes go into the file."""
        return False

    def blocking(self):
        n: int64_t
        place: int64_t = self.place()
        writes: cython.bint = self.writes()
        memory: cython.p_char = self.memory + self.done
        left: cython.size_t = self.size - self.done
        with cython.nogil:
            if writes:
                n = ioring_write_blocking(self.fd, memory, left, place)
            else:
                n = ioring_read_blocking(self.fd, memory, left, place)
        return n

    def place(self):
        """The offset of the next piece, or -1 for the descriptor's own position."""
        return self.offset + self.done if self.offset >= 0 else -1

    def fill(self, sqe):
        sqe.fd = self.fd
        sqe.addr = cython.cast(cython.size_t, self.memory) + self.done
        sqe.len = min(self.size - self.done, LENGTH_MAX)
        sqe.off = cython.cast(uint64_t, self.place())
        return 0

    def more(self, res):
        if res < 0:
            # What was transferred before counts for a file that keeps its position: the error comes again with the
            # next call. Otherwise nobody asks again, and fewer bytes would look like the end of the file.
            self.result = res if self.done == 0 or self.owner is None else self.done
            return False
        self.done += res
        self.result = self.done
        return res > 0 and self.done < self.size and self.goes_on()

    def read_now(self):
        """Reads what is in the page cache. Whether that was all; a request reads the rest."""
        n: int64_t
        while True:
            n = ioring_read_now(self.fd, self.memory + self.done, self.size - self.done, self.place())
            if n < 0:
                if n == -EOPNOTSUPP or n == -EAGAIN or n == -EINTR:
                    return False
                self.result = n
                return True
            self.done += n
            self.result = self.done
            if n == 0 or self.done == self.size or self.partial:
                return True

    def goes_on(self):
        """Whether the rest is wanted after a result that was less than asked for."""
        return not self.partial and self.state != ABANDONED and self.cancellation is None


class Read(Transfer):
    """Bytes of a file."""

    def fill(self, sqe):
        sqe.opcode = URING_OP_READ
        return Transfer.fill(self, sqe)

    def outcome(self):
        if self.done == self.size:
            return self.data
        return self.data[: self.done]


class IntoMemory(Transfer):
    """From or into a buffer of the program's, which is held until the end."""

    def let_go(self):
        """Releases the buffer."""
        if self.held:
            self.held = False
            PyBuffer_Release(cython.address(self.view))
        return 0

    def outcome(self):
        self.let_go()  # a thread may keep the request itself a little longer
        return self.result

    def error(self):
        self.let_go()
        return Transfer.error(self)

    def drop(self):
        return self.let_go()

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(cython.address(self.view))


class ReadInto(IntoMemory):
    """Bytes of a file, into a buffer."""

    def fill(self, sqe):
        sqe.opcode = URING_OP_READ
        return Transfer.fill(self, sqe)


class Write(IntoMemory):
    """Bytes into a file."""

    def fill(self, sqe):
        sqe.opcode = URING_OP_WRITE
        return Transfer.fill(self, sqe)

    def writes(self):
        return True

    def cancellable(self):
        return not self.keep_going

    def goes_on(self):
        return self.state != ABANDONED or self.keep_going


class Vectored(FileOp):
    """Several buffers at once: readv_at, writev_at."""

    def fill(self, sqe):
        sqe.opcode = URING_OP_WRITEV if self.writing else URING_OP_READV
        sqe.fd = self.fd
        sqe.addr = cython.cast(cython.size_t, self.parts)
        sqe.len = self.count
        sqe.off = cython.cast(uint64_t, self.offset)
        return 0

    def blocking(self):
        try:
            return (os.pwritev if self.writing else os.preadv)(self.fd, self.views, self.offset)
        except OSError as error:
            return -error.errno

    def __dealloc__(self):
        free(self.parts)


def new_read(core, path, fd, offset, size):
    it: Read = Read.__new__(Read)
    it.core = core
    it.path = path
    it.fd = fd
    it.offset = offset
    it.size = size
    it.data = PyBytes_FromStringAndSize(cython.NULL, size)
    it.memory = PyBytes_AS_STRING(it.data)
    return it


def new_write(core, path, fd, offset, data):
    it: Write = Write.__new__(Write)
    it.core = core
    it.path = path
    it.fd = fd
    it.offset = offset
    PyObject_GetBuffer(data, cython.address(it.view), PyBUF_SIMPLE)
    it.held = True
    it.memory = cython.cast(cython.p_char, it.view.buf)
    it.size = it.view.len
    return it


def read_into(core, path, fd, offset, buffer, instant, partial):
    """A request that reads into a writable buffer, which is held until its end."""
    it: ReadInto = ReadInto.__new__(ReadInto)
    it.core = core
    it.path = path
    it.fd = fd
    it.offset = offset
    take_writable(buffer, cython.address(it.view))
    it.held = True
    it.memory = cython.cast(cython.p_char, it.view.buf)
    it.size = it.view.len
    it.instant = instant
    it.partial = partial
    return it


def vectored(core, path, fd, offset, buffers, writing):
    """A request for several buffers.

    Raises:
        ValueError: there are more than 1024.
    """
    it: Vectored = Vectored.__new__(Vectored)
    it.core = core
    it.path = path
    it.fd = fd
    it.offset = offset
    it.writing = writing
    it.views = [flat(buffer, not writing) for buffer in buffers]
    if len(it.views) > PARTS_MAX:
        raise ValueError(f"{len(it.views)} buffers are more than the kernel takes at once: {PARTS_MAX}")
    it.count = len(it.views)
    it.parts = cython.cast(cython.pointer(iovec), calloc(max(it.count, 1), cython.sizeof(iovec)))
    if it.parts == cython.NULL:
        raise MemoryError
    for place, part in enumerate(it.views):
        set_part(cython.address(it.parts[cython.cast(cython.Py_ssize_t, place)]), part, writing)
    return it


def set_part(part, view, writing):
    buffer: Py_buffer
    # The memoryview keeps the memory alive; only the address is needed here.
    PyObject_GetBuffer(view, cython.address(buffer), PyBUF_SIMPLE if writing else PyBUF_WRITABLE)
    part.iov_base = buffer.buf
    part.iov_len = buffer.len
    PyBuffer_Release(cython.address(buffer))
    return 0
