"""A client of a WebSocket, byte by byte."""

import contextlib
import struct


def request(*more, key=b"dGhlIHNhbXBsZSBub25jZQ==", version=b"13"):
    lines = [b"GET / HTTP/1.1", b"Host: a", b"Connection: Upgrade", b"Upgrade: websocket", *more]
    if key:
        lines.append(b"Sec-WebSocket-Key: " + key)
    if version:
        lines.append(b"Sec-WebSocket-Version: " + version)
    return b"\r\n".join([*lines, b"", b""])


def frame(first, data=b"", mask=b"\1\2\3\4", length=None):
    size = len(data) if length is None else length
    bit = 128 if mask else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + mask + (bytes(byte ^ mask[n % 4] for n, byte in enumerate(data)) if mask else data)


@contextlib.contextmanager
def raw(server, *more):
    """A connection that is a WebSocket already."""
    with server.connect() as client:
        client.sendall(request(*more))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        yield client


def receive_exactly(client, size):
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        assert part, data
        data += part
    return data
