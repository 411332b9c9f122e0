"""python-socketio under `ioring serve`: events over polling and WebSockets, rooms, and answers."""

import pytest

from served import MARKS, Serving, need, nothing_went_wrong

pytestmark = MARKS


@pytest.fixture(autouse=True)
def loop_name():
    """Once: the server names its loop itself."""


APP = """
import socketio
sio = socketio.AsyncServer(async_mode="asgi", ping_interval=1)  # for which a client that only polls waits at its end
app = socketio.ASGIApp(sio)

@sio.event
async def connect(sid, environ):
    await sio.enter_room(sid, "all")

@sio.event
async def say(sid, data):
    await sio.emit("said", data, room="all")
    return len(data)
"""


@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"], ["polling"]])
def test_socketio(tmp_path, transports):
    need("socketio", "websocket", "requests")
    import socketio

    with Serving(tmp_path, "main:app", application=APP) as server:
        url = f"http://127.0.0.1:{server.port}"
        with socketio.SimpleClient() as first, socketio.SimpleClient() as second:
            for client in (first, second):
                client.connect(url, transports=transports)
            for data in ("hello", "x" * 100_000, b"bytes"):
                assert first.call("say", data) == len(data)
                assert first.receive(timeout=10) == second.receive(timeout=10) == ["said", data]
            assert first.transport == transports[-1]
    nothing_went_wrong(server)
