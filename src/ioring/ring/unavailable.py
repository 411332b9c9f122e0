"""Why no ring can be had, in words: what ``RingUnavailable`` says, and ``features().reason``."""

from __future__ import annotations

import errno
import os
import resource

from ioring.ring._core import RingCore
from ioring.ring.constants import SetupFlags

_SYSCTL = "/proc/sys/kernel/io_uring_disabled"
_SYSCTL_GROUP = "/proc/sys/kernel/io_uring_group"


def _read_int(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def io_uring_disabled() -> int | None:
    """The sysctl ``kernel.io_uring_disabled``: 0, 1 or 2; ``None`` on a kernel that has none (before 6.6)."""
    return _read_int(_SYSCTL)


def explain(number: int, flags: SetupFlags | None = None) -> str:
    """Why ``io_uring_setup`` failed with this errno, and what to do about it."""
    if number == errno.ENOSYS:
        return (
            "io_uring is not there: the kernel is too old or built without CONFIG_IO_URING, or a seccomp profile "
            "(Podman's default) hides it. Use kernel 6.1 or later, or a profile that allows io_uring_setup, "
            "io_uring_enter and io_uring_register"
        )
    if number == errno.EPERM:
        disabled = io_uring_disabled()
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
            f"this kernel ({os.uname().release}) does not accept even the plainest ring: it is too old, or a seccomp "
            "profile answers for it. Use kernel 6.1 or later, and a profile that allows io_uring_setup"
        )
    if number == errno.EINVAL:
        return f"this kernel ({os.uname().release}) does not accept {flags!r} together: leave the newest flag out"
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


def try_ring(flags: SetupFlags = SetupFlags(0)) -> tuple[RingCore | None, int]:
    """A small ring and 0, or ``None`` and the errno."""
    try:
        return RingCore(1, int(flags), 2 if flags & SetupFlags.CQSIZE else 0, 0, 0, 0), 0
    except OSError as error:
        return None, error.errno or 0


def accepts_any_ring() -> bool:
    """Whether a ring without any flags can be had: then EINVAL was about the flags."""
    ring, _ = try_ring()
    if ring is not None:
        ring.close()
    return ring is not None
