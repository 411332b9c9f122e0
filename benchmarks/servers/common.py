"""What the measured programs share: the loops by name, and how a server says where it listens."""

import asyncio
import functools
import signal

LOOPS = ("asyncio", "uvloop", "rloop", "rsloop", "ioring", "ioring-direct")
ADDRESS = ("127.0.0.1", 0)  # any port
BACKLOG = 4096


def loop_factory(name):
    if name == "asyncio":
        return asyncio.new_event_loop
    if name == "ioring-direct":
        import ioring

        return functools.partial(ioring.Loop, direct_descriptors=True)
    return __import__(name).new_event_loop


def announce(sock):
    name = sock.getsockname()
    print(f"listening on {name}" if isinstance(name, str) else f"listening on {name[0]}:{name[1]}", flush=True)


def run(loop, main):
    """Runs the coroutine until a signal ends the process."""
    # The same end in every loop, whatever it does with signals.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main)


async def for_ever():
    # Not serve_forever(): rloop stops listening when a server that serves is told so again.
    await asyncio.get_running_loop().create_future()
