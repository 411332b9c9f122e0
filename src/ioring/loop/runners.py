"""Ways to get a loop running: ``run`` and ``new_event_loop``."""

import asyncio
import warnings
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

from ioring.loop.event_loop import Loop
from ioring.ring.errors import RingUnavailable

_T = TypeVar("_T")


def new_event_loop() -> Loop:
    """A new ``Loop``: for ``asyncio.run(main(), loop_factory=ioring.new_event_loop)`` (``asyncio.new_event_loop``).

    Raises:
        RingUnavailable: no ring can be had here; the message says why and what to do.
    """
    return Loop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None, fallback: Literal["asyncio"] | None = None) -> _T:
    """Runs a coroutine on a new loop and closes the loop (``asyncio.run``).

    Parameters:
        main: the coroutine.
        debug: debug mode; ``None``: as ``PYTHONASYNCIODEBUG`` and ``-X dev`` say.
        fallback: ``"asyncio"``: where no ring can be had, run on asyncio's own loop, with a ``RuntimeWarning`` that
            gives the reason. ``None``: raise.

    Returns what the coroutine returns.

    Raises:
        RingUnavailable: no ring can be had here, and there is no fallback.
        RuntimeError: another loop is running in this thread.
        ValueError: ``fallback`` is neither ``None`` nor ``"asyncio"``.
    """
    if fallback not in (None, "asyncio"):
        raise ValueError(f'fallback must be None or "asyncio", not {fallback!r}')

    def factory() -> asyncio.AbstractEventLoop:
        try:
            return new_event_loop()
        except RingUnavailable as error:
            if fallback is None:
                raise
            warnings.warn(f"running on asyncio's own loop: {error.strerror}", RuntimeWarning, stacklevel=4)
            return asyncio.SelectorEventLoop()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("ioring.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
        return runner.run(main)
