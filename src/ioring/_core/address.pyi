from typing import TypeAlias

from _typeshed import StrOrBytesPath

# What callers give, and what the kernel's answer is turned into.
_Address: TypeAlias = tuple[str, int] | tuple[str, int, int] | tuple[str, int, int, int] | StrOrBytesPath | SockAddr
_Decoded: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | bytes

STORAGE_SIZE: int

def encode(address: _Address) -> bytes: ...
def decode(data: bytes) -> _Decoded | None: ...

class SockAddr(bytearray):
    def __init__(self) -> None: ...
    def reset(self) -> None: ...
    @property
    def length(self) -> int: ...
    @property
    def address(self) -> _Decoded | None: ...
