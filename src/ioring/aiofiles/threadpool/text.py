"""Text files by aiofiles' names."""

from __future__ import annotations

from typing import Self

from ioring.aiofiles.base import AsyncBase, in_executor
from ioring.files._text import TextFile
from ioring.files.standard_streams import Standard


class AsyncTextIOWrapper(TextFile):
    """A text file (``ioring.open``)."""

    @property
    def _file(self) -> Self:
        return self


@in_executor(
    "close",
    "flush",
    "isatty",
    "read",
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
class AsyncWrappedText(AsyncBase):
    """A blocking text file, by the executor."""


AsyncTextIndirectIOWrapper = Standard
