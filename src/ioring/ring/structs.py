"""Structures that the kernel fills, and those that describe a request: buffers with names for their parts."""

import operator
import struct

from ioring.ring._msghdr import parse_control
from ioring.ring.constants import StatxMask
from ioring.ring.sockaddr import decode


class Statx(bytearray):
    """Room for a file's attributes (``struct statx``): give it to ``Sqe.prep_statx``, read it after the completion.

    ``mask`` says which attributes the file system gave; times are in nanoseconds since 1970.
    """

    __slots__ = ()

    def __init__(self):
        super().__init__(256)

    def _u16(self, at):
        return struct.unpack_from("=H", self, at)[0]

    def _u32(self, at):
        return struct.unpack_from("=I", self, at)[0]

    def _u64(self, at):
        return struct.unpack_from("=Q", self, at)[0]

    def _time(self, at):
        seconds, nanoseconds = struct.unpack_from("=qI", self, at)
        return seconds * 10**9 + nanoseconds

    mask = property(lambda self: StatxMask(self._u32(0x00)), doc="What is valid, as ``StatxMask``.")
    blksize = property(lambda self: self._u32(0x04), doc="Good size for reading and writing, in bytes.")
    attributes = property(lambda self: self._u64(0x08), doc="``STATX_ATTR_*``.")
    nlink = property(lambda self: self._u32(0x10), doc="Number of names.")
    uid = property(lambda self: self._u32(0x14), doc="Owner.")
    gid = property(lambda self: self._u32(0x18), doc="Group.")
    mode = property(lambda self: self._u16(0x1C), doc="Type and permissions, as of ``os.stat``.")
    ino = property(lambda self: self._u64(0x20), doc="Inode number.")
    size = property(lambda self: self._u64(0x28), doc="Size in bytes.")
    blocks = property(lambda self: self._u64(0x30), doc="Blocks of 512 bytes in use.")
    atime_ns = property(lambda self: self._time(0x40), doc="Last read.")
    btime_ns = property(lambda self: self._time(0x50), doc="Creation.")
    ctime_ns = property(lambda self: self._time(0x60), doc="Last change of the attributes.")
    mtime_ns = property(lambda self: self._time(0x70), doc="Last change of the contents.")
    rdev = property(lambda self: (self._u32(0x80), self._u32(0x84)), doc="A device file's numbers.")
    dev = property(lambda self: (self._u32(0x88), self._u32(0x8C)), doc="The file system's device numbers.")
    mnt_id = property(lambda self: self._u64(0x90), doc="The mount.")

    def __repr__(self):
        return f"<Statx mode={self.mode:#o} size={self.size} ino={self.ino}>"


class SigInfo(bytearray):
    """Room for what became of a child (``siginfo_t``): give it to ``Sqe.prep_waitid``."""

    __slots__ = ()

    def __init__(self):
        super().__init__(128)

    def _i32(self, at):
        return struct.unpack_from("=i", self, at)[0]

    signo = property(lambda self: self._i32(0), doc="``SIGCHLD``, or 0 when nothing had happened.")
    code = property(lambda self: self._i32(8), doc="``os.CLD_*``.")
    pid = property(lambda self: self._i32(16), doc="The child.")
    uid = property(lambda self: self._i32(20), doc="Its user.")
    status = property(lambda self: self._i32(24), doc="Exit status, or the signal's number.")

    def __repr__(self):
        return f"<SigInfo signo={self.signo} code={self.code} pid={self.pid} status={self.status}>"


class OpenHow(bytearray):
    """How ``Sqe.prep_openat2`` opens (``struct open_how``).

    Parameters:
        flags: ``os.O_*``.
        mode: permissions of a file that is created.
        resolve: ``ResolveFlags``.
    """

    __slots__ = ()

    def __init__(self, flags=0, mode=0, resolve=0):
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

    def __init__(self, maxevents):
        count = operator.index(maxevents)
        if count < 1:
            raise ValueError(f"maxevents must be at least 1, not {count}")
        super().__init__(12 * count)

    def events(self, count):
        """The first ``count`` as a list of (data, events)."""
        return [struct.unpack_from("=IQ", self, 12 * place)[::-1] for place in range(count)]


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

    def __init__(self, buffer, msg):
        view = memoryview(buffer)
        start = 16 + msg.name_size + msg.control_size
        if len(view) < start:
            raise ValueError(f"a message has at least {start} bytes here, not {len(view)}")
        name, control, payload, self.flags = struct.unpack_from("=IIII", view)
        self.address = decode(bytes(view[16 : 16 + min(name, msg.name_size)])) if msg.name_size else None
        begin = 16 + msg.name_size
        self.control = parse_control(bytes(view[begin : begin + min(control, msg.control_size)]))
        self.payload = view[start : start + payload]
