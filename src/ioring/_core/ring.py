"""The ring: submission, completion, and what must be true when it goes away.

A ring belongs to one thread: the one that made it, or, when it was made with R_DISABLED, the one that enabled it.
Every method looks at that first. A forked child finds its copy unusable, with its descriptor closed.

Closing cancels what is in flight and reaps it before the memory is unmapped. What does not end in time, and what
cannot be reaped because the last reference was dropped in another thread, is kept for ever rather than freed under
the kernel's hands.
"""

import operator
import time
import warnings

import cython
from cython.cimports.cpython.buffer import PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.exc import PyErr_CheckSignals
from cython.cimports.cpython.ref import PyObject
from cython.cimports.ioring._core.member import ioring_own_method
from cython.cimports.ioring._core.process import (
    uring_close,
    uring_enlist,
    uring_forks,
    uring_gettid,
    uring_thread_is_alive,
    uring_thread_self,
    uring_watch_forks,
)
from cython.cimports.libc.errno import EAGAIN, EBADFD, EBUSY, EEXIST, EINTR, ETIME
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memset
from cython.cimports.posix.unistd import close as close_descriptor
from cython.cimports.posix.unistd import dup, getpid
from cython.cimports.posix.unistd import usleep

from ioring._core.errors import (
    ForkedRing,
    RingClosed,
    RingError,
    SubmissionQueueFull,
    WrongThread,
    os_error,
)

CLOSE_SECONDS = 10.0
"""How long close() waits for requests that cannot be cancelled: the disk reads of a dead NFS server, say."""

TOKEN_BIT = cython.declare(cython.ulonglong, 1 << 63)
INDEX_BITS = cython.declare(cython.int, 22)
INDEX_MASK = cython.declare(cython.ulonglong, (1 << 22) - 1)
LOST = "{} requests of a ring did not end: their memory will never be freed"

LIGHT_MAX = cython.declare(cython.uint, 16)
"""So many small requests are submitted without giving up the GIL."""

SPENT_HELD_MAX = cython.declare(cython.uint, 64)

ABANDONED = []
"""What the kernel may still write to, of rings that are gone. Never emptied."""

ORPHANS = []
"""Descriptors of rings that went away in another thread, with the places that they still have among the registered
ones of their own: (thread, descriptor, index, count of forks). While it has its place a ring lives on in the kernel,
and only its own thread can take it away."""

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


def _count(n, least):
    try:
        number = operator.index(n)
    except TypeError:
        raise TypeError(f"n must be an int, not {type(n).__name__}") from None
    if not least <= number <= 0x7FFFFFFF:
        raise ValueError(f"n must be between {least} and 2147483647, not {number}")
    return number


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
        if ORPHANS:
            release_orphans(cython.NULL)

    def adopt(self):
        self.owner = uring_thread_self()
        self.owner_tid = uring_gettid()
        self.forks = uring_forks

    def own(self):
        """That this thread may use the ring, and that there is one; else the exception that says why not."""
        if self.state == STATE_OPEN and self.owner == uring_thread_self() and self.forks == uring_forks:
            return 0
        return self.refuse()

    def check(self):
        return self.own()

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
        self.own()
        return uring_sq_ready(cython.address(self.u))

    def sq_space_left(self):
        """Number of SQEs that can still be had before submitting (``io_uring_sq_space_left``)."""
        self.own()
        return self.u.sq_entries - uring_sq_ready(cython.address(self.u))

    def cq_ready(self):
        """Number of completions that are there (``io_uring_cq_ready``), hidden ones of skipped successes included."""
        self.own()
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
        self.own()
        sqe = self.take_sqe()
        place = uring_get_sqe(cython.address(self.u))
        if place == cython.NULL:
            try:
                place = self.make_room()
            except BaseException:
                if self.state == STATE_OPEN:
                    self.spent[self.spent_tail & self.spent_mask] = sqe.index
                    self.spent_tail += 1
                raise
        self.generation += 1
        sqe.table = cython.cast(cython.p_void, self)
        sqe.token = TOKEN_BIT | ((self.generation << INDEX_BITS) & (TOKEN_BIT - 1)) | sqe.index
        sqe.place = place
        sqe.position = self.u.sq_tail - 1
        sqe.fresh = True
        sqe.opcode = 0
        place.user_data = sqe.token
        self.in_flight += 1
        return sqe

    def take_sqe(self):
        """An Sqe that is done and that nobody looks at any more, or a new one. At most two are looked at."""
        sqe: Sqe
        index: cython.uint
        _attempt: cython.int
        for _attempt in range(min(self.spent_tail - self.spent_head, 2)):
            index = self.spent[self.spent_head & self.spent_mask]
            self.spent_head += 1
            sqe = cython.cast(Sqe, self.ops[index])
            if cython.cast(cython.pointer(PyObject), sqe).ob_refcnt == 2:  # the table's and the variable's
                return sqe
            self.spent[self.spent_tail & self.spent_mask] = index
            self.spent_tail += 1
        # To allocate may collect garbage, and with it run anybody's code: nothing known before is known afterwards.
        sqe = Sqe.__new__(Sqe)
        self.own()
        if self.spent_tail - self.spent_head > SPENT_HELD_MAX:
            # The program holds on to many: it may have this one, and the new one gets its index.
            sqe.index = self.spent[self.spent_head & self.spent_mask]
            self.spent_head += 1
            self.ops[sqe.index] = sqe
            return sqe
        self.place(sqe)
        if cython.cast(cython.uint, len(self.ops)) > self.spent_mask:
            self.grow_spent()
        return sqe

    def grow_spent(self):
        """Room for every index of the table, in a queue of twice the size."""
        size: cython.uint = max(2 * (self.spent_mask + 1), 64)
        queue: cython.p_uint = cython.cast(cython.p_uint, calloc(size, cython.sizeof(cython.uint)))
        count: cython.uint = self.spent_tail - self.spent_head
        place: cython.uint
        if queue == cython.NULL:
            self.ops.pop()
            raise MemoryError
        for place in range(count):
            queue[place] = self.spent[(self.spent_head + place) & self.spent_mask]
        free(self.spent)
        self.spent = queue
        self.spent_mask = size - 1
        self.spent_head = 0
        self.spent_tail = count
        return 0

    def retire_op(self, op):
        """The request is over and no longer counted: its memory is given up, and the Op can be used again.

        Giving things up may run anybody's code. The caller holds a reference, so that the Op is not used again by it.
        """
        if self.state == STATE_OPEN:
            self.spent[self.spent_tail & self.spent_mask] = op.index
            self.spent_tail += 1
        if op.marks & MARK_HELD:
            op.release()
        op.marks = 0
        op.user_data = None

    def end_op(self, op):
        """The request will be of no use any more, because the ring closes."""
        op.table = cython.NULL
        self.in_flight -= 1
        self.retire_op(op)

    def make_room(self):
        """Submits because the queue is full; the next entry."""
        place: sqe_p = cython.NULL
        try:
            self.flush()
            if self.u.setup_flags & URING_SETUP_SQPOLL and uring_sq_ready(cython.address(self.u)) >= self.u.sq_entries:
                self.enter(0, 0, URING_ENTER_SQ_WAIT, -1)
            self.own()
            place = uring_get_sqe(cython.address(self.u))
        except BlockingIOError:
            pass  # the kernel is out of memory
        if place == cython.NULL:
            raise SubmissionQueueFull(
                f"all {self.u.sq_entries} submission queue entries are taken and the kernel accepts none: "
                "reap completions, or make the ring with more entries"
            )
        return place

    def strip_skips(self):
        """Takes CQE_SKIP_SUCCESS out of what is about to be submitted: see Entry.set_flags."""
        op: Sqe
        for candidate in self.ops:
            op = candidate
            if op.table != cython.NULL and op.position >= self.u.sq_published and op.marks & MARK_SKIP:
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
        return max(self.enter(count, 0, flags, -1), 0)

    def submit(self):
        """Hands everything prepared to the kernel (``io_uring_submit``).

        Returns the number of entries that the kernel took. It may be fewer than were prepared: on a ring without
        ``SetupFlags.SUBMIT_ALL`` the kernel stops behind an entry that it refuses; the rest goes with the next call.

        Raises:
            BlockingIOError: the kernel has no memory for a request now (EAGAIN).
            OSError: EBUSY: completions must be reaped first; and other errors of ``io_uring_enter``.
            RingClosed, WrongThread, ForkedRing: the ring cannot be used here.
        """
        self.own()
        return self.flush()

    def submit_and_wait(self, n, timeout=None):
        """Submits, and waits in the same system call (``io_uring_submit_and_wait_timeout``).

        Parameters:
            n: how many completions must be there.
            timeout: seconds to wait at most; ``None``: without limit.

        Returns the number of entries that the kernel took; without waiting when it did not take all: see ``submit``.
        The completions stay in the queue.

        Raises:
            TimeoutError: fewer than ``n`` completions came in time. The requests were submitted all the same.
            ValueError: ``n`` is negative, or more than the completion queue holds.
            OSError: as of ``submit``.
        """
        limit: int64_t = _nanoseconds(timeout)
        wanted: cython.uint = _count(n, 0)
        taken: cython.uint
        deadline: int64_t = -1 if limit < 0 else time.monotonic_ns() + limit
        if wanted > self.u.cq_entries:
            raise ValueError(
                f"n must be between 0 and the {self.u.cq_entries} entries of the completion queue: {wanted}"
            )
        self.own()
        if self.skipping or self.backlog or self.u.setup_flags & URING_SETUP_SQPOLL:
            taken = self.flush()
            if uring_sq_ready(cython.address(self.u)) and self.u.setup_flags & URING_SETUP_SQPOLL == 0:
                return taken
            collected = []
            try:
                self.collect(wanted, collected, deadline)
            finally:
                self.put_back(collected)
            return taken
        return self.enter_and_wait(wanted, deadline)

    def enter_and_wait(self, wanted, deadline):
        """Submits and waits in one call; only if that ends early, in further ones. The number of entries taken."""
        count: cython.uint = uring_publish(cython.address(self.u))
        taken: cython.uint = 0
        there: cython.uint
        left: int64_t
        code: cython.int
        while True:
            left = -1 if deadline < 0 else max(deadline - time.monotonic_ns(), 0)
            if count or wanted:
                code = self.enter(count, wanted, URING_ENTER_GETEVENTS if wanted else 0, left)
                if code > 0:
                    taken += code
                if code >= 0 and taken < count:
                    return taken
                if taken:
                    count = 0
            there = uring_cq_ready(cython.address(self.u))
            if there >= wanted:
                return taken
            if left == 0:
                raise TimeoutError(
                    f"{taken} requests were submitted, but only {there} of {wanted} completions came in time"
                )
            # A signal that came after something was submitted is not reported by the kernel.
            PyErr_CheckSignals()
            self.own()

    def enter(self, submit, wait, flags, timeout_ns):
        """One io_uring_enter: its result, or -EINTR or -ETIME. When it was interrupted, signals were handled.

        Without the GIL, unless it is sure to be short: giving the GIL back and taking it again costs 60 ns, a quarter
        of what the kernel takes for a small request.
        """
        code: cython.int
        if wait == 0 and submit <= LIGHT_MAX and not self.heavy:
            code = uring_enter(cython.address(self.u), submit, wait, flags, timeout_ns)
        else:
            self.heavy = False
            with cython.nogil:
                code = uring_enter(cython.address(self.u), submit, wait, flags, timeout_ns)
        if code >= 0:
            return code
        if code == -EINTR:
            PyErr_CheckSignals()
            self.own()
            return code
        if code == -ETIME:
            return code
        if code == -EBADFD:
            raise RingError("the ring was made with R_DISABLED: call enable_rings() in the thread that will use it")
        if code == -EEXIST:
            raise WrongThread("the kernel says that the ring belongs to another thread")
        raise os_error(code, "io_uring_enter")

    # Completions.

    def pop(self):
        """The oldest completion that is to be shown, or None."""
        place: cqe_p
        token: uint64_t
        res: int32_t
        flags: uint32_t
        first: uint64_t = 0
        second: uint64_t = 0
        words: cython.pointer(uint64_t)
        cqe: Cqe
        if self.backlog:
            return self.backlog.pop()
        if uring_cq_ready(cython.address(self.u)) == 0:
            return None
        # Allocated first: that may collect garbage, and with it run anybody's code.
        cqe = new_cqe()
        while True:
            if self.state != STATE_OPEN:
                self.own()
            place = uring_peek_cqe(cython.address(self.u))
            if place == cython.NULL:
                return None
            token = place.user_data
            res = place.res
            flags = place.flags
            if self.u.cqe_shift:
                words = cython.cast(cython.pointer(uint64_t), place)
                first = words[2]
                second = words[3]
            uring_cq_advance(cython.address(self.u), 1)
            if self.dispatch(cqe, token, res, flags):
                if self.u.cqe_shift:
                    if cqe.additional is None:
                        cqe.additional = Additional.__new__(Additional)
                    cqe.additional.extra = (first, second)
                return cqe

    def dispatch(self, cqe, token, res, flags):
        """What a completion means for its Op; fills the Cqe. Whether it is to be shown."""
        op: Op
        marks: cython.uint
        index: cython.uint = token & INDEX_MASK
        cqe.number = res
        cqe.flags = flags
        cqe.res = res
        if token & TOKEN_BIT == 0 or index >= cython.cast(cython.uint, len(self.ops)):
            return self.foreign(cqe, token)
        op = cython.cast(Op, self.ops[index])
        if op.token != token or op.table == cython.NULL:
            return self.foreign(cqe, token)
        # The books first: what follows may allocate, collect garbage by that, and run anybody's code.
        final: cython.bint = flags & URING_CQE_F_MORE == 0
        if final:
            op.table = cython.NULL
            self.in_flight -= 1
        if not isinstance(op, Sqe):  # one that compiled code armed
            op.complete(res, flags)
            return False
        marks = op.marks
        cqe.user_data = op.user_data
        cqe.opcode = op.opcode
        if marks & MARK_DESCRIPTOR and res >= 0:
            cqe.descriptor = True
            if op.opcode == URING_OP_PIPE:
                cqe.additional = Additional.__new__(Additional)
                cqe.additional.pipe = op.pipe_ends()
        if flags & URING_CQE_F_BUFFER and marks & MARK_SELECT:
            self.receive(cqe, op.buffer_group_id, marks & MARK_BUNDLE != 0)
        if marks & MARK_HOOK:
            op.completed(self, res, flags)
        if not final:
            return True
        self.retire_op(op)
        if marks & MARK_SELECT and self.retired:
            self.drop_retired()
        return not (marks & MARK_SKIP and res >= 0)

    def foreign(self, cqe, token):
        """A completion of no request of this ring: a message."""
        cqe.user_data = token
        cqe.opcode = -1
        return True

    def receive(self, cqe, group, bundle):
        """The kernel took buffers of a group: they are the program's now, by way of this completion."""
        bid: cython.uint = cqe.flags >> URING_CQE_BUFFER_SHIFT
        source: BufferRing = self.buffer_rings.get(group)
        if source is None:
            self.handed_out((group, bid))
        else:
            cqe.additional = Additional.__new__(Additional)
            cqe.additional.source = source
            cqe.additional.segments = source.take(bid, cqe.number, bundle, cqe.flags & URING_CQE_F_BUF_MORE != 0)
        return 0

    def handed_out(self, key):
        """A buffer given by prep_provide_buffers is the program's again: the ring need not keep its memory."""
        views = self.provided.get(key)
        # An id that was given twice: which of the two came back is not known.
        if views is not None and len(views) == 1:
            del self.provided[key]

    def drop_retired(self):
        op: Op
        for candidate in self.ops:
            op = candidate
            if op.table != cython.NULL and op.marks & MARK_SELECT:
                return 0
        self.retired.clear()
        return 0

    def flush_completions(self):
        """Brings completions into the queue that only an enter brings."""
        if uring_cq_needs_enter(cython.address(self.u)) and self.u.setup_flags & URING_SETUP_R_DISABLED == 0:
            self.enter(0, 0, URING_ENTER_GETEVENTS, -1)
            self.own()
        return 0

    def peek_cqe(self):
        """The next completion if one is there, else ``None`` (``io_uring_peek_cqe``).

        Raises:
            RingClosed, WrongThread, ForkedRing: the ring cannot be used here.
        """
        cqe: Cqe
        self.own()
        cqe = self.pop()
        if cqe is None:
            self.own()
            if uring_cq_needs_enter(cython.address(self.u)):
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
        if timeout is None:
            limit = -1
        else:
            limit = _nanoseconds(timeout)
        self.own()
        cqe = self.pop()
        if cqe is not None:
            return cqe
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
        limit: int64_t = _nanoseconds(timeout)
        wanted: cython.uint = _count(n, 1)
        collected = []
        self.own()
        try:
            self.collect(wanted, collected, -1 if limit < 0 else time.monotonic_ns() + limit)
        except BaseException:
            self.put_back(collected)
            raise
        return collected

    def put_back(self, collected):
        """Completions that were taken from the queue stay to be taken, or end with the ring if that was closed."""
        if self.state == STATE_OPEN:
            self.backlog.extend(reversed(collected))
        else:
            for cqe in collected:
                drop_unseen(cqe)
        return 0

    def collect(self, n, collected, deadline):
        """Moves n completions into a list, waiting until the deadline (nanoseconds, < 0: none)."""
        cqe: Cqe
        left: int64_t
        flags: cython.uint
        missing: cython.uint
        while True:
            while cython.cast(cython.uint, len(collected)) < n:
                self.own()  # the last completion's memory was given up, which may run anybody's code
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
            self.own()
            flags = URING_ENTER_GETEVENTS
            if self.u.setup_flags & URING_SETUP_SQPOLL and uring_sq_needs_wakeup(cython.address(self.u)):
                flags |= URING_ENTER_SQ_WAKEUP
            self.enter(0, min(missing, self.u.cq_entries), flags, left)
            self.own()
            if left == 0 and uring_cq_ready(cython.address(self.u)) == 0 and not self.backlog:
                raise TimeoutError(f"{len(collected)} of {n} completions came in time")

    def completions(self):
        """Iterates over the completions that are there, without waiting (``io_uring_for_each_cqe``).

        Each is taken from the queue as it is reached; leaving the loop early loses none. At most as many as were
        there at the start are given, so that a loop that submits as it goes comes to an end.
        """
        result: Completions = Completions.__new__(Completions)
        self.own()
        if uring_cq_needs_enter(cython.address(self.u)):
            self.flush_completions()
        result.ring = self
        result.left = uring_cq_ready(cython.address(self.u)) + cython.cast(cython.uint, len(self.backlog))
        return result

    # Requests that are answered in compiled code: an Op is placed once, armed for each request, and told by complete().

    def arm(self, op):
        """An entry for the Op's next request, all zero but for the token. The Op must not be in flight."""
        place: sqe_p = uring_get_sqe(cython.address(self.u))
        if place == cython.NULL:
            place = self.make_room()
        self.generation += 1
        op.table = cython.cast(cython.p_void, self)
        op.token = TOKEN_BIT | ((self.generation << INDEX_BITS) & (TOKEN_BIT - 1)) | op.index
        op.position = self.u.sq_tail - 1
        place.user_data = op.token
        self.in_flight += 1
        return place

    def reap(self):
        """Tells the Ops of everything that is in the completion queue. How many completions there were."""
        place: cqe_p
        token: uint64_t
        res: int32_t
        flags: uint32_t
        index: cython.uint
        op: Op
        count: cython.int = 0
        while True:
            if self.state != STATE_OPEN:
                return count
            place = uring_peek_cqe(cython.address(self.u))
            if place == cython.NULL:
                return count
            token = place.user_data
            res = place.res
            flags = place.flags
            uring_cq_advance(cython.address(self.u), 1)
            count += 1
            index = token & INDEX_MASK
            if token & TOKEN_BIT == 0 or index >= cython.cast(cython.uint, len(self.ops)):
                continue
            op = cython.cast(Op, self.ops[index])
            if op.token != token or op.table == cython.NULL:
                continue
            if isinstance(op, Sqe):
                raise RingError("a ring is driven by compiled code or by wait_cqe(), not by both")
            if flags & URING_CQE_F_MORE == 0:
                op.table = cython.NULL
                self.in_flight -= 1
            op.complete(res, flags)

    def turn(self):
        """One turn of a loop: submits what is prepared, waits for a completion, and tells the Ops."""
        code: cython.int
        count: cython.uint = uring_publish(cython.address(self.u))
        flags: cython.uint = URING_ENTER_GETEVENTS
        if self.u.setup_flags & URING_SETUP_SQPOLL and uring_sq_needs_wakeup(cython.address(self.u)):
            flags |= URING_ENTER_SQ_WAKEUP
        with cython.nogil:
            code = uring_enter(cython.address(self.u), count, 1, flags, -1)
        # EBUSY: completions first. EAGAIN: no memory for a request now; it stays in the queue for the next turn.
        if code < 0 and code not in (-EINTR, -EAGAIN, -EBUSY):
            raise os_error(code, "io_uring_enter")
        PyErr_CheckSignals()
        self.own()
        return self.reap()

    # Registrations: the system call, and what the core must know of them.

    def _register(self, opcode, argument, count):
        """io_uring_register: its result. The argument is None or a writable buffer."""
        code: cython.int
        where: cython.p_void = cython.NULL
        operation: cython.uint = opcode
        number: cython.uint = count
        view: Py_buffer
        if argument is not None:
            PyObject_GetBuffer(argument, cython.address(view), PyBUF_WRITABLE)
            where = view.buf
        try:
            self.own()
            with cython.nogil:
                code = uring_sys_register(self.u.fd, operation, where, number)
        finally:
            if argument is not None:
                PyBuffer_Release(cython.address(view))
        return code

    def _enabled(self):
        """The ring was made with R_DISABLED and is enabled now: it belongs to this thread."""
        self.u.setup_flags &= ~cython.cast(cython.uint, URING_SETUP_R_DISABLED)
        if self.owner_tid != uring_gettid():
            self.leave_registered_fd()  # its index is another thread's
        self.adopt()

    def _adopt_disabled(self):
        """Lets another thread call register while the ring is disabled: it is about to enable it."""
        if self.state == STATE_OPEN and self.forks == uring_forks and self.u.setup_flags & URING_SETUP_R_DISABLED:
            self.owner = uring_thread_self()
        else:
            self.own()

    def _use_registered_fd(self, index):
        """Enter by index from now on, or by descriptor when the index is negative."""
        number: cython.int = index
        self.own()
        if number < 0:
            self.leave_registered_fd()
        else:
            self.u.enter_fd = number
            self.u.enter_flags |= URING_ENTER_REGISTERED_RING

    def leave_registered_fd(self):
        self.u.enter_fd = self.u.fd
        self.u.enter_flags &= ~cython.cast(cython.uint, URING_ENTER_REGISTERED_RING)

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
        ring: BufferRing = self.buffer_rings.get(group)
        if ring is None:
            return
        if registered:
            # What was received before: the completions name the group, which may soon be another's.
            collected = []
            while True:
                cqe = self.pop()
                if cqe is None:
                    break
                collected.append(cqe)
            self.backlog.extend(reversed(collected))
            self.retired.append(ring)
        self.buffer_rings.pop(group, None)
        ring.detach()
        self.drop_retired()

    @property
    def _buffer_rings(self):
        return self.buffer_rings

    def _check(self):
        self.own()

    def _token_of(self, target):
        return self.token_of(target)

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
        attempt: cython.int = 0
        lost: cython.uint
        if self.state == STATE_OPEN and self.forks == uring_forks and self.owner != uring_thread_self():
            # Thread.join() comes back a little before the kernel's thread is gone.
            while uring_thread_is_alive(self.owner_tid):
                attempt += 1
                if attempt > 100:
                    self.refuse()
                with cython.nogil:
                    usleep(1000)
        lost = self.shut(CLOSE_SECONDS)
        if lost:
            warnings.warn(LOST.format(lost), ResourceWarning, stacklevel=2)

    def shut(self, seconds):
        """Closes whatever happens. The number of requests that had to be given up."""
        op: Op
        ring: BufferRing
        lost: cython.uint = 0
        if self.state != STATE_OPEN:
            return 0
        self.state = STATE_CLOSING
        if self.forks == uring_forks:
            if self.owner != uring_thread_self():
                if self.u.enter_flags & URING_ENTER_REGISTERED_RING and uring_thread_is_alive(self.owner_tid):
                    self.orphan()
                self.leave_registered_fd()
            elif self.u.enter_flags & URING_ENTER_REGISTERED_RING:
                uring_unregister_ring_fd(cython.address(self.u))
            self.quiesce(seconds)
            self.discard()
            lost = self.in_flight
            if lost:
                ABANDONED.append((self.ops, self.buffer_rings, self.retired, self.provided, self._fixed_buffers))
            else:
                # Synchronously, unlike the kernel's own clean-up: a peer sees the end of the stream now.
                uring_sys_register(self.u.fd, URING_UNREGISTER_FILES, cython.NULL, 0)
                if self._fixed_buffers is not None:
                    uring_sys_register(self.u.fd, URING_UNREGISTER_BUFFERS, cython.NULL, 0)
            for unseen in self.backlog:
                drop_unseen(unseen)
        uring_close(cython.address(self.u))
        self.state = STATE_CLOSED
        self.files = 0
        self.in_flight = 0
        self.spent_head = self.spent_tail
        # Giving things up may run anybody's code, which finds a closed ring.
        ops, self.ops = self.ops, []
        for candidate in ops:
            op = candidate
            op.table = cython.NULL
        groups, self.buffer_rings = self.buffer_rings, {}
        for buffers in groups.values():
            ring = buffers
            ring.detach()
        self.backlog, self.retired, self.provided, self._fixed_buffers = [], [], {}, None
        if lost == 0:
            for candidate in ops:
                op = candidate
                op.release()
        return lost

    def orphan(self):
        """Leaves it to the ring's thread to take the ring from its registered ones: soon, or when it uses a ring."""
        fd: cython.int = dup(self.u.fd)
        if fd >= 0:
            ORPHANS.append((self.owner_tid, fd, self.u.enter_fd, self.forks))
            if self.owner_tid == getpid():
                Py_AddPendingCall(release_orphans, cython.NULL)
        return 0

    def quiesce(self, seconds):
        """Cancels everything and reaps until nothing is in flight, for so many seconds at most."""
        op: Op
        place: sqe_p
        code: cython.int
        limit: uint64_t
        flags: cython.uint = URING_ENTER_GETEVENTS
        if self.u.setup_flags & URING_SETUP_SQPOLL:
            flags |= URING_ENTER_SQ_WAKEUP
            self.u.sq_tail = self.u.sq_published
        else:
            uring_retract(cython.address(self.u))
        limit = self.u.sq_tail
        for candidate in list(self.ops):
            op = candidate
            if op.table != cython.NULL and op.position >= limit:
                self.end_op(op)
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
                code = uring_enter(cython.address(self.u), uring_sq_ready(cython.address(self.u)), 2, flags, 20_000_000)
            if code < 0 and code not in (-EINTR, -ETIME, -EAGAIN, -EBUSY):
                return 0  # another thread's ring, or one that was never enabled

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
                if res >= 0 and op.marks & MARK_DESCRIPTOR:
                    close_unseen(res, op.pipe_ends())
                if flags & URING_CQE_F_MORE == 0:
                    self.end_op(op)

    def __enter__(self):
        if self.state != STATE_OPEN or self.forks != uring_forks:
            self.refuse()
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __del__(self):
        # Runs before the garbage collector clears anything, so that the requests' memory is whole until here.
        inherited: cython.bint = self.forks != uring_forks
        lost: cython.uint
        if self.state == STATE_OPEN:
            lost = self.shut(2.0)
            if lost:
                warnings.warn(LOST.format(lost), ResourceWarning, stacklevel=1)
            if not inherited:
                warnings.warn("a Ring was not closed", ResourceWarning, source=self, stacklevel=1)

    def __dealloc__(self):
        op: Op
        if self.state == STATE_OPEN:  # only when a subclass overrides __del__
            if self.in_flight and self.ops is not None:
                ABANDONED.append((self.ops, self.buffer_rings, self.retired, self.provided, self._fixed_buffers))
                for candidate in self.ops:
                    op = candidate
                    op.table = cython.NULL
            uring_close(cython.address(self.u))
        free(self.spent)

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
        self.ring.own()
        if self.left == 0:
            raise StopIteration
        cqe = self.ring.pop()
        if cqe is None:
            self.left = 0
            raise StopIteration
        self.left -= 1
        return cqe


def release_orphans(unused):
    """Takes this thread's orphans from its registered rings. In the main thread also called by the interpreter."""
    tid: cython.int = uring_gettid()
    for orphan in list(ORPHANS):
        owner, fd, index, forks = orphan
        if owner != tid and forks == uring_forks:
            continue
        ORPHANS.remove(orphan)
        if forks == uring_forks:
            uring_unregister_ring_index(fd, index)
        close_descriptor(fd)
    return 0


def drop_unseen(unseen):
    cqe: Cqe = unseen
    if cqe.descriptor:
        close_unseen(cqe.number, None if cqe.additional is None else cqe.additional.pipe)
    return 0


def close_unseen(number, pipe):
    """Closes what a completion brought that nobody will see."""
    if pipe is None:
        close_descriptor(number)
    else:
        close_descriptor(pipe[0])
        close_descriptor(pipe[1])
    return 0


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


def own_methods(ring_class):
    """Gives a subclass of RingCore the methods that are called per request as its own: see member.h."""
    for name in ("get_sqe", "submit", "submit_and_wait", "wait_cqe", "wait_cqes", "peek_cqe", "completions"):
        ioring_own_method(ring_class, getattr(RingCore, name))
    return ring_class
