"""The server's figures for Prometheus (``--metrics``): those of all workers, with a label for each."""

import time
from collections.abc import Callable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ioring.http._exchange import Exchange
from ioring.http.asgi_types import Receive, Scope, Send
from ioring.http.scoreboard import Statistics

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()

# The name after ioring_, the type, the field of the scoreboard, and what it is.
SERIES = (
    ("http_requests_total", "counter", "requests", "Requests whose head was received."),
    ("http_active_requests", "gauge", "active", "Requests that the application works on."),
    ("http_connections", "gauge", "connections", "Open connections."),
    ("http_connections_total", "counter", "accepted", "Connections that were accepted."),
    ("http_sent_bytes_total", "counter", "sent", "Bytes of bodies of responses."),
    ("http_received_bytes_total", "counter", "received", "Bytes that were received."),
    ("http_refused_total", "counter", "refused", "Requests that the server answered with an error of its own."),
    ("http_failures_total", "counter", "failures", "Requests in which the application failed."),
    ("loop_turns_total", "counter", "turns", "Turns of the loop."),
    ("loop_enters_total", "counter", "enters", "Calls of io_uring_enter."),
    ("loop_waits_total", "counter", "waits", "Calls of io_uring_enter that were allowed to wait."),
    ("loop_submissions_total", "counter", "submissions", "Requests handed to the kernel."),
    ("loop_completions_total", "counter", "completions", "Results that came back."),
    ("loop_rearmed_total", "counter", "rearmed", "Multishot requests that were armed again."),
    ("loop_starved_total", "counter", "starved", "Receives that ended because no buffer was free."),
    ("loop_in_flight", "gauge", "in_flight", "Requests that the kernel has now."),
    ("loop_buffers", "gauge", "buffers", "Receive buffers."),
    ("loop_buffers_free", "gauge", "buffers_free", "Receive buffers that the kernel has now."),
    ("loop_ready", "gauge", "ready", "Callbacks whose turn has come."),
    ("loop_timers", "gauge", "timers", "Callbacks that wait for a time."),
    ("worker_resident_bytes", "gauge", "memory", "Memory."),
    ("worker_restarts_total", "counter", "restarts", "How often the worker's process was replaced."),
)


class Figures(Collector):
    """What the scoreboard says at this moment."""

    def __init__(self, statistics: Statistics) -> None:
        self.statistics = statistics

    def collect(self) -> Iterator[Metric]:
        now = time.time()
        workers = {str(number): worker for number, worker in enumerate(self.statistics.read(), 1)}
        yield gauge("uptime_seconds", "Since the server was started.", round(now - self.statistics.began, 3))
        yield gauge("workers", "Workers that serve.", sum(1 for worker in workers.values() if worker["pid"]))
        uptime = gauge("worker_uptime_seconds", "Since the worker's process was started.")
        for number, worker in workers.items():
            if worker["began_ms"]:
                uptime.add_metric([number], round(now - worker["began_ms"] / 1000, 3))
        yield uptime
        responses = CounterMetricFamily(
            "ioring_http_responses_total", "Responses, by the class of their status.", labels=["worker", "class"]
        )
        for number, worker in workers.items():
            for digit in "12345":
                responses.add_metric([number, f"{digit}xx"], worker[f"status_{digit}"])
        yield responses
        for name, kind, field, help in SERIES:
            family: CounterMetricFamily | GaugeMetricFamily
            if kind == "counter":
                family = CounterMetricFamily(f"ioring_{name}", help, labels=["worker"])
            else:
                family = gauge(name, help)
            for number, worker in workers.items():
                family.add_metric([number], worker[field])
            yield family


def gauge(name: str, help: str, value: float | None = None) -> GaugeMetricFamily:
    """One of the whole server, with its value; or one that has a value for each worker."""
    if value is not None:
        return GaugeMetricFamily(f"ioring_{name}", help, value=value)
    return GaugeMetricFamily(f"ioring_{name}", help, labels=["worker"])


def exposition(statistics: Statistics) -> bytes:
    """The figures in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(Figures(statistics))
    return generate_latest(registry)


def with_metrics(
    application: Callable[..., object], asgi: bool, path: bytes, text: Callable[[], bytes]
) -> Callable[..., object]:
    """An application that answers GET and HEAD requests for a path with the figures; another gets all other requests.

    Parameters:
        application: the other: an ASGI application, or a function that is called with an Exchange.
        asgi: which of the two it is.
        path: the path of the figures.
        text: a function that returns the figures.
    """
    headers = [(b"content-type", CONTENT_TYPE), (b"cache-control", b"no-store")]

    async def answer(send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text()})

    def for_scope(scope: Scope, receive: Receive, send: Send) -> object:
        if scope.get("raw_path") == path and scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            return answer(send)
        return application(scope, receive, send)

    def for_exchange(exchange: Exchange) -> None:
        if exchange.target.partition(b"?")[0] == path and exchange.method in ("GET", "HEAD"):
            exchange.start(200, headers)
            exchange.write(text())
        else:
            application(exchange)

    return for_scope if asgi else for_exchange
