"""``open`` and the kinds of files. No thread pool is behind them; the name is aiofiles'."""

from __future__ import annotations

import io
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Executor
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Literal, overload

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

if TYPE_CHECKING:
    from _typeshed import FileDescriptorOrPath, OpenBinaryMode, OpenTextMode

__all__ = ("open", "stderr", "stderr_bytes", "stdin", "stdin_bytes", "stdout", "stdout_bytes")

_Opener = Callable[[str, int], int]

sync_open = open

KINDS = files.Kinds(AsyncFileIO, AsyncBufferedIOBase, AsyncBufferedReader, AsyncTextIOWrapper)


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
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[AsyncTextIOWrapper]: ...
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
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[AsyncFileIO]: ...
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
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[AsyncBufferedReader]: ...
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
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[Any]: ...
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
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[Any]:
    """Opens a file (``aiofiles.open``): ``await`` it, or use it with ``async with``."""
    if isinstance(mode, str) and "b" not in mode:
        encoding = io.text_encoding(encoding)
    spec = files.OpenSpec(mode, buffering, encoding, errors, newline, closefd, opener, kinds=KINDS)
    return AiofilesContextManager(files.open_file(file, spec))


@singledispatch
def wrap(file: Any, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> Any:
    """An open blocking file as an asynchronous one, which closes it when it is closed.

    Binary files with a descriptor are read and written without threads. The methods of all others are called in the
    executor: text files, which do not tell their newline mode; pipes that may have been read ahead of; files in memory.
    """
    raise TypeError(f"Unsupported io type: {file}.")


@wrap.register(io.TextIOBase)
def _(file: io.TextIOBase, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> Any:
    return AsyncWrappedText(file, loop, executor)


@wrap.register(io.BufferedIOBase)
@wrap.register(io.FileIO)
def _(file: Any, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> Any:
    try:
        return files.wrap(file, kinds=KINDS)
    except (TypeError, io.UnsupportedOperation):
        return AsyncWrappedBinary(file, loop, executor)
