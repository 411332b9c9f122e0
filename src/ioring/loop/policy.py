"""The event loop policy, which asyncio deprecates from Python 3.14 on; ``ioring`` imports it when it is asked for."""

import asyncio
import warnings

from ioring.loop.event_loop import Loop
from ioring.loop.runners import new_event_loop

with warnings.catch_warnings():
    # asyncio.set_event_loop_policy() warns, and is what uses it.
    warnings.simplefilter("ignore", DeprecationWarning)
    _DefaultEventLoopPolicy = asyncio.DefaultEventLoopPolicy


class EventLoopPolicy(_DefaultEventLoopPolicy):
    """Makes ``Loop`` the loop of every thread: ``asyncio.set_event_loop_policy(ioring.EventLoopPolicy())``.

    asyncio deprecates policies from Python 3.14 on and has none from 3.16 on; ``run`` and ``loop_factory`` do without.
    """

    def new_event_loop(self) -> Loop:
        """A new ``Loop`` (``policy.new_event_loop``)."""
        return new_event_loop()
