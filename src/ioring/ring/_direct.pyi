from typing import SupportsIndex, final

@final
class Direct:
    def __init__(self, slot: SupportsIndex) -> None: ...
    @property
    def slot(self) -> int:
        """The slot's number in the file table."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
