"""Where the lines of `ioring serve` can go, and how those of requests can look."""

import json
import os
import pwd
import re
import signal
import time

import pytest

from ioring.http import Configuration, ConfigurationError
from serving import APPLICATION, WAIT_S, Serving, curl, refused


def until(path, pattern):
    """Waits until a file has a line that matches."""
    deadline = time.monotonic() + WAIT_S
    while not (found := re.search(pattern, path.read_text() if path.exists() else "", re.MULTILINE)):
        assert time.monotonic() < deadline, (pattern, path.read_text() if path.exists() else None)
    return found


class Logging(Serving):
    """A server that prints nothing: its address is found elsewhere."""

    def __init__(self, folder, *arguments, lines, **options):
        self.lines = folder / lines
        super().__init__(folder, *arguments, **options)

    def __enter__(self):
        try:
            self.port = int(until(self.lines, r"serves .* on http://127\.0\.0\.1:(\d+)")[1])
        except BaseException:
            self.__exit__()
            raise
        return self


# A format.


def test_format(tmp_path):
    form = (
        '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(m)s %(U)s %(q)s %(H)s %(s)s %(b)s %(B)s "%(f)s" "%(a)s" %(p)s %({X-Id}i)s '
    )
    form += "%({NAMED}e)s %({X-None}i)s 100%% %(T)s %(D)s %(M)s %(L)s"
    with Serving(tmp_path, "main:app", "--access-log-format", form, environment={"NAMED": "v"}) as server:
        url = f"{server.url}/a%20b?c=d&e"
        curl(tmp_path, "-A", 'Agent "1" \\', "-e", "http://other/", "-H", "X-Id: 7 8", url)
        line = server.wait_for("/a%20b")[0]
        line = next(line for line in server.output if "/a%20b" in line)
        size = len(str(server.process.pid))
        expected = (
            r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "
            rf'"GET /a%20b\?c=d&e HTTP/1\.1" GET /a%20b c=d&e HTTP/1\.1 200 {size} {size} "http://other/" '
            rf'"Agent \\x221\\x22 \\x5c" <{server.process.pid}> 7 8 v - 100% \d+ \d+ \d+ \d\.\d{{6}}\n'
        )
        assert re.fullmatch(expected, line), line


@pytest.mark.parametrize("name", ["common", "combined"])
def test_formats_with_a_name(tmp_path, name):
    with Serving(tmp_path, "main:app", "--access-log-format", name, "--workers", "2") as server:
        curl(tmp_path, "-A", "Agent", f"{server.url}/x")
        behind = ' "-" "Agent"' if name == "combined" else ""
        server.wait_for(rf'^127\.0\.0\.1 - - \[.*\] "GET /x HTTP/1\.1" 200 \d+{behind}$')


def test_clients_cannot_break_a_line(tmp_path):
    """Nor say that they are somebody else."""
    with Serving(tmp_path, "main:app", "--access-log-format", "combined") as server, server.connect() as client:
        client.sendall(b'GET /" HTTP/1.1\r\nHost: a\r\nUser-Agent: a" 200 "\xff\tb\r\nConnection: close\r\n\r\n')
        client.makefile("rb").read()
        line = server.wait_for("GET /").string
        assert line.rstrip("\n").endswith(r'"a\x22 200 \x22\xff\x09b"')
        assert line.count('"') == 6
        assert line.isascii()


def test_time_of_a_request(tmp_path):
    with Serving(tmp_path, "main:app", "--access-log-format", "took %(D)s %(L)s") as server, server.connect() as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        began = time.monotonic()
        client.recv(1000)
        while time.monotonic() - began < 0.2:
            client.getpeername()
        (tmp_path / "go").touch()
        found = server.wait_for(r"^took (\d+) (\d+\.\d+)$")
        assert int(found[1]) >= 190_000
        assert float(found[2]) >= 0.19


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"access_log_format": "%(x)s"},
            r"there is no field %\(x\)s; there are h l u t r m U q H s b B f a p T D M L, ",
        ),
        ({"access_log_format": "%(status)d"}, r"'%\(status\)d' is no field: %\(h\)s is one; a percent sign is %%"),
        ({"access_log_format": "100%"}, "'%' is no field"),
        ({"access_log_format": "%({x}o)s"}, "is no field"),
        ({"access_log_format": "a\nb"}, "a line cannot have control characters in it"),
        ({"access_log_format": "common", "log_format": "json"}, "with log_format json a line has its own fields"),
        ({"log_config": "a", "log_file": "b"}, "it says where lines go and how they look; leave out log_file"),
        ({"log_config": "a", "log_format": "json"}, "leave out log_format"),
        ({"log_level": "trace"}, "'trace' is none of debug, info, warning, error"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(ConfigurationError, match=words):
        Configuration(**options)


# Levels.


def test_debug(tmp_path):
    options = ("--log-level", "debug", "--workers", "2", "--ssl-keyfile-password", "")
    with Serving(tmp_path, "main:app", *options) as server:
        server.wait_for(r"^ioring: debug: workers = 2  # command line$")
        server.wait_for(r"^ioring: debug: worker 2 \(process \d+\) serves$")
        server.wait_for(r"^ioring: debug: the application has started$", 2)
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    assert sum("debug: the application has shut down" in line for line in server.output) == 2
    with Serving(tmp_path, "main:app", "--workers", "2") as server:
        server.get()
    assert not any("debug" in line for line in server.output)


# A file.


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("form", ["plain", "json"])
def test_file(tmp_path, workers, form):
    options = ("--log-file", "log", "--log-format", form, "--workers", workers)
    with Logging(tmp_path, "main:app", *options, lines="log") as server:
        for number in range(5):
            server.get(f"/first{number}")
        path = tmp_path / "log"
        until(path, "GET /first4|/first4.*200")
        path.rename(tmp_path / "old")
        server.signal(signal.SIGUSR1)
        deadline = time.monotonic() + WAIT_S
        count = 0
        while not path.exists() or "/second" not in path.read_text():  # each process opens it when it is told
            server.get(f"/second{(count := count + 1)}")
            assert time.monotonic() < deadline
        if workers == "2":
            old = (tmp_path / "old").read_text().count("\n")
            while True:
                for _ in range(10):
                    server.pids(2)
                if (now := (tmp_path / "old").read_text().count("\n")) == old:
                    break
                old = now
                assert time.monotonic() < deadline
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    assert server.output == server.errors == []
    lines = (tmp_path / "old").read_text().splitlines() + path.read_text().splitlines()
    assert sum("/second" in line for line in lines) == count
    assert sum("/first" in line for line in lines) == 5
    if form == "json":
        assert all(json.loads(line) for line in lines)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_signal_means_nothing_without_a_file(tmp_path, workers):
    with Serving(tmp_path, "main:app", "--workers", workers) as server:
        pids = server.pids(int(workers))
        for pid in {server.process.pid, *pids}:
            os.kill(pid, signal.SIGUSR1)
        assert server.pids(int(workers)) == pids
    assert server.errors == []


def test_lines_are_added_to_a_file(tmp_path):
    (tmp_path / "log").write_text("before\n")
    with Logging(tmp_path, "main:app", "--log-file", "log", lines="log") as server:
        server.get()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "before"
    assert any('"GET / HTTP/1.1" 200' in line for line in lines)


def test_new_workers_know_of_a_moved_file(tmp_path):
    options = ("--log-file", "log", "--workers", "2")
    with Logging(tmp_path, "main:app", *options, lines="log") as server:
        (tmp_path / "log").rename(tmp_path / "old")
        server.signal(signal.SIGUSR1)
        until(tmp_path / "log", "")
        server.signal(signal.SIGHUP)
        until(tmp_path / "log", "all workers are replaced")
        server.get("/behind")
        until(tmp_path / "log", "GET /behind")


def test_a_file_that_cannot_be_opened_again(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    with Logging(tmp_path, "main:app", "--log-file", "logs/log", lines="logs/log") as server:
        moved = tmp_path / "moved"
        folder.rename(moved)
        server.signal(signal.SIGUSR1)
        until(moved / "log", "error: .*/logs/log cannot be opened again, and lines go where they went: No such file")
        server.get("/on")
        until(moved / "log", "GET /on")


def test_files_that_cannot_be(tmp_path):
    assert "log_file: /nowhere/log: No such file or directory" in refused("--log-file", "/nowhere/log", "--port", "0")
    assert "log_file: /nowhere/log cannot be written" in refused("--log-file", "/nowhere/log", "--check")
    assert "Is a directory" in refused("--log-file", str(tmp_path), "--port", "0")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_file_and_user(open_folder):
    options = ("--log-file", "log", "--user", "daemon")
    with Logging(open_folder, "main:app", *options, lines="log") as server:
        user = pwd.getpwnam("daemon")
        status = (open_folder / "log").stat()
        assert (status.st_uid, status.st_gid) == (user.pw_uid, user.pw_gid)
        # As logrotate makes it.
        (open_folder / "log").rename(open_folder / "old")
        (open_folder / "log").touch()
        os.chown(open_folder / "log", user.pw_uid, user.pw_gid)
        server.signal(signal.SIGUSR1)
        deadline = time.monotonic() + WAIT_S
        while "GET" not in (open_folder / "log").read_text():
            server.get()
            assert time.monotonic() < deadline


# Python's logging.

TOML = """
[formatters.line]
format = "%(levelname)s %(name)s %(message)s"
[formatters.request]
format = "%(client)s %(method)s %(path)s %(status)s %(bytes)s %(http_version)s %(duration_ms)s <- %(message)s"
[handlers.errors]
class = "logging.FileHandler"
filename = "errors"
formatter = "line"
[handlers.requests]
class = "logging.FileHandler"
filename = "requests"
formatter = "request"
[loggers."ioring.error"]
level = "DEBUG"
handlers = ["errors"]
[loggers."ioring.access"]
level = "INFO"
handlers = ["requests"]
"""

BROKEN = APPLICATION.replace(
    "    said = str(os.getpid())", '    said = str(os.getpid())\n    if scope["path"] == "/broken": 1 / 0'
)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_logging(tmp_path, workers):
    (tmp_path / "log.toml").write_text(TOML)
    options = ("--log-config", "log.toml", "--workers", workers)
    with Logging(tmp_path, "main:app", *options, lines="errors", application=BROKEN) as server:
        with server.connect() as client:
            client.sendall(b"GET /broken HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").read().startswith(b"HTTP/1.1 500")
            port = client.getsockname()[1]
        until(tmp_path / "errors", rf"^ERROR ioring.error 127\.0\.0\.1:{port} GET /broken: the application raised")
        until(tmp_path / "errors", "^ZeroDivisionError: ")
        until(tmp_path / "errors", "^DEBUG ioring.error the application has started")
        who = rf"127\.0\.0\.1:{port}"
        line = rf'{who} GET /broken 500 21 1\.1 \d+\.\d+ <- {who} - "GET /broken HTTP/1\.1" 500'
        until(tmp_path / "requests", f"^{line}$")
        for name in ("requests", "errors"):
            (tmp_path / name).rename(tmp_path / f"old-{name}")
        server.signal(signal.SIGUSR1)
        deadline = time.monotonic() + WAIT_S
        while "GET /again" not in ((tmp_path / "requests").read_text() if (tmp_path / "requests").exists() else ""):
            server.get("/again")
            assert time.monotonic() < deadline
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    assert server.output == server.errors == []
    assert "the application has shut down" in (tmp_path / "errors").read_text() + (tmp_path / "old-errors").read_text()


def test_logging_with_json_and_a_format(tmp_path):
    configuration = {
        "version": 1,
        "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
        "root": {"level": "INFO", "handlers": ["out"]},
    }
    (tmp_path / "log.json").write_text(json.dumps(configuration))
    options = ("--log-config", "log.json", "--access-log-format", "said %(m)s %(U)s")
    with Serving(tmp_path, "main:app", *options) as server:
        server.get("/x?y")
        server.wait_for("^said GET /x$")


def test_logging_without_requests(tmp_path):
    (tmp_path / "log.toml").write_text(TOML.replace('level = "INFO"', 'level = "WARNING"'))
    with Logging(tmp_path, "main:app", "--log-config", "log.toml", lines="errors") as server:
        server.get()
    assert (tmp_path / "requests").read_text() == ""


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("log.toml", "a =", "log.toml is no TOML: "),
        ("log.json", "{", "log.json is no JSON: "),
        ("log.json", "[]", "log.json has no table, or object, for logging.config.dictConfig"),
        ("log.toml", "version = 3", "log.toml: Unsupported version: 3"),
        ("log.toml", '[handlers.a]\nclass = "nothing.At.All"', "log.toml: Unable to configure handler 'a': "),
        (
            "log.toml",
            '[handlers.a]\nclass = "logging.FileHandler"\nfilename = "/nowhere/a"',
            "No such file or directory",
        ),
        ("other.toml", None, "log_config: log.toml: No such file or directory"),
    ],
)
@pytest.mark.parametrize("check", [(), ("--check",)])
def test_logging_that_cannot_be(tmp_path, name, text, words, check):
    (tmp_path / name).write_text(text or "")
    given = "log.toml" if text is None else name
    assert words in refused("--log-config", given, "--port", "0", *check, cwd=tmp_path)
