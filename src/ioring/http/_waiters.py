"""Those who wait for the same event, such as that more may be written: mostly nobody, or one."""

import cython


def waiting(waiters, loop):
    """One more waits: returns those who wait then, and the future that wake() ends for this one.

    Those who wait are ``None``, one future, or a list of them, which costs nothing for the many objects at which nobody
    does. Each has a future of its own, since who is cancelled cancels it; such ones are dropped here.
    """
    future = loop.create_future()
    if waiters is None:
        return future, future
    several: list = [each for each in waiters if not each.done()] if isinstance(waiters, list) else [waiters]
    several.append(future)
    return several, future


def wake(waiters):
    """Ends the waiting of all of them."""
    if isinstance(waiters, list):
        for future in cython.cast(list, waiters):
            if not future.done():
                future.set_result(None)
    elif waiters is not None and not waiters.done():
        waiters.set_result(None)
    return 0
