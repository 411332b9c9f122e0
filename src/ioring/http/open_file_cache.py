"""Large files that stay open for the next request: those of all folders that one loop serves.

An open file belongs to the Answer for its path. It is closed when the Answer is forgotten and no response sends it.
"""

import asyncio
import errno
import resource
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ioring.http._response_cache import Answers

KEPT_MAX = 256
SHARE = 4
"""At most KEPT_MAX descriptors are kept open, and at most a quarter (1 / SHARE) of what the process may have. Beyond
that, those that were opened first are closed; all of them are when the process has none left."""

SWEEP_S = 2.0
"""Files that were not requested for this long are closed."""

Result = TypeVar("Result")

_of_loops: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Kept]" = weakref.WeakKeyDictionary()


class Holder(Protocol):
    """What has answers with open files: ``Files``."""

    answers: Answers


class Kept:
    """What one loop keeps open.

    Parameters:
        maximum: how many descriptors.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.count = 0
        # How many by (a weak reference to the Files, path), in the order in which they were opened.
        self._held: dict[tuple[weakref.ref[Holder], bytes], int] = {}
        self._sweeping = False

    def put(self, loop: asyncio.AbstractEventLoop, files: Holder, path: bytes, count: int) -> None:
        """The answer for a path has ``count`` open files now."""
        owner = weakref.ref(files)
        self._take(owner, path)
        if count:
            self._held[owner, path] = count
            self.count += count
        while self.count > self.maximum:
            self._close(*next(iter(self._held)))
        if self._held and not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_S, self._sweep, loop)

    def forget(self, files: Holder) -> None:
        """These Files have closed all of their answers."""
        for owner, path in list(self._held):
            if owner() is files:
                self._take(owner, path)

    def give_up(self) -> bool:
        """Closes all; returns whether there were any."""
        if not self._held:
            return False
        for owner, path in list(self._held):
            self._close(owner, path)
        return True

    def _take(self, owner: weakref.ref[Holder], path: bytes) -> None:
        self.count -= self._held.pop((owner, path), 0)

    def _close(self, owner: weakref.ref[Holder], path: bytes) -> None:
        self._take(owner, path)
        files = owner()
        if files is not None:
            files.answers.drop(path)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Closes files that were not requested since the last sweep."""
        self._sweeping = False
        for owner, path in list(self._held):
            files = owner()
            answer = None if files is None else files.answers.get(path)
            if answer is not None and answer.used:
                answer.used = False
            else:
                self._close(owner, path)
        if self._held:
            self._sweeping = True
            loop.call_later(SWEEP_S, self._sweep, loop)


def kept_of(loop: asyncio.AbstractEventLoop) -> Kept:
    """The ``Kept`` of a loop."""
    kept = _of_loops.get(loop)
    if kept is None:
        # It has no reference to the loop, which ends with the last of others.
        kept = _of_loops[loop] = Kept(share_of_limit())
    return kept


def share_of_limit() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return KEPT_MAX if limit == resource.RLIM_INFINITY else min(KEPT_MAX, limit // SHARE)


def given_up(loop: asyncio.AbstractEventLoop, error: BaseException) -> bool:
    """If the process had no descriptor left: closes the kept ones. Returns whether trying again makes sense."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE) and kept_of(loop).give_up()


def with_room(loop: asyncio.AbstractEventLoop, function: Callable[..., Result], *arguments: Any) -> Result:
    """Calls a function that needs a descriptor; a second time if there was none and kept ones could be closed."""
    try:
        return function(*arguments)
    except OSError as error:
        if not given_up(loop, error):
            raise
    return function(*arguments)
