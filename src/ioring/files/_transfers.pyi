from collections.abc import Iterable
from typing import Any

from _typeshed import ReadableBuffer, WriteableBuffer

from ioring.files._requests import Request
from ioring.loop._engine import Engine

def read_into(
    core: Engine, path: Any, fd: int, offset: int, buffer: WriteableBuffer, instant: bool, partial: bool
) -> Request[int]: ...
def vectored(
    core: Engine, path: Any, fd: int, offset: int, buffers: Iterable[ReadableBuffer], writing: bool
) -> Request[int]: ...
