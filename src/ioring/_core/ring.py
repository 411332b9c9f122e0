"""The ring: submission, completion, and what must be true when it goes away.

A ring belongs to one thread: the one that made it, or, when it was made with R_DISABLED, the one that enabled it.
Every method looks at that first. A forked child finds its copy unusable, with its descriptor closed.

Closing cancels what is in flight and reaps it before the memory is unmapped. What does not end in time, and what
cannot be reaped because the last reference was dropped in another thread, is kept for ever rather than freed under
the kernel's hands.
"""

import os
import time
import warnings

import cython
from cython.cimports.cpython.exc import PyErr_CheckSignals
from cython.cimports.libc.string import memset
from cython.cimports.ioring._core.process import (
    uring_close,
    uring_enlist,
    uring_forks,
    uring_gettid,
    uring_thread_is_alive,
    uring_thread_self,
    uring_watch_forks,
)

from ioring._core.errors import ForkedRing, RegistrationError, RingClosed, RingError, SubmissionQueueFull, WrongThread
from ioring._core.errors import os_error

CLOSE_SECONDS = 10.0
"""How long close() waits for requests that cannot be cancelled: the disk reads of a dead NFS server, say."""

ABANDONED = []
"""What the kernel may still write to, of rings that are gone. Never emptied."""

uring_watch_forks()


def _nanoseconds(timeout):
    if timeout is None:
        return -1
    try:
        seconds = float(timeout)
    except (TypeError, ValueError):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__name__}") from None
    if not seconds >= 0:
        raise ValueError(f"timeout must not be negative: {timeout!r}")
    return int(min(seconds, 2**31) * 1e9 + 0.999999)


class RingCore(OpTable):
    """What ``ioring.Ring`` is made of: everything but the registrations."""

    def __cinit__(self):
        self.backlog = []
        self.buffer_rings = {}
        self.retired = []

    def __init__(self, entries, flags, cq_entries, sq_thread_cpu, sq_thread_idle, wq_fd):
        parameters: uring_params
        error: cython.int
        if self.state != STATE_NEW:
            raise RingError("a ring is opened once: make another Ring")
        memset(cython.address(parameters), 0, cython.sizeof(uring_params))
        parameters.flags = flags
        parameters.cq_entries = cq_entries
        parameters.sq_thread_cpu = sq_thread_cpu
        parameters.sq_thread_idle = sq_thread_idle
        parameters.wq_fd = wq_fd
        error = uring_open(cython.address(self.u), entries, cython.address(parameters))
        if error < 0:
            raise os_error(error, "io_uring_setup")
        uring_enlist(cython.address(self.u))
        self.state = STATE_OPEN
        self.adopt()

    def adopt(self):
        self.owner = uring_thread_self()
        self.owner_tid = uring_gettid()
        self.forks = uring_forks

    def check(self):
        if self.state == STATE_OPEN and self.owner == uring_thread_self() and self.forks == uring_forks:
            return 0
        return self.refuse()

    def refuse(self):
        if self.state == STATE_OPEN and self.forks != uring_forks:
            raise ForkedRing("the ring belongs to the parent process: make a new one in the child")
        if self.state == STATE_NEW:
            raise RingClosed("the ring was never opened")
        if self.state != STATE_OPEN:
            raise RingClosed("the ring is closed")
        raise WrongThread(
            "the ring belongs to another thread: use it there, or send it a message by ioring.send_msg_ring()"
        )

    # What it is.

    def fileno(self):
        """The ring's descriptor; readable for ``select`` and ``poll`` when completions are there.

        Raises:
            RingClosed: the ring is closed.
        """
        if self.state != STATE_OPEN or self.forks != uring_forks:
            self.refuse()
        return self.u.fd

    @property
    def closed(self):
        """Whether the ring is closed, or belongs to the parent of this process."""
        return self.state != STATE_OPEN or self.forks != uring_forks

    @property
    def _features(self):
        return self.u.features

    @property
    def _flags(self):
        return self.u.setup_flags

    @property
    def sq_entries(self):
        """Size of the submission queue: ``entries`` rounded up to a power of two."""
        return self.u.sq_entries

    @property
    def cq_entries(self):
        """Size of the completion queue."""
        return self.u.cq_entries

    def sq_ready(self):
        """Number of SQEs prepared and not yet taken by the kernel (``io_uring_sq_ready``)."""
        self.check()
        return uring_sq_ready(cython.address(self.u))

    def sq_space_left(self):
        """Number of SQEs that can still be had before submitting (``io_uring_sq_space_left``)."""
        self.check()
        return self.u.sq_entries - uring_sq_ready(cython.address(self.u))

    def cq_ready(self):
        """Number of completions that are there (``io_uring_cq_ready``), hidden ones of skipped successes included."""
        self.check()
        return uring_cq_ready(cython.address(self.u)) + cython.cast(cython.uint, len(self.backlog))

    # Submitting.

    def get_sqe(self):
        """The next submission queue entry, to be prepared (``io_uring_get_sqe``).

        When the queue is full, what is in it is submitted first.

        Raises:
            SubmissionQueueFull: the queue is full and submitting did not make room.
            RingClosed, WrongThread, ForkedRing: the ring cannot be used here.
        """
        place: sqe_p
        sqe: Sqe
        self.check()
        place = uring_get_sqe(cython.address(self.u))
        if place == cython.NULL:
            self.make_room()
            place = uring_get_sqe(cython.address(self.u))
            if place == cython.NULL:
                raise SubmissionQueueFull(
                    f"all {self.u.sq_entries} submission queue entries are taken and the kernel accepts none: "
                    "reap completions, or make the ring with more entries"
                )
        sqe = Sqe.__new__(Sqe)
        sqe.place = place
        sqe.position = self.u.sq_tail - 1
        try:
            self.add(sqe)
        except MemoryError:
            self.u.sq_tail -= 1
            raise
        place.user_data = sqe.token
        return sqe

    def make_room(self):
        try:
            self.flush()
        except BlockingIOError:
            pass  # the kernel is out of memory or the completion queue is full: get_sqe says so
        if self.u.setup_flags & URING_SETUP_SQPOLL and uring_sq_ready(cython.address(self.u)) >= self.u.sq_entries:
            self.enter(0, 0, URING_ENTER_SQ_WAIT, -1)

    def strip_skips(self):
        """Takes CQE_SKIP_SUCCESS out of what is about to be submitted: see Entry.set_flags."""
        op: Sqe
        for candidate in self.ops:
            if candidate is not None:
                op = candidate
                if op.position >= self.u.sq_published and op.marks & MARK_SKIP:
                    op.place.flags &= ~cython.cast(cython.uchar, URING_SQE_CQE_SKIP_SUCCESS)
        return 0

    def flush(self):
        """Hands over what is prepared. How many entries the kernel took."""
        count: cython.uint
        flags: cython.uint = 0
        fresh: cython.uint = self.u.sq_tail - self.u.sq_published
        if self.skipping and fresh:
            self.strip_skips()
        count = uring_publish(cython.address(self.u))
        if self.u.setup_flags & URING_SETUP_SQPOLL:
            if count and uring_sq_needs_wakeup(cython.address(self.u)):
                self.enter(count, 0, URING_ENTER_SQ_WAKEUP, -1)
            return fresh
        if uring_cq_needs_enter(cython.address(self.u)):
            flags = URING_ENTER_GETEVENTS
        elif count == 0:
            return 0
        return self.enter(count, 0, flags, -1)

    def submit(self):
        """Hands everything prepared to the kernel (``io_uring_submit``).

        Returns the number of entries that the kernel took. It may be fewer than were prepared: on a ring without
        ``SetupFlags.SUBMIT_ALL`` the kernel stops behind an entry that it refuses; the rest goes with the next call.

        Raises:
            BlockingIOError: the kernel has no memory for a request now (EAGAIN).
            OSError: EBUSY: completions must be reaped first; and other errors of ``io_uring_enter``.
            RingClosed, WrongThread, ForkedRing: the ring cannot be used here.
        """
        self.check()
        return self.flush()

    def submit_and_wait(self, n, timeout=None):
        """Submits, and waits in the same system call (``io_uring_submit_and_wait_timeout``).

        Parameters:
            n: how many completions must be there.
            timeout: seconds to wait at most; ``None``: without limit.

        Returns the number of entries that the kernel took. The completions stay in the queue.

        Raises:
            TimeoutError: fewer than ``n`` completions came in time. The requests were submitted all the same.
            ValueError: ``n`` is negative, or more than the completion queue holds.
            OSError: as of ``submit``.
        """
        wanted: cython.uint
        taken: cython.uint = 0
        deadline: int64_t
        left: int64_t
        count: cython.uint
        flags: cython.uint
        code: cython.int
        limit: int64_t = _nanoseconds(timeout)
        if not 0 <= n <= self.u.cq_entries:
            raise ValueError(f"n must be between 0 and the {self.u.cq_entries} entries of the completion queue, not {n}")
        wanted = n
        self.check()
        deadline = -1 if limit < 0 else time.monotonic_ns() + limit
        if self.skipping:
            taken = self.flush()
            collected = []
            try:
                self.collect(wanted, collected, deadline)
            finally:
                self.backlog[:0] = reversed(collected)
            return taken
        first: cython.bint = True
        while True:
            count = uring_publish(cython.address(self.u)) if first else 0
            there: cython.uint = uring_cq_ready(cython.address(self.u)) + cython.cast(cython.uint, len(self.backlog))
            if not first and there >= wanted:
                return taken
            if first and self.u.setup_flags & URING_SETUP_SQPOLL:
                taken = count
            flags = URING_ENTER_GETEVENTS if wanted else 0
            if self.u.setup_flags & URING_SETUP_SQPOLL and uring_sq_needs_wakeup(cython.address(self.u)):
                flags |= URING_ENTER_SQ_WAKEUP
            left = -1 if deadline < 0 else max(deadline - time.monotonic_ns(), 0)
            code = self.enter(count, wanted - min(wanted, cython.cast(cython.uint, len(self.backlog))), flags, left)
            if first and code > 0:
                taken = code
            first = False
            there = uring_cq_ready(cython.address(self.u)) + cython.cast(cython.uint, len(self.backlog))
            if there >= wanted:
                return taken
            if deadline >= 0 and time.monotonic_ns() >= deadline:
                raise TimeoutError(f"{taken} requests were submitted, but only {there} of {wanted} completions came in time")

    def enter(self, submit, wait, flags, timeout_ns):
        """One io_uring_enter without the GIL. 0 when it was interrupted or timed out; signals were handled then."""
        code: cython.int
        with cython.nogil:
            code = uring_enter(cython.address(self.u), submit, wait, flags, timeout_ns)
        if code >= 0:
            return code
        if code == -4:  # EINTR
            PyErr_CheckSignals()
            self.check()
            return 0
        if code == -62:  # ETIME
            return 0
        if code == -77:  # EBADFD
            raise RingError("the ring was made with R_DISABLED: call enable_rings() in the thread that will use it")
        if code == -17:  # EEXIST
            raise WrongThread("the kernel says that the ring belongs to another thread")
        raise os_error(code, "io_uring_enter")

    # Completions.

    def pop(self):
        """The oldest completion that is to be shown, or None."""
        place: cqe_p
        token: uint64_t
        res: int32_t
        flags: uint32_t
        cqe: Cqe
        extra: tuple = None
        words: cython.pointer(uint64_t)
        if self.backlog:
            return self.backlog.pop()
        while True:
            place = uring_peek_cqe(cython.address(self.u))
            if place == cython.NULL:
                return None
            token = place.user_data
            res = place.res
            flags = place.flags
            if self.u.cqe_shift:
                words = cython.cast(cython.pointer(uint64_t), place)
                extra = (words[2], words[3])
            uring_cq_advance(cython.address(self.u), 1)
            cqe = self.dispatch(token, res, flags)
            if cqe is not None:
                cqe.extra = extra
                return cqe

    def dispatch(self, token, res, flags):
        """What a completion means for its Op; the Cqe to show, or None."""
        op: Op = self.find(token)
        cqe: Cqe
        source: BufferRing
        if op is None:
            return new_cqe(res, flags, token, -1)
        if op.marks & MARK_HOOK:
            op.completed(res, flags)
        cqe = new_cqe(res, flags, op.user_data, op.opcode)
        cqe.descriptor = op.marks & MARK_DESCRIPTOR != 0 and res >= 0
        if flags & URING_CQE_F_BUFFER and op.marks & MARK_SELECT:
            source = self.buffer_rings.get(op.buffer_group_id)
            if source is not None:
                cqe.source = source
                cqe.segments = source.take(
                    flags >> URING_CQE_BUFFER_SHIFT,
                    res,
                    op.marks & MARK_BUNDLE != 0,
                    flags & URING_CQE_F_BUF_MORE != 0,
                )
            else:
                self.handed_out((op.buffer_group_id, flags >> URING_CQE_BUFFER_SHIFT))
        if flags & URING_CQE_F_MORE:
            return cqe
        self.remove(op)
        op.release()
        if op.marks & MARK_SELECT and self.retired:
            self.drop_retired()
        if op.marks & MARK_SKIP and res >= 0:
            return None
        return cqe

    def handed_out(self, key):
        """A buffer given by prep_provide_buffers is the program's again: the ring need not keep its memory."""
        views = self.provided.get(key)
        # An id that was given twice: which of the two came back is not known.
        if views is not None and len(views) == 1:
            del self.provided[key]

    def drop_retired(self):
        op: Op
        for candidate in self.ops:
            if candidate is not None:
                op = candidate
                if op.marks & MARK_SELECT:
                    return
        self.retired.clear()

    def flush_completions(self):
        """Brings completions into the queue that only an enter brings."""
        if uring_cq_needs_enter(cython.address(self.u)) and self.u.setup_flags & URING_SETUP_R_DISABLED == 0:
            self.enter(0, 0, URING_ENTER_GETEVENTS, -1)

    def peek_cqe(self):
        """The next completion if one is there, else ``None`` (``io_uring_peek_cqe``).

        Raises:
            RingClosed, WrongThread, ForkedRing: the ring cannot be used here.
        """
        cqe: Cqe
        self.check()
        cqe = self.pop()
        if cqe is None and uring_cq_needs_enter(cython.address(self.u)):
            self.flush_completions()
            cqe = self.pop()
        return cqe

    def wait_cqe(self, timeout=None):
        """The next completion, waiting for it (``io_uring_wait_cqe``, ``io_uring_wait_cqe_timeout``).

        Parameters:
            timeout: seconds to wait at most; ``None``: without limit.

        Does not submit: call ``submit`` before, or ``submit_and_wait``. Signals are handled while it waits.

        Raises:
            TimeoutError: none came in time.
            RingClosed, WrongThread, ForkedRing: the ring cannot be used here.
        """
        cqe: Cqe
        limit: int64_t
        self.check()
        cqe = self.pop()
        if cqe is not None:
            return cqe
        limit = _nanoseconds(timeout)
        collected = []
        self.collect(1, collected, -1 if limit < 0 else time.monotonic_ns() + limit)
        return collected[0]

    def wait_cqes(self, n, timeout=None):
        """The next ``n`` completions as a list, waiting for them (``io_uring_wait_cqes``).

        Parameters:
            n: how many; at least 1.
            timeout: seconds to wait at most; ``None``: without limit.

        Raises:
            TimeoutError: fewer than ``n`` came in time. Those that came stay in the queue.
            ValueError: ``n`` is less than 1.
        """
        collected = []
        limit: int64_t = _nanoseconds(timeout)
        if not 1 <= n <= 0x7FFFFFFF:
            raise ValueError(f"n must be at least 1, not {n}")
        self.check()
        try:
            self.collect(n, collected, -1 if limit < 0 else time.monotonic_ns() + limit)
        except BaseException:
            self.backlog.extend(reversed(collected))
            raise
        return collected

    def collect(self, n, collected, deadline):
        """Moves n completions into a list, waiting until the deadline (nanoseconds, < 0: none)."""
        cqe: Cqe
        left: int64_t
        flags: cython.uint
        missing: cython.uint
        while True:
            while cython.cast(cython.uint, len(collected)) < n:
                cqe = self.pop()
                if cqe is None:
                    break
                collected.append(cqe)
            missing = n - cython.cast(cython.uint, len(collected))
            if missing == 0:
                return 0
            left = -1
            if deadline >= 0:
                left = max(deadline - time.monotonic_ns(), 0)
            flags = URING_ENTER_GETEVENTS
            if self.u.setup_flags & URING_SETUP_SQPOLL and uring_sq_needs_wakeup(cython.address(self.u)):
                flags |= URING_ENTER_SQ_WAKEUP
            self.enter(0, min(missing, self.u.cq_entries), flags, left)
            if left == 0 and uring_peek_cqe(cython.address(self.u)) == cython.NULL:
                raise TimeoutError(f"{len(collected)} of {n} completions came in time")

    def completions(self):
        """Iterates over the completions that are there, without waiting (``io_uring_for_each_cqe``).

        Each is taken from the queue as it is reached; leaving the loop early loses none. At most as many as were
        there at the start are given, so that a loop that submits as it goes comes to an end.
        """
        result: Completions
        self.check()
        if uring_peek_cqe(cython.address(self.u)) == cython.NULL or uring_cq_needs_enter(cython.address(self.u)):
            self.flush_completions()
        result = Completions.__new__(Completions)
        result.ring = self
        result.left = uring_cq_ready(cython.address(self.u)) + cython.cast(cython.uint, len(self.backlog))
        return result

    # Registrations: the system call, and what the core must know of them.

    def _register(self, opcode, argument, count):
        """io_uring_register. The argument is None, an int, or a writable buffer."""
        code: cython.int
        where: cython.p_void = cython.NULL
        operation: cython.uint = opcode
        number: cython.uint = count
        view: cython.uchar[::1]
        self.check()
        if isinstance(argument, int):
            where = cython.cast(cython.p_void, cython.cast(cython.size_t, argument))
        elif argument is not None:
            view = memoryview(argument).cast("B")
            if view.shape[0]:
                where = cython.address(view[0])
        with cython.nogil:
            code = uring_sys_register(self.u.fd, operation, where, number)
        return code

    def _enabled(self):
        """The ring was made with R_DISABLED and is enabled now: it belongs to this thread."""
        self.u.setup_flags &= ~cython.cast(cython.uint, URING_SETUP_R_DISABLED)
        self.adopt()

    def _adopt_disabled(self):
        """Lets another thread call register while the ring is disabled: it is about to enable it."""
        if self.state == STATE_OPEN and self.forks == uring_forks and self.u.setup_flags & URING_SETUP_R_DISABLED:
            self.owner = uring_thread_self()
        else:
            self.check()

    def _use_registered_fd(self, index):
        """Enter by index from now on, or by descriptor when the index is negative."""
        number: cython.int = index
        self.check()
        if number < 0:
            self.u.enter_fd = self.u.fd
            self.u.enter_flags &= ~cython.cast(cython.uint, URING_ENTER_REGISTERED_RING)
        else:
            self.u.enter_fd = number
            self.u.enter_flags |= URING_ENTER_REGISTERED_RING

    @property
    def _registered_fd(self):
        return self.u.enter_fd if self.u.enter_flags & URING_ENTER_REGISTERED_RING else -1

    @property
    def _file_slots(self):
        return self.files

    @_file_slots.setter
    def _file_slots(self, count):
        self.files = count

    def _attach_buffers(self, group, buffers):
        ring: BufferRing = buffers
        ring.attach(group)
        self.buffer_rings[group] = ring
        return cython.cast(cython.size_t, ring.ring)

    def _detach_buffers(self, group, registered):
        ring: BufferRing = self.buffer_rings.pop(group)
        ring.detach()
        if registered:
            self.retired.append(ring)
            self.drop_retired()

    @property
    def _buffer_rings(self):
        return self.buffer_rings

    def _check(self):
        self.check()

    # The end.

    def close(self):
        """Cancels what is in flight, waits until the kernel is done with it, and closes the ring.

        Corresponds to ``io_uring_queue_exit``, which does not wait. Completions that nobody took are lost; the
        descriptors that they brought are closed, and so is the ring's own file table. A second call does nothing.
        May be called in another thread once the ring's own has ended. Requests that do not end within 10 seconds
        are given up with a ``ResourceWarning``; their memory is never freed.

        Raises:
            WrongThread: the ring's thread is alive, and not this one.
        """
        if self.state == STATE_OPEN and self.forks == uring_forks and self.owner != uring_thread_self():
            if uring_thread_is_alive(self.owner_tid):
                self.refuse()
        self.shut(CLOSE_SECONDS)

    def shut(self, seconds):
        op: Op
        ring: BufferRing
        if self.state != STATE_OPEN:
            return 0
        self.state = STATE_CLOSING
        if self.forks == uring_forks:
            try:
                self.quiesce(seconds)
            except OSError:
                pass  # another thread's ring, or one whose restrictions forbid to cancel
            self.discard()
            if self.in_flight:
                ABANDONED.append((self.ops, self.buffer_rings, self.retired, self.provided, self._fixed_buffers))
                warnings.warn(
                    f"{self.in_flight} requests of a ring did not end: their memory will never be freed",
                    ResourceWarning,
                    stacklevel=2,
                )
            else:
                # Synchronously, unlike the kernel's own clean-up: a peer sees the end of the stream now.
                uring_sys_register(self.u.fd, URING_UNREGISTER_FILES, cython.NULL, 0)
                if self._fixed_buffers is not None:
                    uring_sys_register(self.u.fd, URING_UNREGISTER_BUFFERS, cython.NULL, 0)
        for cqe in self.backlog:
            if cython.cast(Cqe, cqe).descriptor:
                os.close(cqe.res)
        self.backlog.clear()
        uring_close(cython.address(self.u))
        self.state = STATE_CLOSED
        abandoned: cython.bint = self.forks == uring_forks and self.in_flight != 0
        ops = self.ops
        self.ops = []
        self.spare = []
        for candidate in ops:
            if candidate is not None:
                op = candidate
                op.table = cython.NULL
        for buffers in self.buffer_rings.values():
            ring = buffers
            ring.detach()
        self.files = 0
        self.in_flight = 0
        if not abandoned:
            self.buffer_rings.clear()
            self.retired.clear()
            self.provided.clear()
            self._fixed_buffers = None
            for candidate in ops:
                if candidate is not None:
                    op = candidate
                    op.release()
        return 0

    def quiesce(self, seconds):
        """Cancels everything and reaps until nothing is in flight, for so many seconds at most."""
        op: Op
        place: sqe_p
        code: cython.int
        limit: uint64_t
        polled: cython.bint = self.u.setup_flags & URING_SETUP_SQPOLL != 0
        if polled:
            self.u.sq_tail = self.u.sq_published
        else:
            uring_retract(cython.address(self.u))
        limit = self.u.sq_tail
        for candidate in list(self.ops):
            if candidate is not None:
                op = candidate
                if op.position >= limit:
                    self.remove(op)
                    op.release()
        deadline: cython.double = time.monotonic() + seconds
        while True:
            self.discard()
            if self.in_flight == 0 or time.monotonic() > deadline:
                return 0
            place = uring_get_sqe(cython.address(self.u))
            if place != cython.NULL:
                place.opcode = URING_OP_ASYNC_CANCEL
                place.fd = -1
                place.op_flags = URING_CANCEL_ALL | URING_CANCEL_ANY
                uring_publish(cython.address(self.u))
            # The cancellation's own completion is one; wait for one more.
            with cython.nogil:
                code = uring_enter(
                    cython.address(self.u),
                    uring_sq_ready(cython.address(self.u)),
                    2,
                    URING_ENTER_GETEVENTS | (URING_ENTER_SQ_WAKEUP if polled else 0),
                    20_000_000,
                )
            if code < 0 and code not in (-4, -62, -11, -16):  # EINTR, ETIME, EAGAIN, EBUSY
                raise os_error(code, "io_uring_enter")

    def discard(self):
        """Takes all completions from the queue for nobody to see."""
        place: cqe_p
        token: uint64_t
        res: int32_t
        flags: uint32_t
        op: Op
        while True:
            place = uring_peek_cqe(cython.address(self.u))
            if place == cython.NULL:
                return 0
            token = place.user_data
            res = place.res
            flags = place.flags
            uring_cq_advance(cython.address(self.u), 1)
            op = self.find(token)
            if op is not None:
                op.discarded(res, flags)
                if flags & URING_CQE_F_MORE == 0:
                    self.remove(op)
                    op.release()

    def __enter__(self):
        if self.state != STATE_OPEN or self.forks != uring_forks:
            self.refuse()
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __del__(self):
        # Runs before the garbage collector clears anything, so that the requests' memory is whole until here.
        if self.state == STATE_OPEN:
            if self.forks == uring_forks:
                warnings.warn("a Ring was not closed", ResourceWarning, source=self, stacklevel=1)
            self.shut(2.0)

    def __dealloc__(self):
        if self.state == STATE_OPEN:
            uring_close(cython.address(self.u))

    def __repr__(self):
        if self.closed:
            return f"<{type(self).__name__} closed>"
        return (
            f"<{type(self).__name__} fd={self.u.fd} sq_entries={self.u.sq_entries} cq_entries={self.u.cq_entries} "
            f"in_flight={self.in_flight}>"
        )


class Completions:
    """The iterator that ``Ring.completions`` gives."""

    def __init__(self):
        raise TypeError("comes from Ring.completions()")

    def __iter__(self):
        return self

    def __next__(self):
        cqe: Cqe
        if self.left == 0:
            raise StopIteration
        self.ring.check()
        cqe = self.ring.pop()
        if cqe is None:
            self.left = 0
            raise StopIteration
        self.left -= 1
        return cqe


def send_message(fd, nbytes, data, flags):
    """IORING_REGISTER_SEND_MSG_RING: the SQE of a message, without a ring to put it in."""
    sqe: uring_sqe
    code: cython.int
    memset(cython.address(sqe), 0, cython.sizeof(uring_sqe))
    sqe.opcode = URING_OP_MSG_RING
    sqe.fd = fd
    sqe.len = cython.cast(cython.uint, cython.cast(cython.int, nbytes))
    sqe.off = data
    sqe.op_flags = flags
    # With the GIL: nobody can close the ring, and somebody else get its descriptor, in between.
    code = uring_sys_register(-1, URING_REGISTER_SEND_MSG_RING, cython.address(sqe), 1)
    if code < 0:
        raise os_error(code, "io_uring_register send_msg_ring")
