"""``aiofiles.tempfile``: temporary files and folders.

They are made and taken away in the executor; files are read and written without threads.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ioring.aiofiles.base import AiofilesContextManager
from ioring.aiofiles.tempfile.temptypes import AsyncSpooledTemporaryFile, AsyncTemporaryDirectory
from ioring.aiofiles.threadpool import KINDS
from ioring.aiofiles.threadpool.binary import AsyncBufferedReader
from ioring.aiofiles.threadpool.text import AsyncTextIOWrapper
from ioring.files import opening as files

if TYPE_CHECKING:
    from _typeshed import OpenBinaryMode, OpenTextMode, StrPath

_T = TypeVar("_T")

__all__ = ["NamedTemporaryFile", "SpooledTemporaryFile", "TemporaryDirectory", "TemporaryFile"]


class _NamedOpening(AiofilesContextManager[Any]):
    """Leaving it takes the file away, even if that was not to be done on close."""

    __slots__ = ()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        opened: Any = self._obj
        await super().__aexit__(kind, value, traceback)
        leave = partial(opened._temporary.__exit__, kind, value, traceback)
        await asyncio.get_running_loop().run_in_executor(None, leave)


class _FolderOpening(AiofilesContextManager[AsyncTemporaryDirectory]):
    """Entering it gives the name, as with ``tempfile.TemporaryDirectory``."""

    __slots__ = ()

    async def __aenter__(self) -> str:  # type: ignore[override]
        return (await self).name


@overload
def NamedTemporaryFile(
    mode: OpenTextMode,
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: StrPath | None = None,
    delete: bool = True,
    *more: Any,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
    **options: Any,
) -> AiofilesContextManager[AsyncTextIOWrapper]: ...
@overload
def NamedTemporaryFile(
    mode: OpenBinaryMode = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: StrPath | None = None,
    delete: bool = True,
    *more: Any,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
    **options: Any,
) -> AiofilesContextManager[AsyncBufferedReader]: ...
@overload
def NamedTemporaryFile(
    mode: str = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: StrPath | None = None,
    delete: bool = True,
    *more: Any,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
    **options: Any,
) -> AiofilesContextManager[Any]: ...
def NamedTemporaryFile(
    mode: str = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: StrPath | None = None,
    delete: bool = True,
    *more: Any,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
    **options: Any,
) -> AiofilesContextManager[Any]:
    """A temporary file with a name (``tempfile.NamedTemporaryFile``).

    From Python 3.12 on the next parameter is ``delete_on_close``.
    """
    if sys.version_info >= (3, 12):
        names: tuple[str, ...] = ("delete_on_close", "loop", "executor")
    else:
        names = ("loop", "executor")
    if len(more) > len(names):
        raise TypeError("too many positional arguments")
    options.update(zip(names, more, strict=False))
    loop, executor = options.pop("loop", loop), options.pop("executor", executor)
    make: Callable[[], Any] = partial(
        tempfile.NamedTemporaryFile,
        mode,
        buffering,
        encoding,
        newline,
        suffix,
        prefix,
        dir,
        delete,
        **options,
    )
    return _NamedOpening(_open(make, newline, loop, executor))


@overload
def TemporaryFile(
    mode: OpenTextMode,
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: StrPath | None = None,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[AsyncTextIOWrapper]: ...
@overload
def TemporaryFile(
    mode: OpenBinaryMode = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: StrPath | None = None,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[AsyncBufferedReader]: ...
@overload
def TemporaryFile(
    mode: str = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: StrPath | None = None,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[Any]: ...
def TemporaryFile(
    mode: str = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: StrPath | None = None,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[Any]:
    """A temporary file without a name (``tempfile.TemporaryFile``)."""
    make: Callable[[], Any] = partial(
        tempfile.TemporaryFile,
        mode,
        buffering,
        encoding,
        newline,
        suffix,
        prefix,
        dir,
    )
    return AiofilesContextManager(_open(make, newline, loop, executor))


def SpooledTemporaryFile(
    max_size: int = 0,
    mode: str = "w+b",
    buffering: int = -1,
    encoding: str | None = None,
    newline: str | None = None,
    suffix: str | None = None,
    prefix: str | None = None,
    dir: StrPath | None = None,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> AiofilesContextManager[AsyncSpooledTemporaryFile]:
    """A temporary file that is in memory at first (``tempfile.SpooledTemporaryFile``)."""
    make: Any = tempfile.SpooledTemporaryFile
    spooled = make(max_size, mode, buffering, encoding, newline, suffix, prefix, dir)
    return AiofilesContextManager(_ready(AsyncSpooledTemporaryFile(spooled, newline, loop, executor)))


def TemporaryDirectory(
    suffix: str | None = None,
    prefix: str | None = None,
    dir: StrPath | None = None,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> _FolderOpening:
    """A temporary folder (``tempfile.TemporaryDirectory``). ``async with`` gives its name."""
    return _FolderOpening(_folder(partial(tempfile.TemporaryDirectory, suffix, prefix, dir), loop, executor))


async def _ready(opened: _T) -> _T:
    return opened


async def _open(
    make: Callable[[], Any], newline: str | None, loop: AbstractEventLoop | None, executor: Executor | None
) -> Any:
    loop = loop or asyncio.get_running_loop()
    temporary = await loop.run_in_executor(executor, make)
    blocking = getattr(temporary, "file", temporary)
    opened: Any = files.wrap(blocking, newline=newline, kinds=KINDS, ours=True)
    if blocking is not temporary:
        (opened.buffer if hasattr(opened, "buffer") else opened)._belongs_to(temporary)
        opened._temporary = temporary
        opened._closer = temporary._closer
        if hasattr(temporary, "delete"):  # up to Python 3.11
            opened.delete = temporary.delete
    return opened


async def _folder(
    make: Callable[[], Any], loop: AbstractEventLoop | None, executor: Executor | None
) -> AsyncTemporaryDirectory:
    loop = loop or asyncio.get_running_loop()
    return AsyncTemporaryDirectory(await loop.run_in_executor(executor, make), loop, executor)
