"""The completion queue entry: an immutable copy of what the kernel said."""

import cython

from ioring._core.constants import CqeFlags
from ioring._core.errors import operation_name, os_error


class Cqe:
    """One completion (``struct io_uring_cqe``), copied out of the queue: there is nothing to give back.

    ``res``
        The result as the kernel gave it: what the system call of the same name returns, or a negative errno.
    ``flags``
        ``CqeFlags`` as an int.
    ``user_data``
        The object that the SQE carried. For a message from another ring (``prep_msg_ring``), its 64-bit int.
    ``extra``
        The two additional 64-bit words on a ring made with ``SetupFlags.CQE32``, else ``None``.
    """

    def __init__(self):
        raise TypeError("a Cqe comes from a ring: wait_cqe(), peek_cqe() or completions()")

    @property
    def more(self):
        """Whether the same request will complete again (``IORING_CQE_F_MORE``)."""
        return self.flags & URING_CQE_F_MORE != 0

    @property
    def notification(self):
        """Whether this only says that a zero-copy send's memory is free again (``IORING_CQE_F_NOTIF``)."""
        return self.flags & URING_CQE_F_NOTIF != 0

    @property
    def socket_nonempty(self):
        """Whether more can be received at once (``IORING_CQE_F_SOCK_NONEMPTY``)."""
        return self.flags & URING_CQE_F_SOCK_NONEMPTY != 0

    @property
    def buffer_id(self):
        """The buffer that the kernel chose from a group, or ``None`` (``IORING_CQE_F_BUFFER``)."""
        if self.flags & URING_CQE_F_BUFFER:
            return self.flags >> URING_CQE_BUFFER_SHIFT
        return None

    @property
    def buffer_more(self):
        """Whether the same buffer will be filled further (``IORING_CQE_F_BUF_MORE``, since kernel 6.12)."""
        return self.flags & URING_CQE_F_BUF_MORE != 0

    def result(self):
        """``res`` when it is not negative.

        Of a notification it is the 32 bits that the kernel reports, unsigned: ``0x80000000`` when data was copied.

        Raises:
            OSError: the subclass that belongs to the errno, with the operation's name in the place of a file name.
        """
        if self.res >= 0:
            return self.res
        if self.flags & URING_CQE_F_NOTIF:
            return cython.cast(cython.uint, self.res)
        raise os_error(self.res, operation_name(self.opcode) if self.opcode >= 0 else "message")

    def __repr__(self):
        flags = CqeFlags(self.flags & 0xFFFF)
        buffer = f" buffer_id={self.buffer_id}" if self.flags & URING_CQE_F_BUFFER else ""
        return f"<Cqe res={self.res} flags={flags!r}{buffer} user_data={self.user_data!r}>"


def new_cqe(res, flags, user_data, opcode):
    cqe: Cqe = Cqe.__new__(Cqe)
    cqe.res = res
    cqe.flags = flags
    cqe.user_data = user_data
    cqe.opcode = opcode
    return cqe
