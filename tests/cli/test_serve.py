"""`ioring serve` as a command: options, addresses, TLS, proxies, figures, the start page, and its ends."""

import dataclasses
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import ioring
from ioring.cli.serve import serve
from ioring.http import forwarded
from ioring.http.configuration import Configuration, ConfigurationError
from ioring.http.env_file import load_environment, variables
from ioring.http.forwarded import HOPS_MAX, Proxies
from ioring.http.options import Options
from serving import WAIT_S, Serving, curl, refused

ROOT = Path(__file__).parents[2]


# What cannot be.


def test_what_is_no_application(tmp_path):
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    (tmp_path / "main.py").write_text(
        "app = 3\n"
        "def make(): pass\n"
        "def configured(config=None, **more): pass\n"
        "class Made: pass\n"
        "def some():\n"
        "    raise ValueError('one\\n\\n  two')\n"
    )
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("")
    assert "no module 'missing'" in refused("missing:app", cwd=tmp_path)
    assert "broken.py:1: " in refused("broken:app", cwd=tmp_path)
    assert "main has no 'other'" in refused("main:other", cwd=tmp_path)
    assert "main:app is not callable" in refused("main:app", cwd=tmp_path)
    for factory in ("main:make", "main:configured", "main:Made"):
        assert "--factory" in refused(factory, cwd=tmp_path)
    assert "say package:app for an application in it, or ./package" in refused("package", cwd=tmp_path)
    assert "ValueError: one two" in refused("main:some", "--factory", cwd=tmp_path)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_busy_port(workers):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "Address already in use" in refused("--port", port, "--workers", workers)


def test_port_of_another_ioring_is_busy(tmp_path):
    with Serving(tmp_path, "main:app", "--workers", "2") as server:
        assert "Address already in use" in refused("--port", str(server.port), "--workers", "2")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--workers", "0"), "workers: 0"),
        (("--worker-timeout", "-1"), "worker_timeout: -1.0 is none"),
        (("--worker-timeout", "inf"), "worker_timeout: inf is none"),
        (("--workers", "2", "--reload"), "reload"),
        (("--ws-window-bits", "8"), "ws_window_bits: 8 is none: 9 to 15"),
        (("--ws-max-queue", "-1"), "ws_max_queue: -1 is negative"),
        (("--ssl-keyfile", "x"), "ssl_certfile"),
        (("--ssl-certfile", "/nowhere"), "/nowhere: No such file"),
        (("--forwarded-allow-ips", "10.0.0.0/33"), "'10.0.0.0/33'"),
        (("--metrics", "figures"), "begins with /"),
        (("--env-file", "/nowhere"), "/nowhere: No such file"),
        (("--fd", "77"), "descriptor 77: Bad file descriptor"),
        (("--reload", "--reload-dir", "/nowhere"), "/nowhere: no such folder"),
        (("--uds", "/nowhere/s"), "cannot listen on /nowhere/s"),
    ],
)
def test_options_that_cannot_be(arguments, words):
    assert words in refused(*arguments)


def test_application_that_fails_to_start(tmp_path):
    (tmp_path / "main.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    for workers in ("1", "2"):
        assert "no database" in refused("main:app", "--port", "0", "--workers", workers, cwd=tmp_path)


def failed(*arguments, cwd):
    """The last line of a command that fails, and those that are logged before it."""
    done = subprocess.run(
        [sys.executable, "-m", "ioring", "serve", *arguments, "--port", "0"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 1, done
    *before, last = done.stderr.splitlines()
    return last, "\n".join(before)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_application_that_says_a_whole_traceback(tmp_path, workers):
    (tmp_path / "main.py").write_text(
        "import traceback\n"
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    try:\n"
        "        1 / 0\n"
        "    except ZeroDivisionError:\n"
        "        await send({'type': 'lifespan.startup.failed', 'message': traceback.format_exc()})\n"
    )
    last, logged = failed("main:app", "--workers", workers, cwd=tmp_path)
    assert last == "ioring serve: the application failed to start: ZeroDivisionError: division by zero"
    assert "Traceback (most recent call last):" in logged
    assert "main.py" in logged


LIFESPAN = """
import os, sys
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        if "raise" in os.environ["DO"]:
            raise ValueError("no\\nlifespan")
        scope["state"]["given"] = "by the start"
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if "fail" in os.environ["DO"]:
            await send({"type": "lifespan.shutdown.failed", "message": "first\\nlast"})
        if "late" in os.environ["DO"]:
            raise KeyError("late")
        return
    state = scope.get("state", {})
    said = repr((state.get("given"), state.get("added"), scope["root_path"], scope["path"]))
    state["added"] = "by a request"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said.encode()})
"""


def test_lifespan_that_an_application_does_not_know(tmp_path):
    options = {"application": LIFESPAN, "environment": {"DO": "raise"}}
    for arguments in ((), ("--lifespan", "auto"), ("--lifespan", "off")):
        with Serving(tmp_path, "main:app", *arguments, **options) as server:
            assert server.get() == "(None, None, '', '/')"
        assert server.errors == []
        # One that fails by mistake looks the same: so it is said.
        told = [line for line in server.output if r"raised an exception in it: ValueError: no\nlifespan" in line]
        assert len(told) == (arguments != ("--lifespan", "off"))
    (tmp_path / "main.py").write_text("import os\nos.environ['DO'] = 'raise'\n" + LIFESPAN)
    last, logged = failed("main:app", "--lifespan", "on", cwd=tmp_path)
    assert last == "ioring serve: the application failed to start: ValueError: no lifespan"
    assert "Traceback (most recent call last):" in logged


def test_state_of_the_lifespan_and_root_path(tmp_path):
    options = {"application": LIFESPAN, "environment": {"DO": ""}}
    with Serving(tmp_path, "main:app", "--root-path", "/below", **options) as server:
        for _ in range(2):  # each has a copy of its own
            assert server.get("/a") == "('by the start', None, '/below', '/below/a')"
    assert server.errors == []


def test_shutdown_that_fails(tmp_path):
    for what, said in (("fail", "the application failed to shut down: first last"), ("late", "'late'")):
        with Serving(tmp_path, "main:app", application=LIFESPAN, environment={"DO": what}) as server:
            server.get()
            server.signal(signal.SIGTERM)
            assert server.ended() == 0
        assert any(said in line for line in server.errors), server.errors


def test_factory(tmp_path):
    application = LIFESPAN.replace("async def app", "async def served") + "def make(config=None):\n    return served\n"
    with Serving(tmp_path, "main:make", "--factory", application=application, environment={"DO": ""}) as server:
        assert server.get().startswith("('by the start'")


def test_interrupted_while_it_starts(tmp_path):
    waiting = """
    import asyncio
    async def app(scope, receive, send):
        print("waiting", flush=True)
        await asyncio.sleep(60)
    """
    for arguments in ((), ("--workers", "2")):
        server = Serving(tmp_path, "main:app", *arguments, application=waiting)
        try:
            server.wait_for("waiting")
            server.signal(signal.SIGINT)
            assert server.ended() == 0
            assert server.errors == []
        finally:
            server.__exit__()


# Without io_uring.


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_a_ring(tmp_path, workers):
    server = Serving(tmp_path, "main:app", "--workers", workers, ring=False)
    try:
        assert server.ended() == 1
        if any("no seccomp here" in line for line in server.output):
            pytest.skip("the kernel has no seccomp filters")
        assert len(server.errors) == 1
        assert "seccomp" in server.errors[0] or "io_uring_disabled" in server.errors[0]
    finally:
        server.__exit__()
    with Serving(tmp_path, "main:app", "--workers", workers, "--fallback", "asyncio", ring=False) as server:
        assert server.get().isdecimal()
        server.wait_for("serving on asyncio's own loop: ")


# Addresses.


def test_descriptor(tmp_path):
    for arguments in ((), ("--workers", "2")):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            fd = listener.fileno()
            options = {"port": False, "pass_fds": [fd]}
            with Serving(tmp_path, "main:app", "--fd", str(fd), *arguments, **options) as server:
                assert server.port == listener.getsockname()[1]
                assert server.get().isdecimal()


def test_socket_activation(tmp_path):
    """As systemd does it: descriptor 3, and the pid in a variable."""
    starter = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'ioring', 'serve', 'main:app'])\n"
    )
    (tmp_path / "main.py").write_text(
        "import os\n"
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': str('LISTEN_FDS' in os.environ).encode()})\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [sys.executable, "-c", starter, str(listener.fileno())],
            pass_fds=[listener.fileno(), 3] if listener.fileno() != 3 else [3],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            with socket.create_connection(listener.getsockname(), timeout=WAIT_S) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert client.makefile("rb").read().endswith(b"\r\n\r\nFalse")
        finally:
            process.terminate()
            process.communicate(timeout=WAIT_S)
        assert process.returncode == 0


def test_unix_socket_left_behind(tmp_path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with Serving(tmp_path, "main:app", "--uds", "s", port=False):
        assert curl(tmp_path, "--unix-socket", "s", "http://a/seen") == "('http', None)"
        assert "Address already in use" in refused("--uds", str(tmp_path / "s"))
    assert not (tmp_path / "s").exists()


# Proxies.


def test_headers_of_proxies(tmp_path):
    headers = {"X_Forwarded_For": "6.6.6.6, 203.0.113.9, 10.1.2.3", "X_Forwarded_Proto": "https"}
    with Serving(tmp_path, "main:app", "--forwarded-allow-ips", "127.0.0.1,10.0.0.0/8") as server:
        assert server.get("/seen", **headers) == "('https', '203.0.113.9')"
        server.wait_for(r'^203\.0\.113\.9:0 - "GET /seen HTTP/1.1" 200$')
    with Serving(tmp_path, "main:app", environment={"FORWARDED_ALLOW_IPS": "10.0.0.1"}) as server:
        assert server.get("/seen", **headers) == "('http', '127.0.0.1')"


@pytest.mark.parametrize(
    ("allowed", "header", "found"),
    [
        ("10.0.0.1", b"1.2.3.4", ("1.2.3.4", 0)),
        ("10.0.0.1", b"1.2.3.4:99", ("1.2.3.4", 99)),
        ("10.0.0.1", b"[2001:db8::1]:99, 10.0.0.1", ("2001:db8::1", 99)),
        ("10.0.0.1", b"2001:db8::1", ("2001:db8::1", 0)),
        ("10.0.0.0/8,2001:db8::/32", b"5.5.5.5, 2001:db8::1, 10.2.3.4", ("5.5.5.5", 0)),
        ("*", b"5.5.5.5, 6.6.6.6", ("5.5.5.5", 0)),
        ("10.0.0.1", b"5.5.5.5, nonsense, 10.0.0.1", ("10.0.0.1", 0)),
        ("10.0.0.1", b"", ("10.0.0.1", 1)),
        ("10.0.0.1", b"1.2.3.4:99999", ("1.2.3.4", 0)),
        ("10.0.0.1", b"5.5.5.5,, ::ffff:10.0.0.1", ("::ffff:10.0.0.1", 0)),
        ("10.0.0.1", b"fe80::1%eth0.5", ("fe80::1%eth0.5", 0)),
        ("10.0.0.1", b"[fe80::1%eth0]:99", ("fe80::1%eth0", 99)),
        ("*", b'fe80::1%1 - "GET admin HTTP" 200', ("10.0.0.1", 1)),
        ("*", b"fe80::1%\x9b31m", ("10.0.0.1", 1)),
        ("*", b"fe80::1%" + b"x" * 16, ("10.0.0.1", 1)),
        ("*", b"fe80::1%", ("10.0.0.1", 1)),
        ("*", b"10.2.3.4%eth0", ("10.0.0.1", 1)),
    ],
)
def test_who_began(allowed, header, found):
    proxies = Proxies(allowed)
    assert proxies.client_of([(b"host", b"a"), (b"x-forwarded-for", header)], ("10.0.0.1", 1)) == found
    assert proxies.trusts(("10.0.0.1", 1))


@pytest.mark.parametrize("headers", [1, 8000])
def test_long_chains_of_proxies_are_looked_at_for_a_part(headers, monkeypatch):
    looked = []
    monkeypatch.setattr(forwarded, "split", lambda text: looked.append(text) or (text, 0))
    values = [b",".join(b"1::%x" % number for number in range(start, 8000, headers)) for start in range(headers)]
    pairs = [(b"x-forwarded-for", value) for value in values]
    assert Proxies("*").client_of(pairs, ("10.0.0.1", 1)) == (f"1::{8000 - HOPS_MAX:x}", 0)
    assert len(looked) == HOPS_MAX


def test_who_is_trusted():
    assert not Proxies("")
    assert not Proxies("127.0.0.1").trusts(None)
    assert Proxies("unix").trusts(None)
    assert Proxies("127.0.0.1").trusts(("::ffff:127.0.0.1", 1))
    assert not Proxies("127.0.0.1").trusts(("127.0.0.2", 1))
    assert not Proxies("127.0.0.1").trusts(("name", 1))


# Figures.


@pytest.mark.parametrize("workers", ["1", "2"])
def test_metrics(tmp_path, workers):
    with Serving(tmp_path, "main:app", "--workers", workers, "--metrics", "/metrics") as server:
        for _ in range(10):
            server.get()
        deadline = time.monotonic() + WAIT_S
        while True:  # what other workers did is told twice a second
            text = server.get("/metrics")
            figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
            total = sum(float(value) for name, value in figures.items() if "responses_total" in name and "2xx" in name)
            if total >= 10:
                break
            assert time.monotonic() < deadline, text
        assert float(figures["ioring_workers"]) == int(workers)
        assert float(figures["ioring_uptime_seconds"]) > 0
        assert sum(float(value) for name, value in figures.items() if "loop_completions_total" in name) > 10
        for line in text.splitlines():
            assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="\w+"(,\w+="\w+")?\})? [\d.]+(e\+\d+)?', line), line
        if workers == "2":  # counted are the dead, too
            before = total
            server.signal(signal.SIGHUP)
            server.wait_for("all workers are replaced")
            found = re.findall(r'responses_total\{class="2xx",worker="\d"\} (\S+)', server.get("/metrics"))
            assert sum(map(float, found)) >= before


def test_start_page(tmp_path):
    with Serving(tmp_path, "--workers", "2") as server:
        html = server.get("/")
        assert html.startswith("<!doctype html>")
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", html)
        figures = json.loads(server.get("/statistics"))
        assert figures["version"] == ioring.__version__
        assert len(figures["workers"]) == 2
        assert sum(worker["requests"] for worker in figures["workers"]) >= 1
        assert sum(worker["memory"] for worker in figures["workers"]) > 1 << 20
        assert sum(worker["enters"] for worker in figures["workers"]) > 0
        names = set(re.findall(r'worker\.(\w+)|sum\([\w.]+, "(\w+)"\)', html))
        assert {first or second for first, second in names} <= figures["workers"][0].keys()
        with pytest.raises(AssertionError, match="404"):
            server.get("/other")


# Where options come from.


def test_env_file(tmp_path):
    (tmp_path / "settings").write_text(
        '# comment\n\nexport GREETING="hello \\"you\\"\\n" # behind it\nIORING_ACCESS_LOG=no\nPATH=/nowhere\n'
    )
    application = """
    import os
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": os.environ["GREETING"].encode()})
        assert os.environ["PATH"] != "/nowhere"
    """
    with Serving(tmp_path, "main:app", "--env-file", "settings", application=application) as server:
        assert server.get() == 'hello "you"\n'
    assert len(server.output) == 1
    assert server.errors == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", "b"),
        ("A = b # c", "b"),
        ("A=b#c", "b#c"),
        ("A=", ""),
        ("A=#b", "#b"),
        ("A='b # \\n'", "b # \\n"),
        ('A="b\\tc"', "b\tc"),
        ('A="b\nc"', "b\nc"),
        ("A='it\\'s'", "it's"),
        ("A=$HOME/${HOME}", "$HOME/${HOME}"),
        ("export A=b", "b"),
        ("A=b=c", "b=c"),
    ],
)
def test_lines_of_env_files(tmp_path, text, value):
    (tmp_path / "env").write_text(f"# comment\n\n{text}\n\n")
    assert list(variables(tmp_path / "env")) == [("A", value)]


@pytest.mark.parametrize("line", ["A", "1=2", "A='b", 'A="b" c', "=b", "A-B=c", "A=b\0"])
def test_lines_that_are_none(tmp_path, line):
    path = tmp_path / "env"
    path.write_text(f"FIRST=1\n\n# comment\n\n{line}\n")
    with pytest.raises(ConfigurationError, match=rf"^{re.escape(str(path))}:5: "):
        list(variables(path))


def test_what_is_set_wins_over_a_file(tmp_path):
    (tmp_path / "env").write_text("A=file\nB=file\nB=again\n")
    environment = {"A": "set"}
    load_environment(tmp_path / "env", environment)
    assert environment == {"A": "set", "B": "file"}
    (tmp_path / "env").write_bytes(b"A=\xff")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load_environment(tmp_path / "env", environment)


def test_variables(monkeypatch):
    made = Configuration.from_environment(
        {"port": 1},
        {
            "PORT": "2",
            "WEB_CONCURRENCY": "3",
            "FORWARDED_ALLOW_IPS": "*",
            "IORING_RELOAD_DIR": "a, b",
            "IORING_ACCESS_LOG": "off",
            "IORING_TIMEOUT_BODY": "1.5",
        },
    )
    assert (made.port, made.workers, made.forwarded_allow_ips) == (1, 3, "*")
    assert (made.reload_dir, made.access_log, made.timeout_body) == (("a", "b"), False, 1.5)
    assert Configuration.from_environment({"reload": True}, {"WEB_CONCURRENCY": "3"}).workers == 1
    with pytest.raises(ConfigurationError, match="WEB_CONCURRENCY=many"):
        Configuration.from_environment({}, {"WEB_CONCURRENCY": "many"})


def test_nobody_is_trusted_when_the_variable_says_so():
    assert Configuration.from_environment({}, {"FORWARDED_ALLOW_IPS": "", "PORT": ""}).forwarded_allow_ips == ""


def test_variables_of_platforms(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for trusted, seen in (("", "('http', '127.0.0.1')"), ("127.0.0.1", "('https', '1.2.3.4')")):
        environment = {"PORT": str(port), "FORWARDED_ALLOW_IPS": trusted}
        with Serving(tmp_path, "main:app", port=False, environment=environment) as server:
            assert server.port == port
            assert server.get("/seen", X_Forwarded_For="1.2.3.4", X_Forwarded_Proto="https") == seen


def test_headers_that_are_not_wanted(tmp_path):
    with Serving(tmp_path, "main:app", "--no-server-header", "--no-date-header") as server, server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head = client.makefile("rb").read().partition(b"\r\n\r\n")[0]
    assert [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]] == [b"content-length", b"connection"]


def test_types_from_python():
    made = Configuration(
        port="21021",
        workers=2.0,
        timeout_body="1.5",
        forwarded_allow_ips=["10.0.0.1", "unix"],
        uds=Path("s"),
        env_file=None,
        mount={"/static": Path("public")},
        reload_dir=Path("a"),
    )
    assert (made.port, made.workers, made.timeout_body) == (21021, 2, 1.5)
    assert (made.forwarded_allow_ips, made.uds, made.env_file) == ("10.0.0.1,unix", "s", "")
    assert (made.mount, made.reload_dir) == (("/static=public",), ("a",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "many"),
        ("port", 1.5),
        ("port", None),
        ("workers", True),
        ("timeout_keep_alive", None),
        ("timeout_body", float("nan")),
        ("limit_body", float("inf")),
        ("access_log", "no"),
        ("host", 1),
        ("forwarded_allow_ips", 1),
        ("mount", {"/a": 1}),
        ("reload_dir", 1),
        ("log_format", None),
    ],
)
def test_types_that_cannot_be(name, value):
    with pytest.raises(ConfigurationError, match=rf"^{name}: .*is wanted$"):
        Configuration(**{name: value})


def test_reload_of_what_has_no_name():
    with pytest.raises(ConfigurationError, match=r'^reload: .*"module:name"'):
        Configuration(target=print, reload=True)


def test_every_option_is_known_to_type_checkers():
    assert list(Options.__annotations__) == [
        field.name for field in dataclasses.fields(Configuration) if field.metadata
    ]


def test_help_says_each_option():
    result = CliRunner().invoke(serve, ["--help"], terminal_width=10_000)
    for field in dataclasses.fields(Configuration):
        if field.metadata:
            assert field.metadata["help"] in result.output, field.name


def test_profile_for_containers():
    """Allowed are the ring's calls, and no name stands there twice; nothing that changes the machine."""
    profile = json.loads((ROOT / "deploy/seccomp.json").read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    names = [name for rule in profile["syscalls"] for name in rule["names"]]
    assert all(rule["action"] == "SCMP_ACT_ALLOW" for rule in profile["syscalls"])
    assert {"io_uring_setup", "io_uring_enter", "io_uring_register", "mmap", "futex", "execve"} <= set(names)
    assert len(names) == len(set(names))
    assert not {"mount", "ptrace", "bpf", "reboot", "kexec_load", "init_module", "setns", "unshare"} & set(names)
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if header.exists():
        known = set(re.findall(r"__NR_(\w+)", header.read_text()))
        newer = {"fchmodat2", "futex_requeue", "futex_wait", "futex_wake"}
        assert set(names) - newer <= known


# From Python.


def test_serve_from_python(tmp_path):
    program = """
import sys, threading, urllib.request, os, signal
import ioring
assert not {"httptools", "click", "ioring.http"} & set(sys.modules)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"from python"})

before = signal.getsignal(signal.SIGTERM)
try:
    ioring.serve(app, prot=1)
except ioring.http.ConfigurationError as error:
    print(error)
print("begins", flush=True)
ioring.serve(app, port=0, workers=int(sys.argv[1]), access_log=False)
assert signal.getsignal(signal.SIGTERM) is before
print("behind it", flush=True)

async def inside():
    ioring.serve(app)
try:
    ioring.run(inside())
except RuntimeError as error:
    print(error)
"""
    for workers in ("1", "2"):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, workers],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout.readline() == "prot: there is no such option\n"
            assert process.stdout.readline() == "begins\n"
            line = process.stdout.readline()
            port = int(re.search(r"serves app on http://127.0.0.1:(\d+)", line)[1])
            with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert client.makefile("rb").read().endswith(b"from python")
        finally:
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=WAIT_S)
        assert output.startswith("behind it\n")
        assert "running event loop" in output
        assert (process.returncode, errors) == (0, "")
