"""``ioring.os``: calls of the ``os`` module that do not keep the loop waiting, as ``aiofiles.os`` has them and more.

Names, parameters, results and exceptions are those of ``os``. There are three ways:

- What only looks at names and attributes is answered at once when the kernel has it in its caches, and is a request of
  the ring otherwise: stat, lstat and what ``ioring.os.path`` makes of them.
- What changes names is a request of the ring.
- What the ring has no operation for is called in the loop's executor; each docstring says so.

A change that is cancelled is over before the cancellation goes on: it was made, or it was not, and will not be later.

See docs/reference/files-os.md for what was measured.
"""

import asyncio
import functools
import os
import sys
from functools import partial

from ioring.files import os_path as path
from ioring.files._path_requests import stat as stat_request
from ioring.files._path_requests import work
from ioring.files._requests import call
from ioring.files.engine import engine_of
from ioring.files.opening import AT_FDCWD, encode_path
from ioring.ring.constants import Op
from ioring.ring.probe import features

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

AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400


def _engine():
    return engine_of(asyncio.get_running_loop())


def _folder(dir_fd):
    return AT_FDCWD if dir_fd is None else dir_fd


def _audited(dir_fd):
    return -1 if dir_fd is None else dir_fd


async def _in_thread(function, *arguments, **options):
    """Looks something up in the executor."""
    return await work(_engine(), partial(function, *arguments, **options), False)


async def _change_in_thread(function, *arguments, **options):
    """Changes something in the executor; that is over before a cancellation goes on."""
    return await work(_engine(), partial(function, *arguments, **options), True)


async def _of_two(request, first, second):
    """The exception names both paths."""
    try:
        await request
    except OSError as error:
        raise OSError(error.errno, error.strerror, first, None, second) from None


# Looking.


async def stat(path, *, dir_fd=None, follow_symlinks=True):
    """Attributes of a file, by path or descriptor (``os.stat``): at once when they are cached.

    Raises:
        OSError: with ``path`` as its ``filename``.
    """
    if isinstance(path, int):
        if dir_fd is not None:
            raise ValueError("stat: can't specify dir_fd without matching path")
        if not follow_symlinks:
            raise ValueError("stat: cannot use fd and follow_symlinks together")
        return await stat_request(_engine(), path, path, None, True)
    path = os.fspath(path)
    return await stat_request(_engine(), path, _folder(dir_fd), encode_path(path), follow_symlinks)


async def lstat(path, *, dir_fd=None):
    """The same of a symbolic link itself (``os.lstat``)."""
    path = os.fspath(path)
    return await stat_request(_engine(), path, _folder(dir_fd), encode_path(path), False)


async def statvfs(path):
    """Numbers of a file system (``os.statvfs``). In the executor."""
    return await _in_thread(os.statvfs, path)


async def access(path, mode, *, dir_fd=None, effective_ids=False, follow_symlinks=True):
    """Whether a file may be read, written, run (``os.access``). In the executor."""
    return await _in_thread(
        os.access, path, mode, dir_fd=dir_fd, effective_ids=effective_ids, follow_symlinks=follow_symlinks
    )


async def readlink(path, *, dir_fd=None):
    """What a symbolic link points to (``os.readlink``). In the executor."""
    return await _in_thread(os.readlink, path, dir_fd=dir_fd)


async def listdir(path="."):
    """Names in a folder (``os.listdir``). In the executor."""
    return await _in_thread(os.listdir, path)


async def scandir(path="."):
    """Entries of a folder (``os.scandir``), for ``for`` and ``async for``. All are read at once, in the executor.

    ``entry.stat()`` of an entry is the ordinary call that waits; ``await ioring.os.stat(entry)`` does not.
    """
    return Entries(await _in_thread(_entries, path))


def _entries(path):
    with os.scandir(path) as entries:
        return list(entries)


class Entries:
    """What ``scandir`` gives: an iterator of both kinds, and a context manager of both kinds."""

    def __init__(self, entries):
        self._left = iter(entries)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._left)

    def __aiter__(self):
        return self

    async def __anext__(self):
        for entry in self._left:
            return entry
        raise StopAsyncIteration

    def close(self):
        """Ends it (``scandir.close``)."""
        self._left = iter(())

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exception):
        self.close()


async def getcwd():
    """The working folder (``os.getcwd``). At once: the kernel knows it."""
    return os.getcwd()


# Changing names.


async def rename(src, dst, *, src_dir_fd=None, dst_dir_fd=None):
    """Gives a file another name (``os.rename``).

    Raises:
        OSError: with ``src`` as its ``filename`` and ``dst`` as its ``filename2``.
    """
    src, dst = os.fspath(src), os.fspath(dst)
    old, new = encode_path(src), encode_path(dst)
    sys.audit("os.rename", src, dst, _audited(src_dir_fd), _audited(dst_dir_fd))
    await _of_two(
        call(
            _engine(),
            Op.RENAMEAT,
            partial(os.rename, src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd),
            fd=_folder(src_dir_fd),
            addr=old,
            length=_folder(dst_dir_fd) & 0xFFFFFFFF,
            off=new,
            steady=True,
        ),
        src,
        dst,
    )


replace = rename  # on Linux they are one


async def link(src, dst, *, src_dir_fd=None, dst_dir_fd=None, follow_symlinks=True):
    """Gives a file a second name (``os.link``).

    Raises:
        OSError: with ``src`` as its ``filename`` and ``dst`` as its ``filename2``.
    """
    src, dst = os.fspath(src), os.fspath(dst)
    old, new = encode_path(src), encode_path(dst)
    sys.audit("os.link", src, dst, _audited(src_dir_fd), _audited(dst_dir_fd))
    # As os.link has it: without a folder link(2) is called, which does not follow.
    follow = follow_symlinks and not (src_dir_fd is None and dst_dir_fd is None)
    await _of_two(
        call(
            _engine(),
            Op.LINKAT,
            partial(os.link, src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks),
            fd=_folder(src_dir_fd),
            addr=old,
            length=_folder(dst_dir_fd) & 0xFFFFFFFF,
            off=new,
            flags=AT_SYMLINK_FOLLOW if follow else 0,
            steady=True,
        ),
        src,
        dst,
    )


async def symlink(src, dst, target_is_directory=False, *, dir_fd=None):
    """Makes ``dst`` point to ``src`` (``os.symlink``).

    Raises:
        OSError: with ``src`` as its ``filename`` and ``dst`` as its ``filename2``.
    """
    src, dst = os.fspath(src), os.fspath(dst)
    target, name = encode_path(src), encode_path(dst)
    sys.audit("os.symlink", src, dst, _audited(dir_fd))
    await _of_two(
        call(
            _engine(),
            Op.SYMLINKAT,
            partial(os.symlink, src, dst, dir_fd=dir_fd),
            fd=_folder(dir_fd),
            addr=target,
            off=name,
            steady=True,
        ),
        src,
        dst,
    )


async def unlink(path, *, dir_fd=None):
    """Takes a name of a file away (``os.unlink``)."""
    path = os.fspath(path)
    name = encode_path(path)
    sys.audit("os.remove", path, _audited(dir_fd))
    await call(
        _engine(),
        Op.UNLINKAT,
        partial(os.unlink, path, dir_fd=dir_fd),
        path=path,
        fd=_folder(dir_fd),
        addr=name,
        steady=True,
    )


remove = unlink


async def rmdir(path, *, dir_fd=None):
    """Removes an empty folder (``os.rmdir``)."""
    path = os.fspath(path)
    name = encode_path(path)
    sys.audit("os.rmdir", path, _audited(dir_fd))
    await call(
        _engine(),
        Op.UNLINKAT,
        partial(os.rmdir, path, dir_fd=dir_fd),
        path=path,
        fd=_folder(dir_fd),
        addr=name,
        flags=AT_REMOVEDIR,
        steady=True,
    )


async def mkdir(path, mode=0o777, *, dir_fd=None):
    """Makes a folder (``os.mkdir``)."""
    path = os.fspath(path)
    name = encode_path(path)
    sys.audit("os.mkdir", path, mode, _audited(dir_fd))
    await call(
        _engine(),
        Op.MKDIRAT,
        partial(os.mkdir, path, mode, dir_fd=dir_fd),
        path=path,
        fd=_folder(dir_fd),
        addr=name,
        length=mode & 0xFFFFFFFF,
        steady=True,
    )


async def makedirs(name, mode=0o777, exist_ok=False):
    """Makes a folder and those above it (``os.makedirs``)."""
    head, tail = os.path.split(name)
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


async def removedirs(name):
    """Removes an empty folder, and those above it as long as they are empty (``os.removedirs``)."""
    await rmdir(name)
    await _prune(name)


async def _prune(name):
    head, tail = os.path.split(name)
    if not tail:
        head, tail = os.path.split(head)
    while head and tail:
        try:
            await rmdir(head)
        except OSError:
            break
        head, tail = os.path.split(head)


async def renames(old, new):
    """Gives a file another name, makes folders for it and removes those that it leaves empty (``os.renames``)."""
    head, tail = os.path.split(new)
    if head and tail and not await path.exists(head):
        await makedirs(head)
    await rename(old, new)
    head, tail = os.path.split(old)
    if head and tail:
        try:
            await removedirs(head)
        except OSError:
            pass


# Changing files.


@functools.cache
def _truncates_by_ring():
    # Asking each time takes longer than the request: features() reads a file.
    return "FTRUNCATE" in features().operations


async def truncate(path, length):
    """Makes a file so many bytes long (``os.truncate``). By path in the executor, by descriptor not (Linux 6.9)."""
    engine = _engine()
    if not isinstance(path, int) or not _truncates_by_ring():
        await _change_in_thread(os.truncate, path, length)
        return
    if length < 0:
        raise OSError(22, os.strerror(22), path)
    sys.audit("os.truncate", path, length)
    await call(engine, Op.FTRUNCATE, partial(os.truncate, path, length), path=path, fd=path, off=length, steady=True)


async def chmod(path, mode, *, dir_fd=None, follow_symlinks=True):
    """Permissions of a file (``os.chmod``). In the executor."""
    await _change_in_thread(os.chmod, path, mode, dir_fd=dir_fd, follow_symlinks=follow_symlinks)


async def chown(path, uid, gid, *, dir_fd=None, follow_symlinks=True):
    """Owner and group of a file (``os.chown``). In the executor."""
    await _change_in_thread(os.chown, path, uid, gid, dir_fd=dir_fd, follow_symlinks=follow_symlinks)


async def utime(path, times=None, **options):
    """Times of a file (``os.utime``). In the executor."""
    await _change_in_thread(os.utime, path, times, **options)


async def getxattr(path, attribute, *, follow_symlinks=True):
    """An extended attribute (``os.getxattr``). In the executor: the ring's operation has to be told the size."""
    return await _in_thread(os.getxattr, path, attribute, follow_symlinks=follow_symlinks)


async def setxattr(path, attribute, value, flags=0, *, follow_symlinks=True):
    """Sets an extended attribute (``os.setxattr``). In the executor."""
    await _change_in_thread(os.setxattr, path, attribute, value, flags, follow_symlinks=follow_symlinks)


async def listxattr(path=None, *, follow_symlinks=True):
    """Names of extended attributes (``os.listxattr``). In the executor."""
    return await _in_thread(os.listxattr, path, follow_symlinks=follow_symlinks)


async def removexattr(path, attribute, *, follow_symlinks=True):
    """Removes an extended attribute (``os.removexattr``). In the executor."""
    await _change_in_thread(os.removexattr, path, attribute, follow_symlinks=follow_symlinks)


async def sendfile(out_fd, in_fd, offset, count):
    """Copies from a file to a socket or file (``os.sendfile``). In the executor: the ring's splice needs a pipe."""
    return await _change_in_thread(os.sendfile, out_fd, in_fd, offset, count)
