"""Structures that the kernel fills in or reads, as buffers whose fields are properties."""

from __future__ import annotations

import operator
import struct
from typing import TYPE_CHECKING, SupportsIndex

from ioring.ring._msghdr import parse_control
from ioring.ring.constants import StatxMask
from ioring.ring.sockaddr import decode

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from ioring.ring._msghdr import MsgHdr
    from ioring.ring.sockaddr import _Decoded


class Statx(bytearray):
    """Room for a file's attributes (``struct statx``): give it to ``Sqe.prep_statx``, read it after the completion.

    ``mask`` says which attributes the file system gave; times are in nanoseconds since 1970.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(256)

    def _u16(self, at: int) -> int:
        (value,) = struct.unpack_from("=H", self, at)
        return int(value)

    def _u32(self, at: int) -> int:
        (value,) = struct.unpack_from("=I", self, at)
        return int(value)

    def _u64(self, at: int) -> int:
        (value,) = struct.unpack_from("=Q", self, at)
        return int(value)

    def _time(self, at: int) -> int:
        seconds, nanoseconds = struct.unpack_from("=qI", self, at)
        return int(seconds * 10**9 + nanoseconds)

    @property
    def mask(self) -> StatxMask:
        """What is valid, as ``StatxMask``."""
        return StatxMask(self._u32(0x00))

    @property
    def blksize(self) -> int:
        """Good size for reading and writing, in bytes."""
        return self._u32(0x04)

    @property
    def attributes(self) -> int:
        """``STATX_ATTR_*``."""
        return self._u64(0x08)

    @property
    def nlink(self) -> int:
        """Number of names."""
        return self._u32(0x10)

    @property
    def uid(self) -> int:
        """Owner."""
        return self._u32(0x14)

    @property
    def gid(self) -> int:
        """Group."""
        return self._u32(0x18)

    @property
    def mode(self) -> int:
        """Type and permissions, as of ``os.stat``."""
        return self._u16(0x1C)

    @property
    def ino(self) -> int:
        """Inode number."""
        return self._u64(0x20)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._u64(0x28)

    @property
    def blocks(self) -> int:
        """Blocks of 512 bytes in use."""
        return self._u64(0x30)

    @property
    def atime_ns(self) -> int:
        """Last read."""
        return self._time(0x40)

    @property
    def btime_ns(self) -> int:
        """Creation."""
        return self._time(0x50)

    @property
    def ctime_ns(self) -> int:
        """Last change of the attributes."""
        return self._time(0x60)

    @property
    def mtime_ns(self) -> int:
        """Last change of the contents."""
        return self._time(0x70)

    @property
    def rdev(self) -> tuple[int, int]:
        """A device file's numbers."""
        return self._u32(0x80), self._u32(0x84)

    @property
    def dev(self) -> tuple[int, int]:
        """The file system's device numbers."""
        return self._u32(0x88), self._u32(0x8C)

    @property
    def mnt_id(self) -> int:
        """The mount."""
        return self._u64(0x90)

    def __repr__(self) -> str:
        return f"<Statx mode={self.mode:#o} size={self.size} ino={self.ino}>"


class SigInfo(bytearray):
    """Room for what became of a child (``siginfo_t``): give it to ``Sqe.prep_waitid``."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(128)

    def _i32(self, at: int) -> int:
        (value,) = struct.unpack_from("=i", self, at)
        return int(value)

    @property
    def signo(self) -> int:
        """``SIGCHLD``, or 0 when nothing had happened."""
        return self._i32(0)

    @property
    def code(self) -> int:
        """``os.CLD_*``."""
        return self._i32(8)

    @property
    def pid(self) -> int:
        """The child."""
        return self._i32(16)

    @property
    def uid(self) -> int:
        """Its user."""
        return self._i32(20)

    @property
    def status(self) -> int:
        """Exit status, or the signal's number."""
        return self._i32(24)

    def __repr__(self) -> str:
        return f"<SigInfo signo={self.signo} code={self.code} pid={self.pid} status={self.status}>"


class OpenHow(bytearray):
    """How ``Sqe.prep_openat2`` opens (``struct open_how``).

    Parameters:
        flags: ``os.O_*``.
        mode: permissions of a file that is created.
        resolve: ``ResolveFlags``.
    """

    __slots__ = ()

    def __init__(self, flags: SupportsIndex = 0, mode: SupportsIndex = 0, resolve: SupportsIndex = 0) -> None:
        for name, value in (("flags", flags), ("mode", mode), ("resolve", resolve)):
            if not 0 <= operator.index(value) < 2**64:
                raise ValueError(f"{name} must not be negative, nor above 64 bits: {value}")
        super().__init__(struct.pack("=QQQ", flags, mode, resolve))


class EpollEvents(bytearray):
    """Room for events of an epoll set (``struct epoll_event``): give it to ``Sqe.prep_epoll_wait``.

    Parameters:
        maxevents: how many at most, from 1.
    """

    __slots__ = ()

    def __init__(self, maxevents: SupportsIndex) -> None:
        count = operator.index(maxevents)
        if count < 1:
            raise ValueError(f"maxevents must be at least 1, not {count}")
        super().__init__(12 * count)

    def events(self, count: int) -> list[tuple[int, int]]:
        """The first ``count`` as a list of (data, events)."""
        found = []
        for place in range(count):
            events, data = struct.unpack_from("=IQ", self, 12 * place)
            found.append((data, events))
        return found


class RecvmsgOut:
    """One message of a multishot recvmsg, taken apart (``io_uring_recvmsg_validate`` and its companions).

    Parameters:
        buffer: the bytes of the completion, as ``BufferRing.view`` gives them.
        msg: the ``MsgHdr`` that the request was made with: it says how much room was left for address and control.

    Attributes:
        address: the sender, as ``socket.recvfrom`` gives it, or ``None``.
        control: ancillary data: a list of (level, type, bytes).
        payload: a memoryview of the message.
        flags: ``socket.MSG_*``; ``MSG_TRUNC`` when the message did not fit into the buffer.

    Raises:
        ValueError: the bytes are no such message.
    """

    __slots__ = ("address", "control", "flags", "payload")

    address: _Decoded | None
    control: list[tuple[int, int, bytes]]
    flags: int
    payload: memoryview

    def __init__(self, buffer: ReadableBuffer, msg: MsgHdr) -> None:
        view = memoryview(buffer)
        start = 16 + msg.name_size + msg.control_size
        if len(view) < start:
            raise ValueError(f"a message has at least {start} bytes here, not {len(view)}")
        name, control, payload, self.flags = struct.unpack_from("=IIII", view)
        self.address = decode(bytes(view[16 : 16 + min(name, msg.name_size)])) if msg.name_size else None
        begin = 16 + msg.name_size
        self.control = parse_control(bytes(view[begin : begin + min(control, msg.control_size)]))
        self.payload = view[start : start + payload]
