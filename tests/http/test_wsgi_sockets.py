"""The socket that a WSGI application finds when it is asked for a WebSocket."""

import contextlib
import select
import socket
import threading

import pytest

from http_servers import QUEUES_MAX, WAIT_S, read_all
from websocket_bytes import receive_exactly, request

SERVING = {"kind": "wsgi", "threads": 4}
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def echo(environ, start_response):
    """Takes the connection, and sends back what comes on it."""
    sock = environ["gunicorn.socket"]
    assert isinstance(sock, socket.socket)
    assert sock.getblocking()
    sock.sendall(SWITCHED)
    while data := sock.recv(1000):
        sock.sendall(data)
    return []


def nothing_then(what):
    """The ways in which packages end the call after they have used the socket."""

    def application(environ, start_response):
        environ["gunicorn.socket"].sendall(SWITCHED + b"said")
        if what == "stops":
            raise StopIteration
        if what == "response":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"nobody sees this"]
        if what == "generator":
            return iter([])
        if what == "write":
            start_response("200 OK", [])(b"nobody sees this")
        return []

    return application


def test_what_comes_is_passed_on(serving):
    with serving(echo) as server, server.connect() as client:
        client.sendall(request() + b"early")
        assert receive_exactly(client, len(SWITCHED) + 5) == SWITCHED + b"early"
        for piece in (b"x", bytes(range(256)) * 1000, b"y"):
            client.sendall(piece)
            assert receive_exactly(client, len(piece)) == piece
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
        server.until(lambda: not server.server.service.connections)
        assert server.server.service.active == 0
        assert server.server.service.statuses[1] == 1
    assert server.complaints == []


@pytest.mark.parametrize("what", ["stops", "response", "generator", "write", "nothing"])
def test_what_is_written_to_it_is_the_response(serving, what):
    with serving(nothing_then(what)) as server:
        assert server.talk(request()) == SWITCHED + b"said"
        server.until(lambda: not server.server.service.connections)
        assert server.server.service.active == 0
    assert server.complaints == []


def test_it_is_closed_when_the_call_ends(serving):
    sockets, found = [], threading.Event()

    def leaves(environ, start_response):
        sock = environ["gunicorn.socket"]
        sockets.append(sock)
        sock.sendall(SWITCHED)

        def reads():
            with contextlib.suppress(OSError):
                while sock.recv(100):
                    pass
            found.set()

        threading.Thread(target=reads).start()
        return []

    with serving(leaves) as server:
        assert server.talk(request()) == SWITCHED
        assert found.wait(WAIT_S)
        server.until(lambda: not server.server.service.connections)
        assert sockets[0].fileno() == -1
    assert server.complaints == []


def test_request_that_is_answered_like_any_other(serving):
    seen = []

    def plain(environ, start_response):
        seen.append("gunicorn.socket" in environ)
        start_response("404 Not Found", [("Content-Length", "4")])
        return [b"none"]

    with serving(plain) as server:
        said = server.talk(request())
        assert said.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert said.endswith(b"\r\nconnection: close\r\n" + said[said.index(b"date: ") :])
        assert said.endswith(b"\r\n\r\nnone")
        assert b"200" not in server.talk(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        server.until(lambda: not server.server.service.connections)
        assert server.server.service.active == 0
        assert server.server.service.statuses[1] == 0
    assert seen == [True, False]  # only who asks for a WebSocket has one
    assert server.complaints == []


def test_long_response_instead_of_a_websocket(serving):
    def plain(environ, start_response):
        start_response("200 OK", [("Content-Length", str(QUEUES_MAX))])
        return (bytes(QUEUES_MAX // 40) for _ in range(40))

    with serving(plain) as server:
        said = server.talk(request())
        assert len(said.partition(b"\r\n\r\n")[2]) == QUEUES_MAX
    assert server.complaints == []


@pytest.mark.parametrize("taken", [True, False])
def test_application_that_raises(serving, taken):
    def raises(environ, start_response):
        if taken:
            environ["gunicorn.socket"].sendall(SWITCHED)
        raise ValueError("on purpose")

    with serving(raises) as server:
        said = server.talk(request())
        assert said == SWITCHED if taken else said.startswith(b"HTTP/1.1 500 ")
        server.until(lambda: not server.server.service.connections)
        assert server.server.service.active == 0
    [(message, exception)] = server.complaints
    assert "the application raised an exception" in message
    assert "on purpose" in str(exception)


def test_application_that_does_nothing(serving):
    def nothing(environ, start_response):
        raise StopIteration

    with serving(nothing) as server:
        assert server.talk(request()).startswith(b"HTTP/1.1 500 ")
    assert len(server.complaints) == 1


def test_it_can_be_polled(serving):
    def polls(environ, start_response):
        sock = environ["gunicorn.socket"]
        sock.sendall(SWITCHED)
        assert select.select([sock], [], [], WAIT_S)[0] == [sock]
        sock.sendall(sock.recv(100))
        return []

    with serving(polls) as server, server.connect() as client:
        client.sendall(request())
        assert receive_exactly(client, len(SWITCHED)) == SWITCHED
        client.sendall(b"now")
        assert read_all(client) == b"now"
    assert server.complaints == []


def test_client_that_takes_nothing_holds_the_application_back(serving):
    """And is cut off in the end."""
    error = []

    def endless(environ, start_response):
        try:
            while True:
                environ["gunicorn.socket"].sendall(bytes(1 << 16))
        except OSError as raised:
            error.append(raised)
        return []

    with serving(endless, timeout_write=0.3) as server, server.connect() as client:
        client.sendall(request())
        server.until(lambda: error)
        server.until(lambda: not server.server.service.connections)
    assert "takes nothing" in server.complaints[0][0]


def test_application_that_takes_nothing_holds_the_client_back(serving):
    go, total = threading.Event(), []

    def waits(environ, start_response):
        sock = environ["gunicorn.socket"]
        sock.sendall(SWITCHED)
        go.wait(WAIT_S)
        size = 0
        while data := sock.recv(1 << 16):
            size += len(data)
        total.append(size)
        return []

    with serving(waits) as server, server.connect() as client:
        client.sendall(request())
        assert receive_exactly(client, len(SWITCHED)) == SWITCHED
        client.setblocking(False)
        sent = 0
        [handed] = server.server.service.connections
        while True:
            try:
                sent += client.send(bytes(1 << 20))
            except BlockingIOError:
                if not select.select([], [client], [], 0.5)[1]:
                    break
        assert len(handed.waiting) < 1 << 20
        go.set()
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
        server.until(lambda: total)
        assert total == [sent]
    assert server.complaints == []


def test_client_that_leaves(serving):
    ends = []

    def waits(environ, start_response):
        sock = environ["gunicorn.socket"]
        sock.sendall(SWITCHED)
        ends.append(sock.recv(100))
        return []

    with serving(waits) as server:
        with server.connect() as client:
            client.sendall(request())
            assert receive_exactly(client, len(SWITCHED)) == SWITCHED
        server.until(lambda: ends)
        server.until(lambda: not server.server.service.connections)
    assert ends == [b""]
    assert server.complaints == []


def test_server_that_stops(serving):
    """To the application it looks as if the client had left, and its farewell arrives."""

    def waits(environ, start_response):
        sock = environ["gunicorn.socket"]
        sock.sendall(SWITCHED)
        assert sock.recv(100) == b""
        sock.sendall(b"farewell")
        return []

    with serving(waits) as server, server.connect() as client:
        client.sendall(request())
        assert receive_exactly(client, len(SWITCHED)) == SWITCHED
        server.loop.call_soon_threadsafe(server.server.stop)
        assert read_all(client) == b"farewell"
    assert server.complaints == []


def test_limit_concurrency(serving):
    with serving(echo, limit_concurrency=1) as server, server.connect() as client:
        client.sendall(request())
        assert receive_exactly(client, len(SWITCHED)) == SWITCHED
        assert server.talk(request()).startswith(b"HTTP/1.1 503 ")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
        server.until(lambda: server.server.service.active == 0)
    assert len(server.complaints) == 1


def test_server_that_stops_at_once(serving):
    """Also with one that waits for a thread."""
    release, begun = threading.Event(), []

    def blocks(environ, start_response):
        begun.append(environ["gunicorn.socket"])
        release.wait(WAIT_S)
        return []

    with serving(blocks, threads=1) as server, server.connect() as client, server.connect() as other:
        for each in (client, other):
            each.sendall(request())
        server.until(lambda: begun and len(server.server.service.connections) == 2)
        for _ in range(2):
            server.loop.call_soon_threadsafe(server.server.stop)
        assert read_all(client) == read_all(other) == b""
        release.set()
        server.thread.join(WAIT_S)
        assert not server.thread.is_alive()
    assert [each.fileno() for each in begun] == [-1]
