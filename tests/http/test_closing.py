"""How connections are closed: in stages, so that nobody loses a response; announced; and what comes before an error."""

import asyncio
import contextlib
import threading
import time

import pytest

import ioring
from http_servers import GET, LAST, Running, body_of, lifeless, read_all
from rings import wait_until
from tls_peer import Certificates

UPLOAD = 5_000_000


async def refuses(scope, receive, send):
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": b"no"})


async def reads(scope, receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % size})


def refuses_wsgi(environ, start_response):
    start_response("401 Unauthorized", [("Content-Length", "2")])
    return [b"no"]


@pytest.fixture(params=["asgi", "wsgi", "folder", "file", "mount", "tls"])
def refusing(request, http_loop, tmp_path):
    """A server that does not want what is uploaded, and how a client connects to it."""
    (tmp_path / "file").write_bytes(bytes(100_000))
    options, application, kind, context = {}, lifeless(refuses), "asgi", None
    if request.param == "wsgi":
        application, kind = refuses_wsgi, "wsgi"
    elif request.param in ("folder", "file"):
        application, kind = tmp_path, "folder"
    elif request.param == "mount":
        options = {"mount": [f"/static={tmp_path}"]}
    elif request.param == "tls":
        made = Certificates(tmp_path)
        options = {"ssl_certfile": made.certificate, "ssl_keyfile": made.key}
        context = made.client()
    line = {"file": b"GET /file", "mount": b"PUT /static/file"}.get(request.param, b"POST /")

    @contextlib.contextmanager
    def connect(server):
        with server.connect() as client:
            if context is None:
                yield client
            else:
                with context.wrap_socket(client, server_hostname="localhost") as tls:
                    yield tls

    return Running(application, http_loop, kind=kind, **options), connect, line


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_who_still_sends_gets_the_response(refusing, framing):
    server, connect, line = refusing
    with server, connect(server) as client:
        client.sendall(line + b" HTTP/1.1\r\nHost: a\r\n")
        if framing == "length":
            client.sendall(b"Content-Length: %d\r\n\r\n" % UPLOAD)
        else:
            client.sendall(b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % UPLOAD)
        for _ in range(UPLOAD // 50_000):
            client.sendall(bytes(50_000))
        said = b""
        while part := client.recv(1 << 16):
            said += part
    head, _, body = said.partition(b"\r\n\r\n")
    head = head.lower()
    assert head[:12].upper() in (b"HTTP/1.1 401", b"HTTP/1.1 405", b"HTTP/1.1 200")
    assert (b"\r\nconnection: close" in head) is (framing == "length")
    assert len(body) == int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert server.complaints == []


def test_who_goes_on_for_seconds_gets_the_response_too():
    """As long as something comes; not for ever."""
    with Running(lifeless(refuses), ioring.Loop) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % UPLOAD)
        until = time.monotonic() + 4
        while time.monotonic() < until:
            client.sendall(bytes(10_000))
            time.sleep(0.2)
        assert b"".join(iter(lambda: client.recv(1 << 16), b"")).startswith(b"HTTP/1.1 401")
    assert server.complaints == []


def test_requests_behind_the_last_one_do_not_reset_its_response(serving):
    """They came already, or come while it is closed."""
    with serving(lifeless(refuses)) as server, server.connect() as client:
        client.sendall(LAST + GET * 1000)
        client.sendall(GET * 10)
        said = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert said.count(b"HTTP/1.1 ") == 1
    assert said.endswith(b"no")


@pytest.mark.parametrize(
    "application, more, sent, closes",
    [
        (refuses, b"Expect: 100-continue\r\nContent-Length: 10\r\n", b"", True),
        (refuses, b"Content-Length: %d\r\n" % UPLOAD, b"", True),
        (refuses, b"Content-Length: 10\r\n", b"0123456789", False),
        (refuses, b"Content-Length: 10\r\n", b"", False),
        (refuses, b"Expect: 100-continue\r\n", b"", False),
        (reads, b"Content-Length: %d\r\n" % UPLOAD, bytes(UPLOAD), False),
        (reads, b"Expect: 100-continue\r\nContent-Length: 10\r\n", b"0123456789", False),
    ],
    ids=["not invited", "too much", "unread", "to come", "none", "read", "invited"],
)
def test_what_will_be_closed_says_so(serving, application, more, sent, closes):
    with serving(lifeless(application)) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n" + sent)
        said = b""
        while not said.endswith((b"no", b"\r\n10", b"%d" % UPLOAD)):
            said += client.recv(1000)
        assert (b"\r\nconnection: close\r\n" in said) is closes
        if closes:
            assert client.recv(1) == b""
        elif b"Content-Length: 10\r\n" in more and not sent:
            client.sendall(b"0123456789")
        if not closes:
            client.sendall(LAST.replace(b"GET", b"POST"))
            assert read_all(client).startswith(b"HTTP/1.1 ")
    assert server.complaints == []


def test_close_in_a_trailer(serving):
    data = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nConnection: close\r\n\r\n"
    with serving(lifeless(reads)) as server:
        said = server.talk(data)
    assert b"\r\nconnection: close\r\n" in said
    assert server.complaints == []


# What was sent before an error.


async def raises(scope, receive, send):
    headers = [(b"content-length", b"1000")] if scope["query_string"] else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
    if scope["path"] == "/later":
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"data: why it failed\n\n", "more_body": True})
    if scope["method"] == "POST":
        return
    raise RuntimeError("on purpose")


def raises_wsgi(environ, start_response):
    headers = [("Content-Length", "1000")] if environ["QUERY_STRING"] else []
    start_response("200 OK", headers)
    yield b"data: one\n\n"
    if environ["PATH_INFO"] == "/later":
        threading.Event().wait(0.01)
    yield b"data: why it failed\n\n"
    if environ["REQUEST_METHOD"] != "POST":
        raise RuntimeError("on purpose")


@pytest.mark.parametrize("query", [b"", b"?length"])
@pytest.mark.parametrize("path", [b"/", b"/later"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_what_was_sent_before_an_error_arrives(http_loop, kind, method, path, query):
    """But no end: the client can see that something is missing."""
    application = lifeless(raises) if kind == "asgi" else raises_wsgi
    with Running(application, http_loop, kind=kind) as server:
        said = server.talk(b"%b %b%b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, path, query))
        wait_until(lambda: not server.server.service.connections)
    if kind == "wsgi" and method == b"POST" and not query:
        assert body_of(said) == b"data: one\n\ndata: why it failed\n\n"
        return
    assert said.startswith(b"HTTP/1.1 200")
    assert b"data: one\n\n" in said
    assert b"data: why it failed\n\n" in said
    assert not said.endswith(b"0\r\n\r\n")
    assert len(server.complaints) == 1


def test_response_that_is_too_short_is_sent_as_far_as_it_goes(serving):
    async def short(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"abc"})

    with serving(lifeless(short)) as server:
        said = server.talk(GET)
    assert said.startswith(b"HTTP/1.1 200")
    assert said.endswith(b"\r\n\r\nabc")
    assert len(server.complaints) == 1
