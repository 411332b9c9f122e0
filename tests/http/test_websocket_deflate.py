"""Compressed WebSockets: what is negotiated, and what one that is idle keeps."""

import asyncio
import threading
import tracemalloc

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

from http_servers import WAIT_S
from websocket_bytes import frame, raw, request

SERVING = {"lifespan": "off"}
MESSAGES = ["a" * 70_000, "", "abc" * 100, "abc" * 100, b"\0" * 3000]


async def echo(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send(message | {"type": "websocket.send"})
        del message


def answer_to(server, offer):
    """The header with which the server says how it compresses."""
    with server.connect() as client:
        client.sendall(request(b"Sec-WebSocket-Extensions: " + offer) + frame(0x88))
        head = b""
        while part := client.recv(4096):
            head += part
    lines = head.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    [line] = [line for line in lines if line.startswith(b"sec-websocket-extensions: ")]
    return set(line.partition(b": ")[2].decode().split("; "))


@pytest.mark.parametrize(
    ("options", "offer", "answer"),
    [
        ({}, b"client_max_window_bits", {"server_max_window_bits=12", "client_max_window_bits=12"}),
        ({}, b"client_max_window_bits=10", {"server_max_window_bits=12", "client_max_window_bits=10"}),
        ({}, b"server_max_window_bits=9", {"server_max_window_bits=9"}),
        ({"ws_window_bits": 9}, b"client_max_window_bits", {"server_max_window_bits=9", "client_max_window_bits=9"}),
        ({"ws_window_bits": 15}, b"client_max_window_bits", {"server_max_window_bits=15", "client_max_window_bits=15"}),
        (
            {"ws_context_takeover": False},
            b"client_max_window_bits",
            {
                "server_no_context_takeover",
                "client_no_context_takeover",
                "server_max_window_bits=12",
                "client_max_window_bits=12",
            },
        ),
    ],
)
def test_what_is_negotiated(serving, options, offer, answer):
    with serving(echo, **options) as server:
        assert answer_to(server, b"permessage-deflate; " + offer) == {"permessage-deflate", *answer}
    assert server.complaints == []


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("client_bits", [9, 15, True, None])
def test_messages(serving, bits, takeover, client_bits):
    extensions = [ClientPerMessageDeflateFactory(client_max_window_bits=client_bits)]
    with serving(echo, ws_window_bits=bits, ws_context_takeover=takeover) as server:
        url = f"ws://127.0.0.1:{server.address[1]}/"
        with connect(url, extensions=extensions, compression=None) as client:
            assert client.protocol.extensions
            for message in MESSAGES:
                client.send(message)
                assert client.recv(WAIT_S) == message
    assert server.complaints == []


def kept_by_one(serving, **options):
    """Bytes that each idle WebSocket keeps when it has sent and received something."""
    count = 20
    with serving(echo, **options) as server:
        url = f"ws://127.0.0.1:{server.address[1]}/"
        with connect(url) as client:  # what is made once for all
            client.send("a" * 1000)
            client.recv(WAIT_S)
        tracemalloc.start()
        try:
            clients = []
            for _ in range(count):
                client = raw(server, b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
                clients.append(client)
                sock = client.__enter__()
                sock.sendall(frame(0x81, b"a" * 1000))
                assert sock.recv(1)
            filters = [tracemalloc.Filter(True, "*permessage_deflate.py")]
            snapshot = tracemalloc.take_snapshot().filter_traces(filters)
            return sum(trace.size for trace in snapshot.traces) / count
        finally:
            tracemalloc.stop()
            for client in clients:
                client.__exit__(None, None, None)


def test_memory_of_those_that_are_idle(serving):
    assert kept_by_one(serving, ws_window_bits=15) > 250_000
    assert kept_by_one(serving) < 60_000
    assert kept_by_one(serving, ws_context_takeover=False) < 4_000


@pytest.mark.parametrize("limit", [1, 5])
def test_messages_that_wait(serving, limit):
    """No more than the application is to have waiting are taken out of what was received."""
    go, taken = threading.Event(), []

    async def waits(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.to_thread(go.wait, WAIT_S)
        while (message := await receive())["type"] == "websocket.receive":
            taken.append(message["bytes"])

    with serving(waits, ws_max_queue=limit) as server, raw(server) as client:
        client.sendall(frame(0x82, b"x") * 50)
        [websocket] = server.server.service.connections
        server.until(lambda: websocket.reading_paused)
        assert len(websocket.messages) == limit + 1
        go.set()
        server.until(lambda: len(taken) == 50)
        client.sendall(frame(0x88))
    assert server.complaints == []
