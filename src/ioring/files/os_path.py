"""``ioring.os.path``: what of ``os.path`` has to look at files, as ``aiofiles.ospath`` has it and more.

Everything but ismount and realpath is one or two of ``ioring.os.stat``: at once when the kernel has it in its caches.
"""

import asyncio
import os
import stat
from functools import partial

from ioring.files._path_requests import mode_of, work
from ioring.files._path_requests import stat as stat_request
from ioring.files.engine import engine_of
from ioring.files.opening import AT_FDCWD, encode_path

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


async def _mode(path, follow=True):
    """The mode of a file, 0 when there is none."""
    engine = engine_of(asyncio.get_running_loop())
    if isinstance(path, int):
        return await mode_of(engine, path, None, True)
    try:
        name = encode_path(path)
    except ValueError:  # no file has such a name; surrogates that stand for nothing are one too
        return 0
    return await mode_of(engine, AT_FDCWD, name, follow)


async def _stat(path):
    engine = engine_of(asyncio.get_running_loop())
    if isinstance(path, int):
        return await stat_request(engine, path, path, None, True)
    path = os.fspath(path)
    return await stat_request(engine, path, AT_FDCWD, encode_path(path), True)


async def exists(path):
    """Whether there is a file, folder or anything (``os.path.exists``)."""
    return await _mode(path) != 0


async def lexists(path):
    """The same, and true of a symbolic link to nothing (``os.path.lexists``)."""
    return await _mode(path, False) != 0


async def isfile(path):
    """Whether it is an ordinary file (``os.path.isfile``)."""
    return stat.S_ISREG(await _mode(path))


async def isdir(path):
    """Whether it is a folder (``os.path.isdir``)."""
    return stat.S_ISDIR(await _mode(path))


async def islink(path):
    """Whether it is a symbolic link (``os.path.islink``)."""
    return stat.S_ISLNK(await _mode(path, False))


async def ismount(path):
    """Whether something is mounted there (``os.path.ismount``). In the executor."""
    return await work(engine_of(asyncio.get_running_loop()), partial(os.path.ismount, path), False)


async def getsize(path):
    """Bytes (``os.path.getsize``)."""
    return (await _stat(path)).st_size


async def getmtime(path):
    """When it was changed (``os.path.getmtime``)."""
    return (await _stat(path)).st_mtime


async def getatime(path):
    """When it was read (``os.path.getatime``)."""
    return (await _stat(path)).st_atime


async def getctime(path):
    """When its attributes were changed (``os.path.getctime``)."""
    return (await _stat(path)).st_ctime


async def samefile(path1, path2):
    """Whether both are one file (``os.path.samefile``)."""
    return os.path.samestat(await _stat(path1), await _stat(path2))


async def sameopenfile(fd1, fd2):
    """Whether both descriptors are of one file (``os.path.sameopenfile``)."""
    return os.path.samestat(await _stat(fd1), await _stat(fd2))


async def abspath(path):
    """A path from the root on (``os.path.abspath``). At once: no file is looked at."""
    return os.path.abspath(path)  # noqa: ASYNC240


async def realpath(path, *, strict=False):
    """The same without symbolic links (``os.path.realpath``). In the executor."""
    return await work(engine_of(asyncio.get_running_loop()), partial(os.path.realpath, path, strict=strict), False)
