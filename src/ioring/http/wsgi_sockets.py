"""WebSockets of WSGI applications, which take the socket out of their environ and speak the protocol themselves.

WSGI knows no WebSockets. Where a server has threads, packages such as simple-websocket, and with it flask-sock and
Flask-SocketIO, look for the client's socket under the name that gunicorn gives it. The one that is handed out here is
one end of a pair, and what goes through it is passed on to the client: so it is a blocking socket that can be polled,
whatever the connection is (TLS, direct descriptors), and has all that was received already.

Whoever writes to the socket has taken the connection: that is the response. An application that does not answers as it
would any other request.
"""

import asyncio
import contextlib
import math
import socket

from ioring.http._connection import GONE, Connection, state_of_peer
from ioring.http._exchange import Exchange
from ioring.http._wsgi_gateway import Gateway

PIECE_MAX = 65536
"""Bytes that are taken from the application at once, at most."""


class HandedSocket(asyncio.Protocol):
    """The connection of a request for a WebSocket while a thread works on it; stands where the Connection was.

    Parameters:
        connection: the HTTP connection that it was.
        exchange: the request for a WebSocket.
        rest: bytes that came behind the request.
        gateway: runs the application.

    Attributes:
        socket: the application's end.
    """

    def __init__(self, connection: Connection, exchange: Exchange, rest: bytes, gateway: Gateway) -> None:
        self.connection = connection
        self.exchange = exchange
        self.service = service = connection.service
        self.client = connection.client
        transport = connection.transport
        assert transport is not None
        self.transport: asyncio.Transport | None = transport
        self.taken = False  # the application has written something: the response is its own
        self.works = False  # the application does
        self.left = False  # it is done with its end
        self.paused = False  # the client takes no more for now
        self.waiting = bytearray()  # what the application has not taken; while there is some, nothing is received
        self.closes_at = math.inf
        self.unsent = 0  # what the client had not taken when that was looked at last
        self.inner: socket.socket | None = None
        service.connections.discard(connection)
        service.connections.add(self)
        transport.set_protocol(self)
        if service.concurrency_max and service.active >= service.concurrency_max:
            service.trouble(exchange, f"{service.active} requests are worked on already", None)
            exchange.refuse(503)
            return
        try:
            self.inner, self.socket = socket.socketpair()
        except OSError as error:
            service.trouble(exchange, f"there is no socket for a WebSocket: {error.strerror}", None)
            exchange.refuse(503)
            return
        self.inner.setblocking(False)
        self.socket.setblocking(True)  # whatever socket.setdefaulttimeout() was given
        self.works = True
        service.active += 1
        service.loop.add_reader(self.inner, self._take)
        if rest:
            self._give(rest)
        gateway.begin_with(exchange, self)

    # What the call in its thread asks for, in any thread.

    def is_taken(self) -> bool:
        inner = self.inner
        if not self.taken and not self.exchange.started and inner is not None:
            with contextlib.suppress(OSError):
                self.taken = bool(inner.recv(1, socket.MSG_PEEK))
        return self.taken

    def leave(self) -> None:
        """The application has returned.

        Threads of its own that still read find the end, and have until the connection is closed to notice: some
        packages are not prepared for a socket that is closed at once.
        """
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.left = True
        if self.transport is None:
            self.socket.close()

    # And in the loop's.

    def ended(self) -> None:
        """The application is done with the request."""
        if self.works:
            self.works = False
            self.service.active -= 1
            if self.transport is None:
                self.service.connections.discard(self)

    # From the application to the client.

    def _take(self) -> None:
        inner = self.inner
        if inner is None:
            return
        if self.is_taken() and self.exchange.status != 101:
            self.exchange.switched()
        try:
            data = inner.recv(PIECE_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close_inner()
            if self.taken and self.transport is not None:
                self.unsent = self.transport.get_write_buffer_size()
                self.closes_at = self.service.now + self.service.write_timeout
                self.transport.close()
        elif self.taken and self.transport is not None:
            self.transport.write(data)

    def pause_writing(self) -> None:
        self.paused = True
        self.connection.pause_writing()
        if self.inner is not None:
            self.service.loop.remove_reader(self.inner)

    def resume_writing(self) -> None:
        self.paused = False
        self.connection.resume_writing()
        if self.inner is not None:
            self.service.loop.add_reader(self.inner, self._take)

    # From the client to the application.

    def data_received(self, data: bytes) -> None:
        self.service.received += len(data)
        self._give(data)

    def _give(self, data: bytes) -> None:
        if self.inner is None:
            return
        nothing_waits = not self.waiting
        self.waiting += data
        if nothing_waits:
            self._send()
            if self.waiting and self.inner is not None:
                self.service.loop.add_writer(self.inner, self._go_on)
                self.service.unread.add(self)
                if self.transport is not None:
                    self.transport.pause_reading()

    def _go_on(self) -> None:
        self._send()
        if self.waiting or self.inner is None:
            return
        self.service.loop.remove_writer(self.inner)
        self.service.unread.discard(self)
        if self.transport is not None:
            self.transport.resume_reading()
        else:
            self._close_inner()

    def _send(self) -> None:
        if self.inner is not None:
            try:
                del self.waiting[: self.inner.send(self.waiting)]
            except BlockingIOError:
                pass
            except OSError:  # the application has left
                self.waiting.clear()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exception: Exception | None) -> None:
        service, exchange = self.service, self.exchange
        self.transport = None
        service.unread.discard(self)
        if not self.waiting:
            self._close_inner()
        elif self.inner is not None:
            service.loop.remove_reader(self.inner)
        if service.log_access is not None and not exchange.finished and exchange.status != 101:
            service.log_access(exchange)  # it had no answer, or half of one
        self.connection.connection_lost(exception)
        if self.left:
            self.socket.close()
        if not self.works:
            service.connections.discard(self)

    def _close_inner(self) -> None:
        if self.inner is not None:
            inner, self.inner = self.inner, None
            self.service.loop.remove_reader(inner)
            self.service.loop.remove_writer(inner)
            inner.close()
            self.waiting.clear()

    # Time-outs, and the end of the server.

    @property
    def deadline(self) -> float:
        return min(self.closes_at, self.connection.deadline)

    def delay(self, seconds: float) -> None:
        self.closes_at += seconds
        self.connection.delay(seconds)

    def expire(self) -> None:
        """The deadline has passed: the client takes nothing of the response, or of its end."""
        if self.closes_at > self.service.now:
            self.connection.expire()
        elif self.transport is not None:
            before, self.unsent = self.unsent, self.transport.get_write_buffer_size()
            self.closes_at = self.service.now + self.service.write_timeout
            if self.unsent == before:
                self.transport.abort()

    def look(self) -> None:
        """Closes the connection when the client has gone, which nobody would notice while nothing is received."""
        if state_of_peer(self.transport) == GONE and self.transport is not None:
            self.transport.abort()

    def stop(self) -> None:
        """The server stops: to the application it looks as if the client had left; what it still sends arrives."""
        if self.inner is not None:
            with contextlib.suppress(OSError):
                self.inner.shutdown(socket.SHUT_WR)

    def abandon(self) -> None:
        """The server does not wait for the application any longer."""
        self.service.connections.discard(self)
        if self.transport is not None:
            self.transport.abort()
        self._close_inner()

    def __repr__(self) -> str:
        return f"<ioring.http.HandedSocket of {self.client}>"
