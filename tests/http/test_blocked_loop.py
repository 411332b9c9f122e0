"""An application that keeps the loop from turning: its clients are not blamed for that."""

import struct
import threading
import time

import pytest

from http_servers import GET, QUEUES_MAX, WAIT_S, hello, lifeless, read_all, read_response
from websocket_bytes import frame, raw, receive_exactly

CLIENTS = 100  # more than what a loop receives from in one turn
TIMEOUT_S = 0.2
BLOCKED_S = 5 * TIMEOUT_S
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"


class Blocking:
    """An application that blocks the loop while it answers `/block`, at least for BLOCKED_S."""

    def __init__(self, others):
        self.others = others
        self.blocks, self.release = threading.Event(), threading.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"] == "/block":
            until = time.monotonic() + BLOCKED_S
            self.blocks.set()
            self.release.wait(WAIT_S)
            while time.monotonic() < until:
                time.sleep(0.01)  # noqa: ASYNC251 - which is what is tried
            await hello(scope, receive, send)
        else:
            await self.others(scope, receive, send)

    def block(self, server):
        """Returns when the loop stands still, with the client that has brought it about."""
        client = server.connect()
        client.sendall(GET.replace(b"/", b"/block", 1))
        assert self.blocks.wait(WAIT_S)
        return client


async def reads(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await hello(scope, receive, send)


@pytest.mark.parametrize(
    ("before", "then"),
    [(GET, GET), (GET[:-5], GET[-5:]), (POST + b"ab", b"cd")],
    ids=["keep-alive", "head", "body"],
)
def test_what_came_meanwhile_is_read(serving, before, then):
    application = Blocking(reads)
    limits = {"timeout_keep_alive": TIMEOUT_S, "timeout_head": TIMEOUT_S, "timeout_body": TIMEOUT_S}
    with serving(lifeless(application), **limits) as server:
        clients = [server.connect() for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(before)
            if before is GET:
                assert read_response(client)[0] == 200
        server.until(lambda: server.server.service.received >= len(clients) * len(before))
        with application.block(server) as blocker:
            for client in clients:
                client.sendall(then)
            application.release.set()
            assert read_response(blocker)[0] == 200
            for client in clients:
                assert read_response(client)[0] == 200
                client.close()
    assert server.complaints == []


def test_limits_hold_when_the_loop_turns_again(serving):
    application = Blocking(hello)
    with serving(lifeless(application), timeout_keep_alive=TIMEOUT_S) as server, server.connect() as client:
        client.sendall(GET)
        assert read_response(client)[0] == 200
        with application.block(server) as blocker:
            application.release.set()
            assert read_response(blocker)[0] == 200
            assert read_all(client) == read_all(blocker) == b""
    assert server.complaints == []


def test_client_that_takes_its_response_meanwhile(serving):
    async def large(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(QUEUES_MAX)})

    application = Blocking(large)
    with serving(lifeless(application), timeout_write=TIMEOUT_S) as server, server.connect() as client:
        client.sendall(GET)
        assert client.recv(1)
        server.until(lambda: any(each.writing_paused for each in server.server.service.connections))
        with application.block(server) as blocker:
            taken = 1 + len(client.recv(1 << 16))
            application.release.set()
            while taken < QUEUES_MAX:
                part = client.recv(1 << 20)
                assert part, taken
                taken += len(part)
            assert read_response(blocker)[0] == 200
    assert server.complaints == []


def test_answer_to_a_ping_that_came_meanwhile(serving):
    async def waits(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    application = Blocking(waits)
    limits = {"ws_ping_interval": TIMEOUT_S, "ws_ping_timeout": 2 * TIMEOUT_S, "timeout_write": 4 * TIMEOUT_S}
    with serving(lifeless(application), **limits) as server, raw(server) as client:
        ping = receive_exactly(client, 6)
        with application.block(server) as blocker:
            client.sendall(frame(0x8A, ping[2:]))
            application.release.set()
            assert read_response(blocker)[0] == 200
            assert receive_exactly(client, 6) == b"\x89\x04" + struct.pack("!I", 2)
    assert server.complaints == []
