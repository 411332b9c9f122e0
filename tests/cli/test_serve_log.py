"""What the server prints."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from http_servers import LAST
from ioring.http import log as log_module
from ioring.http.log import PIPE_BUF, Log, escaped, whole_lines
from ioring.http.repetitions import KINDS_MAX, LINES_MAX, OTHERS, Repetitions
from serving import WAIT_S, Serving, curl

BROKEN = """
import asyncio
async def app(scope, receive, send):
    if scope["path"] == "/left":
        while (await receive())["type"] != "http.disconnect":
            print("waits", flush=True)
        return
    if scope["path"] == "/broken":
        raise ValueError("on purpose")
    if scope["path"] == "/task":
        async def failing():
            raise KeyError("in a task")
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"nothing"})
    if scope["path"] == "/behind":
        raise ValueError("behind it")
"""


def ask(server, data):
    with server.connect() as client:
        client.sendall(data + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        client.makefile("rb").read()
        return client.getsockname()[1]


@pytest.mark.parametrize("form", ["plain", "json"])
def test_what_is_no_request(tmp_path, form):
    """It has a line too, and an answer: also from where a proxy may be, whose headers are looked at."""
    options = ("--limit-head", "1000", "--log-format", form)
    with Serving(tmp_path, "main:app", *options, application=BROKEN) as server:
        for data, status in ((b"nonsense\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nA: %b\r\n\r\n" % (b"b" * 1500), 431)):
            with server.connect() as client:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                assert client.makefile("rb").read().startswith(b"HTTP/1.1 %d " % status)
            line = server.wait_for(rf'^127.*" {status}$' if form == "plain" else rf'^{{.*"status":{status},.*}}$')[0]
            if form == "json":
                assert 0 <= json.loads(line)["duration_ms"] < 1000 * WAIT_S
    assert not any("Traceback" in line for line in server.errors), server.errors


REFUSED = [
    (b"nonsense\r\n\r\n", "- - HTTP/1.1", 400),
    (b"GET /a HTTP/1.1\r\nA: %b\r\n\r\n" % (b"b" * 1500), "GET /a HTTP/1.1", 431),
    (b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", "POST /b HTTP/1.1", 413),
    (b"POST /c HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "POST /c HTTP/1.0", 400),
    (b"HEAD /d HTTP/2.0\r\nHost: a\r\n\r\n", "HEAD /d HTTP/1.1", 505),
    (b"GET /e HTTP/1.1\r\nHost: a\r\n\r\n\x01", "- - HTTP/1.1", 400),
    (b"GET /f HTTP/1.1\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n", "GET /f HTTP/1.1", 400),
]


@pytest.mark.parametrize("form", ["plain", "json"])
def test_what_was_asked_is_told_when_it_is_refused(tmp_path, form):
    options = ("--limit-head", "1000", "--limit-body", "10", "--log-format", form)
    with Serving(tmp_path, "main:app", *options, application=BROKEN) as server:
        for data, request, status in REFUSED:
            del server.output[:]
            with server.connect() as client:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                client.makefile("rb").read()
            method, path, _ = request.split()
            pattern = rf'"method":"{method}","path":"{path}","status":{status},'
            line = server.wait_for(rf'- "{request}" {status}$' if form == "plain" else pattern).string
            assert ("1.2.3.4" in line) == (path == "/f")


def test_client_that_leaves_and_gets_no_answer(tmp_path):
    with Serving(tmp_path, "main:app", application=BROKEN) as server:
        with server.connect() as client:
            client.sendall(b"GET /left HTTP/1.1\r\nHost: a\r\n\r\n")
            server.wait_for("waits")
        server.wait_for('"GET /left HTTP/1.1" 499')
    assert [line for line in server.errors if "/left" in line] == []


SLOW = """
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
"""


@pytest.mark.parametrize(
    ("option", "request_bytes", "line", "complaint"),
    [
        ("--timeout-head", b"GET /a HTT", r"GET /a HTTP/1\.1", "the head of a request took too long"),
        (
            "--timeout-body",
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nx",
            r"POST /a HTTP/1\.1",
            "the body of a request took too long",
        ),
    ],
)
def test_what_takes_too_long(tmp_path, option, request_bytes, line, complaint):
    """It has one line as a request and one as a warning."""
    options = (option, "0.2", "--lifespan", "off")
    with Serving(tmp_path, "main:app", *options, application=SLOW) as server, server.connect() as client:
        client.sendall(request_bytes)
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 408 ")
    [request] = server.output[1:]
    assert re.fullmatch(rf'127\.0\.0\.1:\d+ - "{line}" 408\n', request)
    [warning] = server.errors
    assert re.fullmatch(rf"ioring: warning: 127\.0\.0\.1:\d+ {complaint}\n", warning)


def test_plain(tmp_path):
    with Serving(tmp_path, "main:app", application=BROKEN) as server:
        port = ask(server, b"GET /a?b=c")
        server.wait_for(rf'^127\.0\.0\.1:{port} - "GET /a\?b=c HTTP/1\.1" 404\n$')
        ask(server, b"POST /broken")
        server.wait_for(r'- "POST /broken HTTP/1\.1" 500$')
        server.wait_for(r"^ioring: error: 127\.0\.0\.1:\d+ POST /broken: the application raised an exception\n$")
        server.wait_for("^ValueError: on purpose\n$")
        port = ask(server, b"GET /behind")
        server.wait_for(rf"^ioring: error: 127\.0\.0\.1:{port} GET /behind: the application raised an exception behind")
        ask(server, b"GET /task")
        server.wait_for("^ZeroDivisionError")
        with server.connect() as client:
            client.sendall(b"nonsense\r\n\r\n")
            client.makefile("rb").read()
        server.wait_for(r"^ioring: warning: 127\.0\.0\.1:\d+ ")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_json(tmp_path, workers):
    with Serving(tmp_path, "main:app", "--log-format", "json", "--workers", workers, application=BROKEN) as server:
        ask(server, b'GET /a%22?b="c')
        ask(server, b"GET /broken")
        server.wait_for('/broken.*"status":500')
        server.wait_for("on purpose")
    lines = [json.loads(line) for line in server.output]
    assert lines[0]["level"] == "info"
    [line] = [line for line in lines if line.get("path", "").startswith("/a")]
    assert line["path"] == '/a%22?b="c'
    assert (line["method"], line["status"], line["bytes"]) == ("GET", 404, 7)
    assert 0 < line["duration_ms"] < 5000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert re.fullmatch(r"127\.0\.0\.1:\d+", line["client"])
    [error] = [json.loads(line) for line in server.errors]
    assert error["level"] == "error"
    assert "ValueError: on purpose" in error["exception"]


def test_nothing_is_lost_at_the_end(tmp_path):
    for workers in ("1", "2"):
        with Serving(tmp_path, "main:app", "--workers", workers, application=BROKEN) as server:
            with server.connect() as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
                said = b""
                while said.count(b"nothing") < 500:
                    said += client.recv(1 << 16)
                server.signal(signal.SIGTERM)
            assert server.ended() == 0
        assert sum('"GET / HTTP/1.1" 404' in line for line in server.output) == 500


def test_levels(tmp_path):
    options = ("--log-level", "error", "--port", "0")
    (tmp_path / "main.py").write_text(BROKEN)
    with Serving(tmp_path, "main:app", "--no-access-log", application=BROKEN) as server:
        ask(server, b"GET /")
    assert not any('"GET' in line for line in server.output)
    process = subprocess.Popen(
        [sys.executable, "-m", "ioring", "serve", "main:app", "--uds", "s", *options],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        retrying = ("--retry", "50", "--retry-all-errors", "--retry-delay", "0")
        curl(tmp_path, *retrying, "--unix-socket", "s", "http://a/")
    finally:
        process.terminate()
        output, errors = process.communicate(timeout=WAIT_S)
    assert (process.returncode, output, errors) == (0, b"", b"")


def test_request_whose_client_is_gone(tmp_path):
    with Serving(tmp_path, "main:app") as server:
        with server.connect() as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1000)
        (tmp_path / "go").touch()
        server.wait_for('"GET /slow HTTP/1.1" 200')


WEBSOCKETS = """
import sys

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str("websockets" in sys.modules).encode()})
        return
    await receive()
    if scope["path"] == "/never":
        await receive()
    elif scope["path"] == "/denied":
        await send({"type": "websocket.close"})
    else:
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "more"})
"""
UPGRADE = b" HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.mark.parametrize("form", ["plain", "json"])
def test_websockets_have_one_line_when_they_are_answered(tmp_path, form):
    options = ("--log-format", form, "--metrics", "/metrics", "--lifespan", "off")
    with Serving(tmp_path, "main:app", *options, application=WEBSOCKETS) as server:

        def line(path, status):
            if form == "plain":
                return rf'^127\.0\.0\.1:\d+ - "GET {path} HTTP/1\.1" {status}\n$'
            return rf'^{{"time":.*"GET","path":"{path}","status":{status},"bytes":\d+,"duration_ms":[\d.]+}}\n$'

        with server.connect() as client:
            client.sendall(b"GET /chat" + UPGRADE + KEY + b"\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 101")
            server.wait_for(line("/chat", 101))  # while it is open
            client.sendall(b"\x81\x80\0\0\0\0")
            assert client.recv(1000) == b"\x81\x04more"
        for path, key, status in ((b"/denied", KEY, 403), (b"/bad", b"", 400)):
            with server.connect() as client:
                client.sendall(b"GET " + path + UPGRADE + key + b"\r\n")
                assert client.makefile("rb").readline().split()[1] == b"%d" % status
            server.wait_for(line(path.decode(), status))
        with server.connect() as client:
            client.sendall(b"GET /never" + UPGRADE + KEY + b"\r\n")
        server.wait_for(line("/never", 499))
        assert 'ioring_http_responses_total{class="1xx",worker="1"} 1.0' in server.get("/metrics")
    for path in ("/chat", "/denied", "/bad", "/never"):
        assert sum(path in each for each in server.output) == 1


def test_websockets_are_loaded_for_the_first_of_them(tmp_path):
    with Serving(tmp_path, "main:app", "--lifespan", "off", application=WEBSOCKETS) as server:
        assert server.get() == "False"
        with server.connect() as client:
            client.sendall(b"GET /chat" + UPGRADE + KEY + b"\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 101")
        assert server.get() == "True"


def test_targets_cannot_pretend(tmp_path):
    assert escaped(b"/a?b=c&d=%20;~!$'()*+,") == "/a?b=c&d=%20;~!$'()*+,"
    assert escaped(b'/" 200\n127.0.0.1\x1b[0m\\\xff') == "/\\x22\\x20200\\x0a127.0.0.1\\x1b[0m\\x5c\\xff"


FORGED = b'fe80::1%1 - "GET admin HTTP" 200 \x9b31m"'


@pytest.mark.parametrize("form", ["plain", "json"])
def test_clients_cannot_pretend(tmp_path, form):
    """Where all that proxies say is believed."""
    options = ("--forwarded-allow-ips", "*", "--log-format", form)
    with Serving(tmp_path, "main:app", *options, application=BROKEN) as server:
        with server.connect() as client:
            client.sendall(LAST.replace(b"Host: a", b"Host: a\r\nX-Forwarded-For: " + FORGED))
            assert client.makefile("rb").read()
        line = server.wait_for(r"^.*\b404\b.*$")[0]
    if form == "json":
        assert json.loads(line)["client"].startswith("127.0.0.1:")
    else:
        assert re.fullmatch(r'127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 404', line)


class Believed:
    """A proxy's word, whatever it is."""

    def client_of(self, headers, client):
        return FORGED.decode("latin-1"), 0


@pytest.mark.parametrize("form", ["plain", "json"])
def test_clients_are_escaped(pipe, form):
    connection = SimpleNamespace(client=("127.0.0.1", 1), trusted=True)
    exchange = SimpleNamespace(
        connection=connection, headers=[], method="GET", target=b"/", http11=True, status=200, sent=0, began=0
    )
    Log(form, proxies=Believed(), output=pipe[1]).accesses(exchange)
    said = os.read(pipe[0], 1000).decode()
    escaped_client = r"[fe80::1%1\x20-\x20\x22GET\x20admin\x20HTTP\x22\x20200\x20\x9b31m\x22]:0"
    if form == "json":
        assert json.loads(said)["client"] == escaped_client
    else:
        assert said == f'{escaped_client} - "GET / HTTP/1.1" 200\n'


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass


def test_repetitions_are_summed_up():
    said = []
    counts = Repetitions(said.append)
    error = ZeroDivisionError()
    for number in range(25):
        assert counts.count(f"b'{number}' is no length", None, 0.0) == (number < LINES_MAX)
    assert counts.count("the application raised an exception", error, 5.0)
    counts.tick(9.0)
    assert said == []
    counts.tick(10.0)
    assert said == ["15 more times within 10 seconds: ... is no length"]
    assert counts.count("b'x' is no length", None, 11.0)
    counts.close()
    assert len(said) == 1


def test_kinds_of_messages_have_a_bound():
    said = []
    counts = Repetitions(said.append)
    printed = sum(counts.count("x" * (number % 150) + "y" * (number // 150), None, 0.0) for number in range(20_000))
    assert printed <= (KINDS_MAX + 1) * LINES_MAX
    counts.close()
    assert any(line.endswith(OTHERS) for line in said)


def test_long_messages_are_cut(pipe):
    reading, writing = pipe
    log = Log(output=writing, errors=writing)
    log.error("begin " + "x" * 20_000 + " end", ValueError("y" * 50_000))
    line, _ = os.read(reading, 1 << 16).split(b"\n", 1)
    assert line.startswith(b"ioring: error: begin x") and line.endswith(b"x end")
    assert len(line) < 5000


def test_a_message_is_one_line(pipe):
    Log(output=pipe[1]).info("a\nioring: error: b\u2028c")
    assert os.read(pipe[0], 1000) == b"ioring: a\\nioring: error: b\\u2028c\n"


def test_pieces_for_pipes_are_whole_lines():
    lines = [b"%d " % number + b"x" * (number * 37 % 1000) + b"\n" for number in range(100)]
    lines.insert(50, b"y" * 3 * PIPE_BUF + b"\n")
    pieces = list(map(bytes, whole_lines(memoryview(b"".join(lines)))))
    assert b"".join(pieces) == b"".join(lines)
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert sum(len(piece) > PIPE_BUF for piece in pieces) == 1


def test_pipe_that_nobody_reads(pipe, monkeypatch):
    os.set_blocking(pipe[1], False)
    monkeypatch.setattr(log_module, "STALLED_S", 0.01)
    log = Log(output=pipe[1])
    for _ in range(20):
        log.info("x" * 9000)  # what finds no room is dropped
    os.close(pipe[0])
    log.info("nobody")
    log.info("nobody")
    assert pipe[1] in log._deaf
