"""Text for lines of a log: what a client sent cannot be taken for something else in them."""

import re

from ioring.http.asgi_types import Address

ESCAPES = {chr(code): f"\\x{code:02x}" for code in range(256) if not 0x20 < code < 0x7F or chr(code) in '"\\'}
"""What is written for a byte that could be taken for something else in a line."""

LOST_STATUS = 499
"""The status that is logged when the client has gone before the response, as nginx does."""

UNSAFE = re.compile(f"[{re.escape(''.join(ESCAPES))}]")
UNSAFE_VALUE = re.compile(f"[{re.escape(''.join(ESCAPES).replace(' ', ''))}]")


def shown(client: Address) -> str:
    """(host, port) as text."""
    if client is None:
        return "unix"
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def escaped(target: bytes) -> str:
    """A request's target, with \\xNN for what could be taken for something else in a line."""
    return safe(target.decode("latin-1"))


def safe(text: str) -> str:
    if UNSAFE.search(text) is None:  # as most are: a line of the access log has one of them
        return text
    return "".join([ESCAPES.get(character, character) for character in text])


def safe_value(text: str) -> str:
    """The same for what stands in quotes, and so may have spaces."""
    return UNSAFE_VALUE.sub(lambda match: ESCAPES[match[0]], text)


def shortened(text: str, most: int) -> str:
    """A text without its middle, if it is too long: what a traceback ends with is the exception."""
    if len(text) <= most:
        return text
    end = "\n" if text.endswith("\n") else ""
    return f"{text[: most // 2]} ... {text[-(most // 2) :].rstrip()}{end}"


def one_line(message: str) -> str:
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda match: match[0].encode("unicode_escape").decode(), message
    )
