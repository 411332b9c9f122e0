"""The loops that a suite can run on, by name, and the record of which of them a test has made and run."""

import asyncio
import contextlib
import functools
import importlib
import os

VARIABLE = "IORING_SUITE_LOOP"
"""The environment variable with the loop's name; processes that tests start find the loop by it too."""

DEFAULT = "ioring"


def chosen():
    """The name of the loop to run on."""
    return os.environ.get(VARIABLE) or DEFAULT


def factory(name):
    """What makes loops of that name: asyncio, uvloop, ioring, ioring:direct, or MODULE:CALLABLE of any other."""
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if name == "ioring:direct":
        import ioring

        return functools.partial(ioring.Loop, direct_descriptors=True)
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute or "new_event_loop")


def class_of(make_loop):
    """The class of the loops that a factory makes."""
    loop = make_loop()
    loop.close()
    return type(loop)


class Watch:
    """Counts how many loops a factory's class has made, and how many times they ran, since the last `reset`.

    The class's own methods are replaced. A subclass would be another type than the one that is tested.
    """

    def __init__(self, make_loop):
        self.reset()
        self.watched = watched = class_of(make_loop)
        make, run = watched.__init__, watched.run_forever
        self.own_turns = run is not asyncio.BaseEventLoop.run_forever

        @functools.wraps(make)
        def __init__(loop, *args, **options):
            self.made += 1
            make(loop, *args, **options)

        @functools.wraps(run)
        def run_forever(loop):
            self.ran += 1
            return run(loop)

        watched.__init__ = __init__
        watched.run_forever = run_forever

    def reset(self):
        self.made = self.ran = 0

    @contextlib.contextmanager
    def closed_eyes(self):
        """Leaves out what happens inside: loops that run for this package's sake."""
        made, ran = self.made, self.ran
        yield
        self.made, self.ran = made, ran
