"""Addresses to listen on, as ``--bind`` has them."""

from typing import NamedTuple

from ioring.http.errors import ConfigurationError

FORMS = "HOST:PORT, [::1]:PORT, unix:/path, unix:@name or fd://NUMBER"


class Tcp(NamedTuple):
    host: str
    port: int


class Unix(NamedTuple):
    path: str  # "\0name": one of the abstract namespace, which is no file


class Descriptor(NamedTuple):
    number: int


Address = Tcp | Unix | Descriptor


def parse(text: str) -> Address:
    """
    Raises:
        ConfigurationError: it is no address.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if path in ("", "@") or "\0" in path:
            raise ConfigurationError(f"bind: {text!r} has no path: {FORMS} is wanted")
        return Unix("\0" + path[1:] if path.startswith("@") else path)
    if text.startswith("fd://"):
        return Descriptor(number(text.removeprefix("fd://"), text))
    host, separator, port = text.rpartition(":")
    if not separator:
        raise ConfigurationError(f"bind: {text!r} is no address: {FORMS} is wanted")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigurationError(f"bind: {text!r} is no address: put one of IPv6 into brackets, as in [::1]:8000")
    found = number(port, text)
    if found > 65535:
        raise ConfigurationError(f"bind: {text!r}: {found} is no port: 0 to 65535")
    return Tcp(host, found)


def number(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 10):
        raise ConfigurationError(f"bind: {text!r} is no address: {FORMS} is wanted")
    return int(digits)
