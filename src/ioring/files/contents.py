"""``ioring.whole``: whole files read and written in one call. Copying is in copyfile.py.

A small file that the kernel has in its caches is opened, read and closed at once, within ten microseconds. All others
are read by requests, one after another. (A chain of linked requests in direct slots takes as long: it was measured. The
same workers of the kernel do its parts.) Large files are read in several parts at a time.

Every request of this module that uses a descriptor is steady: it ends before a cancellation goes on. So no request uses
the descriptor any more when it is closed, and its number may be given to another file.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
import sys
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, AnyStr

from ioring.files import os_calls as calls
from ioring.files._memory import flat
from ioring.files._operations import AT_FDCWD, close, encode_path, fsync, openat, pwrite, renameat
from ioring.files._path_requests import empty_bytes, read_part, read_small, work
from ioring.files.engine import running
from ioring.files.opening import OpenSpec, make_file, open_descriptor

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrOrBytesPath

    from ioring.loop._engine import Engine

PART = 262144
"""A large file is read in parts of this many bytes."""

PARTS_AT_ONCE = 8

PIECE = 1 << 20
"""Files are written in pieces of this many bytes."""

TEXT_PIECE = 262144
"""Text that is longer is encoded and decoded in pieces, so that other tasks can run in between."""

_RAW_READER = OpenSpec("rb", 0)
_RAW_WRITER = OpenSpec("wb", 0)


# Reading.


async def read_bytes(path: StrOrBytesPath) -> bytes:
    """All bytes of a file (``pathlib.Path.read_bytes``).

    Raises:
        OSError: with ``path`` as its ``filename``.
    """
    core = running()
    path = os.fspath(path)
    name = encode_path(path)
    sys.audit("open", path, "rb", os.O_RDONLY | os.O_CLOEXEC)
    found = await read_small(core, path, AT_FDCWD, name)
    if isinstance(found, bytes):
        return found
    fd = found if found >= 0 else await open_descriptor(core, path, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            return await _read(core, path, fd, status.st_size)
        file = make_file(asyncio.get_running_loop(), fd, path, _RAW_READER, True)
        fd = -1
    finally:
        if fd >= 0:
            os.close(fd)
    async with file:
        data: bytes = await file.readall()
        return data


async def _read(core: Engine, path: StrOrBytesPath, fd: int, size: int) -> bytes:
    """All bytes of an ordinary file that is ``size`` bytes long, as far as is known."""
    data = empty_bytes(size)
    if size <= PART:
        end = await read_part(core, path, fd, 0, data, 0, size) if size else 0
    else:
        end = await _read_parts(core, path, fd, data, size)
    if end < size:  # it is shorter by now
        return data[:end]
    if size and os.fstat(fd).st_size == size:
        return data
    # It has grown, or it is one of the files in /proc, whose size is said to be 0.
    pieces = [data]
    while True:
        piece = empty_bytes(PART)
        count = await read_part(core, path, fd, end, piece, 0, PART)
        pieces.append(piece[:count])
        end += count
        if count == 0:
            return b"".join(pieces)


async def _read_parts(core: Engine, path: StrOrBytesPath, fd: int, data: bytes, size: int) -> int:
    """Fills ``data`` from a file, several parts at a time. How many bytes, counted up to the first gap."""
    starts = iter(range(0, size, PART))
    end = size

    async def worker() -> None:
        nonlocal end
        for start in starts:
            count = min(PART, size - start)
            read = await read_part(core, path, fd, start, data, start, count)
            if read < count:
                end = min(end, start + read)

    await _together([worker() for _ in range(PARTS_AT_ONCE)])
    return end


async def _together(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs coroutines at the same time. All of them have ended when this ends, whatever happens."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        cancellation = None
        while not all(task.done() for task in tasks):
            for task in tasks:
                task.cancel()
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError as error:
                cancellation = error
        failures = [failure for task in tasks if not task.cancelled() and (failure := task.exception()) is not None]
        if cancellation is not None:
            raise cancellation
    if failures:
        raise failures[0]


async def read_text(
    path: StrOrBytesPath, encoding: str | None = None, errors: str | None = None, newline: str | None = None
) -> str:
    """The text of a file (``pathlib.Path.read_text``)."""
    encoding = io.text_encoding(encoding)
    data = await read_bytes(path)
    text = io.TextIOWrapper(io.BytesIO(data), encoding, errors, newline)
    if len(data) <= TEXT_PIECE:
        return text.read()
    pieces = []
    while piece := text.read(TEXT_PIECE):
        pieces.append(piece)
        await asyncio.sleep(0)
    return "".join(pieces)


# Writing.


async def write_bytes(path: StrOrBytesPath, data: ReadableBuffer, *, atomic: bool = False) -> int:
    """Writes bytes to a file, which is made or replaced; how many (``pathlib.Path.write_bytes``).

    With ``atomic`` whoever opens the file finds the old content or the new, also after a crash: the bytes are written
    to another file in the same folder, which then takes the name. Nothing of that file is left when something fails or
    when this is cancelled. The permissions of the old file are kept, and its owner if that is allowed; a symbolic link
    stays one.

    Raises:
        OSError: with ``path`` as its ``filename``.
    """
    name: Any = os.fspath(path)
    encode_path(name)
    view = flat(data, False)
    if atomic:
        await _write_atomic(running(), name, view)
    else:
        await _write(running(), name, view)
    return len(view)


async def write_text(
    path: StrOrBytesPath,
    data: str,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    *,
    atomic: bool = False,
) -> int:
    """Writes text to a file; how many characters (``pathlib.Path.write_text``). See ``write_bytes`` for ``atomic``."""
    if not isinstance(data, str):
        raise TypeError(f"data must be str, not {type(data).__name__}")
    encoded = io.BytesIO()
    text = io.TextIOWrapper(encoded, io.text_encoding(encoding), errors, newline)
    for start in range(0, len(data) or 1, TEXT_PIECE):
        if start:
            await asyncio.sleep(0)
        text.write(data[start : start + TEXT_PIECE])
    text.flush()
    await write_bytes(path, encoded.getvalue(), atomic=atomic)
    return len(data)


async def _write(core: Engine, path: StrOrBytesPath, view: memoryview) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    sys.audit("open", path, "wb", flags)
    fd = await open_descriptor(core, path, flags)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            await _write_pieces(core, path, fd, view)
            return
        file = make_file(asyncio.get_running_loop(), fd, path, _RAW_WRITER, True)
        fd = -1
    finally:
        if fd >= 0:
            await close(core, fd, steady=True, punt=True)
    async with file:
        await file.write(view)


async def _write_pieces(core: Engine, path: StrOrBytesPath, fd: int, view: memoryview) -> None:
    for start in range(0, len(view), PIECE):
        await pwrite(core, fd, view[start : start + PIECE], start, path)


async def _write_atomic(core: Engine, path: AnyStr, view: memoryview) -> None:
    target = path
    status: os.stat_result | None
    try:
        status = await calls.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            target = await calls.path.realpath(path)
            status = await calls.stat(target)
    except FileNotFoundError:
        status = None
    if status is not None and not stat.S_ISREG(status.st_mode):
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, os.strerror(number), path)
    folder = os.path.dirname(target)
    beside = _name_in(folder)
    sys.audit("open", target, "wb", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        await _make(core, path, beside, view, status)
        await renameat(core, AT_FDCWD, encode_path(beside), AT_FDCWD, encode_path(target), path)
    except GeneratorExit:
        # The task ends without its loop: there is nothing to await with.
        _unlink_now(beside)
        raise
    except BaseException:
        try:
            await calls.unlink(beside)
        except OSError:
            pass  # it was never made, or was renamed already
        raise
    await _fsync_folder(core, path, folder or ".")


def _name_in(folder: AnyStr) -> AnyStr:
    """The path of a new file in a folder that nobody else will think of."""
    name = f".{os.urandom(8).hex()}.tmp"
    return os.path.join(folder, os.fsencode(name)) if isinstance(folder, bytes) else os.path.join(folder, name)


async def _make(core: Engine, path: AnyStr, beside: AnyStr, view: memoryview, status: os.stat_result | None) -> None:
    """Makes and fills the file that will replace another. ``status`` is that of the other, None if there is none."""
    mode = 0o666 if status is None else stat.S_IMODE(status.st_mode) & 0o777
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    fd = await openat(core, AT_FDCWD, encode_path(beside), flags, mode, path, steady=True)
    try:
        made = os.fstat(fd)
        if status is not None and (made.st_mode, made.st_uid, made.st_gid) != (
            status.st_mode,
            status.st_uid,
            status.st_gid,
        ):
            await work(core, partial(_keep, fd, status), True)
        await _write_pieces(core, path, fd, view)
        await fsync(core, fd, 0, path, steady=True)
    finally:
        await close(core, fd, steady=True, punt=True)


def _keep(fd: int, status: os.stat_result) -> None:
    """Gives a file the permissions of another, and its owner if that is allowed."""
    try:
        os.fchown(fd, status.st_uid, status.st_gid)
    except PermissionError:
        pass
    os.fchmod(fd, stat.S_IMODE(status.st_mode))


def _unlink_now(path: StrOrBytesPath) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


async def _fsync_folder(core: Engine, path: StrOrBytesPath, folder: StrOrBytesPath) -> None:
    """Waits until the new name is on the disk."""
    try:
        fd = await open_descriptor(core, folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # a folder that may be written but not read
    try:
        await fsync(core, fd, 0, path, steady=True)
    except OSError as error:
        if error.errno != errno.EINVAL:  # not every file system can sync a folder
            raise
    finally:
        os.close(fd)
