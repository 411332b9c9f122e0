"""Whole files: read, written, copied in one call.

A small file that the kernel has in its caches is opened, read and closed at once, within ten microseconds. Anything
else goes by requests, one after another: a chain of linked ones in direct slots was measured and takes as long, since
its parts are done by the same workers of the kernel. Large files are read in several parts at a time.

Every request on a descriptor of this module is steady: it is over before a cancellation goes on. So when the descriptor
is closed nothing is under way on it, and no number of a descriptor is used by another file too early.
"""

import asyncio
import errno
import fcntl
import io
import os
import secrets
import shutil
import stat
import sys
from functools import partial

from ioring.files import os_calls as calls
from ioring.files._path_requests import empty_bytes, read_part, read_small, work
from ioring.files._requests import call, flat
from ioring.files.engine import engine_of
from ioring.files.opening import AT_FDCWD, encode_path, make_file, open_descriptor
from ioring.ring.constants import Op

PART = 262144
"""A large file is read in parts of this: as much as one turn of the loop may read at once."""

PARTS_AT_ONCE = 8

PIECE = 1 << 20
"""And written in these."""

TEXT_PIECE = 262144
"""Longer text is turned into bytes and back in pieces, with turns of the loop in between."""

COPY_PIECE = 8 << 20

FICLONE = 0x40049409


def _engine():
    return engine_of(asyncio.get_running_loop())


async def _close(engine, fd):
    """Closes a file that was written: what that makes a file system do, a worker of the kernel does."""
    await call(engine, Op.CLOSE, partial(os.close, fd), fd=fd, punt=True, steady=True)


# Reading.


async def read_bytes(path):
    """All bytes of a file (``pathlib.Path.read_bytes``).

    Raises:
        OSError: with ``path`` as its ``filename``.
    """
    engine = _engine()
    path = os.fspath(path)
    name = encode_path(path)
    sys.audit("open", path, "rb", os.O_RDONLY | os.O_CLOEXEC)
    found = await read_small(engine, path, AT_FDCWD, name)
    if type(found) is bytes:
        return found
    fd = found if found >= 0 else await open_descriptor(engine, path, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            return await _read(engine, path, fd, status.st_size)
        file = make_file(asyncio.get_running_loop(), fd, path, "rb", 0, None, None, None, True)
        fd = -1
    finally:
        if fd >= 0:
            os.close(fd)
    async with file:
        return await file.readall()


async def _read(engine, path, fd, size):
    """All bytes of an ordinary file that is ``size`` bytes long, as far as is known."""
    data = empty_bytes(size)
    if size <= PART:
        end = await read_part(engine, path, fd, 0, data, 0, size) if size else 0
    else:
        end = await _read_parts(engine, path, fd, data, size)
    if end < size:  # it is shorter by now
        return data[:end]
    if size and os.fstat(fd).st_size == size:
        return data
    # It has grown, or it is one of those in /proc, which tell no size.
    pieces = [data]
    while True:
        piece = empty_bytes(PART)
        count = await read_part(engine, path, fd, end, piece, 0, PART)
        pieces.append(piece[:count])
        end += count
        if count == 0:
            return b"".join(pieces)


async def _read_parts(engine, path, fd, data, size):
    """Fills ``data`` from a file, in several parts at a time; up to where there is no gap."""
    starts = iter(range(0, size, PART))
    end = size

    async def worker():
        nonlocal end
        for start in starts:
            count = min(PART, size - start)
            read = await read_part(engine, path, fd, start, data, start, count)
            if read < count:
                end = min(end, start + read)

    await _together([worker() for _ in range(PARTS_AT_ONCE)])
    return end


async def _together(coroutines):
    """Runs them all to their ends: nothing of them is under way afterwards, whatever happens."""
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
        failures = [task.exception() for task in tasks if not task.cancelled() and task.exception() is not None]
        if cancellation is not None:
            raise cancellation
    if failures:
        raise failures[0]


async def read_text(path, encoding=None, errors=None, newline=None):
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


async def write_bytes(path, data, *, atomic=False):
    """Makes a file of bytes; how many (``pathlib.Path.write_bytes``).

    With ``atomic`` whoever opens the file finds the old content or the new, also after a crash: the bytes go to another
    file beside, which then takes its name. Nothing is left of that when something fails or when it is cancelled. The
    permissions of the old file are kept, and its owner if that is allowed; a symbolic link stays one.

    Raises:
        OSError: with ``path`` as its ``filename``.
    """
    path = os.fspath(path)
    encode_path(path)
    view = flat(data, False)
    if atomic:
        await _write_atomic(_engine(), path, view)
    else:
        await _write(_engine(), path, view)
    return len(view)


async def write_text(path, data, encoding=None, errors=None, newline=None, *, atomic=False):
    """Makes a file of text; how many characters (``pathlib.Path.write_text``). See ``write_bytes``."""
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


async def _write(engine, path, view):
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    sys.audit("open", path, "wb", flags)
    fd = await open_descriptor(engine, path, flags)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            await _write_pieces(engine, path, fd, view)
            return
        file = make_file(asyncio.get_running_loop(), fd, path, "wb", 0, None, None, None, True)
        fd = -1
    finally:
        if fd >= 0:
            await _close(engine, fd)
    async with file:
        await file.write(view)


async def _write_pieces(engine, path, fd, view):
    done = 0
    while done < len(view):
        piece = view[done : done + PIECE]
        done += await call(
            engine,
            Op.WRITE,
            partial(os.pwrite, fd, piece, done),
            path=path,
            fd=fd,
            addr=piece,
            length=len(piece),
            off=done,
            steady=True,
        )


async def _fsync(engine, path, fd):
    await call(engine, Op.FSYNC, partial(os.fsync, fd), path=path, fd=fd, steady=True)


async def _write_atomic(engine, path, view):
    target = path
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
    folder, name = os.path.split(target)
    name = f".{secrets.token_hex(8)}.tmp"
    beside = os.path.join(folder, os.fsencode(name) if isinstance(folder, bytes) else name)
    sys.audit("open", target, "wb", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        await _make(engine, path, beside, view, status)
        await _rename(engine, path, beside, target)
    except GeneratorExit:
        # The loop has gone without waiting for anybody.
        _unlink_now(beside)
        raise
    except BaseException:
        try:
            await calls.unlink(beside)
        except OSError:
            pass  # it was never made, or has its name already
        raise
    await _fsync_folder(engine, path, folder or ".")


async def _make(engine, path, beside, view, status):
    """Makes and fills the file that will take the place of another, which has that status, or of none."""
    mode = 0o666 if status is None else stat.S_IMODE(status.st_mode) & 0o777
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = await call(
        engine,
        Op.OPENAT,
        partial(os.open, beside, flags, mode),
        path=path,
        fd=AT_FDCWD,
        addr=encode_path(beside),
        length=mode,
        flags=flags,
        descriptor=True,
        steady=True,
    )
    try:
        made = os.fstat(fd)
        if status is not None and (made.st_mode, made.st_uid, made.st_gid) != (
            status.st_mode,
            status.st_uid,
            status.st_gid,
        ):
            await work(engine, partial(_keep, fd, status), True)
        await _write_pieces(engine, path, fd, view)
        await _fsync(engine, path, fd)
    finally:
        await _close(engine, fd)


def _keep(fd, status):
    """Gives a file the owner, if that is allowed, and the permissions of another."""
    try:
        os.fchown(fd, status.st_uid, status.st_gid)
    except PermissionError:
        pass
    os.fchmod(fd, stat.S_IMODE(status.st_mode))


async def _rename(engine, path, old, new):
    await call(
        engine,
        Op.RENAMEAT,
        partial(os.rename, old, new),
        path=path,
        fd=AT_FDCWD,
        addr=encode_path(old),
        length=AT_FDCWD & 0xFFFFFFFF,
        off=encode_path(new),
        steady=True,
    )


def _unlink_now(path):
    try:
        os.unlink(path)
    except OSError:
        pass


async def _fsync_folder(engine, path, folder):
    """The new name is on the disk too."""
    try:
        fd = await open_descriptor(engine, folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # it may be written but not read
    try:
        await _fsync(engine, path, fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system without
            raise
    finally:
        os.close(fd)


# Copying.


async def copy(src, dst, *, progress=None, chunk=COPY_PIECE):
    """Copies a file with its permissions; the path of the copy (``shutil.copy``). In the executor.

    The file system shares the storage of both if it can (FICLONE); otherwise the kernel copies from one to the other,
    ``chunk`` bytes at a time, and leaves holes where the original has them. After each ``progress(done, size)`` is
    called, in the loop's thread. The ring has no operation for any of that.

    When it is cancelled or fails the copy is not whole.

    Args:
        dst: a path, or a folder, which gets a file of the same name.

    Raises:
        shutil.SameFileError: both are one file.
        shutil.SpecialFileError: one of them is a FIFO.
    """
    engine = _engine()
    if chunk <= 0:
        raise ValueError("chunk must be positive")
    copying = _Copying(os.fspath(src), os.fspath(dst), chunk)
    try:
        await work(engine, copying.begin, True)
        while not copying.finished:
            if progress is not None:
                progress(copying.done, copying.size)
            await work(engine, copying.step, True)
        if progress is not None:
            progress(copying.done, copying.size)
    finally:
        if copying.opened:
            await work(engine, copying.close, True)
    return copying.dst


class _Copying:
    """A copy under way. Its methods are called in threads, one after the other."""

    def __init__(self, src, dst, chunk):
        self.src = src
        self.dst = dst
        self.chunk = chunk
        self.done = 0
        self.size = 0
        self.finished = False
        self.source = self.target = -1
        self.copies = True  # copy_file_range works

    @property
    def opened(self):
        return self.source >= 0 or self.target >= 0

    def begin(self):
        """Opens both, and copies as much as one step does."""
        if os.path.isdir(self.dst):
            self.dst = os.path.join(self.dst, os.path.basename(self.src))
        for path in (self.src, self.dst):
            try:
                mode = os.stat(path).st_mode
            except OSError:
                continue
            if stat.S_ISFIFO(mode):
                raise shutil.SpecialFileError(f"`{os.fsdecode(path)}` is a named pipe")
        self.source = os.open(self.src, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self.source)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.src)
        # Not emptied before it is known to be another file.
        self.target = os.open(self.dst, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if os.path.samestat(status, os.fstat(self.target)):
            raise shutil.SameFileError(f"{self.src!r} and {self.dst!r} are the same file")
        self.size = status.st_size
        self.regular = stat.S_ISREG(os.fstat(self.target).st_mode)
        if self.regular:
            os.ftruncate(self.target, 0)
        # Files of /proc tell no size, and can only be read.
        self.copies = self.regular and stat.S_ISREG(status.st_mode) and self.size > 0
        if self.copies and self._clone():
            self.done = self.size
            self._finish()
        else:
            self.step()

    def _clone(self):
        try:
            fcntl.ioctl(self.target, FICLONE, self.source)
        except OSError:
            return False
        return True

    def step(self):
        """Copies up to a chunk."""
        try:
            self._step()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.src, None, self.dst) from None

    def _step(self):
        end = self.done + self.chunk
        while self.done < end:
            count = self._copy(self._next_data(), end)
            if count == 0:
                self._finish()
                return

    def _next_data(self):
        """Where the next bytes are that are no hole."""
        if not self.copies:
            return self.done
        try:
            return os.lseek(self.source, self.done, os.SEEK_DATA)
        except OSError as error:
            # None up to the end; or the file system does not know of holes.
            return os.fstat(self.source).st_size if error.errno == errno.ENXIO else self.done

    def _copy(self, start, end):
        """Bytes from there to the end of the chunk, or of what is no hole; how far it went, with the hole before."""
        begun = self.done
        self.done = max(start, begun)
        if self.done >= end:
            return self.done - begun
        if self.copies:
            try:
                limit = min(end, os.lseek(self.source, self.done, os.SEEK_HOLE))
            except OSError:
                limit = end
            try:
                count = os.copy_file_range(self.source, self.target, limit - self.done, self.done, self.done)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
                    raise
                self.copies = False
                os.lseek(self.source, self.done, os.SEEK_SET)
                os.lseek(self.target, self.done, os.SEEK_SET)
            else:
                self.done += count
                return self.done - begun
        data = os.read(self.source, min(end - self.done, PIECE))
        left = memoryview(data)
        while left:
            left = left[os.write(self.target, left) :]
        self.done += len(data)
        return self.done - begun

    def _finish(self):
        if self.regular:
            os.ftruncate(self.target, self.done)  # it may end with a hole
            os.fchmod(self.target, stat.S_IMODE(os.fstat(self.source).st_mode))
        self.finished = True

    def close(self):
        for fd in (self.source, self.target):
            if fd >= 0:
                os.close(fd)
        self.source = self.target = -1
