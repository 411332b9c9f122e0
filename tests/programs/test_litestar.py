"""Litestar under `ioring serve`: its routes, streams, WebSockets and start-up."""

import pytest

from served import MARKS, Serving, asked, need, nothing_went_wrong

pytestmark = MARKS


@pytest.fixture(autouse=True)
def loop_name():
    """Once: the server names its loop itself."""


APP = """
import asyncio
from litestar import Litestar, get, post, websocket
from litestar.response import Stream

@get("/hello/{name:str}")
async def hello(name: str) -> dict[str, str]:
    return {"hello": name}

@post("/sum")
async def total(data: list[int]) -> int:
    return sum(data)

@get("/stream")
async def stream() -> Stream:
    async def pieces():
        for number in range(3):
            yield f"{number},"
    return Stream(pieces())

@websocket("/echo")
async def echo(socket: "litestar.WebSocket") -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()

async def started(app):
    print("started", flush=True)

async def ended(app):
    print("ended", flush=True)

import litestar
app = Litestar([hello, total, stream, echo], on_startup=[started], on_shutdown=[ended])
"""


def test_litestar(tmp_path):
    need("litestar")
    client = pytest.importorskip("websockets.sync.client")
    with Serving(tmp_path, "main:app", application=APP) as server:
        server.wait_for("^started$")
        assert asked(server, "/hello/world") == b'{"hello":"world"}'
        assert asked(server, "/sum", b"[1, 2, 3]", {"Content-Type": "application/json"}) == b"6"
        assert asked(server, "/stream") == b"0,1,2,"
        with client.connect(f"ws://127.0.0.1:{server.port}/echo") as socket:
            socket.send("said")
            assert socket.recv(10) == "said"
    assert "ended\n" in server.output
    nothing_went_wrong(server)
