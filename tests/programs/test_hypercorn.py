"""hypercorn, which has a fixed list of loops: its serve() runs in a loop that is there. HTTP/1 and HTTP/2."""

import asyncio
import contextlib
import hashlib
import os
import signal
import socket

import pytest

from programs import applications, children

pytestmark = pytest.mark.no_sanitizer

hypercorn = pytest.importorskip("hypercorn", reason="hypercorn is not installed")
serve = pytest.importorskip("hypercorn.asyncio").serve
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
h2 = pytest.importorskip("h2", reason="h2 is not installed")


@contextlib.asynccontextmanager
async def serving(certificates=None):
    config = hypercorn.Config()
    config.loglevel, config.graceful_timeout = "WARNING", 5
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # It makes a socket of its own of the descriptor.
        config.bind = [f"fd://{os.dup(listening.fileno())}"]
        if certificates is not None:
            config.certfile, config.keyfile = str(certificates.cert), str(certificates.key)
        url = f"{'https' if certificates else 'http'}://localhost:{listening.getsockname()[1]}"
        over = asyncio.Event()
        task = asyncio.create_task(serve(applications.app, config, shutdown_trigger=over.wait))
        try:
            yield url
        finally:
            over.set()
            await task


@pytest.fixture(params=["http/1.1", "http/2"])
def version(request):
    return request.param


def speaking(version, certificates):
    only = {"http1": version == "http/1.1", "http2": version == "http/2"}
    return httpx.AsyncClient(verify=certificates.client, timeout=30, **only)


async def test_requests(version, certificates):
    async with serving(certificates) as url, speaking(version, certificates) as client:
        for number in range(20):
            response = await client.get(url + "/hello", params=str(number))
            assert response.text == f"hello {number}="
            assert response.http_version.lower() in (version, version + ".0", "http/2")
        assert response.http_version == {"http/1.1": "HTTP/1.1", "http/2": "HTTP/2"}[version]


async def test_large_bodies(version, certificates):
    body = os.urandom(3_000_000)
    async with serving(certificates) as url, speaking(version, certificates) as client:
        response = await client.post(url + "/digest", content=body)
        assert response.text == f"{hashlib.sha256(body).hexdigest()} {len(body)}"
        response = await client.get(url + "/count", params={"to": 3000})
        assert response.text.split() == [str(number) for number in range(3000)]


async def test_many_at_once(version, certificates):
    """Over HTTP/2 all of them share a connection."""
    async with serving(certificates) as url, speaking(version, certificates) as client:
        responses = await asyncio.gather(*(client.get(url + "/hello", params=str(n)) for n in range(90)))
        assert [response.text for response in responses] == [f"hello {n}=" for n in range(90)]


async def test_plain_connection():
    async with serving() as url, httpx.AsyncClient() as client:
        assert (await client.get(url + "/hello", params="x")).text == "hello x="


async def test_end_waits_for_the_answer():
    async with httpx.AsyncClient() as client, contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving())
        async with client.stream("GET", url + "/gate") as response:
            lines = response.aiter_lines()
            assert await anext(lines) == "begun"
            ending = asyncio.create_task(stack.aclose())
            assert await anext(lines) == "ended"
        await ending


async def test_web_socket():
    client = pytest.importorskip("websockets.asyncio.client", reason="websockets is not installed")
    async with serving() as url, client.connect(url.replace("http", "ws") + "/socket") as connection:
        await connection.send("word")
        assert await connection.recv() == "WORD"
        await connection.send(b"abc" * 10_000)
        assert await connection.recv() == b"cba" * 10_000


SCRIPT = """
import asyncio
import hypercorn
from hypercorn.asyncio import serve
from programs import applications, loops

config = hypercorn.Config()
config.bind = ["127.0.0.1:0"]
with asyncio.Runner(loop_factory=loops.{loop_name}) as runner:
    runner.run(serve(applications.app, config))
print("over")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_script_ends_by_a_signal(loop_name, number):
    with children.python("-c", SCRIPT.format(loop_name=loop_name)) as child:
        port = int(child.wait_for(r"Running on http://127\.0\.0\.1:(\d+)")[1])
        assert httpx.get(f"http://127.0.0.1:{port}/hello?x").text == "hello x"
        assert child.stop(number) == 0, child.said
        assert child.said.endswith("over\n")
        assert "lifespan.shutdown" in child.said
