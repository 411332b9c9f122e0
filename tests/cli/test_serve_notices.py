"""What the server says while it waits."""

import signal

import pytest

from serving import Serving

SLOW = """
import asyncio, os
async def until(name):
    while not os.path.exists(name):
        await asyncio.sleep(0.01)
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("starts", flush=True)
        await until("start")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await until("end")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await until("answer")
    await send({"type": "http.response.body"})
"""
AT_ONCE = "; a second Ctrl-C or SIGTERM ends it at once\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_waited_for(tmp_path, workers):
    server = Serving(tmp_path, "main:app", "--workers", str(workers), application=SLOW)
    try:
        if workers == 1:
            server.wait_for(r"^ioring: waits for the application's start-up \(its lifespan\); Ctrl-C or SIGTERM ends")
        else:
            server.wait_for(r"^ioring: waits for 2 workers to import and start the application$")
        (tmp_path / "start").touch()
        server.port = int(server.wait_for(r"serves main:app on http://127.0.0.1:(\d+)")[1])
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            said = client.recv(1000)
            server.signal(signal.SIGINT)
            left = "1 request, 1 connection to close, for 30 s at most"
            if workers == 1:
                server.wait_for(f"^ioring: waits for {left}{AT_ONCE}$")
            else:
                server.wait_for(rf"^ioring: process \d+ waits for {left}$")
                server.wait_for(rf"^ioring: waits for 2 workers to end{AT_ONCE}$")
            (tmp_path / "answer").touch()
            while part := client.recv(1000):
                said += part
            assert said.endswith(b"0\r\n\r\n")
        how = AT_ONCE if workers == 1 else "\n"
        server.wait_for(rf"waits for the application's shutdown \(its lifespan\){how}$")
        (tmp_path / "end").touch()
        assert server.ended() == 0
    finally:
        for name in ("start", "answer", "end"):
            (tmp_path / name).touch()
        server.__exit__()
    assert server.errors == []


def test_second_signal_while_the_application_shuts_down(tmp_path):
    (tmp_path / "start").touch()
    with Serving(tmp_path, "main:app", application=SLOW) as server:
        server.signal(signal.SIGINT)
        server.wait_for(rf"waits for the application's shutdown \(its lifespan\){AT_ONCE}$")
        server.signal(signal.SIGINT)
        assert server.ended() == 0


def test_nothing_is_said_of_what_takes_no_time(tmp_path):
    for name in ("start", "answer", "end"):
        (tmp_path / name).touch()
    with Serving(tmp_path, "main:app", application=SLOW) as server:
        server.get()
    assert not any("waits for" in line for line in server.output), server.output
