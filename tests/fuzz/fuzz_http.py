"""Feeds the HTTP server's connections what a fuzzer makes up: python fuzz_http.py [libFuzzer's options].

The bytes are given once as they are and once in pieces; what is answered has to be the same. In between, and at the
end, nothing may be left over. test_fuzz.py runs it.
"""

import asyncio
import random
import re
import sys

import atheris

import ioring
from ioring.http._connection import Connection
from ioring.http._service import Service

TURNS_MAX = 200

SEEDS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a%20b?c=d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;e=1\r\nhello\r\n0\r\nTrailer: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nrest",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nrest",
]
WORDS = [
    *(
        b"GET ",
        b"POST ",
        b"HEAD ",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"Host: a",
        b"Content-Length: ",
        b"Content-Length: 5\r\n",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"chunked", b"gzip", b"identity", b"Connection: close\r\n", b"keep-alive"),
    *(
        b"Upgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: upgrade\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
    ),
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"%00",
        b"\xff",
        b"7fffffffffffffff\r\n",
        b"-1",
        b"+5",
        b"0x5",
    ),
]


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = bytearray()
        self.paused = self.closed = False

    def write(self, data):
        assert not self.closed
        assert type(data) is bytes
        self.written += data

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def is_closing(self):
        return self.closed

    def get_write_buffer_size(self):
        return 0

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.closed = True

    def close(self):
        self.closed = True

    abort = close


async def echo(scope, receive, send):
    """Answers with the method, the path, and the body as it comes."""
    assert isinstance(scope["path"], str)
    assert all(
        type(name) is bytes and type(value) is bytes and name == name.lower() for name, value in scope["headers"]
    )
    start = {"type": "http.response.start", "status": 200, "headers": [(b"x-method", scope["method"].encode())]}
    body = scope["raw_path"]
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await send(start)
    await send({"type": "http.response.body", "body": body})


def at_once(exchange):
    """Answers as soon as the head is there, as for a file."""
    exchange.start(200, [])
    exchange.write(exchange.target)


async def answered(pieces, loop, application):
    """What a connection answers, and whether it is closed then."""
    complaints = []

    class Told(Service):
        def trouble(self, who, message, exception):
            complaints.append((message, exception))

    service = Told(application, loop, asgi=application is echo)
    service.date_header = service.server_header = False
    service.set_date()
    transport = Transport()
    connection = Connection(service)
    connection.connection_made(transport)
    for piece in pieces:
        turns = 0
        while transport.paused and turns < TURNS_MAX:
            await asyncio.sleep(0)
            turns += 1
        assert not transport.paused, "nothing is received any more"
        if transport.closed:
            break
        connection.data_received(piece)
    for _ in range(6):
        await asyncio.sleep(0)
    turns = 0
    while connection.current is not None and connection.current.complete and not transport.closed:
        await asyncio.sleep(0)
        turns += 1
        assert turns < 100 * TURNS_MAX, "a request that is whole is not answered"
    connection.connection_lost(None)
    for _ in range(4):
        await asyncio.sleep(0)
    assert service.active == 0
    assert not service.connections
    assert all(exception is None for _, exception in complaints if exception is not None), complaints
    for message, exception in complaints:
        assert "application" not in message, (message, exception)
    return bytes(transport.written), transport.closed


def pieces_of(data, chance):
    """The bytes, cut somewhere."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 12)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if end > start]


def check(data):
    loop, chance = check.loop, random.Random(data)
    application = chance.choice((echo, at_once))
    whole = loop.run_until_complete(answered([data], loop, application))
    pieces = pieces_of(data, chance)
    parts = loop.run_until_complete(answered(pieces, loop, application))
    assert statuses(whole[0]) == statuses(parts[0]), (pieces, whole, parts)


def statuses(response):
    """All but which error it is that is told of a request with several: the parser tells of a header when it meets the
    next."""
    return [re.sub(rb"4\d\d", b"4xx", each) for each in re.findall(rb"^HTTP/1\.1 (\d\d\d)", response, re.MULTILINE)]


def mutate(data, size_max, seed):
    """The parser is not instrumented, so that the fuzzer would not find to requests by itself: begins with some."""
    chance = random.Random(seed)
    if len(data) < 10 or chance.random() < 0.7:
        data = b"".join(chance.choices(SEEDS, k=chance.randrange(1, 4)))
    for _ in range(chance.randrange(5)):
        at, until = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
        kind = chance.randrange(6)
        if kind == 0:
            data = data[:at] + chance.choice(WORDS) + data[at:]
        elif kind == 1:
            lines = data.split(b"\r\n")
            lines.insert(chance.randrange(len(lines) + 1), chance.choice(WORDS))
            data = b"\r\n".join(lines)
        elif kind == 2:
            data = data[:at] + data[min(until, at + chance.randrange(1, 9)) :]
        elif kind == 3:
            data = data[:until] + data[at:until] + data[until:]
        elif kind == 4:
            data = data[:at] + chance.randbytes(1) + data[at + 1 :]
        else:
            data = atheris.Mutate(data, size_max)
    return data[:size_max]


def main():
    check.loop = ioring.Loop()
    atheris.Setup(sys.argv, check, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
