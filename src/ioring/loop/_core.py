# cython: boundscheck=False, nonecheck=False
"""The core of the loop: callbacks, timers, and one io_uring_enter per turn.

A turn has five steps: prepare the requests that the last turn's callbacks asked for, submit them and wait for
completions in one io_uring_enter, run the callbacks that were ready before, call complete() of each operation whose
completion has arrived (which calls its protocol directly), and run the timers that are due. The core knows operations
only as EngineOp; what each is for is known to the modules above.

Other threads use call_soon_threadsafe. The GIL orders everything: `sleeping` is set before the GIL is released for the
wait, so a thread that finds it unset knows that the loop will look at its queue before it waits again.
"""

import logging
import sys
import types
import weakref

import cython
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.ioring.loop._handles import new_handle, new_threadsafe_handle, set_up
from cython.cimports.ioring.loop.bytes_pool import ioring_pool_bytes, ioring_pool_clear
from cython.cimports.ioring.loop.context_call import ioring_make, ioring_now
from cython.cimports.libc.errno import EINTR
from cython.cimports.posix.unistd import write

from ioring.loop.asyncio_private import FUTURES as _FUTURES
from ioring.loop.asyncio_private import TASKS as _TASKS
from ioring.loop.native import READ_BY_OTHERS as _READ_BY_OTHERS
from ioring.loop.native import native
from ioring.ring.errors import os_error

TASKS = cython.declare(dict, _TASKS)
FUTURES = cython.declare(dict, _FUTURES)

CoroutineType = cython.declare(object, types.CoroutineType)
READ_BY_OTHERS = cython.declare(cython.bint, _READ_BY_OTHERS)

logger = logging.getLogger("asyncio")

FACTORY_TAKES_ALL = sys.version_info >= (3, 14) or sys.version_info[:3] == (3, 13, 3)
"""Whether a task factory is given all of create_task's arguments, the name and a context that is None among them.

Python 3.13.3 does so, 3.13.4 took it back for 3.13, and 3.14 has it for good."""

POOLED_MIN = cython.declare(cython.uint, 4096)
"""Received data of this many bytes or more is copied into an object from a pool, which spares the allocator."""

MIDDLING_MAX = cython.declare(cython.Py_ssize_t, 16384)
"""Size of the objects in one of the two pools, in bytes. Those in the other hold a whole receive buffer."""

ALONE_MAX = cython.declare(int64_t, 2097152)
"""How far a turn may exceed IMMEDIATE_MAX while nothing else is ready to run, in bytes: about 100 microseconds."""

WAIT_MAX = cython.declare(cython.double, 24 * 3600.0)
"""Longest wait of one turn, in seconds; it keeps the conversion to nanoseconds from overflowing."""


class LoopOp(EngineOp):
    """An operation of a loop."""

    def parks(self):
        return TAKEN_BACK

    def receives_into(self):
        """The buffers of which its completions name one, if they do."""
        return self.loop.buffers

    def complete_timed(self, res, flags):
        """Debug mode: a completion calls a protocol, which may take its time."""
        loop: LoopCore = self.loop
        began: cython.double = ioring_now()
        loop.reported = 0
        try:
            return self.complete(res, flags)
        finally:
            loop._completed(self, ioring_now() - began - loop.reported)


class LoopCore(Engine):
    """What ``ioring.Loop`` is made of: callbacks, timers and the turn. The rest is in the modules above.

    Heirs give the hooks below. A loop that runs is an ``asyncio.BaseEventLoop`` besides, and that gives the core
    ``_check_closed``, ``_check_thread``, ``_check_callback`` and ``call_exception_handler``.
    """

    # Hooks. Here they stand for a loop that has none of what they are about.

    def _adopt_reader(self, protocol, stream):
        """A Filter that takes over from asyncio's StreamReaderProtocol on a Stream; None: it stays as it is."""
        return

    def _socket_of(self, fd, server):
        """A socket object that owns a descriptor which an accept for a server (or None) has returned."""
        raise NotImplementedError

    def _leaves(self, args):
        """Whether a callback for a closed loop is dropped instead of refused: see Loop."""
        return False

    def _traceback(self):
        """Debug mode: where the program is, for the handle that is being made (a ``traceback.StackSummary``)."""
        return

    def _ran(self, handle, seconds):
        """Debug mode: a callback has run, and took so long."""

    def _completed(self, operation, seconds):
        """Debug mode: the completion of an operation was handled, and that took so long."""

    def __cinit__(self):
        self._closed = True  # also if the constructor fails: nothing has to be closed then
        self.eventfd = -1
        self.ready = [None] * 64
        self.mask = 63
        self.timers = Timers.__new__(Timers)
        self.owners = {}
        self._acceptors = {}
        self.future_arguments = {"loop": self}

    # Opening and closing, called by Loop.

    def _open(self, ring, buffers, slots, eventfd, once):
        """Gives the loop its ring, the receive buffers and the number of slots in the ring's file table.

        ``eventfd`` is what other threads write to in order to wake the loop; -1: they send the ring a message.
        ``once``: every receive is a request of its own, and none is multishot.
        """
        self._set_ring(ring)
        self.buffers = buffers
        self.rations = Rations.__new__(Rations, buffers)
        self.middling.capacity = MIDDLING_MAX
        self.large.capacity = self.buffers.buffer_size
        self.slots = slots
        self._direct = slots > 0
        self._receive_once = once
        self.eventfd = eventfd

    def _forget(self):
        """The loop is closed: drops everything that waits to run."""
        self._acceptors.clear()
        self.rations.line.clear()
        ready, self.ready = self.ready, [None] * 64
        self.head = self.tail = 0
        self.mask = 63
        self.timers.clear()
        super()._forget()
        ioring_pool_clear(cython.address(self.middling))
        ioring_pool_clear(cython.address(self.large))
        del ready

    def _let_go(self):
        """Whether this thread, which is not the ring's, may open the ring anew or close it: nothing is in flight.

        Then the buffers that completions in the queue name are the loop's, and not given to the kernel once more.
        """
        place: cqe_p
        ahead: cython.uint
        buffers: BufferRing
        if not self.forget_polls():
            return False
        for ahead in range(uring_cq_ready(cython.address(self.ring.u))):
            place = uring_cqe_at(cython.address(self.ring.u), ahead)
            op = self.ring.find(place.user_data)
            if op is not None and place.flags & URING_CQE_F_BUFFER:
                buffers = cython.cast(LoopOp, op).receives_into() if isinstance(op, LoopOp) else self.buffers
                buffers.hand_out(place.flags >> URING_CQE_BUFFER_SHIFT)
        return True

    def statistics(self):
        """See ``Loop.statistics``."""
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

    def own(self, fd, transport):
        """Notes which transport uses a descriptor that the program knows."""
        self.owners[fd] = weakref.ref(transport)
        return 0

    def check_free(self, fd):
        """Raises RuntimeError if a transport uses a descriptor that the program wants to use itself."""
        reference = self.owners.get(fd)
        transport = None if reference is None else reference()
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")
        return 0

    def alone(self):
        return (
            self._thread_id is not None
            and not self._stopping
            and self.immediate_left > -ALONE_MAX
            and self.head == self.tail
            and not self.deferred
            and not self.queue
            and not self.rations.line
            and uring_sq_ready(cython.address(self.ring.u)) == 0
            and uring_cq_ready(cython.address(self.ring.u)) == 0
            and not uring_cq_needs_enter(cython.address(self.ring.u))
            and not (self.timers.count and self.timers.first()._when <= ioring_now())
        )

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

    def take(self, bid, length):
        """The bytes that a completion has put into a receive buffer; the buffer goes back to the kernel."""
        result: bytes = self.copied(
            self.buffers.buffers + cython.cast(cython.size_t, bid) * self.buffers.buffer_size, length
        )
        self.give_back(bid)
        return result

    def copied(self, source, length):
        if length < POOLED_MIN:
            return PyBytes_FromStringAndSize(source, length)
        if length <= self.middling.capacity:
            return ioring_pool_bytes(cython.address(self.middling), source, length)
        if length <= self.large.capacity:
            return ioring_pool_bytes(cython.address(self.large), source, length)
        return PyBytes_FromStringAndSize(source, length)

    def give_back(self, bid):
        """Gives a receive buffer, which a completion has used, back to the kernel."""
        self.buffers.hand_out(bid)
        self.buffers.put(bid)
        self.buffers.show(1)

    # What goes to the log.

    def _warn(self, message):
        logger.warning(message)

    def _debug_failure(self, transport, message, exception):
        """An OSError has ended a connection: that is usual, and only said in debug mode."""
        if self._debug:
            logger.debug("%r: %s", transport, message, exc_info=exception)

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
        items = [None] * (2 * (mask + 1))  # may collect garbage, and so run code that calls call_soon()
        if self.mask != mask:
            return 0  # and that has grown the queue already
        for place in range(self.mask + 1):
            items[place] = self.ready[(self.head + place) & self.mask]
        self.tail -= self.head
        self.head = 0
        self.mask = 2 * self.mask + 1
        self.ready = items
        return 0

    def schedule(self, callback, args, context):
        """call_soon() without its checks. On a closed loop nothing is kept."""
        if self._closed:
            return 0
        return self.push(new_handle(callback, args, context, self))

    def call_soon(self, callback, *args, context=None):
        """Calls the callback at the next turn (``loop.call_soon``). Returns an ``asyncio.Handle``."""
        handle: Handle
        if self._closed:
            if self._leaves(args):
                return new_handle(callback, args, context, self)
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
        handle = new_threadsafe_handle(callback, args, context, self)
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
        set_up(handle, callback, args, context, self)
        handle._when = when
        if self._debug:
            self._check_thread()
            self._check_callback(callback, name)
            handle._source_traceback = self._traceback()
        self.timers.push(handle)
        return handle

    def call_later(self, delay, callback, *args, context=None):
        """Calls the callback after at least ``delay`` seconds (``loop.call_later``). Returns a ``TimerHandle``."""
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
        return ioring_make(FUTURES["Future"], self.future_arguments)

    def create_task(self, coro, **kwargs):
        """A Task of this loop (``loop.create_task``): its name, context and the like as asyncio.Task takes them.

        A task factory is given what it is given by asyncio's own loop of the running Python.
        """
        if self._closed:
            self._check_closed()
        if READ_BY_OTHERS and type(coro) is not CoroutineType:
            coro = native(coro)
        if self._task_factory is None:
            if kwargs:
                return TASKS["Task"](coro, loop=self, **kwargs)
            return TASKS["Task"](coro, loop=self)
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
        """call_soon_threadsafe() for callers that can wake the loop without the GIL.

        Returns the ring's descriptor if the loop's thread waits in the kernel and is not woken yet. The caller then
        calls uring_send_wakeup(), and wake() should that fail. Otherwise -1: nothing is left to do.
        """
        if self._closed:
            self._check_closed()
        self.push(new_handle(callback, args, None, self))
        if not self.sleeping or self.woken:
            return -1
        if self.eventfd >= 0:
            self.wake()
            return -1
        self.woken = True
        return self.ring.u.fd

    def wake(self):
        """Ends the wait of the loop's thread."""
        one: uint64_t = 1
        code: cython.int
        self.woken = True
        if self.eventfd >= 0:
            write(self.eventfd, cython.address(one), 8)
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
        """The callbacks that are ready, for programs that look at this private attribute of asyncio's own loop."""
        return [self.ready[place & self.mask] for place in range(self.head, self.tail)]

    @_ready.setter
    def _ready(self, value):
        pass  # asyncio.BaseEventLoop makes a queue of its own

    @property
    def _scheduled(self):
        """The timers, for the same programs."""
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
        if self.rations.scarce:
            self.rations.serve()
        if self.queue:
            self.prepare_queue()
        if self.ring.u.fd < 0:  # something that was called there has forked, and this is the child
            self.ring.refuse()
        ready = self.tail - self.head
        if ready or self.deferred or self._stopping or self.rations.line:
            wait = 0
        elif self.timers.count:
            now = self.timers.first()._when - ioring_now()
            if now <= 0:
                wait = 0
            else:
                timeout = cython.cast(int64_t, min(now, WAIT_MAX) * 1e9) + 1
        if wait or uring_sq_ready(cython.address(self.ring.u)) or uring_cq_needs_enter(cython.address(self.ring.u)):
            self.counts.enters += 1
            self.counts.waits += wait
            self.sleeping = wait
            try:
                self.ring.exchange(wait, timeout)
            finally:
                self.sleeping = self.woken = False
        # In asyncio's order: callbacks that were ready, completions, timers that are due. A timer that becomes due
        # meanwhile runs in the next turn, after the callbacks that become ready meanwhile.
        if self.timers.count:
            due = ioring_now()
        if ready:
            self.run_ready(ready)
        self.ring.timed = self._debug
        self.counts.completions += self.ring.reap()
        if due and self.timers.count:
            self.expire(due)
        return 0

    def send_early(self):
        """Submits what was written so far, in the middle of a turn, between two callbacks.

        A turn may write megabytes. At its end they would no longer be in the processor's cache; and so many of them
        would be freed together that the allocator would give their memory back to the kernel, which is expensive.
        """
        self.prepare_queue()
        self.counts.enters += 1
        return self.ring.exchange_early()

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
            while place < len(due):  # one of them has raised SystemExit or KeyboardInterrupt
                self.push(due[place])
                place += 1
        return 0

    def run_ready(self, count):
        """Runs that many callbacks; those that become ready meanwhile wait for the next turn."""
        handle: Handle
        place: cython.Py_ssize_t
        while count > 0 and self.head != self.tail:  # there are fewer if the loop was closed meanwhile
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
        """Runs a callback and measures how long it takes."""
        began: cython.double = ioring_now()
        self._current_handle = handle
        try:
            handle.run()
        finally:
            self._current_handle = None
        seconds: cython.double = ioring_now() - began
        self.reported += seconds
        self._ran(handle, seconds)
        return 0
