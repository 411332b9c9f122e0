"""TLS: handshakes that fail, and the ways in which a connection ends."""

import asyncio
import contextlib
import errno
import gc
import logging
import socket
import ssl
import weakref

import pytest

from ioring.loop._tls_transport import make_tls
from tls_peer import BufferedRecorder, Peer, Recorder, accepted, connect_raw, end, pair, serve


@pytest.fixture
def reports(loop):
    """What the loop's exception handler is told."""
    found = []
    loop.set_exception_handler(lambda loop, context: found.append(context))
    return found


@contextlib.contextmanager
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


async def connecting(loop, sock, certificates, **options):
    """A connection that is being made with TLS, and the socket that was accepted for it."""
    attempt = asyncio.ensure_future(
        loop.create_connection(
            lambda: Recorder(loop),
            *sock.getsockname(),
            ssl=certificates.client(),
            server_hostname="localhost",
            **options,
        )
    )
    connection, _ = await loop.sock_accept(sock)
    return attempt, connection


# Handshakes.


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
@pytest.mark.parametrize("value", [0, -1])
def test_timeouts_that_are_none(loop, certificates, name, value):
    with pytest.raises(ValueError, match=f"{name} should be a positive number"):
        make_tls(loop, asyncio.Protocol(), certificates.server(), server_side=True, **{name: value})


def test_handshake_that_takes_too_long(loop, certificates):
    async def main():
        with listener() as sock:
            attempt, connection = await connecting(loop, sock, certificates, ssl_handshake_timeout=0.05)
            with connection, pytest.raises(ConnectionAbortedError, match="is taking longer than"):
                await attempt

    loop.run_until_complete(main())


def test_client_that_never_says_anything(loop, certificates, reports):
    async def main():
        server, address = await serve(loop, lambda: Recorder(loop), certificates.server(), ssl_handshake_timeout=0.05)
        with await connect_raw(loop, address) as sock, contextlib.suppress(ConnectionResetError):
            assert await loop.sock_recv(sock, 1) == b""
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())
    assert reports == []


def test_connection_that_ends_during_the_handshake(loop, certificates):
    async def main():
        with listener() as sock:
            attempt, connection = await connecting(loop, sock, certificates)
            connection.shutdown(socket.SHUT_WR)
            with connection, pytest.raises(ConnectionResetError):
                await attempt

    loop.run_until_complete(main())


def test_peer_that_speaks_something_else(loop, certificates, reports):
    async def main():
        with listener() as sock:
            attempt, connection = await connecting(loop, sock, certificates)
            with connection:
                await loop.sock_sendall(connection, b"220 mail.example.com ESMTP ready\r\n")
                with pytest.raises(ssl.SSLError):
                    await attempt
        protocol = Recorder(loop)
        server, address = await serve(loop, lambda: protocol, certificates.server())
        with await connect_raw(loop, address) as sock:
            await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while await loop.sock_recv(sock, 100):
                    pass
        server.close()
        await server.wait_closed()
        assert protocol.events == []

    loop.run_until_complete(main())
    assert reports == []


def test_certificate_that_is_not_trusted(loop, certificates, version, reports):
    """The client refuses, and the server is told why."""

    async def main():
        with listener() as sock:
            attempt = asyncio.ensure_future(
                loop.create_connection(
                    asyncio.Protocol, *sock.getsockname(), ssl=ssl.create_default_context(), server_hostname="localhost"
                )
            )
            connection, _ = await loop.sock_accept(sock)
            with connection:
                peer = Peer(loop, connection, certificates.server(version), server_side=True)
                with pytest.raises(ssl.SSLError, match=r"(?i)unknown ca"):
                    await peer.handshake()
                    await peer.recv()
                with pytest.raises(ssl.SSLCertVerificationError):
                    await attempt

    loop.run_until_complete(main())
    assert reports == []


def test_handshake_that_is_cancelled(loop, certificates, reports):
    async def main():
        with listener() as sock:
            attempt, connection = await connecting(loop, sock, certificates)
            with connection:
                assert await loop.sock_recv(connection, 65536)  # the client's first flight
                attempt.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await attempt
                with contextlib.suppress(ConnectionResetError):
                    assert await loop.sock_recv(connection, 1) == b""

    loop.run_until_complete(main())
    assert reports == []


def test_start_tls_that_is_cancelled(loop, certificates, reports):
    async def main():
        protocol = Recorder(loop)
        server, address = await serve(loop, lambda: protocol, None)
        with await connect_raw(loop, address):
            upgrade = asyncio.ensure_future(
                loop.start_tls(await protocol.made, protocol, certificates.server(), server_side=True)
            )
            await asyncio.sleep(0)
            upgrade.cancel()
            with pytest.raises(asyncio.CancelledError):
                await upgrade
            assert await protocol.lost is None
        server.close()

    loop.run_until_complete(main())
    assert reports == []


def test_start_tls_with_a_peer_that_goes(loop, certificates, reports):
    """The protocol, which is connected since long, hears of it too."""

    async def main():
        protocol = Recorder(loop)
        server, address = await serve(loop, lambda: protocol, None)
        sock = await connect_raw(loop, address)
        transport = await protocol.made
        upgrade = asyncio.ensure_future(loop.start_tls(transport, protocol, certificates.server(), server_side=True))
        sock.close()
        with pytest.raises(ConnectionResetError):
            await upgrade
        assert isinstance(await protocol.lost, ConnectionResetError)
        server.close()

    loop.run_until_complete(main())
    assert reports == []


# Orderly ends.


def test_close_sends_what_was_written(loop, certificates, version):
    data = b"x" * 3_000_000

    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder, version)
        protocol.transport.write(data)
        protocol.transport.close()
        assert protocol.transport.is_closing() and not protocol.transport.is_reading()
        assert await peer.recv_exactly(len(data)) == data
        assert await peer.recv() == b""  # close_notify, or there would be an exception
        assert not protocol.lost.done()
        await peer.close()
        assert await protocol.lost is None
        assert protocol.events[-1] == "lost"

    loop.run_until_complete(main())


@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
def test_peer_closes(loop, certificates, version, factory):
    async def main():
        protocol, peer = await accepted(loop, certificates, factory, version)
        await loop.sock_sendall(peer.sock, peer.seal(b"last words") + peer.say_end())
        assert await protocol.lost is None
        assert protocol.data == b"last words"
        assert protocol.events == ["made", "eof", "lost"]
        await peer.close()

    loop.run_until_complete(main())


@pytest.mark.parametrize("orderly", [True, False], ids=["close_notify", "eof"])
def test_peer_closes_and_still_reads(loop, certificates, version, orderly):
    """What was written before the other side's end is still sent."""
    data = b"x" * 3_000_000

    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder, version)
        protocol.transport.write(data)
        if orderly:
            await loop.sock_sendall(peer.sock, peer.say_end())
        else:
            peer.sock.shutdown(socket.SHUT_WR)
        received = 0
        with contextlib.suppress(ssl.SSLError):  # the end: with close_notify, or without
            while chunk := await peer.recv():
                received += len(chunk)
        assert received == len(data)
        assert await protocol.lost is None
        assert "eof" in protocol.events
        peer.sock.close()

    loop.run_until_complete(main())


@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
def test_connection_that_ends_without_a_word(loop, certificates, version, factory):
    """asyncio does not tell it from an orderly end."""

    async def main():
        protocol, peer = await accepted(loop, certificates, factory, version)
        await peer.send(b"whole")
        await loop.sock_sendall(peer.sock, peer.seal(b"half")[:-2])
        peer.sock.shutdown(socket.SHUT_WR)
        assert await protocol.lost is None
        peer.sock.close()
        assert protocol.data == b"whole"
        assert protocol.events == ["made", "eof", "lost"]

    loop.run_until_complete(main())


def test_end_while_reading_is_paused(loop, certificates, version):
    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder, version)
        protocol.transport.pause_reading()
        await peer.send(b"data")
        peer.sock.shutdown(socket.SHUT_WR)
        for _ in range(20):
            await asyncio.sleep(0)
        assert protocol.events == ["made"] and protocol.chunks == []
        protocol.transport.resume_reading()
        assert await protocol.lost is None
        assert protocol.data == b"data"
        assert protocol.events == ["made", "eof", "lost"]
        peer.sock.close()

    loop.run_until_complete(main())


def test_close_while_reading_is_paused(loop, certificates, version):
    """The other side's answer is heard although the application does not want to read."""

    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder, version)
        protocol.transport.pause_reading()
        await peer.send(b"nobody reads this")
        for _ in range(20):
            await asyncio.sleep(0)
        protocol.transport.close()
        await peer.close()
        assert await protocol.lost is None
        assert protocol.chunks == []

    loop.run_until_complete(main())


def test_close_while_the_peer_sends(loop, certificates, version):
    """What comes behind close() is thrown away, and is no error."""

    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder, version)
        protocol.transport.close()
        for _ in range(20):
            await peer.send(b"x" * 10_000)
        await peer.close()
        assert await protocol.lost is None
        assert protocol.chunks == []

    loop.run_until_complete(main())


def test_close_in_every_callback(loop, certificates):
    class Closing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write(b"answer")
            self.transport.close()
            self.transport.close()

    class ClosingAtOnce(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"answer")
            transport.close()

    class ClosingAtTheEnd(Recorder):
        def eof_received(self):
            super().eof_received()
            self.transport.write(b"answer")
            self.transport.close()

    async def main():
        for factory in (Closing, ClosingAtOnce, ClosingAtTheEnd):
            protocol, peer = await accepted(loop, certificates, factory)
            await loop.sock_sendall(peer.sock, peer.seal(b"x") + peer.say_end())
            assert await peer.recv() == b"answer"
            await peer.close()
            assert await protocol.lost is None

    loop.run_until_complete(main())


def test_writes_after_the_end_are_dropped(loop, certificates, caplog):
    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder)
        protocol.transport.close()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(5):
                protocol.transport.write(b"x")
            assert not caplog.records
            for _ in range(50):
                protocol.transport.write(b"x")
        assert [record.getMessage() for record in caplog.records] == ["SSL connection is closed"]
        assert protocol.transport.get_write_buffer_size() == 0
        assert await peer.recv() == b""
        await peer.close()
        assert await protocol.lost is None
        protocol.transport.write(b"x")
        protocol.transport.close()
        protocol.transport.abort()

    loop.run_until_complete(main())


def test_eof_received_cannot_keep_the_connection(loop, certificates, caplog):
    class Keeping(Recorder):
        def eof_received(self):
            return True

    async def main():
        protocol, peer = await accepted(loop, certificates, Keeping)
        with caplog.at_level(logging.WARNING, "asyncio"):
            await peer.close()
        assert await protocol.lost is None
        assert "no effect when using ssl" in caplog.text

    loop.run_until_complete(main())


def test_server_that_closes(loop, certificates):
    """Everything of a connection is given up with it."""

    async def main():
        ours, theirs = await pair(loop, certificates)
        contexts = [weakref.ref(protocol.transport.get_extra_info("ssl_object")) for protocol in (ours, theirs)]
        assert await end(ours, theirs) == [None, None]
        transports = [weakref.ref(ours.transport), weakref.ref(theirs.transport)]
        del ours.transport, theirs.transport
        ours.made = theirs.made = None
        await asyncio.sleep(0)
        return contexts + transports

    gc.disable()
    try:
        assert [reference() for reference in loop.run_until_complete(main())] == [None] * 4
    finally:
        gc.enable()


# Ends that are not.


def test_peer_that_never_answers_close(loop, certificates, version):
    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder, version, ssl_shutdown_timeout=0.05)
        protocol.transport.close()
        exception = await protocol.lost
        assert isinstance(exception, TimeoutError) and "shutdown" in str(exception)
        peer.sock.close()

    loop.run_until_complete(main())


def test_peer_that_never_reads(loop, certificates, version):
    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder, version, ssl_shutdown_timeout=0.05)
        protocol.transport.write(b"x" * 20_000_000)
        protocol.transport.close()
        assert isinstance(await protocol.lost, TimeoutError)
        peer.sock.close()

    loop.run_until_complete(main())


def test_abort(loop, certificates, version):
    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder, version)
        protocol.transport.write(b"x" * 20_000_000)
        protocol.transport.abort()
        assert protocol.transport.is_closing() and protocol.transport.get_write_buffer_size() == 0
        assert await protocol.lost is None
        assert "eof" not in protocol.events
        with pytest.raises((ssl.SSLError, ConnectionResetError)):  # no close_notify
            while await peer.recv():
                pass
        peer.sock.close()

    loop.run_until_complete(main())


def test_connection_that_is_reset(loop, certificates, version):
    async def main():
        protocol, peer = await accepted(loop, certificates, Recorder, version)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.sock.close()
        assert (await protocol.lost).errno == errno.ECONNRESET

    loop.run_until_complete(main())


@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
def test_record_that_was_changed_on_its_way(loop, certificates, version, factory, reports):
    async def main():
        protocol, peer = await accepted(loop, certificates, factory, version)
        record = bytearray(peer.seal(b"genuine"))
        record[-1] ^= 1
        await loop.sock_sendall(peer.sock, peer.seal(b"") + record)
        with pytest.raises(ssl.SSLError, match=r"(?i)bad record mac"):  # the peer is told
            while await peer.recv():
                pass
        assert isinstance(await protocol.lost, ssl.SSLError)
        assert protocol.chunks == []
        peer.sock.close()

    loop.run_until_complete(main())
    assert reports == []


@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
def test_garbage_behind_data(loop, certificates, factory, reports):
    async def main():
        protocol, peer = await accepted(loop, certificates, factory)
        await loop.sock_sendall(peer.sock, peer.seal(b"data") + b"\0" * 100)
        assert isinstance(await protocol.lost, ssl.SSLError)
        assert protocol.data == b"data"
        peer.sock.close()

    loop.run_until_complete(main())
    assert reports == []


# Exceptions of applications.


class Failure(Exception):
    pass


def failing(base, name):
    def fail(self, *arguments):
        if name == "connection_made":
            base.connection_made(self, *arguments)
        raise Failure(name)

    return type("Failing", (base,), {name: fail})


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (Recorder, "connection_made"),
        (Recorder, "data_received"),
        (Recorder, "eof_received"),
        (BufferedRecorder, "get_buffer"),
        (BufferedRecorder, "buffer_updated"),
    ],
)
def test_exception_in_a_callback(loop, certificates, reports, base, name):
    """The connection ends with it, and the handler is told."""

    async def main():
        protocol, peer = await accepted(loop, certificates, failing(base, name))
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(peer.sock, peer.seal(b"data") + peer.say_end())
        assert isinstance(await protocol.lost, Failure)
        peer.sock.close()

    loop.run_until_complete(main())
    assert [str(report["exception"]) for report in reports] == [name]
    assert isinstance(reports[0]["message"], str)


def test_empty_buffer(loop, certificates, reports):
    async def main():
        protocol, peer = await accepted(loop, certificates, lambda loop: BufferedRecorder(loop, 0))
        await peer.send(b"data")
        assert isinstance(await protocol.lost, RuntimeError)
        peer.sock.close()

    loop.run_until_complete(main())
    assert "empty buffer" in str(reports[0]["exception"])


def test_exceptions_of_flow_control_do_no_harm(loop, certificates, reports):
    factory = failing(failing(Recorder, "pause_writing"), "resume_writing")

    async def main():
        protocol, peer = await accepted(loop, certificates, factory)
        protocol.transport.set_write_buffer_limits(10)
        protocol.transport.write(b"x" * 100)
        assert await peer.recv_exactly(100) == b"x" * 100
        protocol.transport.close()
        await peer.close()
        assert await protocol.lost is None

    loop.run_until_complete(main())
    assert [report["message"] for report in reports] == [
        "protocol.pause_writing() failed",
        "protocol.resume_writing() failed",
    ]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_exceptions_that_end_the_program(loop, certificates, stop):
    class Stopping(Recorder):
        def data_received(self, data):
            raise stop

    protocol, peer = loop.run_until_complete(accepted(loop, certificates, Stopping))
    sending = loop.create_task(peer.send(b"data"))
    with pytest.raises(stop):
        loop.run_until_complete(protocol.lost)
    loop.run_until_complete(sending)
    protocol.transport.abort()
    loop.run_until_complete(protocol.lost)
    peer.sock.close()
