"""What ASGI applications are told, and what becomes of what they send when nobody waits for it any more."""

import asyncio
import gc
import socket

import pytest

from http_servers import LAST, body_of, hello, lifeless
from rings import RESET, wait_until

STREAM = b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"


def left(server):
    """Whether the one client is gone, and the server knows it."""
    return not server.server.service.connections


def test_scopes_have_nothing_in_common(serving):
    """What one request's middleware puts in, or takes out, is its own."""
    seen = []

    async def application(scope, receive, send):
        seen.append((dict(scope["asgi"]), {name: dict(value) for name, value in scope["extensions"].items()}))
        scope["asgi"]["seen"] = scope["extensions"]["seen"] = {}
        scope["extensions"]["http.response.pathsend"]["seen"] = True
        scope["extensions"].pop("http.response.early_hint")["seen"] = True
        await hello(scope, receive, send)

    with serving(lifeless(application), pathsend=True) as server:
        for _ in range(3):
            assert body_of(server.talk(LAST)) == b"hello"
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("pathsend", [False, True])
def test_what_is_announced(serving, pathsend):
    scopes = []

    async def application(scope, receive, send):
        scopes.append(scope)
        await hello(scope, receive, send)

    with serving(lifeless(application), pathsend=pathsend) as server:
        server.talk(LAST)
    # From 2.4 on Starlette does not listen whether the client has left.
    assert scopes[0]["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert ("http.response.pathsend" in scopes[0]["extensions"]) is pathsend


@pytest.mark.parametrize("pathsend", [False, True])
def test_middleware_that_waits_for_the_body(serving, tmp_path, pathsend):
    """It holds the start back until it has seen some of the body, as compressing ones do, and knows no extension."""
    applications = pytest.importorskip("starlette.applications")
    responses = pytest.importorskip("starlette.responses")
    routing = pytest.importorskip("starlette.routing")
    (tmp_path / "file").write_bytes(b"content" * 20_000)

    def holding(application):
        async def wrapped(scope, receive, send):
            held = []

            async def hold(message):
                held.append(message)
                if message["type"] != "http.response.start":
                    while held:
                        await send(held.pop(0))

            if scope["type"] == "http":
                assert pathsend or "http.response.pathsend" not in scope["extensions"]
            await application(scope, receive, hold)

        return wrapped

    route = routing.Route("/", lambda request: responses.FileResponse(tmp_path / "file"))
    with serving(holding(applications.Starlette(routes=[route])), pathsend=pathsend) as server:
        assert body_of(server.talk(LAST)) == b"content" * 20_000
    assert server.complaints == []


@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
@pytest.mark.parametrize("sends", ["nothing more", "on and on"])
def test_streams_of_frameworks_end_with_their_clients(serving, framework, sends):
    """Also one that waits for something to be sent, such as the next event."""
    responses = pytest.importorskip("starlette.responses")
    ended = []

    async def events():
        try:
            yield "data: begun\n\n"
            while sends == "on and on":
                yield "data: more\n\n"
                await asyncio.sleep(0.001)
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def stream(request=None):
        return responses.StreamingResponse(events(), media_type="text/event-stream")

    def all_ended():
        gc.collect()  # if its consumer is cancelled while it sends, a generator is closed when it is collected
        return len(ended) == 5

    if framework == "starlette":
        routing = pytest.importorskip("starlette.routing")
        application = pytest.importorskip("starlette.applications").Starlette(routes=[routing.Route("/stream", stream)])
    else:
        application = pytest.importorskip("fastapi").FastAPI()
        application.get("/stream", response_model=None)(stream)
    with serving(application) as server:
        for _ in range(5):
            with server.connect() as client:
                client.sendall(STREAM)
                received = b""
                while b"data: begun" not in received:
                    received += client.recv(1000)
        wait_until(all_ended)
        wait_until(lambda: not server.server.service.active)
    assert server.complaints == []


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize("when", ["before the response", "in it"])
def test_what_nobody_gets_is_dropped(serving, how, when):
    """As uvicorn does it: an application that does not listen goes on to its end, and what follows is done, too."""
    done = []

    async def streams(scope, receive, send):
        if scope["path"] == "/":
            await hello(scope, receive, send)
            return
        if when == "before the response":
            while (await receive())["type"] != "http.disconnect":
                pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while not left(server):
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
            await asyncio.sleep(0)
        for _ in range(500):
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        done.append(True)

    with serving(lifeless(streams)) as server:
        with server.connect() as client:
            client.sendall(STREAM)
            wait_until(lambda: server.server.service.active)
            if when == "in it":
                assert client.recv(1000)
            if how == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        wait_until(lambda: done)
        assert body_of(server.talk(LAST)) == b"hello"
        wait_until(lambda: not server.server.service.active)
        assert server.server.service.failures == 0
    assert server.complaints == []


def test_who_sends_to_nobody_lets_others_run_and_comes_to_an_end(serving):
    dropped, raised = [0], []

    async def streams(scope, receive, send):
        if scope["path"] == "/":
            await hello(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"more", "more_body": True})
                if left(server):
                    dropped[0] += 1
                else:
                    await asyncio.sleep(0)
        except OSError as error:
            raised.append(error)
            raise RuntimeError("the client left") from error

    with serving(lifeless(streams)) as server:
        with server.connect() as client:
            client.sendall(STREAM)
            assert client.recv(1000)
        wait_until(lambda: dropped[0])
        assert body_of(server.talk(LAST)) == b"hello"
        wait_until(lambda: raised)
        assert 9_000 < dropped[0] <= 10_000
        assert server.server.service.failures == 0
    assert server.complaints == []
