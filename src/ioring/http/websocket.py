"""WebSockets (RFC 6455) of ASGI applications.

A connection becomes one when its parser meets a request for it (``Service.open_websocket``): from then on the transport
belongs to a `WebSocket`, which stands in `service.connections` in the place of the connection until the transport is
closed and the application has returned.

`websockets` does the protocol. What most connections do all the time, to send and receive whole messages that are not
compressed, does not go through it: the frame is at hand when its last byte is there, and its payload is the message.
"""

import asyncio
import codecs
import math
import re
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ProtocolError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]
from websockets.http11 import Request
from websockets.protocol import CLOSING, OPEN
from websockets.server import ServerProtocol

from ioring.http._asgi import AsgiExchange
from ioring.http._connection import GONE, Connection, state_of_peer
from ioring.http._waiters import waiting, wake
from ioring.http.asgi_types import Message, Scope
from ioring.http.configuration import Configuration
from ioring.http.errors import ClientDisconnected

HELD_MAX = 65536
"""While more bytes of messages than this wait for the application, nothing is received."""

HELD_COUNT_MAX = 256
"""While more messages than this wait for the application, nothing is received."""

JOIN_MAX = 16384
"""A message of up to this many bytes is copied behind its header: one write is cheaper than two."""

CLOSE_TIMEOUT_S = 10.0
"""How long the client has to answer the server's close frame."""

CONNECTING, OPENED, CLOSED = range(3)
Decoder = codecs.getincrementaldecoder("utf-8")
TEXT, BINARY = 0x81, 0x82  # the first bytes of whole messages
CONTROL = 0x08  # in the first byte of a frame that is none of a message
VALUE = re.compile(rb"[^\r\n\0]*")
NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
SERVERS = frozenset((b"sec-websocket-accept", b"sec-websocket-extensions", b"connection", b"upgrade"))


class Protocol(ServerProtocol):
    """As RFC 6455 has it: a client may close in the middle of a message, too (section 5.4)."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            # What it asks when it looks whether a message is whole; the first is its name up to websockets 15.
            self.cur_size = self.current_size = None
        super().recv_frame(frame)


class WebSocket(asyncio.Protocol):
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
        self.service = service = connection.service
        transport = connection.transport
        assert transport is not None
        self.transport: Any = transport  # None once it is closed
        self.client = connection.client
        self.ping_interval = configuration.ws_ping_interval or math.inf
        self.ping_timeout = configuration.ws_ping_timeout or math.inf
        self.max_size = configuration.ws_max_size or None
        self.state = CONNECTING
        self.deadline = math.inf
        self.task: asyncio.Task[None] | None = None
        self.protocol = Protocol(
            extensions=[ServerPerMessageDeflateFactory()] if configuration.ws_deflate else None,
            max_size=self.max_size,
        )

        # Received.
        self.buffer = bytearray(rest)  # less than a frame; more while the application is behind
        self.needed = 2  # bytes that `buffer` has to have before it can be parsed
        self.parts: bytearray | None = None  # the bytes of a message that is not whole
        self.decode: Callable[[bytes, bool], str] | None = (
            None  # what finds out whether they are text; None: they need not be
        )
        self.messages: deque[Message] = deque([{"type": "websocket.connect"}])
        self.held = 0  # bytes in them
        self.waiters: object = None  # those who wait for a message: see waiting()
        self.reading_paused = False
        self.ended: Message | None = None  # the message that is the last

        # Sent.
        self.paused = False
        self.unsent = 0  # how much was written and not sent, when that was looked at last
        self.writers: object = None  # those who wait until more may be sent
        self.denial: tuple[int, list[tuple[bytes, bytes]]] | None = (
            None  # whether a response instead of an acceptance has begun: its status and headers
        )
        self.ping: bytes | None = None  # the payload of one that is not answered
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
            lines.append("server: ioring")
        for name, value in headers:
            if not NAME.fullmatch(name) or name.lower() in SERVERS:
                raise ValueError(f"{name!r} cannot be the name of a header when a WebSocket is accepted")
            if not VALUE.fullmatch(value):
                raise ValueError(f"header {name.decode()}: {value!r} has a byte that no value may have")
            lines.append(f"{name.decode('latin-1')}: {value.decode('latin-1')}")
        # The one that made the handshake waits for the bytes of a request, which it was not given.
        protocol = Protocol(state=OPEN, max_size=self.max_size)
        protocol.extensions = self.protocol.extensions
        self.protocol = protocol
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
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

    # Receiving.

    def data_received(self, data: bytes) -> None:
        self.service.received += len(data)
        if self.state == CLOSED and (self.protocol.state is not CLOSING or self.protocol.eof_sent):
            return  # it is not the client's answer that is waited for
        if self.buffer or self.reading_paused or self.state == CONNECTING:
            self.buffer += data
            if self.state == CONNECTING:
                if len(self.buffer) > HELD_MAX:
                    self.pause_receiving()
                return
            if self.reading_paused or len(self.buffer) < self.needed:
                return
            data, self.buffer = bytes(self.buffer), bytearray()
        self.consume(data)

    def go_on(self) -> None:
        """Parses what is in the buffer, if it is a whole frame."""
        if len(self.buffer) >= self.needed:
            data, self.buffer = bytes(self.buffer), bytearray()
            self.consume(data)

    def consume(self, data: bytes) -> None:
        """Parses bytes that begin with a frame."""
        at, end = 0, len(data)
        while at < end:
            size = end - at
            first = data[at]
            if size < 2:
                self.buffer += data[at:]
                self.needed = 2
                break
            length = data[at + 1]
            if length < 128:  # it is not masked, which is an error
                self.digest(data[at:])
                return
            length -= 128
            head = 6
            if length > 125:
                head = 8 if length == 126 else 14
                length = int.from_bytes(data[at + 2 : at + head - 4], "big") if size >= head else 0
            whole = head + length
            if self.max_size is not None and length > self.max_size:
                self.digest(data[at:])  # which finds the same, and says so to the client
                return
            if whole > size:
                self.buffer += data[at:] if at else data
                self.needed = whole
                break
            if self.state == CLOSED:
                # Nobody takes messages any more, and what they would be when they are not compressed is not kept.
                if first & CONTROL and not self.digest(data[at : at + whole]) and self.protocol.eof_sent:
                    return
            elif first in (TEXT, BINARY) and self.parts is None:
                payload: bytes | str = apply_mask(data[at + head : at + whole], data[at + head - 4 : at + head])
                if first == TEXT:
                    try:
                        payload = str(payload, "utf-8")  # type: ignore[arg-type]
                    except UnicodeDecodeError as error:
                        self.no_text(error)
                        return
                self.message(payload)
            elif not self.digest(data[at : at + whole]):
                return
            at += whole
            if (self.held > HELD_MAX or len(self.messages) > HELD_COUNT_MAX) and self.state == OPENED:
                # The rest waits as it came: a few bytes of compressed frames may be many megabytes.
                self.buffer += data[at:]
                self.needed = 2
                self.pause_receiving()
                break

    def digest(self, data: bytes) -> bool:
        """Has `websockets` parse bytes; returns whether the WebSocket is still open."""
        protocol = self.protocol
        protocol.receive_data(data)
        frames: list[Any] = protocol.events_received()  # no requests here
        for frame in frames:
            opcode = frame.opcode
            if opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                if self.state == OPENED and not self.part(frame):
                    return False
            elif opcode is Opcode.PONG and self.ping is not None and bytes(frame.data) == self.ping:
                self.ping = None
                self.set_deadline()
            elif opcode is Opcode.PING and self.paused:
                self.pause_receiving()  # a client that takes no answers may not ask more
        return self.flush()

    def part(self, frame: Frame) -> bool:
        """Takes a frame of a message, which may have several; returns whether the WebSocket is still open."""
        data: Any = frame.data  # bytes, or something like them
        if frame.opcode is not Opcode.CONT:
            if frame.fin:
                return self.whole(data, frame.opcode is Opcode.TEXT)
            self.parts = bytearray()  # of one piece: a client may send a message byte by byte
            self.decode = Decoder().decode if frame.opcode is Opcode.TEXT else None
        if self.decode is not None:
            try:
                self.decode(data, frame.fin)  # now: what is no text is refused before the rest of it comes
            except UnicodeDecodeError as error:
                return self.no_text(error)
        self.parts += data
        if frame.fin:
            data, self.parts = bytes(self.parts), None
            return self.whole(data, self.decode is not None)
        return True

    def whole(self, data: Any, text: bool) -> bool:
        """Takes a whole message; returns whether the WebSocket is still open."""
        if text:
            try:
                data = str(data, "utf-8")
            except UnicodeDecodeError as error:
                return self.no_text(error)
        self.message(data)
        return True

    def flush(self) -> bool:
        """Sends what `websockets` wants to send; returns whether the WebSocket is still open."""
        protocol = self.protocol
        transport = self.transport
        ends = False
        for data in protocol.data_to_send():
            if data:
                transport.write(data)
            else:
                ends = True
        if protocol.state is OPEN and not ends:
            return True
        if isinstance(protocol.parser_exc, Exception) and not isinstance(protocol.parser_exc, EOFError):
            self.service.trouble(self, f"no WebSocket any more: {protocol.parser_exc}", None)
        closing = protocol.close_rcvd or protocol.close_sent
        self.over(closing.code if closing is not None else 1006, closing.reason if closing is not None else "")
        if ends:
            transport.close()
        return False

    def message(self, data: bytes | str) -> None:
        """A message was received."""
        self.messages.append({"type": "websocket.receive", "text" if type(data) is str else "bytes": data})
        # As what receive() takes away again: characters count as bytes here.
        self.held += len(data)
        if self.waiters is not None:
            self.notify()

    def no_text(self, error: UnicodeDecodeError) -> bool:
        """A text message is not UTF-8: closes the WebSocket."""
        self.protocol.fail(1007, f"{error.reason} at position {error.start}")
        self.service.trouble(self, f"no WebSocket any more: {error}", None)
        return self.flush()

    def notify(self) -> None:
        waiters, self.waiters = self.waiters, None
        wake(waiters)

    def pause_receiving(self) -> None:
        if not self.reading_paused and self.transport is not None:
            self.reading_paused = True
            self.service.unread.add(self)
            self.transport.pause_reading()

    def resume_receiving(self) -> None:
        if (
            self.reading_paused
            and self.transport is not None
            and self.held <= HELD_MAX // 2
            and len(self.messages) <= HELD_COUNT_MAX // 2
            and not self.paused
        ):
            self.reading_paused = False
            if self.state != CONNECTING:
                self.go_on()
            if not self.reading_paused and self.transport is not None:
                self.service.unread.discard(self)
                self.transport.resume_reading()
                if self.ping is not None and self.state == OPENED:
                    self.set_deadline()  # only now its answer can be received

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

    def send_message(self, first: int, data: bytes) -> None:
        """Sends a message; ``first`` is the first byte of its frame."""
        protocol = self.protocol
        if protocol.extensions:
            if first == TEXT:
                protocol.send_text(data)
            else:
                protocol.send_binary(data)
            self.flush()
            return
        size = len(data)
        if size < 126:
            head = bytes((first, size))
        elif size < 65536:
            head = struct.pack("!BBH", first, 126, size)
        else:
            head = struct.pack("!BBQ", first, 127, size)
        if size <= JOIN_MAX:
            self.transport.write(head + data)
        else:
            self.transport.write(head)
            self.transport.write(bytes(data))

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
