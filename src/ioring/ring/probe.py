"""What this kernel can do, found by trying, and why there is no ring, in words."""

import errno
import functools
import os
import platform
import resource
from dataclasses import asdict, dataclass, field

from ioring.ring._queues import RingCore, send_message
from ioring.ring.constants import (
    BUFFER_RING_ENTRIES_MAX,
    ENTRIES_MAX,
    REGISTERED_BUFFERS_MAX,
    Features,
    Op,
    RegisterOp,
    SetupFlags,
)

_SYSCTL = "/proc/sys/kernel/io_uring_disabled"
_SYSCTL_GROUP = "/proc/sys/kernel/io_uring_group"

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

    def as_dict(self):
        """The same as a dict of JSON types."""
        return asdict(self)


def _read_int(path):
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def explain(number, flags=None):
    """Why ``io_uring_setup`` failed with this errno, and what to do about it."""
    if number == errno.ENOSYS:
        return (
            "io_uring is not there: the kernel is too old or built without CONFIG_IO_URING, or a seccomp profile "
            "(Podman's default) hides it. Use kernel 6.1 or later, or a profile that allows io_uring_setup, "
            "io_uring_enter and io_uring_register"
        )
    if number == errno.EPERM:
        disabled = _read_int(_SYSCTL)
        if disabled == 2:
            return "io_uring is switched off on this system: `sysctl kernel.io_uring_disabled=0` (as root) allows it"
        if disabled == 1:
            group = _read_int(_SYSCTL_GROUP)
            member = f", or add the user to group {group}" if group is not None and group >= 0 else ""
            return (
                "io_uring is allowed to administrators only: `sysctl kernel.io_uring_disabled=0` (as root) allows it "
                f"to everybody{member}"
            )
        return (
            "a seccomp profile forbids io_uring, as the default ones of Docker 25 and containerd 2 do: run the "
            "container with a profile that allows io_uring_setup, io_uring_enter and io_uring_register "
            "(--security-opt seccomp=FILE)"
        )
    if number == errno.EACCES:
        return "a security module (SELinux, for example) forbids io_uring: its policy has to allow it for this program"
    if number == errno.EINVAL and not flags:
        return (
            f"this kernel ({platform.release()}) does not accept even the plainest ring: it is too old, or a seccomp "
            "profile answers for it. Use kernel 6.1 or later, and a profile that allows io_uring_setup"
        )
    if number == errno.EINVAL:
        return f"this kernel ({platform.release()}) does not accept {flags!r} together: leave the newest flag out"
    if number == errno.ENOMEM:
        soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        limit = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft // 1024} KiB"
        return (
            f"not enough lockable memory (the limit is {limit}): raise it by `ulimit -l`, LimitMEMLOCK= (systemd) or "
            "--ulimit memlock= (containers), or ask for fewer entries"
        )
    if number == errno.EMFILE:
        return "this process has too many open files: raise `ulimit -n`"
    if number == errno.ENFILE:
        return "the system has too many open files: raise `sysctl fs.file-max`"
    return os.strerror(number)


def _try(flags=SetupFlags(0), entries=1):
    """A small ring, or the errno."""
    try:
        return RingCore(entries, int(flags), 2 if flags & SetupFlags.CQSIZE else 0, 0, 0, 0), 0
    except OSError as error:
        return None, error.errno


def accepts_any_ring():
    """Whether the plainest ring can be had: then EINVAL was about flags."""
    ring, number = _try()
    if ring is not None:
        ring.close()
    return number == 0


def _names(enumeration, value):
    return tuple(member.name for member in enumeration if member & value == member)


def features():
    """What this kernel can do, found by trying it out in small rings. Takes some milliseconds; remembered.

    Returns ``KernelFeatures``. Raises nothing: where no ring can be had, ``available`` is false and
    ``reason`` says why.
    """
    return _probe(_read_int(_SYSCTL))


@functools.lru_cache(maxsize=4)
def _probe(disabled):
    ring, number = _try()
    kernel = platform.release()
    if ring is None:
        return KernelFeatures(False, explain(number), kernel, io_uring_disabled=disabled)
    with ring:
        argument = bytearray(16 + 256 * 8)
        ring._register(RegisterOp.PROBE, argument, 256)
        has = {argument[16 + 8 * i] for i in range(argument[1]) if argument[16 + 8 * i + 2] & 1}
        feature_flags = _names(Features, ring._features)
        registrations = tuple(op.name for op in RegisterOp if _knows(ring, op))
    setup = SetupFlags(0)
    for choice in _SETUP_CHOICES:
        trial, _ = _try(choice)
        if trial is not None:
            trial.close()
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


def _knows(ring, op):
    """Whether the kernel has a registration: called with an impossible argument, an unknown one gives EINVAL.

    EINVAL is also the answer to some impossible arguments, so each class is asked in a way that it answers otherwise.
    """
    return _PROBES[op](ring) if op in _PROBES else True


def _answers(op, argument, count, unknown=(errno.EINVAL,)):
    def ask(ring):
        return -ring._register(op, argument, count) not in unknown

    return ask


_PROBES = {
    # What came after 6.1, the oldest kernel supported; the bytes are a well-formed argument that does no harm.
    RegisterOp.PBUF_STATUS: _answers(RegisterOp.PBUF_STATUS, bytearray(40), 1),
    RegisterOp.NAPI: _answers(RegisterOp.UNREGISTER_NAPI, bytearray(16), 1, (errno.EINVAL, errno.EOPNOTSUPP)),
    RegisterOp.UNREGISTER_NAPI: _answers(
        RegisterOp.UNREGISTER_NAPI, bytearray(16), 1, (errno.EINVAL, errno.EOPNOTSUPP)
    ),
    RegisterOp.CLOCK: _answers(RegisterOp.CLOCK, bytearray(b"\x01" + bytes(15)), 0),
    RegisterOp.CLONE_BUFFERS: _answers(RegisterOp.CLONE_BUFFERS, bytearray(b"\xff" * 4 + bytes(28)), 1),
    RegisterOp.SEND_MSG_RING: lambda ring: _knows_send_msg_ring(),
    RegisterOp.ZCRX_IFQ: lambda ring: "RECV_ZC" in _op_names(ring),
    RegisterOp.RESIZE_RINGS: lambda ring: _knows(ring, RegisterOp.SEND_MSG_RING),
    RegisterOp.MEM_REGION: lambda ring: _knows(ring, RegisterOp.SEND_MSG_RING),
}


def _op_names(ring):
    argument = bytearray(16 + 256 * 8)
    ring._register(RegisterOp.PROBE, argument, 256)
    return {Op(n).name for n in range(argument[1]) if argument[16 + 8 * n + 2] & 1 and n in Op._value2member_map_}


def _knows_send_msg_ring():
    try:
        send_message(0, 0, 0, 0)
    except OSError as error:
        return error.errno != errno.EINVAL
    return True
