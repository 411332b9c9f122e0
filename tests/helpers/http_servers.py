"""HTTP servers in threads, and clients that speak to them byte by byte."""

import asyncio
import contextlib
import os
import socket
import sys
import threading
import traceback

from ioring.http.application import Application, load
from ioring.http.configuration import Configuration
from ioring.http.server import Server

WAIT_S = 10

QUEUES_MAX = 40 << 20
"""More than the kernel keeps for a connection in both directions (net.ipv4.tcp_rmem, tcp_wmem)."""


class Running:
    """A server in a thread of its own, and what it complained of."""

    def __init__(self, application, factory, kind="asgi", **options):
        self.application, self.kind = application, kind
        self.configuration = Configuration(target=application, **options)
        self.factory = factory
        self.complaints = []
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with asyncio.Runner(loop_factory=self.factory) as runner:
            runner.run(self.main())

    async def main(self):
        self.loop = asyncio.get_running_loop()
        application = Application(self.kind, self.application, "application")
        if isinstance(self.application, os.PathLike):
            application = load(self.configuration)
        self.server = Server(self.configuration, application)
        self.server._log = lambda message, exception: self.complaints.append((message, exception))
        listener = self.listener()
        self.address = listener.getsockname()
        await self.server.start([listener])
        self.started.set()
        await self.server.serve()

    def listener(self):
        return socket.create_server(("127.0.0.1", 0), backlog=128)

    def __enter__(self):
        self.thread.start()
        assert self.started.wait(WAIT_S)
        return self

    def __exit__(self, *_):
        with contextlib.suppress(RuntimeError):  # a test stopped it already
            self.loop.call_soon_threadsafe(self.server.stop)
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()

    def connect(self):
        return socket.create_connection(self.address, timeout=WAIT_S)

    def connection(self):
        """The one connection that it has, once it has one."""
        [connection] = self.until(lambda: list(self.server.service.connections))
        return connection

    def paused_connection(self):
        """The same, once reading is paused."""
        connection = self.connection()
        self.until(lambda: not connection.transport.is_reading())
        return connection

    def until(self, function):
        """Calls a function in the loop's thread, once in each turn, until it returns something."""

        async def wait():
            while not (result := function()):  # noqa: ASYNC110 - what it looks at has no event
                await asyncio.sleep(0)
            return result

        try:
            return asyncio.run_coroutine_threadsafe(asyncio.wait_for(wait(), WAIT_S), self.loop).result(2 * WAIT_S)
        except TimeoutError:
            raise AssertionError(self.state()) from None

    def state(self):
        """What goes on in the server, for who waits in vain."""
        service = self.server.service
        lines = [f"active: {service.active}"]
        lines += [f"{connection!r} {connection.transport!r}" for connection in list(service.connections)]
        threads = self.server._threads
        if threads is not None:
            names = ("queued", "taken", "active", "waking", "waits", "watched", "told", "idle", "done")
            lines.append(" ".join(f"{name}={getattr(threads.gateway, name, '')!r}" for name in names))
        if hasattr(self.loop, "statistics"):
            lines.append(str(self.loop.statistics()))
        frames = sys._current_frames()
        lines += ["".join(traceback.format_stack(frames[ident])) for ident in frames]
        return "\n".join(lines)

    def talk(self, data):
        """Everything that is answered to some bytes, behind which nothing more is sent."""
        with self.connect() as client:
            client.sendall(data)
            return read_all(client)


def read_all(client):
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def read_response(client):
    """One response with a content-length: its status, headers and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.recv(1 << 16)
        assert part, data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines[1:])
    length = int(headers.get(b"content-length", b"0"))
    while len(body) < length:
        part = client.recv(1 << 16)
        assert part, data
        body += part
    return int(lines[0].split()[1]), headers, body


def body_of(response):
    head, _, body = response.partition(b"\r\n\r\n")
    return unchunked(body) if b"transfer-encoding: chunked" in head else body


def unchunked(data):
    parts = []
    while True:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        parts.append(data[:count])
        assert data[count : count + 2] == b"\r\n"
        data = data[count + 2 :]
        if not count:
            assert data == b""
            return b"".join(parts)


def end_of_response(data, head):
    """Where the first final response ends; None while it is not complete, or ends with the connection."""
    start = 0
    while True:
        body = data.find(b"\r\n\r\n", start) + 4
        if body < 4:
            return None
        status = int(data[start:].split(b" ", 2)[1])
        if status >= 200 or status == 101:
            break
        start = body
    lines = data[start:body].lower().split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
    if head or status in (101, 204, 304):
        return body
    if b"transfer-encoding" in headers:
        position = data.find(b"\r\n0\r\n\r\n", body - 2)
        while position >= 0:
            with contextlib.suppress(ValueError, AssertionError):
                unchunked(data[body : position + 7])
                return position + 7
            position = data.find(b"\r\n0\r\n\r\n", position + 1)
        return None
    end = body + int(headers.get(b"content-length", b"0"))
    return end if len(data) >= end else None


async def hello(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def echo(scope, receive, send):
    """Sends back the body, piece by piece."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def one_of_two_cancelled(first, second, tell):
    """Two wait at the same time, the second is cancelled, then somebody is told: what comes of the first."""
    waits = asyncio.ensure_future(first)
    given_up = asyncio.ensure_future(second)
    await asyncio.sleep(0)
    assert not waits.done()
    assert not given_up.done()
    given_up.cancel()
    await asyncio.wait([given_up])
    assert given_up.cancelled()
    tell()
    return await waits


def lifeless(application):
    """Without the lifespan protocol, of which the tests' applications know nothing."""

    async def wrapped(scope, receive, send):
        if scope["type"] != "lifespan":
            await application(scope, receive, send)

    return wrapped


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
