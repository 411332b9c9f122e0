"""Who does the work of files for an event loop: the loop itself when it is ours, a ring on its side, or threads."""

import asyncio
import os
import weakref

from ioring.loop._core import LoopCore
from ioring.ring._buffer_ring import BufferRing
from ioring.ring.constants import SetupFlags
from ioring.ring.errors import RingUnavailable
from ioring.ring.ring import Ring

ENTRIES = 256
LOOK_S = 0.002

_engines = weakref.WeakKeyDictionary()


class Side(LoopCore):
    """Works for a loop of another kind."""

    def __init__(self, host):
        self._host = weakref.ref(host)
        self._scheduled_rest = False
        self._closed = False
        self._thread_id = None

    def create_future(self):
        return self._host().create_future()

    def _rest(self):
        if not self._scheduled_rest:
            self._scheduled_rest = True
            self._host().call_soon(self._rested)

    def _rested(self):
        self._scheduled_rest = False
        self._replenish()

    def close(self):
        self._closed = True
        self._forget()


class ThreadSide(Side):
    """Without a ring: each request is a call in the loop's executor."""

    def _in_thread(self, call, done):
        self._host().run_in_executor(None, call).add_done_callback(done)


class RingSide(Side):
    """A ring of its own, whose completions an eventfd announces to the loop."""

    def __init__(self, host):
        super().__init__(host)
        self._submitting = False
        self._looking = False
        ring = Ring(ENTRIES, flags=SetupFlags.SUBMIT_ALL | SetupFlags.CLAMP)
        ring._ensure_workers()
        self._open(ring, BufferRing(1, 64), 0, -1, False)
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        ring.register_eventfd(self._bell)
        # Every loop lets go of its readers when it is closed, and of nothing before: then nobody waits any more.
        watched = Watched()
        weakref.finalize(watched, self.close)
        host.add_reader(self._bell, self._rung, watched)

    def _submit_soon(self):
        if not self._submitting:
            self._submitting = True
            self._host().call_soon(self._submit)

    def _submit(self):
        self._submitting = False
        if not self._closed:
            self._settle()
            # The bell does not ring for completions that find the queue full: the kernel keeps them until somebody
            # asks, and whether there are any may be looked at a moment too early.
            if self._ring.in_flight > self._ring.cq_entries and not self._looking:
                self._looking = True
                self._host().call_later(LOOK_S, self._look)
            self._reap()

    def _look(self):
        """More was in flight than finds room in the queue: looks again and again until all is over."""
        self._looking = False
        if not self._closed:
            self._settle()  # which enters the kernel, and so has it put there what it kept
            self._reap()
            if self._ring.in_flight:
                self._looking = True
                self._host().call_later(LOOK_S, self._look)

    def _rung(self, watched):
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            pass
        self._reap()

    def close(self):
        if self._closed:
            return
        host = self._host()
        if host is not None and not host.is_closed():
            host.remove_reader(self._bell)
        super().close()
        try:
            self._ring.close()
        finally:
            os.close(self._bell)


class Watched:
    """Lives as long as the loop has the reader that it was given to."""


def engine_of(loop):
    """The LoopCore that works for a loop, which is the one that runs."""
    if isinstance(loop, LoopCore):
        return loop
    engine = _engines.get(loop)
    if engine is None or engine._closed or (engine._ring is not None and not engine._owns_ring()):
        try:
            engine = RingSide(loop)
        except (RingUnavailable, NotImplementedError):
            engine = ThreadSide(loop)
        _engines[loop] = engine
        weakref.finalize(loop, engine.close)
    return engine


def running():
    """The LoopCore that works for the loop that runs.

    Raises:
        RuntimeError: no loop is running.
    """
    return engine_of(asyncio.get_running_loop())
