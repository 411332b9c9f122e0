"""Formats of lines for requests (``--access-log-format``), in the language of Apache, gunicorn and hypercorn."""

import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ioring.http.errors import ConfigurationError
from ioring.http.log_text import LOST_STATUS, escaped, safe_value

if TYPE_CHECKING:
    from ioring.http._exchange import Exchange

NAMED = {
    "common": '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s',
    "combined": '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
}
"""Formats that have a name."""

FIELD = re.compile(r"%(?:%|\(([A-Za-z]|\{[^}]+\}[ie])\)s)")
TIMED = "TDML"
"""Fields for which the time of a request has to be exact."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Field = Callable[["Exchange"], Any]
Facts = dict[str, Field]


def fields_of(form: str) -> list[str]:
    """The names of the fields in a format.

    Raises:
        ConfigurationError: there is no such field, or it is no format.
    """
    form = NAMED.get(form, form)
    if any(character < " " or character == "\x7f" for character in form):
        raise ConfigurationError("access_log_format: a line cannot have control characters in it")
    rest = FIELD.sub("", form)
    if "%" in rest:
        wrong = rest[rest.index("%") :][:12]
        raise ConfigurationError(f"access_log_format: {wrong!r} is no field: %(h)s is one; a percent sign is %%")
    found = [name for name in FIELD.findall(form) if name]
    for name in found:
        if not name.startswith("{") and name not in KNOWN:
            raise ConfigurationError(
                f"access_log_format: there is no field %({name})s; there are {' '.join(KNOWN)}, {{header}}i, {{NAME}}e"
            )
    return found


def is_timed(form: str) -> bool:
    return any(name in TIMED for name in fields_of(form)) if form else False


def formatter(form: str, facts: Facts) -> Callable[["Exchange"], str]:
    """The function that makes a line of a request.

    Parameters:
        form: a format, or the name of one.
        facts: what is not said by the request alone, but by the log: for ``h`` and the times.
    """
    names = fields_of(form)
    functions = [field_of(name, facts) for name in names]
    template = FIELD.sub(lambda match: "%s" if match[1] else "%%", NAMED.get(form, form))
    return lambda exchange: template % tuple([function(exchange) for function in functions])


def field_of(name: str, facts: Facts) -> Field:
    if name.startswith("{"):
        key = name[1 : name.index("}")]
        if name.endswith("e"):
            value = os.environ.get(key, "-")
            return lambda exchange: value
        return header(key.lower().encode("latin-1", "replace"))
    return facts.get(name) or OF_REQUEST[name]


def header(name: bytes) -> Field:
    def value(exchange: "Exchange") -> str:
        for key, found in exchange.headers:
            if key == name:
                return safe_value(found.decode("latin-1"))
        return "-"

    return value


def moment(exchange: "Exchange") -> str:
    """Now, in UTC: not that of the local clock, whose zone could change in the middle of a file."""
    now = time.gmtime()
    return f"[{now.tm_mday:02d}/{MONTHS[now.tm_mon - 1]}/{now.tm_year}{time.strftime(':%H:%M:%S +0000', now)}]"


def path(exchange: "Exchange") -> str:
    return escaped(exchange.target.partition(b"?")[0])


def protocol(exchange: "Exchange") -> str:
    return f"HTTP/1.{1 if exchange.http11 else 0}"


OF_REQUEST: Facts = {
    "l": lambda exchange: "-",
    "u": lambda exchange: "-",
    "t": moment,
    "r": lambda exchange: f"{exchange.method} {escaped(exchange.target)} {protocol(exchange)}",
    "m": lambda exchange: exchange.method,
    "U": path,
    "q": lambda exchange: escaped(exchange.target.partition(b"?")[2]),
    "H": protocol,
    "s": lambda exchange: exchange.status or LOST_STATUS,
    "b": lambda exchange: exchange.sent or "-",
    "B": lambda exchange: exchange.sent,
    "f": header(b"referer"),
    "a": header(b"user-agent"),
    "p": lambda exchange: f"<{os.getpid()}>",
}

KNOWN = ("h", *OF_REQUEST, *TIMED)
"""All fields but headers and variables."""
