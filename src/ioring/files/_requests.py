"""Requests for files: objects that are awaited once, and give a result.

Reading what is in the page cache takes less time than a turn of the loop. So a read is first tried by a system call
that does not wait (RWF_NOWAIT); a request of the ring is made only when that fails. How much a turn of the loop may
read in this way is limited. A request that finds nothing left of that waits for a later turn: other tasks run first.

On loops that are not ours a ring on the side does the work, or threads where there is no ring: see engine.py. A request
is the same object in each case; only who brings its result differs.

Here are those that move bytes. A program makes and drops one for each read and write, and a class whose base is in
another module costs more to make and to drop. All others are in _call.py and _path_requests.py.
"""

import asyncio
import os

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.ioring.ring.fork_guard import uring_forks
from cython.cimports.libc.errno import EAGAIN, EINTR, EIO, EOPNOTSUPP
from cython.cimports.libc.stdlib import calloc, free

from ioring.files._memory import flat

LENGTH_MAX = cython.declare(cython.size_t, 1 << 30)
"""The most bytes that one request asks the kernel for."""

PARTS_MAX = 1024
"""The most buffers that the kernel takes at once (UIO_MAXIOV)."""


class Owner(QuickFile):
    """A binary file: what a request needs to know of it. The methods are called by requests."""

    # Of a request that has the file's turn.

    def abandoned(self, op):
        """The kernel has the request, and nobody waits for it any more."""
        return 0

    def caught_up(self, op, res):
        """An abandoned request is over."""
        return 0

    # Of a request that needs no turn: it borrows the descriptor.

    def admit(self):
        """Raises ValueError when no request may begin any more."""
        return 0

    def borrowed(self):
        """A request uses the descriptor from now on."""
        return 0

    def returned(self, core):
        """It does not any more."""
        return 0


class FileOp(Awaitable):
    """One request, to be awaited once."""

    # What each kind of request defines.

    def attempt(self):
        """Tries it by a system call that does not wait. Whether that worked; the result is in ``self.result``."""
        return False

    def cost(self):
        """How much of the turn's limit an attempt uses, in bytes. 0: there is no point in an attempt."""
        return 0

    def fill(self, sqe):
        """Writes the entry of the submission queue."""
        raise NotImplementedError

    def blocking(self):
        """Does it in a thread. Returns what the kernel would: a number, negative for an error."""
        raise NotImplementedError

    def more(self, res):
        """The kernel has returned a result. Whether the request has to be submitted once more, for the rest."""
        self.result = res
        return False

    def outcome(self):
        """What ``await`` gives."""
        return self.result

    def drop(self):
        """Gives up what the result owns, since nobody waits for it any more."""
        return 0

    # From the first step to the result.

    def step(self):
        cost: int64_t
        if self.state == FRESH:
            if self.lender is not None:
                self.lender.admit()
            cost = self.cost()
            if cost and self.core.immediate_left <= 0 and not self.core.alone():
                self.future = self.core.create_future()
                self.state = DEFERRED
                self.borrow_file()
                self.core.defer(self)
            elif cost and self.at_once(cost):
                return self.finish()
            else:
                self.future = self.core.create_future()
                self.borrow_file()
                self.begin()
        if self.state == WAITING or self.state == DEFERRED:
            return until(self.future)
        if self.finished or self.state == ABANDONED:
            raise RuntimeError("cannot reuse already awaited coroutine")
        return self.finish()

    def at_once(self, cost):
        """Makes an attempt. Whether the request is done."""
        self.core.immediate_left -= cost
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
        """Tells the file that its descriptor is in use from now on."""
        if self.lender is not None:
            self.borrowing = True
            self.lender.borrowed()
        return 0

    def return_file(self):
        """Tells the file that it is not any more."""
        lender, self.lender = self.lender, None
        if self.borrowing:
            self.borrowing = False
            lender.returned(self.core)
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
        if self.failure is not None:
            failure, self.failure = self.failure, None
            return failure
        number = cython.cast(cython.int, -self.result)
        if self.path is None:
            return OSError(number, os.strerror(number))
        return OSError(number, os.strerror(number), self.path)

    def start(self):
        if self.threaded or self.core.ring is None:
            return self.start_thread()
        self.fill(self.core.launch(self))
        self.marks |= MARK_HELD
        if self.core._thread_id is None:
            self.core._submit_soon()
        return 0

    def ended_with(self, res):
        if self.marks & MARK_HELD:
            self.marks ^= MARK_HELD
            # A descriptor that it brought, the ring has closed.
            self.end(-ECANCELED if res >= 0 and self.marks & MARK_DESCRIPTOR else res)
        return 0

    def release(self):
        # It was never submitted, except in the child of a fork: there the request is the parent's, and goes on.
        if self.core.ring.forks == uring_forks:
            self.ended_with(-ECANCELED)

    def start_thread(self):
        self.core._in_thread(self._work, self._thread_done)
        return 0

    def _work(self):
        try:
            return self.blocking()
        except BaseException as failure:
            self.failure = failure
            return -EIO

    def _thread_done(self, future):
        if future.cancelled():
            self.end(-ECANCELED)  # the executor was shut down
        else:
            self.complete_with(future.result())

    def complete(self, res, flags):
        self.complete_with(res)
        return 0

    def complete_with(self, res):
        if self.core._closed:
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
        """The loop is closed, and the request with it."""
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
        """An exception, mostly a cancellation, arrives at the ``await``.

        A steady request ends first, and the cancellation goes on then: nothing uses the caller's descriptor and memory
        any more.
        """
        kind = exception_of(kind, value)
        if not (self.steady and self.state == WAITING and isinstance(kind, asyncio.CancelledError)):
            self.leave()
            raise kind
        if self.cancellation is None and self.cancellable():
            self._cancel()
        self.cancellation = kind
        # The other future was cancelled with the task.
        self.future = self.core.create_future()
        return until(self.future)

    def _cancel(self):
        if self.table != cython.NULL and self.core._owns_ring():
            self.core.cancel(self)
            if self.core._thread_id is None:
                self.core._submit_soon()

    def leave(self):
        if self.state == WAITING:
            self.state = ABANDONED
            self.future = None
            if self.owner is not None:
                self.owner.abandoned(self)
            if self.cancellable():
                self._cancel()
        elif self.state == DONE and not self.finished:
            # It had ended, but the task did not know yet.
            self.finished = True
            owner, self.owner = self.owner, None
            self.drop()
            if owner is not None:
                owner.caught_up(self, self.result)
        else:
            self.state = ABANDONED
            self.return_file()
        return 0


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
