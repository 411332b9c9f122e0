from typing import SupportsIndex

from _typeshed import ReadableBuffer

from ioring.ring._msghdr import MsgHdr
from ioring.ring.constants import StatxMask
from ioring.ring.sockaddr import _Decoded

class Statx(bytearray):
    def __init__(self) -> None: ...
    @property
    def mask(self) -> StatxMask:
        """Which of the values are valid."""
    @property
    def blksize(self) -> int:
        """A good size for reading and writing, in bytes."""
    @property
    def attributes(self) -> int:
        """``STATX_ATTR_*``."""
    @property
    def nlink(self) -> int:
        """Number of names."""
    @property
    def uid(self) -> int:
        """Owner."""
    @property
    def gid(self) -> int:
        """Group."""
    @property
    def mode(self) -> int:
        """Type and permissions, as ``os.stat`` gives them."""
    @property
    def ino(self) -> int:
        """Inode number."""
    @property
    def size(self) -> int:
        """Size in bytes."""
    @property
    def blocks(self) -> int:
        """Blocks of 512 bytes in use."""
    @property
    def atime_ns(self) -> int:
        """When it was last read."""
    @property
    def btime_ns(self) -> int:
        """When it was created."""
    @property
    def ctime_ns(self) -> int:
        """When its attributes were last changed."""
    @property
    def mtime_ns(self) -> int:
        """When its contents were last changed."""
    @property
    def rdev(self) -> tuple[int, int]:
        """The device that a device file stands for, as (major, minor)."""
    @property
    def dev(self) -> tuple[int, int]:
        """The file system's device, as (major, minor)."""
    @property
    def mnt_id(self) -> int:
        """The id of the mount."""

class SigInfo(bytearray):
    def __init__(self) -> None: ...
    @property
    def signo(self) -> int:
        """``SIGCHLD``, or 0 when nothing had happened."""
    @property
    def code(self) -> int:
        """``os.CLD_*``."""
    @property
    def pid(self) -> int:
        """The child's process id."""
    @property
    def uid(self) -> int:
        """The child's user."""
    @property
    def status(self) -> int:
        """The exit status, or the number of the signal."""

class OpenHow(bytearray):
    def __init__(self, flags: SupportsIndex = 0, mode: SupportsIndex = 0, resolve: SupportsIndex = 0) -> None: ...

class EpollEvents(bytearray):
    def __init__(self, maxevents: SupportsIndex) -> None: ...
    def events(self, count: int) -> list[tuple[int, int]]: ...

class RecvmsgOut:
    address: _Decoded | None
    control: list[tuple[int, int, bytes]]
    flags: int
    payload: memoryview
    def __init__(self, buffer: ReadableBuffer, msg: MsgHdr) -> None: ...
