# cython: boundscheck=False, nonecheck=False
"""The ring as compiled code uses it: requests are Ops whose complete() is called, without Sqe and Cqe objects.

An Op is either placed into the table once and armed for each request, or launched, which places it for one request.
Programs use get_sqe() and wait_cqe() instead (see _submission_queue.py). One ring is driven in one of the two ways.
"""

import cython
from cython.cimports.cpython.exc import PyErr_CheckSignals
from cython.cimports.libc.errno import EAGAIN, EBUSY, EINTR, ETIME

from ioring.ring.errors import RingError, os_error


class Driver(RingCore):
    """The base of ``ioring.Ring``: everything but the registrations."""

    def arm(self, op):
        """An entry for the Op's next request, zeroed but for the token. The Op is placed and not in flight."""
        place: sqe_p = uring_get_sqe(cython.address(self.u))
        if place == cython.NULL:
            place = self.make_room()
        ioring_assert(self.state == STATE_OPEN)
        ioring_assert(op.table == cython.NULL)
        ioring_assert(self.holds(op))
        self.generation += 1
        op.table = cython.cast(cython.p_void, self)
        op.token = ioring_token(self.generation, op.index)
        op.position = self.u.sq_tail - 1
        place.user_data = op.token
        self.in_flight += 1
        return place

    def launch(self, op):
        """An entry for an Op that has no index. The table gives it one, and keeps it alive, until it completes."""
        if self.u.fd < 0:  # closed; or in the child of a fork, where its memory is not there
            self.refuse()
        ioring_assert(op.table == cython.NULL)
        ioring_assert(op.marks & MARK_LAUNCHED == 0)
        if self.spent_tail != self.spent_head:
            self.spent_tail -= 1
            op.index = self.spent[self.spent_tail & self.spent_mask]
            ioring_assert(self.is_free(op.index))
            self.ops[op.index] = op
        else:
            self.place(op)
            if cython.cast(cython.uint, len(self.ops)) > self.spent_mask:
                self.grow_spent()
        try:
            place: sqe_p = self.arm(op)
        except BaseException:
            self.ops[op.index] = self.vacant
            self.spent[self.spent_tail & self.spent_mask] = op.index
            self.spent_tail += 1
            raise
        op.marks |= MARK_LAUNCHED
        return place

    def send_off(self):
        """An entry for a request whose result is not needed, and that uses no memory: a cancellation, a close."""
        if self.u.fd < 0:
            self.refuse()
        place: sqe_p = uring_get_sqe(cython.address(self.u))
        if place == cython.NULL:
            place = self.make_room()
        place.flags = URING_SQE_CQE_SKIP_SUCCESS
        return place

    def reap(self):
        """Calls complete() for each completion in the queue. Returns how many there were."""
        place: cqe_p
        token: uint64_t
        res: int32_t
        flags: uint32_t
        index: cython.uint
        op: Op
        count: cython.int = 0
        left: cython.uint = uring_cq_ready(cython.address(self.u)) if self.u.fd >= 0 else 1
        while True:
            if self.u.fd < 0:
                if self.state == STATE_OPEN:
                    self.refuse()
                return count
            if left == 0:  # completions that came meanwhile wait for the next turn
                return count
            left -= 1
            place = uring_peek_cqe(cython.address(self.u))
            if place == cython.NULL:
                return count
            token = place.user_data
            res = place.res
            flags = place.flags
            uring_cq_advance(cython.address(self.u), 1)
            count += 1
            index = ioring_token_index(token)
            if token & TOKEN_BIT == 0 or index >= cython.cast(cython.uint, len(self.ops)):
                continue
            op = cython.cast(Op, self.ops[index])
            if op.token != token or op.table == cython.NULL:
                continue
            ioring_assert(op.table == cython.cast(cython.p_void, self))
            ioring_assert(op.index == index)
            if isinstance(op, Sqe):
                raise RingError("a ring is driven by compiled code or by wait_cqe(), not by both")
            if flags & URING_CQE_F_MORE == 0:
                if op.marks & MARK_LAUNCHED:
                    self.tell(op, res, flags)
                    continue
                ioring_assert(self.in_flight > 0)
                op.table = cython.NULL
                self.in_flight -= 1
            if self.timed:
                op.complete_timed(res, flags)
            else:
                op.complete(res, flags)

    def tell(self, op, res, flags):
        """Ends an Op that was launched, and calls its complete() with the final completion."""
        ioring_assert(op.table == cython.cast(cython.p_void, self))
        ioring_assert(op.marks & MARK_LAUNCHED != 0)
        ioring_assert(self.holds(op))
        ioring_assert(self.in_flight > 0)
        ioring_assert(self.spent_tail - self.spent_head <= self.spent_mask)
        op.table = cython.NULL
        self.in_flight -= 1
        op.marks ^= MARK_LAUNCHED
        self.ops[op.index] = self.vacant
        self.spent[self.spent_tail & self.spent_mask] = op.index
        self.spent_tail += 1
        return op.complete_timed(res, flags) if self.timed else op.complete(res, flags)

    def reap_one(self, op):
        """Calls complete() of one launched Op, if it has completed, ahead of the completions before its own.

        The queue may have had no room for its completion. Then those in the queue are set aside, and the next reap()
        takes them from there.
        """
        place: cqe_p
        seen: cython.uint = 0
        ready: cython.uint
        while op.table != cython.NULL and self.u.fd >= 0:
            ready = uring_cq_ready(cython.address(self.u))
            while seen != ready:
                place = uring_cqe_at(cython.address(self.u), seen)
                if place.user_data == op.token:
                    self.tell(op, place.res, place.flags)
                    return 0
                seen += 1
            if uring_cq_needs_enter(cython.address(self.u)) == 0 or uring_cq_set_aside(cython.address(self.u)) < 0:
                return 0
            self.exchange(0, 0)
            if uring_cq_ready(cython.address(self.u)) == seen:
                return 0
        return 0

    def exchange_early(self):
        """Submits what is prepared, and calls complete() of Ops with MARK_EARLY that it completed, ahead of others.

        Their completions stay in the queue, and are then ignored because their tokens are out of date.
        """
        place: cqe_p
        op: Op
        ahead: cython.uint
        before: cython.uint
        if self.u.fd < 0:
            self.refuse()
        before = uring_cq_ready(cython.address(self.u))
        self.exchange(0, 0)
        for ahead in range(before, uring_cq_ready(cython.address(self.u))):
            if self.u.fd < 0:  # complete() may run code that closes the ring or forks
                self.refuse()
            place = uring_cqe_at(cython.address(self.u), ahead)
            op = self.find(place.user_data)
            if op is not None and op.marks & MARK_EARLY and place.flags & URING_CQE_F_MORE == 0:
                self.tell(op, place.res, place.flags)
        return 0

    def exchange(self, wait, timeout_ns):
        """Submits what is prepared, and waits for ``wait`` completions. A negative ``timeout_ns`` is no limit."""
        code: cython.int
        count: cython.uint
        flags: cython.uint = URING_ENTER_GETEVENTS
        if self.u.fd < 0:
            self.refuse()
        count = uring_publish(cython.address(self.u))
        if self.u.setup_flags & URING_SETUP_SQPOLL and uring_sq_needs_wakeup(cython.address(self.u)):
            flags |= URING_ENTER_SQ_WAKEUP
        with cython.nogil:
            code = uring_enter(cython.address(self.u), count, wait, flags, timeout_ns)
        # EBUSY: completions must be reaped first. EAGAIN: the kernel has no memory now; the entry stays in the queue.
        if code < 0 and code not in (-EINTR, -EAGAIN, -EBUSY, -ETIME):
            raise os_error(code, "io_uring_enter")
        PyErr_CheckSignals()
        return self.own()

    def turn(self):
        """Submits, waits for a completion, and calls complete() for those that came."""
        self.exchange(1, -1)
        return self.reap()
