"""Trailers behind a response (the ASGI extension http.response.trailers)."""

import http.client

import pytest

from http_servers import LAST, lifeless, unchunked

WANTED = LAST.replace(b"Host", b"TE: gzip, trailers\r\nHost")
PIECES = [
    {"headers": [(b"x-sum", b"1"), (b"X-Other", b"a, b")], "more_trailers": True},
    {"headers": [(b"x-end", b"2")]},
]


def sends(pieces, headers=(), bodies=(b"one", b"two"), status=200):
    async def application(scope, receive, send):
        assert scope["extensions"]["http.response.trailers"] == {}
        await send({"type": "http.response.start", "status": status, "headers": list(headers), "trailers": True})
        for number, body in enumerate(bodies):
            await send({"type": "http.response.body", "body": body, "more_body": number + 1 < len(bodies)})
        for piece in pieces:
            await send({"type": "http.response.trailers", **piece})

    return lifeless(application)


@pytest.mark.parametrize("bodies", [(b"one", b"two"), (b"onetwo",), (b"onetwo", b""), (b"o" * 50_000, b"t" * 50_000)])
def test_trailers(serving, bodies):
    with serving(sends(PIECES, bodies=bodies)) as server:
        said = server.talk(WANTED)
        head, _, body = said.partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        content, _end, trailers = body.rpartition(b"0\r\nx-sum: 1\r\n")
        assert trailers == b"X-Other: a, b\r\nx-end: 2\r\n\r\n"
        assert unchunked(content + b"0\r\n\r\n") == b"".join(bodies)
        # Who does not ask for them gets none.
        assert unchunked(server.talk(LAST).partition(b"\r\n\r\n")[2]) == b"".join(bodies)
    assert server.complaints == []


def test_client_of_the_standard_library(serving):
    """It reads over them, and the connection can be used again."""
    with serving(sends(PIECES)) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.address[1], timeout=10)
        for _ in range(3):
            client.request("GET", "/", headers={"TE": "trailers"})
            assert client.getresponse().read() == b"onetwo"
        client.close()
    assert server.complaints == []


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        (b"GET / HTTP/1.1", [(b"content-length", b"6")], 200),
        (b"HEAD / HTTP/1.1", [], 200),
        (b"GET / HTTP/1.0", [], 200),
        (b"GET / HTTP/1.1", [], 204),
    ],
)
def test_no_place_for_them(serving, line, headers, status):
    with serving(sends(PIECES, headers, status=status)) as server:
        said = server.talk(WANTED.replace(b"GET / HTTP/1.1", line))
        assert b"x-sum" not in said
        assert said.endswith(b"\r\n\r\n" if status == 204 or b"HEAD" in line else b"onetwo")
    assert server.complaints == []


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([{"headers": [(b"content-length", b"1")]}], "cannot be the name of a trailer"),
        ([{"headers": [(b"Set-Cookie", b"1")]}], "cannot be the name of a trailer"),
        ([{"headers": [(b"a b", b"1")]}], "cannot be the name of a trailer"),
        ([{"headers": [(b"a", b"b\r\nc: d")]}], "no value may have"),
        ([], "before the end of its response"),
        ([{"more_trailers": True}], "before the end of its response"),
    ],
)
def test_mistakes(serving, pieces, words):
    with serving(sends(pieces)) as server:
        said = server.talk(WANTED)
        assert b"0\r\n\r\n" not in said  # the client sees that it is not whole
        assert b"c: d" not in said
    [(message, exception)] = server.complaints
    assert words in f"{message} {exception}"


@pytest.mark.parametrize(
    ("announced", "words"), [(False, "have to be announced"), (True, "before the end of its body")]
)
def test_too_early(serving, announced, words):
    async def early(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": announced})
        await send({"type": "http.response.trailers", "headers": [(b"a", b"b")]})

    with serving(lifeless(early)) as server:
        assert server.talk(WANTED).startswith(b"HTTP/1.1 500 ")
    assert words in str(server.complaints[0][1])
