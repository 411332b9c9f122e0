"""What a server says when it waits, so that nobody takes it for one that hangs."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

WAITS_S = 1.5
"""For so long it waits without a word."""

HOW_TO_END = "a second Ctrl-C or SIGTERM ends it at once"


@contextlib.contextmanager
def told_later(tell: Callable[[], object]) -> Iterator[None]:
    """Has a function called when what is done within takes longer than WAITS_S."""
    timer = asyncio.get_running_loop().call_later(WAITS_S, tell)
    try:
        yield
    finally:
        timer.cancel()


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def what_is_left(requests: int, connections: int, tasks: int) -> str:
    """What a server that stops waits for, in words; empty when it is nothing.

    Parameters:
        requests: that have no response yet.
        connections: that are open, also those of the requests.
        tasks: in which the application works, also on those requests.
    """
    parts = []
    if requests:
        parts.append(counted(requests, "request"))
    if connections:
        parts.append(f"{counted(connections, 'connection')} to close")
    if tasks > requests:
        parts.append(f"{counted(tasks - requests, 'task')} of the application behind its responses")
    return ", ".join(parts)
