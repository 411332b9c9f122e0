"""io_uring for Python: the ring itself, in liburing's vocabulary, and an asyncio event loop on it.

Start with ``run`` for asyncio programs, with ``open`` for files, with ``Ring`` for the kernel's interface; ``features``
tells what this kernel can do.
"""

import importlib
import sys
from typing import TYPE_CHECKING

import ioring._main_interpreter  # noqa: F401, before there is anything compiled
from ioring._version import __version__ as __version__

# Names are imported when they are first asked for: a program that only reads files needs no HTTP server, and one that
# only wants a loop needs no files. Type checkers read these imports; at run time _LIES_IN says the same.
if TYPE_CHECKING:
    from ioring import os as os  # not in __all__: `import *` would replace Python's own
    from ioring.files._buffered import BufferedFile
    from ioring.files._direct_io import DirectFile
    from ioring.files._raw import RawFile
    from ioring.files._text import TextFile
    from ioring.files.opening import open as open
    from ioring.files.opening import wrap
    from ioring.files.path import Path
    from ioring.http import Server as Server
    from ioring.http import StaticFiles as StaticFiles
    from ioring.http import serve as serve
    from ioring.loop.event_loop import Loop
    from ioring.loop.policy import EventLoopPolicy as EventLoopPolicy
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
    __all__ += ["EventLoopPolicy"]  # asyncio warns of policies since

# Not in __all__, besides `open`: `os`, because `import *` would replace Python's own, and what `ioring.http` has, which
# needs packages that nothing else here does.
_LIES_IN = {
    "ioring.files._buffered": "BufferedFile",
    "ioring.files._direct_io": "DirectFile",
    "ioring.files._raw": "RawFile",
    "ioring.files._text": "TextFile",
    "ioring.files.opening": "open wrap",
    "ioring.files.path": "Path",
    "ioring.http": "Server serve StaticFiles",
    "ioring.loop.event_loop": "Loop",
    "ioring.loop.policy": "EventLoopPolicy",
    "ioring.loop.runners": "new_event_loop run",
    "ioring.ring._buffer_ring": "BufferRing",
    "ioring.ring._cqe": "Cqe",
    "ioring.ring._direct": "Direct",
    "ioring.ring._msghdr": "MsgHdr",
    "ioring.ring._sqe": "Sqe",
    "ioring.ring.constants": (
        "AcceptFlags BufferRingFlags CancelFlags CqeFlags Features FILE_INDEX_ALLOC FILES_SKIP FixedFdFlags "
        "FsyncFlags FutexFlags MsgRingFlags NopFlags Op PollFlags RecvSendFlags RegisterOp ResolveFlags RestrictionOp "
        "RwFlags SetupFlags SocketOp SpliceFlags SqeFlags StatxMask TimeoutFlags"
    ),
    "ioring.ring.errors": (
        "ForkedRing RegistrationError RingClosed RingError RingUnavailable SlotError SqeSubmitted SubmissionQueueFull "
        "WrongThread"
    ),
    "ioring.ring.probe": "features KernelFeatures",
    "ioring.ring.ring": "Ring send_msg_ring",
    "ioring.ring.sockaddr": "SockAddr",
    "ioring.ring.structs": "EpollEvents OpenHow RecvmsgOut SigInfo Statx",
}
_MODULE_OF = {name: module for module, names in _LIES_IN.items() for name in names.split()}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "os":
            return importlib.import_module("ioring.os")  # which sets the attribute
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
        return value

    def __dir__() -> list[str]:
        # Without what `ioring.http` has: who looks at every attribute, as help() does, may lack its packages.
        return sorted({*globals(), *__all__, "open", "os"})
