# cython: boundscheck=False, nonecheck=False
"""The loop's engine: callbacks, timers, and one exchange with the kernel per turn.

A turn prepares what the last one's callbacks produced, hands it over and waits in one io_uring_enter, tells the
operations that completed (which call their protocols there and then), and runs the callbacks that are ready. It knows
only LoopOp; what an operation is for, the modules above know.

Other threads reach in by call_soon_threadsafe. The GIL orders everything: `sleeping` is set before it is given up for
the wait, so whoever finds it unset knows that the queue will be looked at before the next wait.
"""

import asyncio
import collections
import sys
import weakref

import cython
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.cpython.contextvars import PyContext_CopyCurrent
from cython.cimports.ioring.loop._handles import new_handle
from cython.cimports.ioring.loop.bytes_pool import ioring_pool_bytes, ioring_pool_clear
from cython.cimports.ioring.loop.context_call import ioring_make, ioring_now
from cython.cimports.libc.errno import EINTR
from cython.cimports.posix.unistd import write

from ioring.ring.errors import os_error

Task = cython.declare(object, asyncio.Task)
Future = cython.declare(object, asyncio.Future)

FACTORY_TAKES_ALL = sys.version_info >= (3, 13, 3)
"""Since then a task factory is given everything; before, it did not know of names."""

SMALL_MAX = cython.declare(cython.uint, 4096)
MIDDLING_MAX = cython.declare(cython.Py_ssize_t, 16384)
"""Received bytes from SMALL_MAX on come from pools of objects with room for so many, or for a whole buffer."""

IMMEDIATE_MAX = cython.declare(int64_t, 65536)
"""What one turn may read at once, in bytes: some 20 microseconds."""

ALONE_MAX = cython.declare(int64_t, 2097152)
"""How much more that may be when nobody else has anything to do: some 100 microseconds."""

DEFERRED_SHARE = cython.declare(int64_t, 16384)
"""How much of that is for those who have waited for it. To wait costs a Future, so most of it is left to what they do
next."""

WAKE_BY_MESSAGE = cython.declare(cython.int, 0)
WAKE_BY_EVENTFD = cython.declare(cython.int, 1)

TIMEOUT_MAX = cython.declare(cython.double, 24 * 3600.0)
"""Longest wait of one turn, in seconds, so that nanoseconds never overflow."""


class LoopOp:
    """An operation of a loop."""

    def prepare(self):
        """Called before the next wait, once for each time it was enqueued."""
        return 0

    def retry(self):
        """Called in a later turn, once for each time it was deferred."""
        return 0


class WakeUp:
    """Eight bytes from an eventfd: for kernels whose rings cannot be sent a message without a ring (before 6.13)."""

    def prepare(self):
        sqe: sqe_p = self.loop.launch(self)
        sqe.opcode = URING_OP_READ
        sqe.fd = self.fd
        sqe.addr = cython.cast(cython.size_t, cython.address(self.count))
        sqe.len = 8
        sqe.off = cython.cast(uint64_t, -1)
        return 0

    def complete(self, res, flags):
        return self.loop.enqueue(self)  # also when the thread that armed it has ended


class Signals:
    """Numbers of signals, written by the interpreter to its wakeup descriptor: they end a wait that is just beginning.

    The handlers themselves are called by the interpreter, after the wait.
    """

    def prepare(self):
        sqe: sqe_p = self.loop.launch(self)
        sqe.opcode = URING_OP_RECV
        sqe.fd = self.fd
        sqe.addr = cython.cast(cython.size_t, cython.address(self.numbers[0]))
        sqe.len = 256
        return 0

    def complete(self, res, flags):
        if res <= 0 and res != -ECANCELED:
            return 0
        return self.loop.enqueue(self)


class LoopCore:
    """What ``ioring.Loop`` is made of: callbacks, timers and the turn. The rest is in the modules above."""

    def __cinit__(self):
        self.ready = [None] * 64
        self.mask = 63
        self.timers = Timers.__new__(Timers)
        self.queue = []
        self.deferred = collections.deque()
        self.owners = {}
        self.future_arguments = {"loop": self}

    # Opening and closing, called by Loop.

    def _open(self, ring, buffers, slots, eventfd, once):
        """The loop has its ring. The eventfd is -1 where a message can be sent to the ring."""
        self.ring = ring
        self.buffers = buffers
        self.middling.capacity = MIDDLING_MAX
        self.large.capacity = self.buffers.buffer_size
        self.slots = slots
        self._direct = slots > 0
        self._receive_once = once
        if eventfd >= 0:
            self.wake_mode = WAKE_BY_EVENTFD
            self.wake_up = WakeUp.__new__(WakeUp)
            self.wake_up.loop = self
            self.wake_up.fd = eventfd
            self.enqueue(self.wake_up)

    def _forget(self):
        """The loop is closed: nothing will run any more."""
        ready, self.ready = self.ready, [None] * 64
        self.head = self.tail = 0
        self.mask = 63
        self.timers.clear()
        self.queue.clear()
        self.deferred.clear()
        ioring_pool_clear(cython.address(self.middling))
        ioring_pool_clear(cython.address(self.large))
        del ready

    @property
    def _ring(self):
        return self.ring

    def _listen_to_signals(self, fd):
        """Reads numbers of signals from a socket from now on."""
        if self.signals is not None:
            return
        self.signals = Signals.__new__(Signals)
        self.signals.loop = self
        self.signals.fd = fd
        self.enqueue(self.signals)

    def statistics(self):
        """What the loop did so far, as a dict of numbers.

        ``turns``
            Turns of the loop.
        ``enters``, ``waits``
            Calls of ``io_uring_enter``, and those that were allowed to wait.
        ``submissions``, ``completions``
            Requests handed to the kernel, and results that came back.
        ``rearmed``
            Multishot requests that the kernel ended and that were armed again. Where a multishot receive could miss an
            end (before Linux 7.0), each receive.
        ``starved``
            Receives that ended because no buffer was free.
        ``in_flight``
            Requests that the kernel has now.
        ``buffers``, ``buffers_free``
            Receive buffers, and how many the kernel has now.
        ``slots``, ``slots_used``
            Places for direct descriptors, and how many are taken. 0 on a loop that uses ordinary descriptors.
        ``ready``, ``timers``
            Callbacks whose turn has come, and those that wait for a time.
        """
        result = dict(self.counts)
        result["in_flight"] = self.ring.in_flight
        result["buffers"] = self.buffers.entries
        result["buffers_free"] = self.buffers.available
        result["slots"] = self.slots
        result["slots_used"] = self.slots_used
        result["ready"] = self.tail - self.head
        result["timers"] = self.timers.count
        return result

    # What operations use.

    def launch(self, op):
        """An entry for an operation, which is kept until its final completion."""
        ioring_assert(op.loop is self)
        self.counts.submissions += 1
        return self.ring.launch(op)

    def cancel(self, op):
        """Asks the kernel to end an operation; its final completion still comes."""
        sqe: sqe_p
        if op.table != cython.NULL:
            sqe = self.ring.send_off()
            sqe.opcode = URING_OP_ASYNC_CANCEL
            sqe.fd = -1
            sqe.addr = op.token
        return 0

    def own(self, fd, transport):
        """A transport's descriptor is known to the program."""
        self.owners[fd] = weakref.ref(transport)
        return 0

    def check_free(self, fd):
        """That no transport uses a descriptor that the program wants to watch itself."""
        reference = self.owners.get(fd)
        transport = None if reference is None else reference()
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")
        return 0

    def nudge(self):
        """Submits at once what is prepared while the loop does not run, so that a close closes."""
        if self._thread_id is None:
            self._settle()
        return 0

    def alone(self):
        """Whether a new turn would find nothing to do but what is done now: so that need not wait for it.

        To be asked when the turn's limit for work at once is reached.
        """
        return (
            self._thread_id is not None  # else this works for another loop, which knows
            and not self._stopping
            and self.immediate_left > -ALONE_MAX
            and self.head == self.tail
            and not self.deferred
            and not self.queue
            and uring_sq_ready(cython.address(self.ring.u)) == 0
            and uring_cq_ready(cython.address(self.ring.u)) == 0
            and not uring_cq_needs_enter(cython.address(self.ring.u))
            and not (self.timers.count and self.timers.first()._when <= ioring_now())
        )

    def defer(self, op):
        """op.retry() is to be called in a turn that has something left of its limit for work at once."""
        self.deferred.append(op)
        self._rest()
        return 0

    def replenish(self):
        """A turn has begun: who waited for that comes first, in order."""
        op: LoopOp
        self.immediate_left = IMMEDIATE_MAX
        while self.deferred and self.immediate_left > IMMEDIATE_MAX - DEFERRED_SHARE:
            op = self.deferred.popleft()
            op.retry()
        return 0

    def _rest(self):
        """Somebody waits for the next turn."""

    def _replenish(self):
        """A turn has begun, of a loop that this one works for."""
        self.replenish()
        if self.deferred:
            self._rest()

    def _reap(self):
        """Tells the operations that have completed."""
        self.counts.completions += self.ring.reap()

    def _submit_soon(self):
        """Something is prepared, and the loop does not run."""
        self._settle()

    def _owns_ring(self):
        return not self._closed and self.ring.owner == uring_thread_self()

    def _at_home(self):
        """Whether this is the ring's thread, and not a later one that was given the same place in memory."""
        return self._owns_ring() and self.ring.owner_tid == uring_gettid()

    def _settle(self):
        """Submits what is prepared, without waiting."""
        if self._owns_ring() and self.ring.u.setup_flags & URING_SETUP_R_DISABLED == 0:
            self.prepare_queue()
            self.ring.exchange(0, 0)

    def _schedule(self, callback, args, context):
        self.schedule(callback, args, context)

    def _free_slot(self, slot):
        """Closes a direct descriptor."""
        sqe: sqe_p
        if not self._closed:
            ioring_assert(self.slots_used > 0)
            self.slots_used -= 1
            sqe = self.ring.send_off()
            sqe.opcode = URING_OP_CLOSE
            sqe.file_index = cython.cast(cython.uint, slot) + 1
            self.nudge()

    def enqueue(self, op):
        """op.prepare() is to be called before the next wait."""
        if not op.queued:
            op.queued = True
            self.queue.append(op)
        return 0

    def take(self, bid, length):
        """The bytes that a completion left in a buffer, which goes back to the kernel."""
        result: bytes = self.copied(
            self.buffers.buffers + cython.cast(cython.size_t, bid) * self.buffers.buffer_size, length
        )
        self.give_back(bid)
        return result

    def copied(self, source, length):
        if length < SMALL_MAX:
            return PyBytes_FromStringAndSize(source, length)
        if length <= self.middling.capacity:
            return ioring_pool_bytes(cython.address(self.middling), source, length)
        if length <= self.large.capacity:
            return ioring_pool_bytes(cython.address(self.large), source, length)
        return PyBytes_FromStringAndSize(source, length)

    def give_back(self, bid):
        """A buffer of a completion is the kernel's again."""
        self.buffers.hand_out(bid)
        self.buffers.put(bid)
        self.buffers.show(1)

    # Callbacks.

    def push(self, item):
        while self.tail - self.head > self.mask:
            self.grow()
        if IORING_ASSERTIONS:
            ioring_assert(self.ready[self.tail & self.mask] is None)
        self.ready[self.tail & self.mask] = item
        self.tail += 1
        return 0

    def grow(self):
        place: cython.Py_ssize_t
        mask: cython.Py_ssize_t = self.mask
        items = [None] * (2 * (mask + 1))  # may collect garbage, and with it run anybody's code
        if self.mask != mask:
            return 0  # which has done it already
        for place in range(self.mask + 1):
            items[place] = self.ready[(self.head + place) & self.mask]
        self.tail -= self.head
        self.head = 0
        self.mask = 2 * self.mask + 1
        self.ready = items
        return 0

    def schedule(self, callback, args, context):
        """What call_soon does, for callers that know what they do."""
        return self.push(new_handle(callback, args, context, self))

    def call_soon(self, callback, *args, context=None):
        """Calls the callback at the next turn (``loop.call_soon``). Returns an ``asyncio.Handle``."""
        handle: Handle
        if self._closed:
            self._check_closed()
        handle = new_handle(callback, args, context, self)
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_soon")
            handle._source_traceback = self._traceback()
        self.push(handle)
        return handle

    def call_soon_threadsafe(self, callback, *args, context=None):
        """The same from any thread, or from a signal's handler (``loop.call_soon_threadsafe``)."""
        handle: Handle
        if self._closed:
            self._check_closed()
        handle = new_handle(callback, args, context, self)
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
            handle._source_traceback = self._traceback()
        self.push(handle)
        if self.sleeping and not self.woken:
            self.wake()
        return handle

    def at(self, when, callback, args, context, name):
        handle: TimerHandle
        if self._closed:
            self._check_closed()
        if when != when:
            raise ValueError("when is not a number, but NaN")
        handle = TimerHandle.__new__(TimerHandle)
        handle._callback = callback
        handle._args = args
        handle._context = PyContext_CopyCurrent() if context is None else context
        handle._loop = self
        handle._when = when
        if self._debug:
            self._check_thread()
            self._check_callback(callback, name)
            handle._source_traceback = self._traceback()
        self.timers.push(handle)
        return handle

    def call_later(self, delay, callback, *args, context=None):
        """Calls the callback in so many seconds, never earlier (``loop.call_later``). Returns a ``TimerHandle``."""
        if delay is None:
            raise TypeError("delay must not be None")
        return self.at(ioring_now() + cython.cast(cython.double, delay), callback, args, context, "call_later")

    def call_at(self, when, callback, *args, context=None):
        """Calls the callback at a time of the loop's clock, in seconds (``loop.call_at``)."""
        if when is None:
            raise TypeError("when cannot be None")
        return self.at(when, callback, args, context, "call_at")

    def time(self):
        """The loop's clock in seconds: ``time.monotonic()``."""
        return ioring_now()

    def stop(self):
        """Ends ``run_forever`` at the end of this turn (``loop.stop``)."""
        self._stopping = True

    def get_debug(self):
        """Whether the loop is in debug mode (``loop.get_debug``)."""
        return self._debug

    def is_closed(self):
        """Whether the loop was closed (``loop.is_closed``)."""
        return self._closed

    def create_future(self):
        """A Future of this loop (``loop.create_future``)."""
        return ioring_make(Future, self.future_arguments)

    def create_task(self, coro, **kwargs):
        """A Task of this loop (``loop.create_task``): its name, context and the like as asyncio.Task takes them.

        A task factory is given what it is given by asyncio's own loop of the running Python.
        """
        if self._closed:
            self._check_closed()
        if self._task_factory is None:
            if kwargs:
                return Task(coro, loop=self, **kwargs)
            return Task(coro, loop=self)
        if FACTORY_TAKES_ALL:
            return self._task_factory(self, coro, **kwargs)
        name = kwargs.pop("name", None)
        if kwargs.get("context", self) is None:
            del kwargs["context"]
        task = self._task_factory(self, coro, **kwargs)
        if name is not None and hasattr(task, "set_name"):
            task.set_name(name)
        return task

    def _write_to_self(self):
        if self.sleeping and not self.woken:
            self.wake()

    # The turn.

    def announce(self, callback, args):
        """What call_soon_threadsafe does, but for ending the wait of the loop's thread.

        The ring's descriptor when that is left to the caller, who can call uring_send_wakeup() without the GIL, and
        wake() should that fail; else -1.
        """
        if self._closed:
            self._check_closed()
        self.push(new_handle(callback, args, None, self))
        if not self.sleeping or self.woken:
            return -1
        if self.wake_mode == WAKE_BY_EVENTFD:
            self.wake()
            return -1
        self.woken = True
        return self.ring.u.fd

    def wake(self):
        """Ends the wait of the loop's thread."""
        one: uint64_t = 1
        code: cython.int
        self.woken = True
        if self.wake_mode == WAKE_BY_EVENTFD:
            write(self.wake_up.fd, cython.address(one), 8)
            return 0
        code = uring_send_wakeup(self.ring.u.fd)
        if code < 0 and code != -EINTR:
            self.woken = False
            raise os_error(code, "io_uring_register send_msg_ring")
        return 0

    def _spin(self):
        """Turns until stop()."""
        while True:
            self.turn()
            if self._stopping:
                return

    def _run_once(self):
        self.turn()

    @property
    def _ready(self):
        """The callbacks whose turn has come, for programs that look into asyncio's own loop."""
        return [self.ready[place & self.mask] for place in range(self.head, self.tail)]

    @_ready.setter
    def _ready(self, value):
        pass  # asyncio.BaseEventLoop makes a queue of its own

    @property
    def _scheduled(self):
        """The timers, likewise."""
        return self.timers.heap[: self.timers.count]

    @_scheduled.setter
    def _scheduled(self, value):
        pass

    def turn(self):
        now: cython.double
        due: cython.double = 0
        timeout: int64_t = -1
        wait: cython.uint = 1
        ready: cython.Py_ssize_t
        self.counts.turns += 1
        self.immediate_left = IMMEDIATE_MAX
        if self.deferred:
            self.replenish()
        if self.queue:
            self.prepare_queue()
        if self.ring.u.fd < 0:  # forked by what was called there
            self.ring.refuse()
        ready = self.tail - self.head
        if ready or self.deferred or self._stopping:
            wait = 0
        elif self.timers.count:
            now = self.timers.first()._when - ioring_now()
            if now <= 0:
                wait = 0
            else:
                timeout = cython.cast(int64_t, min(now, TIMEOUT_MAX) * 1e9) + 1
        if wait or uring_sq_ready(cython.address(self.ring.u)) or uring_cq_needs_enter(cython.address(self.ring.u)):
            self.counts.enters += 1
            self.counts.waits += wait
            self.sleeping = wait
            try:
                self.ring.exchange(wait, timeout)
            finally:
                self.sleeping = self.woken = False
        # In asyncio's order: what was ready before, what has arrived, what was due. What becomes due meanwhile comes
        # behind what becomes ready meanwhile, in the next turn.
        if self.timers.count:
            due = ioring_now()
        if ready:
            self.run_ready(ready)
        self.counts.completions += self.ring.reap()
        if due and self.timers.count:
            self.expire(due)
        return 0

    def send_early(self):
        """Hands over what is written so far, in the middle of a turn, between two callbacks.

        A turn may write megabytes. They would be out of the processor's cache when the turn is over, and so many freed
        at once that the allocator gives their memory back to the kernel, which costs more than all the rest.
        """
        self.prepare_queue()
        self.counts.enters += 1
        return self.ring.exchange_early()

    def prepare_queue(self):
        """Tells the operations that have something to submit. What they enqueue meanwhile is told too."""
        op: LoopOp
        place: cython.Py_ssize_t = 0
        if self.preparing:
            return 0  # collected garbage has written something: it is told below, too
        self.preparing = True
        self.unsent = 0
        try:
            while place < len(self.queue):
                op = cython.cast(LoopOp, self.queue[place])
                ioring_assert(op.queued)
                place += 1
                op.queued = False
                op.prepare()
        finally:
            self.preparing = False
            del self.queue[:place]
        return 0

    def expire(self, now):
        """Runs the timers whose time has come, the earliest first."""
        handle: TimerHandle
        place: cython.Py_ssize_t = 0
        due: list = []
        while self.timers.count:
            handle = self.timers.first()
            if handle._when > now:
                break
            self.timers.remove(handle)
            due.append(handle)
        try:
            while place < len(due):
                place += 1
                self.run_one(cython.cast(Handle, due[place - 1]))
        finally:
            while place < len(due):  # one of them has ended the loop
                self.push(due[place])
                place += 1
        return 0

    def run_ready(self, count):
        """Runs what was ready; what that makes ready waits for the next turn."""
        handle: Handle
        place: cython.Py_ssize_t
        while count > 0 and self.head != self.tail:  # closed meanwhile, if there are fewer
            count -= 1
            place = self.head & self.mask
            self.head += 1
            handle = cython.cast(Handle, self.ready[place])
            self.ready[place] = None
            self.run_one(handle)
        return 0

    def run_one(self, handle):
        if self._debug:
            self.run_in_debug(handle)
        else:
            handle.run()
        if self.unsent > UNSENT_MAX:
            self.send_early()
        return 0

    def run_in_debug(self, handle):
        """Runs a callback and tells when it was slow."""
        began: cython.double = ioring_now()
        self._current_handle = handle
        try:
            handle.run()
        finally:
            self._current_handle = None
        self._ran(handle, ioring_now() - began)
        return 0
