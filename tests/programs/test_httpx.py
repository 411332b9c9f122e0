"""httpx's AsyncClient: against uvicorn's Server and aiohttp's, which run in the same loop as the client."""

import asyncio
import contextlib
import hashlib
import os
import socket

import pytest

httpx = pytest.importorskip("httpx", reason="httpx is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        yield


@contextlib.asynccontextmanager
async def serving(**options):
    config = uvicorn.Config("programs.applications:app", log_level="warning", http="h11", **options)
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        scheme = "https" if config.is_ssl else "http"
        url = f"{scheme}://localhost:{listening.getsockname()[1]}"
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield url
        finally:
            server.should_exit = True
            await task


async def test_requests():
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        for number in range(20):
            response = await client.get("/hello", params=str(number))
            assert (response.status_code, response.text) == (200, f"hello {number}=")
        body = os.urandom(5_000_000)
        response = await client.post("/digest", content=body)
        assert response.text == f"{hashlib.sha256(body).hexdigest()} {len(body)}"


async def test_streams():
    parts = [os.urandom(size) for size in (1, 200_000, 3, 40_000)]

    async def body():
        for part in parts:
            yield part

    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        response = await client.post("/digest", content=body())
        whole = b"".join(parts)
        assert response.text == f"{hashlib.sha256(whole).hexdigest()} {len(whole)}"
        async with client.stream("GET", "/count", params={"to": 5000}) as response:
            assert [int(line) async for line in response.aiter_lines()] == list(range(5000))


async def test_hundred_requests_at_once():
    limits = httpx.Limits(max_connections=None)
    async with serving() as url, httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
        responses = await asyncio.gather(*(client.get("/hello", params=str(number)) for number in range(100)))
        assert [response.text for response in responses] == [f"hello {number}=" for number in range(100)]


async def test_time_limit():
    limits = httpx.Timeout(30, read=0.1)
    async with serving() as url, httpx.AsyncClient(base_url=url, timeout=limits) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/gate")


async def test_cancelled_request_leaves_the_pool_sound():
    async with serving() as url, httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(3):
            # Long enough for the connection: httpcore loses one that is cancelled while it is made, on any loop.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.get("/gate")
        assert (await client.get("/hello")).text == "hello "


async def test_tls(certificates):
    options = {"ssl_certfile": certificates.cert, "ssl_keyfile": certificates.key}
    async with serving(**options) as url:
        async with httpx.AsyncClient(base_url=url, verify=certificates.client) as client:
            body = os.urandom(3_000_000)
            for _ in range(3):
                response = await client.post("/digest", content=body)
                assert response.text == f"{hashlib.sha256(body).hexdigest()} {len(body)}"
        async with httpx.AsyncClient(base_url=url) as client:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.get("/hello")


async def test_through_a_proxy(certificates):
    """CONNECT, then TLS on the connection that is there already: start_tls."""

    async def proxy(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        host, _, port = head.split()[1].decode().partition(":")
        assert head.startswith(b"CONNECT ")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")

        async def carry(source, sink):
            while chunk := await source.read(1 << 16):
                sink.write(chunk)
                await sink.drain()
            sink.close()

        await asyncio.gather(carry(reader, back), carry(there, writer))
        await asyncio.gather(writer.wait_closed(), back.wait_closed())

    options = {"ssl_certfile": certificates.cert, "ssl_keyfile": certificates.key}
    async with serving(**options) as url, await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, verify=certificates.client, proxy=address) as client:
            assert (await client.get("/hello", params="x")).text == "hello x="


async def test_aiohttp_serves():
    web = pytest.importorskip("aiohttp.web", reason="aiohttp is not installed")

    async def answer(request):
        return web.json_response({"length": len(await request.read()), "cookie": request.cookies.get("a")})

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with httpx.AsyncClient(base_url=url, cookies={"a": "b"}) as client:
            responses = await asyncio.gather(*(client.post("/", content=bytes(1000 * n)) for n in range(50)))
            assert [r.json() for r in responses] == [{"length": 1000 * n, "cookie": "b"} for n in range(50)]
    finally:
        await runner.cleanup()
