"""Workers that are replaced for their memory or their age, added and removed by signals, or forked from one import."""

import json
import os
import signal
import time

import pytest

from ioring.http import Configuration, ConfigurationError
from serving import APP, WAIT_S, Load, Serving, refused, whole_of

GROWING = (
    f"import os\nheld = []\n{APP}"
    + """
    if scope["path"] == "/grow":
        held.append(b"x" * (300 << 20))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
)


def gone(pid):
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < deadline


@pytest.mark.no_sanitizer
def test_memory(tmp_path):
    options = ("--workers", "2", "--limit-max-memory", "290M")
    with Serving(tmp_path, "main:app", *options, application=GROWING) as server:
        before = server.pids(2)
        grown = int(server.get("/grow"))
        server.wait_for(
            rf"process {grown}\) is replaced: it has 3\d\d MiB of memory, more than 290 \(limit_max_memory\)"
        )
        gone(grown)
        assert len(server.pids(2) - before) == 1
    assert server.errors == []


@pytest.mark.no_sanitizer
def test_memory_without_workers(tmp_path):
    with Serving(tmp_path, "main:app", "--limit-max-memory", "290m", application=GROWING) as server:
        server.get("/grow")
        server.wait_for(r"stops: it has 3\d\d MiB of memory")
        assert server.ended() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_lifetime(tmp_path, workers):
    options = ("--workers", workers, "--worker-lifetime", "0.3", "--worker-lifetime-jitter", "0.2")
    with Serving(tmp_path, "main:app", *options, "--no-access-log") as server:
        with Load(server) as load:
            load.until(lambda: len(set(load.pids)) >= 3 * int(workers))
        assert load.failures == []
        server.wait_for(r"is replaced: its time is over \(worker_lifetime\)")
    assert server.errors == []


@pytest.mark.parametrize("uds", [False, True], ids=["tcp", "unix"])
def test_more_and_fewer_workers(tmp_path, uds):
    options = ("--workers", "2", "--metrics", "/metrics", "--no-access-log")
    if uds:
        options += ("--bind", "unix:s", "--bind", "127.0.0.1:0")
    with Serving(tmp_path, "main:app", *options, port=not uds) as server:
        if uds:
            server.port = int(server.wait_for(r"http://127\.0\.0\.1:(\d+)")[1])
        first = server.pids(2)
        for count in (3, 4):
            server.signal(signal.SIGTTIN)
            server.wait_for(f"SIGTTIN: workers are {count} now")
        every = server.pids(4)
        assert first < every
        assert 'ioring_http_requests_total{worker="4"}' in server.get("/metrics")
        server.signal(signal.SIGHUP)  # those are replaced, too
        server.wait_for("all workers are replaced")
        for pid in every:
            gone(pid)
        every = server.pids(4)
        for count in (3, 2, 1):
            server.signal(signal.SIGTTOU)
            server.wait_for(f"SIGTTOU: workers are {count} now")
        deadline = time.monotonic() + WAIT_S
        while sum(alive(pid) for pid in every) > 1:
            assert time.monotonic() < deadline
        [left] = [pid for pid in every if alive(pid)]
        for _ in range(20):
            assert int(server.get()) == left
        server.signal(signal.SIGTTOU)
        server.wait_for("the number of workers stays 1: it can be 1 to ")
        server.signal(signal.SIGTTIN)
        server.wait_for("SIGTTIN: workers are 2 now")
        assert left in server.pids(2)
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    assert all("stays 1" in line for line in server.errors), server.errors


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_that_is_removed_answers_what_it_has_begun(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "1", "--worker-timeout", "60") as server:
        with server.connect() as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            said = client.recv(1000)
            server.signal(signal.SIGTTIN)
            server.wait_for("workers are 2 now")
            assert len(server.pids(2)) == 2
            server.signal(signal.SIGTTOU)
            server.wait_for("workers are 1 now")
            (tmp_path / "go").touch()
            whole_of(client, said)
        with Load(server) as load:
            load.until(lambda: len(load.pids) > 50)
        assert load.failures == []


@pytest.mark.parametrize("ring", [True, False], ids=["ring", "asyncio"])
def test_nobody_is_refused_when_the_number_changes(tmp_path, ring):
    options = ("--workers", "4", "--no-access-log", "--fallback", "asyncio")
    with Serving(tmp_path, "main:app", *options, ring=ring) as server:
        server.pids(4)
        with Load(server, threads=6) as load:
            steps = [(signal.SIGTTOU, count) for count in (3, 2, 1)]
            steps += [(signal.SIGHUP, 0)]  # what takes their place has all the sockets
            steps += [(signal.SIGTTIN, count) for count in (2, 3, 4, 5)]
            steps += [(signal.SIGTTOU, count) for count in (4, 3, 2, 1)]
            for at, (number, count) in enumerate(steps):
                load.until(lambda: len(load.pids) > 100)
                del load.pids[:]
                server.signal(number)
                if number == signal.SIGHUP:
                    server.wait_for("all workers are replaced")
                else:
                    name = number.name
                    times = sum(1 for step in steps[: at + 1] if step == (number, count))
                    server.wait_for(f"{name}: workers are {count} now", times)
            load.until(lambda: len(load.pids) > 100)
        assert load.failures == []


UNPRIVILEGED = """
user = imported[1]
assert user != 0
async def app(scope, receive, send):
    assert user == os.geteuid()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"('https', '127.0.0.1')"})
"""

PRELOADED = (
    "import os\nimported = os.getpid(), os.geteuid()\n"
    + APP
    + """
    said = f'[{imported[0]}, {imported[1]}, {os.getpid()}, {os.geteuid()}, "old"]'
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said.encode()})
"""
)


def test_preload(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2", "--preload", application=PRELOADED) as server:
        seen = set()
        deadline = time.monotonic() + WAIT_S
        while len(seen) < 2:
            imported, _, pid, _, _ = json.loads(server.get())
            assert imported == server.process.pid
            seen.add(pid)
            assert time.monotonic() < deadline
        (tmp_path / "main.py").write_text(PRELOADED.replace("old", "new"))
        server.signal(signal.SIGHUP)
        server.wait_for("the application stays what it is, since --preload has imported it: restart for new code")
        server.wait_for("all workers are replaced")
        for pid in seen:
            gone(pid)
        assert json.loads(server.get())[-1] == "old"
    assert server.errors == []


def test_preload_of_what_cannot_be(tmp_path):
    (tmp_path / "main.py").write_text("1 / 0")
    said = refused("main:app", "--preload", "--workers", "2", "--port", "0", cwd=tmp_path)
    assert "main cannot be imported: " in said
    assert "preload: with reload the application is imported again" in refused("--reload", "--preload")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_preload_and_user_and_certificates(open_folder, certificates, tmp_path):
    """Nothing of the application runs as root, and certificates that the user may not read are served all the same."""
    number = certificates.issue()
    (tmp_path / "key.pem").chmod(0o600)
    tls = ("--ssl-certfile", str(tmp_path / "cert.pem"), "--ssl-keyfile", str(tmp_path / "key.pem"))
    options = ("--workers", "2", "--preload", "--user", "daemon", "--lifespan", "off", *tls)
    with Serving(open_folder, "main:app", *options, application=PRELOADED + UNPRIVILEGED) as server:
        assert certificates.shown(server) == number
        (tmp_path / "key.pem").chmod(0o644)
        tmp_path.chmod(0o755)
        certificates.issue()
        server.signal(signal.SIGHUP)
        server.wait_for("certificates were read again|the certificates stay what they were")
        server.wait_for("all workers are replaced")
        certificates.shown(server)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit_max_memory": "5X"}, "limit_max_memory: '5X': a number of bytes, or one such as 512M, is wanted"),
        ({"limit_max_memory": -1}, "limit_max_memory: -1 is negative; 0 means none"),
        ({"worker_lifetime": -1}, "worker_lifetime: -1.0 is none; 0 means never"),
        ({"worker_lifetime_jitter": float("inf")}, "worker_lifetime_jitter: inf is none"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(ConfigurationError, match=words):
        Configuration(**options)


def test_sizes():
    for value, number in (("512M", 512 << 20), ("2g", 2 << 30), ("10k", 10240), ("100", 100), (100, 100)):
        assert Configuration(limit_max_memory=value).limit_max_memory == number
    made = Configuration.from_environment({}, {"IORING_LIMIT_MAX_MEMORY": "1G"})
    assert made.limit_max_memory == 1 << 30
    assert "limit_max_memory: '1.5G': a number of bytes" in refused("--limit-max-memory", "1.5G")
