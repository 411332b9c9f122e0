"""The completion queue entry: an immutable copy of what the kernel said."""

import cython
from cython.cimports.ioring.ring.freelist import ioring_freelist_install, ioring_freelist_new
from cython.cimports.ioring.ring.member import ioring_add_member

from ioring.ring.constants import CqeFlags
from ioring.ring.errors import operation_name, os_error


class Additional:
    """Rare parts of a completion: the further words of a CQE32, and buffers of a buffer ring."""


class Cqe:
    """One completion (``struct io_uring_cqe``), copied out of the queue: there is nothing to give back.

    Attributes:
        res: the result as the kernel gave it: what the system call of the same name returns, or a negative errno.
        flags: ``CqeFlags`` as an int.
        user_data: the object that the SQE carried. For a message from another ring (``prep_msg_ring``), its 64-bit int.
    """

    def __init__(self):
        raise TypeError("a Cqe comes from a ring: wait_cqe(), peek_cqe() or completions()")

    @property
    def extra(self):
        """The two additional 64-bit words on a ring made with ``SetupFlags.CQE32``, else ``None``."""
        return None if self.additional is None else self.additional.extra

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
        if self.number >= 0:
            return self.res
        if self.flags & URING_CQE_F_NOTIF:
            return cython.cast(cython.uint, self.number)
        raise os_error(self.number, operation_name(self.opcode) if self.opcode >= 0 else "message")

    def __repr__(self):
        flags = CqeFlags(self.flags & 0xFFFF)
        buffer = f" buffer_id={self.buffer_id}" if self.flags & URING_CQE_F_BUFFER else ""
        return f"<Cqe res={self.res} flags={flags!r}{buffer} user_data={self.user_data!r}>"


def new_cqe():
    """An empty Cqe. Allocating it may collect garbage, and so run arbitrary code."""
    return cython.cast(Cqe, ioring_freelist_new())


def _add_members():
    cqe: Cqe = Cqe.__new__(Cqe)
    offset: cython.Py_ssize_t = cython.cast(cython.p_char, cython.address(cqe.flags)) - cython.cast(
        cython.p_char, cython.cast(cython.p_void, cqe)
    )
    ioring_add_member(Cqe, b"user_data", offset + 4, True, b"The object that the SQE carried.")
    ioring_add_member(
        Cqe, b"res", offset + 12, True, b"The result as the kernel gave it: a negative errno for a failure."
    )
    cqe.user_data, cqe.res = "user_data", 1000
    if cython.cast(object, cqe).user_data is not cqe.user_data or cython.cast(object, cqe).res is not cqe.res:
        raise ImportError("the compiler laid out Cqe in an unexpected way")


ioring_freelist_install(Cqe.__new__(Cqe))
_add_members()
