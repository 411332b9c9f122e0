from typing import TypeAlias

from _typeshed import StrOrBytesPath

# What callers give, and what the kernel's answer is turned into.
_Address: TypeAlias = tuple[str, int] | tuple[str, int, int] | tuple[str, int, int, int] | StrOrBytesPath | SockAddr
_Decoded: TypeAlias = tuple[str, int] | tuple[int, int] | tuple[str, int, int, int] | str | bytes

STORAGE_SIZE: int
AF_NETLINK: int
AF_VSOCK: int
KNOWN: frozenset[int]

def encode(address: _Address | tuple[int, int], family: int = 0) -> bytes: ...
def encode_for(family: int, address: object) -> bytes | None: ...
def decode(data: bytes) -> _Decoded | None: ...

class SockAddr(bytearray):
    def __init__(self) -> None: ...
    def reset(self) -> None: ...
    @property
    def length(self) -> int: ...
    @property
    def address(self) -> _Decoded | None: ...
