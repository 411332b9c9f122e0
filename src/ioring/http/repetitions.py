"""How often the log says the same.

What clients bring about is said LINES_MAX times in PERIOD_S seconds; what comes more often is counted, and the number
is said at the end of that time. So a client can fill no disk with it, however often it sends something that is refused,
or leaves.
"""

import re
from collections.abc import Callable

LINES_MAX = 10
PERIOD_S = 10.0

KINDS_MAX = 100
"""Kinds of messages that are counted each by itself; all others are counted together."""

OTHERS = "other messages"

KIND_MAX = 200
"""Characters of a message that tell its kind, at most."""

VARIES = re.compile(r"""b?'[^']*'|b?"[^"]*"|[0-9]+""")
"""What messages of one kind do not have in common: what a client sent, and numbers."""


class Repetitions:
    """Counts messages of each kind.

    Parameters:
        say: called with the line that tells how often something was left out.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._kinds: dict[str, tuple[float, int]] = {}  # when the first one came, and how many came since

    def count(self, message: str, exception: BaseException | None, now: float) -> bool:
        """There is a message; whether it is to be said. ``now`` is a time in seconds."""
        kind = kind_of(message, exception)
        if kind not in self._kinds and len(self._kinds) >= KINDS_MAX:
            kind = OTHERS
        began, number = self._kinds.get(kind, (now, 0))
        self._kinds[kind] = (began, number + 1)
        return number < LINES_MAX

    def tick(self, now: float) -> None:
        """To be called now and then: sums up what was left out."""
        for kind, (began, number) in list(self._kinds.items()):
            if now - began >= PERIOD_S:
                self._sum_up(kind, number)

    def close(self) -> None:
        """Sums up all that was left out."""
        for kind, (_, number) in list(self._kinds.items()):
            self._sum_up(kind, number)

    def _sum_up(self, kind: str, number: int) -> None:
        del self._kinds[kind]
        if number > LINES_MAX:
            self._say(f"{number - LINES_MAX} more times within {PERIOD_S:.0f} seconds: {kind}")


def kind_of(message: str, exception: BaseException | None) -> str:
    """What messages about the same have in common: the text, and what was raised where."""
    kind = VARIES.sub("...", message[:KIND_MAX])
    if exception is None:
        return kind
    trace = exception.__traceback__
    if trace is None:
        return f"{kind}: {type(exception).__name__}"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{kind}: {type(exception).__name__} in {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
