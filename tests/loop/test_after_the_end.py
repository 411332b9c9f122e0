"""What is left of a loop that was closed: transports and servers can still be closed, and keep nothing open."""

import asyncio
import gc
import os
import socket
import warnings
import weakref

import pytest

import ioring
from rings import WAIT_S, descriptors, python
from running import run, until


class Told(asyncio.Protocol):
    def __init__(self):
        self.told = []

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exception):
        self.told.append("lost")


# Each makes a transport, and a socket or file that sees its end.


async def stream(loop, _):
    ours, theirs = socket.socketpair()
    return (await loop.create_connection(Told, sock=ours))[0], theirs


async def accepted(loop, _):
    made = []
    server = await loop.create_server(lambda: made.append(Told()) or made[0], "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname(), WAIT_S)
    await until(lambda: made and hasattr(made[0], "transport"))
    server.close()
    return made[0].transport, client


async def accepted_whose_socket_was_asked_for(loop, _):
    transport, client = await accepted(loop, None)
    transport.get_extra_info("socket").getsockname()
    return transport, client


async def tls(loop, certificates):
    made = []
    server = await loop.create_server(lambda: made.append(Told()) or made[0], "127.0.0.1", 0, ssl=certificates.server())
    client = socket.create_connection(server.sockets[0].getsockname(), WAIT_S)
    theirs, _ = await loop.create_connection(
        asyncio.Protocol, sock=client.dup(), ssl=certificates.client(), server_hostname="localhost"
    )
    await until(lambda: made and hasattr(made[0], "transport"))
    server.close()
    theirs.abort()  # the other descriptor stays open
    await asyncio.sleep(0)
    return made[0].transport, client


async def reading_pipe(loop, _):
    reading, writing = os.pipe()
    transport, _ = await loop.connect_read_pipe(Told, os.fdopen(reading, "rb", 0))
    return transport, os.fdopen(writing, "wb", 0)


async def writing_pipe(loop, _):
    reading, writing = os.pipe()
    transport, _ = await loop.connect_write_pipe(Told, os.fdopen(writing, "wb", 0))
    return transport, os.fdopen(reading, "rb", 0)


async def datagrams(loop, _):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return (await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=ours))[0], theirs


KINDS = [stream, accepted, accepted_whose_socket_was_asked_for, tls, reading_pipe, writing_pipe, datagrams]


def ended(end):
    """Whether the other side is closed."""
    if not isinstance(end, socket.socket):
        if end.writable():
            try:
                end.write(b"x")
            except BrokenPipeError:
                return True
            return False
        os.set_blocking(end.fileno(), False)
        while data := end.read(65536):  # None: nothing is there, and more may come
            pass
        return data == b""
    end.setblocking(False)
    try:
        if end.type == socket.SOCK_DGRAM:
            end.send(b"x")
            return False
        while end.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("how", ["close", "abort", "write and close", "close before", "close twice"])
@pytest.mark.parametrize("kind", KINDS)
def test_closed_after_its_loop(direct, certificates, kind, how):
    if how == "write and close" and kind in (reading_pipe, datagrams):
        pytest.skip("nothing is written to it that would wait")
    before = descriptors()
    loop = ioring.Loop(direct_descriptors=direct)
    transport, end = run(loop, kind(loop, certificates))
    with end:
        if how == "write and close":
            transport.write(bytes(8_000_000))  # more than the other side takes
            transport.close()
        elif how == "close before":
            loop.call_soon(transport.close)  # connection_lost() is scheduled, and never runs
            loop.call_soon(loop.stop)
        loop.close()
        if how == "abort":
            transport.abort()
        else:
            transport.close()
        if how == "close twice":
            transport.close()
            transport.abort()
        assert ended(end)
        assert transport.is_closing()
        loop.close()
    assert descriptors() == before
    reference = weakref.ref(transport)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        del transport
        gc.collect()
    assert reference() is None


@pytest.mark.parametrize("waited", [True, False])
def test_server_is_closed_after_its_loop(direct, waited):
    before = descriptors()
    loop = ioring.Loop(direct_descriptors=direct)
    made = []

    async def main():
        server = await loop.create_server(lambda: made.append(Told()) or made[0], "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname(), WAIT_S)
        await until(lambda: made and hasattr(made[0], "transport"))
        waiting = loop.create_task(server.wait_closed()) if waited else None
        await asyncio.sleep(0)
        return server, client, waiting

    server, client, waiting = run(loop, main())
    loop.close()
    made[0].transport.close()
    with client:
        assert ended(client)
    if waited:
        with pytest.raises(RuntimeError, match="Event loop is closed"):  # asyncio tells whoever waits, on the loop
            server.close()
    else:
        server.close()
    assert descriptors() == before
    if waiting is not None:
        waiting._log_destroy_pending = False


def test_stream_writer_is_closed_after_its_loop(direct):
    loop = ioring.Loop(direct_descriptors=direct)
    ours, theirs = socket.socketpair()
    _, writer = run(loop, asyncio.open_connection(sock=ours))
    loop.close()
    writer.write(b"nobody sends it")
    writer.close()
    with theirs:
        assert ended(theirs)


# At the interpreter's end, when a module's globals are gone already.

KEPT = """
import asyncio, os, socket, sys

class Keep:
    pass

async def stream(loop):
    ours, theirs = socket.socketpair()
    return await loop.create_connection(asyncio.Protocol, sock=ours), theirs

async def accepted(loop):
    made = []
    class Kept(asyncio.Protocol):
        def connection_made(self, transport):
            made.append(transport)
    server = await loop.create_server(Kept, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    while not made:
        await asyncio.sleep(0)
    return made, server, client

async def datagrams(loop):
    return await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))

async def reading_pipe(loop):
    reading, writing = os.pipe()
    return await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(reading, "rb", 0)), writing

async def writing_pipe(loop):
    reading, writing = os.pipe()
    return await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(writing, "wb", 0)), reading

async def child(loop):
    return await loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "0.1")

async def reader(loop):
    ours, theirs = socket.socketpair()
    loop.add_reader(ours, print)
    return ours, theirs

async def task(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    task = loop.create_task(loop.sock_recv(ours, 10))
    task._log_destroy_pending = False
    return task, theirs

loop = ioring.Loop(direct_descriptors={direct})
keep = Keep()
keep.keep = keep
keep.it = [
    loop.run_until_complete(make(loop))
    for make in (stream, accepted, datagrams, reading_pipe, writing_pipe, child, reader, task)
]
if {closed}:
    loop.close()
keep.loop = loop
{place}
"""


@pytest.mark.parametrize("place", ["sys.keep = keep", "asyncio.keep = keep", "asyncio.set_event_loop(loop)", ""])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_nothing_is_said_at_exit_of_what_was_left_open(direct, closed, place):
    assert python(KEPT.format(direct=direct, closed=closed, place=place)) == ""
