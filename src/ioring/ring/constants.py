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
    """``prep_nop``, ``prep_nop_result``."""
    READV = 1
    """``prep_readv``, ``prep_readv2``."""
    WRITEV = 2
    """``prep_writev``, ``prep_writev2``."""
    FSYNC = 3
    READ_FIXED = 4
    WRITE_FIXED = 5
    POLL_ADD = 6
    """``prep_poll_add``, ``prep_poll_multishot``."""
    POLL_REMOVE = 7
    """``prep_poll_remove``, ``prep_poll_update``."""
    SYNC_FILE_RANGE = 8
    SENDMSG = 9
    RECVMSG = 10
    """``prep_recvmsg``, ``prep_recvmsg_multishot``."""
    TIMEOUT = 11
    TIMEOUT_REMOVE = 12
    """``prep_timeout_remove``, ``prep_timeout_update``."""
    ACCEPT = 13
    """``prep_accept``, ``prep_accept_direct``, ``prep_multishot_accept``, ``prep_multishot_accept_direct``."""
    ASYNC_CANCEL = 14
    """``prep_cancel``, ``prep_cancel64``, ``prep_cancel_fd``, ``prep_cancel_op``."""
    LINK_TIMEOUT = 15
    CONNECT = 16
    FALLOCATE = 17
    OPENAT = 18
    """``prep_open``, ``prep_open_direct``, ``prep_openat``, ``prep_openat_direct``."""
    CLOSE = 19
    """``prep_close``, ``prep_close_direct``."""
    FILES_UPDATE = 20
    STATX = 21
    READ = 22
    WRITE = 23
    FADVISE = 24
    """``prep_fadvise``, ``prep_fadvise64``."""
    MADVISE = 25
    """``prep_madvise``, ``prep_madvise64``."""
    SEND = 26
    """``prep_send``, ``prep_send_bundle``, ``prep_sendto``."""
    RECV = 27
    """``prep_recv``, ``prep_recv_multishot``."""
    OPENAT2 = 28
    """``prep_openat2``, ``prep_openat2_direct``."""
    EPOLL_CTL = 29
    SPLICE = 30
    PROVIDE_BUFFERS = 31
    REMOVE_BUFFERS = 32
    TEE = 33
    SHUTDOWN = 34
    RENAMEAT = 35
    """``prep_rename``, ``prep_renameat``."""
    UNLINKAT = 36
    """``prep_unlink``, ``prep_unlinkat``."""
    MKDIRAT = 37
    """``prep_mkdir``, ``prep_mkdirat``."""
    SYMLINKAT = 38
    """``prep_symlink``, ``prep_symlinkat``."""
    LINKAT = 39
    """``prep_link``, ``prep_linkat``."""
    MSG_RING = 40  # 5.18
    """``prep_msg_ring``, ``prep_msg_ring_cqe_flags``, ``prep_msg_ring_fd``, ``prep_msg_ring_fd_alloc``."""
    FSETXATTR = 41
    SETXATTR = 42
    FGETXATTR = 43
    GETXATTR = 44
    SOCKET = 45  # 5.19
    """``prep_socket``, ``prep_socket_direct``, ``prep_socket_direct_alloc``."""
    URING_CMD = 46
    """``prep_cmd_discard``, ``prep_cmd_sock``, ``prep_uring_cmd``."""
    SEND_ZC = 47  # 6.0
    """``prep_send_zc``, ``prep_send_zc_fixed``."""
    SENDMSG_ZC = 48  # 6.1
    """``prep_sendmsg_zc``, ``prep_sendmsg_zc_fixed``."""
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
    """Not supported yet."""
    EPOLL_WAIT = 59  # 6.15
    READV_FIXED = 60  # 6.15
    WRITEV_FIXED = 61
    PIPE = 62  # 6.17
    """``prep_pipe``, ``prep_pipe_direct``."""
    NOP128 = 63  # 6.19
    """Not supported yet."""
    URING_CMD128 = 64
    """Not supported yet."""


class SetupFlags(IntFlag):
    """How a ring is made (``IORING_SETUP_*``)."""

    IOPOLL = 1 << 0
    """Completions are polled for at the device; for O_DIRECT on capable devices."""
    SQPOLL = 1 << 1
    """A thread of the kernel takes the entries. ``submit`` is mostly no system call, but the thread keeps a processor
    busy.
    """
    SQ_AFF = 1 << 2
    """Set by ``sq_thread_cpu``."""
    CQSIZE = 1 << 3
    """Set by ``cq_entries``."""
    CLAMP = 1 << 4
    """Sizes above the limit are reduced to the limit."""
    ATTACH_WQ = 1 << 5
    """Set by ``wq_fd``."""
    R_DISABLED = 1 << 6
    """The ring starts with ``Ring.enable_rings``."""
    SUBMIT_ALL = 1 << 7  # 5.18
    """Go on submitting after an entry that the kernel refuses."""
    COOP_TASKRUN = 1 << 8  # 5.19
    """Do not interrupt the thread to finish requests."""
    TASKRUN_FLAG = 1 << 9  # 5.19
    """With ``COOP_TASKRUN`` or ``DEFER_TASKRUN``: say when there is something to finish."""
    SQE128 = 1 << 10  # 5.19
    """Entries of 128 bytes, for commands to drivers."""
    CQE32 = 1 << 11  # 5.19
    """Completions with two more words: ``Cqe.extra``."""
    SINGLE_ISSUER = 1 << 12  # 6.0
    """One thread submits: the kernel checks it and saves work."""
    DEFER_TASKRUN = 1 << 13  # 6.1
    """With ``SINGLE_ISSUER``: finish requests only inside the ring's own calls."""
    NO_MMAP = 1 << 14  # 6.5
    """Refused: ioring maps the memory itself. Kernel 6.5."""
    REGISTERED_FD_ONLY = 1 << 15  # 6.5
    """Refused: ioring keeps an ordinary descriptor of the ring. Kernel 6.5."""
    NO_SQARRAY = 1 << 16  # 6.6
    """No index array in the submission queue. Kernel 6.6."""
    HYBRID_IOPOLL = 1 << 17  # 6.13
    """With ``IOPOLL``: sleep a little before polling. Kernel 6.13."""
    CQE_MIXED = 1 << 18  # 6.18
    """Refused: completions of two sizes in one queue. Kernel 6.18."""
    SQE_MIXED = 1 << 19  # 6.19
    """Refused: entries of two sizes in one queue. Kernel 6.19."""
    SQ_REWIND = 1 << 20  # 7.0
    """Refused: the submission queue is used as a ring. Kernel 7.0."""


class Features(IntFlag):
    """What the kernel says it can do (``IORING_FEAT_*``)."""

    SINGLE_MMAP = 1 << 0
    """Both queues are one mapping."""
    NODROP = 1 << 1
    """Completions that do not fit are kept by the kernel."""
    SUBMIT_STABLE = 1 << 2
    """Structures that an entry points to may be freed once ``submit`` has returned."""
    RW_CUR_POS = 1 << 3
    """Offset -1 is the file's own position."""
    CUR_PERSONALITY = 1 << 4
    """A request runs with the credentials of the thread that submits it."""
    FAST_POLL = 1 << 5
    """Sockets wait without a kernel worker."""
    POLL_32BITS = 1 << 6
    """Polls take 32 bits of mask."""
    SQPOLL_NONFIXED = 1 << 7
    """``SQPOLL`` with ordinary descriptors."""
    EXT_ARG = 1 << 8
    """Waiting for completions can have a time limit."""
    NATIVE_WORKERS = 1 << 9
    """Kernel workers are threads of the process."""
    RSRC_TAGS = 1 << 10
    """Registered resources may be replaced one by one."""
    CQE_SKIP = 1 << 11
    """Requests can have ``SqeFlags.CQE_SKIP_SUCCESS``."""
    LINKED_FILE = 1 << 12
    """A linked request may use the file that the one before it opened."""
    REG_REG_RING = 1 << 13
    """Registering works through a registered descriptor."""
    RECVSEND_BUNDLE = 1 << 14
    """Receives and sends can use several buffers of a group at once."""
    MIN_TIMEOUT = 1 << 15
    """A second, shorter time limit when waiting for several completions."""
    RW_ATTR = 1 << 16
    """Reads and writes can carry attributes, such as integrity data."""
    NO_IOWAIT = 1 << 17
    """Waiting need not be counted as I/O wait."""


class SqeFlags(IntFlag):
    """How one request is treated (``IOSQE_*``)."""

    FIXED_FILE = 1 << 0
    """The descriptor is a slot; set by itself for a ``Direct``."""
    IO_DRAIN = 1 << 1
    """Start when every request submitted before is done: ``Sqe.drain``."""
    IO_LINK = 1 << 2
    """The next request starts when this one succeeded in full: ``Sqe.link``."""
    IO_HARDLINK = 1 << 3
    """The next request starts when this one is done, also when it failed: ``Sqe.hardlink``."""
    ASYNC = 1 << 4
    """Give the request to a kernel worker at once: ``Sqe.always_async``."""
    BUFFER_SELECT = 1 << 5
    """The kernel picks a buffer: ``Sqe.buffer_group``."""
    CQE_SKIP_SUCCESS = 1 << 6
    """Show only failures: ``Sqe.skip_success``."""


class CqeFlags(IntFlag):
    """What a completion says beside its result (``IORING_CQE_F_*``)."""

    BUFFER = 1 << 0
    """A buffer of a group was used: ``Cqe.buffer_id``."""
    MORE = 1 << 1
    """The request will complete again: ``Cqe.more``."""
    SOCK_NONEMPTY = 1 << 2
    """More can be received at once: ``Cqe.socket_nonempty``."""
    NOTIF = 1 << 3
    """A zero-copy send's memory is free: ``Cqe.notification``."""
    BUF_MORE = 1 << 4
    """The same buffer will be filled further: ``Cqe.buffer_more``."""


class AcceptFlags(IntFlag):
    """``Sqe.ioprio`` of an accept (``IORING_ACCEPT_*``)."""

    MULTISHOT = 1 << 0
    """Set by ``prep_multishot_accept``."""
    DONTWAIT = 1 << 1  # 6.10
    """Fail when no connection waits to be accepted. Kernel 6.10."""
    POLL_FIRST = 1 << 2  # 6.10
    """Do not try before the socket is ready. Kernel 6.10."""


class RecvSendFlags(IntFlag):
    """``Sqe.ioprio`` of a receive or a send (``IORING_RECVSEND_*``, ``IORING_RECV_*``, ``IORING_SEND_*``)."""

    POLL_FIRST = 1 << 0
    """Do not try before the socket is ready."""
    MULTISHOT = 1 << 1
    """Set by ``prep_recv_multishot``."""
    FIXED_BUF = 1 << 2
    """Set by the ``*_fixed`` methods."""
    ZC_REPORT_USAGE = 1 << 3
    """The notification says whether data was copied."""
    BUNDLE = 1 << 4  # 6.10
    """Several buffers in one completion. Kernel 6.10."""
    VECTORIZED = 1 << 5  # 6.17
    """The buffer is a vector of buffers. Kernel 6.17."""


class PollFlags(IntFlag):
    """How a poll is added or changed (``IORING_POLL_*``)."""

    ADD_MULTI = 1 << 0
    """Set by ``prep_poll_multishot``."""
    UPDATE_EVENTS = 1 << 1
    """``prep_poll_update`` changes the mask."""
    UPDATE_USER_DATA = 1 << 2
    """``prep_poll_update`` changes ``user_data``."""
    ADD_LEVEL = 1 << 3
    """The kernel refuses it today."""


class TimeoutFlags(IntFlag):
    """How a timeout counts (``IORING_TIMEOUT_*``)."""

    ABS = 1 << 0
    """A point on the clock, not a duration."""
    UPDATE = 1 << 1
    """Set by ``prep_timeout_update``."""
    BOOTTIME = 1 << 2
    """The clock that goes on while the machine sleeps."""
    REALTIME = 1 << 3
    """The wall clock."""
    LINK_UPDATE = 1 << 4
    """``prep_timeout_update`` of a linked time-out."""
    ETIME_SUCCESS = 1 << 5
    """A time-out that ran out does not break a link."""
    MULTISHOT = 1 << 6  # 6.4
    """Complete again and again, ``count`` times or until it is removed. Kernel 6.4."""


class CancelFlags(IntFlag):
    """What a cancellation looks for (``IORING_ASYNC_CANCEL_*``)."""

    ALL = 1 << 0
    """Cancel all requests that match, not only the first; the result is their number."""
    FD = 1 << 1
    """Match by descriptor: set by ``prep_cancel_fd``."""
    ANY = 1 << 2
    """Match every request in flight."""
    FD_FIXED = 1 << 3  # 6.0
    """The descriptor is a slot: set for a ``Direct``."""
    USERDATA = 1 << 4  # 6.6
    """Match by ``user_data``, together with other criteria. Kernel 6.6."""
    OP = 1 << 5  # 6.6
    """Match by operation: set by ``prep_cancel_op``. Kernel 6.6."""


class FsyncFlags(IntFlag):
    """``IORING_FSYNC_*``."""

    DATASYNC = 1 << 0
    """Like fdatasync: without attributes that are not needed to read the data."""


class NopFlags(IntFlag):
    """What a NOP does all the same (``IORING_NOP_*``)."""

    INJECT_RESULT = 1 << 0  # 6.10
    """The NOP completes with a given result: set by ``prep_nop_result``. Kernel 6.10."""


class MsgRingFlags(IntFlag):
    """``IORING_MSG_RING_*``."""

    CQE_SKIP = 1 << 0
    """With ``prep_msg_ring_fd``: the other ring gets no completion."""
    FLAGS_PASS = 1 << 1  # 6.3
    """Set by ``prep_msg_ring_cqe_flags``. Kernel 6.3."""


class FixedFdFlags(IntFlag):
    """``IORING_FIXED_FD_*``."""

    NO_CLOEXEC = 1 << 0
    """The new descriptor survives exec."""


class BufferRingFlags(IntFlag):
    """``IOU_PBUF_RING_*``."""

    MMAP = 1 << 0
    """The kernel allocates the ring; not used by ioring."""
    INC = 1 << 1  # 6.12
    """``BufferRing(incremental=True)``. Kernel 6.12."""


class SocketOp(IntEnum):
    """Commands for a socket (``SOCKET_URING_OP_*``)."""

    SIOCINQ = 0
    """Bytes that can be received: the result."""
    SIOCOUTQ = 1
    """Bytes not yet acknowledged: the result."""
    GETSOCKOPT = 2
    """Reads an option; only ``SOL_SOCKET``."""
    SETSOCKOPT = 3
    """Sets an option."""
    TX_TIMESTAMP = 4  # 6.17
    """Send timestamps. Kernel 6.17."""
    GETSOCKNAME = 5  # 6.19
    """The socket's address. Kernel 6.19."""


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
    """``Ring.register_files_sparse``."""
    FILES_UPDATE2 = 14
    """Not supported yet."""
    BUFFERS2 = 15
    """``Ring.register_buffers_sparse``."""
    BUFFERS_UPDATE = 16
    IOWQ_AFF = 17
    UNREGISTER_IOWQ_AFF = 18
    IOWQ_MAX_WORKERS = 19
    RING_FDS = 20
    """``Ring.register_ring_fd``."""
    UNREGISTER_RING_FDS = 21
    """``Ring.unregister_ring_fd``."""
    PBUF_RING = 22
    """``Ring.register_buf_ring``."""
    UNREGISTER_PBUF_RING = 23
    """``Ring.unregister_buf_ring``."""
    SYNC_CANCEL = 24
    FILE_ALLOC_RANGE = 25
    PBUF_STATUS = 26  # 6.8
    """``Ring.buf_ring_head``. Kernel 6.8."""
    NAPI = 27  # 6.9
    UNREGISTER_NAPI = 28
    CLOCK = 29  # 6.12
    CLONE_BUFFERS = 30  # 6.12
    """Not supported yet. Kernel 6.12."""
    SEND_MSG_RING = 31  # 6.13
    ZCRX_IFQ = 32
    """Not supported yet."""
    RESIZE_RINGS = 33
    """Not supported yet."""
    MEM_REGION = 34
    """Not supported yet."""


class RestrictionOp(IntEnum):
    """What a restriction allows or requires (``IORING_RESTRICTION_*``)."""

    REGISTER_OP = 0
    """Allows a ``RegisterOp``."""
    SQE_OP = 1
    """Allows an ``Op``."""
    SQE_FLAGS_ALLOWED = 2
    """Allows ``SqeFlags``."""
    SQE_FLAGS_REQUIRED = 3
    """Requires ``SqeFlags``."""


class ResolveFlags(IntFlag):
    """How ``openat2`` may follow a path (``RESOLVE_*``)."""

    NO_XDEV = 0x01
    """Stay within the file system."""
    NO_MAGICLINKS = 0x02
    """Do not follow links like those in ``/proc/self/fd``."""
    NO_SYMLINKS = 0x04
    """Follow no symbolic link."""
    BENEATH = 0x08
    """Stay below the directory."""
    IN_ROOT = 0x10
    """Treat the directory as the root."""
    CACHED = 0x20
    """Only if no disk has to be read."""


class StatxMask(IntFlag):
    """What ``statx`` shall give (``STATX_*``)."""

    TYPE = 0x0001
    """The kind of file."""
    MODE = 0x0002
    """Permissions."""
    NLINK = 0x0004
    """Number of names."""
    UID = 0x0008
    """Owner."""
    GID = 0x0010
    """Group."""
    ATIME = 0x0020
    """Last read."""
    MTIME = 0x0040
    """Last change of the contents."""
    CTIME = 0x0080
    """Last change of the attributes."""
    INO = 0x0100
    """Inode number."""
    SIZE = 0x0200
    """Size."""
    BLOCKS = 0x0400
    """Blocks in use."""
    BASIC_STATS = 0x07FF
    """All of the values above."""
    BTIME = 0x0800
    """Creation."""
    MNT_ID = 0x1000
    """The mount."""
    DIOALIGN = 0x2000  # 6.1
    """Alignment for O_DIRECT."""


class FutexFlags(IntFlag):
    """Width and scope of a futex (``FUTEX2_*``)."""

    SIZE_U32 = 0x02
    """The futex has 32 bits: the only kind there is."""
    PRIVATE = 0x80
    """Within one process: cheaper."""


class SpliceFlags(IntFlag):
    """``SPLICE_F_*``."""

    MOVE = 1
    """Move pages if possible; a hint."""
    NONBLOCK = 2
    """Do not wait for the pipe."""
    MORE = 4
    """More will follow."""
    GIFT = 8
    """Has no meaning for splice; the kernel ignores it."""


class RwFlags(IntFlag):
    """Per-call flags of vectored reads and writes (``RWF_*``)."""

    HIPRI = 0x01
    """Poll for the completion."""
    DSYNC = 0x02
    """As if the file were opened with O_DSYNC."""
    SYNC = 0x04
    """As if the file were opened with O_SYNC."""
    NOWAIT = 0x08
    """Fail with EAGAIN rather than wait."""
    APPEND = 0x10
    """Write at the end."""
    NOAPPEND = 0x20  # 6.9
    """Ignore O_APPEND. Kernel 6.9."""
    ATOMIC = 0x40  # 6.11
    """The write is done as a whole or not at all. Kernel 6.11."""
    DONTCACHE = 0x80  # 6.14
    """Do not keep the pages in the cache. Kernel 6.14."""


ENTRIES_MAX = 32768
"""The largest submission queue (K: IORING_MAX_ENTRIES)."""

BUFFER_RING_ENTRIES_MAX = 32768
"""The largest buffer ring."""

REGISTERED_BUFFERS_MAX = 1 << 14
"""The most buffers that can be registered (K: IORING_MAX_REG_BUFFERS)."""
