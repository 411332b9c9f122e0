"""Fields that the server adds to responses that have none of that name (``--header``)."""

import re

from ioring.http.errors import ConfigurationError

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")

OWN = frozenset(
    (b"connection", b"content-length", b"date", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
"""What the server itself decides about."""


def pairs_of(headers: tuple[str, ...]) -> list[tuple[bytes, bytes]]:
    """Names in lower case, and values.

    Raises:
        ConfigurationError: one of them is no header, or one that the server itself sends.
    """
    pairs = []
    for header in headers:
        title, separator, text = header.partition(":")
        try:
            name, value = title.strip().encode("ascii"), text.strip().encode("latin-1")
        except UnicodeEncodeError:
            raise ConfigurationError(f"header: {header!r} has characters that no header may have") from None
        if not separator or not NAME.fullmatch(name):
            raise ConfigurationError(f"header: {header!r} is none: NAME:VALUE is wanted")
        if not VALUE.fullmatch(value):
            raise ConfigurationError(f"header: {header!r} has characters that no header may have")
        if name.lower() in OWN:
            raise ConfigurationError(f"header: it is the server that decides about {title.strip()}")
        pairs.append((name.lower(), value))
    return pairs


def line_of(pair: tuple[bytes, bytes]) -> bytes:
    return b"%b: %b\r\n" % pair
