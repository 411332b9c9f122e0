"""Tests of an application over HTTP, with pytest: pytest examples/test_with_server.py"""

import asyncio
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

import ioring


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def server() -> Iterator[ioring.Server]:
    """The application on a free port, in a thread."""
    with ioring.Server(app, port=0, access_log=False) as server:
        yield server


def test_hello(server: ioring.Server) -> None:
    with urllib.request.urlopen(server.url) as response:
        assert response.read() == b"hello"


def test_on_a_loop_of_its_own() -> None:
    async def main() -> None:
        async with ioring.Server(app, port=0, access_log=False) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"hello")
            writer.close()

    ioring.run(main())
