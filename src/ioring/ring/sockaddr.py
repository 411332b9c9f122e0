"""Converts socket addresses between Python's form and the kernel's ``struct sockaddr``. Names are not looked up."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from _typeshed import StrOrBytesPath

    # What programs give.
    _Numeric: TypeAlias = tuple[str, int] | tuple[str, int, int] | tuple[str, int, int, int]
    _Address: TypeAlias = "_Numeric | StrOrBytesPath | SockAddr"
    # What the kernel's answer is turned into.
    _Decoded: TypeAlias = tuple[str, int] | tuple[int, int] | tuple[str, int, int, int] | str | bytes

STORAGE_SIZE = 128
"""sizeof(struct sockaddr_storage)."""

# Not every build of Python has these two in its socket module.
AF_NETLINK = 16
AF_VSOCK = 40

KNOWN = frozenset((socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, AF_NETLINK, AF_VSOCK))
"""The address families that encode() and decode() know."""


def encode(address: _Address | tuple[int, int], family: int = 0) -> bytes:
    """The bytes of a ``struct sockaddr``.

    Parameters:
        address: ``(host, port)`` with a numeric IPv4 or IPv6 host, ``(host, port, flowinfo, scope_id)``, a path (str,
            bytes or PathLike) of a Unix socket, where a leading NUL means an abstract name; or ``SockAddr``.
        family: of the socket, for addresses that do not say it: ``AF_NETLINK``'s ``(pid, groups)`` and ``AF_VSOCK``'s
            ``(cid, port)``.

    Raises:
        ValueError: not such an address; a host name, which has to be looked up first.
    """
    if isinstance(address, SockAddr):
        return bytes(address[: address.length])
    if isinstance(address, (str, bytes, os.PathLike)):
        path = os.fsencode(address)
        if len(path) > 107:
            raise ValueError(f"a Unix socket's path has at most 107 bytes, not {len(path)}")
        if b"\0" in path[1:] and path[:1] != b"\0":
            raise ValueError("a Unix socket's path must not contain a NUL character")
        # A path ends with a NUL; an abstract name is as long as the address says.
        return struct.pack("=H", socket.AF_UNIX) + path + (b"" if path[:1] == b"\0" else b"\0")
    if not isinstance(address, tuple) or not 2 <= len(address) <= 4:
        raise ValueError(
            f"an address is (host, port), an IPv6 (host, port, flowinfo, scope_id), or a path: {address!r}"
        )
    if family in (AF_NETLINK, AF_VSOCK):
        return _encode_numbers(address, family)
    host, port, *rest = address
    if not isinstance(host, str):
        raise TypeError(f"a host is a str with a numeric address, not {type(host).__name__}")
    if not isinstance(port, int):
        raise TypeError(f"a port is an int, not {type(port).__name__}")
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is between 0 and 65535, not {port}")
    if not rest:
        try:
            return struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", port, socket.inet_aton(_v4(host)))
        except OSError:
            pass
    flow, scope = [*rest, 0, 0][:2]
    if not (isinstance(flow, int) and isinstance(scope, int) and 0 <= flow < 2**20 and 0 <= scope < 2**32):
        raise ValueError(f"flowinfo is between 0 and 1048575, scope_id between 0 and 4294967295: {flow!r}, {scope!r}")
    try:
        packed = socket.inet_pton(socket.AF_INET6, host)
    except OSError:
        raise ValueError(f"{host!r} is not a numeric address: look it up first, by socket.getaddrinfo()") from None
    return struct.pack("=H", socket.AF_INET6) + struct.pack(">HI16s", port, flow, packed) + struct.pack("=I", scope)


def encode_for(family: int, address: object) -> bytes | None:
    """``encode`` for a socket of this family; ``None`` when the address is better given to the socket module.

    That is so for addresses that it alone understands, and for wrong ones: its functions raise what programs expect.
    """
    try:
        name = encode(cast("_Address", address), family)
    except (TypeError, ValueError):
        return None
    return name if struct.unpack_from("=H", name) == (family,) and address else None


def _encode_numbers(address: tuple[object, ...], family: int) -> bytes:
    if len(address) != 2 or not all(isinstance(number, int) and 0 <= number < 2**32 for number in address):
        raise ValueError(f"an address of this family is two numbers between 0 and 4294967295: {address!r}")
    first, second = address
    if family == AF_VSOCK:
        return struct.pack("=HHII4x", family, 0, second, first)
    return struct.pack("=HHII", family, 0, first, second)


def _v4(host: str) -> str:
    socket.inet_pton(socket.AF_INET, host)  # strict, unlike inet_aton
    return host


def decode(data: bytes) -> _Decoded | None:
    """Python's form of a ``struct sockaddr``: a tuple, a path, or the bytes themselves for a family not known here."""
    if len(data) < 2:
        return None
    (family,) = struct.unpack_from("=H", data)
    if family == socket.AF_INET and len(data) >= 8:
        port, host = struct.unpack_from(">H4s", data, 2)
        return socket.inet_ntop(socket.AF_INET, host), port
    if family == socket.AF_INET6 and len(data) >= 28:
        port, flow, host = struct.unpack_from(">HI16s", data, 2)
        (scope,) = struct.unpack_from("=I", data, 24)
        return socket.inet_ntop(socket.AF_INET6, host), port, flow, scope
    if family == socket.AF_UNIX:
        path = bytes(data[2:])
        if path[:1] == b"\0":
            return path if len(path) > 1 else ""
        return os.fsdecode(path.split(b"\0", 1)[0])
    if family == AF_NETLINK and len(data) >= 12:
        return struct.unpack_from("=II", data, 4)
    if family == AF_VSOCK and len(data) >= 12:
        port, cid = struct.unpack_from("=II", data, 4)
        return cid, port
    return bytes(data)


class SockAddr(bytearray):
    """Room for an address that the kernel writes (``struct sockaddr_storage`` and its length).

    Give it to ``Sqe.prep_accept`` and read ``address`` after the completion.
    """

    def __init__(self) -> None:
        super().__init__(STORAGE_SIZE + 4)
        self.reset()

    def reset(self) -> None:
        """Says that the whole room is free: done by each ``prep_*`` call that takes the object."""
        struct.pack_into("=I", self, STORAGE_SIZE, STORAGE_SIZE)

    @property
    def length(self) -> int:
        """Bytes of the address."""
        (length,) = struct.unpack_from("=I", self, STORAGE_SIZE)
        return min(int(length), STORAGE_SIZE)

    @property
    def address(self) -> _Decoded | None:
        """The address in Python's form, as ``socket.accept`` gives it; ``None`` when there is none."""
        return decode(bytes(self[: self.length])) if self[0:2] != b"\0\0" else None
