"""websockets, server and client."""

import asyncio
import contextlib
import itertools
import os

import pytest

websockets = pytest.importorskip("websockets", reason="websockets is not installed")
client = pytest.importorskip("websockets.asyncio.client", reason="websockets before 13")
server = pytest.importorskip("websockets.asyncio.server")


async def echo(connection):
    async for message in connection:
        await connection.send(message)


@contextlib.asynccontextmanager
async def serving(handler, **options):
    async with server.serve(handler, "127.0.0.1", 0, **options) as found:
        yield f"ws://127.0.0.1:{found.sockets[0].getsockname()[1]}"


async def test_echo():
    async with serving(echo) as url, client.connect(url) as connection:
        for message in ["word", b"bytes", "", b"", "ü" * 10_000, os.urandom(100_000)]:
            await connection.send(message)
            assert await connection.recv() == message


async def test_many_messages_without_waiting():
    async with serving(echo) as url, client.connect(url) as connection:

        async def send():
            for number in range(5000):
                await connection.send(str(number))

        sending = asyncio.create_task(send())
        assert [await connection.recv() for _ in range(5000)] == [str(number) for number in range(5000)]
        await sending


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_large_messages(compression):
    options = {"compression": compression, "max_size": None}
    async with serving(echo, **options) as url, client.connect(url, **options) as connection:
        for message in [os.urandom(5_000_000), "abc" * 2_000_000]:
            await connection.send(message)
            assert await connection.recv() == message


async def test_compression_is_negotiated():
    async with serving(echo) as url, client.connect(url) as connection:
        assert [extension.name for extension in connection.protocol.extensions] == ["permessage-deflate"]
        await connection.send("a" * 1_000_000)
        assert await connection.recv() == "a" * 1_000_000


async def test_fragments():
    received = []

    async def collect(connection):
        received.extend([fragment async for fragment in connection.recv_streaming()])
        await connection.send(["answer ", "in ", "parts"])

    async with serving(collect) as url, client.connect(url) as connection:
        await connection.send(itertools.repeat(b"x" * 1000, 50))
        assert await connection.recv() == "answer in parts"
    assert b"".join(received) == b"x" * 50_000
    assert len(received) >= 50


async def test_ping():
    async with serving(echo) as url, client.connect(url) as connection:
        for _ in range(5):
            latency = await (await connection.ping())
            assert 0 <= latency < 10


async def test_pings_by_themselves():
    """The server's interval is short; each ping is answered, or the connection would be closed."""
    pings = asyncio.Queue()

    class Client(client.ClientConnection):
        def process_event(self, event):
            if getattr(event, "opcode", None) is websockets.frames.Opcode.PING:
                pings.put_nowait(bytes(event.data))
            super().process_event(event)

    async with (
        serving(echo, ping_interval=0.01, ping_timeout=5) as url,
        client.connect(url, ping_interval=None, create_connection=Client) as connection,
    ):
        assert len({await pings.get() for _ in range(10)}) == 10
        await connection.send("still there")
        assert await connection.recv() == "still there"


async def test_ping_that_is_not_answered_closes():
    """The client stops reading, as one does whose machine is gone."""
    over = asyncio.get_running_loop().create_future()

    async def wait(connection):
        with pytest.raises(websockets.ConnectionClosedError) as caught:
            await connection.recv()
        over.set_result(caught.value.sent.code)

    async with (
        serving(wait, ping_interval=0.05, ping_timeout=0.1, close_timeout=0.1) as url,
        client.connect(url, ping_interval=None, close_timeout=0.1) as connection,
    ):
        connection.transport.pause_reading()
        assert await asyncio.wait_for(over, 10) == 1011
        connection.transport.abort()


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
async def test_close_codes_from_the_server(code):
    async def close(connection):
        await connection.close(code, "because")

    expected = websockets.ConnectionClosedOK if code in (1000, 1001) else websockets.ConnectionClosedError
    async with serving(close) as url, client.connect(url) as connection:
        with pytest.raises(expected) as caught:
            await connection.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, "because")


async def test_close_code_from_the_client():
    over = asyncio.get_running_loop().create_future()

    async def wait(connection):
        await connection.wait_closed()
        over.set_result((connection.close_code, connection.close_reason))

    async with serving(wait) as url:
        async with client.connect(url) as connection:
            await connection.close(4000, "enough")
        assert await asyncio.wait_for(over, 10) == (4000, "enough")


async def test_connection_that_is_cut():
    over = asyncio.get_running_loop().create_future()

    async def wait(connection):
        try:
            await connection.recv()
        except websockets.ConnectionClosedError:
            over.set_result(connection.close_code)

    async with serving(wait) as url, client.connect(url) as connection:
        connection.transport.abort()
        assert await asyncio.wait_for(over, 10) == 1006


async def test_fifty_clients():
    async def talk(url, number):
        async with client.connect(url) as connection:
            for turn in range(20):
                await connection.send(f"{number} {turn}")
                assert await connection.recv() == f"{number} {turn}"
        return number

    async with serving(echo) as url:
        assert await asyncio.gather(*(talk(url, number) for number in range(50))) == list(range(50))


async def test_broadcast():
    connected, all_there = set(), asyncio.Event()

    async def join(connection):
        connected.add(connection)
        if len(connected) == 50:
            all_there.set()
        await connection.wait_closed()

    async with serving(join) as url, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client.connect(url)) for _ in range(50)]
        await asyncio.wait_for(all_there.wait(), 10)
        for number in range(100):
            server.broadcast(connected, f"news {number}")
        for connection in clients:
            assert [await connection.recv() for _ in range(100)] == [f"news {number}" for number in range(100)]


async def test_server_that_closes_with_clients_there():
    """They are told to go away: 1001."""
    async with contextlib.AsyncExitStack() as stack:
        async with serving(echo) as url:
            connections = [await stack.enter_async_context(client.connect(url)) for _ in range(10)]
        for connection in connections:
            with pytest.raises(websockets.ConnectionClosedOK) as caught:
                await connection.recv()
            assert caught.value.rcvd.code == 1001


async def test_slow_reader_does_not_lose_anything():
    async def flood(connection):
        for number in range(100):
            await connection.send(b"%05d" % number * 20_000)

    async with (
        serving(flood, compression=None) as url,
        client.connect(url, compression=None, max_queue=1) as connection,
    ):
        await connection.ping()  # the server is in the middle of it by now
        for number in range(100):
            assert await connection.recv() == b"%05d" % number * 20_000


async def test_tls(certificates):
    async with server.serve(echo, "127.0.0.1", 0, ssl=certificates.server) as found:
        url = f"wss://localhost:{found.sockets[0].getsockname()[1]}"
        async with client.connect(url, ssl=certificates.client) as connection:
            big = os.urandom(900_000)
            await connection.send(big)
            assert await connection.recv() == big


async def test_unix_socket(tmp_path):
    async with (
        server.unix_serve(echo, str(tmp_path / "socket")),
        client.unix_connect(str(tmp_path / "socket")) as connection,
    ):
        await connection.send("by path")
        assert await connection.recv() == "by path"


async def test_handshake_that_is_refused():
    def refuse(connection, request):
        return connection.respond(403, "no\n")

    async with serving(echo, process_request=refuse) as url:
        with pytest.raises(websockets.InvalidStatus) as caught:
            await client.connect(url)
        assert caught.value.response.status_code == 403
