from typing import Any

from ioring.loop._core import LoopCore

class Leftovers(LoopCore): ...

def bequeath(loop: Leftovers, sock: Any, stream: Any) -> None: ...
