"""``open`` and the kinds of files. No thread pool is behind them; the name is aiofiles'."""

import io
from functools import singledispatch

from ioring.aiofiles.base import AiofilesContextManager
from ioring.aiofiles.threadpool.binary import (
    AsyncBufferedIOBase,
    AsyncBufferedReader,
    AsyncFileIO,
    AsyncWrappedBinary,
)
from ioring.aiofiles.threadpool.text import AsyncTextIOWrapper, AsyncWrappedText
from ioring.files import opening as files
from ioring.files.standard_streams import stderr, stderr_bytes, stdin, stdin_bytes, stdout, stdout_bytes

__all__ = ("open", "stderr", "stderr_bytes", "stdin", "stdin_bytes", "stdout", "stdout_bytes")

sync_open = open

KINDS = files.Kinds(AsyncFileIO, AsyncBufferedIOBase, AsyncBufferedReader, AsyncTextIOWrapper)


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
    loop=None,
    executor=None,
):
    """Opens a file (``aiofiles.open``): ``await`` it, or use it with ``async with``."""
    if isinstance(mode, str) and "b" not in mode:
        encoding = io.text_encoding(encoding)
    spec = files.OpenSpec(mode, buffering, encoding, errors, newline, closefd, opener, kinds=KINDS)
    return AiofilesContextManager(files.open_file(file, spec))


@singledispatch
def wrap(file, *, loop=None, executor=None):
    """An open blocking file as an asynchronous one, which closes it when it is closed.

    Binary files with a descriptor are read and written without threads. The methods of all others are called in the
    executor: text files, which do not tell their newline mode; pipes that may have been read ahead of; files in memory.
    """
    raise TypeError(f"Unsupported io type: {file}.")


@wrap.register(io.TextIOBase)
def _(file, *, loop=None, executor=None):
    return AsyncWrappedText(file, loop, executor)


@wrap.register(io.BufferedIOBase)
@wrap.register(io.FileIO)
def _(file, *, loop=None, executor=None):
    try:
        return files.wrap(file, kinds=KINDS)
    except (TypeError, io.UnsupportedOperation):
        return AsyncWrappedBinary(file, loop, executor)
