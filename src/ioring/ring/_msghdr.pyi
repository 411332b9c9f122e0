from collections.abc import Iterable
from typing import SupportsIndex, TypeAlias, final

from _typeshed import ReadableBuffer

from ioring.ring.sockaddr import _Address, _Decoded

# Ancillary data: (level, type, contents).
_Control: TypeAlias = tuple[int, int, ReadableBuffer]

def parse_control(data: bytes) -> list[tuple[int, int, bytes]]: ...

@final
class MsgHdr:
    def __init__(
        self,
        buffers: Iterable[ReadableBuffer] = (),
        *,
        address: _Address | None = None,
        control: Iterable[_Control] = (),
        name_size: SupportsIndex = 0,
        control_size: SupportsIndex = 0,
    ) -> None: ...
    @property
    def writable(self) -> bool: ...
    @property
    def name_size(self) -> int: ...
    @property
    def control_size(self) -> int: ...
    @property
    def address(self) -> _Decoded | None: ...
    @property
    def control(self) -> list[tuple[int, int, bytes]]: ...
    @property
    def flags(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
