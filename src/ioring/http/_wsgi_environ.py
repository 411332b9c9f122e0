"""The environ of a WSGI application, and the status and header names of its response, converted and checked."""

import re
from urllib.parse import unquote_to_bytes

import cython

NAMES_MAX = 1024
"""Header names, and statuses, that are remembered with what they are converted to, at most."""

NAME_MAX = cython.declare(cython.Py_ssize_t, 64)
"""Longer names and statuses are not remembered: clients can send any."""

CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

KEYS: dict = {}
STATUSES: dict = {}
FIELDS: dict = {}
HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    ]
)


def environ(exchange: Exchange, channel: Channel, base: dict, body):
    """The environ of a request.

    ``base`` has what is the same for all requests; ``body`` is the file that reads the content of this one.
    """
    target: bytes = exchange.target
    path: bytes = target
    query: bytes = b""
    name: bytes
    value: bytes
    key: str
    text: str
    result: dict = base.copy()
    several: dict = None
    at: cython.Py_ssize_t = target.find(b"?")
    if at >= 0:
        path = target[:at]
        query = target[at + 1 :]
    if b"%" in path:
        path = unquote_to_bytes(path)
    client = channel.client
    server = channel.server
    scheme = channel.scheme
    headers = exchange.headers
    if channel.trusted:
        scope = {"type": "http", "scheme": scheme, "client": client, "server": server, "headers": headers}
        exchange.service.apply_forwarded(scope)
        client, server, scheme, headers = scope["client"], scope["server"], scope["scheme"], scope["headers"]
    result["REQUEST_METHOD"] = exchange.method
    result["PATH_INFO"] = path.decode("latin-1")
    result["QUERY_STRING"] = query.decode("latin-1")
    result["REQUEST_URI"] = target.decode("latin-1")
    result["SERVER_PROTOCOL"] = "HTTP/1.1" if exchange.http11 else "HTTP/1.0"
    result["wsgi.url_scheme"] = scheme
    result["wsgi.input"] = body
    if client is not None:
        result["REMOTE_ADDR"] = client[0]
        result["REMOTE_PORT"] = str(client[1])
    else:
        result["REMOTE_ADDR"] = ""
    if server is not None:
        result["SERVER_NAME"] = server[0]
        result["SERVER_PORT"] = str(server[1])
    else:  # a Unix socket; neither may be empty
        result["SERVER_NAME"] = "localhost"
        result["SERVER_PORT"] = "443" if scheme == "https" else "80"
    for name, value in headers:
        key = key_of(name)
        if not key:
            continue
        text = value.decode("latin-1")
        if key in result:  # put together at the end: each time, many would take a time that grows with their square
            if several is None:
                several = {}
            several.setdefault(key, [result[key]]).append(text)
        else:
            result[key] = text
    if several is not None:
        for key, texts in several.items():
            result[key] = ("; " if key == "HTTP_COOKIE" else ",").join(texts)
    return result


def status_of(status):
    """The number of a status, and its status line, or None when its reason phrase is the usual one."""
    known = STATUSES.get(status)
    if known is not None:
        return known
    text: str = status
    phrase: str = text[4:]
    line: bytes = None
    if len(text) < 3 or not text[:3].isdecimal() or not text[:3].isascii() or (len(text) > 3 and text[3] != " "):
        raise ValueError(f"{status!r} is no status: '200 OK' is one")
    number: cython.int = int(text[:3])
    if number < 200:
        raise ValueError(f"{status!r} is no status of a response: 200 to 999")
    if phrase != reason(number):
        if CONTROLS.search(phrase) is not None:
            raise ValueError(f"{phrase!r} has a character that no reason may have")
        line = f"HTTP/1.1 {text[:3]} {phrase}\r\n".encode("latin-1")
    known = (number, line)
    if len(STATUSES) < NAMES_MAX and len(text) <= NAME_MAX:
        STATUSES[status] = known
    return known


def key_of(name):
    """The key of a header in an environ; empty for headers that must not be there.

    A name with an underscore would be the same as one with a hyphen, which a proxy may vouch for; and HTTP_PROXY is
    what programs read from their environment.
    """
    known = KEYS.get(name)
    if known is not None:
        return known
    key: str = ""
    if b"_" not in name and name != b"proxy":
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
    if len(KEYS) < NAMES_MAX and len(name) <= NAME_MAX:
        KEYS[name] = key
    return key


def field_of(name):
    """The bytes of a header's name, if an application may send it."""
    known = FIELDS.get(name)
    if known is not None:
        return known
    if name.lower() in HOP_BY_HOP:
        raise ValueError(f"header {name}: it is the server that decides about the connection")
    field: bytes = name.encode("latin-1")
    if len(FIELDS) < NAMES_MAX and len(field) <= NAME_MAX:
        FIELDS[name] = field
    return field
