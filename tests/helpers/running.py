"""Helpers for tests of the loop: turns of it, what it has in flight, and descriptors that run out."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import warnings

from rings import WAIT_S


def run(loop, coroutine):
    """Runs a coroutine or waits for a future, for no longer than anything here takes."""
    return loop.run_until_complete(asyncio.wait_for(coroutine, WAIT_S))


@contextlib.asynccontextmanager
async def connected(factory, path=None):
    """An accepted connection's protocol, and the other side, a blocking socket; with a path of the Unix kind."""
    loop = asyncio.get_running_loop()
    made = loop.create_future()

    def make():
        protocol = factory()
        loop.call_soon(made.set_result, protocol)
        return protocol

    if path is None:
        server = await loop.create_server(make, "127.0.0.1", 0)
    else:
        server = await loop.create_unix_server(make, path)
    peer = socket.socket(server.sockets[0].family)
    await loop.run_in_executor(None, peer.connect, server.sockets[0].getsockname())
    peer.settimeout(WAIT_S)
    try:
        yield await made, peer
    finally:
        peer.close()
        server.close()
        await server.wait_closed()


def turns(loop, count=3):
    """So many turns; none waits."""
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


async def until(condition):
    """Takes turns until something holds, whatever it is that brings it about."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


def in_flight(loop):
    """How many requests the kernel has."""
    return loop.statistics()["in_flight"]


def idle(loop):
    """How many requests the kernel has as long as there is no transport: the loop's own."""
    turns(loop)
    return in_flight(loop)


@contextlib.contextmanager
def unclosed():
    """Something with an open transport ends here and is warned about. Other warnings, a socket's own, do not matter."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert any("unclosed transport" in str(warning.message) for warning in caught)
    caught.clear()  # a warning refers to what it is about
    gc.collect()


@contextlib.contextmanager
def descriptors_left(count):
    """This process can open so many descriptors more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open("/dev/null", os.O_RDONLY)]
    top = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(taken[0]))
        resource.setrlimit(resource.RLIMIT_NOFILE, (top + count, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
