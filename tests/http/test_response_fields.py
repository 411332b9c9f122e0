"""Bytes that no field of a response may have, whoever gives them."""

import asyncio

import pytest

from http_servers import GET, lifeless, read_all, read_response

CONTROLS = bytes(byte for byte in range(0x80) if (byte < 0x20 and byte != 0x09) or byte == 0x7F)
OTHERS = bytes(byte for byte in range(256) if byte not in CONTROLS)
UPGRADE = (
    b"GET /%d HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
CLOSE = b"\x88\x80\0\0\0\0"


def value_of(path):
    return b"a" + bytes([int(path[1:])]) + b"b"


async def asgi(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", value_of(scope["path"]))]})
    await send({"type": "http.response.body", "body": b"said"})


def wsgi(environ, start_response):
    start_response("200 OK", [("X", value_of(environ["PATH_INFO"]).decode("latin-1"))])
    return [b"said"]


def all_of_values(complaints):
    """Those that are told; of more of the kind there is a count."""
    assert len(complaints) >= 10
    for _, exception in complaints:
        assert "has a byte that no value may have" in str(exception)


@pytest.mark.parametrize(("application", "kind"), [(lifeless(asgi), "asgi"), (wsgi, "wsgi")], ids=["asgi", "wsgi"])
def test_values_have_no_control_bytes(serving, application, kind):
    with serving(application, kind=kind) as server:
        for byte in CONTROLS:
            said = server.talk(GET.replace(b"/", b"/%d" % byte, 1))
            assert said.startswith(b"HTTP/1.1 500 "), byte
            assert b"x: a" not in said
        all_of_values(server.complaints)
        with server.connect() as client:
            for byte in OTHERS:
                client.sendall(GET.replace(b"/", b"/%d" % byte, 1))
                status, headers, _ = read_response(client)
                assert (status, headers.get(b"x", headers.get(b"X"))) == (200, b"a%cb" % byte)


def test_values_of_accepted_websockets_have_no_control_bytes(serving):
    async def accepts(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x", value_of(scope["path"]))]})
        await send({"type": "websocket.close"})

    with serving(lifeless(accepts)) as server:
        for byte in CONTROLS:
            assert server.talk(UPGRADE % byte).startswith(b"HTTP/1.1 500 "), byte
        all_of_values(server.complaints)
        for byte in OTHERS:
            assert b"\r\nx: a%cb\r\n" % byte in server.talk(UPGRADE % byte + CLOSE), byte


def test_early_hints_have_no_control_bytes(serving):
    refused = asyncio.Queue()

    async def hints(scope, receive, send):
        try:
            await send({"type": "http.response.early_hint", "links": [value_of(scope["path"])]})
        except ValueError as error:
            refused.put_nowait(str(error))
        await send({"type": "http.response.start", "status": 204, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body"})

    with serving(lifeless(hints)) as server:
        for byte in CONTROLS:
            with server.connect() as client:
                client.sendall(GET.replace(b"/", b"/%d" % byte, 1))
                assert read_all(client).startswith(b"HTTP/1.1 204 ")
            assert "is no link" in refused.get_nowait()
        for byte in OTHERS:
            said = server.talk(GET.replace(b"/", b"/%d" % byte, 1))
            assert said.startswith(b"HTTP/1.1 103 Early Hints\r\nlink: a%cb\r\n" % byte)
        assert refused.empty()
    assert server.complaints == []
