from typing import Any

ASSERTIONS: bool

class Op:
    user_data: Any
    @property
    def token(self) -> int: ...

class OpTable:
    @property
    def in_flight(self) -> int:
        """The number of requests that have been prepared and are not done."""
