"""Proxies in front of the server: which are trusted, and what they say of the client."""

import ipaddress
import re

from ioring.http.asgi_types import Address, Scope
from ioring.http.errors import ConfigurationError

SCHEMES = {b"http": ("http", "ws"), b"https": ("https", "wss"), b"ws": ("http", "ws"), b"wss": ("https", "wss")}
KNOWN_MAX = 1024
"""Addresses of which it is remembered whether they are trusted; X-Forwarded-For may hold any."""

HOPS_MAX = 32
"""Addresses of X-Forwarded-For that are looked at, from the right: nobody has so many proxies in a row."""

ZONE = re.compile(r"[A-Za-z0-9._-]{1,15}")
"""What a zone (fe80::1%eth0) may be: ``ipaddress`` takes anything, however long. Linux has names up to 15 bytes."""


class Proxies:
    """The proxies that are trusted.

    Parameters:
        allowed: addresses and networks with commas between them, ``unix`` for clients on a Unix socket; ``*``: all.

    Raises:
        ConfigurationError: a part of it is none of these.
    """

    def __init__(self, allowed: str) -> None:
        self.all = self.unix = False
        self.networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._known: dict[str, bool] = {}
        for part in filter(None, (part.strip() for part in allowed.split(","))):
            if part == "*":
                self.all = self.unix = True
            elif part == "unix":
                self.unix = True
            else:
                try:
                    self.networks.append(ipaddress.ip_network(part, strict=False))
                except ValueError:
                    raise ConfigurationError(
                        f"forwarded_allow_ips: {part!r} is no address, no network, not unix and not *"
                    ) from None

    def __bool__(self) -> bool:
        return self.all or self.unix or bool(self.networks)

    def trusts(self, client: Address) -> bool:
        """Whether a peer, (host, port) or None for one on a Unix socket, is one of them."""
        return self.unix if client is None else self.has(client[0])

    def has(self, host: str) -> bool:
        if self.all:
            return True
        answer = self._known.get(host)
        if answer is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            answer = self._known[host] = self._look(host)
        return answer

    def _look(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.networks)

    def client_of(self, headers: list[tuple[bytes, bytes]], client: Address) -> Address:
        """Who began: the rightmost address in X-Forwarded-For that is not a proxy of ours; (host, port).

        The addresses left of it were sent by a client, which can invent them. The port is 0 if it is unknown.
        """
        values = [value for name, value in headers if name == b"x-forwarded-for"]
        if not values:
            return client
        found = client
        items = (b",".join(values)).rsplit(b",", HOPS_MAX)
        if len(items) > HOPS_MAX:
            del items[0]  # all that is left of them, in one
        for item in reversed(items):
            host, port = split(item.strip().decode("latin-1"))
            if host is None:
                break  # what is left of something that is no address is not believed either
            found = (host, port)
            if not self.has(host):
                break
        return found

    def apply(self, scope: Scope) -> None:
        """Puts what a trusted proxy says into an ASGI scope (``service.proxy``)."""
        headers = scope["headers"]
        scope["client"] = self.client_of(headers, scope["client"])
        for name, value in reversed(headers):
            if name == b"x-forwarded-proto":
                names = SCHEMES.get(value.rpartition(b",")[2].strip().lower())
                if names is not None:
                    scope["scheme"] = names[scope["type"] == "websocket"]
                break


def split(text: str) -> tuple[str | None, int]:
    """The host and the port of address, address:port or [address]:port; (None, 0) when it is none."""
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    address, percent, zone = host.partition("%")
    try:
        ipaddress.IPv6Address(address) if percent else ipaddress.ip_address(address)
    except ValueError:
        return None, 0
    if percent and not ZONE.fullmatch(zone):
        return None, 0
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 0
    return host, number if number <= 65535 else 0
