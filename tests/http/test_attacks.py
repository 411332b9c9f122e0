"""What the open internet sends to an HTTP server, and what applications do wrong. After each, service goes on."""

import asyncio
import contextlib
import os
import resource
import select
import socket
import threading
import time

import pytest

from http_servers import GET, LAST, QUEUES_MAX, WAIT_S, body_of, echo, hello, lifeless, read_all, read_response
from ioring.http import repetitions
from ioring.http.server import ServerService
from rings import RESET, wait_until

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789"


def is_served(server):
    """Whether a new client gets what it asks for, and nothing is left of the others."""
    said = server.talk(LAST)
    assert said.startswith(b"HTTP/1.1 200"), said
    assert body_of(said) == b"hello"
    wait_until(lambda: not server.server.service.connections and not server.server.service.active)


# Resets and half-closes.


def test_reset_at_every_byte(serving):
    with serving(lifeless(hello)) as server:
        for count in range(len(POST) + 1):
            client = server.connect()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.sendall(POST[:count])
            client.close()
        is_served(server)


def test_client_whose_address_nobody_knows_any_more_is_not_answered(serving):
    """It has reset the connection before it was accepted: it must not be taken for a proxy on a Unix socket."""
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["client"])
        await hello(scope, receive, send)

    request = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n")
    with serving(lifeless(application), forwarded_allow_ips="unix") as server:
        holds, goes_on = threading.Event(), threading.Event()
        server.loop.call_soon_threadsafe(lambda: (holds.set(), goes_on.wait(WAIT_S)))
        assert holds.wait(WAIT_S)
        for _ in range(10):
            client = server.connect()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.sendall(request)
            client.close()
        goes_on.set()
        wait_until(lambda: server.server.service.accepted == 10)
        is_served(server)
        assert {client[0] for client in seen} == {"127.0.0.1"}


def test_end_at_every_byte(serving):
    with serving(lifeless(hello)) as server:
        for count in range(len(POST) + 1):
            with server.connect() as client:
                client.sendall(POST[:count])
                client.shutdown(socket.SHUT_WR)
                said = read_all(client)
            if count == len(POST):
                assert said.startswith(b"HTTP/1.1 200"), "the request was whole: it may close its side alone"
        is_served(server)


def test_reset_while_the_response_is_sent(serving):
    async def large(scope, receive, send):
        if scope["path"] == "/":
            await hello(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})

    with serving(lifeless(large)) as server:
        for size in (1, 1000, 100_000, 1_000_000):
            with server.connect() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
                received = 0
                while received < size:
                    received += len(client.recv(size))
        is_served(server)


@pytest.mark.parametrize("kind", ["response", "WebSocket"])
def test_what_is_sent_after_a_loss_is_dropped_in_silence(serving, caplog, kind):
    """Between the loss and the turn in which the connection is told of it."""
    ended = []

    async def sends(scope, receive, send):
        if scope["path"] == "/":
            await hello(scope, receive, send)
            return
        piece = {"type": "http.response.body", "body": b"more", "more_body": True}
        if kind == "response":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        else:
            piece = {"type": "websocket.send", "bytes": b"more"}
            await receive()
            await send({"type": "websocket.accept"})
        await send(piece)
        [connection] = server.server.service.connections
        connection.transport.abort()
        for _ in range(100):
            await send(piece)
        while not (await receive())["type"].endswith(".disconnect"):
            pass
        ended.append(True)

    begin = b"GET /long HTTP/1.1\r\nHost: a\r\n"
    if kind == "WebSocket":
        begin += b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        begin += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    with serving(lifeless(sends)) as server:
        with server.connect() as client:
            client.sendall(begin + b"\r\n")
            wait_until(lambda: ended)
        is_served(server)
    assert server.complaints == []
    assert caplog.records == []


def test_complaints_that_clients_bring_about_are_counted_after_some(serving, monkeypatch):
    monkeypatch.setattr(repetitions, "PERIOD_S", 0.5)

    async def breaks(scope, receive, send):
        if scope["path"] == "/broken":
            raise ValueError(scope["query_string"].decode())
        await hello(scope, receive, send)

    with serving(lifeless(breaks)) as server:
        for number in range(50):
            server.talk(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: %d\r\n\r\n" % number)
            server.talk(b"GET /broken?%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        wait_until(lambda: sum("more times" in message for message, _ in server.complaints) == 2)
        said = [message for message, _ in server.complaints]
        assert sum("is expected" in message for message in said) <= 2 * repetitions.LINES_MAX + 2
        assert sum("raised an exception" in message for message in said) <= 2 * repetitions.LINES_MAX + 2
        server.talk(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: again\r\n\r\n")
        assert "b'again'" in server.complaints[-1][0], "counting begins anew"
        is_served(server)


def test_disconnect_is_told(serving):
    told = []

    async def waits(scope, receive, send):
        if scope["path"] == "/":
            await hello(scope, receive, send)
            return
        assert (await receive())["type"] == "http.request"
        told.append(await receive())

    with serving(lifeless(waits)) as server:
        with server.connect() as client:
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: server.server.service.active)
        wait_until(lambda: told)
        assert told == [{"type": "http.disconnect"}]
        is_served(server)


def leave(client, how):
    if how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


def test_what_is_wrong_besides_is_told(serving):
    async def broken(scope, receive, send):
        if scope["path"] == "/":
            await hello(scope, receive, send)
            return
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ValueError("on purpose")

    with serving(lifeless(broken)) as server:
        with server.connect() as client:
            client.sendall(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: server.server.service.active)
            port = client.getsockname()[1]
        wait_until(lambda: server.complaints)
        is_served(server)
    [(message, exception)] = server.complaints
    assert message.startswith(f"127.0.0.1:{port} GET /broken: the application raised an exception")
    assert str(exception) == "on purpose"


@pytest.mark.parametrize("before", ["nothing", "start", "body"])
def test_application_that_does_not_answer_who_has_left(serving, before):
    """Django, for one, cancels its view, and that is all."""

    async def leaves(scope, receive, send):
        if scope["path"] == "/":
            await hello(scope, receive, send)
            return
        if before != "nothing":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if before == "body":
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    with serving(lifeless(leaves)) as server:
        with server.connect() as client:
            client.sendall(b"GET /leaves HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: server.server.service.active)
            client.shutdown(socket.SHUT_WR)
            said = read_all(client)
        assert said == b"" if before != "body" else said.endswith(b"4\r\npart\r\n")
        is_served(server)
        assert server.server.service.failures == 0
    assert server.complaints == []


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize(
    "behind",
    # Little enough for the server's socket to hold what is left of it, and the end behind it.
    [GET * 40, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)],
    ids=["requests", "body"],
)
def test_client_that_goes_while_nothing_is_received(serving, behind, resets):
    """Because too much waits already: requests, or a body that the application does not take."""
    told = []

    async def waits(scope, receive, send):
        if scope["path"] == "/wait":
            assert (await receive())["type"] == "http.request"
            told.append((await receive())["type"])
        await hello(scope, receive, send)

    with serving(lifeless(waits)) as server:
        with server.connect() as client:
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + behind)
            server.paused_connection()
            if resets:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        wait_until(lambda: told == ["http.disconnect"])
        is_served(server)
    assert server.complaints == []


def test_client_that_goes_while_its_body_is_not_taken(serving):
    gone = asyncio.Event()

    async def takes_nothing(scope, receive, send):
        if scope["path"] == "/":
            await hello(scope, receive, send)
            return
        await gone.wait()
        assert (await receive()) == {"type": "http.disconnect"}

    with serving(lifeless(takes_nothing)) as server:
        with server.connect() as client:
            client.sendall(b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + bytes(200_000))
            server.paused_connection()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        wait_until(lambda: not server.server.service.connections)
        server.loop.call_soon_threadsafe(gone.set)
        is_served(server)
    assert server.complaints == []


def test_client_that_sends_no_more_gets_all_that_it_has_asked_for(serving, http_loop):
    """Also when that is more than what is received at a time."""
    if http_loop is asyncio.SelectorEventLoop:
        pytest.skip("asyncio's own loop: a connection whose client sends no more is closed there")
    gate = asyncio.Event()

    async def waits(scope, receive, send):
        await gate.wait()
        await hello(scope, receive, send)

    with serving(lifeless(waits)) as server, server.connect() as client:
        client.sendall(GET * 40)
        client.shutdown(socket.SHUT_WR)
        connection = server.connection()
        server.until(lambda: connection.current is not None and connection.current.disconnected)
        server.loop.call_soon_threadsafe(gate.set)
        assert read_all(client).count(b"HTTP/1.1 200") == 40
        is_served(server)


# Too much.


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 14_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X" * 70_000 + b": a\r\n\r\n",
        b"\r\n" * 40_000,
    ],
    ids=["target", "value", "count", "name", "empty lines"],
)
def test_head_bombs(serving, head):
    with serving(lifeless(hello)) as server:
        with server.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(head)
            said = read_all(client) if head[:1] == b"G" else b""
            assert said.startswith((b"HTTP/1.1 431", b"HTTP/1.1 414", b""))
            assert b" 200 " not in said
        is_served(server)


def quick_ones(monkeypatch, function):
    """Has requests for /quick answered by a function of an exchange, within its call; before a server is started."""

    def mount_finder(service):
        return lambda target: function if target == b"/quick" else None

    monkeypatch.setattr(ServerService, "mount_finder", mount_finder)


def answers_at_once(exchange):
    exchange.start(200, [(b"content-length", b"5")])
    exchange.write(b"quick")


QUICK = b"GET /quick HTTP/1.1\r\nHost:\r\n\r\n"


def test_many_requests_behind_a_slow_one(serving, monkeypatch):
    """Each is answered at once when it is its turn; others have theirs in between."""
    gate = asyncio.Event()
    begun, turns = [], []

    async def waits(scope, receive, send):
        await gate.wait()
        await hello(scope, receive, send)

    def counts(exchange):
        begun.append(exchange)
        if len(begun) == 1:
            server.loop.call_soon(lambda: turns.append(len(begun)))
        answers_at_once(exchange)

    quick_ones(monkeypatch, counts)
    with serving(lifeless(waits)) as server, server.connect() as client:
        client.sendall(GET + QUICK * 1500)
        server.paused_connection()
        client.sendall(QUICK * 500 + LAST)
        server.loop.call_soon_threadsafe(gate.set)
        said = read_all(client)
        assert said.count(b"HTTP/1.1 200") == 2002
        assert said.count(b"quick") == 2000
        assert said.endswith(b"hello")
        assert turns[0] < 100
        begun.clear()
        is_served(server)
    assert server.complaints == []


@pytest.mark.parametrize("behind", [False, True])
def test_request_that_cannot_be_begun_with(serving, monkeypatch, behind):
    """It ends the connection, and nothing else: not the request before it, not the server."""
    gate = asyncio.Event()

    async def waits(scope, receive, send):
        if behind and scope["method"] == "POST":
            await gate.wait()
        await hello(scope, receive, send)

    def fails(exchange):
        raise SystemExit("on purpose")

    quick_ones(monkeypatch, fails)
    with serving(lifeless(waits), limit_concurrency=1) as server:
        with server.connect() as client:
            client.sendall((POST if behind else b"") + QUICK + GET)
            server.loop.call_soon_threadsafe(gate.set)
            assert read_all(client).count(b"HTTP/1.1") <= 1
        is_served(server)
    [(message, exception)] = server.complaints
    assert "GET /quick: the request cannot be answered" in message
    assert str(exception) == "on purpose"


def test_body_that_is_none_behind_a_slow_request(serving):
    gate = asyncio.Event()

    async def waits(scope, receive, send):
        await gate.wait()
        await hello(scope, receive, send)

    with serving(lifeless(waits)) as server, server.connect() as client:
        client.sendall(GET + b"POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
        wait_until(lambda: server.complaints)
        server.loop.call_soon_threadsafe(gate.set)
        said = read_all(client)
        assert said.startswith(b"HTTP/1.1 200")
        assert said.count(b"HTTP/1.1 400") == 1
        is_served(server)


def test_head_that_never_ends_is_refused_without_being_kept(serving):
    with serving(lifeless(hello), limit_head=10_000) as server:
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(10_000):
                    client.sendall(b"X: a\r\n")
            assert b" 200 " not in read_all(client)
        assert len(server.complaints) == 1
        assert "more than 10000 bytes" in server.complaints[0][0]
        is_served(server)


@pytest.mark.parametrize("body", [b"", b"x" * 3000])
def test_limit_of_heads_is_for_one_head(serving, body):
    """What came with its first bytes belongs to other requests; what comes behind them counts."""
    whole = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with serving(lifeless(hello), limit_head=1000) as server, server.connect() as client:
        for _ in range(3):
            client.sendall(whole * 20 + GET[:10])
            said = b""
            while said.count(b"hello") < 20:
                said += client.recv(1 << 16)
            assert said.count(b"HTTP/1.1 200") == 20
            client.sendall(GET[10:])
            assert read_response(client)[0] == 200
        assert server.complaints == []
        client.sendall(whole + GET[:5])
        assert read_response(client)[0] == 200
        client.sendall(b"x" * 1001)
        assert read_response(client)[0] in (414, 431)


def test_chunk_bombs(serving):
    """A byte in a chunk with an extension of 60 bytes is no body."""
    with serving(lifeless(echo)) as server:
        with server.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(2000):
                client.sendall(b"1;" + b"x" * 500 + b"\r\na\r\n")
            read_all(client)
        wait_until(lambda: server.complaints)
        assert "more bytes of chunks and trailers than of the body" in server.complaints[0][0]


def test_trailer_bomb(serving):
    with serving(lifeless(echo)) as server:
        with server.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
            for _ in range(20_000):
                client.sendall(b"Trailer: " + b"x" * 100 + b"\r\n")
            read_all(client)
        wait_until(lambda: server.complaints)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_body_over_the_limit(serving, framing):
    with serving(lifeless(echo), limit_body=1000) as server:
        if framing == "length":
            said = server.talk(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + b"a" * 1001)
            assert said.startswith(b"HTTP/1.1 413")
        else:
            said = server.talk(
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"a" * 1001 + b"\r\n"
            )
            assert said.startswith(b"HTTP/1.1 413")
        assert "a body of" in server.complaints[0][0]


def test_refusal_reaches_a_client_that_still_sends(serving):
    with serving(lifeless(echo), limit_body=1000) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
        for _ in range(200):
            client.sendall(bytes(100_000))
        assert read_all(client).startswith(b"HTTP/1.1 413")


def test_nothing_is_answered_behind_the_last_response(serving, tmp_path):
    """A request that is refused before its body came ends the connection, also when more came with it."""
    with serving(tmp_path) as server:
        said = server.talk(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok" + GET + GET
        )
    assert said.startswith(b"HTTP/1.1 405")
    assert said.count(b"HTTP/1.1") == 1
    assert server.complaints == []


def test_body_that_nobody_reads_is_not_kept(serving):
    gate = asyncio.Event()

    async def late(scope, receive, send):
        await gate.wait()
        await hello(scope, receive, send)

    with serving(lifeless(late)) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        client.settimeout(0.1)
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 100_000_000:
                sent += client.send(bytes(100_000))
        assert sent < 50_000_000
        [connection] = server.server.service.connections
        assert connection.current.held < 1_000_000
        server.loop.call_soon_threadsafe(gate.set)


def test_more_requests_at_once_than_are_allowed(serving):
    gate = asyncio.Event()

    async def waits(scope, receive, send):
        await gate.wait()
        await hello(scope, receive, send)

    with serving(lifeless(waits), limit_concurrency=2) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(3)]
        for count, client in enumerate(clients[:2], 1):
            client.sendall(GET)
            wait_until(lambda count=count: server.server.service.active == count)
        clients[2].sendall(GET)
        assert read_response(clients[2])[0] == 503
        server.loop.call_soon_threadsafe(gate.set)
        assert [read_response(client)[0] for client in clients[:2]] == [200, 200]


CHUNKED = b"POST /wait HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n"


@pytest.mark.parametrize(
    ("rest", "status"),
    [(b"ZZ\r\n", 400), (b"0\r\nContent-Length: 3\r\n\r\n", 400), (b"8\r\n01234567\r\n", 413), (b"", 408)],
    ids=["chunk", "trailer", "limit", "slow"],
)
def test_body_that_is_bad_behind_another_request(serving, rest, status):
    """It is refused in its turn, and no application waits for the rest of it."""
    asked = []
    gate = asyncio.Event()

    async def waits(scope, receive, send):
        asked.append(scope["path"])
        await gate.wait()
        await hello(scope, receive, send)

    with serving(lifeless(waits), limit_body=10, timeout_body=0.2) as server, server.connect() as client:
        client.sendall(GET + CHUNKED + rest)
        wait_until(lambda: server.complaints)
        server.loop.call_soon_threadsafe(gate.set)
        said = read_all(client)
        is_served(server)
    first, _, second = said.partition(b"hello")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 %d " % status)
    assert asked == ["/", "/"]
    assert len(server.complaints) == 1


@pytest.mark.parametrize("takes", [True, False])
def test_body_that_is_bad_behind_a_large_response(serving, takes):
    async def large(scope, receive, send):
        if scope["path"] != "/large":
            await hello(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(QUEUES_MAX)})

    with serving(lifeless(large), timeout_write=WAIT_S / 2 if takes else 0.3) as server:
        with server.connect() as client:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" + CHUNKED + b"ZZ\r\n")
            wait_until(lambda: server.server.service.statuses[2])
            if takes:
                said = read_all(client).partition(b"\r\n\r\n")[2]
                assert said[QUEUES_MAX:].startswith(b"HTTP/1.1 400 ")
            else:
                wait_until(lambda: not server.server.service.connections)
        is_served(server)


# Too slow.


def test_slow_head(serving):
    with serving(lifeless(hello), timeout_head=0.2) as server, server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        with server.connect() as silent:
            assert read_all(silent) == b""
        is_served(server)


def test_head_that_trickles(serving):
    """Each byte in time is not enough: it is the head that has to be."""
    with serving(lifeless(hello), timeout_head=0.3) as server, server.connect() as client:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in GET * 100:
                client.sendall(bytes([byte]))
                # Until the server answers, or closes the connection.
                if select.select([client], [], [], 0.02)[0] or (byte == 10 and time.monotonic() - began > 5):
                    break
        assert b" 200 " not in read_all(client) or time.monotonic() - began < 0.3


def test_slow_body(serving):
    async def reads(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await hello(scope, receive, send)

    with serving(lifeless(reads), timeout_body=0.2) as server:
        with server.connect() as client:
            client.sendall(POST[:-5])
            assert read_all(client).startswith(b"HTTP/1.1 408")
        assert "took too long" in server.complaints[0][0]


def trickle(client, piece):
    """Sends a piece now and then until there is an answer: what that is, and how long it took."""
    client.settimeout(0.02)
    began = time.monotonic()
    while time.monotonic() < began + WAIT_S:
        client.sendall(piece)
        with contextlib.suppress(TimeoutError):
            return client.recv(1000), time.monotonic() - began
    raise AssertionError("there is no answer")


@pytest.mark.parametrize("takes", [True, False])
def test_body_that_trickles(serving, takes):
    """A byte now and then is not enough. What is: 500 in a second."""

    async def reads(scope, receive, send):
        while takes and (await receive()).get("more_body"):
            pass
        if not takes:
            await asyncio.Event().wait()
        await hello(scope, receive, send)

    with serving(lifeless(reads), timeout_body=0.4, timeout_graceful_shutdown=0.1) as server:
        with server.connect() as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n")
            said, _ = trickle(client, b"x")
            assert said.startswith(b"HTTP/1.1 408")
        if takes:
            with server.connect() as client:
                client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n")
                said, took = trickle(client, b"x" * 500)
                assert said.startswith(b"HTTP/1.1 200")
                assert took > 0.8
    assert ["took too long" in message for message, _ in server.complaints[:1]] == [True]


def test_body_may_wait_while_the_application_does(serving):
    gate = asyncio.Event()

    async def waits(scope, receive, send):
        await gate.wait()
        while (await receive()).get("more_body"):
            pass
        await hello(scope, receive, send)

    with serving(lifeless(waits), timeout_body=0.2) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + bytes(150_000))
        connection = server.paused_connection()
        since = server.server.service.now
        server.until(lambda: server.server.service.now > since + 0.5)
        server.loop.call_soon_threadsafe(gate.set)
        server.until(connection.transport.is_reading)
        client.sendall(bytes(50_000))
        assert read_response(client)[0] == 200
    assert server.complaints == []


def test_slow_reader_that_sends(serving):
    """What a client sends is no reason to wait longer until it takes something."""

    async def large(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(QUEUES_MAX), "more_body": True})

    with serving(lifeless(large), timeout_write=0.3) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                client.sendall(b"x")
                time.sleep(0.02)
                if server.complaints:
                    break
        assert "takes nothing of the response" in server.complaints[0][0]


def test_slow_reader_of_the_last_of_a_response(serving):
    """The application is done with it, and the connection is to be closed behind it."""
    transports = []

    async def large(scope, receive, send):
        [connection] = server.server.service.connections
        transports.append(connection.transport)
        connection.transport.set_write_buffer_limits(high=QUEUES_MAX, low=QUEUES_MAX)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(2 * QUEUES_MAX)})

    with serving(lifeless(large), timeout_write=1) as server, server.connect() as client:
        client.sendall(LAST)
        wait_until(lambda: transports)
        while transports[0].get_write_buffer_size() > QUEUES_MAX:
            assert client.recv(1 << 20)
        wait_until(lambda: not server.server.service.connections)


def test_idle_connections_are_closed(serving):
    with serving(lifeless(hello), timeout_keep_alive=0.2) as server, server.connect() as client:
        client.sendall(GET)
        assert read_response(client)[0] == 200
        assert read_all(client) == b""
    assert server.complaints == []


def test_slow_reader(serving):
    """The application is held back, and a client that takes nothing at all is cut off."""
    written = 0

    async def endless(scope, receive, send):
        nonlocal written
        if scope["path"] == "/":
            await hello(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while server.server.service.connections:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            written += 65536

    with serving(lifeless(endless), timeout_write=0.3) as server:
        with server.connect() as client:
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: server.complaints)
            assert written < 20_000_000
            assert "takes nothing of the response" in server.complaints[0][0]
        is_served(server)


def test_reader_that_takes_its_time(serving):
    """Less than a large response takes altogether is enough, as long as it takes something of it."""
    body = os.urandom(1 << 20) * 20

    async def large(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    with serving(lifeless(large), timeout_write=0.5) as server, server.connect() as client:
        client.sendall(LAST)
        said = bytearray()
        while part := client.recv(1 << 19):
            said += part
            time.sleep(0.04)
        assert body_of(bytes(said)) == body
    assert server.complaints == []


def test_half_open_connections_while_others_are_served(serving):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where everything is slower, more than these would meet the time limits for what is half open.
    count = min(2_000 if os.environ.get("IORING_SANITIZE") else 10_000, hard // 2 - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with serving(lifeless(hello)) as server, contextlib.ExitStack() as stack:
            for number in range(count):
                client = stack.enter_context(server.connect())
                client.sendall(GET[: number % len(GET)])
            assert server.talk(LAST).startswith(b"HTTP/1.1 200")
            wait_until(lambda: len(server.server.service.connections) == count)
            stack.close()
            is_served(server)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Applications.


async def raises_before(scope, receive, send):
    raise ValueError("before")


async def raises_after_start(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ValueError("after start")


async def raises_in_body(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})
    raise ValueError("in body")


async def raises_behind(scope, receive, send):
    await hello(scope, receive, send)
    raise ValueError("behind")


async def returns_at_once(scope, receive, send):
    pass


async def returns_after_start(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def returns_in_body(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})


async def answers_twice(scope, receive, send):
    await hello(scope, receive, send)
    await hello(scope, receive, send)


async def body_first(scope, receive, send):
    await send({"type": "http.response.body", "body": b"part"})


async def unknown_message(scope, receive, send):
    await send({"type": "http.response.nonsense"})


async def status_is_text(scope, receive, send):
    await send({"type": "http.response.start", "status": "200", "headers": []})


async def splits_the_response(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"a\r\nset-cookie: b")]})
    await send({"type": "http.response.body", "body": b""})


def hints_with(end):
    async def splits_the_hints(scope, receive, send):
        await send({"type": "http.response.early_hint", "links": [b"</a.css>", b"</b.css>" + end + b"set-cookie: b"]})
        await hello(scope, receive, send)

    return splits_the_hints


async def headers_are_text(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [("x", "a")]})
    await send({"type": "http.response.body", "body": b""})


async def longer_than_said(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"abc"})


async def shorter_than_said(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"abc"})


async def body_is_a_number(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": 3})


# What a client gets: the start of it, and whether that is all and well-formed.
WRONG = {
    raises_before: b"HTTP/1.1 500",
    raises_after_start: b"HTTP/1.1 500",
    raises_in_body: None,
    raises_behind: b"HTTP/1.1 200",
    returns_at_once: b"HTTP/1.1 500",
    returns_after_start: b"HTTP/1.1 500",
    returns_in_body: None,
    answers_twice: b"HTTP/1.1 200",
    body_first: b"HTTP/1.1 500",
    unknown_message: b"HTTP/1.1 500",
    status_is_text: b"HTTP/1.1 500",
    splits_the_response: b"HTTP/1.1 500",
    **dict.fromkeys(map(hints_with, (b"\r\n", b"\r", b"\n", b"\0")), b"HTTP/1.1 500"),
    headers_are_text: b"HTTP/1.1 500",
    longer_than_said: b"HTTP/1.1 500",
    shorter_than_said: None,
    body_is_a_number: b"HTTP/1.1 500",
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda function: function.__name__)
def test_applications_that_are_wrong(serving, wrong):
    async def application(scope, receive, send):
        await (wrong if scope["path"] == "/wrong" else hello)(scope, receive, send)

    with serving(lifeless(application)) as server:
        with server.connect() as client:
            client.sendall(b"GET /wrong HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            said = read_all(client)
        assert b"set-cookie" not in said
        if WRONG[wrong] is None:
            assert not said.endswith(b"0\r\n\r\n"), "the client has to see that something lacks"
        else:
            assert said.startswith(WRONG[wrong])
            assert said.count(b"HTTP/1.1") == 1
        assert len(server.complaints) == 1
        assert "GET /wrong: the application" in server.complaints[0][0]
        is_served(server)


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("when", ["in its call", "at once", "later", "for an exception"])
def test_application_that_wants_to_end_the_server(serving, kind, when):
    async def fails():
        raise ValueError("of what it awaits")

    async def application(scope, receive, send):
        if scope["path"] == "/":
            await hello(scope, receive, send)
        if scope["path"] != "/exit":
            return
        if when == "for an exception":
            with contextlib.suppress(ValueError):
                await asyncio.ensure_future(fails())
        elif when == "later":
            await asyncio.sleep(0)
        raise kind("on purpose")

    def early(scope, receive, send):
        if scope["path"] == "/exit":
            raise kind("on purpose")
        return application(scope, receive, send)

    with serving(early if when == "in its call" else application, lifespan="off") as server:
        said = server.talk(GET.replace(b" / ", b" /exit "))
        assert said.startswith(b"HTTP/1.1 500")
        is_served(server)
    [(message, _)] = server.complaints
    assert "GET /exit: the " in message


def test_application_that_hangs_does_not_keep_the_server(serving):
    async def hangs(scope, receive, send):
        await asyncio.Event().wait()

    with serving(lifeless(hangs), timeout_graceful_shutdown=0.2) as server, server.connect() as client:
        client.sendall(GET)
        wait_until(lambda: server.server.service.active)
        server.loop.call_soon_threadsafe(server.server.stop)
        assert read_all(client) == b""
        server.thread.join(WAIT_S)
        assert not server.thread.is_alive()


def test_end_waits_for_what_applications_do_behind_their_responses(serving):
    done = []
    gate = asyncio.Event()

    async def works_on(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            done.append("shutdown")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await hello(scope, receive, send)
        await gate.wait()
        done.append("background")

    with serving(works_on) as server:
        assert body_of(server.talk(LAST)) == b"hello"
        server.loop.call_soon_threadsafe(server.server.stop)
        server.until(lambda: server.server.service.stopping and not server.server.service.connections)
        server.loop.call_soon_threadsafe(gate.set)
    assert done == ["background", "shutdown"]
    assert server.complaints == []


WEBSOCKET = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_end_does_not_wait_for_ever_for_what_applications_do(serving, forced, kind):
    done = []

    async def works_on(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            done.append("shutdown")
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["type"] == "http":
            await hello(scope, receive, send)
        else:
            await send({"type": "websocket.accept"})
        try:
            await asyncio.Event().wait()
        finally:
            done.append("cancelled")

    timeout = 2 * WAIT_S if forced else 0.2
    with serving(works_on, timeout_graceful_shutdown=timeout) as server, server.connect() as client:
        client.sendall(LAST if kind == "http" else WEBSOCKET)
        assert client.recv(1000)
        for _ in range(1 + forced):
            server.loop.call_soon_threadsafe(server.server.stop)
        server.thread.join(WAIT_S)
        assert not server.thread.is_alive()
    assert done == ["cancelled", "shutdown"]


def test_request_while_the_server_stops(serving):
    """A client may ask again on a connection that was used just before."""
    with serving(lifeless(hello)) as server, server.connect() as client:
        client.sendall(GET)
        assert read_response(client)[0] == 200
        server.loop.call_soon_threadsafe(server.server.stop)
        server.until(lambda: server.server.service.stopping)
        client.sendall(GET)
        status, headers, body = read_response(client)
        assert (status, headers[b"connection"], body) == (200, b"close", b"hello")


@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
@pytest.mark.parametrize("part", [b"", b"\r\n", GET[:8], GET[:-2]], ids=["nothing", "line", "part", "most"])
def test_part_of_a_head_does_not_keep_the_server(serving, before, part):
    with serving(lifeless(hello)) as server, server.connect() as client:
        client.sendall(before + part)
        if before:
            assert read_response(client)[2] == b"hello"
        wait_until(lambda: server.server.service.received == len(before + part))
        server.loop.call_soon_threadsafe(server.server.stop)
        assert read_all(client) == b""
    assert server.complaints == []


def test_rest_of_a_head_may_come_when_the_server_stops(serving):
    with serving(lifeless(hello)) as server, server.connect() as client:
        client.sendall(GET[:8])
        wait_until(lambda: server.server.service.received == 8)
        server.loop.call_soon_threadsafe(server.server.stop)
        wait_until(lambda: server.server.service.stopping)
        client.sendall(GET[8:])
        assert read_response(client)[:1] == (200,)
        assert read_all(client) == b""


# Limits of the system.


def test_no_descriptors_left(serving):
    with serving(lifeless(hello)) as server, contextlib.ExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        kept = [stack.enter_context(server.connect()) for _ in range(3)]
        for client in kept:
            client.sendall(GET)
            assert read_response(client)[0] == 200
        with socket.socket() as probe:
            lowest = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 3, hard))
        try:
            clients = []
            with contextlib.suppress(OSError):
                for _ in range(10):
                    clients.append(stack.enter_context(server.connect()))
            for client in kept:
                client.sendall(GET)
                assert read_response(client)[0] == 200
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients:
            client.sendall(GET)
            assert read_response(client)[0] == 200
