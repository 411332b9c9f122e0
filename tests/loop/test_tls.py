"""TLS: handshakes, data in both directions, flow control, start_tls."""

import asyncio
import contextvars
import gc
import hashlib
import os
import socket
import ssl
import threading

import pytest

from running import run, until
from tls_peer import BufferedRecorder, Peer, Recorder, accepted, connect_raw, end, pair, serve


def test_streams(loop, certificates, version):
    async def answer(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificates.server(version))
        async with server:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=certificates.client(version), server_hostname="localhost"
            )
            for line in (b"one\n", b"two\n"):
                writer.write(line)
                assert await reader.readline() == line.upper()
            writer.close()
            await writer.wait_closed()
            assert await reader.read() == b""

    loop.run_until_complete(main())


def test_extra_info(loop, certificates, version):
    async def main():
        ours, theirs = await pair(loop, certificates, version=version)
        transport = ours.transport
        assert isinstance(transport, asyncio.Transport)
        assert transport.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        assert isinstance(transport.get_extra_info("sslcontext"), ssl.SSLContext)
        assert transport.get_extra_info("cipher") == transport.get_extra_info("ssl_object").cipher()
        assert ("DNS", "localhost") in transport.get_extra_info("peercert")["subjectAltName"]
        assert transport.get_extra_info("compression", "none") is None
        assert transport.get_extra_info("peername") == theirs.transport.get_extra_info("sockname")
        assert isinstance(transport.get_extra_info("socket"), asyncio.trsock.TransportSocket)
        assert transport.get_extra_info("nothing", 7) == 7
        assert theirs.transport.get_extra_info("peercert") is None
        assert transport.get_protocol() is ours
        assert not transport.can_write_eof()
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        with pytest.raises(TypeError):
            transport.write("text")
        assert "open" in repr(transport)
        assert await end(ours, theirs) == [None, None]
        assert transport.is_closing() and "closing" in repr(transport)
        assert transport.get_extra_info("cipher")

    loop.run_until_complete(main())


@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
def test_large_transfer_in_both_directions(loop, certificates, version, factory):
    size = 3_000_000

    async def main():
        ours, theirs = await pair(loop, certificates, factory, version)
        data = os.urandom(size)
        ours.transport.write(data)
        theirs.transport.writelines([data[:7], bytearray(data[7:100_000]), memoryview(data)[100_000:]])
        for protocol in (ours, theirs):
            assert hashlib.sha256(await protocol.received(size)).digest() == hashlib.sha256(data).digest()
        await end(ours, theirs)

    loop.run_until_complete(main())


def test_peer_on_asyncio(loop, certificates, version):
    """A server of the standard loop, in a thread of its own."""
    address, stop = [], []
    ready = threading.Event()

    async def answer(reader, writer):
        writer.write(await reader.readexactly(100_000))
        await writer.drain()
        assert await reader.read() == b""
        writer.close()

    async def other():
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificates.server(version))
        stopped = asyncio.get_running_loop().create_future()
        address.append(server.sockets[0].getsockname())
        stop.append(lambda: asyncio_loop.call_soon_threadsafe(stopped.set_result, None))
        asyncio_loop = asyncio.get_running_loop()
        ready.set()
        async with server:
            await stopped

    async def main():
        reader, writer = await asyncio.open_connection(
            *address[0], ssl=certificates.client(version), server_hostname="localhost"
        )
        data = os.urandom(100_000)
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()
        await writer.wait_closed()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        thread = threading.Thread(target=runner.run, args=(other(),))
        thread.start()
        try:
            assert ready.wait(10)
            loop.run_until_complete(main())
        finally:
            stop[0]()
            thread.join()


@pytest.mark.parametrize(
    ("flag", "command"),
    [("-tls1_2", b"R"), ("-tls1_3", b"K"), ("-tls1_3", b"k")],
    ids=["renegotiation", "keys-of-both", "keys-of-one"],
)
def test_new_keys(loop, certificates, flag, command):
    """openssl's client renegotiates, or changes its keys, between two messages."""
    context = certificates.server()
    context.options &= ~ssl.OP_NO_RENEGOTIATION
    context.options |= 1 << 8  # OP_ALLOW_CLIENT_RENEGOTIATION, for which the ssl module has no name

    async def main():
        protocol = Recorder(loop)
        server, (host, port) = await serve(loop, lambda: protocol, context)
        client = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", f"{host}:{port}", flag, "-CAfile", certificates.certificate),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

        async def line(*wanted):
            while (found := await client.stdout.readline()) not in wanted:
                assert found, f"the client has ended, without {wanted}"

        client.stdin.write(b"before\n")
        assert await protocol.received(7) == b"before\n"
        client.stdin.write(command + b"\n")
        await line(b"RENEGOTIATING\n", b"KEYUPDATE\n")
        client.stdin.write(b"after\n")
        assert await protocol.received(13) == b"before\nafter\n"
        protocol.transport.write(b"answer\n")
        await line(b"answer\n")
        client.stdin.write(b"Q\n")
        await client.communicate()
        server.close()
        assert await protocol.lost is None

    loop.run_until_complete(main())


# How records and deliveries go together.


def test_records_that_come_together_are_delivered_together(loop, certificates, version):
    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder, version)
        await loop.sock_sendall(peer.sock, b"".join(peer.seal(b"%d," % number) for number in range(20)))
        assert await protocol.received(50) == b"".join(b"%d," % number for number in range(20))
        assert len(protocol.chunks) == 1
        protocol.transport.close()
        await peer.close()
        assert await protocol.lost is None

    loop.run_until_complete(main())


@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
def test_records_that_come_in_pieces(loop, certificates, version, factory):
    async def main():
        protocol, peer = await accepted(loop, certificates, factory, version)
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = b""
        for size in (1, 30, 3000):
            sent += b"x" * size
            record = peer.seal(b"x" * size)
            step = max(1, len(record) // 20)
            for place in range(0, len(record), step):
                await loop.sock_sendall(peer.sock, record[place : place + step])
            assert await protocol.received(len(sent)) == sent
        protocol.transport.close()
        await peer.close()
        assert await protocol.lost is None

    loop.run_until_complete(main())


def test_writes_of_one_turn_are_one_record(loop, certificates):
    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder)
        await peer.send(b"?")
        await protocol.received(1)
        for number in range(20):
            protocol.transport.write(b"%02d" % number)
        assert await peer.recv() == b"".join(b"%02d" % number for number in range(20))
        assert protocol.transport.get_write_buffer_size() == 0
        protocol.transport.close()
        await peer.close()

    loop.run_until_complete(main())


def test_data_right_behind_the_handshake(loop, certificates, version):
    """A client's first data may come together with the last bytes of its handshake."""

    async def main():
        protocol = Recorder(loop)
        server, address = await serve(loop, lambda: protocol, certificates.server(version))
        peer = Peer(loop, await connect_raw(loop, address), certificates.client(version))
        flush, peer.flush = peer.flush, lambda: asyncio.sleep(0)
        while True:
            try:
                peer.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await flush()
                peer.incoming.write(await loop.sock_recv(peer.sock, 65536))
        peer.flush = flush
        peer.tls.write(b"early")
        await flush()
        assert await protocol.received(5) == b"early"
        server.close()
        protocol.transport.close()
        await peer.close()

    loop.run_until_complete(main())


def test_callbacks_run_in_the_context_of_the_connection(loop, certificates):
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    class Counting(Recorder):
        def connection_made(self, transport):
            variable.set(variable.get() + 1)
            super().connection_made(transport)

        def data_received(self, data):
            variable.set(variable.get() + 1)
            super().data_received(data)

        def eof_received(self):
            variable.set(variable.get() + 1)

        def connection_lost(self, exception):
            seen.append(variable.get())
            super().connection_lost(exception)

    async def main():
        ours, theirs = await pair(loop, certificates, Counting)
        ours.transport.write(b"x")
        await theirs.received(1)
        ours.transport.pause_reading()
        theirs.transport.write(b"y")
        ours.transport.resume_reading()
        await ours.received(1)
        await end(ours, theirs)
        assert seen == [3, 3]
        assert variable.get() == 0

    loop.run_until_complete(main())


def test_another_protocol(loop, certificates):
    async def main():
        ours, theirs = await pair(loop, certificates)
        ours.transport.write(b"first")
        await theirs.received(5)
        buffered, plain = BufferedRecorder(loop, 4), Recorder(loop)
        theirs.transport.set_protocol(buffered)
        assert theirs.transport.get_protocol() is buffered
        ours.transport.write(b"second")
        assert await buffered.received(6) == b"second"
        buffered.buffer_updated = lambda count: theirs.transport.set_protocol(plain)
        ours.transport.write(b"abcdefgh")
        assert await plain.received(4) == b"efgh"
        ours.transport.close()
        assert await ours.lost is None
        assert await plain.lost is None

    loop.run_until_complete(main())


# Flow control.


@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
def test_pausing_reading(loop, certificates, version, factory):
    size = 8_000_000  # more than sockets and buffers hold

    async def main():
        ours, theirs = await pair(loop, certificates, factory, version)
        theirs.transport.pause_reading()
        assert not theirs.transport.is_reading()
        ours.transport.write(b"x" * size)
        await asyncio.sleep(0)
        before = -1
        while before != ours.transport.get_write_buffer_size():  # until nothing moves any more
            before = ours.transport.get_write_buffer_size()
            for _ in range(50):
                await asyncio.sleep(0)
        assert before > 0 and theirs.chunks == []
        assert "pause" in ours.events and "resume" not in ours.events
        theirs.transport.resume_reading()
        theirs.transport.resume_reading()
        assert len(await theirs.received(size)) == size
        assert "resume" in ours.events and ours.transport.get_write_buffer_size() == 0
        await end(ours, theirs)

    loop.run_until_complete(main())


def test_pausing_in_the_middle_of_a_delivery(loop, certificates):
    class Hesitant(BufferedRecorder):
        def buffer_updated(self, count):
            super().buffer_updated(count)
            self.transport.pause_reading()
            self.loop.call_soon(self.transport.resume_reading)

    async def main():
        protocol, peer = await accepted(loop, certificates, Hesitant)
        data = os.urandom(50_000)
        await peer.send(data[:16384])
        for place in range(16384, 50_000, 16384):
            await peer.send(data[place : place + 16384])
        assert await protocol.received(len(data)) == data
        protocol.transport.close()
        await peer.close()
        assert await protocol.lost is None

    loop.run_until_complete(main())


def test_write_buffer_limits(loop, certificates):
    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder)
        transport = protocol.transport
        assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
        transport.set_write_buffer_limits(1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        transport.set_write_buffer_limits(low=10)
        assert transport.get_write_buffer_limits() == (10, 40)
        with pytest.raises(ValueError):
            transport.set_write_buffer_limits(5, 6)
        transport.write(b"x" * 40)
        assert protocol.events == ["made"]
        transport.write(b"x")
        assert protocol.events == ["made", "pause"]
        assert len(await peer.recv_exactly(41)) == 41
        assert protocol.events == ["made", "pause", "resume"]
        transport.close()
        await peer.close()

    loop.run_until_complete(main())


def test_sendfile(loop, certificates, tmp_path):
    data = os.urandom(700_000)
    (tmp_path / "file").write_bytes(data)

    async def main():
        ours, theirs = await pair(loop, certificates)
        with open(tmp_path / "file", "rb") as file:  # noqa: ASYNC230
            assert await loop.sendfile(ours.transport, file) == len(data)
        assert await theirs.received(len(data)) == data
        await end(ours, theirs)

    loop.run_until_complete(main())


# start_tls.


@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
def test_start_tls_on_both_sides(loop, certificates, version, factory):
    async def main():
        theirs, ours = factory(loop), factory(loop)
        server, address = await serve(loop, lambda: theirs, None)
        await loop.create_connection(lambda: ours, *address)
        await theirs.made
        server.close()
        ours.transport.write(b"plain")
        assert await theirs.received(5) == b"plain"
        theirs.transport, ours.transport = await asyncio.gather(
            loop.start_tls(theirs.transport, theirs, certificates.server(version), server_side=True),
            loop.start_tls(ours.transport, ours, certificates.client(version), server_hostname="localhost"),
        )
        ours.transport.write(b" and secret")
        assert await theirs.received(16) == b"plain and secret"
        theirs.transport.write(b"answer")
        assert await ours.received(6) == b"answer"
        assert await end(ours, theirs) == [None, None]
        assert ours.events.count("made") == theirs.events.count("made") == 1

    loop.run_until_complete(main())


def test_start_tls_keeps_what_came_before(loop, certificates):
    """The client's first flight is there before start_tls is called."""

    async def main():
        protocol = Recorder(loop)
        server, address = await serve(loop, lambda: protocol, None)
        peer = Peer(loop, await connect_raw(loop, address), certificates.client())
        transport = await protocol.made
        server.close()
        transport.pause_reading()
        handshake = asyncio.ensure_future(peer.handshake())
        for _ in range(20):  # it is held by the transport, or still in the socket: either will do
            await asyncio.sleep(0)
        tls = await loop.start_tls(transport, protocol, certificates.server(), server_side=True)
        await handshake
        await peer.send(b"secret")
        assert await protocol.received(6) == b"secret"
        tls.close()
        await peer.close()
        assert await protocol.lost is None

    loop.run_until_complete(main())


def test_back_to_plain_while_data_is_received(loop, certificates):
    """What decrypts goes away while it hands over what it has decrypted, and the protocol raises."""
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))

    class Changing(Recorder):
        def data_received(self, data):
            below, self.below, self.transport, self.tls = self.below, None, None, None
            below.set_protocol(Recorder(loop))
            gc.collect()
            raise ValueError("behind TLS")

    async def main():
        theirs, ours = Changing(loop), Recorder(loop)
        here, there = socket.socketpair()
        theirs.below, _ = await loop.create_connection(lambda: theirs, sock=here)
        transport, _ = await loop.create_connection(lambda: ours, sock=there)

        async def secure():
            theirs.tls = await loop.start_tls(theirs.below, theirs, certificates.server(), server_side=True)

        task = loop.create_task(secure())
        tls = await loop.start_tls(transport, ours, certificates.client(), server_hostname="localhost")
        await task
        del task
        await asyncio.sleep(0.01)
        tls.write(b"hello")
        await until(lambda: told)
        tls.abort()
        await ours.lost

    run(loop, main())
    assert [type(error) for error in told] == [ValueError]


@pytest.mark.parametrize("half_closed", [False, True])
def test_start_tls_returns_before_the_first_data(loop, certificates, version, half_closed):
    """What comes right behind the handshake is delivered when the caller knows the new transport."""
    said = []

    class Upgrading(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            self.task = loop.create_task(self.upgrade())

        async def upgrade(self):
            self.transport = await loop.start_tls(self.transport, self, certificates.server(version), server_side=True)
            said.append("returned")

        def data_received(self, data):
            said.append("data")
            super().data_received(data)

    async def main():
        protocol = Upgrading(loop)
        server, address = await serve(loop, lambda: protocol, None)
        peer = Peer(loop, await connect_raw(loop, address), certificates.client(version))
        while True:
            try:
                peer.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await peer.flush()
                peer.incoming.write(await loop.sock_recv(peer.sock, 65536))
        peer.tls.write(b"early")
        await peer.flush()
        if half_closed:
            peer.sock.shutdown(socket.SHUT_WR)
        await protocol.received(5)
        assert said == ["returned", "data"]
        server.close()
        protocol.transport.close()
        if half_closed:
            peer.sock.close()
        else:
            await peer.close()
        await protocol.lost

    loop.run_until_complete(main())


def test_start_tls_of_streams(loop, certificates, version):
    async def answer(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"OK\n")
        await writer.drain()
        await writer.start_tls(certificates.server(version))
        writer.write((await reader.readline()).upper())
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"OK\n"
            await writer.start_tls(certificates.client(version), server_hostname="localhost")
            assert writer.get_extra_info("cipher")
            writer.write(b"secret\n")
            assert await reader.read() == b"SECRET\n"
            writer.close()
            await writer.wait_closed()

    if hasattr(asyncio.StreamWriter, "start_tls"):
        loop.run_until_complete(main())


@pytest.mark.skipif(not hasattr(asyncio.StreamWriter, "start_tls"), reason="Python 3.11 has no such method")
def test_start_tls_of_streams_with_a_client_that_has_begun(loop, certificates, version):
    """What the reader holds by then is the beginning of TLS."""
    handled = loop.create_future()

    async def answer(reader, writer):
        assert await reader.readline() == b"PROXY\n"
        await until(lambda: reader._buffer)
        await writer.start_tls(certificates.server(version))
        writer.write((await reader.readline()).upper())
        writer.close()
        await writer.wait_closed()
        handled.set_result(None)

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"PROXY\n")
            await writer.start_tls(certificates.client(version), server_hostname="localhost")
            writer.write(b"secret\n")
            assert await reader.read() == b"SECRET\n"
            writer.close()
            await handled

    loop.run_until_complete(main())


def test_start_tls_misused(loop, certificates):
    async def main():
        with pytest.raises(TypeError, match="SSLContext"):
            await loop.start_tls(None, None, None)
        with pytest.raises(TypeError, match="start_tls"):
            await loop.start_tls(object(), None, certificates.client())

    loop.run_until_complete(main())


def test_tls_in_tls(loop, certificates, version):
    size = 500_000

    async def main():
        ours, theirs = await pair(loop, certificates, version=version)
        outer = (ours.transport, theirs.transport)
        ours.transport, theirs.transport = await asyncio.gather(
            loop.start_tls(ours.transport, ours, certificates.client(), server_hostname="localhost"),
            loop.start_tls(theirs.transport, theirs, certificates.server(version), server_side=True),
        )
        data = os.urandom(size)
        ours.transport.write(data)
        theirs.transport.write(data)
        assert await theirs.received(size) == await ours.received(size) == data
        assert ours.transport.get_extra_info("peername") == outer[0].get_extra_info("peername")
        theirs.transport.pause_reading()
        ours.transport.write(b"late")
        await asyncio.sleep(0)
        theirs.transport.resume_reading()
        assert (await theirs.received(size + 4)).endswith(b"late")
        assert await end(ours, theirs) == [None, None]
        assert all(transport.is_closing() for transport in outer)

    loop.run_until_complete(main())


def test_client_by_default_context(loop, certificates):
    """ssl=True verifies against the system's authorities, which do not know this certificate."""

    async def main():
        server, address = await serve(loop, lambda: Recorder(loop), certificates.server())
        with pytest.raises(ssl.SSLCertVerificationError):
            await loop.create_connection(lambda: Recorder(loop), *address, ssl=True, server_hostname="localhost")
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


@pytest.mark.no_sanitizer
def test_idle_connections_are_small(loop, certificates):
    """Both ends of 200 connections, that have exchanged something, in this process."""
    count, each_kib = 200, 100
    contexts = (certificates.client(), certificates.server())

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

    async def several(number):
        pairs = [await pair(loop, certificates, contexts=contexts) for _ in range(number)]
        for ours, theirs in pairs:
            ours.transport.write(b"x" * 1000)
            theirs.transport.write(b"x" * 1000)
            await asyncio.gather(ours.received(1000), theirs.received(1000))
        return pairs

    async def main():
        for protocols in await several(5):
            await end(*protocols)
        before = resident()
        pairs = await several(count)
        grown = resident() - before
        for protocols in pairs:
            await end(*protocols)
        assert grown < count * each_kib, f"{grown / count:.0f} KiB a pair"

    loop.run_until_complete(main())
