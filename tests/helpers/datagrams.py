"""Datagram sockets for tests of the loop: transports, their protocols, and sockets at the other end."""

import asyncio
import contextlib
import socket

from rings import WAIT_S
from running import run, turns

UDP_MAX = 65507
"""The longest datagram of UDP over IPv4."""


class Receiver(asyncio.DatagramProtocol):
    """Says what it is told, in order."""

    def __init__(self, loop):
        self.received = []
        self.errors = []
        self.events = []
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")

    def datagram_received(self, data, address):
        self.received.append((data, address))

    def error_received(self, error):
        self.errors.append(error)

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")

    def connection_lost(self, exception):
        self.events.append("lost")
        self.lost.set_result(exception)

    @property
    def data(self):
        return [data for data, _ in self.received]


class Echo(Receiver):
    def datagram_received(self, data, address):
        Receiver.datagram_received(self, data, address)
        self.transport.sendto(data, address)


def endpoint(loop, protocol=Receiver, **options):
    """A transport and its protocol; bound to the loopback address if nothing else is said."""
    if not options:
        options["local_addr"] = ("127.0.0.1", 0)
    return run(loop, loop.create_datagram_endpoint(lambda: protocol(loop), **options))


def closed(loop, *transports):
    """Closes transports and waits for their ends."""
    for transport in transports:
        transport.close()
    run(loop, asyncio.gather(*(transport.get_protocol().lost for transport in transports)))


@contextlib.contextmanager
def udp():
    """A socket of the test's own; everything about it blocks, for a while."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WAIT_S)
        sock.bind(("127.0.0.1", 0))
        yield sock


@contextlib.contextmanager
def unix_pair():
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        there.settimeout(WAIT_S)
        yield here, there


def blocked(loop, transport):
    """Runs the loop until a Unix socket's receiver takes no more (net.unix.max_dgram_qlen)."""
    before = None
    while (size := transport.get_write_buffer_size()) != before:
        before = size
        turns(loop, 10)
    assert size > 0


def name(transport):
    return transport.get_extra_info("sockname")
