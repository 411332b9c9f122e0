"""Requests for files: what File, Path and the helpers are made of.

A read of what is in the page cache takes less time than a turn of the loop. So it is tried at once, by a call that does
not wait (RWF_NOWAIT), and becomes a request only when that fails. Each turn has a limit for it; when that is reached
everybody else comes first.

A loop that is not ours lends its turns to a ring on the side, or to threads where there is no ring: see engine.py one
level up. All go the same way; what differs is who brings the result.
"""

import asyncio
import operator
import os

import cython
from cython.cimports.cpython.buffer import (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_FillInfo,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.ioring.files._cached_lookup import open_known, statx_t
from cython.cimports.ioring.ring.fork_guard import uring_forks
from cython.cimports.libc.errno import EAGAIN, EINTR, EOPNOTSUPP
from cython.cimports.libc.stdlib import calloc, free

LENGTH_MAX = cython.declare(cython.size_t, 1 << 30)
"""So much goes into one request."""

PARTS_MAX = 1024


class Owner:
    """A file: it is told of requests that nobody waits for any more, and of those beside its order."""

    def abandoned(self, op):
        return 0

    def caught_up(self, op, res):
        return 0

    def admit(self):
        return 0

    def borrowed(self):
        return 0

    def returned(self, core):
        return 0


class FileOp:
    """One request, to be awaited once."""

    # What the kinds say.

    def attempt(self):
        """Whether it could be done at once; the result is in ``self.result``."""
        return False

    def cost(self):
        """Of an attempt, in bytes; 0 when there is no point in it."""
        return 0

    def fill(self, sqe):
        raise NotImplementedError

    def blocking(self):
        """Does it in a thread. The result, as the kernel would give it."""
        raise NotImplementedError

    def more(self, res):
        """A result: whether the request goes on."""
        self.result = res
        return False

    def outcome(self):
        return self.result

    def drop(self):
        """The result of a request that nobody waits for any more."""
        return 0

    # The request.

    def step(self):
        cost: int64_t
        if self.state == FRESH:
            if self.lender is not None:
                self.lender.admit()
            cost = self.cost()
            if cost and self.loop.immediate_left <= 0 and not self.loop.alone():
                self.future = self.loop.create_future()
                self.state = DEFERRED
                self.borrow_file()
                self.loop.defer(self)
            elif cost and self.at_once(cost):
                return self.finish()
            else:
                self.future = self.loop.create_future()
                self.borrow_file()
                self.begin()
        if self.state == WAITING or self.state == DEFERRED:
            self.future._asyncio_future_blocking = True
            return self.future
        if self.finished or self.state == ABANDONED:
            raise RuntimeError("cannot reuse already awaited coroutine")
        return self.finish()

    def at_once(self, cost):
        """Whether it is done in this turn."""
        self.loop.immediate_left -= cost
        if not self.attempt():
            return False
        self.state = DONE
        return True

    def begin(self):
        self.state = WAITING
        try:
            self.start()
        except BaseException:
            self.state = DONE
            self.result = -ECANCELED
            self.return_file()
            raise

    def borrow_file(self):
        """The descriptor is in use from now on."""
        if self.lender is not None:
            self.borrowing = True
            self.lender.borrowed()
        return 0

    def return_file(self):
        """It is not any more."""
        lender, self.lender = self.lender, None
        if self.borrowing:
            self.borrowing = False
            lender.returned(self.loop)
        return 0

    def retry(self):
        if self.state != DEFERRED or self.future.done():
            return 0
        try:
            if self.at_once(self.cost()):
                self.return_file()
                self.future.set_result(None)
            else:
                self.begin()
        except BaseException as error:
            self.state = DONE
            self.result = -ECANCELED
            self.return_file()
            self.future.set_exception(error)
        return 0

    def finish(self):
        self.finished = True
        self.future = None
        self.lender = None
        if self.cancellation is not None:
            cancellation, self.cancellation = self.cancellation, None
            self.drop()
            raise cancellation
        if self.result < 0:
            raise self.error()
        return self.outcome()

    def error(self):
        number = cython.cast(cython.int, -self.result)
        if self.path is None:
            return OSError(number, os.strerror(number))
        return OSError(number, os.strerror(number), self.path)

    def start(self):
        if self.loop.ring is None:
            return self.start_thread()
        self.fill(self.loop.launch(self))
        self.marks |= MARK_HELD
        if self.loop._thread_id is None:
            self.loop._submit_soon()
        return 0

    def ended_with(self, res):
        if self.marks & MARK_HELD:
            self.marks ^= MARK_HELD
            # A descriptor that it brought, the ring has closed.
            self.end(-ECANCELED if res >= 0 and self.marks & MARK_DESCRIPTOR else res)
        return 0

    def release(self):
        # It never came to the kernel. In the child of a fork it did, but that is the parent's.
        if self.loop.ring.forks == uring_forks:
            self.ended_with(-ECANCELED)

    def start_thread(self):
        self.loop._in_thread(self.blocking, self._thread_done)
        return 0

    def _thread_done(self, future):
        if future.cancelled():
            self.end(-ECANCELED)  # the executor was shut down
        else:
            self.complete_with(future.result())

    def complete(self, res, flags):
        self.complete_with(res)
        return 0

    def complete_with(self, res):
        if self.loop._closed:
            self.end(res)
            return
        if self.cancellation is None and (res == -EINTR or (res == -ECANCELED and self.state == WAITING)):
            self.start()
            return
        if self.more(res):
            self.start()
            return
        if self.state == ABANDONED:
            owner, self.owner = self.owner, None
            self.drop()
            if owner is not None:
                owner.caught_up(self, self.result)
            self.return_file()
            return
        self.state = DONE
        self.return_file()
        if not self.future.done():
            self.future.set_result(None)

    def end(self, res):
        """The loop is closed, and nobody goes on with it."""
        future, self.future = self.future, None
        abandoned = self.state == ABANDONED
        self.more(res)
        self.state = DONE
        owner, self.owner = self.owner, None
        if abandoned or future is None or future.done() or future.get_loop().is_closed():
            self.drop()
            if owner is not None:
                owner.caught_up(self, self.result)
        else:
            future.set_result(None)
        self.return_file()

    def cancellable(self):
        return True

    def throw(self, kind, value=None, traceback=None):
        """A steady one is over before its cancellation goes on: the caller's descriptor and memory are free then."""
        kind = exception_of(kind, value)
        if not (self.steady and self.state == WAITING and isinstance(kind, asyncio.CancelledError)):
            self.leave()
            raise kind
        if self.cancellation is None and self.cancellable():
            self._cancel()
        self.cancellation = kind
        # The other future was cancelled with the task.
        self.future = self.loop.create_future()
        self.future._asyncio_future_blocking = True
        return self.future

    def _cancel(self):
        if self.table != cython.NULL and self.loop._owns_ring():
            self.loop.cancel(self)
            if self.loop._thread_id is None:
                self.loop._submit_soon()

    def leave(self):
        if self.state == WAITING:
            self.state = ABANDONED
            self.future = None
            if self.owner is not None:
                self.owner.abandoned(self)
            if self.cancellable():
                self._cancel()
        elif self.state == DONE and not self.finished:
            # It was over before the task was told so.
            self.finished = True
            owner, self.owner = self.owner, None
            self.drop()
            if owner is not None:
                owner.caught_up(self, self.result)
        else:
            self.state = ABANDONED
            self.return_file()
        return 0


class Transfer:
    """Bytes from or into memory."""

    def place(self):
        """Where the next piece is in the file."""
        return self.offset + self.done if self.offset >= 0 else -1

    def fill(self, sqe):
        sqe.fd = self.fd
        sqe.addr = cython.cast(cython.size_t, self.memory) + self.done
        sqe.len = min(self.size - self.done, LENGTH_MAX)
        sqe.off = cython.cast(uint64_t, self.place())
        return 0

    def more(self, res):
        if res < 0:
            # With a position what was transferred before counts, and the error will come again. Without one nobody
            # asks again, and less than was asked for would pass for the end of the file.
            self.result = res if self.done == 0 or self.owner is None else self.done
            return False
        self.done += res
        self.result = self.done
        return res > 0 and self.done < self.size and self.goes_on()

    def read_now(self):
        """Reads what is cached. Whether that was all; the rest is left to a request."""
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
        """Whether the rest is wanted."""
        return not self.partial and self.state != ABANDONED and self.cancellation is None


class Read:
    """Bytes of a file."""

    def cost(self):
        return CALL_COST + cython.cast(int64_t, self.size) if self.instant else 0

    def attempt(self):
        return self.read_now()

    def fill(self, sqe):
        sqe.opcode = URING_OP_READ
        return Transfer.fill(self, sqe)

    def blocking(self):
        n: int64_t
        place: int64_t = self.place()
        with cython.nogil:
            n = ioring_read_blocking(self.fd, self.memory + self.done, self.size - self.done, place)
        return n

    def outcome(self):
        if self.done == self.size:
            return self.data
        return self.data[: self.done]


class IntoMemory:
    """Memory of the program's, held until the end."""

    def let_go(self):
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


class ReadInto:
    """Bytes of a file, into a buffer."""

    def fill(self, sqe):
        sqe.opcode = URING_OP_READ
        return Transfer.fill(self, sqe)

    def cost(self):
        return CALL_COST + cython.cast(int64_t, self.size) if self.instant else 0

    def attempt(self):
        return self.read_now()

    def blocking(self):
        n: int64_t
        place: int64_t = self.place()
        with cython.nogil:
            n = ioring_read_blocking(self.fd, self.memory + self.done, self.size - self.done, place)
        return n


class Write:
    """Bytes into a file."""

    def fill(self, sqe):
        sqe.opcode = URING_OP_WRITE
        return Transfer.fill(self, sqe)

    def cancellable(self):
        return not self.keep_going

    def goes_on(self):
        return self.state != ABANDONED or self.keep_going

    def blocking(self):
        n: int64_t
        place: int64_t = self.place()
        with cython.nogil:
            n = ioring_write_blocking(self.fd, self.memory + self.done, self.size - self.done, place)
        return n


class Vectored:
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


class Call:
    """Any other operation: its entry is filled in beforehand, and what does the same in a thread comes with it."""

    def hold(self, name):
        """Keeps a name as long as the kernel may read it. Its address."""
        if self.first is None:
            self.first = name
        else:
            self.second = name
        return cython.cast(cython.size_t, PyBytes_AS_STRING(name))

    def fill(self, sqe):
        sqe.opcode = self.entry.opcode
        sqe.fd = self.entry.fd
        sqe.addr = self.entry.addr
        sqe.len = self.entry.len
        sqe.off = self.entry.off
        sqe.op_flags = self.entry.op_flags
        sqe.flags = self.entry.flags
        return 0

    def blocking(self):
        try:
            self.value = self.fallback()
        except OSError as error:
            return -error.errno
        return self.value if isinstance(self.value, int) and not isinstance(self.value, bool) else 0

    def start(self):
        if not self.threaded:
            return FileOp.start(self)
        future = asyncio.get_running_loop().run_in_executor(None, self.blocking)
        future.add_done_callback(self._thread_done)
        return 0

    def cancellable(self):
        return not self.steady and self.entry.opcode != URING_OP_CLOSE

    def drop(self):
        if self.makes_descriptor and self.result >= 0:
            os.close(self.result)
        return 0


def new_read(core, path, fd, offset, size):
    it: Read = Read.__new__(Read)
    it.loop = core
    it.path = path
    it.fd = fd
    it.offset = offset
    it.size = size
    it.data = PyBytes_FromStringAndSize(cython.NULL, size)
    it.memory = PyBytes_AS_STRING(it.data)
    return it


def new_write(core, path, fd, offset, data):
    it: Write = Write.__new__(Write)
    it.loop = core
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
    it.loop = core
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
    it.loop = core
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


def whole(value, name):
    """An offset or a size as a C number, with the exceptions that os gives."""
    if not isinstance(value, int):
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None
    return value


class Flat:
    """Memory of the program's as plain bytes, whatever shape and format it has: memoryview.cast knows few of them."""

    def __getbuffer__(self, buffer: cython.pointer(Py_buffer), flags: cython.int):
        PyBuffer_FillInfo(buffer, self, self.view.buf, self.view.len, self.view.readonly, flags)

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(cython.address(self.view))


def flat(buffer, writable):
    """A memoryview of the bytes of a buffer.

    Raises:
        TypeError: it is no buffer, or is to be written to and cannot.
        BufferError: it has gaps.
    """
    it: Flat = Flat.__new__(Flat)
    if writable:
        take_writable(buffer, cython.address(it.view))
    else:
        PyObject_GetBuffer(buffer, cython.address(it.view), PyBUF_SIMPLE)
    it.held = True
    return memoryview(it)


def take_writable(buffer, view):
    """PyObject_GetBuffer of what is read into."""
    try:
        PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE)
    except BufferError as error:
        raise TypeError(
            f"a writable buffer without gaps is needed, not this {type(buffer).__name__}: {error}"
        ) from None
    return 0


def set_part(part, view, writing):
    buffer: Py_buffer
    # The memoryview keeps the memory; only the address is wanted here.
    PyObject_GetBuffer(view, cython.address(buffer), PyBUF_SIMPLE if writing else PyBUF_WRITABLE)
    part.iov_base = buffer.buf
    part.iov_len = buffer.len
    PyBuffer_Release(cython.address(buffer))
    return 0


def new_call(core, opcode, fd, path, fallback):
    """A request for an operation that moves no bytes; see _operations.py, where the rest of its entry is filled in.

    ``fallback`` does the same in a thread, and returns a number or None.
    """
    it: Call = Call.__new__(Call)
    it.loop = core
    it.path = path
    it.fallback = fallback
    it.entry.opcode = opcode
    it.entry.fd = fd
    return it


def open_now(folder, path, flags, mode):
    """A descriptor, or a negative number: -EAGAIN when the kernel would have to wait for the names, or the opening."""
    found: statx_t
    name: bytes = path
    return open_known(folder, PyBytes_AS_STRING(name), flags, cython.address(found))
