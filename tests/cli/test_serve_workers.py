"""Workers: several, replaced, killed, restarted; and the sockets that outlive them."""

import contextlib
import os
import re
import signal
import socket
import time

import pytest

from serving import APP, WAIT_S, Load, Serving, whole_of


@pytest.fixture(params=["ring", "asyncio"])
def options(request):
    """For servers on the ring, and where there is none."""
    if request.param == "ring":
        return {}
    return {"ring": False, "environment": {"IORING_FALLBACK": "asyncio"}}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_several_processes_serve(tmp_path, options):
    with Serving(tmp_path, "main:app", "--workers", "2", **options) as server:
        pids = server.pids(2)
        assert server.process.pid not in pids
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    assert not any(alive(pid) for pid in pids)


def test_web_concurrency(tmp_path):
    with Serving(tmp_path, "main:app", environment={"WEB_CONCURRENCY": "2"}) as server:
        assert len(server.pids(2)) == 2


@pytest.mark.parametrize("keep", [False, True])
def test_restart_refuses_nobody(tmp_path, options, keep):
    with Serving(tmp_path, "main:app", "--workers", "2", "--no-access-log", **options) as server:
        before = server.pids(2)
        with Load(server, keep=keep) as load:
            for count in range(1, 4):
                load.until(lambda: len(load.pids) > 50)
                server.signal(signal.SIGHUP)
                server.wait_for("all workers are replaced", count)
                del load.pids[:]
            load.until(lambda: len(load.pids) > 50)
            del load.pids[:]
            load.until(lambda: len(load.pids) > 50)
            assert not before & set(load.pids)
        assert load.failures == []
    assert "Traceback" not in "".join(server.errors)


def test_restart_on_a_unix_socket(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2", "--uds", "s", port=False) as server:
        assert server.url.endswith("s")

        def ask():
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(WAIT_S)
                client.connect(str(tmp_path / "s"))
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                return client.makefile("rb").read().rpartition(b"\r\n\r\n")[2]

        first = ask()
        server.signal(signal.SIGHUP)
        server.wait_for("all workers are replaced")
        deadline = time.monotonic() + WAIT_S
        while ask() == first:  # it may accept until it has the signal
            assert time.monotonic() < deadline
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
        assert not (tmp_path / "s").exists()


BLOCKING = (
    f"import os, time\n{APP}"
    + """
    if scope["path"] == "/block":
        open("blocked", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
)


@pytest.mark.parametrize("way", ["uds", "fd"])
def test_workers_that_share_a_socket(tmp_path, options, way):
    """All get connections; the idle ones serve while one computes; one that is killed takes nobody with it."""
    if way == "uds":
        arguments, passed = ("--uds", "s"), ()
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        arguments, passed = ("--fd", str(listener.fileno())), (listener.fileno(),)

    def connect():
        if way == "fd":
            return socket.create_connection(address, WAIT_S)
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(WAIT_S)
        client.connect(str(tmp_path / "s"))
        return client

    def ask(path="/"):
        with connect() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            return int(client.makefile("rb").read().rpartition(b"\r\n\r\n")[2])

    options = {**options, "application": BLOCKING, "port": False, "pass_fds": passed}
    with Serving(tmp_path, "main:app", "--workers", "3", *arguments, "--no-access-log", **options) as server:
        if way == "fd":
            listener.close()
        server.wait_for("serves", 1)
        deadline = time.monotonic() + WAIT_S
        served = {}
        while len(served) < 3 or min(served.values()) < 10:
            assert time.monotonic() < deadline, served
            pid = ask()
            served[pid] = served.get(pid, 0) + 1
        with connect() as busy:
            busy.sendall(b"GET /block HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while not (tmp_path / "blocked").exists():
                assert time.monotonic() < deadline
            answers = {ask() for _ in range(20)}
            (tmp_path / "go").touch()
            assert int(busy.makefile("rb").read().rpartition(b"\r\n\r\n")[2]) not in answers
        for _ in range(4):
            os.kill(ask(), signal.SIGKILL)
            for _ in range(5):
                ask()


def test_restart_waits_for_requests_and_takes_new_code(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2") as server, server.connect() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        said = client.recv(1000)
        assert said.startswith(b"HTTP/1.1 200")
        source = (tmp_path / "main.py").read_text()
        (tmp_path / "main.py").write_text(source.replace("str(os.getpid())", "'new'"))
        server.signal(signal.SIGHUP)
        server.wait_for("all workers are replaced")
        deadline = time.monotonic() + WAIT_S
        while server.get() != "new":  # the old one may accept until it has the signal
            assert time.monotonic() < deadline
        (tmp_path / "go").touch()
        said = whole_of(client, said)
        assert b"begun" in said


def test_restart_with_broken_code_keeps_the_old(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2") as server:
        before = server.pids(2)
        (tmp_path / "main.py").write_text("1 / 0")
        server.signal(signal.SIGHUP)
        server.wait_for("did not start, and what it was to replace goes on: .*ZeroDivisionError")
        assert server.pids(2) == before
    assert "Traceback" not in "".join(server.errors)


def test_killed_worker_is_replaced(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2", "--no-access-log") as server:
        victim, other = server.pids(2)
        with Load(server) as load:
            load.until(lambda: len(load.pids) > 50)
            os.kill(victim, signal.SIGKILL)
            load.until(lambda: set(load.pids) - {victim, other})
            at = len(load.pids)
            load.until(lambda: len(load.pids) > at + 50)
        # Each of the threads had at most one connection to it.
        assert len(load.failures) <= 2 * len(load.threads)
        server.wait_for(rf"process {victim}\) was killed by SIGKILL; the next starts now")
        assert other in server.pids(2)


SLOW_START = """
import os, time
while not os.path.exists("start"):
    time.sleep(0.01)
"""


def test_worker_that_is_killed_while_its_replacement_starts(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2") as server:
        before = server.pids(2)
        (tmp_path / "main.py").write_text(SLOW_START + (tmp_path / "main.py").read_text())
        server.signal(signal.SIGHUP)
        server.wait_for("SIGHUP: workers are replaced")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        server.wait_for(r"worker 1 \(process \d+\) was killed by SIGKILL; its replacement starts already")
        server.wait_for(r"worker 2 \(process \d+\) was killed by SIGKILL; the next starts now")
        (tmp_path / "start").touch()
        server.wait_for("all workers are replaced")
        assert not before & server.pids(2)
    assert len(server.errors) == 2


def test_worker_that_is_killed_while_it_stops(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2") as server, server.connect() as client:
        before = server.pids(2)
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(1000)
        server.signal(signal.SIGHUP)
        server.wait_for("all workers are replaced")
        deadline = time.monotonic() + WAIT_S
        while len(left := [pid for pid in before if alive(pid)]) > 1:
            assert time.monotonic() < deadline
            server.get()
        os.kill(left[0], signal.SIGKILL)
        server.wait_for(rf"process {left[0]}\) was killed by SIGKILL while it stopped")
        assert len(server.pids(2)) == 2
    assert len(server.errors) == 1


def test_workers_that_are_killed_while_all_are_replaced(tmp_path):
    """There are as many as before afterwards."""
    with Serving(tmp_path, "main:app", "--workers", "2", "--no-access-log") as server:
        killed = []
        with Load(server) as load:
            for count in range(1, 5):
                at = len(load.pids)
                load.until(lambda at=at: len(load.pids) > at + 20)
                server.signal(signal.SIGHUP)
                for pid in set(load.pids[-20:]):
                    with contextlib.suppress(ProcessLookupError):  # it was replaced meanwhile
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
                server.wait_for("SIGHUP: workers are replaced", count)
            at = len(load.pids)
            load.until(lambda: len(set(load.pids[at:]) - set(killed)) >= 2)
        server.signal(signal.SIGHUP)
        server.wait_for("SIGHUP: workers are replaced", 5)
        assert len(server.pids(2)) == 2
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    # Each thread had at most one connection to each of them.
    assert len(load.failures) <= len(killed) * len(load.threads)
    told = re.findall(r"process (\d+)\) was killed by SIGKILL", "".join(server.errors))
    assert told  # not all: some were ending when they were killed
    assert set(map(int, told)) <= set(killed)
    assert len(told) == len(set(told))
    assert "Traceback" not in "".join(server.errors)


def test_worker_that_dies_at_once_again_and_again(tmp_path):
    dying = """
    import os
    first = not os.path.exists("begun")
    open("begun", "w").close()
    if not first:
        os._exit(3)
    async def app(scope, receive, send):
        if scope["type"] == "http":
            os._exit(4)
    """
    with Serving(tmp_path, "main:app", "--workers", "1", "--reload", application=dying) as server:
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1) == b""
        server.wait_for("ended with code 4; waiting for a change")
    (tmp_path / "begun").unlink()
    dying = dying.replace("not first", "not first and sum(1 for _ in open('begun')) == 0 and os.path.exists('die')")
    with Serving(tmp_path, "main:app", "--workers", "2", application=dying) as server:
        (tmp_path / "die").touch()
        with server.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1) == b""
        server.wait_for("ended with code 4; the next starts now")
        server.wait_for("ended with code 3; the next starts in 0.5 s")
        server.wait_for("ended with code 3; the next starts in 1.0 s")
        server.signal(signal.SIGTERM)  # also while it waits
        assert server.ended() == 0


HANGING = """
import os, signal, time

def hang():
    print("hangs")
    time.sleep(1000)

async def app(scope, receive, send):
    if scope["path"] == "/hang":
        hang()
    if scope["path"] == "/stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""

STILL_S = 1.5
"""Longer than a process that has nothing to do has to wait for a busy processor."""


def hanging(folder, application=HANGING, workers=2, **options):
    arguments = ("--workers", str(workers), "--worker-timeout", str(STILL_S), "--no-access-log", "--lifespan", "off")
    return Serving(folder, "main:app", *arguments, application=application, **options)


def hang(server, path, killer):
    """Has a worker stand still, and waits until it is killed; its process."""
    with server.connect() as client:
        client.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        victim = server.wait_for(rf"\(process (\d+)\) is killed: its loop has not turned for {STILL_S} s")[1]
        server.wait_for(rf"process {victim}\) was killed by {killer}; the next starts now")
        assert client.recv(1) == b""
    return int(victim)


def test_worker_that_blocks_is_killed_and_replaced(tmp_path, options):
    with hanging(tmp_path, **options) as server:
        before = server.pids(2)
        victim = hang(server, b"/hang", "SIGABRT")
        after = server.pids(2)
        assert before - after == {victim}
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    assert re.search(r'File ".*main\.py", line \d+ in hang', "".join(server.errors))
    assert sum("is killed" in line for line in server.errors) == 1


def test_the_only_worker_that_blocks_is_replaced_too(tmp_path):
    with hanging(tmp_path, workers=1) as server:
        [before] = server.pids(1)
        assert before != server.process.pid
        assert hang(server, b"/hang", "SIGABRT") == before
        assert server.pids(1) != {before}


def test_worker_that_takes_no_signals_is_killed_and_replaced(tmp_path):
    with hanging(tmp_path) as server:
        before = server.pids(2)
        victim = hang(server, b"/stop", "SIGKILL")
        assert before - server.pids(2) == {victim}


def test_worker_that_blocks_does_not_keep_the_server_from_ending(tmp_path):
    with hanging(tmp_path) as server, server.connect() as client:
        client.sendall(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_for("hangs")
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
        assert client.recv(1) == b""


def test_worker_that_begins_may_take_its_time(tmp_path):
    with hanging(tmp_path, f"import time\ntime.sleep({STILL_S + 0.5})\n{HANGING}") as server:
        assert len(server.pids(2)) == 2
    assert server.errors == []


@pytest.mark.no_sanitizer
def test_workers_are_not_blamed_when_everything_stood_still(tmp_path):
    with hanging(tmp_path) as server:
        began = time.monotonic()
        before = server.pids(2)
        while time.monotonic() < began + STILL_S:  # it has seen them turn
            server.get()
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(STILL_S / 3)  # it has seen them for the last time
        server.signal(signal.SIGSTOP)
        time.sleep(STILL_S)  # as on a machine that was suspended
        server.signal(signal.SIGCONT)
        time.sleep(STILL_S / 4)  # it looks before they can show anything
        os.killpg(server.process.pid, signal.SIGCONT)
        assert server.pids(2) == before
        server.signal(signal.SIGHUP)
        server.wait_for("all workers are replaced")
    assert server.errors == []


def test_supervisor_that_is_killed_leaves_nobody(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2") as server:
        pids = server.pids(2)
        server.signal(signal.SIGKILL)
        server.ended()  # the workers have its output open too, and that has come to its end
        assert len(pids) == 2


def test_second_signal_stops_at_once(tmp_path, options):
    for workers in ("1", "2"):
        with (
            Serving(tmp_path, "main:app", "--workers", workers, **options) as server,
            server.connect() as client,
        ):
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1000)
            server.signal(signal.SIGINT)
            deadline = time.monotonic() + WAIT_S
            while True:  # until nobody listens: the first signal has arrived
                try:
                    server.connect().close()
                except ConnectionError:
                    break
                assert time.monotonic() < deadline
            assert server.process.poll() is None
            server.signal(signal.SIGINT)
            assert server.ended() == 0


def test_first_signal_waits_for_requests(tmp_path):
    for workers in ("1", "2"):
        (tmp_path / "go").unlink(missing_ok=True)
        with Serving(tmp_path, "main:app", "--workers", workers) as server, server.connect() as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            said = client.recv(1000)
            server.signal(signal.SIGINT)
            (tmp_path / "go").touch()
            while part := client.recv(1000):
                said += part
            assert said.endswith(b"0\r\n\r\n")
            assert server.ended() == 0


def test_limit_of_requests(tmp_path):
    options = ("--limit-max-requests", "20", "--limit-max-requests-jitter", "5", "--no-access-log")
    with Serving(tmp_path, "main:app", "--workers", "2", *options) as server:
        before = server.pids(2)
        with Load(server) as load:
            load.until(lambda: len(set(load.pids) - before) >= 2)
        assert load.failures == []
    with Serving(tmp_path, "main:app", "--limit-max-requests", "2") as server:
        server.get()
        assert server.process.poll() is None
        server.get()
        assert server.ended() == 0  # alone, it ends, for whoever started it to start it again


def test_reload(tmp_path):
    pytest.importorskip("watchfiles")
    (tmp_path / "watched").mkdir()
    options = ("--reload", "--reload-dir", "watched", "--reload-dir", ".", "--reload-include", "*.py")
    with Serving(tmp_path, "main:app", *options, "--reload-include", "*.txt") as server:
        first = int(server.get())
        # The watcher may not have begun yet: it is told of changes until it sees one.
        deadline = time.monotonic() + WAIT_S
        while not any("note.txt has changed" in line for line in server.output):
            (tmp_path / "watched/note.txt").write_text(str(time.monotonic()))
            time.sleep(0.1)
            assert time.monotonic() < deadline, server.output
        while int(server.get()) == first:
            assert time.monotonic() < deadline
        (tmp_path / "main.py").write_text("1 / 0")
        server.wait_for("ZeroDivisionError.*; waiting for a change")
        (tmp_path / "main.py").write_text(
            "async def app(scope, receive, send):\n"
            "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
            "    await send({'type': 'http.response.body', 'body': b'mended'})\n"
        )
        while server.get() != "mended":
            assert time.monotonic() < deadline
        server.signal(signal.SIGINT)
        assert server.ended() == 0
    assert "Traceback" not in "".join(server.errors)


def test_workers_that_cannot_start(tmp_path):
    server = Serving(tmp_path, "main:app", "--workers", "3", application="1 / 0")
    try:
        assert server.ended() == 1
        assert len(server.errors) == 1
        assert "ZeroDivisionError" in server.errors[0]
        assert server.output == []
    finally:
        server.__exit__()
