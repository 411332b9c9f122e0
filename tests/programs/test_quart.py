"""Quart under `ioring serve`: forms, streams in both directions, WebSockets and background tasks."""

import pytest

from served import MARKS, Serving, asked, need, nothing_went_wrong

pytestmark = MARKS


@pytest.fixture(autouse=True)
def loop_name():
    """Once: the server names its loop itself."""


APP = """
from quart import Quart, request, websocket
app = Quart(__name__)

@app.get("/")
async def index():
    return {"path": request.path, "query": request.args.get("a")}

@app.post("/form")
async def form():
    return (await request.form)["name"]

@app.post("/upload")
async def upload():
    size = 0
    async for data in request.body:
        size += len(data)
    return str(size)

@app.get("/stream")
async def stream():
    async def pieces():
        for number in range(3):
            yield f"{number},"
    return pieces()

@app.get("/task")
async def task():
    async def background():
        print("in the background", flush=True)
    app.add_background_task(background)
    return "begun"

@app.websocket("/echo")
async def echo():
    while True:
        await websocket.send(await websocket.receive())
"""


def test_quart(tmp_path):
    need("quart")
    client = pytest.importorskip("websockets.sync.client")
    with Serving(tmp_path, "main:app", application=APP) as server:
        assert asked(server, "/?a=b").replace(b" ", b"").strip() == b'{"path":"/","query":"b"}'
        assert asked(server, "/form", b"name=value") == b"value"
        assert asked(server, "/upload", bytes(1_000_000), {"Content-Type": "application/octet-stream"}) == b"1000000"
        assert asked(server, "/stream") == b"0,1,2,"
        assert asked(server, "/task") == b"begun"
        server.wait_for("in the background")
        with client.connect(f"ws://127.0.0.1:{server.port}/echo") as socket:
            for message in ("text", b"bytes"):
                socket.send(message)
                assert socket.recv(10) == message
    nothing_went_wrong(server)
