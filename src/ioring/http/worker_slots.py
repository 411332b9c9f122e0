"""The processes of workers, as their supervisor knows them: for each worker a slot, with the processes that it has."""

import enum
import signal
import socket
import time


class State(enum.Enum):
    """What a worker's process does; from one state to the next, never back."""

    STARTING = "imports and starts the application"
    SERVING = "accepts connections"
    STOPPING = "was told to stop, and answers what it has begun"


class Place(enum.Enum):
    """Where a process that has died stood in its slot."""

    CURRENT = "the slot's own"
    REPLACEMENT = "it was to replace the slot's own as soon as it served"
    REPLACED = "another has taken over"


class Slot:
    """One of the workers, whatever processes it has over time."""

    def __init__(self, number: int, listeners: list[socket.socket]) -> None:
        self.number = number
        self.listeners = listeners
        self.child: Child | None = None  # its own process
        self.replacement: Child | None = None  # a second one, until it serves: then it becomes the slot's own
        self.deaths = 0  # early ones, one after the other
        self.retry_at: float | None = None  # when the next process is started
        self.removed = False  # there is one worker less

    def leave(self, child: "Child") -> Place:
        """The process has died. A replacement, if there is one, becomes the slot's own."""
        if self.replacement is child:
            self.replacement = None
            return Place.REPLACEMENT
        if self.child is child:
            self.child, self.replacement = self.replacement, None
            return Place.CURRENT
        return Place.REPLACED


class Child:
    """A worker's process."""

    def __init__(self, pid: int, slot: Slot, row: int | None, channel: socket.socket) -> None:
        self.pid = pid
        self.slot = slot
        self.row = row
        self.channel: socket.socket | None = channel
        self.began = time.monotonic()
        self.state = State.STARTING
        self.failure: str | None = None  # why it did not start
        self.unavailable: int | None = None  # the errno, when that was for want of a ring
        self.patience: list[tuple[float, signal.Signals]] = []  # when it gets which signals, if it is still alive then
        self.received = b""
        self.beat = 0  # its last
        self.heard = self.began  # when that was seen
        self.hung = False  # it was killed because its loop stood still

    @property
    def name(self) -> str:
        return f"worker {self.slot.number + 1} (process {self.pid})"


def ended(code: int) -> str:
    """How a process ended, by what ``waitstatus_to_exitcode`` says."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
