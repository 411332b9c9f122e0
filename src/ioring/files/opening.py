"""``ioring.open``: finds out what kind of file is asked for, gets its descriptor and makes the file."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import io
import operator
import os
import stat
import sys
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, overload

from ioring.files._base import File
from ioring.files._buffered import BufferedFile
from ioring.files._call import open_now
from ioring.files._direct_io import DirectFile
from ioring.files._operations import AT_FDCWD, encode_path, openat
from ioring.files._raw import RawFile
from ioring.files._text import TextFile
from ioring.files.engine import engine_of

if TYPE_CHECKING:
    from _typeshed import FileDescriptorOrPath, OpenBinaryMode, OpenTextMode, StrOrBytesPath

    from ioring.loop._engine import Engine

_T = TypeVar("_T")
_File = TypeVar("_File", bound=File)
_Opener = Callable[[str, int], int]

O_CLOEXEC = os.O_CLOEXEC
KEEP = object()


class Kinds(NamedTuple):
    """The classes that open files have: one without buffers, one that is only written, one that is read, and text."""

    raw: type[RawFile] = RawFile
    writer: type[BufferedFile] = BufferedFile
    reader: type[BufferedFile] = BufferedFile
    text: type[TextFile] = TextFile


KINDS = Kinds()
DIRECT_KINDS = Kinds(raw=DirectFile)


class Mode(NamedTuple):
    """What a mode like ``"r+b"`` means: the flags of open(2), and what may be done."""

    flags: int
    binary: bool
    readable: bool
    writable: bool
    appending: bool


_modes: dict[str, Mode] = {}
"""The modes that were parsed so far: there are not many that are valid."""


class OpenSpec(NamedTuple):
    """How a file is to be opened: the parameters of ``open``, and the classes to choose from."""

    mode: str
    buffering: int = -1
    encoding: str | None = None
    errors: str | None = None
    newline: str | None = None
    closefd: bool = True
    opener: _Opener | None = None
    direct: bool = False
    kinds: Kinds = KINDS

    def checked(self) -> OpenSpec:
        """The same with what follows from it.

        Raises:
            ValueError: the parameters contradict each other.
        """
        mode = parse_mode(self.mode)
        buffering = operator.index(self.buffering)
        if not -(2**31) <= buffering < 2**31:
            raise OverflowError(f"buffering: {buffering} is too large for a size of buffers")
        if mode.binary and self.encoding is not None:
            raise ValueError("binary mode doesn't take an encoding argument")
        if mode.binary and self.errors is not None:
            raise ValueError("binary mode doesn't take an errors argument")
        if mode.binary and self.newline is not None:
            raise ValueError("binary mode doesn't take a newline argument")
        if buffering == 0 and not mode.binary:
            raise ValueError("can't have unbuffered text I/O")
        if not self.direct:
            return self if isinstance(self.buffering, int) else self._replace(buffering=buffering)
        if not mode.binary or buffering > 0:
            raise ValueError("direct I/O is binary and without buffers")
        if mode.appending:
            raise ValueError("direct I/O is at whole blocks, and cannot append")
        return self._replace(buffering=0, kinds=DIRECT_KINDS)


class FileSpec(NamedTuple):
    """What a file object is told of its descriptor."""

    mode: str  # what the attribute `mode` says
    readable: bool
    writable: bool
    seekable: bool
    tracked: bool  # the file keeps its position itself
    locking: bool  # the descriptor's own position has to be locked when it is used
    closefd: bool
    buffer_size: int  # 0: without


class Positions(NamedTuple):
    """What positions a descriptor has: the fields of FileSpec of the same names."""

    seekable: bool = False
    tracked: bool = False
    locking: bool = False


class Opening(Generic[_T]):
    """What ``open`` returns: awaited, or entered with ``async with``, it gives the file."""

    __slots__ = ("_coro", "_obj")

    def __init__(self, coro: Coroutine[Any, Any, _T]) -> None:
        self._coro = coro
        self._obj: _T | None = None

    def __await__(self) -> Generator[Any, Any, _T]:
        if self._obj is None:
            self._obj = yield from self._coro.__await__()
        return self._obj

    async def __aenter__(self) -> _T:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        opened: Any = self._obj
        self._obj = None
        await opened.close()


def parse_mode(mode: str) -> Mode:
    """The meaning of a mode.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(mode, str):
        raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
    known = _modes.get(mode)
    if known is not None:
        return known
    letters = set(mode)
    if letters - set("axrwb+t") or len(mode) > len(letters):
        raise ValueError(f"invalid mode: {mode!r}")
    if len(letters & set("axrw")) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    if {"t", "b"} <= letters:
        raise ValueError("can't have text and binary mode at once")
    updating = "+" in letters
    readable = "r" in letters or updating
    writable = "r" not in letters or updating
    flags = (os.O_RDWR if updating else os.O_RDONLY if readable else os.O_WRONLY) | {
        "r": 0,
        "w": os.O_CREAT | os.O_TRUNC,
        "a": os.O_CREAT | os.O_APPEND,
        "x": os.O_CREAT | os.O_EXCL,
    }[(letters & set("axrw")).pop()]
    _modes[mode] = Mode(flags, "b" in letters, readable, writable, "a" in letters)
    return _modes[mode]


async def open_descriptor(
    engine: Engine, path: StrOrBytesPath, flags: int, mode: int = 0o666, folder: int = AT_FDCWD
) -> int:
    """open(2): at once when the kernel has the names in its cache, else by a request.

    Raises:
        OSError: with ``path`` as its ``filename``.
    """
    name = encode_path(path)
    if not flags & (os.O_CREAT | os.O_TRUNC):
        fd = open_now(folder, name, flags, 0)
        if fd >= 0:
            return fd
        if fd != -errno.EAGAIN and fd != -errno.EINVAL and fd != -errno.ENOSYS:
            raise OSError(-fd, os.strerror(-fd), path)
    return await openat(engine, folder, name, flags, mode, path, punt=True)


async def open_file(file: FileDescriptorOrPath, spec: OpenSpec) -> Any:
    """What ``open`` awaits."""
    spec = spec.checked()
    flags = parse_mode(spec.mode).flags
    if spec.direct:
        flags |= os.O_DIRECT
    host = asyncio.get_running_loop()
    ours = False  # whether nobody else has the descriptor
    if isinstance(file, int):
        if file < 0:
            raise ValueError("negative file descriptor")
        if spec.direct:
            raise ValueError("direct I/O is asked for when a path is opened")
        status_of(file, file)  # if that fails it stays open, as with the built-in
        fd = file
    else:
        file = os.fspath(file)
        if not spec.closefd:
            raise ValueError("Cannot use closefd=False with file name")
        sys.audit("open", file, spec.mode, flags)
        if spec.opener is not None:
            fd = await _open_by_opener(host, file, flags, spec.opener)
        else:
            try:
                fd = await open_descriptor(engine_of(host), file, flags)
                ours = True
            except OSError as error:
                if spec.direct and error.errno == errno.EINVAL:
                    error.strerror = "the file system has no direct I/O"
                raise
    try:
        return make_file(host, fd, file, spec, ours)
    except BaseException:
        if spec.closefd:
            os.close(fd)
        raise


async def _open_by_opener(host: asyncio.AbstractEventLoop, file: Any, flags: int, opener: _Opener) -> int:
    fd = await host.run_in_executor(None, opener, file, flags | O_CLOEXEC)
    if not isinstance(fd, int):
        raise TypeError("expected integer from opener")
    if fd < 0:
        raise ValueError(f"opener returned {fd}")
    os.set_inheritable(fd, False)
    return fd


def status_of(fd: int, name: FileDescriptorOrPath) -> os.stat_result:
    """What the descriptor is.

    Raises:
        IsADirectoryError: it is a directory.
    """
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    return status


def make_file(host: asyncio.AbstractEventLoop, fd: int, name: FileDescriptorOrPath, spec: OpenSpec, ours: bool) -> Any:
    """A file for a descriptor, ``ours`` if nobody else has it. The descriptor stays the caller's when that fails."""
    mode, kinds, buffering = parse_mode(spec.mode), spec.kinds, spec.buffering
    status = status_of(fd, name)
    whence = os.SEEK_END if mode.appending else os.SEEK_CUR
    if ours and stat.S_ISREG(status.st_mode) and status.st_size:
        positions = _APPENDED if mode.appending else _OURS
        os.lseek(fd, 0, whence)
    else:
        positions = find_positions(fd, mode.readable, mode.writable, ours, whence)
    if (
        mode.readable
        and mode.writable
        and buffering != 0
        and not positions.seekable
        and not answers(os.lseek, fd, 0, 1)
    ):
        raise io.UnsupportedOperation("File or stream is not seekable.")
    size = buffering
    line_buffering = False
    if buffering == 1 or (buffering < 0 and os.isatty(fd)):
        size = -1
        line_buffering = True
    if size < 0:
        size = max(status.st_blksize, io.DEFAULT_BUFFER_SIZE)
    kind: type[File] = kinds.raw if buffering == 0 else kinds.reader if mode.readable else kinds.writer
    told = FileSpec(binary_mode(spec.mode), mode.readable, mode.writable, *positions, spec.closefd, size)
    opened: Any = new_file(kind, host, fd, name, told)
    if mode.binary:
        return opened
    try:
        return kinds.text(opened, spec.encoding, spec.errors, spec.newline, line_buffering, mode=spec.mode)
    except BaseException:
        opened._disown()
        raise


def binary_mode(mode: str) -> str:
    """What a binary file says that its mode is, as ``io.FileIO``: ``"rb+"`` for ``"r+b"``.

    Before Python 3.15 also for ``"w+b"``.
    """
    kind = next(letter for letter in "xawr" if letter in mode)
    if kind == "w" and "+" in mode and sys.version_info < (3, 15):
        kind = "r"
    return kind + "b" + ("+" if "+" in mode else "")


_OURS = Positions(seekable=True, tracked=True, locking=True)
_APPENDED = Positions(seekable=True)


def find_positions(fd: int, readable: bool, writable: bool, ours: bool, whence: int = os.SEEK_CUR) -> Positions:
    """What positions a descriptor has; it goes to its end, or stays.

    Eventfds, inotify and the like have none but answer lseek(2). Most of /proc can be sought, but knows no offsets for
    writing.
    """
    if not answers(os.lseek, fd, 0, whence) or (readable and not answers(os.preadv, fd, [], 0)):
        return Positions()
    at_offsets = not writable or answers(os.pwritev, fd, [], 0)
    if not at_offsets or fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:
        return _APPENDED
    return Positions(seekable=True, tracked=ours, locking=True)


def answers(call: Callable[..., object], *arguments: object) -> bool:
    """Whether a system call does not fail."""
    try:
        call(*arguments)
    except OSError:
        return False
    return True


def new_file(kind: type[_File], host: asyncio.AbstractEventLoop | None, fd: int, name: Any, spec: FileSpec) -> _File:
    """A file of some kind for a descriptor: for the loop ``host``, or for any when that is None."""
    opened = kind.__new__(kind)
    opened._open(engine_of, host, fd, name, spec)
    return opened


@overload
def open(
    file: StrOrBytesPath,
    mode: OpenBinaryMode,
    buffering: int = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
    *,
    direct: Literal[True],
) -> Opening[DirectFile]: ...
@overload
def open(
    file: FileDescriptorOrPath,
    mode: OpenTextMode = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
    *,
    direct: Literal[False] = False,
) -> Opening[TextFile]: ...
@overload
def open(  # type: ignore[overload-overlap]
    file: FileDescriptorOrPath,
    mode: OpenBinaryMode,
    buffering: Literal[0],
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
    *,
    direct: Literal[False] = False,
) -> Opening[RawFile]: ...
@overload
def open(
    file: FileDescriptorOrPath,
    mode: OpenBinaryMode,
    buffering: int = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
    *,
    direct: Literal[False] = False,
) -> Opening[BufferedFile]: ...
@overload
def open(
    file: FileDescriptorOrPath,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
    *,
    direct: bool = False,
) -> Opening[Any]: ...
def open(
    file: FileDescriptorOrPath,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: _Opener | None = None,
    *,
    direct: bool = False,
) -> Opening[Any]:
    """Opens a file (``open``, ``aiofiles.open``): ``await`` it, or use it with ``async with``.

    The parameters are those of the built-in ``open``. An ``opener`` is called in the loop's executor. With ``direct``
    the file is read and written past the page cache (``O_DIRECT``): binary, without buffers, and written to at whole
    blocks only.
    """
    if isinstance(mode, str) and "b" not in mode:
        encoding = io.text_encoding(encoding)
    return Opening(open_file(file, OpenSpec(mode, buffering, encoding, errors, newline, closefd, opener, direct)))


@overload
def wrap(file: io.FileIO, *, kinds: Kinds = ..., ours: bool = ...) -> RawFile: ...
@overload
def wrap(
    file: io.BufferedReader | io.BufferedWriter | io.BufferedRandom, *, kinds: Kinds = ..., ours: bool = ...
) -> BufferedFile: ...
@overload
def wrap(file: io.TextIOWrapper, *, newline: str | None, kinds: Kinds = ..., ours: bool = ...) -> TextFile: ...
def wrap(file: Any, *, newline: Any = KEEP, kinds: Kinds = KINDS, ours: bool = False) -> Any:
    """An asynchronous file with the descriptor and the position of a blocking one, which is open.

    Closing it closes the blocking one too, which must not be used meanwhile.

    Parameters:
        file: an ``io.FileIO``, with or without buffers, or a text file over it.
        newline: for a text file, what it was opened with: the file itself does not tell.
        kinds: the classes to choose from.
        ours: whether nobody else has the descriptor; then the file can keep the position itself, which is faster.

    Raises:
        TypeError: it is none of these.
        io.UnsupportedOperation: it may have read ahead of a pipe or terminal, or its position is within a character.
    """
    binary = file.buffer if isinstance(file, io.TextIOWrapper) else file
    raw = binary.raw if isinstance(binary, io.BufferedReader | io.BufferedWriter | io.BufferedRandom) else binary
    if not isinstance(raw, io.FileIO):
        raise TypeError(f"Unsupported io type: {file!r}.")
    if binary is not file and newline is KEEP:
        raise TypeError("say newline=, as the text file was opened with: it does not tell")
    file.flush()
    readable, writable, seekable = raw.readable(), raw.writable(), raw.seekable()
    if seekable:
        place = file.tell()
        if place >> 64:
            raise io.UnsupportedOperation(
                "the position of the text file is within something that is decoded as a whole"
            )
        raw.seek(place)
    elif raw is not binary and readable:
        raise io.UnsupportedOperation("what was read ahead of a pipe or terminal cannot be taken over")
    kind: type[File] = kinds.raw if raw is binary else kinds.reader if readable else kinds.writer
    size = 0 if raw is binary else io.DEFAULT_BUFFER_SIZE
    positions = find_positions(raw.fileno(), readable, writable, ours)
    spec = FileSpec(raw.mode, readable, writable, *positions, False, size)
    opened: Any = new_file(kind, None, raw.fileno(), raw.name, spec)
    opened._belongs_to(file)
    if binary is file:
        return opened
    mode = getattr(file, "mode", raw.mode)
    return kinds.text(opened, file.encoding, file.errors, newline, file.line_buffering, mode=mode)
