"""flask-sock and Flask-SocketIO under `ioring serve`, which hands them the socket of a WebSocket."""

import ssl

import pytest

from programs import loops
from serving import WAIT_S, Serving

pytestmark = [
    pytest.mark.no_sanitizer,
    pytest.mark.skipif("plain" not in loops.CHOSEN, reason="the server has a loop of its own"),
]

SOCK = """
from flask import Flask
from flask_sock import Sock
app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25}
sock = Sock(app)
@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(ws.receive())
@sock.route("/once")
def once(ws):
    ws.send("once")
@app.route("/")
def index():
    return "index"
"""

SOCKETIO = """
from flask import Flask
from flask_socketio import SocketIO, send
app = Flask(__name__)
socketio = SocketIO(app, async_mode="threading")
@socketio.on("message")
def on_message(data):
    send(data[::-1])
"""


@pytest.fixture(autouse=True)
def loop_name():
    """Once: the server names its loop itself."""


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("tls",)], ids=["plain", "workers", "tls"])
def test_flask_sock(tmp_path, certificates, options):
    pytest.importorskip("flask_sock")
    client = pytest.importorskip("websockets.sync.client")
    exceptions = pytest.importorskip("websockets.exceptions")
    context = None
    if options == ("tls",):
        options = ("--ssl-certfile", str(certificates.cert), "--ssl-keyfile", str(certificates.key))
        context = ssl.create_default_context(cafile=str(certificates.authority))
    with Serving(tmp_path, "main:app", *options, application=SOCK) as server:
        url = f"{'wss' if context else 'ws'}://localhost:{server.port}"
        with client.connect(f"{url}/echo", ssl=context) as first, client.connect(f"{url}/echo", ssl=context) as second:
            for message in ("text", b"bytes", "x" * 200_000):
                for each in (first, second):
                    each.send(message)
                    assert each.recv(WAIT_S) == message
        with client.connect(f"{url}/once", ssl=context) as once:
            assert once.recv(WAIT_S) == "once"
            with pytest.raises(exceptions.ConnectionClosedOK):
                once.recv(WAIT_S)
        if context is None:
            assert server.get() == "index"
        server.wait_for(r'"GET /once HTTP/1.1" 101')
    assert server.errors == [], "".join(server.errors)


def test_flask_socketio(tmp_path):
    pytest.importorskip("flask_socketio")
    socketio = pytest.importorskip("socketio")
    pytest.importorskip("websocket")
    with Serving(tmp_path, "main:app", application=SOCKETIO) as server:
        for transports in (["websocket"], ["polling", "websocket"], ["polling"]):
            with socketio.SimpleClient() as client:
                client.connect(f"http://127.0.0.1:{server.port}", transports=transports)
                for data in ("hello", "x" * 100_000):
                    client.client.send(data)
                    assert client.receive(timeout=WAIT_S) == ["message", data[::-1]]
                if "websocket" in transports:
                    assert client.transport == "websocket"
    # Of a client that has left while it polls a line is logged.
    assert not any("Traceback" in line for line in server.errors), "".join(server.errors)
