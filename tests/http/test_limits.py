"""Limits of the number of headers and of connections."""

import contextlib

import pytest

from http_servers import GET, hello, lifeless, read_all, read_response
from ioring.http import ConfigurationError
from ioring.http.configuration import Configuration

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"


def test_headers(serving):
    with serving(lifeless(hello), limit_headers=5) as server:
        with server.connect() as client:
            for _ in range(2):
                client.sendall(GET.replace(b"Host", b"A: b\r\n" * 4 + b"Host"))
                assert read_response(client)[0] == 200
            client.sendall(GET.replace(b"Host", b"A: b\r\n" * 5 + b"Host"))
            assert read_all(client).startswith(b"HTTP/1.1 431 ")
        # Trailers are left out, and do not count.
        said = server.talk(CHUNKED + b"\r\n0\r\n" + b"A: b\r\n" * 10 + b"\r\n")
        assert said.startswith(b"HTTP/1.1 200 ")
    assert [message for message, _ in server.complaints if "more than 5 headers" in message]


def test_headers_without_a_limit(serving):
    with serving(lifeless(hello)) as server:
        assert server.talk(GET.replace(b"Host", b"A: b\r\n" * 5000 + b"Host")).startswith(b"HTTP/1.1 200 ")


def test_connections(serving):
    with serving(lifeless(hello), limit_connections=3) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(3)]
        for client in clients:
            client.sendall(GET)
            assert read_response(client)[0] == 200
        # Those that are refused do not count, also while they are there.
        refused = [stack.enter_context(server.connect()) for _ in range(5)]
        for client in refused:
            client.sendall(GET)
            status, headers, _ = read_response(client)
            assert (status, headers[b"connection"]) == (503, b"close")
        server.until(lambda: server.server.service.surplus == 5)
        clients.pop().close()
        server.until(lambda: len(server.server.service.connections) == 7)
        with server.connect() as client:
            client.sendall(GET)
            assert read_response(client)[0] == 200
        for client in clients:
            client.sendall(GET)
            assert read_response(client)[0] == 200
        for client in refused:
            client.close()
        server.until(lambda: server.server.service.surplus == 0)
    assert any("more than 3 connections" in message for message, _ in server.complaints)


@pytest.mark.any_kernel
@pytest.mark.parametrize("name", ["limit_headers", "limit_connections"])
def test_limits_that_cannot_be(name):
    with pytest.raises(ConfigurationError, match=f"{name}: -1 is negative"):
        Configuration(**{name: -1})
