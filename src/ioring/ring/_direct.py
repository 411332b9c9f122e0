"""``Direct``: a slot of the ring's own file table in place of a descriptor."""

import cython
from cython.cimports.ioring.ring._integers import integer


class Direct:
    """A direct descriptor: ``slot`` in the ring's file table instead of the process's.

    Any ``prep_*`` method takes it where a descriptor is taken; the SQE then gets ``IOSQE_FIXED_FILE``. It is a
    name for the slot and owns nothing: close the slot with ``Sqe.prep_close_direct``.

    Raises:
        ValueError: ``slot`` is negative or larger than any table can be.
    """

    def __init__(self, slot):
        self.slot = integer(slot, "slot", 0, (1 << 20) - 1)

    def __eq__(self, other):
        return isinstance(other, Direct) and cython.cast(Direct, other).slot == self.slot

    def __hash__(self):
        return hash((Direct, self.slot))

    def __repr__(self):
        return f"Direct({self.slot})"
