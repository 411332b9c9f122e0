"""The soak's rude half: clients with blocking sockets, in threads and in a process that dies.

Each is a function of an address and a random.Random, and returns when its connection is over. What the server sends
up to then has to be right; that it sends on is not expected of it.
"""

import contextlib
import select
import socket
import ssl
import struct
import sys
import time

from soak_pattern import Pattern

PEER_S = 60.0
"""Longer than a server takes to answer on any machine: a peer that waits so long has found a hang."""

HEADER = struct.Struct("!QQ")
"""What a sink and a source are told first: the pattern's seed and how many bytes it is."""


def connected(address, *, receive_buffer=0):
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.settimeout(PEER_S)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def reset(sock):
    """Closes without a farewell: the other side finds ECONNRESET."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def resets_echo(address, rng):
    """Talks with an echo, then breaks off with bytes on the way in both directions."""
    sock = connected(address)
    sent, received = Pattern(rng.getrandbits(40)), Pattern(0)
    received.seed = sent.seed
    try:
        for _ in range(rng.randrange(1, 6)):
            sock.sendall(sent.take(rng.randrange(1, 20000)))
            if rng.random() < 0.7:
                received.check(sock.recv(rng.randrange(1, 30000)))
    finally:
        reset(sock)


def resets_source(address, rng):
    """Asks for megabytes and takes a few of them."""
    sock = connected(address)
    pattern = Pattern(rng.getrandbits(40))
    try:
        sock.sendall(HEADER.pack(pattern.seed, rng.randrange(1 << 20, 1 << 23)))
        for _ in range(rng.randrange(6)):
            pattern.check(sock.recv(65536))
    finally:
        reset(sock)


def half_closes(address, rng, *, pauses=0):
    """Sends, says that there is no more, and hears how much has come."""
    with connected(address) as sock:
        pattern = Pattern(rng.getrandbits(40))
        length = rng.randrange(1, 5000) if pauses else rng.randrange(1, 1 << 20)
        header = HEADER.pack(pattern.seed, length)
        if pauses:
            sock.sendall(header[:3])
            time.sleep(rng.random() * 0.02)
            sock.sendall(header[3:])
        else:
            sock.sendall(header)
        while pattern.count < length:
            most = length // (pauses + 1) + 1 if pauses else 100000
            sock.sendall(pattern.take(min(rng.randrange(1, most + 1), length - pattern.count)))
            if pauses:
                time.sleep(rng.random() * 0.02)
        sock.shutdown(socket.SHUT_WR)
        answer = read_to_end(sock)
        assert answer == struct.pack("!Q", length), f"{answer} of {length}"


def writes_slowly(address, rng):
    half_closes(address, rng, pauses=10)


def reads_slowly(address, rng):
    """Takes from a source so little at a time that the source has to wait, again and again."""
    with connected(address, receive_buffer=4096) as sock:
        pattern = Pattern(rng.getrandbits(40))
        length = rng.randrange(200_000, 600_000)
        sock.sendall(HEADER.pack(pattern.seed, length))
        for _ in range(20):
            pattern.check(sock.recv(rng.randrange(1, 4096)))
            time.sleep(rng.random() * 0.01)
        while data := sock.recv(65536):
            pattern.check(data)
        assert pattern.count == length, f"the end after {pattern.count} of {length} bytes"


def read_to_end(sock):
    parts = []
    while data := sock.recv(65536):
        parts.append(data)
    return b"".join(parts)


def breaks_off_tls(address, rng):
    """Begins a handshake, or says something else altogether, and goes away in one of the ways that there are."""
    sock = connected(address)
    try:
        if rng.random() < 0.5:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            hello = outgoing.read()
            sock.sendall(hello[: rng.randrange(1, len(hello) + 1)])
        else:
            sock.sendall(rng.randbytes(rng.randrange(1, 3000)))
        if rng.random() < 0.3:
            sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                read_to_end(sock)
    except ConnectionError:
        pass  # the server has seen enough
    finally:
        reset(sock) if rng.random() < 0.5 else sock.close()


def echoes_over_tls(address, rng, context):
    """A conversation over the ssl module's own sockets, without close_notify at its end half of the time."""
    with connected(address) as sock, context.wrap_socket(sock, server_hostname="localhost") as tls:
        pattern, answer = Pattern(rng.getrandbits(40)), Pattern(0)
        answer.seed = pattern.seed
        for _ in range(rng.randrange(1, 8)):
            tls.sendall(pattern.take(rng.randrange(1, 40000)))
            while answer.count < pattern.count:
                data = tls.recv(65536)
                assert data, f"the end after {answer.count} of {pattern.count} bytes"
                answer.check(data)
        if rng.random() < 0.5:
            with contextlib.suppress(OSError):
                tls.unwrap()


def storms(address, rng, count=30):
    """Connects again and again while the listener goes away. How many were served, and how many were not."""
    served = 0
    for _ in range(count):
        try:
            with connected(address) as sock:
                sock.sendall(b"storm")
                answer = sock.recv(100)
                assert answer in (b"", b"storm"[: len(answer)]), answer
                served += answer != b""
        except (ConnectionError, FileNotFoundError):
            pass  # refused, or reset; a time-out is neither
    return served, count - served


def dies(echo, sink, source):
    """A process: opens connections that are all in the middle of something, and waits to be killed."""
    socks = []
    for port in (echo, sink, source, echo, sink):
        sock = connected(("127.0.0.1", port))
        socks.append(sock)
        pattern = Pattern(port)
        if port != echo:
            sock.sendall(HEADER.pack(pattern.seed, 1 << 22))
        if port != source:
            sock.sendall(pattern.take(50_000))
    print("ready", flush=True)
    select.select(socks[2:3], [], [], PEER_S)
    select.select([sys.stdin], [], [], PEER_S)


if __name__ == "__main__":
    dies(*map(int, sys.argv[1:]))
