"""Those who wait for the same event, such as that more may be written: mostly nobody, or one."""

import cython


def queued(waiters, future):
    """Adds a future to those that wait, which are ``None``, one future, or a list, and returns them.

    Each caller has a future of its own, since one that is cancelled cancels its future. Those are dropped here.
    """
    if waiters is None:
        return future
    waiting: list = [each for each in waiters if not each.done()] if isinstance(waiters, list) else [waiters]
    waiting.append(future)
    return waiting


def wake(waiters):
    """Ends the waiting of all of them."""
    if isinstance(waiters, list):
        for future in cython.cast(list, waiters):
            if not future.done():
                future.set_result(None)
    elif waiters is not None and not waiters.done():
        waiters.set_result(None)
    return 0
