"""What of a WSGI response reaches the client as the application gave it, and when."""

import queue
import threading

import pytest

from http_servers import GET, LAST, WAIT_S, body_of
from serving import Serving

SERVING = {"kind": "wsgi", "threads": 4}


def says(status, body=(b"",)):
    def application(environ, start_response):
        start_response(status, [("Content-Length", str(sum(map(len, body))))])
        return body

    return application


def first_line(server, request=LAST):
    return server.talk(request).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("200 OK", b"HTTP/1.1 200 OK"),
        ("200 Fine", b"HTTP/1.1 200 Fine"),
        ("404 Nothing to be seen here", b"HTTP/1.1 404 Nothing to be seen here"),
        ("200 ", b"HTTP/1.1 200 "),
        ("200", b"HTTP/1.1 200 "),
        ("299 Own", b"HTTP/1.1 299 Own"),
        ("999 Last", b"HTTP/1.1 999 Last"),
        ("418 I'm\ta T\xe9ap\xf6t \xa0\xff", "HTTP/1.1 418 I'm\ta T\xe9ap\xf6t \xa0\xff".encode("latin-1")),
    ],
)
def test_reason(serving, status, line):
    with serving(says(status)) as server:
        assert first_line(server) == line
        assert first_line(server, LAST.replace(b"GET", b"HEAD")) == line
    assert server.complaints == []


@pytest.mark.parametrize("status", ["200 a\r\nb: c", "200 a\nb", "200 a\0", "200 \x7f", "200 \u20ac"])
def test_reason_that_cannot_be(serving, status):
    with serving(says(status)) as server:
        assert first_line(server) == b"HTTP/1.1 500 Internal Server Error"
    [(_, exception)] = server.complaints
    assert isinstance(exception, ValueError)


def test_reason_of_an_error(serving):
    def application(environ, start_response):
        start_response("200 Fine", [])
        try:
            raise KeyError
        except KeyError as error:
            start_response("500 Quite Broken", [], (KeyError, error, error.__traceback__))
        return [b""]

    def broken(environ, start_response):
        start_response("200 Fine", [])
        raise KeyError("on purpose")

    with serving(application) as server:
        assert first_line(server) == b"HTTP/1.1 500 Quite Broken"
    assert server.complaints == []
    with serving(broken) as server:
        assert first_line(server) == b"HTTP/1.1 500 Internal Server Error"


@pytest.mark.parametrize("size", [10, 200_000])
def test_reason_of_a_file(serving, tmp_path, size):
    (tmp_path / "file").write_bytes(b"x" * size)

    def application(environ, start_response):
        start_response("203 From A File", [])
        return environ["wsgi.file_wrapper"](open(tmp_path / "file", "rb"))

    with serving(application) as server:
        said = server.talk(LAST)
    assert said.startswith(b"HTTP/1.1 203 From A File\r\n")
    assert said.count(b"x") == size


BLOCKS = [b"one", b"two" * 30_000, b"three"]


def by_iterable(headers, allowed):
    def application(environ, start_response):
        start_response("200 OK", headers)
        for block in BLOCKS:
            assert allowed.get(timeout=WAIT_S)
            yield block
        assert allowed.get(timeout=WAIT_S)

    return application


def by_write(headers, allowed):
    def application(environ, start_response):
        write = start_response("200 OK", headers)
        for block in BLOCKS:
            assert allowed.get(timeout=WAIT_S)
            write(block)
        assert allowed.get(timeout=WAIT_S)
        return []

    return application


@pytest.mark.parametrize("request_bytes", [GET, GET.replace(b"/1.1", b"/1.0")], ids=["1.1", "1.0"])
@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
@pytest.mark.parametrize("way", [by_iterable, by_write])
def test_each_block_is_sent_before_the_next_is_asked_for(serving, way, length, request_bytes):
    allowed = queue.SimpleQueue()
    headers = [("Content-Length", str(sum(map(len, BLOCKS))))] if length else []
    with serving(way(headers, allowed)) as server, server.connect() as client:
        client.sendall(request_bytes)
        said = b""
        for block in BLOCKS:
            allowed.put(True)
            while block not in said:  # the application does not go on until it was received
                part = client.recv(1 << 16)
                assert part, said[:1000]
                said += part
        allowed.put(True)
        ending = b"" if length else b"0\r\n\r\n"
        if b"connection: keep-alive" not in said and b"/1.0" in request_bytes:
            while part := client.recv(1 << 16):
                said += part
            ending = b""
        while not said.endswith(ending):
            said += client.recv(1 << 16)
    assert server.complaints == []


def test_blocks_of_requests_that_share_a_thread_pool_do_not_wait_for_each_other(serving):
    """One application waits in the middle of its body, and another's blocks arrive meanwhile."""
    go = threading.Event()

    def application(environ, start_response):
        start_response("200 OK", [])
        yield b"begun"
        if environ["PATH_INFO"] == "/slow":
            assert go.wait(WAIT_S)

    with serving(application) as server, server.connect() as client:
        client.sendall(LAST.replace(b" / ", b" /slow "))
        said = b""
        while b"begun" not in said:
            said += client.recv(1000)
        assert body_of(server.talk(LAST)) == b"begun"
        go.set()
        while part := client.recv(1000):
            said += part
        assert said.endswith(b"0\r\n\r\n")
    assert server.complaints == []


MULTIPROCESS = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [repr(environ["wsgi.multiprocess"]).encode()]
"""


@pytest.mark.parametrize(("options", "answer"), [((), "False"), (("--reload",), "False"), (("--workers", "2"), "True")])
def test_multiprocess(tmp_path, options, answer):
    with Serving(tmp_path, "main:app", *options, application=MULTIPROCESS) as server:
        assert server.get() == answer
