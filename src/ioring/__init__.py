"""io_uring for Python: the ring itself, in liburing's vocabulary.

Start with ``Ring``; ``features`` tells what this kernel can do.
"""

from ioring._core.address import SockAddr
from ioring._core.buffers import BufferRing
from ioring._core.constants import (
    FILE_INDEX_ALLOC,
    FILES_SKIP,
    AcceptFlags,
    BufferRingFlags,
    CancelFlags,
    CqeFlags,
    Features,
    FixedFdFlags,
    FsyncFlags,
    FutexFlags,
    MsgRingFlags,
    NopFlags,
    Op,
    PollFlags,
    RecvSendFlags,
    RegisterOp,
    ResolveFlags,
    RestrictionOp,
    RwFlags,
    SetupFlags,
    SocketOp,
    SpliceFlags,
    SqeFlags,
    StatxMask,
    TimeoutFlags,
)
from ioring._core.cqe import Cqe
from ioring._core.direct import Direct
from ioring._core.errors import (
    ForkedRing,
    RegistrationError,
    RingClosed,
    RingError,
    RingUnavailable,
    SlotError,
    SqeSubmitted,
    SubmissionQueueFull,
    WrongThread,
)
from ioring._core.msghdr import MsgHdr
from ioring._core.sqe import Sqe
from ioring.features import KernelFeatures, features
from ioring.ring import Ring, send_msg_ring
from ioring.structs import EpollEvents, OpenHow, RecvmsgOut, SigInfo, Statx

__version__ = "0.1.0"

__all__ = [
    "FILES_SKIP",
    "FILE_INDEX_ALLOC",
    "AcceptFlags",
    "BufferRing",
    "BufferRingFlags",
    "CancelFlags",
    "Cqe",
    "CqeFlags",
    "Direct",
    "EpollEvents",
    "Features",
    "FixedFdFlags",
    "ForkedRing",
    "FsyncFlags",
    "FutexFlags",
    "KernelFeatures",
    "MsgHdr",
    "MsgRingFlags",
    "NopFlags",
    "Op",
    "OpenHow",
    "PollFlags",
    "RecvSendFlags",
    "RecvmsgOut",
    "RegisterOp",
    "RegistrationError",
    "ResolveFlags",
    "RestrictionOp",
    "Ring",
    "RingClosed",
    "RingError",
    "RingUnavailable",
    "RwFlags",
    "SetupFlags",
    "SigInfo",
    "SlotError",
    "SockAddr",
    "SocketOp",
    "SpliceFlags",
    "Sqe",
    "SqeFlags",
    "SqeSubmitted",
    "Statx",
    "StatxMask",
    "SubmissionQueueFull",
    "TimeoutFlags",
    "WrongThread",
    "features",
    "send_msg_ring",
]
