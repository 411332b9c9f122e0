"""What this kernel can do, found by trying it out."""

import errno
import functools
import os
import resource
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import IntFlag
from typing import Any

from ioring.ring._core import RingCore, send_message
from ioring.ring.constants import (
    BUFFER_RING_ENTRIES_MAX,
    ENTRIES_MAX,
    REGISTERED_BUFFERS_MAX,
    Features,
    Op,
    RegisterOp,
    SetupFlags,
)
from ioring.ring.unavailable import explain, io_uring_disabled, try_ring

_SETUP_CHOICES = (
    # Each flag with those that it needs.
    SetupFlags.IOPOLL,
    SetupFlags.SQPOLL,
    SetupFlags.CQSIZE,
    SetupFlags.CLAMP,
    SetupFlags.R_DISABLED,
    SetupFlags.SUBMIT_ALL,
    SetupFlags.COOP_TASKRUN,
    SetupFlags.TASKRUN_FLAG | SetupFlags.COOP_TASKRUN,
    SetupFlags.SQE128,
    SetupFlags.CQE32,
    SetupFlags.SINGLE_ISSUER,
    SetupFlags.DEFER_TASKRUN | SetupFlags.SINGLE_ISSUER,
    SetupFlags.NO_SQARRAY,
    SetupFlags.HYBRID_IOPOLL | SetupFlags.IOPOLL,
)


@dataclass(frozen=True)
class KernelFeatures:
    """What ``features`` found.

    Attributes:
        available: whether a ring can be had.
        reason: why not, and what to do; ``None`` when it can.
        kernel: the kernel's release.
        operations: names of the operations it has, as in ``Op``.
        missing: names of the operations known here that it does not have.
        setup_flags: names of the ``SetupFlags`` that work.
        feature_flags: names of the ``Features`` it announces.
        registrations: names of the ``RegisterOp`` that it knows.
        limits: ``entries``, ``cq_entries``, ``buffer_ring_entries``, ``registered_buffers``, ``open_files`` (the soft
            limit) and ``memlock`` in bytes, -1 for no limit.
        io_uring_disabled: the sysctl ``kernel.io_uring_disabled``, or ``None`` where there is none.
    """

    available: bool
    reason: str | None
    kernel: str
    operations: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    setup_flags: tuple[str, ...] = ()
    feature_flags: tuple[str, ...] = ()
    registrations: tuple[str, ...] = ()
    limits: dict[str, int] = field(default_factory=dict)
    io_uring_disabled: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as a dict of JSON types."""
        return asdict(self)


def _names(enumeration: type[IntFlag], value: int) -> tuple[str, ...]:
    return tuple(member.name for member in enumeration if member.name and member & value == member)


def features() -> KernelFeatures:
    """What this kernel can do, found by trying it out in small rings. Takes some milliseconds; remembered.

    Returns ``KernelFeatures``. Raises nothing: where no ring can be had, ``available`` is false and
    ``reason`` says why.
    """
    return _probe(io_uring_disabled())


@functools.lru_cache(maxsize=4)
def _probe(disabled: int | None) -> KernelFeatures:
    ring, number = try_ring()
    kernel = os.uname().release
    if ring is None:
        return KernelFeatures(False, explain(number), kernel, io_uring_disabled=disabled)
    with ring:
        has = _operations(ring)
        feature_flags = _names(Features, ring._features)
        registrations = tuple(op.name for op in RegisterOp if _knows(ring, op))
    setup = SetupFlags(0)
    for choice in _SETUP_CHOICES:
        trial, number = try_ring(choice)
        if trial is not None:
            trial.close()
        # The kernel looks at the flags before it takes memory, of which there may be little for a moment.
        if trial is not None or number == errno.ENOMEM:
            setup |= choice
    memlock, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return KernelFeatures(
        available=True,
        reason=None,
        kernel=kernel,
        operations=tuple(op.name for op in Op if op in has),
        missing=tuple(op.name for op in Op if op not in has),
        setup_flags=_names(SetupFlags, setup),
        feature_flags=feature_flags,
        registrations=registrations,
        limits={
            "entries": ENTRIES_MAX,
            "cq_entries": 2 * ENTRIES_MAX,
            "buffer_ring_entries": BUFFER_RING_ENTRIES_MAX,
            "registered_buffers": REGISTERED_BUFFERS_MAX,
            "open_files": files,
            "memlock": -1 if memlock == resource.RLIM_INFINITY else memlock,
        },
        io_uring_disabled=disabled,
    )


def _operations(ring: RingCore) -> set[int]:
    """The numbers of the operations that the kernel has (``IORING_REGISTER_PROBE``)."""
    argument = bytearray(16 + 256 * 8)
    ring._register(RegisterOp.PROBE, argument, 256)
    return {argument[16 + 8 * i] for i in range(argument[1]) if argument[16 + 8 * i + 2] & 1}


def _knows(ring: RingCore, op: RegisterOp) -> bool:
    """Whether the kernel knows a registration. It answers EINVAL to unknown ones.

    Since EINVAL may also mean a wrong argument, each is called with arguments to which kernels that know it answer
    something else.
    """
    return _PROBES[op](ring) if op in _PROBES else True


def _answers(
    op: RegisterOp, argument: bytearray, count: int, unknown: tuple[int, ...] = (errno.EINVAL,)
) -> Callable[[RingCore], bool]:
    def ask(ring: RingCore) -> bool:
        return -ring._register(op, argument, count) not in unknown

    return ask


_PROBES: dict[RegisterOp, Callable[[RingCore], bool]] = {
    # What came after 6.1, the oldest kernel supported; the bytes are a well-formed argument that does no harm.
    RegisterOp.PBUF_STATUS: _answers(RegisterOp.PBUF_STATUS, bytearray(40), 1),
    RegisterOp.NAPI: _answers(RegisterOp.UNREGISTER_NAPI, bytearray(16), 1, (errno.EINVAL, errno.EOPNOTSUPP)),
    RegisterOp.UNREGISTER_NAPI: _answers(
        RegisterOp.UNREGISTER_NAPI, bytearray(16), 1, (errno.EINVAL, errno.EOPNOTSUPP)
    ),
    RegisterOp.CLOCK: _answers(RegisterOp.CLOCK, bytearray(b"\x01" + bytes(15)), 0),
    RegisterOp.CLONE_BUFFERS: _answers(RegisterOp.CLONE_BUFFERS, bytearray(b"\xff" * 4 + bytes(28)), 1),
    RegisterOp.SEND_MSG_RING: lambda ring: _knows_send_msg_ring(),
    RegisterOp.ZCRX_IFQ: lambda ring: Op.RECV_ZC in _operations(ring),
    RegisterOp.RESIZE_RINGS: lambda ring: _knows(ring, RegisterOp.SEND_MSG_RING),
    RegisterOp.MEM_REGION: lambda ring: _knows(ring, RegisterOp.SEND_MSG_RING),
}


def _knows_send_msg_ring() -> bool:
    try:
        send_message(0, 0, 0, 0)
    except OSError as error:
        return error.errno != errno.EINVAL
    return True
