"""aiohttp, server and client."""

import asyncio
import contextlib
import hashlib
import io
import os

import pytest

pytestmark = pytest.mark.no_sanitizer

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")
web = pytest.importorskip("aiohttp.web")


class Server:
    """What the handlers saw, for the tests to wait for."""

    def __init__(self):
        self.peers = []
        self.disconnected = asyncio.Event()

    async def hello(self, request):
        self.peers.append(request.transport.get_extra_info("peername"))
        return web.Response(text=f"hello {request.query.get('name', '')}")

    async def digest(self, request):
        """The body as it comes, never whole in memory."""
        digest, size = hashlib.sha256(), 0
        async for chunk in request.content.iter_chunked(1 << 16):
            digest.update(chunk)
            size += len(chunk)
        return web.json_response({"sha256": digest.hexdigest(), "size": size})

    async def count(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        width = int(request.query.get("width", 1))
        for number in range(int(request.query["to"])):
            await response.write(b"%*d\n" % (width, number))
        await response.write_eof()
        return response

    async def endless(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(1 << 16))
        except (ConnectionError, asyncio.CancelledError):
            self.disconnected.set()
            raise

    async def socket(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data.upper())
            else:
                await socket.send_bytes(message.data[::-1])
        self.disconnected.set()
        return socket


@contextlib.asynccontextmanager
async def serving(tls=None, path=None, **options):
    server = Server()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/hello", server.hello)
    app.router.add_post("/digest", server.digest)
    app.router.add_get("/count", server.count)
    app.router.add_get("/endless", server.endless)
    app.router.add_get("/socket", server.socket)
    if path is not None:
        app.router.add_static("/files", path)
    runner = web.AppRunner(app, **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls, shutdown_timeout=5).start()
        server.port = runner.addresses[0][1]
        server.url = f"{'https' if tls else 'http'}://localhost:{server.port}"
        yield server
    finally:
        await runner.cleanup()


async def test_connection_is_kept_alive():
    async with serving() as server, aiohttp.ClientSession(server.url) as session:
        for number in range(10):
            async with session.get("/hello", params={"name": number}) as response:
                assert await response.text() == f"hello {number}"
        assert len(set(server.peers)) == 1


async def test_connection_is_closed_when_asked():
    async with serving() as server, aiohttp.ClientSession(server.url) as session:
        for _ in range(3):
            async with session.get("/hello", headers={"Connection": "close"}) as response:
                assert response.headers["Connection"] == "close"
                await response.read()
        assert len(set(server.peers)) == 3


async def test_large_upload():
    body = os.urandom(32 << 20)
    async with (
        serving() as server,
        aiohttp.ClientSession(server.url) as session,
        session.post("/digest", data=io.BytesIO(body)) as response,
    ):
        assert await response.json() == {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}


async def test_streamed_upload():
    parts = [os.urandom(size) for size in (1, 10, 100_000, 1, 3_000_000, 7)]

    async def body():
        for part in parts:
            yield part

    async with (
        serving() as server,
        aiohttp.ClientSession(server.url) as session,
        session.post("/digest", data=body()) as response,
    ):
        whole = b"".join(parts)
        assert await response.json() == {"sha256": hashlib.sha256(whole).hexdigest(), "size": len(whole)}


async def test_multipart_upload_of_a_file(tmp_path):
    (tmp_path / "file").write_bytes(os.urandom(1_000_000))
    received = []

    async def form(request):
        async for part in await request.multipart():
            received.append((part.name, bytes(await part.read())))
        return web.Response()

    app = web.Application()
    app.router.add_post("/form", form)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        with open(tmp_path / "file", "rb") as file:
            async with (
                aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session,
                session.post("/form", data={"word": "yes", "file": file}) as response,
            ):
                assert response.status == 200
    finally:
        await runner.cleanup()
    assert received == [("word", b"yes"), ("file", (tmp_path / "file").read_bytes())]


async def test_streamed_response():
    async with (
        serving() as server,
        aiohttp.ClientSession(server.url) as session,
        session.get("/count", params={"to": 20_000}) as response,
    ):
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert [int(line) async for line in response.content] == list(range(20_000))


async def test_file_is_sent(tmp_path):
    """By loop.sendfile()."""
    content = os.urandom(10_000_000)
    (tmp_path / "big").write_bytes(content)
    async with serving(path=tmp_path) as server, aiohttp.ClientSession(server.url) as session:
        async with session.get("/files/big") as response:
            assert await response.read() == content
        async with session.get("/files/big", headers={"Range": "bytes=5000000-5000099"}) as response:
            assert response.status == 206
            assert await response.read() == content[5_000_000:5_000_100]


async def test_client_that_goes_away_ends_the_handler():
    async with serving(handler_cancellation=True) as server, aiohttp.ClientSession(server.url) as session:
        async with session.get("/endless") as response:
            await response.content.readexactly(1_000_000)
            response.close()
        await asyncio.wait_for(server.disconnected.wait(), 10)


async def test_slow_reader_gets_everything():
    """The server's writes wait for a client that reads nothing until the buffers are full."""
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 12)
        writer.write(b"GET /count?to=10000&width=1000 HTTP/1.0\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.0 200")
        async with aiohttp.ClientSession(server.url) as session, session.get("/hello") as response:
            assert await response.text() == "hello "
        rest = b"".join([chunk async for chunk in chunks(reader)])
        assert rest.split() == [b"%d" % number for number in range(10_000)]
        writer.close()
        await writer.wait_closed()


async def chunks(reader):
    while chunk := await reader.read(1 << 16):
        yield chunk


async def test_hundred_requests_at_once():
    async def ask(session, number):
        async with session.get("/hello", params={"name": number}) as response:
            return await response.text()

    connector = aiohttp.TCPConnector(limit=0)
    async with serving() as server, aiohttp.ClientSession(server.url, connector=connector) as session:
        answers = await asyncio.gather(*(ask(session, number) for number in range(100)))
        assert answers == [f"hello {number}" for number in range(100)]


async def test_many_requests_over_few_connections():
    async def ask(session, number):
        async with session.post("/digest", data=os.urandom(number * 100)) as response:
            return (await response.json())["size"]

    connector = aiohttp.TCPConnector(limit=4)
    async with serving() as server, aiohttp.ClientSession(server.url, connector=connector) as session:
        assert await asyncio.gather(*(ask(session, n) for n in range(200))) == [n * 100 for n in range(200)]


async def test_web_socket():
    async with serving() as server, aiohttp.ClientSession(server.url) as session:
        async with session.ws_connect("/socket", heartbeat=5) as socket:
            await socket.send_str("word")
            assert await socket.receive_str() == "WORD"
            big = os.urandom(3_000_000)
            await socket.send_bytes(big)
            assert await socket.receive_bytes() == big[::-1]
            for number in range(1000):
                await socket.send_str(f"a{number}")
            assert [await socket.receive_str() for _ in range(1000)] == [f"A{number}" for number in range(1000)]
        assert socket.close_code == 1000
        await asyncio.wait_for(server.disconnected.wait(), 10)


async def test_web_socket_that_is_cut():
    async with serving() as server:
        session = aiohttp.ClientSession(server.url)
        socket = await session.ws_connect("/socket")
        await socket.send_str("word")
        assert await socket.receive_str() == "WORD"
        socket._response.connection.transport.abort()
        await asyncio.wait_for(server.disconnected.wait(), 10)
        await session.close()


async def test_tls(certificates):
    body = os.urandom(5_000_000)
    connector = aiohttp.TCPConnector(ssl=certificates.client)
    async with (
        serving(tls=certificates.server) as server,
        aiohttp.ClientSession(server.url, connector=connector) as session,
    ):
        for _ in range(2):
            async with session.post("/digest", data=io.BytesIO(body)) as response:
                assert (await response.json())["sha256"] == hashlib.sha256(body).hexdigest()
        async with session.get("/count", params={"to": 10_000}) as response:
            assert [int(line) async for line in response.content] == list(range(10_000))
        async with session.ws_connect("/socket") as socket:
            await socket.send_str("word")
            assert await socket.receive_str() == "WORD"


async def test_tls_that_is_not_trusted(certificates):
    async with serving(tls=certificates.server) as server, aiohttp.ClientSession(server.url) as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get("/hello")


async def test_nobody_listens():
    async with serving() as server:
        pass
    async with aiohttp.ClientSession(server.url) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("/hello")


async def test_client_gives_up():
    async def wait(request):
        await asyncio.Event().wait()

    app = web.Application()
    app.router.add_get("/", wait)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.2)) as session:
        with pytest.raises(TimeoutError):
            await session.get(f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


async def test_unix_socket(tmp_path):
    app = web.Application()
    app.router.add_get("/", lambda request: asyncio.sleep(0, web.Response(text="by path")))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, tmp_path / "socket").start()
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "socket"))) as session,
            session.get("http://localhost/") as response,
        ):
            assert await response.text() == "by path"
    finally:
        await runner.cleanup()
