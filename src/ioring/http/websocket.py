"""WebSockets (RFC 6455) of ASGI applications.

A connection becomes one when its parser meets a request for it (``Service.open_websocket``): from then on the transport
belongs to a `WebSocket`, which stands in `service.connections` in the place of the connection until the transport is
closed and the application has returned.

Here is what the application has of it: the handshake, its messages, time-outs, the end. The bytes are in
``websocket_messages``.
"""

import asyncio
import math
import re
import struct
from collections.abc import Sequence

from websockets.datastructures import Headers
from websockets.exceptions import ProtocolError
from websockets.http11 import Request
from websockets.protocol import OPEN

from ioring.http._asgi import AsgiExchange
from ioring.http._connection import GONE, Connection, state_of_peer
from ioring.http._waiters import waiting, wake
from ioring.http.asgi_types import Message, Scope
from ioring.http.configuration import Configuration
from ioring.http.errors import ClientDisconnected
from ioring.http.websocket_messages import BINARY, CLOSED, CONNECTING, OPENED, TEXT, Messages, Protocol

CLOSE_TIMEOUT_S = 10.0
"""How long the client has to answer the server's close frame."""

VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
SERVERS = frozenset((b"sec-websocket-accept", b"sec-websocket-extensions", b"connection", b"upgrade"))


class WebSocket(Messages):
    """One WebSocket, and the application's task.

    Parameters:
        connection: the HTTP connection that it was.
        exchange: the request for it.
        rest: bytes that came behind the request.
        configuration: has the options ``ws_...``.
    """

    def __init__(
        self, connection: Connection, exchange: AsgiExchange, rest: bytes, configuration: Configuration
    ) -> None:
        self.connection = connection
        self.exchange = exchange
        service = connection.service
        transport = connection.transport
        assert transport is not None
        super().__init__(service, transport, rest, configuration)
        self.client = connection.client
        self.ping_interval = configuration.ws_ping_interval or math.inf
        self.ping_timeout = configuration.ws_ping_timeout or math.inf
        self.deadline = math.inf
        self.task: asyncio.Task[None] | None = None
        self.messages.append({"type": "websocket.connect"})

        self.ended: Message | None = None  # the message that is the last
        self.unsent = 0  # how much was written and not sent, when that was looked at last
        self.writers: object = None  # those who wait until more may be sent
        # The status and headers of a response instead of an acceptance, once it has begun.
        self.denial: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self.pings = 0

        headers = Headers()
        for name, value in exchange.headers:
            headers[name.decode("latin-1")] = value.decode("latin-1")
        self.response = self.protocol.accept(Request(exchange.target.decode("latin-1"), headers))
        service.connections.discard(connection)
        service.connections.add(self)
        transport.set_protocol(self)
        if self.response.status_code != 101:
            service.trouble(exchange, f"no WebSocket: {self.protocol.handshake_exc}", None)
            self.state = CLOSED
            names = [name for name in ("Allow", "Upgrade") if name in self.response.headers]
            more = [(name.lower().encode(), self.response.headers[name].encode()) for name in names]
            if self.response.status_code in (400, 426):
                more.append((b"sec-websocket-version", b"13"))
            exchange.start(self.response.status_code, [(b"content-type", b"text/plain; charset=utf-8"), *more])
            exchange.write(bytes(self.response.body or b""))
            self.set_deadline()
            return
        if service.concurrency_max and service.active >= service.concurrency_max:
            service.trouble(exchange, f"{service.active} requests are worked on already", None)
            self.refuse(503)
            return
        service.active += 1
        scope = exchange.scope()
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if scope["scheme"] in ("https", "wss") else "ws"
        scope["asgi"]["spec_version"] = "2.5"
        scope["subprotocols"] = [
            item.strip().decode("latin-1")
            for name, value in exchange.headers
            if name == b"sec-websocket-protocol"
            for item in value.split(b",")
            if item.strip()
        ]
        scope["extensions"] = {"websocket.http.response": {}}
        del scope["method"]
        self.task = service.loop.create_task(self.run(scope))

    # The application.

    async def run(self, scope: Scope) -> None:
        service = self.service
        error: str | None = None
        try:
            await service.application(scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            error = "the WebSocket's task was cancelled"
            service.trouble(self.exchange, error, None)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as raised:  # SystemExit too: it is not for an application to end the server
            error = "the application raised an exception"
            service.trouble(self.exchange, error, raised)
        finally:
            self.task = None
            service.active -= 1
            if self.transport is None:
                service.connections.discard(self)
        if self.transport is None:
            return
        if self.state == CONNECTING:
            if error is None:
                service.trouble(self.exchange, "the application neither accepted the WebSocket nor closed it", None)
            self.refuse(500)
        elif self.state == OPENED:
            self.close(1000 if error is None else 1011)
        self.messages.clear()
        self.held = 0
        self.resume_receiving()

    async def receive(self) -> Message:
        while not self.messages:
            if self.ended is not None:
                return self.ended
            self.waiters, future = waiting(self.waiters, self.service.loop)
            await future
        message = self.messages.popleft()
        if self.held:
            self.held -= len(message.get("bytes") or message.get("text") or b"")
        if self.reading_paused:
            self.resume_receiving()
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if self.transport is None or (self.ended is not None and self.state != CONNECTING):
            raise ClientDisconnected("the WebSocket is closed")
        if kind == "websocket.send" and self.state == OPENED:
            data = message.get("bytes")
            if data is not None:
                self.send_message(BINARY, data)
            else:
                text = message.get("text")
                if text is None:
                    raise ValueError("websocket.send has neither bytes nor text")
                self.send_message(TEXT, text.encode())
        elif kind == "websocket.close" and self.state == OPENED:
            self.close(message.get("code", 1000), message.get("reason") or "")
        elif self.state == CONNECTING:
            self.send_early(kind, message)
        else:
            raise RuntimeError(f"{kind!r} is not to be sent now")
        while self.paused:
            self.writers, future = waiting(self.writers, self.service.loop)
            await future

    def send_early(self, kind: str, message: Message) -> None:
        """A message of the application before the WebSocket is accepted."""
        if kind == "websocket.http.response.start" and self.denial is None:
            self.denial = (message["status"], list(message.get("headers", ())))
            self.exchange.start(*self.denial)
        elif kind == "websocket.http.response.body" and self.denial is not None:
            more = bool(message.get("more_body", False))
            self.exchange.write(bytes(message.get("body", b"")), more)
            if not more:
                self.over(1006)
        elif kind == "websocket.accept" and self.denial is None:
            self.accept(message.get("subprotocol"), message.get("headers", ()))
        elif kind == "websocket.close" and self.denial is None:
            self.refuse(403)
        else:
            raise RuntimeError(f"{kind!r} is not to be sent now")

    def accept(self, subprotocol: str | None, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Answers 101 (Switching Protocols)."""
        lines = ["HTTP/1.1 101 Switching Protocols"]
        response, service = self.response, self.service
        dated = any(name.lower() == b"date" for name, _ in headers)
        for title, text in response.headers.raw_items():
            if title != "Date" or (service.date_header and not dated):
                lines.append(f"{title.lower()}: {text}")
        if subprotocol is not None:
            headers = [*headers, (b"sec-websocket-protocol", subprotocol.encode("latin-1"))]
        if service.server_header and not any(name.lower() == b"server" for name, _ in headers):
            lines.append(service.server_line.decode("latin-1").rstrip())
        for name, value in headers:
            if not NAME.fullmatch(name) or name.lower() in SERVERS:
                raise ValueError(f"{name!r} cannot be the name of a header when a WebSocket is accepted")
            if not VALUE.fullmatch(value):
                raise ValueError(f"header {name.decode()}: {value!r} has a byte that no value may have")
            lines.append(f"{name.decode('latin-1')}: {value.decode('latin-1')}")
        given = {name.lower() for name, _ in headers}
        lines += [line.decode("latin-1").rstrip("\r\n") for name, line in service.extras or () if name not in given]
        # The one that made the handshake waits for the bytes of a request, which it was not given.
        protocol = Protocol(state=OPEN, max_size=self.max_size)
        protocol.extensions = self.protocol.extensions
        self.protocol = protocol
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self.exchange.switched()
        self.state = OPENED
        self.set_deadline()
        self.go_on()
        self.resume_receiving()

    def refuse(self, status: int) -> None:
        """Answers with an HTTP error instead of a WebSocket."""
        self.exchange.refuse(status)
        self.over(1006)

    def over(self, code: int, reason: str = "") -> None:
        """The WebSocket is closed for the application: it receives this disconnect, and can send nothing."""
        if self.state != CLOSED:
            self.state = CLOSED
            self.set_deadline()
        if self.ended is None:
            self.ended = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self.notify()

    # The connection.

    def look(self) -> None:
        """Closes the WebSocket when the client has gone, which nobody would notice while nothing is received."""
        if state_of_peer(self.transport) == GONE:
            self.transport.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exception: Exception | None) -> None:
        service = self.service
        self.transport = None
        service.unread.discard(self)
        self.paused = False
        self.wake_sender()
        self.over(1006)
        exchange = self.exchange
        if service.log_access is not None and not exchange.finished and exchange.status != 101:
            service.log_access(exchange)  # it had no answer, or half of one
        self.deadline = math.inf
        self.buffer = bytearray()
        self.parts = None
        self.connection.connection_lost(exception)
        if self.task is None:
            service.connections.discard(self)

    # Sending.

    def close(self, code: int, reason: str = "") -> None:
        """Sends a close frame; the client has CLOSE_TIMEOUT_S to answer."""
        try:
            self.protocol.send_close(code, reason)
        except ProtocolError as error:
            raise ValueError(f"a WebSocket cannot be closed with {code} {reason!r}: {error}") from None
        self.flush()
        self.over(code, reason)
        if self.reading_paused:  # the client's answer is behind what the application did not take
            self.reading_paused = False
            self.service.unread.discard(self)
            self.transport.resume_reading()
        self.go_on()

    def pause_writing(self) -> None:
        self.paused = True
        self.unsent = self.transport.get_write_buffer_size() if self.transport is not None else 0
        self.set_deadline()

    def resume_writing(self) -> None:
        self.paused = False
        self.set_deadline()
        self.wake_sender()
        self.resume_receiving()

    def wake_sender(self) -> None:
        writers, self.writers = self.writers, None
        wake(writers)

    # Time-outs, and the end of the server.

    def set_deadline(self) -> None:
        now = self.service.now
        if self.state == CLOSED:
            self.deadline = now + min(CLOSE_TIMEOUT_S, self.service.write_timeout)
        elif self.paused:
            self.deadline = now + self.service.write_timeout
        elif self.state == OPENED:
            self.deadline = now + (self.ping_timeout if self.ping is not None else self.ping_interval)
        else:
            self.deadline = math.inf

    def delay(self, seconds: float) -> None:
        """The server stood still for so long, which is not the client's fault."""
        self.deadline += seconds

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = math.inf
        if self.transport is None:
            return
        if self.state == CLOSED or self.paused:
            before, self.unsent = self.unsent, self.transport.get_write_buffer_size()
            if self.paused and self.unsent != before:
                self.set_deadline()  # the client takes something
                return
            if self.paused:
                self.service.trouble(self, "the client takes nothing", None)
            self.transport.abort()
        elif self.reading_paused:
            self.set_deadline()  # an answer would not be received
        elif self.ping is not None:
            self.service.trouble(self, "the client does not answer pings", None)
            self.protocol.fail(1011, "keepalive ping timeout")
            self.flush()
        else:
            self.pings += 1
            self.ping = struct.pack("!I", self.pings)
            self.protocol.send_ping(self.ping)
            self.flush()
            self.set_deadline()

    def stop(self) -> None:
        """The server stops."""
        if self.state == OPENED:
            self.close(1012)
        elif self.state == CONNECTING and self.denial is None:
            self.refuse(503)

    def abandon(self) -> None:
        """The server does not wait for the WebSocket any longer."""
        self.service.connections.discard(self)
        if self.transport is not None:
            self.transport.abort()
        if self.task is not None:
            self.task.cancel()

    def __repr__(self) -> str:
        return f"<ioring.http.WebSocket of {self.client}>"
