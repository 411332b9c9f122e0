"""The server's log: a line for each request and messages of the server, as text or as one JSON object a line.

Lines of requests are collected and written together, FLUSH_S later at the latest. Each write has whole lines, and one
to a pipe is no larger than what the kernel writes in one piece (PIPE_BUF), so that lines of several workers do not mix.
"""

import asyncio
import errno
import json
import os
import select
import stat
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from ioring.http._exchange import Exchange
from ioring.http.access_format import formatter
from ioring.http.asgi_types import Address
from ioring.http.errors import ConfigurationError
from ioring.http.forwarded import Proxies
from ioring.http.log_text import LOST_STATUS, escaped, one_line, safe, shortened, shown

FLUSH_S = 0.005
HELD_MAX = 1 << 16
"""Characters of lines that wait to be written, at most."""

MESSAGE_MAX = 4000
TRACE_MAX = 1 << 16
"""Characters of a message, and of the traceback behind it, at most: a client may have sent what is in them."""

PIPE_BUF = 4096
STALLED_S = 1.0
"""How long a write waits for a terminal or pipe that nobody reads; then its lines are dropped."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Lines are dropped while there is no room; there may be later."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log:
    """Where lines go.

    Parameters:
        form: "plain" or "json".
        level: "debug", "info", "warning" or "error": what is less serious is not printed. Requests are "info".
        proxies: ``Proxies``, for the addresses of clients behind them; or None.
        output, errors: descriptors; requests and what is not serious go to the first, the rest to the second.
        line: the format of lines of requests, if it is not the usual one.

    Attributes:
        reopens: it has files, which are opened again for SIGUSR1.
    """

    reopens = False

    def __init__(
        self,
        form: str = "plain",
        level: str = "info",
        proxies: Proxies | None = None,
        output: int = 1,
        errors: int = 2,
        line: str = "",
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
        self._line = formatter(line, self.facts()) if line else None

    @property
    def accesses(self) -> Callable[[Exchange], None] | None:
        """The function for requests (``service.access``); None when they are not printed."""
        if self.threshold > LEVELS["info"]:
            return None
        if self._line is not None:
            return self.access_formatted
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

    def access_formatted(self, exchange: Exchange) -> None:
        assert self._line is not None
        self._add(f"{self._line(exchange)}\n")

    def facts(self) -> dict[str, Callable[[Exchange], Any]]:
        """The fields of a format that a request alone does not say."""
        return {
            "h": lambda exchange: safe((self.client(exchange) or ("unix",))[0]),
            "T": lambda exchange: int(self.duration(exchange)),
            "D": lambda exchange: int(self.duration(exchange) * 1e6),
            "M": lambda exchange: int(self.duration(exchange) * 1e3),
            "L": lambda exchange: f"{self.duration(exchange):.6f}",
        }

    def duration(self, exchange: Exchange) -> float:
        """Seconds since the request was there."""
        return self.loop.time() - exchange.began if self.loop is not None else 0.0

    def client(self, exchange: Exchange) -> Address:
        """The client, also behind a proxy that is trusted."""
        connection = exchange.connection
        if not connection.trusted:
            client: Address = connection.client
            return client
        return self.proxies.client_of(exchange.headers, connection.client)

    def _who(self, exchange: Exchange) -> str:
        """The client. What a proxy says it is has \\xNN for what could be taken for something else in a line."""
        connection = exchange.connection
        if not connection.trusted:
            return shown(connection.client)
        return safe(shown(self.proxies.client_of(exchange.headers, connection.client)))

    def debug(self, message: str) -> None:
        self.tell("debug", message)

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
        self._write(self.output if LEVELS[level] < LEVELS["warning"] else self.errors, text)

    def flush(self) -> None:
        """Writes what waits."""
        lines = self._lines
        if lines:
            self._lines = []
            self._held = 0
            self._write(self.output, "".join(lines))

    def reopen(self) -> None:
        """Begins its files anew, when they were moved away (SIGUSR1)."""

    def give_to(self, user: int, group: int) -> None:
        """The file is that user's now, who is to open it again."""

    def close(self) -> None:
        self.flush()

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
        except OSError as error:
            if error.errno not in FULL:
                self._deaf.add(fd)  # closed, or nobody reads: serving goes on


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


class FileLog(Log):
    """Writes all lines into a file.

    Parameters:
        path: the file; lines are added to it.
        others: those of Log.

    Raises:
        ConfigurationError: it cannot be written.
    """

    reopens = True

    def __init__(self, path: str, form: str, level: str, proxies: Proxies | None, line: str) -> None:
        self.path = os.path.abspath(path)
        try:
            self._file = self._open()
        except OSError as error:
            raise ConfigurationError(f"log_file: {path}: {error.strerror}") from None
        super().__init__(form, level, proxies, self._file, self._file, line)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def give_to(self, user: int, group: int) -> None:
        os.fchown(self._file, user, group)

    def reopen(self) -> None:
        self.flush()
        try:
            new = self._open()
        except OSError as error:
            self.error(f"{self.path} cannot be opened again, and lines go where they went: {error.strerror}")
            return
        os.dup2(new, self._file, inheritable=False)
        os.close(new)
        self._deaf.clear()

    def close(self) -> None:
        super().close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._deaf.update((self.output, self.errors))
