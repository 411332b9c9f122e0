"""tornado: its sockets wait by add_reader and add_writer, as those of many older libraries do."""

import asyncio
import contextlib
import os
import socket

import pytest

tornado = pytest.importorskip("tornado", reason="tornado is not installed")
httpclient = pytest.importorskip("tornado.httpclient")
httpserver = pytest.importorskip("tornado.httpserver")
ioloop = pytest.importorskip("tornado.ioloop")
iostream = pytest.importorskip("tornado.iostream")
tcpserver = pytest.importorskip("tornado.tcpserver")
netutil = pytest.importorskip("tornado.netutil")
web = pytest.importorskip("tornado.web")
websocket = pytest.importorskip("tornado.websocket")


BYTES = {"Content-Type": "application/octet-stream"}


class Hello(web.RequestHandler):
    def get(self):
        self.write(f"hello {self.get_argument('name', '')}")

    async def post(self):
        await asyncio.sleep(0)
        self.write(str(len(self.request.body)))


class Stream(web.RequestHandler):
    async def get(self):
        for number in range(2000):
            self.write(b"%08d" % number)
            await self.flush()


class Socket(websocket.WebSocketHandler):
    def on_message(self, message):
        self.write_message(message[::-1], binary=isinstance(message, bytes))


@contextlib.asynccontextmanager
async def serving(**options):
    server = httpserver.HTTPServer(
        web.Application([("/hello", Hello), ("/stream", Stream), ("/socket", Socket)]),
        max_buffer_size=100 << 20,
        **options,
    )
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    client = httpclient.AsyncHTTPClient(force_instance=True, max_clients=100, max_buffer_size=100 << 20)
    try:
        yield client, f"localhost:{sockets[0].getsockname()[1]}"
    finally:
        client.close()
        server.stop()
        await server.close_all_connections()


async def test_loop_is_asyncio():
    assert ioloop.IOLoop.current().asyncio_loop is asyncio.get_running_loop()


async def test_requests():
    async with serving() as (client, address):
        for number in range(10):
            response = await client.fetch(f"http://{address}/hello?name={number}")
            assert response.body == b"hello %d" % number
        with pytest.raises(httpclient.HTTPClientError, match="404"):
            await client.fetch(f"http://{address}/nothing")


async def test_large_bodies():
    async with serving() as (client, address):
        body = os.urandom(20_000_000)
        response = await client.fetch(f"http://{address}/hello", method="POST", body=body, headers=BYTES)
        assert response.body == b"20000000"


async def test_streamed_answer():
    async with serving() as (client, address):
        parts = []
        await client.fetch(f"http://{address}/stream", streaming_callback=parts.append)
        assert b"".join(parts) == b"".join(b"%08d" % number for number in range(2000))


async def test_hundred_requests_at_once():
    async with serving() as (client, address):
        responses = await asyncio.gather(*(client.fetch(f"http://{address}/hello?name={n}") for n in range(100)))
        assert [response.body for response in responses] == [b"hello %d" % number for number in range(100)]


async def test_time_limit():
    with netutil.bind_sockets(0, "127.0.0.1")[0] as listening:
        async with serving() as (client, _):
            with pytest.raises(httpclient.HTTPError, match="Timeout"):
                await client.fetch(f"http://127.0.0.1:{listening.getsockname()[1]}", request_timeout=0.1)


async def test_web_socket():
    async with serving() as (_, address):
        connection = await websocket.websocket_connect(f"ws://{address}/socket", ping_interval=5)
        for message in ["word", b"bytes", os.urandom(2_000_000), "z" * 100_000]:
            await connection.write_message(message, binary=isinstance(message, bytes))
            assert await connection.read_message() == message[::-1]
        for number in range(200):
            connection.write_message(f"{number:04}")
        assert [await connection.read_message() for _ in range(200)] == [f"{n:04}"[::-1] for n in range(200)]
        connection.close(1000, "done")
        assert await connection.read_message() is None
        assert connection.close_code == 1000


async def test_tls(certificates):
    async with serving(ssl_options=certificates.server) as (client, address):
        options = {"ca_certs": str(certificates.authority), "headers": BYTES}
        body = os.urandom(3_000_000)
        response = await client.fetch(f"https://{address}/hello", method="POST", body=body, **options)
        assert response.body == b"3000000"


async def test_stream_that_pushes_back():
    """A server whose writes have to wait; the client reads slowly at first, then all."""

    class Server(tcpserver.TCPServer):
        async def handle_stream(self, stream, address):
            for number in range(100):
                await stream.write(b"%05d" % number * 20_000)
            stream.close()

    server = Server()
    (listening,) = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets([listening])
    stream = iostream.IOStream(socket.socket())
    await stream.connect(listening.getsockname())
    for number in range(100):
        assert await stream.read_bytes(100_000) == b"%05d" % number * 20_000
    with pytest.raises(iostream.StreamClosedError):
        await stream.read_bytes(1)
    server.stop()


async def test_callbacks_and_timers():
    loop = ioloop.IOLoop.current()
    called = asyncio.Queue()
    loop.add_callback(called.put_nowait, "callback")
    loop.call_later(0.01, called.put_nowait, "timer")
    assert [await called.get(), await called.get()] == ["callback", "timer"]
    periodic = ioloop.PeriodicCallback(lambda: called.put_nowait("again"), 1)
    periodic.start()
    assert [await called.get() for _ in range(5)] == ["again"] * 5
    periodic.stop()
    assert await loop.run_in_executor(None, int, "7") == 7


def test_loop_of_its_own(loop_factory):
    """IOLoop around a loop that is given, as programs without asyncio.run do it."""
    found = loop_factory()
    asyncio.set_event_loop(found)
    try:
        loop = ioloop.IOLoop.current()
        assert loop.asyncio_loop is found

        async def main():
            await asyncio.sleep(0.001)
            return "done"

        assert loop.run_sync(main) == "done"
        loop.close()
    finally:
        asyncio.set_event_loop(None)
        found.close()
