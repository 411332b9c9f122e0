"""Applications on `ioring serve` as curl sees them: a client that many use, and that nobody here has written."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import time

import pytest

from curls import (
    BLOCK,
    LARGE_COUNT,
    LARGE_HASH,
    MIB,
    Running,
    command,
    curl,
    make_large,
    make_site,
    several,
    start,
    version,
)
from needed import needs_program
from serving import WAIT_S, without_preloaded
from tls_peer import Certificates

pytestmark = needs_program("curl")


@pytest.fixture(params=["ring", "asyncio"])
def loop(request):
    """The name of a loop; that of asyncio is used when there is no ring."""
    return request.param


@pytest.fixture(
    scope="module", params=[(kind, loop) for kind in ("asgi", "wsgi") for loop in ("ring", "asyncio")], ids="-".join
)
def application(request, tmp_path_factory):
    """An application of each kind, on each loop."""
    kind, loop = request.param
    folder = tmp_path_factory.mktemp(kind)
    make_site(folder / "public")
    options = ("--mount", "/static=public", "--listing", "--metrics", "/metrics", "--no-access-log")
    with start(folder, "main:app", *options, loop=loop, source=kind) as server:
        yield server


only_asgi = pytest.mark.parametrize(
    "application", [("asgi", "ring"), ("asgi", "asyncio")], ids=["ring", "asyncio"], indirect=True
)


# Requests.


def test_methods(application):
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"):
        answer = curl(application, "/a%20b", "-X", method)
        assert (answer.status, answer.body) == (200, f"{method} /a b 1.1 http".encode())
        assert answer.headers["content-type"] == "text/plain"
        assert answer.headers["server"] == "ioring"
        assert "date" in answer.headers


def test_head(application):
    answer = curl(application, "/", "-I")
    assert (answer.status, answer.said["size_download"]) == (200, 0)
    assert answer.headers["content-type"] == "text/plain"


def test_http_1_0(application):
    answer = curl(application, "/", "-0")
    assert answer.body == b"GET / 1.0 http"
    assert answer.headers.get("connection") == "close"
    # Nothing tells the length of what comes in pieces but its end.
    answer = curl(application, "/echo", "-0", "-d", "hello")
    assert (answer.status, answer.body) == (200, b"hello")
    assert "transfer-encoding" not in answer.headers


def test_no_http_2(application):
    """Whoever would like HTTP/2 is answered in HTTP/1.1; whoever insists is refused."""
    if "HTTP2" not in version():
        pytest.skip("curl is without HTTP/2")
    answer = curl(application, "/", "--http2")
    assert (answer.said["http_version"], answer.body) == ("1.1", b"GET / 1.1 http")
    with Running(application, "/", "--http2-prior-knowledge") as client:
        client.process.communicate(timeout=WAIT_S)
        assert client.process.returncode != 0
    assert curl(application, "/").status == 200


def test_keep_alive(application):
    url = application.url
    numbers, bodies = several(application, f"{url}/[1-50]")
    assert numbers == [1] + [0] * 49
    assert bodies == [f"GET /{number} 1.1 http" for number in range(1, 51)]
    # Each kind of request leaves the connection usable.
    chunked = ("-H", "Transfer-Encoding: chunked")
    steps = [
        (f"{url}/",),
        ("-d", "hello", f"{url}/echo"),
        (*chunked, "-d", "pieces", f"{url}/echo"),
        ("-I", f"{url}/"),
        ("-d", "unread", f"{url}/ignored"),
        (f"{url}/static/sub/a%20b.txt",),
        (f"{url}/static/nothing",),
        (f"{url}/",),
    ]
    arguments = []
    for step in steps:
        arguments += ["--next", "-sS", "-w", "\n%{num_connects} ", *step]
    numbers, bodies = several(application, *arguments[1:])
    assert numbers == [1] + [0] * (len(steps) - 1)
    assert bodies[1:3] == ["hello", "pieces"]
    assert bodies[4:7] == ["POST /ignored 1.1 http", "inner", "Not Found\n"]
    numbers, _ = several(application, "-H", "Connection: close", f"{url}/[1-3]")
    assert numbers == [1, 1, 1]
    numbers, _ = several(application, "-0", "-H", "Connection: keep-alive", f"{url}/[1-3]")
    assert numbers == [1, 0, 0]


def test_in_parallel(application):
    done = subprocess.run(
        command("-Z", "--parallel-max", "50", f"{application.url}/static/sub/a%20b.txt?[1-200]"),
        cwd=application.folder,
        env=without_preloaded(),
        capture_output=True,
        timeout=2 * WAIT_S,
        check=True,
    )
    assert done.stdout == b"inner" * 200


@pytest.mark.parametrize("size", [1, 65536, 3_000_001])
@pytest.mark.parametrize("way", ["length", "chunked", "expect", "expect-chunked"])
def test_upload(application, size, way):
    data = (BLOCK * (size // MIB + 1))[:size]
    lines = []
    if "chunked" in way:
        lines += ["-H", "Transfer-Encoding: chunked"]
    lines += ["-H", "Expect: 100-continue" if "expect" in way else "Expect:"]
    if size < 2 * MIB:
        answer = curl(application, "/echo", "-X", "POST", *lines, "-T", "-", stdin=data)
        assert (answer.status, answer.body) == (200, data)
    (application.folder / "data").write_bytes(data)
    answer = curl(application, "/hash", *lines, "-T", "data")
    method, digest, count, headers = json.loads(answer.body)
    assert (method, digest, count) == ("PUT", hashlib.sha256(data).hexdigest(), size)
    assert headers.get("transfer-encoding") == ("chunked" if "chunked" in way else None)
    assert headers.get("content-length") == (None if "chunked" in way else f"{size}")
    assert ("expect" in headers) == ("expect" in way)
    assert [status for status, _ in answer.heads] == ([100, 200] if "expect" in way else [200])


def test_upload_of_nothing(application):
    chunked, expect = ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue")
    # Nothing goes by a pipe: of an empty file that is to go in chunks curl 7.88 does not even send the last.
    for lines in ((), chunked, expect, (*chunked, *expect)):
        answer = curl(application, "/hash", *lines, "-T", "-", stdin=b"")
        assert json.loads(answer.body)[1:3] == [hashlib.sha256().hexdigest(), 0]


def test_large_upload(application):
    with open(application.folder / "data", "wb") as file:
        for _ in range(50):
            file.write(BLOCK)
    for lines in ((), ("-H", "Transfer-Encoding: chunked")):
        answer = curl(application, "/hash", *lines, "-T", "data")
        assert json.loads(answer.body)[1:3] == [hashlib.sha256(BLOCK * 50).hexdigest(), 50 * MIB]


def test_form(application):
    (application.folder / "data").write_bytes(BLOCK)
    answer = curl(application, "/echo", "-F", "name=value", "-F", "file=@data")
    assert answer.body.startswith(b"--")
    assert b'name="name"\r\n\r\nvalue\r\n' in answer.body
    assert BLOCK in answer.body


@pytest.mark.parametrize("path", ["/large", "/static/large.bin"])
def test_large_download(application, path):
    with Running(application, path) as client:
        assert client.hashed() == (LARGE_HASH, LARGE_COUNT * MIB)


def memory_of(process):
    """The most memory that it had, in bytes."""
    with open(f"/proc/{process.pid}/status") as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) << 10


@pytest.mark.parametrize("path", ["/large", "/static/large.bin"])
def test_slow_reader(application, path):
    """What a client takes slowly is not heaped up, and keeps nobody waiting."""
    before = memory_of(application.process)
    with Running(application, path, "--limit-rate", "2M") as client:
        begin = client.read(MIB)
        for _ in range(20):
            assert curl(application, "/").status == 200
        assert client.process.poll() is None
        begin += client.read(3 * MIB)
        assert begin == BLOCK * 4
        assert memory_of(application.process) - before < 30 * MIB
    # The same, to its end.
    with Running(application, "/static/middle.bin", "--limit-rate", "2M") as client:
        assert client.hashed() == (hashlib.sha256(BLOCK).hexdigest(), MIB)


@only_asgi
def test_early_hints(application):
    answer = curl(application, "/hints")
    assert answer.heads[0] == (103, {"link": "</style.css>; rel=preload; as=style"})
    assert (len(answer.heads), answer.status, answer.body) == (2, 200, b"ready")
    assert [status for status, _ in curl(application, "/hints", "-0").heads] == [200]


@only_asgi
def test_events(application):
    """Each is there before the next is made."""
    names = [application.folder / f"event{number}" for number in range(3)]
    with Running(application, "/events", "-i") as client:
        head = b""
        for number, name in enumerate(names):
            name.touch()
            while not head.endswith(b"data: %d\n\n" % number):
                head += client.read(1)
        assert client.rest() == b""
    for name in names:
        name.unlink()
    assert b"content-type: text/event-stream\r\n" in head


@only_asgi
def test_upgrade(application):
    """curl shows the frames of a WebSocket as they are."""
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    options = [option for line in (*lines, key) for option in ("-H", line)]
    with Running(application, "/", "-i", *options) as client:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.read(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n" in head.lower()
        assert client.read(11) == b"\x81\x05hello\x88\x02\x03\xe8"
    answer = curl(application, "/", *options, "-H", "Sec-WebSocket-Version: 12")
    assert answer.status in (400, 426)


def test_metrics(application):
    counted = re.compile(rb"^ioring_http_requests_total\{[^}]*\} (\S+)$", re.MULTILINE)
    before = float(counted.search(curl(application, "/metrics").body)[1])
    several(application, f"{application.url}/[1-10]")
    answer = curl(application, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert float(counted.search(answer.body)[1]) == before + 11


# Ways to listen.


def test_tls_and_new_certificates(tmp_path, loop):
    certificates = Certificates(tmp_path)
    files = ("--ssl-certfile", "certificate.pem", "--ssl-keyfile", "key.pem")
    make_large(tmp_path / "public")
    with start(tmp_path, "main:app", "--mount", "/static=public", *files, loop=loop) as server:
        url = f"https://localhost:{server.port}"

        def ask(path, name):
            return curl(server, url + path, "--cacert", name, "--resolve", f"localhost:{server.port}:127.0.0.1")

        shutil.copy(certificates.certificate, tmp_path / "first.pem")
        assert ask("/", "first.pem").body == b"GET / 1.1 https"
        assert hashlib.sha256(ask("/static/large.bin", "first.pem").body).hexdigest() == LARGE_HASH
        trust = ("--cacert", "first.pem")
        numbers, _ = several(server, *trust, "--connect-to", f"::127.0.0.1:{server.port}", f"{url}/[1-9]")
        assert numbers == [1] + [0] * 8
        (tmp_path / "data").write_bytes(BLOCK * 10)
        answer = curl(server, f"{url}/hash", *trust, "-T", "data")
        assert json.loads(answer.body)[1] == hashlib.sha256(BLOCK * 10).hexdigest()
        curl(server, url, code=60)  # nobody vouches for it
        Certificates(tmp_path)
        server.signal(signal.SIGHUP)
        server.wait_for("certificates were read again")
        curl(server, url, "--cacert", "first.pem", code=60)
        assert ask("/", "certificate.pem").status == 200
        # What is no TLS gets no answer, and bothers nobody.
        with Running(server, "/") as client:
            client.process.communicate(timeout=WAIT_S)
        plain = subprocess.run(
            command(f"http://127.0.0.1:{server.port}/"), env=without_preloaded(), capture_output=True, check=False
        )
        assert plain.returncode in (1, 52, 56)
        assert ask("/", "certificate.pem").status == 200


def test_unix_socket(tmp_path, loop):
    make_large(tmp_path / "public")
    options = ("--uds", "socket", "--mount", "/static=public")
    with start(tmp_path, "main:app", *options, loop=loop, port=False) as server:
        server.url = "http://host"
        assert curl(server, "/", "--unix-socket", "socket").body == b"GET / 1.1 http"
        with Running(server, "/static/large.bin", "--unix-socket", "socket") as client:
            assert client.hashed() == (LARGE_HASH, LARGE_COUNT * MIB)
        (tmp_path / "data").write_bytes(BLOCK)
        answer = curl(server, "/hash", "--unix-socket", "socket", "-T", "data")
        assert json.loads(answer.body)[1] == hashlib.sha256(BLOCK).hexdigest()


# Limits and times.


def test_limits(tmp_path, loop):
    options = ("--limit-head", "4096", "--limit-body", "1000", "--limit-concurrency", "1")
    with start(tmp_path, "main:app", *options, loop=loop) as server:
        assert curl(server, "/", "-H", f"X: {'x' * 3500}").status == 200
        assert curl(server, "/", "-H", f"X: {'x' * 5000}").status == 431
        assert curl(server, "/" + "x" * 5000).status in (414, 431)
        assert curl(server, "/echo", "-d", "x" * 1000).body == b"x" * 1000
        assert curl(server, "/echo", "-d", "x" * 1001).status == 413
        (tmp_path / "data").write_bytes(BLOCK)
        answer = curl(server, "/echo", "-H", "Expect: 100-continue", "-T", "data")
        assert [status for status, _ in answer.heads] == [413]
        assert answer.said["size_upload"] == 0  # it was told in time
        answer = curl(server, "/hash", "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-T", "data", code=None)
        assert answer.status == 413
        with Running(server, "/wait") as client:
            assert client.read(6) == b"begun "
            answer = curl(server, "/")
            assert answer.status == 503
            (tmp_path / "go").touch()
            assert client.rest() == b"done"
        assert curl(server, "/").status == 200


def test_times(tmp_path, loop):
    options = ("--timeout-body", "1", "--timeout-head", "1", "--timeout-write", "1", "--timeout-keep-alive", "1")
    with start(tmp_path, "main:app", *options, "--metrics", "/metrics", loop=loop) as server:
        # A body that does not go on.
        with open(tmp_path / "data", "wb") as file:
            file.truncate(100 * MIB)
        with Running(server, "/hash", "-w", "%{http_code}", "--limit-rate", "4M", "-T", "data") as client:
            server.wait_for("^/hash begins$")
            client.process.send_signal(signal.SIGSTOP)
            server.wait_for("the body of a request took too long")
            client.process.send_signal(signal.SIGCONT)
            assert b"408" in client.process.stdout.read()
        # A connection that nobody uses for two seconds is another one then.
        numbers, bodies = several(server, "--rate", "30/m", f"{server.url}/[1-2]")
        assert (numbers, bodies) == ([1, 1], ["GET /1 1.1 http", "GET /2 1.1 http"])
        # A client that takes nothing.
        with Running(server, "/large") as client:
            client.read(1)
            client.process.send_signal(signal.SIGSTOP)
            server.wait_for("takes nothing")
            client.process.send_signal(signal.SIGCONT)
            client.process.stdout.read()
            client.process.wait(WAIT_S)
            assert client.process.returncode in (18, 56)


@pytest.mark.parametrize("path", ["/large", "/static/large.bin", "/wait"])
def test_stop_while_a_download_runs(tmp_path, loop, path):
    make_large(tmp_path / "public")
    with start(tmp_path, "main:app", "--mount", "/static=public", loop=loop) as server:
        with Running(server, path) as client:
            begin = client.read(6)
            server.signal(signal.SIGTERM)
            deadline = time.monotonic() + WAIT_S
            while True:
                late = subprocess.run(
                    command(server.url), env=without_preloaded(), capture_output=True, timeout=WAIT_S, check=False
                )
                if late.returncode == 7:
                    break
                assert time.monotonic() < deadline
            assert server.process.poll() is None
            if path == "/wait":
                (tmp_path / "go").touch()
                assert begin + client.rest() == b"begun done"
            else:
                digest = hashlib.sha256(begin)
                while part := client.process.stdout.read(MIB):
                    digest.update(part)
                client.rest()
                assert digest.hexdigest() == LARGE_HASH
        assert server.ended() == 0
    assert server.errors == [] or loop == "asyncio"
