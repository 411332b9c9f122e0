"""What is in flight: one Op per submitted request, and the table that keeps them alive.

The kernel hands back 64 bits with every completion. They are not a pointer here but a token: the place in the
table, and a number that is never used twice. A completion that carries anything else (a message from another ring,
from another process) is recognised as foreign instead of being followed into memory. A token has its highest bit
set; messages may use everything below.

A reference is taken by the table when an Op is added and dropped at its final completion, nowhere else. Whatever
memory the kernel may touch hangs on the Op until then.
"""

import cython

TOKEN_BIT = cython.declare(cython.ulonglong, 1 << 63)
INDEX_BITS = cython.declare(cython.int, 22)
INDEX_MASK = cython.declare(cython.ulonglong, (1 << 22) - 1)


class Op:
    """One request on its way through the kernel."""

    def completed(self, res, flags):
        """Called at each completion of an Op that has MARK_HOOK, before anybody sees it."""
        return 0

    def discarded(self, res, flags):
        """Called at a completion that nobody will see, because the ring closes."""
        return 0

    def release(self):
        """Gives up what the kernel no longer needs: called once, after the final completion."""


class OpTable:
    """The ring's memory and the requests in it. At most 4,194,304 (2**22) may be in flight at once."""

    def __cinit__(self):
        self.u.fd = -1
        self.ops = []
        self.spare = []
        self.provided = {}

    def check(self):
        raise NotImplementedError

    def add(self, op):
        index: cython.uint
        if self.spare:
            index = self.spare.pop()
            self.ops[index] = op
        else:
            index = len(self.ops)
            if index > INDEX_MASK:
                raise MemoryError("4194304 requests are in flight: reap completions before preparing more")
            self.ops.append(op)
        self.generation += 1
        op.table = cython.cast(cython.p_void, self)
        op.token = TOKEN_BIT | ((self.generation << INDEX_BITS) & (TOKEN_BIT - 1)) | index
        self.in_flight += 1
        return 0

    def find(self, token):
        index: cython.uint
        op: Op
        if token & TOKEN_BIT == 0:
            return None
        index = token & INDEX_MASK
        if index >= cython.cast(cython.uint, len(self.ops)):
            return None
        op = self.ops[index]
        if op is None or op.token != token:
            return None
        return op

    def remove(self, op):
        index: cython.uint = op.token & INDEX_MASK
        op.table = cython.NULL
        self.ops[index] = None
        self.spare.append(index)
        self.in_flight -= 1
        return 0

    def token_of(self, target):
        """The token of a request: given as itself, or by its user_data. A token that matches nothing if none does."""
        op: Op
        found: Op = None
        if isinstance(target, Op):
            found = target
            if found.table != cython.cast(cython.p_void, self) and found.table != cython.NULL:
                raise ValueError("the request belongs to another ring")
            return found.token if found.token else TOKEN_BIT
        for candidate in list(self.ops):
            if candidate is None:
                continue
            op = candidate
            if op.user_data is target or (op.user_data is not None and op.user_data == target):
                if found is not None:
                    raise ValueError(
                        f"several requests in flight carry user_data {target!r}: name one by its Sqe, "
                        "or cancel by descriptor or operation"
                    )
                found = op
        return TOKEN_BIT if found is None else found.token
