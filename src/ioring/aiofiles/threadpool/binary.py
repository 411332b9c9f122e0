"""Binary files by aiofiles' names."""

from __future__ import annotations

from typing import Self

from ioring.aiofiles.base import AsyncBase, in_executor
from ioring.files._buffered import BufferedFile
from ioring.files._raw import RawFile
from ioring.files.standard_streams import Standard

METHODS = (
    "close",
    "flush",
    "isatty",
    "read",
    "readinto",
    "readline",
    "readlines",
    "seek",
    "seekable",
    "tell",
    "truncate",
    "writable",
    "write",
    "writelines",
)


class AsyncBufferedIOBase(BufferedFile):
    """A binary file that is only written to (``ioring.open``)."""

    @property
    def _file(self) -> Self:
        return self


class AsyncBufferedReader(AsyncBufferedIOBase):
    """A binary file that is read, or read and written (``ioring.open``)."""


class AsyncFileIO(RawFile):
    """A binary file without buffers (``ioring.open``)."""

    @property
    def _file(self) -> Self:
        return self


@in_executor(*METHODS, "read1", "readinto1", "peek", "readall")
class AsyncWrappedBinary(AsyncBase):
    """A blocking binary file, by the executor."""


AsyncIndirectBufferedIOBase = AsyncIndirectBufferedReader = AsyncIndirectFileIO = Standard
