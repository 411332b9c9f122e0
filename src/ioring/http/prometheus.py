"""The server's figures for Prometheus (``--metrics``): its text format, all workers together, with a label for each."""

import time

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# The name behind ioring_, the type, the field, and what it is.
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


def exposition(statistics):
    """The text."""
    workers = statistics.read()
    now = time.time()
    lines = []

    def series(name, kind, help):
        lines.append(f"# HELP ioring_{name} {help}")
        lines.append(f"# TYPE ioring_{name} {kind}")

    series("uptime_seconds", "gauge", "Since the server was started.")
    lines.append(f"ioring_uptime_seconds {now - statistics.began:.3f}")
    series("workers", "gauge", "Workers that serve.")
    lines.append(f"ioring_workers {sum(1 for worker in workers if worker['pid'])}")
    series("worker_uptime_seconds", "gauge", "Since the worker's process was started.")
    for number, worker in enumerate(workers, 1):
        if worker["began_ms"]:
            lines.append(f'ioring_worker_uptime_seconds{{worker="{number}"}} {now - worker["began_ms"] / 1000:.3f}')
    series("http_responses_total", "counter", "Responses, by the class of their status.")
    for number, worker in enumerate(workers, 1):
        for digit in range(1, 6):
            lines.append(
                f'ioring_http_responses_total{{worker="{number}",class="{digit}xx"}} {worker[f"status_{digit}"]}'
            )
    for name, kind, field, help in SERIES:
        series(name, kind, help)
        for number, worker in enumerate(workers, 1):
            lines.append(f'ioring_{name}{{worker="{number}"}} {worker[field]}')
    return ("\n".join(lines) + "\n").encode()


def with_metrics(application, asgi, path, text):
    """An application that answers GET and HEAD of a path with the figures, and leaves all else to another.

    Parameters:
        application: what is in front of: an ASGI application, or what is called with an Exchange.
        asgi: which of them.
        path: bytes.
        text: a function that gives the figures.
    """
    headers = [(b"content-type", CONTENT_TYPE), (b"cache-control", b"no-store")]

    async def answer(send):
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text()})

    def for_scope(scope, receive, send):
        if scope.get("raw_path") == path and scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            return answer(send)
        return application(scope, receive, send)

    def for_exchange(exchange):
        if exchange.target.partition(b"?")[0] == path and exchange.method in ("GET", "HEAD"):
            exchange.start(200, headers)
            exchange.write(text())
        else:
            application(exchange)

    return for_scope if asgi else for_exchange
