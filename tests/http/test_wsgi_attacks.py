"""Clients of WSGI applications that go at any moment or take their time: nobody waits for them, and nothing is left."""

import logging
import os
import socket
import threading

import pytest

from http_servers import GET, LAST, WAIT_S, body_of, read_all
from ioring.http.sendfile import Sending
from rings import RESET

THREADS = 3
SERVING = {"kind": "wsgi", "threads": THREADS}
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
REQUESTS = {
    "pieces": b"POST /pieces HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "chunked": b"POST / HTTP/1.1\r\nHost: a\r\n" + CHUNKED,
    "invited": b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + CHUNKED,
}


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/pieces":
        return (b"x" * 50_000 for _ in range(20))
    return [b"hello", body]


def is_served(server):
    """Whether a new client gets what it asks for, and nothing is left of the others."""
    assert body_of(server.talk(LAST)) == b"hello"
    service = server.server.service
    server.until(lambda: not service.connections and not service.active)
    assert sum(thread.name.startswith("wsgi-") for thread in threading.enumerate()) == THREADS


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("request_bytes", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("way", ["reset", "end", "half"])
def test_client_that_goes_at_every_byte(serving, request_bytes, way):
    # A reset is sent once, and a busy kernel may drop it: the time-outs are for those.
    with serving(application, timeout_head=3, timeout_body=3) as server:
        is_served(server)
        before = descriptors()
        for count in range(1, len(request_bytes) + 1):
            with server.connect() as client:
                if way == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.sendall(request_bytes[:count])
                if way == "half":
                    client.shutdown(socket.SHUT_WR)
                    said = read_all(client)
                    assert b" 200 OK\r\n" not in said or count == len(request_bytes)
        is_served(server)
        assert descriptors() <= before
    assert [message for message, exception in server.complaints if exception is not None] == []
    assert len(server.complaints) <= len(request_bytes)


def test_slow_heads_take_no_thread(serving):
    with serving(application, timeout_head=0.3) as server:
        is_served(server)
        before = descriptors()
        clients = [server.connect() for _ in range(2 * THREADS)]
        for client in clients:
            client.sendall(GET[:-1])
        assert body_of(server.talk(LAST)) == b"hello"
        for client in clients:
            assert read_all(client).startswith(b"HTTP/1.1 408 ")
            client.close()
        is_served(server)
        assert descriptors() <= before
    assert len(server.complaints) <= len(clients)


@pytest.mark.parametrize("received", [0, 1, 500_000])
def test_client_that_resets_while_a_file_is_sent(serving, tmp_path, caplog, received):
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.truncate(8_000_000)
    opened = []

    def sends(environ, start_response):
        if environ["PATH_INFO"] == "/":
            return application(environ, start_response)
        opened.append(open(path, "rb"))  # noqa: SIM115
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](opened[-1])

    with serving(sends) as server, caplog.at_level(logging.WARNING):
        for _ in range(40):
            with server.connect() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.sendall(GET.replace(b"/", b"/file", 1))
                left = received
                while left > 0:
                    left -= len(client.recv(left))
        is_served(server)
        server.until(lambda: all(file.closed for file in opened))
    assert server.complaints == []
    assert caplog.records == []


@pytest.mark.parametrize("slice", [0, 1])
def test_client_that_goes_in_the_moment_when_a_slice_of_its_file_is_sent(serving, tmp_path, caplog, monkeypatch, slice):
    """The transport is closing, which the connection has not been told yet: it is not the application's fault."""
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.truncate(8_000_000)
    opened, begun = [], []

    def sends(environ, start_response):
        opened.append(open(path, "rb"))  # noqa: SIM115
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](opened[-1])

    go_on = Sending.go_on

    def late(sending):
        begun.append(sending)
        if len(begun) > slice and sending.connection is not None:
            sending.connection.transport.abort()
        return go_on(sending)

    monkeypatch.setattr(Sending, "go_on", late)
    with serving(sends) as server, caplog.at_level(logging.WARNING):
        with server.connect() as client:
            client.sendall(GET)
            read_all(client)
        server.until(lambda: opened[0].closed and not server.server.service.connections)
    assert len(begun) > slice
    assert server.complaints == []
    assert caplog.records == []


def test_client_that_is_gone_before_the_connection_is_told(serving, tmp_path, caplog, monkeypatch):
    """The thread says that it is done in between: the response is short, which is not the application's fault."""
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.truncate(8_000_000)
    closed, delivered = threading.Event(), []

    def sends(environ, start_response):
        file = open(path, "rb")  # noqa: SIM115
        start_response("200 OK", [])
        wrapper = environ["wsgi.file_wrapper"](file)
        wrapper.close = lambda: (file.close(), closed.set())
        return wrapper

    def gone(sending):
        """Between the end of the sending and connection_lost()."""
        sending.fail(None)
        delivered.append(closed.wait(WAIT_S))
        server.server._threads.gateway.deliver()

    monkeypatch.setattr(Sending, "go_on", gone)
    with serving(sends) as server, caplog.at_level(logging.WARNING):
        with server.connect() as client:
            client.sendall(GET)
            read_all(client)
        server.until(lambda: not server.server.service.connections)
    assert delivered == [True]
    assert server.complaints == []
    assert caplog.records == []


@pytest.mark.parametrize("length", ["200000", "100000", "many"])
def test_content_length_of_a_file(serving, tmp_path, length):
    """One that is smaller than the file is what is sent; one that is larger, or no number, is an error."""
    (tmp_path / "file").write_bytes(b"x" * 150_000)

    def sends(environ, start_response):
        start_response("200 OK", [("Content-Length", length)])
        return environ["wsgi.file_wrapper"](open(tmp_path / "file", "rb"))

    with serving(sends) as server:
        said = server.talk(LAST)
    if length == "100000":
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body_of(said) == b"x" * 100_000
        assert server.complaints == []
    else:
        assert said.startswith(b"HTTP/1.1 500 ")
        assert len(server.complaints) == 1


def test_client_that_is_gone_before_its_file_is_begun(serving, tmp_path, caplog):
    path = tmp_path / "file"
    path.write_bytes(bytes(100_000))
    file = open(path, "rb")  # noqa: SIM115
    closed = threading.Event()

    class Wrapped:
        fileno, tell, seek = file.fileno, file.tell, file.seek
        read, readinto = file.read, file.readinto

        def close(self):
            file.close()
            closed.set()

    def sends(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](Wrapped())

    with serving(sends) as server, caplog.at_level(logging.WARNING):
        gateway = server.server._threads.gateway
        start_file = gateway.start_file

        def late(call, *more):
            """As when the client goes in the turn in which sending begins."""
            call.exchange.connection.transport.abort()
            start_file(call, *more)

        gateway.start_file = late
        with server.connect() as client:
            client.sendall(GET)
            assert read_all(client) == b""
        assert closed.wait(WAIT_S)
        server.until(lambda: not server.server.service.connections)
    assert server.complaints == []
    assert caplog.records == []
