"""Which thread a loop's ring belongs to, and how another thread gets it.

When a run is over, nothing is in flight that matters: see ``Engine._park``. So a loop that goes on in another thread
opens its ring anew there, where the kernel keeps a ring to one thread.
"""

import time

from ioring.loop._readiness import Watching
from ioring.loop.asyncio_private import BaseEventLoop
from ioring.ring.constants import SetupFlags


class ThreadOfRing(Watching, BaseEventLoop):
    """A loop that runs in one thread after another."""

    def _take_ring(self) -> None:
        """The ring belongs to the thread that runs the loop first."""
        ring = self._ring
        one_thread = ring._flags & SetupFlags.SINGLE_ISSUER
        if ring._flags & SetupFlags.R_DISABLED:
            ring.enable_rings()
            ring._ensure_workers()
            if not one_thread and ring._registered_fd >= 0:
                ring.unregister_ring_fd()  # the registration holds for this thread only, and others will use the ring
        elif self._at_home():
            if one_thread and ring._registered_fd < 0:
                ring._spare_lookups()  # until the run is over: see _park
        elif not one_thread:
            ring._move_here()
        elif self.statistics()["slots_used"]:
            raise RuntimeError(
                "the loop has run in another thread, in whose ring there are its direct descriptors: make it with "
                "Loop(any_thread=True)"
            )
        else:
            self._wait_until_parked("run in this thread")
            ring._reopen_here()
            ring._ensure_workers()

    def _wait_until_parked(self, purpose: str) -> None:
        """Waits until the thread in which the loop has run has nothing in flight, which it mostly has not."""
        for _ in range(100):  # it may be just about to end its run, or to end itself
            if self._let_go():
                return
            time.sleep(0.001)
        raise RuntimeError(
            f"the loop has run in another thread, where {self.statistics()['in_flight']} of its requests are in "
            f"flight, so that it cannot {purpose}: end them there, or make it with Loop(any_thread=True)"
        )

    def _leave_thread(self) -> None:
        """Before the loop is closed: makes sure that its ring can be closed in this thread."""
        ring = self._ring
        if ring.closed or self._at_home():
            return
        if ring._flags & SetupFlags.SINGLE_ISSUER:
            self._wait_until_parked("be closed in this one")
        ring._move_here()
