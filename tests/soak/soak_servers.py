"""The soak's servers: on the loop that is tested, each in its own style of programming.

An echo answers with what it hears. A sink is told what will come, checks it, and answers at the end how much it was. A
source is told what is wanted, and sends it, from memory or out of a file.
"""

import asyncio
import struct

from soak_pattern import Pattern
from soak_peers import HEADER

FILE_SIZE = 3_000_000
FILE_SEED = 7


class Counted:
    """Connections that the soak waits for at the end."""

    def __init__(self, soak):
        self.soak = soak
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        self.soak.connections[self] = None

    def connection_lost(self, exception):
        self.soak.connections.pop(self, None)

    def pause_writing(self):
        self.soak.did["pause_writing"] += 1
        self.transport.pause_reading()

    def resume_writing(self):
        self.soak.did["resume_writing"] += 1
        self.transport.resume_reading()


class Echo(Counted, asyncio.Protocol):
    def data_received(self, data):
        self.transport.write(data)


class BufferedEcho(Counted, asyncio.BufferedProtocol):
    def __init__(self, soak):
        super().__init__(soak)
        self.buffer = bytearray(soak.rng.choice([1, 100, 4096, 100_000]))

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        self.transport.write(memoryview(self.buffer)[:count])
        if len(self.buffer) <= 100:  # so little at a time was enough
            self.buffer = bytearray(3000)


class Sink(Counted, asyncio.Protocol):
    def __init__(self, soak):
        super().__init__(soak)
        self.head = b""
        self.pattern = None

    def data_received(self, data):
        if self.pattern is None:
            self.head += data
            if len(self.head) < HEADER.size:
                return
            seed, self.length = HEADER.unpack_from(self.head)
            self.pattern = Pattern(seed)
            data = self.head[HEADER.size :]
        self.pattern.check(data)
        assert self.pattern.count <= self.length

    def eof_received(self):
        self.transport.write(struct.pack("!Q", self.pattern.count if self.pattern else 0))


class Source(Counted, asyncio.Protocol):
    """Writes as long as it may, and goes on when it may again."""

    def __init__(self, soak):
        super().__init__(soak)
        self.head = b""
        self.pattern = None
        self.paused = False

    def data_received(self, data):
        self.head += data
        if len(self.head) == HEADER.size:
            seed, self.length = HEADER.unpack(self.head)
            self.pattern = Pattern(seed)
            self.send()

    def send(self):
        rng = self.soak.rng
        while self.pattern.count < self.length and not self.paused and not self.transport.is_closing():
            count = min(rng.choice([100, 5000, 70_000]), self.length - self.pattern.count)
            if rng.random() < 0.3:
                self.transport.writelines([self.pattern.take(count // 2), self.pattern.take(count - count // 2)])
            else:
                self.transport.write(self.pattern.take(count))
        if self.pattern.count == self.length:
            self.transport.close()

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        self.send()

    def eof_received(self):
        return self.pattern is not None


class FileSource(Counted, asyncio.Protocol):
    """Sends a part of the soak's file by loop.sendfile()."""

    def __init__(self, soak):
        super().__init__(soak)
        self.head = b""

    def data_received(self, data):
        self.head += data
        if len(self.head) == HEADER.size:
            self.soak.start(self.send(*HEADER.unpack(self.head)))

    async def send(self, offset, count):
        try:
            with open(self.soak.file, "rb") as file:  # noqa: ASYNC230
                self.transport.write(self.head)  # so that there is something before it in the queue
                sent = await self.soak.loop.sendfile(self.transport, file, offset, count)
                assert sent == count
        except (ConnectionError, RuntimeError):
            # RuntimeError: the transport has been closed meanwhile.
            assert self.transport.is_closing()
        else:
            self.soak.did["sendfile"] += 1
        finally:
            self.transport.close()

    def pause_writing(self):
        pass

    def resume_writing(self):
        pass


class Switching(Echo):
    """Hands its connection to one protocol after the other."""

    def data_received(self, data):
        super().data_received(data)
        if self.soak.rng.random() < 0.3:
            self.hand_over()

    def hand_over(self):
        kind = SwitchingBuffered if self.soak.rng.random() < 0.5 else Switching
        other = kind(self.soak)
        other.transport = self.transport
        del self.soak.connections[self]
        self.soak.connections[other] = None
        self.transport.set_protocol(other)
        self.soak.did["set_protocol"] += 1


class SwitchingBuffered(BufferedEcho):
    def buffer_updated(self, count):
        super().buffer_updated(count)
        if self.soak.rng.random() < 0.3:
            Switching.hand_over(self)


class Upgrading(Echo):
    """An echo that becomes one over TLS when it is asked to."""

    def __init__(self, soak):
        super().__init__(soak)
        self.early = None  # what comes over TLS before start_tls() has returned

    def data_received(self, data):
        if data == b"STARTTLS\n":
            self.transport.pause_reading()
            self.transport.write(b"GO\n")
            self.early = []
            self.soak.start(self.upgrade())
        elif self.early is not None:
            self.early.append(data)
        else:
            super().data_received(data)

    async def upgrade(self):
        try:
            transport = await self.soak.loop.start_tls(
                self.transport, self, self.soak.server_context, server_side=True, ssl_handshake_timeout=60
            )
        except ConnectionError:
            self.soak.connections.pop(self, None)  # connection_lost() is only for connections that were made
            return
        if transport is not None:  # None: closed meanwhile
            self.transport = transport
            self.transport.writelines(self.early)
            self.early = None


async def echo_streams(soak, reader, writer):
    """The same with streams."""
    key = object()
    soak.connections[key] = None
    try:
        while data := await reader.read(soak.rng.choice([100, 4096, 100_000])):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass  # reset; asyncio's own write_eof() fails with ENOTCONN then
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass
        del soak.connections[key]


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)

    def error_received(self, error):
        pass  # a client's socket is gone


async def start_datagrams(soak):
    """A server for datagrams, with its address. It remembers its clients' addresses, so each round has its own."""
    transport, _ = await soak.loop.create_datagram_endpoint(DatagramEcho, ("127.0.0.1", 0))
    soak.addresses["udp"] = transport.get_extra_info("sockname")
    return transport


async def start(soak, folder):
    """All servers: what they are called, and where they are."""
    loop = soak.loop

    async def tcp(factory, **options):
        server = await loop.create_server(lambda: factory(soak), "127.0.0.1", 0, backlog=1000, **options)
        soak.servers.append(server)
        return server.sockets[0].getsockname()

    def streams(reader, writer):
        return echo_streams(soak, reader, writer)

    addresses = {
        "protocol": await tcp(Echo),
        "buffered": await tcp(BufferedEcho),
        "switching": await tcp(Switching),
        "upgrading": await tcp(Upgrading),
        "tls": await tcp(Echo, ssl=soak.server_context, ssl_handshake_timeout=60, ssl_shutdown_timeout=30),
        "sink": await tcp(Sink),
        "source": await tcp(Source),
        "file": await tcp(FileSource),
    }
    server = await asyncio.start_server(streams, "127.0.0.1", 0, backlog=1000)
    soak.servers.append(server)
    addresses["streams"] = server.sockets[0].getsockname()
    for name, made in (
        ("unix", loop.create_unix_server(lambda: Echo(soak), str(folder / "unix"), backlog=1000)),
        ("unix streams", asyncio.start_unix_server(streams, str(folder / "streams"), backlog=1000)),
    ):
        server = await made
        soak.servers.append(server)
        addresses[name] = server.sockets[0].getsockname()
    return addresses
