from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Literal, overload

from _typeshed import FileDescriptorOrPath, OpenBinaryMode, OpenTextMode

from ioring.aiofiles.base import AiofilesContextManager
from ioring.aiofiles.threadpool.binary import AsyncBufferedReader, AsyncFileIO
from ioring.aiofiles.threadpool.text import AsyncTextIOWrapper
from ioring.files import opening as files
from ioring.files.standard_streams import stderr as stderr
from ioring.files.standard_streams import stderr_bytes as stderr_bytes
from ioring.files.standard_streams import stdin as stdin
from ioring.files.standard_streams import stdin_bytes as stdin_bytes
from ioring.files.standard_streams import stdout as stdout
from ioring.files.standard_streams import stdout_bytes as stdout_bytes

__all__ = ("open", "stderr", "stderr_bytes", "stdin", "stdin_bytes", "stdout", "stdout_bytes")

_Opener = Callable[[str, int], int]

KINDS: files.Kinds
sync_open: Callable[..., Any]

def wrap(file: Any, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> Any: ...
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
