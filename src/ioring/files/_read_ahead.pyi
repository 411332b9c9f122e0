from typing import Any

from ioring.files._turns import Turns

PIPE_SIZE: int

class ReadAhead(Turns):
    @property
    def name(self) -> Any: ...

def share_positions() -> None: ...
