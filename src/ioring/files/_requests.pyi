from collections.abc import Coroutine
from typing import Any, TypeAlias, TypeVar

_T = TypeVar("_T")

Request: TypeAlias = Coroutine[Any, Any, _T]

def open_now(folder: int, path: bytes, flags: int, mode: int) -> int: ...
