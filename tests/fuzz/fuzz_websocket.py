"""Feeds WebSockets of the HTTP server what a fuzzer makes up: python fuzz_websocket.py [libFuzzer's options].

As in fuzz_http.py the bytes are given as they are and in pieces: what the application receives, and how the WebSocket
ends, has to be the same.
"""

import asyncio
import contextlib
import random
import struct
import sys

import atheris

import ioring
from fuzz_http import Transport, pieces_of
from ioring.http._connection import Connection
from ioring.http._service import Service
from ioring.http.configuration import Configuration
from ioring.http.websocket import WebSocket

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%b\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
OPTIONS = Configuration(ws_max_size=100_000, ws_ping_interval=0)
TURNS = 12


def frame(chance):
    """A frame, usually one that a client may send."""
    opcode = chance.choice((0, 1, 1, 1, 2, 2, 8, 9, 10, chance.randrange(16)))
    first = opcode | chance.choice((0x80, 0x80, 0x80, 0, 0xC0, chance.randrange(256) & 0xF0))
    size = chance.choice((0, 1, 2, 5, 20, 125, 126, 300, chance.randrange(2000), 70_000))
    data = chance.choice((b"hello w\xc3\xb6rld " * (size // 8 + 1), chance.randbytes(size)))[:size]
    if opcode == 8 and chance.random() < 0.8:
        data = struct.pack(">H", chance.choice((1000, 1001, 1005, 1006, 3000, 5000))) + data[:100]
    announced = size if chance.random() < 0.03 else len(data)
    kind = chance.choice((0, 0, 0, 0, 0, 1, 2)) or (0 if announced < 126 else 1 if announced < 65536 else 2)
    head = struct.pack(">BB", first, 0x80 | announced if kind == 0 else 0x80 | (125 + kind))
    head += struct.pack(">H", announced & 0xFFFF) if kind == 1 else struct.pack(">Q", announced) if kind == 2 else b""
    key = chance.randbytes(4)
    return head + key + bytes(byte ^ key[place % 4] for place, byte in enumerate(data))


async def received(pieces, extensions, loop):
    """What the application gets, and what was complained of."""
    messages, complaints = [], []

    async def application(scope, receive, send):
        while True:
            message = await receive()
            messages.append(message)
            if message["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})
            elif message["type"] == "websocket.disconnect":
                return
            else:
                with contextlib.suppress(OSError):  # what came behind the message has ended the WebSocket already
                    await send({**message, "type": "websocket.send"})

    class Told(Service):
        def trouble(self, who, message, exception):
            complaints.append((message, exception))

        def open_websocket(self, connection, exchange, rest):
            WebSocket(connection, exchange, rest, OPTIONS)

    service = Told(application, loop)
    service.websockets = True
    transport = Transport()
    current = []
    transport.set_protocol = current.append
    connection = Connection(service)
    connection.connection_made(transport)
    connection.data_received(REQUEST % extensions)
    [socket] = current
    for _ in range(TURNS):
        await asyncio.sleep(0)
    for piece in pieces:
        for _ in range(TURNS):
            if not transport.paused:
                break
            await asyncio.sleep(0)
        assert not transport.paused, "nothing is received any more"
        if transport.closed:
            break
        socket.data_received(piece)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    socket.connection_lost(None)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert service.active == 0
    assert not service.connections
    assert not any(exception for _, exception in complaints), complaints
    return messages


def check(data):
    loop, chance = check.loop, random.Random(data)
    extensions = chance.choice((b"", DEFLATE))
    whole = loop.run_until_complete(received([data], extensions, loop))
    pieces = pieces_of(data, chance)
    parts = loop.run_until_complete(received(pieces, extensions, loop))
    assert whole == parts, (extensions, pieces, whole, parts)


def mutate(data, size_max, seed):
    chance = random.Random(seed)
    data = b"".join(frame(chance) for _ in range(chance.randrange(1, 6)))
    for _ in range(chance.choice((0, 0, 1, 2))):
        at = chance.randrange(len(data) + 1)
        data = data[:at] + chance.randbytes(chance.randrange(3)) + data[at + chance.randrange(3) :]
    return data[:size_max]


def main():
    check.loop = ioring.Loop()
    atheris.Setup(sys.argv, check, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
