"""Stands in front of uvloop while its tests run: its public names, with the loop in question behind them.

The environment says which loop that is. `_testbase`, the tests' own helpers, comes from uvloop's source distribution.
"""

import asyncio
import os

from suites import loops

new_event_loop = loops.factory(loops.chosen())
Loop = loops.class_of(new_event_loop)

__path__.append(os.environ["IORING_SUITE_TESTBASE"])


class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    _loop_factory = staticmethod(new_event_loop)


def install():
    asyncio.set_event_loop_policy(EventLoopPolicy())


def run(main, *, debug=None, loop_factory=new_event_loop):
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)
