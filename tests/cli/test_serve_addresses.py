"""Where `ioring serve` listens: --bind, Unix sockets with their permissions, and both versions of IP."""

import os
import pwd
import re
import signal
import socket
import stat
import time

import pytest

from ioring.http import Configuration, ConfigurationError
from ioring.http.addresses import Descriptor, Tcp, Unix, parse
from serving import WAIT_S, Serving, curl, refused

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def ask(name, family=socket.AF_UNIX, path="/seen"):
    """The body of a response, from an address that is not one of TCP's for sure."""
    with socket.socket(family) as client:
        client.settimeout(WAIT_S)
        client.connect(name)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return client.makefile("rb").read().rpartition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", Tcp("127.0.0.1", 8000)),
        ("[::1]:0", Tcp("::1", 0)),
        (":80", Tcp("", 80)),
        ("localhost:65535", Tcp("localhost", 65535)),
        ("unix:/run/s", Unix("/run/s")),
        ("unix:s", Unix("s")),
        ("unix:///run/s", Unix("/run/s")),
        ("unix:@name", Unix("\0name")),
        ("fd://3", Descriptor(3)),
    ],
)
def test_addresses(text, address):
    assert parse(text) == address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("8000", "is no address: HOST:PORT, "),
        ("localhost", "is no address"),
        ("localhost:http", "is no address"),
        ("localhost:65536", "65536 is no port: 0 to 65535"),
        ("localhost:-1", "is no address"),
        ("::1:8000", r"put one of IPv6 into brackets, as in \[::1\]:8000"),
        ("unix:", "has no path"),
        ("unix:@", "has no path"),
        ("fd://", "is no address"),
        ("fd://x", "is no address"),
        ("", "is no address"),
    ],
)
def test_what_is_no_address(text, words):
    with pytest.raises(ConfigurationError, match=rf"^bind: {re.escape(repr(text))}.*{words}"):
        Configuration(bind=[text])


@pytest.mark.parametrize(
    "options", [{"host": "::1"}, {"port": 80}, {"uds": "s"}, {"fd": 3}], ids=["host", "port", "uds", "fd"]
)
def test_two_ways_at_once(options):
    [name] = options
    with pytest.raises(ConfigurationError, match=f"bind: say either that or {name}; bind has all addresses"):
        Configuration(bind=["localhost:80"], **options)


def test_the_command_comes_before_variables():
    made = Configuration.from_environment
    assert made({"bind": ("a:1",)}, {"IORING_PORT": "80", "IORING_UDS": "s", "PORT": "81"}).port == 8000
    assert made({"port": 1}, {"IORING_BIND": "a:80"}).bind == ()
    assert made({}, {"IORING_BIND": "a:80,unix:s", "PORT": "81"}).bind == ("a:80", "unix:s")
    with pytest.raises(ConfigurationError, match="bind: a:1 is given twice"):
        made({"bind": ("a:1", "a:1")}, {})


@pytest.mark.parametrize("workers", ["1", "2"])
def test_several_addresses(tmp_path, workers):
    abstract = f"ioring-test-{os.getpid()}-{time.monotonic_ns()}"
    with socket.create_server(("127.0.0.1", 0)) as passed:
        fd = passed.fileno()
        addresses = ("127.0.0.1:0", "localhost:0", "unix:s", f"unix:@{abstract}", f"fd://{fd}")
        options = [word for address in addresses for word in ("--bind", address)]
        with Serving(tmp_path, "main:app", *options, "--workers", workers, port=False, pass_fds=[fd]) as server:
            server.wait_for(f"serves main:app on http\\+unix://@{abstract}")
            said = server.wait_for(rf"serves main:app on http://127\.0\.0\.1:{passed.getsockname()[1]}")
            assert said
            urls = [match[1] for line in server.output if (match := re.search(r"serves .* on (http://\S+)", line))]
            assert len(set(urls)) == len(urls) >= 3
            for url in urls:
                assert curl(tmp_path, f"{url}/seen").startswith("('http', '")
            assert ask(str(tmp_path / "s")) == ask(f"\0{abstract}") == "('http', None)"
            assert "Address already in use" in refused("--bind", f"unix:@{abstract}")
            server.signal(signal.SIGTERM)
            assert server.ended() == 0
    assert not (tmp_path / "s").exists()
    assert server.errors == []


def test_one_that_is_taken_leaves_nothing_behind(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        for workers in ("1", "2"):
            said = refused("--bind", "unix:s", "--bind", busy, "--workers", workers, cwd=tmp_path)
            assert "Address already in use" in said
            assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("way", ["uds", "bind"])
def test_permissions_of_a_socket(tmp_path, way):
    where = ("--uds", "s") if way == "uds" else ("--bind", "unix:s")
    with Serving(tmp_path, "main:app", *where, "--uds-mode", "620", "--umask", "077", port=False):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o620
    with pytest.raises(ConfigurationError, match="uds_mode: 'rw' is none: octal digits are wanted, such as 660"):
        Configuration(uds_mode="rw")


@as_root
@pytest.mark.parametrize("owner", ["daemon", "daemon:nogroup", ":nogroup"])
def test_owner_of_a_socket(tmp_path, owner):
    with Serving(tmp_path, "main:app", "--uds", "s", "--uds-owner", owner, port=False):
        status = (tmp_path / "s").stat()
    daemon = pwd.getpwnam("daemon")
    user = daemon.pw_uid if owner.startswith("daemon") else 0
    group = daemon.pw_gid if owner == "daemon" else pwd.getpwnam("nobody").pw_gid
    assert (status.st_uid, status.st_gid) == (user, group)


def test_owner_that_is_nobody(tmp_path):
    said = refused("--uds", "s", "--uds-owner", "no-such-user", cwd=tmp_path)
    assert "uds_owner: there is no user 'no-such-user'" in said
    assert "uds_owner: there is no group 'no-such'" in refused("--uds", "s", "--uds-owner", ":no-such", cwd=tmp_path)
    assert not (tmp_path / "s").exists()


def test_a_socket_whose_queue_is_full_is_somebodys(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waits:
        busy.bind(path)
        busy.listen(0)
        waits.connect(path)
        assert "Address already in use" in refused("--uds", path)
        assert os.path.exists(path)


def test_a_file_is_not_replaced(tmp_path):
    (tmp_path / "s").write_text("precious")
    assert "Address already in use" in refused("--uds", "s", cwd=tmp_path)
    assert (tmp_path / "s").read_text() == "precious"


@needs_ipv6
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("way", ["--host=::", "--host=", "--bind"])
def test_both_versions_of_ip(tmp_path, way, workers):
    port = free_port()
    where = ("--bind", f"[::]:{port}") if way == "--bind" else (way, "--port", str(port))
    with Serving(tmp_path, "main:app", *where, "--workers", workers, port=False) as server:
        server.wait_for(rf"serves main:app on http://0\.0\.0\.0:{port} \(every IPv4 address\)")
        server.wait_for(rf"serves main:app on http://\[::\]:{port} \(every IPv6 address\)")
        assert ask(("127.0.0.1", port), socket.AF_INET) == "('http', '127.0.0.1')"
        assert ask(("::1", port), socket.AF_INET6) == "('http', '::1')"


@needs_ipv6
def test_one_version_of_ip(tmp_path):
    port = free_port()
    with Serving(tmp_path, "main:app", "--host", "0.0.0.0", "--port", str(port), port=False) as server:
        assert len(server.output) == 1
        with pytest.raises(ConnectionRefusedError):
            ask(("::1", port), socket.AF_INET6)
