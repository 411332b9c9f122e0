"""HTTP/1.1, byte by byte, on each kind of loop."""

import asyncio
import re
import socket
import threading
import time

import pytest

from http_servers import (
    GET,
    LAST,
    QUEUES_MAX,
    WAIT_S,
    Running,
    body_of,
    echo,
    hello,
    lifeless,
    one_of_two_cancelled,
    read_all,
    read_response,
)
from ioring.http.app_loader import load
from ioring.http.configuration import Configuration
from ioring.http.lifespan import Lifespan


def test_keep_alive(serving):
    with serving(lifeless(hello)) as server, server.connect() as client:
        for _ in range(3):
            client.sendall(GET)
            status, headers, body = read_response(client)
            assert (status, body) == (200, b"hello")
            assert headers[b"content-length"] == b"5"
            assert headers[b"content-type"] == b"text/plain"
            assert headers[b"server"] == b"ioring"
            assert re.fullmatch(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers[b"date"])
    assert server.complaints == []


def test_one_byte_at_a_time(serving):
    with serving(lifeless(hello)) as server, server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in GET:
            client.sendall(bytes([byte]))
        assert read_response(client)[0] == 200
    assert server.complaints == []


def test_pipelined_requests_are_answered_in_order(serving):
    async def number(scope, receive, send):
        wanted = scope["path"][1:]
        if int(wanted) % 3 == 0:
            await asyncio.sleep(0.001)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"<%b>" % wanted.encode()})

    with serving(lifeless(number)) as server:
        requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % count for count in range(99))
        said = server.talk(requests + b"GET /99 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert re.findall(rb"<(\d+)>", said) == [b"%d" % count for count in range(100)]
    assert server.complaints == []


def test_body_that_is_sent_back(serving):
    body = bytes(range(256)) * 4096
    with serving(lifeless(echo)) as server:
        said = server.talk(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
    assert b"transfer-encoding: chunked" in said.partition(b"\r\n\r\n")[0]
    assert body_of(said) == body
    assert server.complaints == []


def test_chunked_request_with_trailers(serving):
    with serving(lifeless(echo)) as server:
        said = server.talk(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5;extension=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: ignored\r\n\r\n"
        )
    assert body_of(said) == b"hello world"
    assert server.complaints == []


def test_expect_100_continue(serving):
    with serving(lifeless(echo)) as server, server.connect() as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ok")
        assert body_of(read_all(client)) == b"ok"


def test_body_is_not_invited_when_nobody_wants_it(serving):
    with serving(lifeless(hello)) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        said = read_all(client)
    assert said.startswith(b"HTTP/1.1 200")
    assert said.endswith(b"hello")


def test_head(serving):
    with serving(lifeless(hello)) as server, server.connect() as client:
        client.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.sendall(LAST)
        said = read_all(client)
    first, second = said.split(b"\r\n\r\n", 1)
    assert b"content-length: 5" in first
    assert second.startswith(b"HTTP/1.1 200")
    assert second.endswith(b"hello")


@pytest.mark.parametrize("length", [None, b"5"])
def test_reset_content_has_none(serving, length):
    """205: the length is 0, whatever the application says (RFC 9110, 15.3.6)."""

    async def application(scope, receive, send):
        headers = [] if length is None else [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 205, "headers": headers})
        await send({"type": "http.response.body", "body": b"he", "more_body": True})
        await send({"type": "http.response.body", "body": b"llo"})

    with serving(lifeless(application)) as server:
        said = server.talk(GET + LAST)
    first, second, rest = said.split(b"\r\n\r\n")
    assert rest == b""
    for head in first, second:
        assert head.startswith(b"HTTP/1.1 205")
        assert head.count(b"content-length: ") == head.count(b"content-length: 0") == 1
        assert b"transfer-encoding" not in head
    assert server.complaints == []


@pytest.mark.parametrize("length", [None, b"5"])
@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_body_where_there_is_none(serving, method, status, length):
    """It is not sent; its length is told where that may stand (RFC 9110, 8.6)."""

    async def application(scope, receive, send):
        headers = [] if length is None else [(b"content-length", length)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"he", "more_body": True})
        await send({"type": "http.response.body", "body": b"llo"})

    with serving(lifeless(application)) as server:
        request = method + b" / HTTP/1.1\r\nHost: a\r\n"
        said = server.talk(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
    first, second, rest = said.split(b"\r\n\r\n")
    assert rest == b""
    for head in first, second:
        assert head.startswith(b"HTTP/1.1 %d" % status)
        assert (b"content-length: 5" in head) is (length is not None and status != 204)
        assert b"content-length: " not in head.replace(b"content-length: 5", b"")
        assert (b"transfer-encoding" in head) is (method == b"HEAD" and length is None)  # as with GET
    assert server.complaints == []


def test_http_10(serving):
    with serving(lifeless(echo)) as server:
        said = server.talk(b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
    head, _, body = said.partition(b"\r\n\r\n")
    assert body == b"hello"
    assert b"chunked" not in head
    assert b"connection: close" in head


def test_path_that_is_no_text(serving):
    """Frameworks put it into JSON, and into pages: what is not UTF-8 is only in the raw path."""
    seen = []

    async def application(scope, receive, send):
        seen.append((scope["path"], scope["raw_path"]))
        await hello(scope, receive, send)

    with serving(lifeless(application)) as server:
        assert server.talk(LAST.replace(b"/ ", b"/a%ff%c3%a9 ", 1)).startswith(b"HTTP/1.1 200")
    assert seen == [("/a\ufffd\xe9", b"/a%ff%c3%a9")]


def test_application_that_raises(serving):
    async def broken(scope, receive, send):
        raise ValueError("broken")

    with serving(lifeless(broken)) as server:
        said = server.talk(GET)
    assert said.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"connection: close" in said
    [(message, exception)] = server.complaints
    assert "GET /: the application raised an exception" in message
    assert str(exception) == "broken"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nName : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_400(serving, request_bytes):
    with serving(lifeless(echo)) as server:
        said = server.talk(request_bytes)
        assert server.talk(LAST.replace(b"GET", b"POST")).startswith(b"HTTP/1.1 200")
    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert said.count(b"HTTP/1.1") == 1
    assert len(server.complaints) == 1


class Awaited:
    """An application that is a class of ASGI 3: its objects are what is awaited."""

    def __init__(self, scope, receive, send):
        self.arguments = scope, receive, send

    def __await__(self):
        return hello(*self.arguments).__await__()


class Twice:
    """One of ASGI 2: its objects are called in their turn."""

    def __init__(self, scope):
        self.scope = scope

    async def __call__(self, receive, send):
        await hello(self.scope, receive, send)


def makes_object(scope, receive, send):
    return Awaited(scope, receive, send)


def makes_task(scope, receive, send):
    return asyncio.create_task(hello(scope, receive, send))


def twice(scope):
    return Twice(scope)


@pytest.mark.parametrize(
    "application", [Awaited, makes_object, makes_task, twice, hello], ids=lambda each: each.__name__
)
def test_shapes_of_applications(http_loop, application):
    loaded = load(Configuration(target=application))
    assert loaded.kind == "asgi"
    with Running(loaded.subject, http_loop, lifespan="off") as server:
        for _ in range(2):
            assert body_of(server.talk(LAST)) == b"hello"
    assert server.complaints == []


def test_receive_that_is_cancelled_leaves_others_alone(serving):
    waiting = threading.Event()

    async def application(scope, receive, send):
        message = await one_of_two_cancelled(receive(), receive(), waiting.set)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": message["body"]})

    with serving(lifeless(application)) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        assert waiting.wait(WAIT_S)
        client.sendall(b"ok")
        assert read_response(client)[2] == b"ok"
    assert server.complaints == []


def test_request_that_is_cancelled_before_it_begins(serving):
    """Its client gets an answer all the same, and the server goes on."""
    first, others = threading.Event(), set()

    async def application(scope, receive, send):
        if scope["path"] == "/blocks":
            others.update(asyncio.all_tasks())
            first.set()
            time.sleep(0.3)  # noqa: ASYNC251, the other two arrive meanwhile, and their tasks are made in one turn
        elif others:
            for task in asyncio.all_tasks() - others - {asyncio.current_task()}:
                task.cancel()
            others.clear()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    with serving(lifeless(application)) as server, server.connect() as one, server.connect() as two:
        with server.connect() as blocking:
            blocking.sendall(b"GET /blocks HTTP/1.1\r\nHost: a\r\n\r\n")
            assert first.wait(WAIT_S)
            one.sendall(GET)
            two.sendall(GET)
            assert read_response(blocking)[0] == 200
        assert sorted(read_response(client)[0] for client in (one, two)) == [200, 500]
        assert body_of(server.talk(LAST)) == b"hello"
    assert [said.partition(": ")[2] for said, _ in server.complaints] == ["the request was cancelled"]


def test_send_that_is_cancelled_leaves_others_alone(serving):
    waiting = threading.Event()

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        part = {"type": "http.response.body", "body": bytes(QUEUES_MAX), "more_body": True}
        await one_of_two_cancelled(forwarded(send, part), forwarded(send, part), waiting.set)
        await send({"type": "http.response.body", "body": b"end"})

    async def forwarded(send, message):
        await send(message)

    with serving(lifeless(application)) as server, server.connect() as client:
        client.sendall(GET)
        assert waiting.wait(WAIT_S)
        said = bytearray()
        while not said.endswith(b"\r\n0\r\n\r\n"):
            part = client.recv(1 << 20)
            assert part, server.complaints
            said += part
        assert body_of(bytes(said)) == bytes(2 * QUEUES_MAX) + b"end"
    assert server.complaints == []


def test_class_of_asgi_2(http_loop):
    """Whether a class is one of these or a WSGI application is not seen from outside, so it has to be said."""
    loaded = load(Configuration(target=Twice, interface="asgi"))
    with Running(loaded.subject, http_loop, lifespan="off") as server:
        assert body_of(server.talk(LAST)) == b"hello"
    assert server.complaints == []


def test_application_that_returns_nothing_to_await(serving):
    def forgets(scope, receive, send):
        return None

    with serving(forgets, lifespan="off") as server:
        assert server.talk(LAST).startswith(b"HTTP/1.1 500 ")
    assert isinstance(server.complaints[0][1], TypeError)


@pytest.mark.parametrize("pieces", [1, 7, 1000])
@pytest.mark.parametrize(
    "framing, content",
    [
        (b"Content-Length: 15", b"sweet post body"),
        (b"Transfer-Encoding: chunked", b"5\r\nsweet\r\nA\r\n post body\r\n0\r\nTrailer: ignored\r\n\r\n"),
    ],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
def test_body_of_a_request_for_another_protocol(serving, protocol, framing, content, pieces):
    """Clients that would rather speak HTTP/2 ask for it with their first request, which may have a body."""
    request = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, %b\r\nUpgrade: %b\r\n%b\r\n\r\n"
    with serving(lifeless(echo)) as server, server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = request % (b"x", protocol, framing) + content + request % (b"close", protocol, framing) + content
        for start in range(0, len(data), pieces):
            client.sendall(data[start : start + pieces])
        said = read_all(client)
        assert said.count(b"HTTP/1.1 200 ") == 2
        assert body_of(said[said.rindex(b"HTTP/1.1") :]) == b"sweet post body"
    assert server.complaints == []


def test_body_of_a_request_for_another_protocol_that_nobody_wants(serving):
    async def refuses(scope, receive, send):
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    request = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 15\r\n\r\n"
    with serving(lifeless(refuses)) as server:
        last = request.replace(b"Connection: ", b"Connection: close, ")
        assert server.talk(last + b"sweet").startswith(b"HTTP/1.1 403 ")
        assert server.talk(request + b"sweet post body" + LAST).count(b"HTTP/1.1 403 ") == 2


def test_what_is_asked_behind_an_upgrade_that_is_not_taken(serving):
    """As curl does with --http2, and Java's HttpClient."""
    request = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n"
    )
    with serving(lifeless(hello)) as server, server.connect() as client:
        for _ in range(3):
            client.sendall(request)
            status, headers, body = read_response(client)
            assert (status, headers.get(b"connection"), body) == (200, None, b"hello")
        client.sendall(request * 3 + LAST)
        said = read_all(client)
        assert said.count(b"hello") == 4
        assert server.talk(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + GET).count(b"HTTP/1.1 ") == 1
    assert server.complaints == []


@pytest.mark.parametrize("upgrade", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"], ids=["plain", "upgrade"])
@pytest.mark.parametrize(
    "rest, statuses",
    [
        (b"Content-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\n\r\n", [200, 400]),
        (b"Content-Length: 3\r\n\r\nabcno request\r\n\r\n", [200, 400]),
        (b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + bytes(20) + b"\r\n0\r\n\r\n", [413]),
        (b"Transfer-Encoding: chunked\r\n\r\nx\r\n", [400]),
    ],
    ids=["no host", "nonsense", "too much", "no chunk"],
)
def test_what_is_refused_behind_the_head_of_a_request_for_another_protocol(serving, upgrade, rest, statuses):
    """It is parsed by another parser, and what is wrong there is answered as ever."""

    async def application(scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    with serving(lifeless(application), limit_body=10) as server:
        said = server.talk(b"POST /1 HTTP/1.1\r\nHost: a\r\n" + upgrade + rest)
        assert [int(status) for status in re.findall(rb"HTTP/1.1 ([0-9]+) ", said)] == statuses
        assert body_of(server.talk(LAST)) == b""
    assert len(server.complaints) == 1
    assert server.complaints[0][1] is None


def test_space_behind_values_is_none_of_them(serving):
    seen = []

    async def application(scope, receive, send):
        seen.extend(scope["headers"])
        await echo(scope, receive, send)

    with serving(lifeless(application)) as server:
        said = server.talk(
            b"POST / HTTP/1.1\r\nHost: a \t\r\nConnection: close\t \r\nX-Of-Spaces:  \t \r\nX-Inside: \t a \t b\t\r\n"
            b"Content-Length: 2 \r\n\r\nok"
        )
    assert body_of(said) == b"ok"
    assert dict(seen)[b"host"] == b"a"
    assert dict(seen)[b"x-of-spaces"] == b""
    assert dict(seen)[b"x-inside"] == b"a \t b"
    assert dict(seen)[b"content-length"] == b"2"


def test_chunks_are_none_of_http_10(serving):
    """Whoever stands between does not know them, and takes them for something else."""
    with serving(lifeless(echo)) as server:
        said = server.talk(
            b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        )
    assert said.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("behind", [b"", b"GET / HT", LAST[:-2] + b"Content-Length: 9\r\n\r\n123", b"?\r\n\r\n"])
def test_client_that_closes_its_side_behind_several_requests(serving, http_loop, behind):
    """What has come whole is answered."""
    if http_loop is asyncio.SelectorEventLoop:
        pytest.skip("asyncio's own loop: a connection whose client sends no more is closed there")
    begun = []

    async def slow(scope, receive, send):
        begun.append(scope["path"])
        await asyncio.sleep(0.01)
        await hello(scope, receive, send)

    with serving(lifeless(slow)) as server, server.connect() as client:
        client.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(20)) + behind)
        client.shutdown(socket.SHUT_WR)
        said = read_all(client)
    assert said.count(b"HTTP/1.1 200 ") == 20
    assert begun == [f"/{number}" for number in range(20)]


def test_application_that_is_ready_when_nobody_waits_for_it_any_more(http_loop):
    complaints = []

    async def main():
        begun, go, said = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def application(scope, receive, send):
            await receive()
            begun.set()
            await go.wait()
            await send({"type": "lifespan.startup.complete"})
            said.set()
            await receive()

        lifespan = Lifespan(application, False, lambda *told: complaints.append(told))
        starting = asyncio.create_task(lifespan.startup())
        await begun.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        go.set()
        await asyncio.wait_for(said.wait(), WAIT_S)

    with asyncio.Runner(loop_factory=http_loop) as runner:
        runner.run(main())
    assert complaints == []
