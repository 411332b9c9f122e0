"""Sanic under `ioring serve`: routes, streams, WebSockets and listeners."""

import pytest

from served import MARKS, Serving, asked, need, nothing_went_wrong

pytestmark = MARKS


@pytest.fixture(autouse=True)
def loop_name():
    """Once: the server names its loop itself."""


APP = """
from sanic import Sanic
from sanic.response import json, text
app = Sanic("served")

@app.before_server_start
async def begun(app):
    app.ctx.begun = True

@app.get("/hello/<name>")
async def hello(request, name):
    return json({"hello": name, "begun": app.ctx.begun})

@app.post("/upload")
async def upload(request):
    return text(str(len(request.body)))

@app.get("/stream")
async def stream(request):
    response = await request.respond(content_type="text/plain")
    for number in range(3):
        await response.send(f"{number},")
    await response.eof()

@app.websocket("/echo")
async def echo(request, socket):
    await socket.send(await socket.recv())
"""


def test_sanic(tmp_path):
    need("sanic")
    client = pytest.importorskip("websockets.sync.client")
    with Serving(tmp_path, "main:app", application=APP) as server:
        assert asked(server, "/hello/world") == b'{"hello":"world","begun":true}'
        assert asked(server, "/upload", bytes(1_000_000)) == b"1000000"
        assert asked(server, "/stream") == b"0,1,2,"
        with client.connect(f"ws://127.0.0.1:{server.port}/echo") as socket:
            socket.send("said")
            assert socket.recv(10) == "said"
    nothing_went_wrong(server)
