"""The kernel's constants by their kernel names, without the common prefix.

``IORING_SETUP_SQPOLL`` is ``SetupFlags.SQPOLL``, ``IOSQE_IO_LINK`` is ``SqeFlags.IO_LINK``, and so on. The version
in a comment is the kernel that introduced the value.
"""

from enum import IntEnum, IntFlag

FILE_INDEX_ALLOC = 0xFFFFFFFF
"""Instead of a slot: let the kernel choose a free one and give it as the result (``IORING_FILE_INDEX_ALLOC``)."""

FILES_SKIP = -2
"""In a list of descriptors: leave this slot as it is (``IORING_REGISTER_FILES_SKIP``)."""


class Op(IntEnum):
    """Operations (``IORING_OP_*``)."""

    NOP = 0
    READV = 1
    WRITEV = 2
    FSYNC = 3
    READ_FIXED = 4
    WRITE_FIXED = 5
    POLL_ADD = 6
    POLL_REMOVE = 7
    SYNC_FILE_RANGE = 8
    SENDMSG = 9
    RECVMSG = 10
    TIMEOUT = 11
    TIMEOUT_REMOVE = 12
    ACCEPT = 13
    ASYNC_CANCEL = 14
    LINK_TIMEOUT = 15
    CONNECT = 16
    FALLOCATE = 17
    OPENAT = 18
    CLOSE = 19
    FILES_UPDATE = 20
    STATX = 21
    READ = 22
    WRITE = 23
    FADVISE = 24
    MADVISE = 25
    SEND = 26
    RECV = 27
    OPENAT2 = 28
    EPOLL_CTL = 29
    SPLICE = 30
    PROVIDE_BUFFERS = 31
    REMOVE_BUFFERS = 32
    TEE = 33
    SHUTDOWN = 34
    RENAMEAT = 35
    UNLINKAT = 36
    MKDIRAT = 37
    SYMLINKAT = 38
    LINKAT = 39
    MSG_RING = 40  # 5.18
    FSETXATTR = 41
    SETXATTR = 42
    FGETXATTR = 43
    GETXATTR = 44
    SOCKET = 45  # 5.19
    URING_CMD = 46
    SEND_ZC = 47  # 6.0
    SENDMSG_ZC = 48  # 6.1
    READ_MULTISHOT = 49  # 6.7
    WAITID = 50  # 6.7
    FUTEX_WAIT = 51  # 6.7
    FUTEX_WAKE = 52
    FUTEX_WAITV = 53
    FIXED_FD_INSTALL = 54  # 6.8
    FTRUNCATE = 55  # 6.9
    BIND = 56  # 6.11
    LISTEN = 57
    RECV_ZC = 58  # 6.15
    EPOLL_WAIT = 59  # 6.15
    READV_FIXED = 60  # 6.15
    WRITEV_FIXED = 61
    PIPE = 62  # 6.17
    NOP128 = 63  # 6.19
    URING_CMD128 = 64


class SetupFlags(IntFlag):
    """How a ring is made (``IORING_SETUP_*``)."""

    IOPOLL = 1 << 0
    SQPOLL = 1 << 1
    SQ_AFF = 1 << 2
    CQSIZE = 1 << 3
    CLAMP = 1 << 4
    ATTACH_WQ = 1 << 5
    R_DISABLED = 1 << 6
    SUBMIT_ALL = 1 << 7  # 5.18
    COOP_TASKRUN = 1 << 8  # 5.19
    TASKRUN_FLAG = 1 << 9  # 5.19
    SQE128 = 1 << 10  # 5.19
    CQE32 = 1 << 11  # 5.19
    SINGLE_ISSUER = 1 << 12  # 6.0
    DEFER_TASKRUN = 1 << 13  # 6.1
    NO_MMAP = 1 << 14  # 6.5
    REGISTERED_FD_ONLY = 1 << 15  # 6.5
    NO_SQARRAY = 1 << 16  # 6.6
    HYBRID_IOPOLL = 1 << 17  # 6.13
    CQE_MIXED = 1 << 18  # 6.18
    SQE_MIXED = 1 << 19  # 6.19
    SQ_REWIND = 1 << 20  # 7.0


class Features(IntFlag):
    """What the kernel says it can do (``IORING_FEAT_*``)."""

    SINGLE_MMAP = 1 << 0
    NODROP = 1 << 1
    SUBMIT_STABLE = 1 << 2
    RW_CUR_POS = 1 << 3
    CUR_PERSONALITY = 1 << 4
    FAST_POLL = 1 << 5
    POLL_32BITS = 1 << 6
    SQPOLL_NONFIXED = 1 << 7
    EXT_ARG = 1 << 8
    NATIVE_WORKERS = 1 << 9
    RSRC_TAGS = 1 << 10
    CQE_SKIP = 1 << 11
    LINKED_FILE = 1 << 12
    REG_REG_RING = 1 << 13
    RECVSEND_BUNDLE = 1 << 14
    MIN_TIMEOUT = 1 << 15
    RW_ATTR = 1 << 16
    NO_IOWAIT = 1 << 17


class SqeFlags(IntFlag):
    """How one request is treated (``IOSQE_*``)."""

    FIXED_FILE = 1 << 0
    IO_DRAIN = 1 << 1
    IO_LINK = 1 << 2
    IO_HARDLINK = 1 << 3
    ASYNC = 1 << 4
    BUFFER_SELECT = 1 << 5
    CQE_SKIP_SUCCESS = 1 << 6


class CqeFlags(IntFlag):
    """What a completion says beside its result (``IORING_CQE_F_*``)."""

    BUFFER = 1 << 0
    MORE = 1 << 1
    SOCK_NONEMPTY = 1 << 2
    NOTIF = 1 << 3
    BUF_MORE = 1 << 4


class AcceptFlags(IntFlag):
    """``Sqe.ioprio`` of an accept (``IORING_ACCEPT_*``)."""

    MULTISHOT = 1 << 0
    DONTWAIT = 1 << 1  # 6.10
    POLL_FIRST = 1 << 2  # 6.10


class RecvSendFlags(IntFlag):
    """``Sqe.ioprio`` of a receive or a send (``IORING_RECVSEND_*``, ``IORING_RECV_*``, ``IORING_SEND_*``)."""

    POLL_FIRST = 1 << 0
    MULTISHOT = 1 << 1
    FIXED_BUF = 1 << 2
    ZC_REPORT_USAGE = 1 << 3
    BUNDLE = 1 << 4  # 6.10
    VECTORIZED = 1 << 5  # 6.17


class PollFlags(IntFlag):
    """How a poll is added or changed (``IORING_POLL_*``)."""

    ADD_MULTI = 1 << 0
    UPDATE_EVENTS = 1 << 1
    UPDATE_USER_DATA = 1 << 2
    ADD_LEVEL = 1 << 3


class TimeoutFlags(IntFlag):
    """How a timeout counts (``IORING_TIMEOUT_*``)."""

    ABS = 1 << 0
    UPDATE = 1 << 1
    BOOTTIME = 1 << 2
    REALTIME = 1 << 3
    LINK_UPDATE = 1 << 4
    ETIME_SUCCESS = 1 << 5
    MULTISHOT = 1 << 6  # 6.4


class CancelFlags(IntFlag):
    """What a cancellation looks for (``IORING_ASYNC_CANCEL_*``)."""

    ALL = 1 << 0
    FD = 1 << 1
    ANY = 1 << 2
    FD_FIXED = 1 << 3  # 6.0
    USERDATA = 1 << 4  # 6.6
    OP = 1 << 5  # 6.6


class FsyncFlags(IntFlag):
    """``IORING_FSYNC_*``."""

    DATASYNC = 1 << 0


class NopFlags(IntFlag):
    """What a NOP does all the same (``IORING_NOP_*``)."""

    INJECT_RESULT = 1 << 0  # 6.10


class MsgRingFlags(IntFlag):
    """``IORING_MSG_RING_*``."""

    CQE_SKIP = 1 << 0
    FLAGS_PASS = 1 << 1  # 6.3


class FixedFdFlags(IntFlag):
    """``IORING_FIXED_FD_*``."""

    NO_CLOEXEC = 1 << 0


class BufferRingFlags(IntFlag):
    """``IOU_PBUF_RING_*``."""

    MMAP = 1 << 0
    INC = 1 << 1  # 6.12


class SocketOp(IntEnum):
    """Commands for a socket (``SOCKET_URING_OP_*``)."""

    SIOCINQ = 0
    SIOCOUTQ = 1
    GETSOCKOPT = 2
    SETSOCKOPT = 3
    TX_TIMESTAMP = 4  # 6.17
    GETSOCKNAME = 5  # 6.19


class RegisterOp(IntEnum):
    """What ``io_uring_register`` can do (``IORING_REGISTER_*``, ``IORING_UNREGISTER_*``)."""

    BUFFERS = 0
    UNREGISTER_BUFFERS = 1
    FILES = 2
    UNREGISTER_FILES = 3
    EVENTFD = 4
    UNREGISTER_EVENTFD = 5
    FILES_UPDATE = 6
    EVENTFD_ASYNC = 7
    PROBE = 8
    PERSONALITY = 9
    UNREGISTER_PERSONALITY = 10
    RESTRICTIONS = 11
    ENABLE_RINGS = 12
    FILES2 = 13
    FILES_UPDATE2 = 14
    BUFFERS2 = 15
    BUFFERS_UPDATE = 16
    IOWQ_AFF = 17
    UNREGISTER_IOWQ_AFF = 18
    IOWQ_MAX_WORKERS = 19
    RING_FDS = 20
    UNREGISTER_RING_FDS = 21
    PBUF_RING = 22
    UNREGISTER_PBUF_RING = 23
    SYNC_CANCEL = 24
    FILE_ALLOC_RANGE = 25
    PBUF_STATUS = 26  # 6.8
    NAPI = 27  # 6.9
    UNREGISTER_NAPI = 28
    CLOCK = 29  # 6.12
    CLONE_BUFFERS = 30  # 6.12
    SEND_MSG_RING = 31  # 6.13
    ZCRX_IFQ = 32
    RESIZE_RINGS = 33
    MEM_REGION = 34


class RestrictionOp(IntEnum):
    """What a restriction allows or requires (``IORING_RESTRICTION_*``)."""

    REGISTER_OP = 0
    SQE_OP = 1
    SQE_FLAGS_ALLOWED = 2
    SQE_FLAGS_REQUIRED = 3


class ResolveFlags(IntFlag):
    """How ``openat2`` may follow a path (``RESOLVE_*``)."""

    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    IN_ROOT = 0x10
    CACHED = 0x20


class StatxMask(IntFlag):
    """What ``statx`` shall give (``STATX_*``)."""

    TYPE = 0x0001
    MODE = 0x0002
    NLINK = 0x0004
    UID = 0x0008
    GID = 0x0010
    ATIME = 0x0020
    MTIME = 0x0040
    CTIME = 0x0080
    INO = 0x0100
    SIZE = 0x0200
    BLOCKS = 0x0400
    BASIC_STATS = 0x07FF
    BTIME = 0x0800
    MNT_ID = 0x1000
    DIOALIGN = 0x2000  # 6.1


class FutexFlags(IntFlag):
    """Width and scope of a futex (``FUTEX2_*``)."""

    SIZE_U32 = 0x02
    PRIVATE = 0x80


class SpliceFlags(IntFlag):
    """``SPLICE_F_*``."""

    MOVE = 1
    NONBLOCK = 2
    MORE = 4
    GIFT = 8


class RwFlags(IntFlag):
    """Per-call flags of vectored reads and writes (``RWF_*``)."""

    HIPRI = 0x01
    DSYNC = 0x02
    SYNC = 0x04
    NOWAIT = 0x08
    APPEND = 0x10
    NOAPPEND = 0x20  # 6.9
    ATOMIC = 0x40  # 6.11
    DONTCACHE = 0x80  # 6.14


ENTRIES_MAX = 32768
"""The largest submission queue (K: IORING_MAX_ENTRIES)."""

BUFFER_RING_ENTRIES_MAX = 32768
"""The largest buffer ring."""

REGISTERED_BUFFERS_MAX = 1 << 14
"""The most buffers that can be registered (K: IORING_MAX_REG_BUFFERS)."""
