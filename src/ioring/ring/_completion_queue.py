# cython: boundscheck=False, nonecheck=False
"""The completion queue: what a completion means for its request, Cqes for the program, and waiting for them.

Completions that were taken from the kernel's queue and not given to the program, because it asked for more than came
in time, are kept in a list (``backlog``), and are given first.
"""

import time

import cython
from cython.cimports.ioring.ring._integers import integer


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


class CompletionQueue(SubmissionQueue):
    """A ring whose completions can be taken."""

    @property
    def cq_entries(self):
        """Size of the completion queue."""
        return self.u.cq_entries

    def cq_ready(self):
        """Number of completions that are there (``io_uring_cq_ready``), hidden ones of skipped successes included."""
        self.own()
        return uring_cq_ready(cython.address(self.u)) + cython.cast(cython.uint, len(self.backlog))

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
