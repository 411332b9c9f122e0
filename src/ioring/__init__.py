"""io_uring for Python: the ring itself, in liburing's vocabulary, and an asyncio event loop on it.

Start with ``run`` for asyncio programs, with ``open`` for files, with ``Ring`` for the kernel's interface; ``features``
tells what this kernel can do.
"""

import sys
from typing import TYPE_CHECKING

import ioring._main_interpreter  # noqa: F401, before there is anything compiled

# isort: split
from ioring import os as os  # not in __all__: `import *` would replace Python's own
from ioring._version import __version__ as __version__
from ioring.files._buffered import BufferedFile
from ioring.files._direct_io import DirectFile
from ioring.files._raw import RawFile
from ioring.files._text import TextFile
from ioring.files.opening import open as open
from ioring.files.opening import wrap
from ioring.files.path import Path
from ioring.loop.event_loop import Loop
from ioring.loop.runners import new_event_loop, run
from ioring.ring._buffer_ring import BufferRing
from ioring.ring._cqe import Cqe
from ioring.ring._direct import Direct
from ioring.ring._msghdr import MsgHdr
from ioring.ring._sqe import Sqe
from ioring.ring.constants import (
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
from ioring.ring.errors import (
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
from ioring.ring.probe import KernelFeatures, features
from ioring.ring.ring import Ring, send_msg_ring
from ioring.ring.sockaddr import SockAddr
from ioring.ring.structs import EpollEvents, OpenHow, RecvmsgOut, SigInfo, Statx

if TYPE_CHECKING:
    from ioring.http import StaticFiles as StaticFiles
    from ioring.http import serve as serve
    from ioring.loop.policy import EventLoopPolicy as EventLoopPolicy

# Without `open`: a star must not hide the built-in one.
__all__ = [
    "FILES_SKIP",
    "FILE_INDEX_ALLOC",
    "AcceptFlags",
    "BufferRing",
    "BufferRingFlags",
    "BufferedFile",
    "CancelFlags",
    "Cqe",
    "CqeFlags",
    "Direct",
    "DirectFile",
    "EpollEvents",
    "Features",
    "FixedFdFlags",
    "ForkedRing",
    "FsyncFlags",
    "FutexFlags",
    "KernelFeatures",
    "Loop",
    "MsgHdr",
    "MsgRingFlags",
    "NopFlags",
    "Op",
    "OpenHow",
    "Path",
    "PollFlags",
    "RawFile",
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
    "TextFile",
    "TimeoutFlags",
    "WrongThread",
    "features",
    "new_event_loop",
    "run",
    "send_msg_ring",
    "wrap",
]


if sys.version_info < (3, 14):
    __all__ += ["EventLoopPolicy"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # Not in __all__ either: the HTTP server needs packages that nothing else here does.
        if name in ("StaticFiles", "serve"):
            from ioring import http

            return getattr(http, name)
        # asyncio deprecates policies: the import of ioring does not touch them.
        if name == "EventLoopPolicy":
            from ioring.loop.policy import EventLoopPolicy

            return EventLoopPolicy
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
