"""Headers that the server adds to responses (`--header`)."""

import pytest

from http_servers import GET, LAST, hello, lifeless, read_all, read_response
from ioring.http import ConfigurationError
from ioring.http.configuration import Configuration
from serving import Serving
from websocket_bytes import frame, request

ADDED = ["X-Frame-Options: DENY", "cache-control:no-store, max-age=0", "Server: mine"]


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def fields(head):
    """Names in lower case, and all values of each."""
    found = {}
    for line in head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b": ")
        found.setdefault(name.lower().decode(), []).append(value.decode())
    return found


def are_there(head):
    found = fields(head)
    assert found["x-frame-options"] == ["DENY"], head
    assert found["cache-control"] == ["no-store, max-age=0"], head
    assert found["server"] == ["mine"], head


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_each_response_has_them(serving, kind):
    application = lifeless(hello) if kind == "asgi" else wsgi
    with serving(application, kind=kind, header=ADDED, limit_body=1) as server:
        are_there(server.talk(LAST))
        are_there(server.talk(LAST.replace(b"GET", b"HEAD")))
        are_there(server.talk(b"nonsense\r\n\r\n"))  # what the server itself answers
        are_there(server.talk(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"))


def test_what_the_application_says_wins(serving):
    async def own(scope, receive, send):
        headers = [(b"X-Frame-Options", b"SAMEORIGIN"), (b"server", b"its own"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    with serving(lifeless(own), header=ADDED) as server:
        found = fields(server.talk(LAST))
    assert found["x-frame-options"] == ["SAMEORIGIN"]
    assert found["server"] == ["its own"]
    assert found["cache-control"] == ["no-store, max-age=0"]


def test_files_have_them(serving, tmp_path):
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "file.txt.gz").write_text("compressed")
    (tmp_path / "large.bin").write_bytes(bytes(200_000))
    with serving(tmp_path, kind="folder", header=[*ADDED, "ETag: none", "Content-Type: x/y"]) as server:
        for target in (b"/file.txt", b"/large.bin", b"/missing"):
            for line in (b"GET", b"HEAD"):
                asked = LAST.replace(b"GET /", line + b" " + target)
                are_there(server.talk(asked))
                are_there(server.talk(asked))  # from memory
                assert len(fields(server.talk(asked))["content-type"]) == 1
        are_there(server.talk(LAST.replace(b"/ ", b"/file.txt ").replace(b"Host", b"Accept-Encoding: gzip\r\nHost")))
        tag = fields(server.talk(LAST.replace(b"/ ", b"/file.txt ")))["etag"]
        assert tag != ["none"]
        same = server.talk(LAST.replace(b"/ ", b"/file.txt ").replace(b"Host", b"If-None-Match: *\r\nHost"))
        assert same.startswith(b"HTTP/1.1 304 ")
        are_there(same)
    with serving(tmp_path, kind="folder", header=ADDED, cache_max_age=60) as server:
        assert fields(server.talk(LAST.replace(b"/ ", b"/file.txt ")))["cache-control"] == ["public, max-age=60"]
    assert server.complaints == []


def test_websockets_have_them(serving):
    async def accepts(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"Cache-Control", b"private")]})
        await receive()

    with serving(lifeless(accepts), header=ADDED) as server, server.connect() as client:
        client.sendall(request() + frame(0x88))
        found = fields(read_all(client))
    assert found["x-frame-options"] == ["DENY"]
    assert found["cache-control"] == ["private"]
    assert found["server"] == ["mine"]


def test_keep_alive_with_them(serving):
    with serving(lifeless(hello), header=ADDED, server_header=False) as server, server.connect() as client:
        for _ in range(3):
            client.sendall(GET)
            status, headers, body = read_response(client)
            assert (status, body, headers[b"x-frame-options"]) == (200, b"hello", b"DENY")
            assert b"server" not in headers


@pytest.mark.any_kernel
@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("nothing", "NAME:VALUE is wanted"),
        (": value", "NAME:VALUE is wanted"),
        ("a b: value", "NAME:VALUE is wanted"),
        ("a: b\r\nc: d", "characters that no header may have"),
        ("a: \x7f", "characters that no header may have"),
        ("\xe4: b", "characters that no header may have"),
        ("a: \u20ac", "characters that no header may have"),
        ("Content-Length: 5", "the server that decides about Content-Length"),
        ("connection: close", "the server that decides about connection"),
    ],
)
def test_headers_that_cannot_be(header, words):
    with pytest.raises(ConfigurationError, match=words):
        Configuration(header=[header])


def test_as_they_are_given(tmp_path):
    assert Configuration(header={"A": "b, c", "D": "e"}).header == ("A:b, c", "D:e")
    environment = {"IORING_HEADER": "a: b, c\nd: e"}
    with Serving(tmp_path, "main:app", environment=environment) as server, server.connect() as client:
        client.sendall(LAST)
        assert fields(read_all(client)).items() >= {"a": ["b, c"], "d": ["e"]}.items()
    options = ("--header", "a: b", "--header", "c:d", "--workers", "2")
    with Serving(tmp_path, "main:app", *options) as server, server.connect() as client:
        client.sendall(LAST)
        assert fields(read_all(client)).items() >= {"a": ["b"], "c": ["d"]}.items()
