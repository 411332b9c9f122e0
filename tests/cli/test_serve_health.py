"""What load balancers ask of `ioring serve`: whether it lives and is ready; and time to notice that it leaves."""

import contextlib
import http.client
import os
import re
import signal
import time

import pytest

import ioring
from http_servers import GET, Running, hello, lifeless, read_response
from ioring.http import Configuration, ConfigurationError
from serving import WAIT_S, Serving, curl, whole_of

HEALTH = ("--healthz", "/healthz", "--readyz", "/readyz")
LONG = ("--drain", "600")


def ask(server, path, method="GET"):
    """The status and the body of one response, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    with contextlib.closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def until(server, path, status, count=1):
    """Waits for that answer, so many times in a row."""
    deadline = time.monotonic() + WAIT_S
    seen = 0
    while seen < count:
        seen = seen + 1 if ask(server, path)[0] == status else 0
        assert time.monotonic() < deadline


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("what", ["main:app", "main:wsgi", "."])
def test_the_server_answers(tmp_path, what, workers):
    application = "def wsgi(environ, start):\n    start('418 No', [])\n    return [b'application']\napp = wsgi\n"
    with Serving(tmp_path, what, *HEALTH, "--workers", workers, application=application) as server:
        assert ask(server, "/healthz") == (200, "alive\n")
        assert ask(server, "/readyz?verbose") == (200, "ready\n")
        assert ask(server, "/readyz", "HEAD") == (200, "")
        assert ask(server, "/readyz", "POST")[0] in (418, 405)
        assert ask(server, "/readyz/")[0] in (418, 404)
    # What was not for the application alone is in the access log.
    assert not any("GET /readyz" in line and "/readyz/" not in line for line in server.output), server.output
    assert not any("healthz" in line for line in server.output)


def test_with_curl(tmp_path):
    with Serving(tmp_path, "main:app", *HEALTH) as server:
        said = curl(tmp_path, "-i", f"{server.url}/healthz")
        assert re.match(r"HTTP/1\.1 200 OK\ncontent-type: text/plain; charset=utf-8\ncache-control: no-store", said)
        assert curl(tmp_path, "-H", "Connection: Upgrade", "-H", "Upgrade: h2c", f"{server.url}/readyz") == "ready\n"


def test_a_path_that_is_not_given_is_the_applications(tmp_path):
    with Serving(tmp_path, "main:app") as server:
        assert server.get("/healthz").isdecimal()


def test_connections_are_kept():
    with Running(lifeless(hello), ioring.Loop, healthz="/healthz") as server, server.connect() as client:
        for _ in range(3):
            client.sendall(GET.replace(b"/", b"/healthz", 1))
            assert read_response(client)[::2] == (200, b"alive\n")
            client.sendall(GET)
            assert read_response(client)[2] == b"hello"
        # Neither figures nor limits know of them.
        service = server.server.service
        assert (service.requests, service.active, service.statuses[2], service.sent) == (3, 0, 3, 15)
        client.sendall((GET + GET.replace(b"/", b"/healthz", 1)) * 2)
        found = b""
        while found.count(b"HTTP/1.1 200 OK") < 4 or not found.endswith(b"alive\n"):
            found += client.recv(1 << 16)


def test_limits_do_not_count_them(tmp_path):
    arguments = ("--limit-max-requests", "2", "--limit-concurrency", "1")
    with Serving(tmp_path, "main:app", *HEALTH, *arguments) as server, server.connect() as client:
        for _ in range(3):
            assert ask(server, "/readyz") == (200, "ready\n")
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert ask(server, "/healthz") == (200, "alive\n")  # the one request that may be worked on is another
        (tmp_path / "go").touch()
        assert server.process.poll() is None
        assert ask(server, "/healthz") == (200, "alive\n")
        ask(server, "/")  # refused or not, it is the second
        assert server.ended() == 0
        server.wait_for("2 requests were worked on")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("ring", [True, False], ids=["ring", "asyncio"])
def test_drain(tmp_path, workers, ring):
    options = ("--workers", workers, "--fallback", "asyncio", *HEALTH)
    with Serving(tmp_path, "main:app", *options, *LONG, ring=ring) as server:
        server.signal(signal.SIGTERM)
        server.wait_for("drains: it stops in 600 s")
        until(server, "/readyz", 503, 1 if workers == "1" else 30)  # the workers are told one after the other
        assert ask(server, "/readyz") == (503, "stopping\n")
        assert ask(server, "/healthz") == (200, "alive\n")
        assert len(server.pids(int(workers))) == int(workers)  # all serve on
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    assert all("asyncio's own loop" in line for line in server.errors), server.errors


@pytest.mark.parametrize("workers", ["1", "2"])
def test_drain_ends(tmp_path, workers):
    """By itself, and then requests may still end."""
    options = ("--workers", workers, *HEALTH, "--drain", "0.3")
    with Serving(tmp_path, "main:app", *options) as server, server.connect() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        said = client.recv(1000)
        server.signal(signal.SIGTERM)
        deadline = time.monotonic() + WAIT_S
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                with server.connect() as probe, contextlib.suppress(ConnectionResetError):
                    probe.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
                    probe.recv(1000)
                assert time.monotonic() < deadline
        (tmp_path / "go").touch()
        whole_of(client, said)
        assert server.ended() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_third_signal_waits_for_nothing(tmp_path, workers):
    with (
        Serving(tmp_path, "main:app", "--workers", workers, *HEALTH, *LONG) as server,
        server.connect() as client,
    ):
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        server.signal(signal.SIGTERM)
        until(server, "/readyz", 503)
        server.signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionRefusedError, ConnectionResetError, http.client.HTTPException):
            while True:  # until the second signal has come through
                ask(server, "/")
        server.signal(signal.SIGTERM)
        assert server.ended() == 0


def test_a_worker_that_dies_while_all_drain_is_replaced(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2", *HEALTH, *LONG) as server:
        victim = server.pids(2).pop()
        server.signal(signal.SIGTERM)
        server.wait_for("drains")
        os.kill(victim, signal.SIGKILL)
        server.wait_for("was killed by SIGKILL; the next starts now")
        assert victim not in server.pids(2)
        for _ in range(10):  # the new one is not ready either
            assert ask(server, "/readyz")[0] == 503
        server.signal(signal.SIGTERM)
        assert server.ended() == 0


def test_replaced_workers_do_not_drain(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2", *HEALTH, *LONG) as server:
        server.signal(signal.SIGHUP)
        server.wait_for("all workers are replaced")
        for _ in range(10):
            until(server, "/readyz", 200)
        server.signal(signal.SIGTERM)
        server.wait_for("drains")
        server.signal(signal.SIGTERM)
        assert server.ended() == 0


def test_a_limit_of_requests_drains_too(tmp_path):
    with Serving(tmp_path, "main:app", *HEALTH, *LONG, "--limit-max-requests", "1") as server:
        server.get()
        server.wait_for("drains")
        assert ask(server, "/readyz")[0] == 503
        assert server.get().isdecimal()
        server.signal(signal.SIGTERM)
        assert server.ended() == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"healthz": "health"}, "healthz: 'health' is no path: it begins with /"),
        ({"readyz": "/a?b"}, "readyz: '/a\\?b' is no path: it is as in a request"),
        ({"healthz": "/a", "readyz": "/a"}, "readyz: /a is the path of healthz already"),
        ({"metrics": "/a", "healthz": "/a"}, "healthz: /a is the path of metrics already"),
        ({"drain": -1}, "drain: -1.0 is none"),
        ({"drain": float("inf")}, "drain: inf is none"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(ConfigurationError, match=words):
        Configuration(**options)
