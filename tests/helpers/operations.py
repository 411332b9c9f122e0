"""Helpers for tests of operations: one request, from its preparation to its completion."""

import contextlib
import errno
import os

import pytest

import ioring
from ioring import SetupFlags
from rings import DEFER, drain, make, needs_setup

TIMEOUT_S = 5.0
"""How long any one completion may take."""

RINGS = [
    pytest.param(SetupFlags(0), id="plain"),
    pytest.param(DEFER, id="defer", marks=needs_setup("DEFER_TASKRUN")),
    pytest.param(SetupFlags.SQPOLL, id="sqpoll", marks=needs_setup("SQPOLL")),
]
"""The kinds of ring on which every operation has to work."""


def needs_registration(name):
    """Skips a test unless the kernel has this registration."""
    return pytest.mark.skipif(name not in ioring.features().registrations, reason=f"the kernel has no {name}")


def needs_trial(what, method, *arguments, **attributes):
    """Skips a test unless the kernel knows what ``features`` does not tell: it answers a request, and not by EINVAL."""
    with make(entries=4) as ring:
        start(ring, method, *arguments, **attributes)
        refused = drain(ring)[0].res == -errno.EINVAL
    return pytest.mark.skipif(refused, reason=f"the kernel has no {what}")


@contextlib.contextmanager
def opened(flags, *, entries=32, slots=0, **options):
    """A ring that must have nothing in flight and nothing unread when the test ends."""
    with make(flags, entries, **options) as ring:
        if slots:
            ring.register_files_sparse(slots)
        yield ring
        assert (ring.in_flight, ring.cq_ready()) == (0, 0)


def prepare(ring, method, *arguments, **attributes):
    """An SQE prepared by a method of ``Sqe``, with attributes set afterwards."""
    sqe = ring.get_sqe()
    method(sqe, *arguments)
    for name, value in attributes.items():
        setattr(sqe, name, value)
    return sqe


def start(ring, method, *arguments, **attributes):
    """The same, submitted and taken by the kernel."""
    sqe = prepare(ring, method, *arguments, **attributes)
    ring.submit()
    while ring.sq_ready():
        os.sched_yield()  # with SQPOLL it is taken by a thread
    return sqe


def wait(ring):
    """The next completion."""
    return ring.wait_cqe(timeout=TIMEOUT_S)


def complete(ring, method, *arguments, **attributes):
    """The completion of one request, when no other is in flight."""
    start(ring, method, *arguments, **attributes)
    return wait(ring)


def result(ring, method, *arguments, **attributes):
    """The result of one request, when no other is in flight; an OSError when it failed."""
    return complete(ring, method, *arguments, **attributes).result()


def by_user_data(ring, count):
    """The next completions, by what their requests carried; each request must complete once."""
    cqes = ring.wait_cqes(count, timeout=TIMEOUT_S)
    found = {cqe.user_data: cqe for cqe in cqes}
    assert len(found) == count, cqes
    return found
