"""Copying a whole file: ``ioring.whole.copy``, by the kernel, in the loop's executor."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, AnyStr, overload

from ioring.files._path_requests import work
from ioring.files.engine import running

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

COPY_PIECE = 8 << 20
"""The kernel copies so many bytes at a time."""

READ_SIZE = 1 << 20
"""What cannot be copied by the kernel is read in pieces of this."""

FICLONE = 0x40049409
"""The ioctl that makes two files share their storage."""


@overload
async def copy(
    src: StrOrBytesPath,
    dst: AnyStr,
    *,
    progress: Callable[[int, int], object] | None = None,
    chunk: int = COPY_PIECE,
) -> AnyStr: ...
@overload
async def copy(
    src: StrOrBytesPath,
    dst: os.PathLike[AnyStr],
    *,
    progress: Callable[[int, int], object] | None = None,
    chunk: int = COPY_PIECE,
) -> AnyStr: ...
async def copy(
    src: StrOrBytesPath,
    dst: Any,
    *,
    progress: Callable[[int, int], object] | None = None,
    chunk: int = COPY_PIECE,
) -> Any:
    """Copies a file with its permissions; the path of the copy (``shutil.copy``). In the executor.

    The file system shares the storage of both if it can (FICLONE); otherwise the kernel copies from one to the other,
    ``chunk`` bytes at a time, and leaves holes where the original has them. After each ``progress(done, size)`` is
    called, in the loop's thread. The ring has no operation for any of that.

    When it is cancelled or fails, the copy is incomplete.

    Args:
        dst: a path, or a folder, which gets a file of the same name.

    Raises:
        shutil.SameFileError: both are one file.
        shutil.SpecialFileError: one of them is a FIFO.
    """
    if chunk <= 0:
        raise ValueError("chunk must be positive")
    copying = _Copying(os.fspath(src), os.fspath(dst), chunk)
    await _carry_out(copying, progress)
    return copying.dst


async def copy_content(src: StrOrBytesPath, dst: StrOrBytesPath) -> None:
    """Copies the content of a file alone, to a file that is made or replaced. In the executor."""
    await _carry_out(_Copying(os.fspath(src), os.fspath(dst), COPY_PIECE, content_only=True), None)


async def _carry_out(copying: _Copying, progress: Callable[[int, int], object] | None) -> None:
    core = running()
    try:
        await work(core, copying.begin, True)
        while not copying.finished:
            if progress is not None:
                progress(copying.done, copying.size)
            await work(core, copying.step, True)
        if progress is not None:
            progress(copying.done, copying.size)
    finally:
        if copying.opened:
            await work(core, copying.close, True)


class _Copying:
    """A copy under way. Its methods are called in threads, one after the other."""

    def __init__(self, src: Any, dst: Any, chunk: int, *, content_only: bool = False) -> None:
        self.src = src
        self.dst = dst
        self.chunk = chunk
        self.content_only = content_only  # without permissions, and not into a folder
        self.done = 0
        self.size = 0
        self.finished = False
        self.source = self.target = -1
        self.regular = True
        self.copies = True  # copy_file_range works

    @property
    def opened(self) -> bool:
        return self.source >= 0 or self.target >= 0

    def begin(self) -> None:
        """Opens both, and copies as much as one step does."""
        if not self.content_only and os.path.isdir(self.dst):
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
        # Without O_TRUNC: it may turn out to be the same file.
        self.target = os.open(self.dst, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if os.path.samestat(status, os.fstat(self.target)):
            raise shutil.SameFileError(f"{self.src!r} and {self.dst!r} are the same file")
        self.size = status.st_size
        self.regular = stat.S_ISREG(os.fstat(self.target).st_mode)
        if self.regular:
            os.ftruncate(self.target, 0)
        # Files in /proc, whose size is said to be 0, can only be read.
        self.copies = self.regular and stat.S_ISREG(status.st_mode) and self.size > 0
        if self.copies and self._clone():
            self.done = self.size
            self._finish()
        else:
            self.step()

    def _clone(self) -> bool:
        try:
            fcntl.ioctl(self.target, FICLONE, self.source)
        except OSError:
            return False
        return True

    def step(self) -> None:
        """Copies up to a chunk."""
        try:
            self._step()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.src, None, self.dst) from None

    def _step(self) -> None:
        end = self.done + self.chunk
        while self.done < end:
            count = self._copy(self._next_data(), end)
            if count == 0:
                self._finish()
                return

    def _next_data(self) -> int:
        """The offset of the next bytes that are not in a hole."""
        if not self.copies:
            return self.done
        try:
            return os.lseek(self.source, self.done, os.SEEK_DATA)
        except OSError as error:
            # ENXIO: there are none up to the end. Other errors: the file system does not know holes.
            return os.fstat(self.source).st_size if error.errno == errno.ENXIO else self.done

    def _copy(self, start: int, end: int) -> int:
        """Copies from ``start`` to the end of the chunk or to the next hole. How far it came, with the hole before."""
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
        data = os.read(self.source, min(end - self.done, READ_SIZE))
        left = memoryview(data)
        while left:
            left = left[os.write(self.target, left) :]
        self.done += len(data)
        return self.done - begun

    def _finish(self) -> None:
        if self.regular:
            os.ftruncate(self.target, self.done)  # it may end with a hole
            if not self.content_only:
                os.fchmod(self.target, stat.S_IMODE(os.fstat(self.source).st_mode))
        self.finished = True

    def close(self) -> None:
        for fd in (self.source, self.target):
            if fd >= 0:
                os.close(fd)
        self.source = self.target = -1
