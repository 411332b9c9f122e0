from collections.abc import Coroutine, Iterable
from typing import Any, TypeAlias, TypeVar

from _typeshed import ReadableBuffer, WriteableBuffer

from ioring.loop._engine import Engine

_T = TypeVar("_T")

Request: TypeAlias = Coroutine[Any, Any, _T]

def read_into(
    core: Engine, path: Any, fd: int, offset: int, buffer: WriteableBuffer, instant: bool, partial: bool
) -> Request[int]: ...
def vectored(
    core: Engine, path: Any, fd: int, offset: int, buffers: Iterable[ReadableBuffer], writing: bool
) -> Request[int]: ...
