"""``ioring.os``: calls of the ``os`` module that do not keep the loop waiting, as ``aiofiles.os`` has them and more.

Names, parameters, results and exceptions are those of ``os``. There are three ways:

- What only looks at names and attributes is answered at once when the kernel has it in its caches, and is a request of
  the ring otherwise: stat, lstat and what ``ioring.os.path`` makes of them.
- What changes names is a request of the ring.
- What the ring has no operation for is called in the loop's executor; each docstring says so.

When a change is cancelled, the cancellation waits for its end: the change was made or was not, and will not be made
later.

See docs/reference/files-os.md for what was measured.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, AnyStr, Generic, Self, TypeAlias, TypeVar, overload

from ioring.files import os_path as path
from ioring.files._operations import (
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    encode_path,
    ftruncate,
    linkat,
    mkdirat,
    renameat,
    symlinkat,
    unlinkat,
)
from ioring.files._path_requests import stat as stat_request
from ioring.files._path_requests import work
from ioring.files.engine import running
from ioring.ring.probe import features

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrOrBytesPath

    _FileOrPath: TypeAlias = int | StrOrBytesPath

_T = TypeVar("_T")

__all__ = [
    "access",
    "chmod",
    "chown",
    "getcwd",
    "getxattr",
    "link",
    "listdir",
    "listxattr",
    "lstat",
    "makedirs",
    "mkdir",
    "path",
    "readlink",
    "remove",
    "removedirs",
    "removexattr",
    "rename",
    "renames",
    "replace",
    "rmdir",
    "scandir",
    "sendfile",
    "setxattr",
    "stat",
    "statvfs",
    "symlink",
    "truncate",
    "unlink",
    "utime",
]


def _folder(dir_fd: int | None) -> int:
    return AT_FDCWD if dir_fd is None else dir_fd


def _audited(dir_fd: int | None) -> int:
    return -1 if dir_fd is None else dir_fd


async def _in_thread(function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    """Calls a function that changes nothing in the executor."""
    return await work(running(), partial(function, *arguments, **options), False)


async def _change_in_thread(function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    """Calls a function in the executor that changes something. It ends before a cancellation goes on."""
    return await work(running(), partial(function, *arguments, **options), True)


async def _of_two(request: Awaitable[object], first: StrOrBytesPath, second: StrOrBytesPath) -> None:
    """Awaits a request whose exception is to name two paths."""
    try:
        await request
    except OSError as error:
        raise OSError(error.errno, error.strerror, first, None, second) from None


# Looking.


async def stat(path: _FileOrPath, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
    """Attributes of a file, by path or descriptor (``os.stat``): at once when they are cached.

    Raises:
        OSError: with ``path`` as its ``filename``.
    """
    if isinstance(path, int):
        if dir_fd is not None:
            raise ValueError("stat: can't specify dir_fd without matching path")
        if not follow_symlinks:
            raise ValueError("stat: cannot use fd and follow_symlinks together")
        return await stat_request(running(), path, path, None, True)
    path = os.fspath(path)
    return await stat_request(running(), path, _folder(dir_fd), encode_path(path), follow_symlinks)


async def lstat(path: StrOrBytesPath, *, dir_fd: int | None = None) -> os.stat_result:
    """Attributes of a file, or of a symbolic link itself (``os.lstat``)."""
    path = os.fspath(path)
    return await stat_request(running(), path, _folder(dir_fd), encode_path(path), False)


async def statvfs(path: _FileOrPath) -> os.statvfs_result:
    """Numbers of a file system (``os.statvfs``). In the executor."""
    return await _in_thread(os.statvfs, path)


async def access(
    path: _FileOrPath,
    mode: int,
    *,
    dir_fd: int | None = None,
    effective_ids: bool = False,
    follow_symlinks: bool = True,
) -> bool:
    """Whether a file may be read, written, run (``os.access``). In the executor."""
    return await _in_thread(
        os.access, path, mode, dir_fd=dir_fd, effective_ids=effective_ids, follow_symlinks=follow_symlinks
    )


@overload
async def readlink(path: str | os.PathLike[str], *, dir_fd: int | None = None) -> str: ...
@overload
async def readlink(path: bytes | os.PathLike[bytes], *, dir_fd: int | None = None) -> bytes: ...
async def readlink(path: Any, *, dir_fd: int | None = None) -> Any:
    """What a symbolic link points to (``os.readlink``). In the executor."""
    return await _in_thread(os.readlink, path, dir_fd=dir_fd)


@overload
async def listdir(path: str | os.PathLike[str] | int | None = ".") -> list[str]: ...
@overload
async def listdir(path: bytes | os.PathLike[bytes]) -> list[bytes]: ...
async def listdir(path: Any = ".") -> Any:
    """Names in a folder (``os.listdir``). In the executor."""
    return await _in_thread(os.listdir, path)


@overload
async def scandir(path: str | os.PathLike[str] | int | None = ".") -> Entries[str]: ...
@overload
async def scandir(path: bytes | os.PathLike[bytes]) -> Entries[bytes]: ...
async def scandir(path: Any = ".") -> Entries[Any]:
    """Entries of a folder (``os.scandir``), for ``for`` and ``async for``. All are read at once, in the executor.

    ``entry.stat()`` of an entry is the ordinary call that waits; ``await ioring.os.stat(entry)`` does not.
    """
    return Entries(await _in_thread(_entries, path))


def _entries(path: Any) -> list[os.DirEntry[Any]]:
    with os.scandir(path) as entries:
        return list(entries)


class Entries(Iterator[os.DirEntry[AnyStr]], AsyncIterator[os.DirEntry[AnyStr]], Generic[AnyStr]):
    """What ``scandir`` gives: an iterator of both kinds, and a context manager of both kinds."""

    def __init__(self, entries: list[os.DirEntry[AnyStr]]) -> None:
        self._left: Iterator[os.DirEntry[AnyStr]] = iter(entries)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> os.DirEntry[AnyStr]:
        return next(self._left)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> os.DirEntry[AnyStr]:
        for entry in self._left:
            return entry
        raise StopAsyncIteration

    def close(self) -> None:
        """Ends it (``scandir.close``)."""
        self._left = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


async def getcwd() -> str:
    """The working folder (``os.getcwd``). At once: the kernel knows it."""
    return os.getcwd()


# Changing names.


async def rename(
    src: StrOrBytesPath, dst: StrOrBytesPath, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
) -> None:
    """Gives a file another name (``os.rename``).

    Raises:
        OSError: with ``src`` as its ``filename`` and ``dst`` as its ``filename2``.
    """
    src, dst = os.fspath(src), os.fspath(dst)
    old, new = encode_path(src), encode_path(dst)
    sys.audit("os.rename", src, dst, _audited(src_dir_fd), _audited(dst_dir_fd))
    await _of_two(renameat(running(), _folder(src_dir_fd), old, _folder(dst_dir_fd), new), src, dst)


replace = rename  # on Linux they are one


async def link(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None:
    """Gives a file a second name (``os.link``).

    Raises:
        OSError: with ``src`` as its ``filename`` and ``dst`` as its ``filename2``.
    """
    src, dst = os.fspath(src), os.fspath(dst)
    old, new = encode_path(src), encode_path(dst)
    sys.audit("os.link", src, dst, _audited(src_dir_fd), _audited(dst_dir_fd))
    # As os.link has it: before Python 3.14 link(2) was called where there is no folder, and that does not follow.
    follow = follow_symlinks and (sys.version_info >= (3, 14) or src_dir_fd is not None or dst_dir_fd is not None)
    flags = AT_SYMLINK_FOLLOW if follow else 0
    await _of_two(linkat(running(), _folder(src_dir_fd), old, _folder(dst_dir_fd), new, flags), src, dst)


async def symlink(
    src: StrOrBytesPath, dst: StrOrBytesPath, target_is_directory: bool = False, *, dir_fd: int | None = None
) -> None:
    """Makes ``dst`` point to ``src`` (``os.symlink``).

    Raises:
        OSError: with ``src`` as its ``filename`` and ``dst`` as its ``filename2``.
    """
    src, dst = os.fspath(src), os.fspath(dst)
    target, name = encode_path(src), encode_path(dst)
    sys.audit("os.symlink", src, dst, _audited(dir_fd))
    await _of_two(symlinkat(running(), target, _folder(dir_fd), name), src, dst)


async def unlink(path: StrOrBytesPath, *, dir_fd: int | None = None) -> None:
    """Takes a name of a file away (``os.unlink``)."""
    path = os.fspath(path)
    name = encode_path(path)
    sys.audit("os.remove", path, _audited(dir_fd))
    await unlinkat(running(), _folder(dir_fd), name, 0, path)


remove = unlink


async def rmdir(path: StrOrBytesPath, *, dir_fd: int | None = None) -> None:
    """Removes an empty folder (``os.rmdir``)."""
    path = os.fspath(path)
    name = encode_path(path)
    sys.audit("os.rmdir", path, _audited(dir_fd))
    await unlinkat(running(), _folder(dir_fd), name, AT_REMOVEDIR, path)


async def mkdir(path: StrOrBytesPath, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
    """Makes a folder (``os.mkdir``)."""
    path = os.fspath(path)
    name = encode_path(path)
    sys.audit("os.mkdir", path, mode, _audited(dir_fd))
    await mkdirat(running(), _folder(dir_fd), name, mode, path)


async def makedirs(name: StrOrBytesPath, mode: int = 0o777, exist_ok: bool = False) -> None:
    """Makes a folder and those above it (``os.makedirs``)."""
    head, tail = os.path.split(os.fspath(name))
    if not tail:
        head, tail = os.path.split(head)
    if head and tail and not await path.exists(head):
        try:
            await makedirs(head, exist_ok=exist_ok)
        except FileExistsError:
            pass  # somebody else was faster
        if tail == (b"." if isinstance(tail, bytes) else "."):
            return  # name/. is there now
    try:
        await mkdir(name, mode)
    except OSError:
        # Not only EEXIST: a file system may be read-only, and the folder there.
        if not exist_ok or not await path.isdir(name):
            raise


async def removedirs(name: StrOrBytesPath) -> None:
    """Removes an empty folder, and those above it as long as they are empty (``os.removedirs``)."""
    await rmdir(name)
    await _prune(name)


async def _prune(name: StrOrBytesPath) -> None:
    head, tail = os.path.split(os.fspath(name))
    if not tail:
        head, tail = os.path.split(head)
    while head and tail:
        try:
            await rmdir(head)
        except OSError:
            break
        head, tail = os.path.split(head)


async def renames(old: StrOrBytesPath, new: StrOrBytesPath) -> None:
    """Gives a file another name, makes folders for it and removes those that it leaves empty (``os.renames``)."""
    head, tail = os.path.split(os.fspath(new))
    if head and tail and not await path.exists(head):
        await makedirs(head)
    await rename(old, new)
    head, tail = os.path.split(os.fspath(old))
    if head and tail:
        try:
            await removedirs(head)
        except OSError:
            pass


# Changing files.


@functools.cache
def _truncates_by_ring() -> bool:
    # features() reads a file, which takes longer than the request. So it is asked once.
    return "FTRUNCATE" in features().operations


async def truncate(path: _FileOrPath, length: int) -> None:
    """Makes a file so many bytes long (``os.truncate``). By path in the executor, by descriptor not (Linux 6.9)."""
    core = running()
    if not isinstance(path, int) or not _truncates_by_ring():
        await _change_in_thread(os.truncate, path, length)
        return
    if length < 0:
        raise OSError(22, os.strerror(22), path)
    sys.audit("os.truncate", path, length)
    await ftruncate(core, path, length, path, steady=True)


async def chmod(path: _FileOrPath, mode: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
    """Permissions of a file (``os.chmod``). In the executor."""
    await _change_in_thread(os.chmod, path, mode, dir_fd=dir_fd, follow_symlinks=follow_symlinks)


async def chown(
    path: _FileOrPath, uid: int, gid: int, *, dir_fd: int | None = None, follow_symlinks: bool = True
) -> None:
    """Owner and group of a file (``os.chown``). In the executor."""
    await _change_in_thread(os.chown, path, uid, gid, dir_fd=dir_fd, follow_symlinks=follow_symlinks)


async def utime(path: _FileOrPath, times: tuple[int, int] | tuple[float, float] | None = None, **options: Any) -> None:
    """Times of a file (``os.utime``). In the executor."""
    await _change_in_thread(os.utime, path, times, **options)


async def getxattr(path: _FileOrPath, attribute: StrOrBytesPath, *, follow_symlinks: bool = True) -> bytes:
    """An extended attribute (``os.getxattr``). In the executor: the ring's operation has to be told the size."""
    return await _in_thread(os.getxattr, path, attribute, follow_symlinks=follow_symlinks)


async def setxattr(
    path: _FileOrPath,
    attribute: StrOrBytesPath,
    value: ReadableBuffer,
    flags: int = 0,
    *,
    follow_symlinks: bool = True,
) -> None:
    """Sets an extended attribute (``os.setxattr``). In the executor."""
    await _change_in_thread(os.setxattr, path, attribute, value, flags, follow_symlinks=follow_symlinks)


async def listxattr(path: _FileOrPath | None = None, *, follow_symlinks: bool = True) -> list[str]:
    """Names of extended attributes (``os.listxattr``). In the executor."""
    return await _in_thread(os.listxattr, path, follow_symlinks=follow_symlinks)


async def removexattr(path: _FileOrPath, attribute: StrOrBytesPath, *, follow_symlinks: bool = True) -> None:
    """Removes an extended attribute (``os.removexattr``). In the executor."""
    await _change_in_thread(os.removexattr, path, attribute, follow_symlinks=follow_symlinks)


async def sendfile(out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
    """Copies from a file to a socket or file (``os.sendfile``). In the executor: the ring's splice needs a pipe."""
    return await _change_in_thread(os.sendfile, out_fd, in_fd, offset, count)
