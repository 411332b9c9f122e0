import io
import os
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Literal, NamedTuple, TypeVar, overload

from _typeshed import FileDescriptorOrPath, OpenBinaryMode, OpenTextMode, StrOrBytesPath

from ioring.files._buffered import BufferedFile
from ioring.files._direct_io import DirectFile
from ioring.files._raw import RawFile
from ioring.files._text import TextFile

_T = TypeVar("_T")
_Opener = Callable[[str, int], int]

class Kinds(NamedTuple):
    raw: type = ...
    writer: type = ...
    reader: type = ...
    text: type = ...

KINDS: Kinds
DIRECT_KINDS: Kinds
AT_FDCWD: int
O_CLOEXEC: int
KEEP: object

class Opening(Generic[_T]):
    def __init__(self, coro: Coroutine[Any, Any, _T]) -> None: ...
    def __await__(self) -> Generator[Any, Any, _T]: ...
    async def __aenter__(self) -> _T: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

def parse_mode(mode: str) -> tuple[int, bool, bool, bool, bool]: ...
def binary_mode(mode: str) -> str: ...
def encode_path(path: StrOrBytesPath) -> bytes: ...
async def open_descriptor(
    engine: Any, path: StrOrBytesPath, flags: int, mode: int = 0o666, folder: int = -100
) -> int: ...
def has_positions(fd: int, whence: int = 1) -> bool: ...
def status_of(fd: int, name: Any) -> os.stat_result: ...
def make_file(
    host: Any,
    fd: int,
    name: Any,
    mode: str,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
    closefd: bool,
    kinds: Kinds = ...,
) -> Any: ...
def new_file(
    kind: type,
    host: Any,
    fd: int,
    name: Any,
    mode: str,
    readable: bool,
    writable: bool,
    seekable: bool,
    appending: bool,
    closefd: bool,
    size: int,
) -> Any: ...
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
@overload
def wrap(file: io.FileIO, *, kinds: Kinds = ...) -> RawFile: ...
@overload
def wrap(file: io.BufferedReader | io.BufferedWriter | io.BufferedRandom, *, kinds: Kinds = ...) -> BufferedFile: ...
@overload
def wrap(file: io.TextIOWrapper, *, newline: str | None, kinds: Kinds = ...) -> TextFile: ...
