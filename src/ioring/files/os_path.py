"""``ioring.os.path``: what of ``os.path`` has to look at files, as ``aiofiles.ospath`` has it and more.

Everything but ismount and realpath is one or two of ``ioring.os.stat``: at once when the kernel has it in its caches.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Any, AnyStr, overload

from ioring.files._operations import AT_FDCWD, encode_path
from ioring.files._path_requests import mode_of, work
from ioring.files._path_requests import stat as stat_request
from ioring.files.engine import running

if TYPE_CHECKING:
    from _typeshed import FileDescriptorOrPath, StrOrBytesPath

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
    "lexists",
    "realpath",
    "samefile",
    "sameopenfile",
]


async def _mode(path: FileDescriptorOrPath, follow: bool = True) -> int:
    """The mode (st_mode) of a file, 0 when there is no such file."""
    core = running()
    if isinstance(path, int):
        return await mode_of(core, path, None, True)
    try:
        name = encode_path(path)
    except ValueError:  # no file has such a name: it has a NUL, or surrogates that stand for no byte
        return 0
    return await mode_of(core, AT_FDCWD, name, follow)


async def _stat(path: FileDescriptorOrPath) -> os.stat_result:
    core = running()
    if isinstance(path, int):
        return await stat_request(core, path, path, None, True)
    path = os.fspath(path)
    return await stat_request(core, path, AT_FDCWD, encode_path(path), True)


async def exists(path: FileDescriptorOrPath) -> bool:
    """Whether there is a file, folder or anything (``os.path.exists``)."""
    return await _mode(path) != 0


async def lexists(path: FileDescriptorOrPath) -> bool:
    """The same, and true of a symbolic link to nothing (``os.path.lexists``)."""
    return await _mode(path, False) != 0


async def isfile(path: FileDescriptorOrPath) -> bool:
    """Whether it is an ordinary file (``os.path.isfile``)."""
    return stat.S_ISREG(await _mode(path))


async def isdir(path: FileDescriptorOrPath) -> bool:
    """Whether it is a folder (``os.path.isdir``)."""
    return stat.S_ISDIR(await _mode(path))


async def islink(path: StrOrBytesPath) -> bool:
    """Whether it is a symbolic link (``os.path.islink``)."""
    return stat.S_ISLNK(await _mode(path, False))


async def ismount(path: FileDescriptorOrPath) -> bool:
    """Whether something is mounted there (``os.path.ismount``). In the executor."""
    return await work(running(), partial(os.path.ismount, path), False)


async def getsize(path: FileDescriptorOrPath) -> int:
    """Bytes (``os.path.getsize``)."""
    return (await _stat(path)).st_size


async def getmtime(path: FileDescriptorOrPath) -> float:
    """When it was changed (``os.path.getmtime``)."""
    return (await _stat(path)).st_mtime


async def getatime(path: FileDescriptorOrPath) -> float:
    """When it was read (``os.path.getatime``)."""
    return (await _stat(path)).st_atime


async def getctime(path: FileDescriptorOrPath) -> float:
    """When its attributes were changed (``os.path.getctime``)."""
    return (await _stat(path)).st_ctime


async def samefile(path1: FileDescriptorOrPath, path2: FileDescriptorOrPath) -> bool:
    """Whether both are one file (``os.path.samefile``)."""
    return os.path.samestat(await _stat(path1), await _stat(path2))


async def sameopenfile(fd1: int, fd2: int) -> bool:
    """Whether both descriptors are of one file (``os.path.sameopenfile``)."""
    return os.path.samestat(await _stat(fd1), await _stat(fd2))


@overload
async def abspath(path: os.PathLike[AnyStr]) -> AnyStr: ...
@overload
async def abspath(path: AnyStr) -> AnyStr: ...
async def abspath(path: Any) -> Any:
    """A path from the root on (``os.path.abspath``). At once: no file is looked at."""
    return os.path.abspath(path)  # noqa: ASYNC240


@overload
async def realpath(path: os.PathLike[AnyStr], *, strict: bool = False) -> AnyStr: ...
@overload
async def realpath(path: AnyStr, *, strict: bool = False) -> AnyStr: ...
async def realpath(path: Any, *, strict: bool = False) -> Any:
    """The same without symbolic links (``os.path.realpath``). In the executor."""
    return await work(running(), partial(os.path.realpath, path, strict=strict), False)
