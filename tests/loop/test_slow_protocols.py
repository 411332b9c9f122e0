"""Debug mode tells of protocols that keep the loop waiting, whichever of their methods it is."""

import asyncio
import logging
import os
import socket
import time

import pytest

from rings import WAIT_S, stream_pair
from running import run, until

SLOW_S = 0.02


class Slow(asyncio.Protocol):
    def __init__(self, name):
        self.name = name
        self.called = []

    def slow(self, name):
        if name == self.name:
            time.sleep(2 * SLOW_S)
        self.called.append(name)

    def connection_made(self, transport):
        self.transport = transport
        self.slow("connection_made")

    def data_received(self, data):
        self.slow("data_received")

    def datagram_received(self, data, address):
        self.slow("datagram_received")

    def eof_received(self):
        self.slow("eof_received")

    def connection_lost(self, exception):
        self.slow("connection_lost")

    def resume_writing(self):
        self.slow("resume_writing")


class SlowBuffer(asyncio.BufferedProtocol):
    def __init__(self, name):
        self.name = name
        self.called = []
        self.buffer = bytearray(100)

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, hint):
        return self.buffer

    def buffer_updated(self, count):
        if self.name == "buffer_updated":
            time.sleep(2 * SLOW_S)
        self.called.append("buffer_updated")


async def served(loop, protocol, event, context=None):
    """A connection of a server through which everything is called."""
    server = await loop.create_server(lambda: protocol, "127.0.0.1", 0, ssl=context)
    client = socket.create_connection(server.sockets[0].getsockname(), WAIT_S)
    with client:
        client.send(b"x")
        client.shutdown(socket.SHUT_WR)
        await until(lambda: event in protocol.called)
    server.close()
    protocol.transport.abort()


async def over_tls(loop, protocol, event, certificates):
    server = await loop.create_server(lambda: protocol, "127.0.0.1", 0, ssl=certificates.server())
    _, writer = await asyncio.open_connection(
        *server.sockets[0].getsockname(), ssl=certificates.client(), server_hostname="localhost"
    )
    writer.write(b"x")
    await until(lambda: event in protocol.called)
    writer.transport.abort()
    server.close()


async def written(loop, protocol, event):
    with stream_pair() as (ours, theirs):
        transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
        transport.write(bytes(4_000_000))
        theirs.setblocking(False)
        while event not in protocol.called:
            await loop.sock_recv(theirs, 1 << 20)
        transport.abort()


async def datagrams(loop, protocol, event):
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=("127.0.0.1", 0))
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", transport.get_extra_info("sockname"))
        await until(lambda: event in protocol.called)
    transport.abort()


async def piped(loop, protocol, event):
    reading, writing = os.pipe()
    transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", 0))
    os.write(writing, b"x")
    os.close(writing)
    await until(lambda: event in protocol.called)
    transport.close()


CASES = [
    (served, event)
    for event in ("connection_made", "data_received", "eof_received", "connection_lost", "buffer_updated")
] + [
    (over_tls, "connection_made"),
    (over_tls, "data_received"),
    (written, "resume_writing"),
    (datagrams, "datagram_received"),
    (piped, "data_received"),
]


@pytest.mark.parametrize(("way", "event"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_slow_method_is_reported_once(loop, caplog, certificates, way, event):
    loop.set_debug(True)
    loop.slow_callback_duration = SLOW_S
    protocol = (SlowBuffer if event == "buffer_updated" else Slow)(event)
    with caplog.at_level(logging.WARNING, "asyncio"):
        run(loop, way(loop, protocol, event, *[certificates] * (way is over_tls)))
        run(loop, asyncio.sleep(0.01))
    reports = [record.getMessage() for record in caplog.records if " took " in record.getMessage()]
    assert (
        len([report for report in reports if 0.04 <= float(report.split()[-2]) < 5])
        >= protocol.called.count(event)
        >= 1
    )


def test_nothing_is_reported_of_what_was_reported_already(loop, caplog):
    """A reader's callback is called from within a completion."""
    loop.set_debug(True)
    loop.slow_callback_duration = SLOW_S
    with stream_pair() as (here, there), caplog.at_level(logging.WARNING, "asyncio"):
        loop.add_reader(here, lambda: (time.sleep(2 * SLOW_S), loop.remove_reader(here)))
        there.send(b"x")
        run(loop, asyncio.sleep(0.1))
    reports = [record.getMessage() for record in caplog.records if " took " in record.getMessage()]
    assert len(reports) == 1 and "lambda" in reports[0]


def test_without_debug_mode_nothing_is_reported(loop, caplog):
    loop.slow_callback_duration = SLOW_S
    with caplog.at_level(logging.WARNING, "asyncio"):
        run(loop, served(loop, Slow("data_received"), "data_received"))
    assert not caplog.records
