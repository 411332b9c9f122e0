# cython: boundscheck=False, nonecheck=False
"""The ring in use: submission and completion.

A program prepares an Sqe and gets a Cqe (get_sqe, wait_cqe). Compiled code goes another way: see _dispatcher.py.
"""

import time

import cython
from cython.cimports.cpython.buffer import PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.exc import PyErr_CheckSignals
from cython.cimports.cpython.ref import PyObject
from cython.cimports.ioring.ring._integers import integer
from cython.cimports.ioring.ring.member import ioring_own_method
from cython.cimports.libc.errno import EBADFD, EEXIST, EINTR, ETIME
from cython.cimports.libc.stdlib import calloc, free
from cython.cimports.libc.string import memset

from ioring.ring.errors import RingError, SubmissionQueueFull, WrongThread, os_error

POLLED_ROOM_SECONDS = cython.declare(cython.double, 1.0)
"""How long get_sqe() waits for the kernel's thread of an SQPOLL ring to take entries."""

LIGHT_MAX = cython.declare(cython.uint, 16)
"""Up to this many small requests are submitted without giving up the GIL."""

SPENT_HELD_MAX = cython.declare(cython.uint, 64)
"""With more completed Sqes that the program keeps, new Sqes take over the indices of the oldest."""


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


class RingCore(Lifecycle):
    """A ring as programs use it, without the registrations."""

    def own(self):
        """The same as check(), which is virtual: a direct call for the methods that are called all the time."""
        if self.state == STATE_OPEN and self.owner == uring_thread_self() and self.u.fd >= 0:
            return 0
        return self.refuse()

    # Sizes and fill levels.

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
        ioring_assert(self.state == STATE_OPEN)
        ioring_assert(sqe.table == cython.NULL)
        # What was kept by a preparation that found the request completed is given up at the next begin or completion.
        ioring_assert(sqe.marks & ~MARK_HELD == 0)
        ioring_assert(self.holds(sqe))
        self.generation += 1
        sqe.table = cython.cast(cython.p_void, self)
        sqe.token = ioring_token(self.generation, sqe.index)
        sqe.place = place
        sqe.position = self.u.sq_tail - 1
        sqe.fresh = True
        sqe.opcode = 0
        place.user_data = sqe.token
        self.in_flight += 1
        return sqe

    def take_sqe(self):
        """A completed Sqe that the program no longer refers to, or a new one. Tries two completed ones at most."""
        sqe: Sqe
        index: cython.uint
        _attempt: cython.int
        for _attempt in range(min(self.spent_tail - self.spent_head, 2)):
            index = self.spent[self.spent_head & self.spent_mask]
            self.spent_head += 1
            ioring_assert(self.is_free(index))
            sqe = cython.cast(Sqe, self.ops[index])
            if cython.cast(cython.pointer(PyObject), sqe).ob_refcnt == 2:  # the table's and the variable's
                return sqe
            self.spent[self.spent_tail & self.spent_mask] = index
            self.spent_tail += 1
        # Allocating may collect garbage, and that run arbitrary code: everything has to be checked again.
        sqe = Sqe.__new__(Sqe)
        self.own()
        if self.spent_tail - self.spent_head > SPENT_HELD_MAX:
            # The program keeps many completed Sqes. It may keep this one, and the new one gets its index.
            sqe.index = self.spent[self.spent_head & self.spent_mask]
            self.spent_head += 1
            ioring_assert(self.is_free(sqe.index))
            self.ops[sqe.index] = sqe
            return sqe
        self.place(sqe)
        if cython.cast(cython.uint, len(self.ops)) > self.spent_mask:
            self.grow_spent()
        return sqe

    def grow_spent(self):
        """Doubles the queue of completed indices, so that it has room for every index of the table."""
        size: cython.uint = max(2 * (self.spent_mask + 1), 64)
        queue: cython.p_uint = cython.cast(cython.p_uint, calloc(size, cython.sizeof(cython.uint)))
        count: cython.uint = self.spent_tail - self.spent_head
        place: cython.uint
        ioring_assert(count < size)
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

    def make_room(self):
        """Submits because the queue is full. Returns the next free entry."""
        place: sqe_p
        flags: cython.uint
        polled: cython.bint = self.u.setup_flags & URING_SETUP_SQPOLL != 0
        deadline: cython.double = time.monotonic() + POLLED_ROOM_SECONDS
        try:
            self.flush()
        except BlockingIOError:
            pass  # the kernel is out of memory
        while True:
            self.own()
            place = uring_get_sqe(cython.address(self.u))
            if place != cython.NULL:
                return place
            if not polled or time.monotonic() > deadline:
                raise SubmissionQueueFull(
                    f"all {self.u.sq_entries} submission queue entries are taken and the kernel accepts none: "
                    "reap completions, or make the ring with more entries"
                )
            # The kernel's thread has room in its own view a little before it says so in the ring.
            flags = URING_ENTER_SQ_WAIT
            if uring_sq_needs_wakeup(cython.address(self.u)):
                flags |= URING_ENTER_SQ_WAKEUP
            self.heavy = True  # it may wait: without the GIL
            self.enter(0, 0, flags, -1)

    def strip_skips(self):
        """Clears CQE_SKIP_SUCCESS in entries that are about to be submitted: the ring needs their completions."""
        op: Sqe
        for candidate in self.ops:
            op = candidate
            if op.table != cython.NULL and op.position >= self.u.sq_published and op.marks & MARK_SKIP:
                op.place.flags &= ~cython.cast(cython.uchar, URING_SQE_CQE_SKIP_SUCCESS)
        return 0

    def flush(self):
        """Submits what is prepared. Returns how many entries the kernel took."""
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
        count: cython.uint
        code: cython.int
        self.own()
        # The usual case stands here and not in flush and enter: behind a system call each return from a function is
        # mispredicted on processors that guard against speculation, and costs 6 ns.
        if not (
            self.heavy
            or self.skipping
            or self.u.setup_flags & URING_SETUP_SQPOLL
            or uring_cq_needs_enter(cython.address(self.u))
        ):
            count = uring_sq_ready(cython.address(self.u))
            if 0 < count <= LIGHT_MAX:
                uring_publish(cython.address(self.u))
                code = uring_submit(cython.address(self.u), count)
                if code >= 0:
                    return code
                return max(self.entered(code), 0)
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
        wanted: cython.uint = integer(n, "n", 0, 0x7FFFFFFF)
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
        """Submits and waits in one system call, and in further ones if it returns early. Returns the entries taken."""
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
        """Calls io_uring_enter. Returns its result, or -EINTR (after the signal's handlers ran) or -ETIME.

        It gives up the GIL unless the call is sure to be short: releasing and taking the GIL costs 60 ns, a quarter of
        what the kernel takes for a small request.
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
        return self.entered(code)

    def entered(self, code):
        """What a failed io_uring_enter means: -EINTR and -ETIME are given back, after signals; others are raised."""
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
        """The oldest completion that the program shall get, or None."""
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
        if self.state != STATE_OPEN:  # the completion before, if the caller took one, may have run arbitrary code
            self.own()
        if uring_cq_ready(cython.address(self.u)) == 0:
            return None
        # Allocated first: that may collect garbage, and so run arbitrary code.
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
        """Does what a completion means for its Op, and fills the Cqe. Returns whether the program shall get it."""
        op: Op
        marks: cython.uint
        index: cython.uint = ioring_token_index(token)
        cqe.number = res
        cqe.flags = flags
        cqe.res = res
        if token & TOKEN_BIT == 0 or index >= cython.cast(cython.uint, len(self.ops)):
            return self.foreign(cqe, token)
        op = cython.cast(Op, self.ops[index])
        if op.token != token or op.table == cython.NULL:
            return self.foreign(cqe, token)
        ioring_assert(op.table == cython.cast(cython.p_void, self))
        ioring_assert(op.index == index)
        ioring_assert(self.in_flight > 0)
        # The counts first: what follows may allocate, and a garbage collection then run arbitrary code.
        final: cython.bint = flags & URING_CQE_F_MORE == 0
        if final:
            op.table = cython.NULL
            self.in_flight -= 1
        if not isinstance(op, Sqe):  # compiled code armed it
            op.complete(res, flags)
            return False
        marks = op.marks
        cqe.user_data = op.user_data
        cqe.opcode = op.opcode
        if marks & MARK_DESCRIPTOR and res >= 0:
            cqe.descriptor = True
            if op.opcode == URING_OP_PIPE:
                cqe.pipe = op.pipe_ends(cqe.ends)
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
        """Fills the Cqe of a completion that no request of this ring has: a message from another ring."""
        cqe.user_data = token
        cqe.opcode = -1
        return True

    def receive(self, cqe, group, bundle):
        """Notes that the buffers which a completion names are the program's now."""
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
        """Lets go of the memory of a buffer that prep_provide_buffers gave and a completion has handed out."""
        views = self.provided.get(key)
        # An id that was given twice: which of the two came back is not known.
        if views is not None and len(views) == 1:
            del self.provided[key]

    def drop_retired(self):
        """Frees unregistered buffer rings once no request in flight can write into them."""
        op: Op
        for candidate in self.ops:
            op = candidate
            if op.table != cython.NULL and op.marks & MARK_SELECT:
                return 0
        self.retired.clear()
        return 0

    def flush_completions(self):
        """Calls io_uring_enter for completions that the kernel puts into the queue only then."""
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
        wanted: cython.uint = integer(n, "n", 1, 0x7FFFFFFF)
        collected = []
        self.own()
        try:
            self.collect(wanted, collected, -1 if limit < 0 else time.monotonic_ns() + limit)
        except BaseException:
            self.put_back(collected)
            raise
        return collected

    def put_back(self, collected):
        """Gives back completions that were taken from the queue; of a ring that was closed meanwhile, drops them."""
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
                self.own()  # the last completion freed its request's memory, which may run arbitrary code
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

    # For Registrations: the system call, and what the core must know of it.

    def _register(self, opcode, argument, count):
        """Calls io_uring_register and returns its result. The argument is None or a writable buffer."""
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

    @property
    def _file_slots(self):
        """The size of the registered file table; 0 without one."""
        return self.files

    @_file_slots.setter
    def _file_slots(self, count):
        self.files = count

    def _attach_buffers(self, group, buffers):
        """Notes a buffer ring that is about to be registered. Returns the address of its entries."""
        ring: BufferRing = buffers
        ring.attach(group)
        self.buffer_rings[group] = ring
        return cython.cast(cython.size_t, ring.ring)

    def _detach_buffers(self, group, registered):
        """Forgets a buffer ring: one that was unregistered, or whose registration failed."""
        ring: BufferRing = self.buffer_rings.get(group)
        if ring is None:
            return
        collected = []
        try:
            # Completions in the queue name the group, whose id may soon be another buffer ring's: taken before that.
            while registered and (cqe := self.pop()) is not None:
                collected.append(cqe)
        finally:
            self.put_back(collected)
            if registered:
                self.retired.append(ring)
            # Taking completions may have run arbitrary code, which has closed the ring or used the group's id again.
            if self.buffer_rings.get(group) is ring:
                del self.buffer_rings[group]
            if self.state == STATE_OPEN:
                ring.detach()
        self.drop_retired()

    @property
    def _buffer_rings(self):
        return self.buffer_rings

    def _token_of(self, target):
        return self.token_of(target)

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
        if self.ring is None:  # made by __new__
            raise StopIteration
        self.ring.own()
        if self.left == 0:
            raise StopIteration
        cqe = self.ring.pop()
        if cqe is None:
            self.left = 0
            raise StopIteration
        self.left -= 1
        return cqe


def send_message(fd, nbytes, data, flags):
    """Sends a message to a ring without a ring of one's own (IORING_REGISTER_SEND_MSG_RING)."""
    sqe: uring_sqe
    code: cython.int
    memset(cython.address(sqe), 0, cython.sizeof(uring_sqe))
    sqe.opcode = URING_OP_MSG_RING
    sqe.fd = fd
    sqe.len = cython.cast(cython.uint, cython.cast(cython.int, nbytes))
    sqe.off = data
    sqe.op_flags = flags
    # With the GIL: otherwise another thread could close the ring meanwhile, and its descriptor be reused.
    code = uring_sys_register(-1, URING_REGISTER_SEND_MSG_RING, cython.address(sqe), 1)
    if code < 0:
        raise os_error(code, "io_uring_register send_msg_ring")


def own_methods(ring_class):
    """Makes the methods that are called per request a subclass's own, which calls them faster: see member.h."""
    for name in ("get_sqe", "submit", "submit_and_wait", "wait_cqe", "wait_cqes", "peek_cqe", "completions"):
        ioring_own_method(ring_class, getattr(RingCore, name))
    return ring_class
