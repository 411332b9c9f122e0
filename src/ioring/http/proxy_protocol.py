"""The PROXY protocol of load balancers, versions 1 and 2: who has connected to them, before anything else is sent.

The header is received from the socket before a transport is made for it, exactly up to its end: TLS may follow.
"""

import asyncio
import dataclasses
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from ioring.http._connection import Connection
from ioring.http.asgi_types import Address

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""How a header of version 2 begins."""

LINE_MAX = 107
"""Bytes of a header of version 1 with its end, at most, as the specification says."""

BINARY_MAX = 4096
"""Bytes of a header of version 2 that are taken, at most; addresses take 232, the rest is for notes about TLS."""

FIXED = 16  # bytes before the addresses in version 2
NOTE_OF_TLS, WAS_TLS = 0x20, 0x01  # PP2_TYPE_SSL, PP2_CLIENT_SSL


class Malformed(Exception):
    """What came is no header; says why, without anything that a client has sent."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """The connection of the client to the load balancer."""

    client: Address
    server: Address
    tls: bool = False  # the load balancer has decrypted it


Begin = Callable[[socket.socket, Origin | None], Awaitable[None]]


class HeaderReader:
    """Receives headers and begins with the connections behind them.

    Parameters:
        loop: the event loop.
        begin: begins with a connection that was accepted; the Origin is None where the peer is the client.
        trusts: whether a peer sends headers; others are taken to be clients.
        timeout: seconds that it may take.
        complain: called with a peer and what is wrong with it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        begin: Begin,
        trusts: Callable[[Address], bool],
        timeout: float,
        complain: Callable[[Address, str], object],
    ) -> None:
        self._loop = loop
        self._begin = begin
        self._trusts = trusts
        self._timeout = timeout
        self._complain = complain

    async def take(self, accepted: socket.socket) -> None:
        """Begins with a connection that was accepted, or closes it."""
        accepted.setblocking(False)
        peer: Address = None
        try:
            name: Any = accepted.getpeername()
            if accepted.family != socket.AF_UNIX:
                peer = (str(name[0]), int(name[1]))
            origin = None
            if self._trusts(peer):
                async with asyncio.timeout(self._timeout):
                    origin = await self._receive(accepted)
        except (Malformed, TimeoutError) as error:
            accepted.close()
            self._complain(peer, f"no PROXY protocol (proxy_protocol): {str(error) or 'nothing came in time'}")
        except (OSError, EOFError):  # it has gone
            accepted.close()
        except BaseException:
            accepted.close()
            raise
        else:
            await self._begin(accepted, origin)

    async def _receive(self, accepted: socket.socket) -> Origin | None:
        data = await self._at_least(accepted, b"", len(SIGNATURE))
        if data == SIGNATURE:
            data = await self._at_least(accepted, data, FIXED)
            (length,) = struct.unpack_from("!H", data, FIXED - 2)
            if FIXED + length > BINARY_MAX:
                raise Malformed(f"a header of more than {BINARY_MAX} bytes")
            return binary(await self._at_least(accepted, data, FIXED + length))
        if not data.startswith(b"PROXY "):
            raise Malformed("what came is none of its headers")
        while not data.endswith(b"\n"):
            if len(data) >= LINE_MAX:
                raise Malformed(f"a line of more than {LINE_MAX} bytes")
            seen = await self._some(accepted, LINE_MAX - len(data), socket.MSG_PEEK)
            data += await self._some(accepted, seen.find(b"\n") + 1 or len(seen))
        return line(data)

    async def _at_least(self, accepted: socket.socket, data: bytes, size: int) -> bytes:
        """Receives until so many bytes are there, as long as they can be a header."""
        while len(data) < size:
            data += await self._some(accepted, size - len(data))
            if not SIGNATURE.startswith(data[: len(SIGNATURE)]) and not b"PROXY ".startswith(data[:6]):
                raise Malformed("what came is none of its headers")
        return data

    async def _some(self, accepted: socket.socket, size: int, flags: int = 0) -> bytes:
        while True:
            try:
                data = accepted.recv(size, flags)
            except (BlockingIOError, InterruptedError):
                await self._readable(accepted)
            else:
                if not data:
                    raise EOFError
                return data

    async def _readable(self, accepted: socket.socket) -> None:
        future = self._loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        self._loop.add_reader(accepted, wake)
        try:
            await future
        finally:
            self._loop.remove_reader(accepted)


def line(data: bytes) -> Origin | None:
    """What a header of version 1 says; None when it says nothing of the client."""
    try:
        words = data.removesuffix(b"\r\n").decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise Malformed("a line that is not ASCII") from None
    if not data.endswith(b"\r\n"):
        raise Malformed("a line without CR LF")
    if words[1] == "UNKNOWN":
        return None
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise Malformed("a line that is not PROXY TCP4 or TCP6, two addresses and two ports")
    kind = ipaddress.IPv4Address if words[1] == "TCP4" else ipaddress.IPv6Address
    try:
        client, server = kind(words[2]), kind(words[3])
    except ValueError:
        raise Malformed(f"an address that is none of {words[1]}") from None
    ports = [int(word) if word.isdecimal() and len(word) <= 5 else 65536 for word in words[4:]]
    if max(ports) > 65535:
        raise Malformed("a port that is none")
    return Origin((str(client), ports[0]), (str(server), ports[1]))


def binary(data: bytes) -> Origin | None:
    """What a header of version 2 says; None when it says nothing of the client."""
    version, family = data[12], data[13]
    if version == 0x20:  # LOCAL: the load balancer itself, to see whether the server is well
        return None
    if version != 0x21:
        raise Malformed("a version or a command that is not known")
    if family == 0x11:
        kind, size = socket.AF_INET, 4
    elif family == 0x21:
        kind, size = socket.AF_INET6, 16
    elif family in (0x00, 0x31, 0x32):  # unknown, or a Unix socket
        return None
    else:
        raise Malformed("a family of addresses that is not TCP over IPv4 or IPv6")
    end = FIXED + 2 * size + 4
    if len(data) < end:
        raise Malformed("a header that is too short for its addresses")
    client, server = data[FIXED : FIXED + size], data[FIXED + size : FIXED + 2 * size]
    ports = struct.unpack_from("!HH", data, end - 4)
    return Origin(
        (socket.inet_ntop(kind, client), ports[0]),
        (socket.inet_ntop(kind, server), ports[1]),
        was_tls(data[end:]),
    )


def was_tls(notes: bytes) -> bool:
    """Whether the notes behind the addresses (TLVs) say that the client uses TLS."""
    while notes:
        if len(notes) < 3:
            raise Malformed("a note that is cut off")
        kind, length = struct.unpack_from("!BH", notes)
        value, notes = notes[3 : 3 + length], notes[3 + length :]
        if len(value) < length:
            raise Malformed("a note that is cut off")
        if kind == NOTE_OF_TLS:
            return bool(value) and bool(value[0] & WAS_TLS)
    return False


def connection_of(service: Any, address: Address, origin: Origin | None) -> Connection:
    """A connection whose client and server are those of the connection to the load balancer."""
    if origin is None:
        return Connection(service, address)
    return Connection(service, address, (origin.client, origin.server, origin.tls))
