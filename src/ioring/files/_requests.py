"""Requests for files: objects that are awaited once, and give a result.

Reading what is in the page cache takes less time than a turn of the loop. So a request is first tried by a system call
that does not wait, where there is one; a request of the ring is made only when that fails. How much a turn of the loop
may read in this way is limited. A request that finds nothing left of that waits for a later turn: other tasks run
first.

On loops that are not ours a ring on the side does the work, or threads where there is no ring: see engine.py. A request
is the same object in each case; only who brings its result differs.

Those that move bytes are in _transfers.py.
"""

import asyncio
import os

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING
from cython.cimports.ioring.files._cached_lookup import open_known, statx_t
from cython.cimports.ioring.ring.fork_guard import uring_forks
from cython.cimports.libc.errno import EINTR


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
            self.future._asyncio_future_blocking = True
            return self.future
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
        number = cython.cast(cython.int, -self.result)
        if self.path is None:
            return OSError(number, os.strerror(number))
        return OSError(number, os.strerror(number), self.path)

    def start(self):
        if self.core.ring is None:
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
        self.core._in_thread(self.blocking, self._thread_done)
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
        self.future._asyncio_future_blocking = True
        return self.future

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


class Call(FileOp):
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


def new_call(core, opcode, fd, path, fallback):
    """A request for an operation that moves no bytes; see _operations.py, where the rest of its entry is filled in.

    ``fallback`` does the same in a thread, and returns a number or None.
    """
    it: Call = Call.__new__(Call)
    it.core = core
    it.path = path
    it.fallback = fallback
    it.entry.opcode = opcode
    it.entry.fd = fd
    return it


def open_now(folder, path, flags, mode):
    """Opens a file without waiting. A descriptor or a negative error: -EAGAIN when that would have to wait."""
    found: statx_t
    name: bytes = path
    return open_known(folder, PyBytes_AS_STRING(name), flags, cython.address(found))
