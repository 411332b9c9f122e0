"""Every SQE is what liburing's function of the same name makes of the same arguments, byte for byte.

A case names an operation, the arguments in Python, and the same ones for liburing as integers. What the program hands
over lies at an address that is known here independently. What ioring packs itself (paths, iovecs, socket addresses,
times) lies at an address that only the SQE tells: there the case says "addr", "off" or "addr3", and what must be found
at that place.
"""

import array
import ctypes
import mmap
import os
import select
import socket
import struct
from dataclasses import dataclass

import pytest

import ioring
import liburing_library as liburing
from ioring import (
    FILE_INDEX_ALLOC,
    FILES_SKIP,
    CancelFlags,
    Direct,
    EpollEvents,
    FixedFdFlags,
    FsyncFlags,
    FutexFlags,
    MsgHdr,
    MsgRingFlags,
    OpenHow,
    PollFlags,
    RecvSendFlags,
    ResolveFlags,
    RwFlags,
    SetupFlags,
    SigInfo,
    SockAddr,
    SocketOp,
    SpliceFlags,
    SqeFlags,
    Statx,
    StatxMask,
    TimeoutFlags,
)

SLOTS = 64
AT_FDCWD = -100
FD_MAX = 2**31 - 1
LENGTH_MAX = 2**32 - 1
OFFSET_MAX = 2**63 - 1
FIXED = SqeFlags.FIXED_FILE
ALLOC = liburing.ALLOC
TARGET = object()  # another request of the same ring; for liburing, its token

BUFFER = bytearray(b"0123456789abcdef" * 4)
OTHER = bytearray(7)
AT, OTHER_AT = liburing.address_of(BUFFER), liburing.address_of(OTHER)
PAGES = mmap.mmap(-1, 4 * mmap.PAGESIZE)
FUTEX = array.array("I", [0, 0])
DESCRIPTORS = array.array("i", [5, -1, FILES_SKIP])
PAIR = array.array("i", [-1, -1])
STATX, SIGINFO, PEER, EVENTS = Statx(), SigInfo(), SockAddr(), EpollEvents(4)
HOW = OpenHow(os.O_RDWR | os.O_CREAT, 0o640, ResolveFlags.BENEATH)
SENT = MsgHdr([BUFFER, OTHER], address=("127.0.0.1", 80))
RECEIVED = MsgHdr([BUFFER], name_size=128, control_size=64)

IPV4 = struct.pack("=H", socket.AF_INET) + struct.pack(">H", 8080) + bytes([127, 0, 0, 1]) + bytes(8)
IPV6 = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", 443, 7) + bytes(15) + b"\1" + struct.pack("=I", 3)
UNIX = struct.pack("=H", socket.AF_UNIX) + b"/run/x.sock\0"
SENT_TO = struct.pack("=H", socket.AF_INET) + struct.pack(">H", 80) + bytes([127, 0, 0, 1]) + bytes(8)
ABSTRACT = struct.pack("=H", socket.AF_UNIX) + b"\0name"
VECTOR = struct.pack("=QQQQ", AT, len(BUFFER), OTHER_AT, len(OTHER))


def timespec(seconds, nanoseconds=0):
    return struct.pack("=qq", seconds, nanoseconds)


@dataclass
class Case:
    """``memory`` is what must stand where a field of the SQE points to; ``flags`` those that ioring sets by itself."""

    name: str
    arguments: tuple
    expected: tuple
    memory: dict
    flags: int


def case(name, arguments, expected, flags=0, **memory):
    return Case(name, arguments, expected, memory, flags)


def at(buffer):
    return liburing.address_of(buffer)


TRANSFERS = [
    case(name, *both)
    for name in ("read", "write")
    for both in [
        ((3, BUFFER), (3, AT, 64, -1)),
        ((0, BUFFER, 10, 0), (0, AT, 10, 0)),
        ((FD_MAX, BUFFER, 0, OFFSET_MAX), (FD_MAX, AT, 0, OFFSET_MAX)),
        ((3, memoryview(BUFFER)[8:24], None, 2**32), (3, AT + 8, 16, 2**32)),
        ((3, None, LENGTH_MAX), (3, 0, LENGTH_MAX, -1)),
        ((Direct(0), BUFFER), (0, AT, 64, -1), FIXED),
        ((Direct(SLOTS - 1), BUFFER, 5, 9), (SLOTS - 1, AT, 5, 9), FIXED),
    ]
]

FIXED_BUFFERS = [
    case(name, *both)
    for name in ("read_fixed", "write_fixed")
    for both in [
        ((3, BUFFER), (3, AT, 64, -1, 0)),
        ((3, BUFFER, 16, 4096, 9), (3, AT, 16, 4096, 9)),
        ((Direct(4), BUFFER, None, OFFSET_MAX, 16383), (4, AT, 64, OFFSET_MAX, 16383), FIXED),
    ]
]

VECTORS = [
    *(
        case(name, arguments, expected, flags, addr=VECTOR)
        for name in ("readv", "writev")
        for arguments, expected, flags in [
            ((3, [BUFFER, OTHER]), (3, "addr", 2, -1), 0),
            ((Direct(3), (BUFFER, OTHER), OFFSET_MAX), (3, "addr", 2, OFFSET_MAX), FIXED),
        ]
    ),
    *(
        case(name, (3, [BUFFER, OTHER], 12, flags), (3, "addr", 2, 12, flags), addr=VECTOR)
        for name in ("readv2", "writev2")
        for flags in (0, RwFlags.NOWAIT, RwFlags.DSYNC | RwFlags.HIPRI)
    ),
    *(
        case(name, (3, [BUFFER, OTHER], -1, RwFlags.NOWAIT, 5), (3, "addr", 2, -1, RwFlags.NOWAIT, 5), addr=VECTOR)
        for name in ("readv_fixed", "writev_fixed")
    ),
    case("readv", (3, []), (3, "addr", 0, -1)),
    case("writev", (3, [b"x"] * 1024, 0), (3, "addr", 1024, 0)),
    # Not every liburing sets the flag itself.
    case("read_multishot", (3,), (3, 0, -1, 0), SqeFlags.BUFFER_SELECT),
    case("read_multishot", (3, 4096, 0, 65535), (3, 4096, 0, 65535), SqeFlags.BUFFER_SELECT),
    case("read_multishot", (Direct(2), LENGTH_MAX, -1, 1), (2, LENGTH_MAX, -1, 1), SqeFlags.BUFFER_SELECT | FIXED),
]

OPENING = [
    case("openat", (None, "/tmp/x", os.O_RDWR, 0o644), (AT_FDCWD, "addr", os.O_RDWR, 0o644), addr=b"/tmp/x\0"),
    case(
        "openat",
        (9, b"\xff\xfe", os.O_CREAT | os.O_CLOEXEC),
        (9, "addr", os.O_CREAT | os.O_CLOEXEC, 0),
        addr=b"\xff\xfe\0",
    ),
    case("openat", (AT_FDCWD, "é", os.O_PATH, 0o7777), (AT_FDCWD, "addr", os.O_PATH, 0o7777), addr="é\0".encode()),
    case("openat_direct", (4, "x", 0, 0, 7), (4, "addr", 0, 0, 7), addr=b"x\0"),
    case("openat_direct", (4, "x", 0, 0, Direct(8)), (4, "addr", 0, 0, 8), addr=b"x\0"),
    case("openat_direct", (None, "x", os.O_RDWR), (AT_FDCWD, "addr", os.O_RDWR, 0, ALLOC), addr=b"x\0"),
    case("open", ("/", os.O_DIRECTORY), ("addr", os.O_DIRECTORY, 0), addr=b"/\0"),
    case("open_direct", ("/", os.O_DIRECTORY, 0, 0), ("addr", os.O_DIRECTORY, 0, 0), addr=b"/\0"),
    case("open_direct", ("/",), ("addr", 0, 0, ALLOC), addr=b"/\0"),
    case("openat2", (5, "a/b", HOW), (5, "addr", at(HOW)), addr=b"a/b\0"),
    case("openat2", (None, "", bytes(HOW)), (AT_FDCWD, "addr", "off"), addr=b"\0", off=bytes(HOW)),
    case("openat2_direct", (5, "a", HOW), (5, "addr", at(HOW), ALLOC), addr=b"a\0"),
    case("openat2_direct", (5, "a", HOW, SLOTS - 1), (5, "addr", at(HOW), SLOTS - 1), addr=b"a\0"),
    case("close", (3,), (3,)),
    case("close", (FD_MAX,), (FD_MAX,)),
    case("close_direct", (0,), (0,)),
    case("close_direct", (Direct(SLOTS - 1),), (SLOTS - 1,)),
    case("fixed_fd_install", (6,), (6, 0), FIXED),
    case("fixed_fd_install", (Direct(6), FixedFdFlags.NO_CLOEXEC), (6, FixedFdFlags.NO_CLOEXEC), FIXED),
    case("files_update", (DESCRIPTORS, 3), (at(DESCRIPTORS), 3, 3)),
    case("files_update", ([4, -1], 0), ("addr", 2, 0), addr=struct.pack("=ii", 4, -1)),
    case("files_update", (DESCRIPTORS, FILE_INDEX_ALLOC), (at(DESCRIPTORS), 3, FILE_INDEX_ALLOC)),
]

FILES = [
    case("fsync", (3,), (3, 0)),
    case("fsync", (Direct(1), FsyncFlags.DATASYNC), (1, FsyncFlags.DATASYNC), FIXED),
    case("sync_file_range", (3,), (3, 0, 0, 0)),
    case("sync_file_range", (3, LENGTH_MAX, OFFSET_MAX, 7), (3, LENGTH_MAX, OFFSET_MAX, 7)),
    case("fallocate", (3, 0, 0, 4096), (3, 0, 0, 4096)),
    case("fallocate", (3, 3, OFFSET_MAX, OFFSET_MAX), (3, 3, OFFSET_MAX, OFFSET_MAX)),
    case("ftruncate", (3, 0), (3, 0)),
    case("ftruncate", (Direct(2), OFFSET_MAX), (2, OFFSET_MAX), FIXED),
    case("fadvise", (3, 4096, LENGTH_MAX, os.POSIX_FADV_DONTNEED), (3, 4096, LENGTH_MAX, os.POSIX_FADV_DONTNEED)),
    case(
        "fadvise64",
        (3, OFFSET_MAX, OFFSET_MAX, os.POSIX_FADV_RANDOM),
        (3, OFFSET_MAX, OFFSET_MAX, os.POSIX_FADV_RANDOM),
    ),
    case("madvise", (PAGES, 2 * mmap.PAGESIZE, mmap.MADV_DONTNEED), (at(PAGES), 2 * mmap.PAGESIZE, mmap.MADV_DONTNEED)),
    case("madvise64", (PAGES, 4 * mmap.PAGESIZE, mmap.MADV_FREE), (at(PAGES), 4 * mmap.PAGESIZE, mmap.MADV_FREE)),
    case(
        "statx",
        (None, "/x", 0x100, StatxMask.BASIC_STATS, STATX),
        (AT_FDCWD, "addr", 0x100, 0x7FF, at(STATX)),
        addr=b"/x\0",
    ),
    case("statx", (7, "", 0x1000, LENGTH_MAX, STATX), (7, "addr", 0x1000, LENGTH_MAX, at(STATX)), addr=b"\0"),
]

NAMES = [
    case("unlinkat", (5, "a"), (5, "addr", 0), addr=b"a\0"),
    case("unlinkat", (None, "a", 0x200), (AT_FDCWD, "addr", 0x200), addr=b"a\0"),
    case("unlink", ("a", 0x200), ("addr", 0x200), addr=b"a\0"),
    case("renameat", (5, "a", 6, "bc", 1), (5, "addr", 6, "off", 1), addr=b"a\0", off=b"bc\0"),
    case("renameat", (None, "a", None, "b"), (AT_FDCWD, "addr", AT_FDCWD, "off", 0), addr=b"a\0", off=b"b\0"),
    case("rename", ("a", "b"), ("addr", "off"), addr=b"a\0", off=b"b\0"),
    case("linkat", (5, "a", 6, "b", 0x400), (5, "addr", 6, "off", 0x400), addr=b"a\0", off=b"b\0"),
    case("link", ("a", "b"), ("addr", "off", 0), addr=b"a\0", off=b"b\0"),
    case("link", ("a", "b", 0x400), ("addr", "off", 0x400), addr=b"a\0", off=b"b\0"),
    case("symlinkat", ("to", 6, "at"), ("addr", 6, "off"), addr=b"to\0", off=b"at\0"),
    case("symlink", ("to", "at"), ("addr", "off"), addr=b"to\0", off=b"at\0"),
    case("mkdirat", (5, "d", 0o700), (5, "addr", 0o700), addr=b"d\0"),
    case("mkdir", ("d",), ("addr", 0o777), addr=b"d\0"),
    case("getxattr", ("user.a", BUFFER, "/f"), ("addr", AT, "addr3", 64), addr=b"user.a\0", addr3=b"/f\0"),
    case("getxattr", ("user.a", BUFFER, "/f", 0), ("addr", AT, "addr3", 0), addr=b"user.a\0", addr3=b"/f\0"),
    case("setxattr", ("user.a", BUFFER, "/f", 2, 5), ("addr", AT, "addr3", 2, 5), addr=b"user.a\0", addr3=b"/f\0"),
    case("fgetxattr", (3, "user.a", BUFFER), (3, "addr", AT, 64), addr=b"user.a\0"),
    case("fsetxattr", (3, "user.a", BUFFER, 1), (3, "addr", AT, 1, 64), addr=b"user.a\0"),
]

PIPES = [
    case("splice", (3, -1, 4, -1, 4096), (3, -1, 4, -1, 4096, 0)),
    case(
        "splice",
        (3, OFFSET_MAX, 4, 0, LENGTH_MAX, SpliceFlags.MOVE),
        (3, OFFSET_MAX, 4, 0, LENGTH_MAX, SpliceFlags.MOVE),
    ),
    case("splice", (Direct(5), 0, 4, -1, 1), (5, 0, 4, -1, 1, 1 << 31)),
    case("splice", (3, 0, Direct(6), -1, 1, SpliceFlags.MORE), (3, 0, 6, -1, 1, SpliceFlags.MORE), FIXED),
    case("splice", (Direct(5), 0, Direct(6), -1, 1), (5, 0, 6, -1, 1, 1 << 31), FIXED),
    case("tee", (3, 4, 65536), (3, 4, 65536, 0)),
    case("tee", (Direct(3), Direct(4), LENGTH_MAX, SpliceFlags.NONBLOCK), (3, 4, LENGTH_MAX, 2 | 1 << 31), FIXED),
    case("pipe", (PAIR,), (at(PAIR), 0)),
    case("pipe", (PAIR, os.O_NONBLOCK), (at(PAIR), os.O_NONBLOCK)),
    case("pipe_direct", (PAIR, 0, 3), (at(PAIR), 0, 3)),
    case("pipe_direct", (PAIR,), (at(PAIR), 0, ALLOC)),
]

ACCEPTING = [
    *(
        case(name, *both)
        for name in ("accept", "multishot_accept")
        for both in [
            ((3,), (3, 0, 0, 0)),
            ((3, PEER, socket.SOCK_CLOEXEC), (3, at(PEER), at(PEER) + 128, socket.SOCK_CLOEXEC)),
            ((Direct(3), None, socket.SOCK_NONBLOCK), (3, 0, 0, socket.SOCK_NONBLOCK), FIXED),
        ]
    ),
    case("accept_direct", (3,), (3, 0, 0, 0, ALLOC)),
    case("accept_direct", (3, PEER, 0, 12), (3, at(PEER), at(PEER) + 128, 0, 12)),
    case("multishot_accept_direct", (3,), (3, 0, 0, 0)),
    case("multishot_accept_direct", (Direct(1), PEER), (1, at(PEER), at(PEER) + 128, 0), FIXED),
]

CONNECTIONS = [
    *(
        case(name, (3, address), (3, "addr", len(raw)), addr=raw)
        for name in ("connect", "bind")
        for address, raw in [
            (("127.0.0.1", 8080), IPV4),
            (("::1", 443, 7, 3), IPV6),
            ("/run/x.sock", UNIX),
            (b"\0name", ABSTRACT),
        ]
    ),
    case("connect", (Direct(9), ("127.0.0.1", 8080)), (9, "addr", 16), FIXED, addr=IPV4),
    case("listen", (3,), (3, 128)),
    case("listen", (Direct(3), FD_MAX), (3, FD_MAX), FIXED),
    case("shutdown", (3, socket.SHUT_RDWR), (3, socket.SHUT_RDWR)),
    case("socket", (socket.AF_INET, socket.SOCK_STREAM), (2, 1, 0, 0)),
    case(
        "socket",
        (10, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 17, 0),
        (10, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 17, 0),
    ),
    case("socket_direct", (2, 1, 6, 5), (2, 1, 6, 5, 0)),
    case("socket_direct", (2, 1), (2, 1, 0, ALLOC, 0)),
    case("socket_direct_alloc", (2, 1), (2, 1, 0, 0)),
    case("cmd_sock", (SocketOp.SIOCINQ, 3, 0, 0, None), (0, 3, 0, 0, 0, 0)),
    case("cmd_sock", (SocketOp.SETSOCKOPT, 3, 1, 8, BUFFER, 4), (3, 3, 1, 8, AT, 4)),
    case("cmd_sock", (SocketOp.GETSOCKOPT, Direct(3), 1, 3, OTHER), (2, 3, 1, 3, OTHER_AT, 7), FIXED),
    case("cmd_sock", (SocketOp.GETSOCKOPT, 3, -1, FD_MAX, OTHER), (2, 3, -1, FD_MAX, OTHER_AT, 7)),
]

SENDING = [
    case("send", (3, BUFFER), (3, AT, 64, 0)),
    case("send", (Direct(3), BUFFER, 8, socket.MSG_WAITALL), (3, AT, 8, socket.MSG_WAITALL), FIXED),
    case("send", (3, None, LENGTH_MAX), (3, 0, LENGTH_MAX, 0)),
    case("send_bundle", (3,), (3, 0, 0)),
    case("send_bundle", (3, 65536, socket.MSG_NOSIGNAL), (3, 65536, socket.MSG_NOSIGNAL)),
    case("sendto", (3, BUFFER, 4, 0, ("127.0.0.1", 8080)), (3, AT, 4, 0, "off", 16), off=IPV4),
    case("sendto", (3, BUFFER, None, 0, "/run/x.sock"), (3, AT, 64, 0, "off", len(UNIX)), off=UNIX),
    case("sendto", (3, BUFFER), (3, AT, 64, 0, 0, 0)),
    case("send_zc", (3, BUFFER), (3, AT, 64, 0, 0)),
    case("send_zc", (3, BUFFER, 4, 0, RecvSendFlags.ZC_REPORT_USAGE), (3, AT, 4, 0, RecvSendFlags.ZC_REPORT_USAGE)),
    case("send_zc_fixed", (3, BUFFER), (3, AT, 64, 0, 0, 0)),
    case("send_zc_fixed", (3, BUFFER, 4, 0, RecvSendFlags.POLL_FIRST, 3), (3, AT, 4, 0, RecvSendFlags.POLL_FIRST, 3)),
    case("sendmsg", (3, SENT), (3, "addr", 0)),
    case("sendmsg", (Direct(3), SENT, socket.MSG_MORE), (3, "addr", socket.MSG_MORE), FIXED),
    case("sendmsg_zc", (3, SENT, socket.MSG_MORE), (3, "addr", socket.MSG_MORE)),
    case("sendmsg_zc_fixed", (3, SENT, 0, 6), (3, "addr", 0, 6)),
]

RECEIVING = [
    case("recv", (3, BUFFER), (3, AT, 64, 0)),
    case("recv", (3, BUFFER, 4, socket.MSG_PEEK), (3, AT, 4, socket.MSG_PEEK)),
    case("recv", (Direct(3), None), (3, 0, 0, 0), FIXED),
    case("recv_multishot", (3,), (3, 0, 0, 0)),
    case("recv_multishot", (Direct(5), None, 0, socket.MSG_TRUNC), (5, 0, 0, socket.MSG_TRUNC), FIXED),
    case("recvmsg", (3, RECEIVED, socket.MSG_PEEK), (3, "addr", socket.MSG_PEEK)),
    case("recvmsg_multishot", (3, RECEIVED), (3, "addr", 0)),
]

CONTROL = [
    case("nop", (), ()),
    case("poll_add", (3, select.POLLIN), (3, select.POLLIN)),
    case("poll_add", (Direct(3), LENGTH_MAX), (3, LENGTH_MAX), FIXED),
    case("poll_multishot", (3, select.POLLOUT | select.EPOLLEXCLUSIVE), (3, select.POLLOUT | select.EPOLLEXCLUSIVE)),
    case("poll_remove", (TARGET,), (TARGET,)),
    case("poll_update", (TARGET, None, select.POLLIN, PollFlags.UPDATE_EVENTS), (TARGET, 0, select.POLLIN, 2)),
    case("poll_update", (TARGET, "new", 0, PollFlags.UPDATE_USER_DATA), (TARGET, TARGET, 0, 4)),
    case("timeout", (1,), ("addr", 0, 0), addr=timespec(1)),
    case("timeout", (0.25, LENGTH_MAX, TimeoutFlags.ABS), ("addr", LENGTH_MAX, 1), addr=timespec(0, 250000000)),
    case("timeout", (2**33, 1), ("addr", 1, 0), addr=timespec(2**33)),
    case("timeout_remove", (TARGET,), (TARGET, 0)),
    case("timeout_update", (1.5, TARGET), ("off", TARGET, 0), off=timespec(1, 500000000)),
    case("timeout_update", (2, TARGET, TimeoutFlags.LINK_UPDATE), ("off", TARGET, 16), off=timespec(2)),
    case("link_timeout", (0.5,), ("addr", 0), addr=timespec(0, 500000000)),
    case("link_timeout", (7, TimeoutFlags.BOOTTIME), ("addr", 4), addr=timespec(7)),
    case("cancel", (TARGET,), (TARGET, 0)),
    case("cancel", (TARGET, CancelFlags.ALL), (TARGET, 1)),
    case("cancel", (None, CancelFlags.ANY | CancelFlags.ALL), (0, 5)),
    case("cancel64", (2**64 - 1,), (-1, 0)),
    case("cancel_fd", (3, CancelFlags.ALL), (3, CancelFlags.ALL)),
    case("cancel_fd", (Direct(3),), (3, CancelFlags.FD_FIXED)),
    case("provide_buffers", (BUFFER, 8, 8, 65535, 100), (AT, 8, 8, 65535, 100)),
    case("remove_buffers", (65536, 7), (65536, 7)),
]

MESSAGES = [
    case("epoll_ctl", (3, 4, 1, select.EPOLLIN, 2**64 - 1), (3, 4, 1, "addr"), addr=struct.pack("=IQ", 1, 2**64 - 1)),
    case("epoll_ctl", (3, 4, 2), (3, 4, 2, "addr"), addr=bytes(12)),
    case("epoll_wait", (3, EVENTS), (3, at(EVENTS), 4, 0)),
    case("epoll_wait", (3, EVENTS, 2), (3, at(EVENTS), 2, 0)),
    case("msg_ring", (3, 0, 0), (3, 0, 0, 0)),
    case("msg_ring", (3, LENGTH_MAX, OFFSET_MAX, MsgRingFlags.CQE_SKIP), (3, LENGTH_MAX, OFFSET_MAX, 1)),
    case("msg_ring", (3, -5, 1), (3, -5, 1, 0)),
    case("msg_ring_cqe_flags", (3, 9, 8, 0, LENGTH_MAX), (3, 9, 8, 0, LENGTH_MAX)),
    case("msg_ring_fd", (3, 4, 5, 6), (3, 4, 5, 6, 0)),
    case("msg_ring_fd", (3, Direct(4), FILE_INDEX_ALLOC, 6, 1), (3, 4, ALLOC, 6, 1)),
    case("msg_ring_fd_alloc", (3, 4, OFFSET_MAX, MsgRingFlags.CQE_SKIP), (3, 4, OFFSET_MAX, 1)),
    case("futex_wait", (FUTEX, 5), (at(FUTEX), 5, LENGTH_MAX, 2, 0)),
    case("futex_wait", (FUTEX, 2**64 - 1, 1, FutexFlags.SIZE_U32 | FutexFlags.PRIVATE), (at(FUTEX), -1, 1, 0x82, 0)),
    case("futex_wake", (FUTEX, 1), (at(FUTEX), 1, LENGTH_MAX, 2, 0)),
    case(
        "futex_waitv",
        ([(FUTEX, 1), (memoryview(FUTEX)[1:], 2, 0x82)],),
        ("addr", 2, 0),
        addr=struct.pack("=QQIIQQII", 1, at(FUTEX), 2, 0, 2, at(FUTEX) + 4, 0x82, 0),
    ),
    case("waitid", (os.P_PID, 4321, SIGINFO, os.WEXITED), (os.P_PID, 4321, at(SIGINFO), os.WEXITED, 0)),
    case("waitid", (os.P_ALL, 0, None, os.WNOHANG | os.WSTOPPED), (os.P_ALL, 0, 0, os.WNOHANG | os.WSTOPPED, 0)),
    case("cmd_discard", (3, 4096, 8192), (3, 4096, 8192)),
    case("cmd_discard", (Direct(3), OFFSET_MAX, OFFSET_MAX), (3, OFFSET_MAX, OFFSET_MAX), FIXED),
    case("uring_cmd", (2**31 + 1, 3), (2**31 + 1, 3)),
    case("uring_cmd", (7, Direct(3)), (7, 3), FIXED),
]

CASES = [
    *(TRANSFERS + FIXED_BUFFERS + VECTORS + OPENING + FILES + NAMES + PIPES),
    *(ACCEPTING + CONNECTIONS + SENDING + RECEIVING + CONTROL + MESSAGES),
]


@pytest.fixture(autouse=True)
def installed():
    liburing.need()


@pytest.fixture
def ring():
    with ioring.Ring(16) as ring:
        ring.register_files_sparse(SLOTS)
        yield ring


def compare(sqe, reference):
    reference.set("data", sqe.token)
    assert liburing.fields(bytes(sqe)) == liburing.fields(bytes(reference))
    assert bytes(sqe) == bytes(reference)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_prepared_sqe(ring, case):
    target = ring.get_sqe()
    target.prep_poll_add(0, select.POLLIN)
    sqe = ring.get_sqe()
    arguments = [target if argument is TARGET else argument for argument in case.arguments]
    getattr(sqe, f"prep_{case.name}")(*arguments)
    found = liburing.fields(bytes(sqe))
    for name, content in case.memory.items():
        assert ctypes.string_at(found[name], len(content)) == content
    numbers = [target.token if x is TARGET else found.get(x, x) for x in case.expected]
    reference = liburing.Reference().prep(case.name, *numbers)
    kept = bytes(reference)[1]  # flags that the function itself sets
    compare(sqe, reference.set("flags", kept | case.flags))


@pytest.mark.parametrize(
    ("message", "vector", "name", "control"),
    [
        pytest.param(SENT, VECTOR, SENT_TO, b"", id="sent"),
        pytest.param(RECEIVED, VECTOR[:16], bytes(128), bytes(64), id="received"),
    ],
)
def test_message_header(ring, message, vector, name, control):
    sqe = ring.get_sqe()
    sqe.prep_recvmsg(3, message)
    header = ctypes.string_at(liburing.fields(bytes(sqe))["addr"], 56)  # struct msghdr
    name_at, name_size, vector_at, count, control_at, control_size, flags = struct.unpack("@PI4xPNPNi4x", header)
    assert (name_size, count, control_size, flags) == (len(name), len(vector) // 16, len(control), 0)
    assert ctypes.string_at(name_at, name_size) == name
    assert ctypes.string_at(vector_at, 16 * count) == vector
    assert (ctypes.string_at(control_at, control_size) if control_at else b"") == control


def test_message_control_data(ring):
    payload = struct.pack("=ii", 8, 9)
    sqe = ring.get_sqe()
    sqe.prep_sendmsg(3, MsgHdr([b"x"], control=[(socket.SOL_SOCKET, socket.SCM_RIGHTS, payload), (1, 2, b"abc")]))
    header = ctypes.string_at(liburing.fields(bytes(sqe))["addr"], 56)
    where, size = struct.unpack_from("@PN", header, 32)
    first = struct.pack("@Nii", socket.CMSG_LEN(8), socket.SOL_SOCKET, socket.SCM_RIGHTS) + payload
    second = struct.pack("@Nii", socket.CMSG_LEN(3), 1, 2) + b"abc" + bytes(5)
    assert size == socket.CMSG_SPACE(8) + socket.CMSG_SPACE(3)
    assert ctypes.string_at(where, size) == first + second


@pytest.mark.parametrize("name", ["send", "send_zc"])
def test_send_set_addr(ring, name):
    sqe = ring.get_sqe()
    getattr(sqe, f"prep_{name}")(3, BUFFER)
    sqe.prep_send_set_addr(("127.0.0.1", 8080))
    where = liburing.fields(bytes(sqe))["off"]
    assert ctypes.string_at(where, 16) == IPV4
    reference = liburing.Reference().prep(name, *((3, AT, 64, 0) + ((0,) if name == "send_zc" else ())))
    compare(sqe, reference.prep("send_set_addr", where, 16))


def test_set_flags(ring):
    sqe = ring.get_sqe()
    sqe.prep_read(3, BUFFER)
    flags = SqeFlags.IO_DRAIN | SqeFlags.IO_LINK | SqeFlags.ASYNC | SqeFlags.CQE_SKIP_SUCCESS
    sqe.set_flags(flags)
    compare(sqe, liburing.Reference().prep("read", 3, AT, 64, -1).set("flags", flags))


def test_set_flags_keeps_a_direct_descriptor(ring):
    sqe = ring.get_sqe()
    sqe.prep_read(Direct(3), BUFFER)
    sqe.set_flags(SqeFlags.ASYNC)
    compare(sqe, liburing.Reference().prep("read", 3, AT, 64, -1).set("flags", SqeFlags.ASYNC | FIXED))


@pytest.mark.parametrize(
    ("attribute", "flag"),
    [
        ("link", SqeFlags.IO_LINK),
        ("hardlink", SqeFlags.IO_HARDLINK),
        ("drain", SqeFlags.IO_DRAIN),
        ("always_async", SqeFlags.ASYNC),
        ("skip_success", SqeFlags.CQE_SKIP_SUCCESS),
        ("fixed_file", SqeFlags.FIXED_FILE),
    ],
)
def test_flag_attributes(ring, attribute, flag):
    sqe = ring.get_sqe()
    sqe.prep_close(3)
    setattr(sqe, attribute, True)
    assert getattr(sqe, attribute) is True
    assert sqe.flags == flag
    compare(sqe, liburing.Reference().prep("close", 3).set("flags", flag))
    setattr(sqe, attribute, False)
    assert getattr(sqe, attribute) is False
    compare(sqe, liburing.Reference().prep("close", 3))


@pytest.mark.parametrize("group", [0, 65535])
def test_buffer_group(ring, group):
    sqe = ring.get_sqe()
    sqe.prep_recv_multishot(Direct(3))
    sqe.buffer_group = group
    reference = liburing.Reference().prep("recv_multishot", 3, 0, 0, 0)
    compare(sqe, reference.set("flags", SqeFlags.BUFFER_SELECT | FIXED).set("buf_group", group))
    assert sqe.buffer_group == group
    sqe.buffer_group = None
    compare(sqe, reference.set("flags", FIXED).set("buf_group", 0))


def test_ioprio_and_personality(ring):
    sqe = ring.get_sqe()
    sqe.prep_recv(3, BUFFER)
    sqe.ioprio = RecvSendFlags.POLL_FIRST
    sqe.personality = 65535
    compare(sqe, liburing.Reference().prep("recv", 3, AT, 64, 0).set("ioprio", 1).set("personality", 65535))


@pytest.mark.skipif("SQE128" not in ioring.features().setup_flags, reason="kernel without SQE128")
@pytest.mark.parametrize("command", [b"", bytes(range(1, 81))])
def test_large_sqe(command):
    with ioring.Ring(4, flags=SetupFlags.SQE128) as ring:
        ring.get_sqe()
        sqe = ring.get_sqe()
        sqe.prep_uring_cmd(7, 3, command, 12, BUFFER)
        raw = bytes(sqe)
        found = liburing.fields(raw)
        sqe.prep_nop()
        compare(sqe, liburing.Reference(128).prep("nop"))
    assert len(raw) == 128
    assert raw[48:] == command.ljust(80, b"\0")
    assert (found["opcode"], found["fd"], found["off"], found["len"], found["addr"]) == (
        ioring.Op.URING_CMD,
        3,
        7,
        12,
        AT,
    )


def test_command_in_a_small_sqe(ring):
    sqe = ring.get_sqe()
    sqe.prep_uring_cmd(7, 3, b"0123456789abcdef")
    assert bytes(sqe)[48:] == b"0123456789abcdef"


WITHOUT_COUNTERPART = {
    "nop_result": "liburing leaves IORING_NOP_INJECT_RESULT to the program",
    "cancel_op": "liburing leaves IORING_ASYNC_CANCEL_OP to the program",
}
NOT_HERE = {
    "nop128": "for rings of mixed entry sizes, which ioring does not make",
    "uring_cmd128": "for rings of mixed entry sizes, which ioring does not make",
    "cmd_getsockname": "for kernel 6.19; prep_uring_cmd does it",
}
SEPARATELY = {"send_set_addr"}


def operations():
    return {name.removeprefix("prep_") for name in dir(ioring.Sqe) if name.startswith("prep_")}


def test_every_operation_is_compared():
    compared = {case.name for case in CASES} | SEPARATELY
    assert compared | set(WITHOUT_COUNTERPART) == operations()
    assert not compared & set(WITHOUT_COUNTERPART)


def test_every_function_of_liburing_is_here():
    assert len(liburing.prototypes()) > 70
    assert not set(liburing.prototypes()) - operations() - set(NOT_HERE)
    assert not set(WITHOUT_COUNTERPART) & set(liburing.prototypes())
