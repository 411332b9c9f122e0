"""What ``ioring serve`` shows when it is given nothing to serve: a page about the server itself, with live figures."""

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ioring
from ioring.http._exchange import Exchange
from ioring.http.scoreboard import Statistics

HTML = Path(__file__).with_suffix(".html")
NO_STORE = (b"cache-control", b"no-store")


class StartPage:
    """Called with each Exchange.

    Parameters:
        statistics: ``Statistics``.
        publish: called before they are read, for the figures of this moment.
    """

    def __init__(self, statistics: Statistics, publish: Callable[[], None]) -> None:
        self.statistics = statistics
        self.publish = publish
        self.html = HTML.read_bytes()

    def __call__(self, exchange: Exchange) -> None:
        path = exchange.target.partition(b"?")[0]
        if exchange.method not in ("GET", "HEAD"):
            self.answer(exchange, 405, b"text/plain; charset=utf-8", b"Method Not Allowed", (b"allow", b"GET, HEAD"))
        elif path == b"/":
            self.answer(exchange, 200, b"text/html; charset=utf-8", self.html, NO_STORE)
        elif path == b"/statistics":
            self.answer(exchange, 200, b"application/json", json.dumps(self.figures()).encode(), NO_STORE)
        else:
            self.answer(exchange, 404, b"text/plain; charset=utf-8", b"Not Found", NO_STORE)

    def answer(self, exchange: Exchange, status: int, kind: bytes, body: bytes, header: tuple[bytes, bytes]) -> None:
        exchange.start(status, [(b"content-type", kind), header])
        exchange.write(body)

    def figures(self) -> dict[str, Any]:
        self.publish()
        now = time.time()
        return {
            "version": ioring.__version__,
            "python": platform.python_version(),
            "kernel": platform.release(),
            "time": now,
            "uptime": now - self.statistics.began,
            "workers": self.statistics.read(),
        }
