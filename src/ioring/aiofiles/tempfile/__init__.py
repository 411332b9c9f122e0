"""``aiofiles.tempfile``: temporary files and folders.

They are made and taken away in the executor; files are read and written without threads.
"""

import asyncio
import sys
import tempfile
from functools import partial

from ioring.aiofiles.base import AiofilesContextManager
from ioring.aiofiles.tempfile.temptypes import AsyncSpooledTemporaryFile, AsyncTemporaryDirectory
from ioring.aiofiles.threadpool import KINDS
from ioring.files import opening as files

__all__ = ["NamedTemporaryFile", "SpooledTemporaryFile", "TemporaryDirectory", "TemporaryFile"]


class _NamedOpening(AiofilesContextManager):
    """Leaving it takes the file away, even if that was not to be done on close."""

    __slots__ = ()

    async def __aexit__(self, *exception):
        opened = self._obj
        await super().__aexit__(*exception)
        leave = partial(opened._temporary.__exit__, *exception)
        await asyncio.get_running_loop().run_in_executor(None, leave)


class _FolderOpening(AiofilesContextManager):
    """Entering it gives the name, as with ``tempfile.TemporaryDirectory``."""

    __slots__ = ()

    async def __aenter__(self):
        return (await self).name


def NamedTemporaryFile(
    mode="w+b",
    buffering=-1,
    encoding=None,
    newline=None,
    suffix=None,
    prefix=None,
    dir=None,
    delete=True,
    *more,
    loop=None,
    executor=None,
    **options,
):
    """A temporary file with a name (``tempfile.NamedTemporaryFile``).

    From Python 3.12 on the next parameter is ``delete_on_close``.
    """
    if sys.version_info >= (3, 12):
        names = ("delete_on_close", "loop", "executor")
    else:
        names = ("loop", "executor")
    if len(more) > len(names):
        raise TypeError("too many positional arguments")
    options.update(zip(names, more, strict=False))
    loop, executor = options.pop("loop", loop), options.pop("executor", executor)
    make = partial(
        tempfile.NamedTemporaryFile, mode, buffering, encoding, newline, suffix, prefix, dir, delete, **options
    )
    return _NamedOpening(_open(make, newline, loop, executor))


def TemporaryFile(
    mode="w+b",
    buffering=-1,
    encoding=None,
    newline=None,
    suffix=None,
    prefix=None,
    dir=None,
    loop=None,
    executor=None,
):
    """A temporary file without a name (``tempfile.TemporaryFile``)."""
    make = partial(tempfile.TemporaryFile, mode, buffering, encoding, newline, suffix, prefix, dir)
    return AiofilesContextManager(_open(make, newline, loop, executor))


def SpooledTemporaryFile(
    max_size=0,
    mode="w+b",
    buffering=-1,
    encoding=None,
    newline=None,
    suffix=None,
    prefix=None,
    dir=None,
    loop=None,
    executor=None,
):
    """A temporary file that is in memory at first (``tempfile.SpooledTemporaryFile``)."""
    spooled = tempfile.SpooledTemporaryFile(  # noqa: SIM115
        max_size, mode, buffering, encoding, newline, suffix, prefix, dir
    )
    return AiofilesContextManager(_ready(AsyncSpooledTemporaryFile(spooled, newline, loop, executor)))


def TemporaryDirectory(suffix=None, prefix=None, dir=None, loop=None, executor=None):
    """A temporary folder (``tempfile.TemporaryDirectory``). ``async with`` gives its name."""
    return _FolderOpening(_folder(partial(tempfile.TemporaryDirectory, suffix, prefix, dir), loop, executor))


async def _ready(opened):
    return opened


async def _open(make, newline, loop, executor):
    loop = loop or asyncio.get_running_loop()
    temporary = await loop.run_in_executor(executor, make)
    blocking = getattr(temporary, "file", temporary)
    opened = files.wrap(blocking, newline=newline, kinds=KINDS)
    if blocking is not temporary:
        (opened.buffer if hasattr(opened, "buffer") else opened)._belongs_to(temporary)
        opened._temporary = temporary
        opened._closer = temporary._closer
        if hasattr(temporary, "delete"):  # up to Python 3.11
            opened.delete = temporary.delete
    return opened


async def _folder(make, loop, executor):
    loop = loop or asyncio.get_running_loop()
    return AsyncTemporaryDirectory(await loop.run_in_executor(executor, make), loop, executor)
