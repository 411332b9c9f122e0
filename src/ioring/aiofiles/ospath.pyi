from asyncio import AbstractEventLoop
from concurrent.futures import Executor

from _typeshed import FileDescriptorOrPath as _File
from _typeshed import StrOrBytesPath

from ioring.aiofiles.base import wrap as wrap

__all__ = [
    "abspath",
    "exists",
    "getatime",
    "getctime",
    "getmtime",
    "getsize",
    "isdir",
    "isfile",
    "islink",
    "ismount",
    "samefile",
    "sameopenfile",
    "wrap",
]

async def abspath(path: str, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> str: ...
async def exists(path: _File, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> bool: ...
async def getatime(
    filename: _File, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> float: ...
async def getctime(
    filename: _File, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> float: ...
async def getmtime(
    filename: _File, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> float: ...
async def getsize(
    filename: _File, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> int: ...
async def isdir(s: _File, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> bool: ...
async def isfile(path: _File, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> bool: ...
async def islink(
    path: StrOrBytesPath, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> bool: ...
async def ismount(path: _File, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> bool: ...
async def samefile(
    f1: _File, f2: _File, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> bool: ...
async def sameopenfile(
    fp1: int, fp2: int, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> bool: ...
