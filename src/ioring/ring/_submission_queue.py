# cython: boundscheck=False, nonecheck=False
"""The submission queue: Sqes for what a program prepares, and io_uring_enter, which hands them to the kernel.

Sqes are used again: a completed one that the program has let go of is the next that it gets.
"""

import time

import cython
from cython.cimports.cpython.exc import PyErr_CheckSignals
from cython.cimports.cpython.ref import PyObject
from cython.cimports.libc.errno import EBADFD, EEXIST, EINTR, ETIME
from cython.cimports.libc.stdlib import calloc, free

from ioring.ring.errors import RingError, SubmissionQueueFull, WrongThread, os_error

POLLED_ROOM_SECONDS = cython.declare(cython.double, 1.0)
"""How long get_sqe() waits for the kernel's thread of an SQPOLL ring to take entries."""

LIGHT_MAX = cython.declare(cython.uint, 16)
"""Up to this many small requests are submitted without giving up the GIL."""

SPENT_HELD_MAX = cython.declare(cython.uint, 64)
"""With more completed Sqes that the program keeps, new Sqes take over the indices of the oldest."""


class SubmissionQueue(Lifecycle):
    """A ring that requests can be prepared on and submitted to."""

    @property
    def sq_entries(self):
        """Size of the submission queue: ``entries`` rounded up to a power of two."""
        return self.u.sq_entries

    def sq_ready(self):
        """Number of SQEs prepared and not yet taken by the kernel (``io_uring_sq_ready``)."""
        self.own()
        return uring_sq_ready(cython.address(self.u))

    def sq_space_left(self):
        """Number of SQEs that can still be had before submitting (``io_uring_sq_space_left``)."""
        self.own()
        return self.u.sq_entries - uring_sq_ready(cython.address(self.u))

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

    def strip_skips(self):
        """Clears CQE_SKIP_SUCCESS in entries that are about to be submitted: the ring needs their completions."""
        op: Sqe
        for candidate in self.ops:
            op = candidate
            if op.table != cython.NULL and op.position >= self.u.sq_published and op.marks & MARK_SKIP:
                op.place.flags &= ~cython.cast(cython.uchar, URING_SQE_CQE_SKIP_SUCCESS)
        return 0

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
