"""``Ring``: one io_uring instance, as programs use it.

Making a ring and saying why that failed is here. What a ring does is in its bases: ``Registrations`` has the calls of
``io_uring_register``, the compiled ``RingCore`` submits and reaps.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ioring.ring._core import own_methods, send_message
from ioring.ring._integers import integer
from ioring.ring.constants import ENTRIES_MAX, Features, SetupFlags
from ioring.ring.errors import RingUnavailable
from ioring.ring.registrations import Registrations, descriptor_of
from ioring.ring.unavailable import accepts_any_ring, explain

if TYPE_CHECKING:
    from ioring.ring.registrations import _ProcessDescriptor

_UNSUPPORTED = (
    SetupFlags.NO_MMAP | SetupFlags.REGISTERED_FD_ONLY | SetupFlags.CQE_MIXED | SetupFlags.SQE_MIXED
) | SetupFlags.SQ_REWIND


@own_methods
class Ring(Registrations):
    """One io_uring instance, in liburing's vocabulary (``io_uring_queue_init_params``).

    Parameters:
        entries: size of the submission queue, 1 to 32768; rounded up to a power of two.
        flags: ``SetupFlags``. The default is liburing's. For a ring that one thread drives,
            ``SINGLE_ISSUER | DEFER_TASKRUN`` (kernel 6.1) is faster.
        cq_entries: size of the completion queue; twice ``entries`` by default.
        sq_thread_idle: with ``SQPOLL``: milliseconds without work after which the kernel's thread sleeps; 0: 1000.
        sq_thread_cpu: with ``SQPOLL``: the processor it runs on.
        wq_fd: another ``Ring`` whose kernel workers to share.

    Use it as a context manager, or call ``close``. It belongs to the thread that made it; made with
    ``SetupFlags.R_DISABLED``, to the one that calls ``enable_rings``.

    Raises:
        RingUnavailable: no ring can be had here; the message says why and what to do.
        ValueError: sizes or flags that no kernel accepts.
    """

    __slots__ = ()

    def __init__(
        self,
        entries: int,
        *,
        flags: int = SetupFlags(0),
        cq_entries: int | None = None,
        sq_thread_idle: int = 0,
        sq_thread_cpu: int | None = None,
        wq_fd: _ProcessDescriptor | None = None,
    ) -> None:
        setup = SetupFlags(integer(flags, "flags", 0, 0xFFFFFFFF))
        clamp = bool(setup & SetupFlags.CLAMP)
        entries = integer(entries, "entries", 1, 0xFFFFFFFF)
        if entries > ENTRIES_MAX and not clamp:
            raise ValueError(
                f"entries must be between 1 and {ENTRIES_MAX}, not {entries}; "
                "SetupFlags.CLAMP takes the largest that is possible"
            )
        if setup & _UNSUPPORTED:
            raise ValueError(f"ioring maps the ring's memory itself and does not work with {setup & _UNSUPPORTED!r}")
        idle = integer(sq_thread_idle, "sq_thread_idle", 0, 0xFFFFFFFF)
        if cq_entries is not None:
            setup |= SetupFlags.CQSIZE
            cq_entries = integer(cq_entries, "cq_entries", 1, 0xFFFFFFFF)
            if cq_entries < entries or (cq_entries > 2 * ENTRIES_MAX and not clamp):
                raise ValueError(f"cq_entries must be between entries ({entries}) and {2 * ENTRIES_MAX}: {cq_entries}")
        cpu = 0
        if sq_thread_cpu is not None:
            setup |= SetupFlags.SQ_AFF
            cpu = integer(sq_thread_cpu, "sq_thread_cpu", 0, 0xFFFF)
        workers = 0
        if wq_fd is not None:
            setup |= SetupFlags.ATTACH_WQ
            workers = integer(descriptor_of(wq_fd), "wq_fd", 0, 0x7FFFFFFF)
        _check_flags(setup)
        try:
            super().__init__(entries, int(setup), cq_entries or 0, cpu, idle, workers)
        except OSError as error:
            number = error.errno or 0
            refuses_all = number == errno.EINVAL and not accepts_any_ring()
            raise RingUnavailable(number, explain(number, None if refuses_all else setup)) from None
        if not setup & SetupFlags.R_DISABLED:
            self._spare_lookups()

    @property
    def features(self) -> Features:
        """What the kernel says it can do (``Features``)."""
        return Features(self._features)

    @property
    def flags(self) -> SetupFlags:
        """How the ring was made (``SetupFlags``), with what the constructor and the kernel added."""
        return SetupFlags(self._flags)


def _check_flags(flags: SetupFlags) -> None:
    """Raises ValueError for combinations that the kernel refuses with EINVAL, which does not say why."""
    f = SetupFlags
    if flags & f.DEFER_TASKRUN and not flags & f.SINGLE_ISSUER:
        raise ValueError("DEFER_TASKRUN needs SINGLE_ISSUER")
    if flags & f.TASKRUN_FLAG and not flags & (f.COOP_TASKRUN | f.DEFER_TASKRUN):
        raise ValueError("TASKRUN_FLAG needs COOP_TASKRUN or DEFER_TASKRUN")
    if flags & f.SQPOLL and flags & (f.COOP_TASKRUN | f.TASKRUN_FLAG | f.DEFER_TASKRUN):
        raise ValueError("SQPOLL does not go with COOP_TASKRUN, TASKRUN_FLAG or DEFER_TASKRUN")
    if flags & f.SQ_AFF and not flags & f.SQPOLL:
        raise ValueError("sq_thread_cpu (SQ_AFF) needs SQPOLL")
    if flags & f.HYBRID_IOPOLL and not flags & f.IOPOLL:
        raise ValueError("HYBRID_IOPOLL needs IOPOLL")


def send_msg_ring(ring: _ProcessDescriptor, nbytes: int, data: int, flags: int = 0) -> None:
    """Puts a completion into a ring, from any thread, without a ring of one's own (``io_uring_register_sync_msg``).

    Parameters:
        ring: the ``Ring``, or its descriptor.
        nbytes: what the completion has as ``res``.
        data: what it has as ``user_data``: an int below 2**63.
        flags: ``MsgRingFlags``.

    Since kernel 6.13.

    Raises:
        RingClosed: the ring is closed.
        OSError: EINVAL on an older kernel; EBADF when the descriptor is no ring's.
    """
    send_message(
        descriptor_of(ring),
        integer(nbytes, "nbytes", -0x80000000, 0x7FFFFFFF),
        integer(data, "data", 0, 2**63 - 1),
        integer(flags, "flags", 0, 0xFFFFFFFF),
    )
