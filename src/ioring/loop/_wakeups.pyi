from typing import final

from ioring.loop._core import LoopCore

@final
class SignalNumbers:
    def pass_on_to(self, fd: int) -> None: ...

def watch_eventfd(loop: LoopCore, fd: int) -> None: ...
def watch_signals(loop: LoopCore, fd: int) -> SignalNumbers: ...
