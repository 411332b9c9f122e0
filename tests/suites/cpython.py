"""CPython's `test.test_asyncio`, of the Python that runs: which modules, and how a loop gets under them.

asyncio is told to make the loop in question wherever it would make its own: in the default policy, and so in
`new_event_loop`, `run`, `Runner` and `IsolatedAsyncioTestCase`, and under the name `SelectorEventLoop`. The tests are
imported after that. What is left are tests that make a bare `BaseEventLoop` and put mocks into it, where a real loop
does as well.
"""

import asyncio
import asyncio.unix_events
import importlib
import importlib.util

PACKAGE = "test.test_asyncio"

MODULES = [
    "test_base_events",
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_events",
    "test_free_threading",
    "test_futures",
    "test_futures2",
    "test_locks",
    "test_pep492",
    "test_queues",
    "test_runners",
    "test_sendfile",
    "test_server",
    "test_server_context",
    "test_sock_lowlevel",
    "test_ssl",
    "test_sslproto",
    "test_staggered",
    "test_streams",
    "test_subprocess",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_unix_events",
    "test_waitfor",
]
"""All but those about another loop (proactor, selector, windows) and those without a loop (protocols, transports)."""


WITH_SERVERS = [
    "test_buffered_proto",
    "test_events",
    "test_sendfile",
    "test_server",
    "test_ssl",
    "test_sslproto",
    "test_streams",
]
"""Those of MODULES where connections are accepted: what depends on how the loop does that."""

ABOUT_LOOPS = {
    "test_base_events",
    "test_events",
    "test_runners",
    "test_sendfile",
    "test_server",
    "test_sock_lowlevel",
    "test_ssl",
    "test_sslproto",
    "test_streams",
    "test_subprocess",
    "test_unix_events",
}


def modules():
    """Those of MODULES that this Python has; none when it came without its tests, as on Debian."""
    if importlib.util.find_spec("test") is None or importlib.util.find_spec(PACKAGE) is None:
        return []
    return [module for module in MODULES if importlib.util.find_spec(f"{PACKAGE}.{module}")]


def environment(loop):
    """What the process needs besides the loop: nothing."""
    return {}


def made_counts(module):
    """Whether a test there is about loops when it only makes one. Elsewhere it has to run it.

    A future, for example, wants a loop to be made, and most of its tests never ask anything of it.
    """
    return module in ABOUT_LOOPS


def load(module, make, watch):
    """Imports a module of tests with `make` in the place of asyncio's own loop."""
    asyncio.unix_events._UnixDefaultEventLoopPolicy._loop_factory = staticmethod(make)
    # Some tests rely on it that others before them have done this.
    asyncio.set_event_loop(None)
    asyncio.SelectorEventLoop = stand_in(make, watch.watched)
    if hasattr(asyncio, "EventLoop"):  # since 3.13
        asyncio.EventLoop = asyncio.SelectorEventLoop
    utils = importlib.import_module(f"{PACKAGE}.utils")
    utils.TestCase.new_test_loop = new_test_loop(utils)
    utils.TestCase.close_loop = staticmethod(close_loop(utils.TestCase.close_loop, watch))
    if watch.own_turns:
        # Tests ask for one turn by BaseEventLoop's private name for it, which says nothing to such a loop.
        watch.watched._run_once = utils.run_once
    tests = importlib.import_module(f"{PACKAGE}.{module}")
    adapt(module, tests, watch.watched)
    return tests


def stand_in(make, loop_class):
    """A class that, called, makes a loop, and of which that loop is an instance."""

    class StandIn(type):
        def __call__(cls, selector=None):
            if selector is not None:  # the tests choose one for each class; the loop has its own way of waiting
                selector.close()
            return make()

        def __instancecheck__(cls, instance):
            return isinstance(instance, loop_class)

    return StandIn("SelectorEventLoop", (), {})


def new_test_loop(utils):
    """The method by which tests get a loop; with a generator of times they need one whose clock stands still."""

    def new_test_loop(self, gen=None):
        loop = asyncio.new_event_loop() if gen is None else utils.TestLoop(gen)
        self.set_event_loop(loop)
        return loop

    return new_test_loop


def close_loop(original, watch):
    """The function that closes a test's loop, without a look at BaseEventLoop's executor in a loop that has none."""

    def close_loop(loop):
        if hasattr(loop, "_default_executor"):
            original(loop)
            return
        if not loop.is_closed():
            with watch.closed_eyes():
                loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    return close_loop


class Kept:
    """A method that cannot be replaced in an instance: what is assigned is ignored."""

    def __init__(self, method):
        self.method = method

    def __get__(self, instance, owner=None):
        return self.method.__get__(instance, owner)

    def __set__(self, instance, value):
        pass


def adapt(module, tests, loop_class):
    """Replaces the methods that would make a bare BaseEventLoop with mocks in it."""
    if module == "test_pep492":

        def setUp(self):
            super(tests.BaseTest, self).setUp()
            self.loop = asyncio.new_event_loop()
            self.set_event_loop(self.loop)

        tests.BaseTest.setUp = setUp
    elif module == "test_runners":

        def new_loop(self):
            loop = asyncio.SelectorEventLoop()
            shutdown_asyncgens = loop.shutdown_asyncgens
            loop.shutdown_ag_run = False

            async def shutdown_and_tell():
                loop.shutdown_ag_run = True
                await shutdown_asyncgens()

            loop.shutdown_asyncgens = shutdown_and_tell
            return loop

        tests.BaseTest.new_loop = new_loop
    elif module == "test_tasks":

        def run_loop(self, loop):
            # The original runs until BaseEventLoop's private queue is empty. What follows from what the tests do is
            # over after two turns or three.
            for _ in range(10):
                tests.test_utils.run_once(loop)

        tests.GatherTestsBase._run_loop = run_loop
    elif module == "test_base_events":

        def setUp(self):
            super(tests.BaseEventLoopTests, self).setUp()
            self.loop = asyncio.SelectorEventLoop()
            self.set_event_loop(self.loop)

        tests.BaseEventLoopTests.setUp = setUp
        # Many of these tests begin with putting mocks here, which is what it takes to run a bare BaseEventLoop.
        for name in ("_process_events", "_write_to_self"):
            if hasattr(loop_class, name):
                setattr(loop_class, name, Kept(getattr(loop_class, name)))
