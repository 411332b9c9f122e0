import os
from collections.abc import Callable
from typing import AnyStr, overload

from _typeshed import ReadableBuffer, StrOrBytesPath

PART: int
PARTS_AT_ONCE: int
PIECE: int
TEXT_PIECE: int
COPY_PIECE: int
FICLONE: int

async def read_bytes(path: StrOrBytesPath) -> bytes: ...
async def read_text(
    path: StrOrBytesPath, encoding: str | None = None, errors: str | None = None, newline: str | None = None
) -> str: ...
async def write_bytes(path: StrOrBytesPath, data: ReadableBuffer, *, atomic: bool = False) -> int: ...
async def write_text(
    path: StrOrBytesPath,
    data: str,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    *,
    atomic: bool = False,
) -> int: ...
@overload
async def copy(
    src: StrOrBytesPath,
    dst: AnyStr,
    *,
    progress: Callable[[int, int], object] | None = None,
    chunk: int = 8388608,
) -> AnyStr: ...
@overload
async def copy(
    src: StrOrBytesPath,
    dst: os.PathLike[AnyStr],
    *,
    progress: Callable[[int, int], object] | None = None,
    chunk: int = 8388608,
) -> AnyStr: ...
