"""The server's log: a line for each request and messages of the server, as text or as one JSON object a line.

Lines of requests are collected and written together, FLUSH_S later at the latest. Each write has whole lines, and one
to a pipe is no larger than what the kernel writes in one piece (PIPE_BUF), so that lines of several workers do not mix.
"""

import asyncio
import json
import os
import re
import select
import stat
import sys
import time
import traceback
from collections.abc import Callable, Iterator

from ioring.http._exchange import Exchange
from ioring.http.asgi_types import Address
from ioring.http.configuration import Configuration
from ioring.http.forwarded import Proxies

FLUSH_S = 0.005
HELD_MAX = 1 << 16
"""Characters of lines that wait to be written, at most."""

MESSAGE_MAX = 4000
TRACE_MAX = 1 << 16
"""Characters of a message, and of the traceback behind it, at most: a client may have sent what is in them."""

PIPE_BUF = 4096
STALLED_S = 1.0
"""How long a write waits for a terminal or pipe that nobody reads; then its lines are dropped."""

LEVELS = {"info": 20, "warning": 30, "error": 40}
LOST_STATUS = 499
"""The status that is logged when the client has gone before the response, as nginx does."""

ESCAPES = {chr(code): f"\\x{code:02x}" for code in range(256) if not 0x20 < code < 0x7F or chr(code) in '"\\'}
"""What is written for a byte that could be taken for something else in a line."""

UNSAFE = re.compile(f"[{re.escape(''.join(ESCAPES))}]")


class Log:
    """Where lines go.

    Parameters:
        form: "plain" or "json".
        level: "info", "warning" or "error": what is less serious is not printed. Requests are "info".
        proxies: ``Proxies``, for the addresses of clients behind them; or None.
        output, errors: descriptors; requests and "info" go to the first, the rest to the second.
    """

    def __init__(
        self, form: str = "plain", level: str = "info", proxies: Proxies | None = None, output: int = 1, errors: int = 2
    ) -> None:
        self.form = form
        self.threshold = LEVELS[level]
        self.proxies = proxies or Proxies("")
        self.output = output
        self.errors = errors
        self.loop: asyncio.AbstractEventLoop | None = None
        self._lines: list[str] = []
        self._held = 0
        self._second = -1
        self._time = ""
        self._deaf: set[int] = set()  # descriptors that nobody reads any more

    @property
    def accesses(self) -> Callable[[Exchange], None] | None:
        """The function for requests (``service.access``); None when they are not printed."""
        if self.threshold > LEVELS["info"]:
            return None
        return self.access_json if self.form == "json" else self.access_plain

    def access_plain(self, exchange: Exchange) -> None:
        self._add(
            f"{self._who(exchange)} - "
            f'"{exchange.method} {escaped(exchange.target)} HTTP/1.{1 if exchange.http11 else 0}" '
            f"{exchange.status or LOST_STATUS}\n"
        )

    def access_json(self, exchange: Exchange) -> None:
        client = json.dumps(self._who(exchange))
        now = time.time()
        took = (self.loop.time() - exchange.began) * 1000 if self.loop is not None else 0
        self._add(
            f'{{"time":"{self._stamp(now)}","client":{client},"method":"{exchange.method}",'
            f'"path":{json.dumps(exchange.target.decode("latin-1"))},"status":{exchange.status or LOST_STATUS},'
            f'"bytes":{exchange.sent},"duration_ms":{took:.3f}}}\n'
        )

    def _who(self, exchange: Exchange) -> str:
        """The client. What a proxy says it is has \\xNN for what could be taken for something else in a line."""
        connection = exchange.connection
        if not connection.trusted:
            return shown(connection.client)
        return safe(shown(self.proxies.client_of(exchange.headers, connection.client)))

    def info(self, message: str) -> None:
        self.tell("info", message)

    def warning(self, message: str) -> None:
        self.tell("warning", message)

    def error(self, message: str, exception: BaseException | None = None) -> None:
        self.tell("error", message, exception)

    def tell(self, level: str, message: str, exception: BaseException | None = None) -> None:
        """A line of the server's own, with the traceback of an exception behind it."""
        if LEVELS[level] < self.threshold:
            return
        self.flush()
        trace = "".join(traceback.format_exception(exception)) if exception is not None else ""
        message, trace = shortened(message, MESSAGE_MAX), shortened(trace, TRACE_MAX)
        if self.form == "json":
            entry = {"time": self._stamp(time.time()), "level": level, "message": message}
            if trace:
                entry["exception"] = trace
            text = json.dumps(entry) + "\n"
        else:
            prefix = "ioring: " if level == "info" else f"ioring: {level}: "
            text = f"{prefix}{one_line(message)}\n{trace}"
        self._write(self.output if level == "info" else self.errors, text)

    def flush(self) -> None:
        """Writes what waits."""
        lines = self._lines
        if lines:
            self._lines = []
            self._held = 0
            self._write(self.output, "".join(lines))

    def _add(self, line: str) -> None:
        lines = self._lines
        lines.append(line)
        self._held += len(line)
        if self.loop is None or self._held > HELD_MAX:
            self.flush()
        elif len(lines) == 1:
            self.loop.call_later(FLUSH_S, self.flush)

    def _stamp(self, now: float) -> str:
        """The time in UTC, as RFC 3339 has it."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._time = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._time}.{int((now - second) * 1000):03d}Z"

    def _write(self, fd: int, text: str) -> None:
        if fd in self._deaf:
            return
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            pieces = whole_lines(data) if len(data) > PIPE_BUF and is_pipe(fd) else [data]
            for piece in pieces:
                while piece:
                    try:
                        piece = piece[os.write(fd, piece) :]
                    except BlockingIOError:
                        if not select.select([], [fd], [], STALLED_S)[1]:
                            return
        except OSError:
            self._deaf.add(fd)  # closed, or nobody reads: serving goes on


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


def is_pipe(fd: int) -> bool:
    return not stat.S_ISREG(os.fstat(fd).st_mode)


def whole_lines(data: memoryview) -> Iterator[memoryview]:
    """Pieces of at most PIPE_BUF bytes that end with a line, as far as lines are so short."""
    start, text = 0, bytes(data)
    while start < len(text):
        end = start + PIPE_BUF
        if end < len(text):
            end = text.rfind(b"\n", start, end) + 1 or text.find(b"\n", start) + 1 or len(text)
        yield data[start:end]
        start = end


def log_of(configuration: Configuration, proxies: Proxies | None = None) -> Log:
    """The log that a configuration asks for."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    return Log(configuration.log_format, configuration.log_level, proxies)
