"""``ioring.open``: files without threads."""

import asyncio
import errno
import io
import operator
import os
import stat
import sys
from functools import partial
from typing import NamedTuple

from ioring.files._buffered import BufferedFile
from ioring.files._direct_io import DirectFile
from ioring.files._raw import RawFile
from ioring.files._requests import call, open_now
from ioring.files._text import TextFile
from ioring.files.engine import engine_of
from ioring.ring.constants import Op

AT_FDCWD = -100
O_CLOEXEC = os.O_CLOEXEC
KEEP = object()


class Kinds(NamedTuple):
    """The classes of what is opened: without buffers, only written to, also or only read, and of text."""

    raw: type = RawFile
    writer: type = BufferedFile
    reader: type = BufferedFile
    text: type = TextFile


KINDS = Kinds()
DIRECT_KINDS = Kinds(raw=DirectFile)


class Opening:
    """What ``open`` returns: awaited, or entered with ``async with``, it gives the file."""

    __slots__ = ("_coro", "_obj")

    def __init__(self, coro):
        self._coro = coro
        self._obj = None

    def __await__(self):
        if self._obj is None:
            self._obj = yield from self._coro.__await__()
        return self._obj

    async def __aenter__(self):
        return await self

    async def __aexit__(self, *exception):
        opened, self._obj = self._obj, None
        await opened.close()


def parse_mode(mode):
    """The flags of open(2) and what may be done, of a mode like ``"r+b"``.

    Returns flags, binary, readable, writable, appending.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(mode, str):
        raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
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
    return flags, "b" in letters, readable, writable, "a" in letters


def encode_path(path):
    """A path as the kernel takes it.

    Raises:
        TypeError: it is none.
        ValueError: it has a NUL in it.
    """
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


async def open_descriptor(engine, path, flags, mode=0o666, folder=AT_FDCWD):
    """open(2): at once when the kernel knows the names by heart, else by a request.

    Raises:
        OSError: with ``path`` as its ``filename``.
    """
    encoded = encode_path(path)
    if not flags & (os.O_CREAT | os.O_TRUNC):
        fd = open_now(folder, encoded, flags, 0)
        if fd >= 0:
            return fd
        if fd != -errno.EAGAIN and fd != -errno.EINVAL and fd != -errno.ENOSYS:
            raise OSError(-fd, os.strerror(-fd), path)
    blocking = partial(os.open, path, flags | O_CLOEXEC, mode, dir_fd=None if folder == AT_FDCWD else folder)
    return await call(
        engine,
        Op.OPENAT,
        blocking,
        path=path,
        fd=folder,
        addr=encoded + b"\0",
        length=mode,
        flags=flags | O_CLOEXEC,
        descriptor=True,
        punt=True,  # in the loop's thread the kernel would not wait for a FIFO's other end, and refuse to write to it
    )


async def _open(file, mode, buffering, encoding, errors, newline, closefd, opener, direct=False, kinds=KINDS):
    flags, binary, _, _, appending = parse_mode(mode)
    buffering = operator.index(buffering)
    if not -(2**31) <= buffering < 2**31:
        raise OverflowError(f"buffering: {buffering} is too large for a size of buffers")
    if binary and encoding is not None:
        raise ValueError("binary mode doesn't take an encoding argument")
    if binary and errors is not None:
        raise ValueError("binary mode doesn't take an errors argument")
    if binary and newline is not None:
        raise ValueError("binary mode doesn't take a newline argument")
    if buffering == 0 and not binary:
        raise ValueError("can't have unbuffered text I/O")
    if direct:
        if not binary or buffering > 0:
            raise ValueError("direct I/O is binary and without buffers")
        if appending:
            raise ValueError("direct I/O is at whole blocks, and cannot append")
        flags |= os.O_DIRECT
        kinds = DIRECT_KINDS
        buffering = 0
    host = asyncio.get_running_loop()
    if isinstance(file, int):
        if file < 0:
            raise ValueError("negative file descriptor")
        if direct:
            raise ValueError("direct I/O is asked for when a path is opened")
        status_of(file, file)  # if that fails it stays open, as with the built-in
        fd = file
    else:
        file = os.fspath(file)
        if not closefd:
            raise ValueError("Cannot use closefd=False with file name")
        sys.audit("open", file, mode, flags)
        if opener is not None:
            fd = await host.run_in_executor(None, opener, file, flags | O_CLOEXEC)
            if not isinstance(fd, int):
                raise TypeError("expected integer from opener")
            if fd < 0:
                raise ValueError(f"opener returned {fd}")
            os.set_inheritable(fd, False)
        else:
            try:
                fd = await open_descriptor(engine_of(host), file, flags)
            except OSError as error:
                if direct and error.errno == errno.EINVAL:
                    error.strerror = "the file system has no direct I/O"
                raise
    try:
        return make_file(host, fd, file, mode, buffering, encoding, errors, newline, closefd, kinds)
    except BaseException:
        if closefd:
            os.close(fd)
        raise


def status_of(fd, name):
    """What the descriptor is.

    Raises:
        IsADirectoryError: it is a directory.
    """
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    return status


def make_file(host, fd, name, mode, buffering, encoding, errors, newline, closefd, kinds=KINDS):
    """A file object for a descriptor."""
    _, binary, readable, writable, appending = parse_mode(mode)
    status = status_of(fd, name)
    seekable = has_positions(fd, os.SEEK_END if appending else os.SEEK_CUR)
    if readable and writable and not seekable and buffering != 0:
        raise io.UnsupportedOperation("File or stream is not seekable.")
    size = buffering
    line_buffering = False
    if buffering == 1 or (buffering < 0 and os.isatty(fd)):
        size = -1
        line_buffering = True
    if size < 0:
        size = max(status.st_blksize, io.DEFAULT_BUFFER_SIZE)
    kind = kinds.raw if buffering == 0 else kinds.reader if readable else kinds.writer
    told = binary_mode(mode)
    opened = new_file(kind, host, fd, name, told, readable, writable, seekable, appending, closefd, size)
    if binary:
        return opened
    try:
        return kinds.text(opened, encoding, errors, newline, line_buffering, mode=mode)
    except BaseException:
        opened._disown()
        raise


def binary_mode(mode):
    """What a binary file says that its mode is, as ``io.FileIO``: ``"rb+"`` for ``"r+b"`` and for ``"w+b"``."""
    kind = "x" if "x" in mode else "a" if "a" in mode else "r" if "r" in mode or "+" in mode else "w"
    return kind + "b" + ("+" if "+" in mode else "")


def has_positions(fd, whence=os.SEEK_CUR):
    """Whether a descriptor can be sought; it goes to its end, or stays."""
    try:
        os.lseek(fd, 0, whence)
    except OSError:
        return False
    return True


def new_file(kind, host, fd, name, mode, readable, writable, seekable, appending, closefd, size):
    opened = kind.__new__(kind)
    opened._open(engine_of, host, fd, name, mode, readable, writable, seekable, appending, closefd, size)
    return opened


def open(
    file,
    mode="r",
    buffering=-1,
    encoding=None,
    errors=None,
    newline=None,
    closefd=True,
    opener=None,
    *,
    direct=False,
):
    """Opens a file (``open``, ``aiofiles.open``): ``await`` it, or use it with ``async with``.

    The parameters are those of the built-in ``open``. An ``opener`` is called in the loop's executor. With ``direct``
    the file is read and written past the page cache (``O_DIRECT``): binary, without buffers, and written to at whole
    blocks only.
    """
    if isinstance(mode, str) and "b" not in mode:
        encoding = io.text_encoding(encoding)
    return Opening(_open(file, mode, buffering, encoding, errors, newline, closefd, opener, direct))


def wrap(file, *, newline=KEEP, kinds=KINDS):
    """An asynchronous file with the descriptor and the position of a blocking one, which is open.

    Closing it closes the blocking one too, which must not be used meanwhile.

    Parameters:
        file: an ``io.FileIO``, with or without buffers, or a text file over it.
        newline: for a text file, what it was opened with: it does not tell.

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
    seekable = raw.seekable()
    if seekable:
        place = file.tell()
        if place >> 64:
            raise io.UnsupportedOperation(
                "the position of the text file is within something that is decoded as a whole"
            )
        raw.seek(place)
    elif raw is not binary and raw.readable():
        raise io.UnsupportedOperation("what was read ahead of a pipe or terminal cannot be taken over")
    kind = kinds.raw if raw is binary else kinds.reader if raw.readable() else kinds.writer
    size = 0 if raw is binary else io.DEFAULT_BUFFER_SIZE
    readable, writable, appending = raw.readable(), raw.writable(), "a" in raw.mode
    opened = new_file(
        kind, None, raw.fileno(), raw.name, raw.mode, readable, writable, seekable, appending, False, size
    )
    opened._belongs_to(file)
    if binary is file:
        return opened
    mode = getattr(file, "mode", raw.mode)
    return kinds.text(opened, file.encoding, file.errors, newline, file.line_buffering, mode=mode)
