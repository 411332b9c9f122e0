"""Who does the work of files for an event loop: the loop itself when it is ours, a ring on its side, or threads.

Each of these is an Engine. Requests and files know it as their ``core``.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import weakref
from collections.abc import Callable
from typing import Any

from ioring.loop._engine import Engine
from ioring.ring.constants import SetupFlags
from ioring.ring.errors import RingUnavailable
from ioring.ring.ring import Ring

ENTRIES = 256

LOOK_S = 0.002
"""How often a ring is looked at while the kernel keeps completions back that found its queue full."""

_engines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Side] = weakref.WeakKeyDictionary()


class Side(Engine):
    """Works for a loop of another kind."""

    def __init__(self, host: asyncio.AbstractEventLoop) -> None:
        self._host: Callable[[], Any] = weakref.ref(host)
        self._scheduled_rest = False
        self._closed = False
        self._thread_id = None

    def create_future(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._host().create_future()
        return future

    def _rest(self) -> None:
        if not self._scheduled_rest:
            self._scheduled_rest = True
            self._host().call_soon(self._rested)

    def _rested(self) -> None:
        self._scheduled_rest = False
        self._replenish()

    def _in_thread(self, call: Callable[[], int], done: Callable[[asyncio.Future[int]], object]) -> None:
        self._host().run_in_executor(None, call).add_done_callback(done)

    def _move_here(self) -> None:
        """The loop runs in this thread now, or is over: so what works for it is not used in another one."""

    def close(self) -> None:
        self._closed = True
        self._forget()


class ThreadSide(Side):
    """Without a ring: each request is a call in the loop's executor."""


class RingSide(Side):
    """A ring of its own, whose completions an eventfd announces to the loop."""

    def __init__(self, host: asyncio.AbstractEventLoop) -> None:
        super().__init__(host)
        self._submitting = False
        self._looking = False
        ring: Any = Ring(ENTRIES, flags=SetupFlags.SUBMIT_ALL | SetupFlags.CLAMP)
        ring._ensure_workers()
        if ring._registered_fd >= 0:
            ring.unregister_ring_fd()  # only the thread that registered it could take it back: see _move_here
        self._set_ring(ring)
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        ring.register_eventfd(self._bell)
        # A loop drops the arguments of its readers when it is closed, and not before. So this finds out about that.
        watched = Watched()
        weakref.finalize(watched, self.close).atexit = False
        host.add_reader(self._bell, self._rung, watched)

    def _submit_soon(self) -> None:
        if not self._submitting:
            self._submitting = True
            self._host().call_soon(self._submit)

    def _submit(self) -> None:
        self._submitting = False
        if not self._closed:
            self._move_here()
            self._settle()
            # The eventfd does not announce completions that find the queue full. The kernel keeps them until it is
            # entered again, and there may be none yet when that is done here.
            if self._ring.in_flight > self._ring.cq_entries and not self._looking:
                self._looking = True
                self._host().call_later(LOOK_S, self._look)
            self._reap()

    def _look(self) -> None:
        """Looks at the ring again and again, as long as more is in flight than finds room in the queue."""
        self._looking = False
        if not self._closed:
            self._move_here()
            self._settle()  # enters the kernel, which then puts into the queue what it has kept
            self._reap()
            if self._ring.in_flight:
                self._looking = True
                self._host().call_later(LOOK_S, self._look)

    def _rung(self, watched: Watched) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            pass
        self._move_here()
        self._reap()

    def _move_here(self) -> None:
        if not self._owns_ring() and not self._ring.closed:
            self._ring._move_here()
            self._ring._ensure_workers()

    def close(self) -> None:
        if self._closed:
            return
        self._move_here()
        host = self._host()
        if host is not None and not host.is_closed():
            host.remove_reader(self._bell)
        super().close()
        try:
            self._ring.close()
        finally:
            os.close(self._bell)


class Watched:
    """An object that lives as long as the loop has the reader whose argument it is."""


def engine_of(loop: asyncio.AbstractEventLoop) -> Engine:
    """The Engine that works for a loop, which is the one that runs."""
    own: object = loop
    if isinstance(own, Engine):
        return own
    engine = _engines.get(loop)
    if engine is not None and not engine._closed:
        engine._move_here()
    if engine is None or engine._closed or (engine._ring is not None and engine._ring.closed):
        try:
            engine = RingSide(loop)
        except (RingUnavailable, NotImplementedError):
            engine = ThreadSide(loop)
        _engines[loop] = engine
        weakref.finalize(loop, engine.close).atexit = False
    return engine


@atexit.register
def _close_all() -> None:
    """The interpreter ends: closes what works for loops that were left open, as long as it can wait for the kernel.

    A loop that runs on in a daemon thread keeps its engine. That thread goes on until the very end, and would make
    another one.
    """
    for engine in list(_engines.values()):
        host = engine._host()
        if host is None or not host.is_running():
            engine.close()


def running() -> Engine:
    """The Engine that works for the loop that runs.

    Raises:
        RuntimeError: no loop is running.
    """
    return engine_of(asyncio.get_running_loop())
