"""Ends of pipes for tests of the loop: transports and their protocols."""

import asyncio

from running import run, turns


class Reader(asyncio.Protocol):
    """Says what it is told, in order."""

    def __init__(self, loop):
        self.events = []
        self.data = bytearray()
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.events.append("made")
        self.transport = transport

    def data_received(self, data):
        self.data += data
        if self.events[-1] != "data":
            self.events.append("data")

    def eof_received(self):
        self.events.append("eof")

    def connection_lost(self, exception):
        self.events.append("lost")
        self.lost.set_result(exception)


class Writer(asyncio.BaseProtocol):
    def __init__(self, loop):
        self.events = []
        self.paused = asyncio.Event()
        self.resumed = asyncio.Event()
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.events.append("made")
        self.transport = transport

    def pause_writing(self):
        self.events.append("pause")
        self.paused.set()

    def resume_writing(self):
        self.events.append("resume")
        self.resumed.set()

    def connection_lost(self, exception):
        self.events.append("lost")
        self.lost.set_result(exception)


def opened(loop, file):
    """A transport and its protocol, for a file that can be read."""
    return run(loop, loop.connect_read_pipe(lambda: Reader(loop), file))


def opened_to_write(loop, file):
    return run(loop, loop.connect_write_pipe(lambda: Writer(loop), file))


def filled(loop, transport, protocol):
    """Writes more than the pipe and the buffer hold; how much."""
    total = 0
    while not protocol.paused.is_set():
        transport.write(b"x" * 65536)
        total += 65536
        turns(loop, 1)
    return total


def read_all(source, count):
    """Reads from a pipe until so much has come."""
    found = bytearray()
    while len(found) < count:
        data = source.read(count - len(found))
        assert data, f"the end after {len(found)} of {count} bytes"
        found += data
    return bytes(found)
