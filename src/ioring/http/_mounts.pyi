from collections.abc import Callable, Iterable
from typing import Any, final

from ioring.http._exchange import Exchange

@final
class Mounts:
    @property
    def places(self) -> list[tuple[bytes, tuple[bytes, bytes], Callable[[Exchange], object]]]: ...
    def __init__(self, places: Iterable[tuple[bytes, Callable[[Exchange], object]]]) -> None: ...
    def __call__(self, target: bytes) -> Any: ...
