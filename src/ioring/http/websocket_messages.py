"""The messages of a WebSocket (RFC 6455), in the bytes of its transport.

`websockets` does the protocol. What most connections do all the time, to send and receive whole messages that are not
compressed, does not go through it: the frame is at hand when its last byte is there, and its payload is the message.
"""

import asyncio
import codecs
import struct
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode, apply_mask  # type: ignore[attr-defined]
from websockets.protocol import CLOSING, OPEN
from websockets.server import ServerProtocol

from ioring.http._service import Service
from ioring.http._waiters import wake
from ioring.http.asgi_types import Message
from ioring.http.configuration import Configuration

HELD_MAX = 65536
"""While more bytes of messages than this wait for the application, nothing is received."""

JOIN_MAX = 16384
"""A message of up to this many bytes is copied behind its header: one write is cheaper than two."""

CONNECTING, OPENED, CLOSED = range(3)
Decoder = codecs.getincrementaldecoder("utf-8")
TEXT, BINARY = 0x81, 0x82  # the first bytes of whole messages
CONTROL = 0x08  # in the first byte of a frame that is none of a message


def deflate(configuration: Configuration) -> ServerPerMessageDeflateFactory:
    """Compression with windows of the size that is wanted, as far as the client lets that of its own be chosen.

    zlib takes 2 ** (bits + 2) bytes for the window to compress with, as many for its hash table with a memLevel of
    bits - 7, which is zlib's usual relation, and 2 ** bits to decompress with.
    """
    bits, forget = configuration.ws_window_bits, not configuration.ws_context_takeover
    return ServerPerMessageDeflateFactory(
        server_no_context_takeover=forget,
        client_no_context_takeover=forget,
        server_max_window_bits=bits,
        client_max_window_bits=bits,
        compress_settings={"memLevel": bits - 7},
    )


class Protocol(ServerProtocol):
    """As RFC 6455 has it: a client may close in the middle of a message, too (section 5.4)."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            # What it asks when it looks whether a message is whole; the first is its name up to websockets 15.
            self.cur_size = self.current_size = None
        super().recv_frame(frame)


class Messages(asyncio.Protocol):
    """Takes messages out of what is received, until it has enough of them, and puts messages into what is sent.

    Parameters:
        service: what it belongs to.
        transport: where the bytes come from and go to.
        rest: bytes that came already.
        configuration: has the options ``ws_...``.
    """

    def __init__(self, service: Service, transport: Any, rest: bytes, configuration: Configuration) -> None:
        self.service = service
        self.transport = transport  # None once it is closed
        self.max_size = configuration.ws_max_size or None
        self.state = CONNECTING
        self.protocol = Protocol(
            extensions=[deflate(configuration)] if configuration.ws_deflate else None,
            max_size=self.max_size,
        )
        self.queue_max = configuration.ws_max_queue or sys.maxsize
        self.paused = False  # the transport takes no more for now
        self.ping: bytes | None = None  # the payload of one that is not answered

        self.buffer = bytearray(rest)  # less than a frame; more while the application is behind
        self.needed = 2  # bytes that `buffer` has to have before it can be parsed
        self.parts: bytearray | None = None  # the bytes of a message that is not whole
        # What finds out whether they are text; None: they need not be.
        self.decode: Callable[[bytes, bool], str] | None = None
        self.messages: deque[Message] = deque()
        self.held = 0  # bytes in them
        self.waiters: object = None  # those who wait for a message: see waiting()
        self.reading_paused = False

    # What heirs give.

    def over(self, code: int, reason: str = "") -> None:
        """The WebSocket is closed: no message comes any more, and none can be sent."""
        raise NotImplementedError

    def set_deadline(self) -> None:
        """What the WebSocket waits for has changed."""
        raise NotImplementedError

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
            if (self.held > HELD_MAX or len(self.messages) > self.queue_max) and self.state == OPENED:
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
                self.write(data)
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
            and len(self.messages) <= self.queue_max // 2
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
            self.write(head + data)
        else:
            self.write(head)
            self.write(bytes(data))

    def write(self, data: bytes) -> None:
        """Sends bytes; drops them when the connection is lost, of which it is told a little later."""
        if not self.transport.is_closing():
            self.transport.write(data)
