"""Proxies in front of the server: which are trusted, and what they say of the client."""

import ipaddress
import re

from ioring.http.asgi_types import Address, Scope
from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError

SCHEMES = {"http": ("http", "ws"), "https": ("https", "wss"), "ws": ("http", "ws"), "wss": ("https", "wss")}
KNOWN_MAX = 1024
"""Addresses of which it is remembered whether they are trusted; X-Forwarded-For may hold any."""

HOPS_MAX = 32
"""Addresses of X-Forwarded-For that are looked at, from the right: nobody has so many proxies in a row."""

ZONE = re.compile(r"[A-Za-z0-9._-]{1,15}")
"""What a zone (fe80::1%eth0) may be: ``ipaddress`` takes anything, however long. Linux has names up to 15 bytes."""


ELEMENT_MAX = 1024
"""Bytes of an element of Forwarded, which describes one proxy, that are looked at, at most."""

PAIR = r"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[^"\\]|\\.)*")"""
"""A parameter of such an element: name=value or name="value" (RFC 7239, section 4)."""

ELEMENT = re.compile(rf"{PAIR}(?:[ \t]*;[ \t]*{PAIR})*[ \t]*;?")
HOST = re.compile(r"([A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
COUNTED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded")
PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class Proxies:
    """The proxies that are trusted.

    Parameters:
        allowed: addresses and networks with commas between them, ``unix`` for clients on a Unix socket; ``*``: all.
        counted: names of the headers that count, with commas between them.

    Raises:
        ConfigurationError: a part of it is none of these.
    """

    def __init__(self, allowed: str, counted: str = "x-forwarded-for,x-forwarded-proto") -> None:
        self.counted = {part.strip().lower() for part in counted.split(",") if part.strip()}
        for name in sorted(self.counted.difference(COUNTED)):
            raise ConfigurationError(f"forwarded_headers: {name!r} is none of {', '.join(COUNTED)}")
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

    @classmethod
    def of(cls, configuration: Configuration) -> "Proxies":
        proxies = cls(configuration.forwarded_allow_ips, configuration.forwarded_headers)
        if configuration.proxy_protocol and not proxies:
            raise ConfigurationError("proxy_protocol: forwarded_allow_ips names nobody who may use it")
        return proxies

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
        """Who began: the rightmost address in X-Forwarded-For, or Forwarded, that is not a proxy of ours; (host, port).

        The addresses left of it were sent by a client, which can invent them. The port is 0 if it is unknown.
        """
        if "forwarded" in self.counted:
            items = items_of(headers, b"forwarded")
            if items:
                return self._elements(items, client)[0]
        found = client
        items = items_of(headers, b"x-forwarded-for") if "x-forwarded-for" in self.counted else []
        for item in items:
            host, port = split(item)
            if host is None:
                break  # what is left of something that is no address is not believed either
            found = (host, port)
            if not self.has(host):
                break
        return found

    def apply(self, scope: Scope) -> None:
        """Puts what a trusted proxy says into an ASGI scope (``service.proxy``)."""
        headers = scope["headers"]
        if "forwarded" in self.counted:
            items = items_of(headers, b"forwarded")
            if items:
                scope["client"], said = self._elements(items, scope["client"])
                apply_scheme(scope, said.get("proto", ""))
                apply_host(scope, said.get("host", ""))
                return
        scope["client"] = self.client_of(headers, scope["client"])
        if "x-forwarded-proto" in self.counted:
            apply_scheme(scope, last_of(headers, b"x-forwarded-proto"))
        if "x-forwarded-host" in self.counted:
            apply_host(scope, last_of(headers, b"x-forwarded-host"))
        if "x-forwarded-port" in self.counted:
            apply_port(scope, last_of(headers, b"x-forwarded-port"))

    def _elements(self, items: list[str], client: Address) -> tuple[Address, dict[str, str]]:
        """The client that elements of Forwarded name, and what is said of its request.

        Parameters:
            items: the elements, the last one first.
        """
        found: Address = client
        said: dict[str, str] = {}
        for item in items:
            pairs = pairs_of(item)
            if pairs is None:
                break
            said = pairs
            host, port = split(pairs.get("for", ""))
            if host is None:  # it does not say
                break
            found = (host, port)
            if not self.has(host):
                break
        return found, said


def items_of(headers: list[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    """The items of a list that may be in several headers, from the last one on, HOPS_MAX at most."""
    values = [value for name, value in headers if name == wanted]
    if not values:
        return []
    items = b",".join(values).rsplit(b",", HOPS_MAX)
    if len(items) > HOPS_MAX:
        del items[0]  # all that is left of them, in one
    return [item.strip().decode("latin-1") for item in reversed(items)]


def last_of(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str:
    """The last item of such a list, which the proxy has added that is next to the server; or nothing."""
    for name, value in reversed(headers):
        if name == wanted:
            return value.rpartition(b",")[2].strip().decode("latin-1")
    return ""


def pairs_of(element: str) -> dict[str, str] | None:
    """The parameters of an element of Forwarded; None when it is none."""
    if len(element) > ELEMENT_MAX or not ELEMENT.fullmatch(element):
        return None
    pairs: dict[str, str] = {}
    for name, value in re.findall(PAIR, element):
        if name.lower() in pairs:
            return None
        pairs[name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
    return pairs


def apply_scheme(scope: Scope, scheme: str) -> None:
    names = SCHEMES.get(scheme.lower())
    if names is not None:
        scope["scheme"] = names[scope["type"] == "websocket"]


def apply_host(scope: Scope, host: str) -> None:
    """The host that the client has asked for, with a port or without."""
    match = HOST.fullmatch(host)
    if match is None or int(match[2] or 0) > 65535:
        return
    others = [pair for pair in scope["headers"] if pair[0] != b"host"]
    scope["headers"] = [(b"host", host.encode("ascii")), *others]
    scope["server"] = (match[1].strip("[]"), int(match[2]) if match[2] else PORTS[scope["scheme"]])


def apply_port(scope: Scope, port: str) -> None:
    if port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= 65535:
        server = scope["server"]
        scope["server"] = (server[0] if server is not None else "localhost", int(port))


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
