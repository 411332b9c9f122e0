# cython: boundscheck=False, nonecheck=False
"""Requests in flight: one Op for each, and the table that keeps them alive.

The kernel hands back 64 bits with every completion. They are not a pointer here but a token (request_token.h): the
request's index in the table, and a number that is never used twice. A completion with any other number (a message from
another ring, perhaps of another process) is recognised as foreign instead of being followed into memory.

The table holds a reference to every Op in flight, and the Op holds all memory that the kernel may touch until the
final completion. Only then is it freed.
"""

import cython
from cython.cimports.ioring.ring.member import ioring_add_member

ASSERTIONS = bool(IORING_ASSERTIONS)
"""Whether this build checks what it relies on (see assertions.h): a debug build, or one for the sanitizers."""


class Op:
    """One request: its token, what it keeps alive, and what is done when it completes. Made to be subclassed."""

    def completed(self, table, res, flags):
        """Called at each completion of an Op that has MARK_HOOK, before the program gets the Cqe."""
        return 0

    def complete(self, res, flags):
        """Called at each completion that Driver.reap takes. Requests of compiled code must define it."""
        raise NotImplementedError

    def complete_timed(self, res, flags):
        """complete(), called instead of it when Driver.timed is set: for heirs that want to know how long it takes."""
        return self.complete(res, flags)

    def pipe_ends(self, ends):
        """Whether the request made a pipe; if so, writes its two descriptors to ``ends``."""
        return False

    def ended_with(self, res):
        """Called at the final completion while the ring is being closed, in place of complete()."""
        return 0

    def release(self):
        """Frees what was kept for the kernel: called after the final completion, and when the ring is closed."""


class OpTable:
    """The ring's memory and the requests in it. At most 4,194,304 (2**22) may be in flight at once.

    A completed Op keeps its index, and with it the table's reference, until the ring uses it again or gives the index
    to another Op: so a request costs no allocation. Whether an Op is in flight only its `table` tells.
    """

    def __cinit__(self):
        self.u.fd = -1
        self.ops = []
        self.provided = {}
        self.vacant = Op.__new__(Op)

    def check(self):
        """Raises unless this thread may use the ring. Lifecycle defines it."""
        raise NotImplementedError

    def place(self, op):
        """Adds an Op to the table, which gives it an index."""
        if cython.cast(cython.ulonglong, len(self.ops)) > TOKEN_INDEX_MAX:
            raise MemoryError("4194304 requests are in flight: reap completions before preparing more")
        op.index = len(self.ops)
        self.ops.append(op)
        return 0

    def find(self, token):
        """The Op in flight that has this token, or None."""
        op: Op
        index: cython.uint = ioring_token_index(token)
        if token & TOKEN_BIT == 0 or index >= cython.cast(cython.uint, len(self.ops)):
            return None
        op = self.ops[index]
        if op.token != token or op.table == cython.NULL:
            return None
        return op

    def token_of(self, target):
        """The token of a request, given as its Op or by its user_data; one that matches nothing if there is none."""
        op: Op
        found: Op = None
        if isinstance(target, Op):
            found = target
            if found.table == cython.NULL:
                return TOKEN_BIT  # it has completed
            if found.table != cython.cast(cython.p_void, self):
                raise ValueError("the request belongs to another ring")
            return found.token
        for candidate in list(self.ops):
            op = candidate
            if op.table == cython.NULL:
                continue
            if op.user_data is target or (op.user_data is not None and are_equal(op.user_data, target)):
                if found is not None:
                    raise ValueError(
                        f"several requests in flight carry user_data {target!r}: name one by its Sqe, "
                        "or cancel by descriptor or operation"
                    )
                found = op
        return TOKEN_BIT if found is None else found.token

    # For assertions.

    def holds(self, op):
        """Whether the table's reference at the Op's index is to this Op."""
        return op.index < cython.cast(cython.uint, len(self.ops)) and self.ops[op.index] is op

    def is_free(self, index):
        """Whether the table has this index, and the Op there is not in flight."""
        return index < cython.cast(cython.uint, len(self.ops)) and cython.cast(Op, self.ops[index]).table == cython.NULL

    def count_in_flight(self):
        """How many Ops of the table are in flight: what ``in_flight`` must be."""
        op: Op
        count: cython.uint = 0
        for candidate in self.ops:
            op = candidate
            if op.table != cython.NULL:
                ioring_assert(op.table == cython.cast(cython.p_void, self))
                ioring_assert(ioring_token_index(op.token) == op.index)
                count += 1
        return count


def _add_members():
    op: Op = Op.__new__(Op)
    offset: cython.Py_ssize_t = cython.cast(cython.p_char, cython.address(op.token)) - cython.cast(
        cython.p_char, cython.cast(cython.p_void, op)
    )
    ioring_add_member(Op, b"user_data", offset + 8, False, b"Any object; comes back with every Cqe of the request.")
    op.user_data = offset
    if cython.cast(object, op).user_data is not op.user_data:
        raise ImportError("the compiler laid out Op in an unexpected way")


_add_members()


def are_equal(one, other):
    """Whether two objects are equal. What does not answer with yes or no, as arrays do, is not."""
    try:
        return bool(one == other)
    except Exception:
        return False
