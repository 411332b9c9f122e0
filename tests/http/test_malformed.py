"""Requests from the tests of gunicorn, h11 and llhttp, good and malformed, through real sockets: suites/corpora.py.

What one of these parsers refuses our server must not answer as if it were a request, and what it takes for requests our
server has to take for the same ones. Where it is otherwise, a line in suites/corpora.txt says why; a line of which
nothing is true any more fails.
"""

import contextlib
import functools
import re
import socket

import pytest

from http_servers import WAIT_S, Running, end_of_response
from suites import corpora, sdist

pytestmark = [pytest.mark.timeout(corpora.LIMIT_S), pytest.mark.no_sanitizer]

CASES_MIN = {"gunicorn": 110, "h11": 340, "llhttp": 120}
"""So many there are at least, those left out not counted."""

PIECES_MAX = 1000

HEAD = re.compile(rb"(?:\A|(?<=\n))(?:[A-Z]+ \S+ HTTP/1\.1\r\n)(?=((?:[^\r\n]+\r\n)*))")


@functools.cache
def cases(corpus):
    try:
        return corpora.cases(corpus)
    except sdist.Unavailable as reason:
        return str(reason)


def with_hosts(data):
    """The bytes with a header host in each head of HTTP/1.1 without one: most of the cases are not about that."""

    def one(match):
        has = re.search(rb"^host[ \t]*:", match[1], re.I | re.M)
        return match[0] if has else match[0] + b"Host: inserted\r\n"

    return HEAD.sub(one, data)


class Recorder:
    """An application that answers each whole request with 200, and writes it down."""

    def __init__(self):
        self.seen = []

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message["body"]
            more = message["more_body"]
        self.seen.append({"method": scope["method"], "body": body, "length": len(body), "headers": scope["headers"]})
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def pieces(data, split):
    """The bytes as a whole, or one by one; as many pieces as that of large ones."""
    size = max(1, len(data) // PIECES_MAX) if split else len(data)
    return [data[start : start + size] for start in range(0, len(data), size)]


def statuses(server, case, split):
    """Of all responses to the bytes of a case; when there are as many as requests, nothing more is sent."""
    received, found, ended = b"", [], False
    methods = [message["method"] for message in case.messages]
    with server.connect() as client:
        client.settimeout(WAIT_S)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for piece in pieces(with_hosts(case.data), split):
                client.sendall(piece)
        while not ended:
            if len(found) >= len(methods):
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_WR)
            try:
                part = client.recv(1 << 16)
            except (ConnectionResetError, TimeoutError):
                part = b""
            received, ended = received + part, not part
            while received:
                head = methods[len(found)] == "HEAD" if len(found) < len(methods) else case.data.startswith(b"HEAD")
                end = end_of_response(received, head)
                if end is None:
                    break
                found.append(int(received.split(b" ", 2)[1]))
                received = received[end:]
    return found


def difference(case, found, seen):
    """What is otherwise than it should be: "accepted", "refused" or "differs" with what; None when nothing is."""
    good = [status for status in found if 200 <= status < 300]
    if len(seen) > len(case.messages) or len(good) > len(case.messages):
        return "accepted", f"{found} {seen}"
    if len(seen) < len(case.messages):
        return "refused", f"{found} {seen}"
    for wanted, got in zip(case.messages, seen, strict=True):
        for name in ("method", "body", "length"):
            if name in wanted and wanted[name] != got[name]:
                return "differs", f"{name}: {wanted[name]!r}, {got[name]!r}"
        if "headers" in wanted:
            names = sorted((name, value) for name, value in wanted["headers"] if name != "host")
            ours = sorted((name.decode("latin-1"), value.decode("latin-1")) for name, value in got["headers"])
            if names != [row for row in ours if row[0] != "host"]:
                return "differs", f"headers: {names}, {ours}"
    return None


@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
@pytest.mark.parametrize("corpus", corpora.SOURCES)
def test_requests_of_others(corpus, split, http_loop):
    known, used, wrong, count = corpora.lines(corpus), set(), [], 0
    if isinstance(cases(corpus), str):
        pytest.skip(cases(corpus))
    application = Recorder()
    with Running(application, http_loop, lifespan="off") as server:
        for case in cases(corpus):
            line = corpora.line_for(case, known)
            if line is not None and line.verdict == "without":
                used.add(line)
                continue
            count += 1
            application.seen.clear()
            found = statuses(server, case, split)
            verdict = difference(case, found, application.seen)
            if line is None and verdict is not None:
                wrong.append(f"{case.name}: {verdict[0]}, {verdict[1]}\n    {case.data!r}\n    {case.messages}")
            elif line is not None and verdict is not None and verdict[0] == line.verdict:
                used.add(line)
            elif line is not None:
                wrong.append(f"{case.name}: the line is not true: {line.verdict}, but {verdict} {found}")
        assert server.talk(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").endswith(b"ok")
    wrong += [f"no case for the line: {line}" for line in known if line not in used]
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong)
    assert count >= CASES_MIN[corpus]
