"""Files over HTTP: what is answered, from a folder, below a prefix, and by StaticFiles on this server and another."""

import asyncio
import gzip
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

import pytest

import ioring
from http_servers import Running, hello, lifeless, read_all, read_response
from ioring.http import Configuration, ConfigurationError
from ioring.http._connection import Connection
from ioring.http._service import Service
from ioring.http.app_loader import load
from ioring.http.conditional import Headers, coding_of, precondition, ranges_of, time_of
from ioring.http.folder import Folder
from ioring.http.server import Server
from ioring.http.static import Files
from tls_peer import Certificates

FACTORIES = {
    "ring": ioring.Loop,
    "direct": lambda: ioring.Loop(direct_descriptors=True),
    "asyncio": asyncio.SelectorEventLoop,
}
LARGE = os.urandom(1 << 16) * 48
AGO = 1_000_000_000


@pytest.fixture(params=list(FACTORIES))
def factory(request):
    return FACTORIES[request.param]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "public"
    (folder / "sub").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "index.html").write_text("<p>index</p>")
    (folder / "hello.txt").write_text("Hello, world\n")
    (folder / "sub" / "index.html").write_text("<p>sub</p>")
    (folder / "large.bin").write_bytes(LARGE)
    (folder / "style.css").write_text("body {}\n")
    (folder / "style.css.gz").write_bytes(gzip.compress(b"body {}\n"))
    (folder / "style.css.br").write_bytes(b"not really br")
    (folder / "none").write_bytes(b"")
    for path in folder.rglob("*"):
        os.utime(path, (AGO, AGO))
    return folder


def mounted(folder, factory, **options):
    return Running(lifeless(hello), factory, mount=[f"/static={folder}"], **options)


def wrapped(application):
    """Hides the server's own `send`, as middleware does."""

    async def outer(scope, receive, send):
        async def inner(message):
            await send(message)

        await application(scope, receive, inner)

    return outer


@pytest.fixture(params=["folder", "mount", "asgi", "wrapped"])
def served(request, folder):
    """A server of the folder in each of the ways, and the prefix of its paths."""

    def start(factory, **options):
        if request.param == "folder":
            return Running(folder, factory, **options), ""
        if request.param == "mount":
            return mounted(folder, factory, **options), "/static"
        application = ioring.StaticFiles(folder, **options)
        return Running(application if request.param == "asgi" else wrapped(application), factory), ""

    return start


def ask(client, path, *lines, method="GET"):
    head = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: a", *lines, ""))
    client.sendall(head.encode("latin-1"))
    if method == "HEAD":
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += client.recv(1 << 16)
        first, *rest = data[:-4].split(b"\r\n")
        return int(first.split()[1]), dict(line.split(b": ", 1) for line in rest), b""
    return read_response(client)


def test_file(served, factory):
    server, prefix = served(factory)
    with server, server.connect() as client:
        for _ in range(3):  # the later ones are ready-made
            status, headers, body = ask(client, f"{prefix}/hello.txt?version=2")
            assert (status, body) == (200, b"Hello, world\n")
            assert headers[b"content-type"] == b"text/plain; charset=utf-8"
            assert headers[b"content-length"] == b"13"
            assert headers[b"last-modified"] == b"Sun, 09 Sep 2001 01:46:40 GMT"
            assert re.fullmatch(rb'"[0-9a-f]{24}"', headers[b"etag"])
            assert headers[b"accept-ranges"] == b"bytes"
            assert headers[b"server"] == b"ioring"
            assert b"date" in headers
            assert b"cache-control" not in headers
            status, head, _ = ask(client, f"{prefix}/hello.txt?version=2", method="HEAD")
            assert status == 200
            assert {**head, b"date": b""} == {**headers, b"date": b""}
        assert ask(client, f"{prefix}/")[2] == b"<p>index</p>"
        assert ask(client, f"{prefix}/sub/")[2] == b"<p>sub</p>"
        assert ask(client, f"{prefix}/none")[::2] == (200, b"")
        assert ask(client, f"{prefix}/%68ello.txt")[2] == b"Hello, world\n"
        assert ask(client, f"{prefix}/nothing")[0] == 404
        assert ask(client, f"{prefix}/hello.txt/")[0] == 404
        assert ask(client, f"{prefix}/empty/")[0] == 404
        status, headers, _ = ask(client, f"{prefix}/sub?a=b")
        assert (status, headers[b"location"]) == (308, f"{prefix}/sub/?a=b".encode())
        status, headers, _ = ask(client, f"{prefix}/hello.txt", method="DELETE")
        assert (status, headers[b"allow"]) == (405, b"GET, HEAD")
    assert server.complaints == []


def test_large_file(served, factory):
    server, prefix = served(factory)
    with server, server.connect() as client:
        for _ in range(2):
            assert ask(client, f"{prefix}/large.bin")[::2] == (200, LARGE)
        status, headers, body = ask(client, f"{prefix}/large.bin", "Range: bytes=70000-1999999")
        assert (status, body) == (206, LARGE[70000:2000000])
        assert headers[b"content-range"] == b"bytes 70000-1999999/%d" % len(LARGE)
        status, headers, body = ask(client, f"{prefix}/large.bin", "Range: bytes=0-99999,-100000")
        check_parts(headers, body, LARGE, [(0, 100000), (len(LARGE) - 100000, 100000)])
        assert ask(client, f"{prefix}/large.bin", method="HEAD")[1][b"content-length"] == b"%d" % len(LARGE)
    assert server.complaints == []


def check_parts(headers, body, content, parts):
    boundary = headers[b"content-type"].partition(b"boundary=")[2]
    assert headers[b"content-type"].startswith(b"multipart/byteranges; ")
    for offset, size in parts:
        head, _, body = body.partition(b"\r\n\r\n")
        assert head.startswith(b"--" + boundary + b"\r\ncontent-type: ")
        assert head.endswith(b"content-range: bytes %d-%d/%d" % (offset, offset + size - 1, len(content)))
        assert body[:size] == content[offset : offset + size]
        assert body[size : size + 2] == b"\r\n"
        body = body[size + 2 :]
    assert body == b"--" + boundary + b"--\r\n"


def test_ranges(served, factory):
    server, prefix = served(factory)
    content = b"Hello, world\n"
    with server, server.connect() as client:
        etag = ask(client, f"{prefix}/hello.txt")[1][b"etag"].decode()
        for given, wanted in (
            ("0-0", b"H"),
            ("7-", b"world\n"),
            ("-6", b"world\n"),
            ("-99", content),
            ("5-99", b", world\n"),
        ):
            status, headers, body = ask(client, f"{prefix}/hello.txt", f"Range: bytes={given}")
            assert (status, body) == (206, wanted)
            assert headers[b"content-length"] == b"%d" % len(wanted)
        status, headers, body = ask(client, f"{prefix}/hello.txt", "Range: bytes=0-1, 3-4")
        assert status == 206
        check_parts(headers, body, content, [(0, 2), (3, 2)])
        for given in ("13-", "99-100", "-0"):
            status, headers, _ = ask(client, f"{prefix}/hello.txt", f"Range: bytes={given}")
            assert (status, headers[b"content-range"]) == (416, b"bytes */13")
        for given in ("bytes=5-4", "bytes=a-b", "bytes=", "lines=1-2", "bytes=-", "bytes=" + "0-9," * 20 + "0-9"):
            assert ask(client, f"{prefix}/hello.txt", f"Range: {given}")[::2] == (200, content)
        assert ask(client, f"{prefix}/hello.txt", "Range: bytes=0-0", f"If-Range: {etag}")[0] == 206
        assert ask(client, f"{prefix}/hello.txt", "Range: bytes=0-0", f"If-Range: W/{etag}")[0] == 200
        assert ask(client, f"{prefix}/hello.txt", "Range: bytes=0-0", 'If-Range: "other"')[0] == 200
        date = "Sun, 09 Sep 2001 01:46:40 GMT"
        assert ask(client, f"{prefix}/hello.txt", "Range: bytes=0-0", f"If-Range: {date}")[0] == 206
        assert (
            ask(client, f"{prefix}/hello.txt", "Range: bytes=0-0", "If-Range: Sun, 09 Sep 2001 01:46:41 GMT")[0] == 200
        )
        assert ask(client, f"{prefix}/hello.txt", "Range: bytes=0-0", method="HEAD")[0] == 200
    assert server.complaints == []


def test_conditions(served, factory):
    server, prefix = served(factory)
    then, before, after = (f"Sun, 09 Sep 2001 01:46:{second} GMT" for second in (40, 39, 41))
    with server, server.connect() as client:
        path = f"{prefix}/hello.txt"
        etag = ask(client, path)[1][b"etag"].decode()
        status, headers, body = ask(client, path, f"If-None-Match: {etag}")
        assert (status, body) == (304, b"")
        assert headers[b"etag"] == etag.encode()
        assert b"content-length" not in headers
        assert b"content-type" not in headers
        for line, wanted in (
            (f"If-None-Match: W/{etag}", 304),
            (f'If-None-Match: "a", {etag}', 304),
            ("If-None-Match: *", 304),
            ('If-None-Match: "a"', 200),
            (f"If-Modified-Since: {then}", 304),
            (f"If-Modified-Since: {after}", 304),
            (f"If-Modified-Since: {before}", 200),
            ("If-Modified-Since: yesterday", 200),
            (f'If-None-Match: "a"\r\nIf-Modified-Since: {then}', 200),
            (f"If-Match: {etag}", 200),
            ("If-Match: *", 200),
            ('If-Match: "a"', 412),
            (f"If-Match: W/{etag}", 412),
            (f"If-Unmodified-Since: {then}", 200),
            (f"If-Unmodified-Since: {before}", 412),
            (f"If-Match: {etag}\r\nIf-Unmodified-Since: {before}", 200),
        ):
            assert ask(client, path, line)[0] == wanted, line
    assert server.complaints == []


def test_compressed_siblings(served, factory):
    server, prefix = served(factory)
    with server, server.connect() as client:
        for _ in range(2):
            status, headers, body = ask(client, f"{prefix}/style.css", "Accept-Encoding: gzip, br;q=0.5")
            assert (status, gzip.decompress(body)) == (200, b"body {}\n")
            assert headers[b"content-encoding"] == b"gzip"
            assert headers[b"content-type"] == b"text/css; charset=utf-8"
            assert headers[b"vary"] == b"accept-encoding"
            status, other, body = ask(client, f"{prefix}/style.css")
            assert body == b"body {}\n"
            assert other[b"vary"] == b"accept-encoding"
            assert b"content-encoding" not in other
            assert other[b"etag"] != headers[b"etag"]
            assert ask(client, f"{prefix}/style.css", "Accept-Encoding: gzip, br")[2] == b"not really br"
        assert b"vary" not in ask(client, f"{prefix}/hello.txt", "Accept-Encoding: gzip")[1]
        status, headers, _ = ask(client, f"{prefix}/style.css.gz", "Accept-Encoding: gzip")
        assert headers[b"content-type"] == b"application/gzip"
        assert b"content-encoding" not in headers
    assert server.complaints == []


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (None, None),
        (b"", None),
        (b"gzip", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"GZIP;Q=1", b"gzip"),
        (b"gzip, br, zstd", b"br"),
        (b"gzip, zstd", b"zstd"),
        (b"gzip;q=0.9, br;q=0.1", b"gzip"),
        (b"gzip;q=0", None),
        (b"*", b"br"),
        (b"*;q=0.5, br;q=0", b"zstd"),
        (b"identity, gzip;q=0.5", None),
        (b"identity;q=0.1, gzip;q=0.5", b"gzip"),
        (b"deflate", None),
        (b"gzip;q=nonsense", None),
        (b"gzip;q=nan", None),
        (b"gzip;q=9", None),
        (b",;,=;q", None),
    ],
)
def test_choice_of_encoding(accepted, chosen):
    assert coding_of(accepted, {b"br", b"zstd", b"gzip"}) == chosen


def test_selection_of_odd_headers():
    assert ranges_of(Headers([(b"range", b"bytes=" + b"9" * 19 + b"-")]), b'"a"', 0, 10) is None
    assert ranges_of(Headers([(b"range", b"bytes=0-5,2-8")]), b'"a"', 0, 10) is None  # more than there is
    assert ranges_of(Headers([(b"range", b"bytes=0-")]), b'"a"', 0, 0) == []
    assert precondition(Headers([(b"if-modified-since", b"\xff")]), b'"a"', 0) is None
    assert precondition(Headers([(b"if-modified-since", b"Sun, 99 Sep 99999999999 01:46:40 GMT")]), b'"a"', 0) is None
    assert precondition(Headers([(b"if-none-match", b'"b"'), (b"if-none-match", b'"a"')]), b'"a"', 0) == 304


@pytest.mark.parametrize(("age", "value"), [(0, b"no-cache"), (3600, b"public, max-age=3600")])
def test_cache_control(folder, factory, age, value):
    with Running(folder, factory, cache_max_age=age) as server, server.connect() as client:
        for _ in range(2):
            assert ask(client, "/hello.txt")[1][b"cache-control"] == value


def test_listing(served, factory, folder):
    (folder / "empty" / "<b>&\"'.txt").write_text("x" * 1234)
    (folder / "empty" / "a:b").mkdir()
    (folder / "empty" / ".hidden").write_text("")
    (folder / "empty" / os.fsdecode(b"\xff\xfe")).write_text("")
    (folder / "empty" / "outside").symlink_to("/etc/passwd")
    os.mkfifo(folder / "empty" / "fifo")
    server, prefix = served(factory, listing=True)
    with server, server.connect() as client:
        status, headers, body = ask(client, f"{prefix}/empty/")
        assert status == 200
        assert headers[b"content-type"] == b"text/html; charset=utf-8"
        page = body.decode()
        links = re.findall(r'<a href="([^"]*)"', page)
        assert links == ["../", "./a%3Ab/", "./%3Cb%3E%26%22%27.txt", "./%FF%FE"]
        assert "&lt;b&gt;&amp;&quot;&#x27;.txt" in page
        assert "1,234" in page
        assert time.strftime("%Y-%m-%d", time.gmtime()) in page
        assert ask(client, f"{prefix}/empty/%3Cb%3E%26%22%27.txt")[2] == b"x" * 1234
        assert ask(client, f"{prefix}/empty/%FF%FE")[0] == 200
        assert ask(client, f"{prefix}/sub/")[2] == b"<p>sub</p>"
        assert ask(client, f"{prefix}/empty/", method="HEAD")[1][b"content-length"] == b"%d" % len(body)
    assert server.complaints == []


def later(server):
    """Lets the time of all answers pass."""

    def pass_on():
        for files in server.server._files:
            for path in list(files.answers.by_path):
                files.answers.get(path).valid_until = 0.0

    done = threading.Event()
    server.loop.call_soon_threadsafe(lambda: (pass_on(), done.set()))
    assert done.wait(10)


def test_changes_are_seen(folder, factory):
    with Running(folder, factory) as server, server.connect() as client:
        etag = ask(client, "/hello.txt")[1][b"etag"]
        later(server)
        assert ask(client, "/hello.txt")[1][b"etag"] == etag
        (folder / "hello.txt").write_text("HELLO, WORLD\n")
        os.utime(folder / "hello.txt", (AGO, AGO))  # what only the time of the inode's change tells
        assert ask(client, "/hello.txt")[2] == b"Hello, world\n"
        later(server)
        assert ask(client, "/hello.txt")[2] == b"HELLO, WORLD\n"
        (folder / "hello.txt.gz").write_bytes(b"compressed")
        later(server)
        assert ask(client, "/hello.txt", "Accept-Encoding: gzip")[2] == b"compressed"
        (folder / "hello.txt").unlink()
        later(server)
        assert ask(client, "/hello.txt")[0] == 404
        ask(client, "/large.bin")
        (folder / "large.bin").write_bytes(b"small")
        later(server)
        assert ask(client, "/large.bin")[2] == b"small"


def test_folder_that_is_replaced(folder, factory):
    with Running(folder, factory) as server, server.connect() as client:
        assert ask(client, "/hello.txt")[2] == b"Hello, world\n"
        folder.rename(folder.with_name("old"))
        folder.mkdir()
        (folder / "hello.txt").write_text("new")
        server.server._files[0]._root_checked = 0.0
        later(server)
        assert ask(client, "/hello.txt")[2] == b"new"


def test_pipelined_requests(folder, factory):
    with Running(folder, factory) as server:
        parts = [f"GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n" for name in ("hello.txt", "large.bin", "none", "large.bin")]
        said = server.talk(("".join(parts) + "GET /hello.txt HTTP/1.0\r\n\r\n").encode())
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 5
    assert said.count(LARGE) == 2
    assert said.endswith(b"connection: close\r\n" + said.rpartition(b"connection: close\r\n")[2])
    assert said.endswith(b"\r\n\r\nHello, world\n")
    assert server.complaints == []


def test_client_that_leaves(folder, factory):
    with Running(folder, factory) as server:
        for _ in range(5):
            with server.connect() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.sendall(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
                assert client.recv(100)
        with server.connect() as client:
            assert ask(client, "/hello.txt")[0] == 200
    assert server.complaints == []


def test_client_that_takes_nothing(folder, factory):
    (folder / "huge").touch()
    os.truncate(folder / "huge", 1 << 28)
    with Running(folder, factory, timeout_write=0.3) as server, server.connect() as client:
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(100)
        deadline = time.monotonic() + 10
        while not server.complaints and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(read_all(client)) < 1 << 28
    assert "takes nothing" in server.complaints[0][0]


def test_file_that_becomes_shorter(folder, factory):
    (folder / "huge").touch()
    os.truncate(folder / "huge", 1 << 28)
    with Running(folder, factory) as server, server.connect() as client:
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        got = len(client.recv(100))
        os.truncate(folder / "huge", 1 << 20)
        got += len(read_all(client))
        assert got < 1 << 28
    [(message, exception)] = server.complaints
    assert "GET /huge: the file ended" in message
    assert exception is None


def test_pathsend(factory, folder):
    async def application(scope, receive, send):
        assert "http.response.pathsend" in scope["extensions"]
        name = scope["path"][1:]
        headers = [(b"content-length", b"5")] if scope["query_string"] else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.pathsend", "path": str(folder / name)})

    os.mkfifo(folder / "fifo")
    with Running(lifeless(application), factory, pathsend=True) as server:
        with server.connect() as client:
            assert ask(client, "/large.bin")[::2] == (200, LARGE)
            assert ask(client, "/hello.txt")[::2] == (200, b"Hello, world\n")
            assert ask(client, "/hello.txt?5")[::2] == (200, b"Hello")
            assert ask(client, "/hello.txt", method="HEAD")[1][b"content-length"] == b"13"
        assert server.complaints == []
        for name in (b"nothing", b"fifo", b"none?5"):
            assert server.talk(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % name).startswith(b"HTTP/1.1 500")
    assert len(server.complaints) == 3


def test_mount_beside_an_application(folder, factory):
    (folder / "sub" / "deep.txt").write_text("deep")
    mount = {"/static": folder, "/static/deeper": folder / "sub"}
    with Running(lifeless(hello), factory, mount=mount) as server, server.connect() as client:
        assert ask(client, "/static/hello.txt")[2] == b"Hello, world\n"
        assert ask(client, "http://a/static/hello.txt")[2] == b"Hello, world\n"
        assert ask(client, "/static/deeper/deep.txt")[2] == b"deep"
        assert ask(client, "/static/nothing")[0] == 404
        assert ask(client, "/static")[1][b"location"] == b"/static/"
        assert ask(client, "/static?a")[1][b"location"] == b"/static/?a"
        for path in ("/", "/statics", "/hello.txt"):
            assert ask(client, path)[2] == b"hello"
    assert server.complaints == []


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("/static", "/path=folder"),
        ("static=.", "/path=folder"),
        ("/static=", "/path=folder"),
        ("/st%20=.", "plain ASCII"),
        ("/static=.,/static/=.", "given twice"),
    ],
)
def test_mount_that_is_none(mount, message):
    with pytest.raises(ConfigurationError, match=message):
        Configuration.from_environment({}, {"IORING_MOUNT": mount})


def test_folder_that_is_none(tmp_path):
    with pytest.raises(OSError, match="nothing"):
        ioring.StaticFiles(tmp_path / "nothing")
    with pytest.raises(ValueError, match="cache_max_age"):
        ioring.StaticFiles(tmp_path, cache_max_age=-1)
    configuration = Configuration(target=hello, mount=[f"/static={tmp_path}/nothing"])

    async def start():
        await Server(configuration, load(configuration)).start([])

    with pytest.raises(ConfigurationError, match=r"mount /static=.*nothing: No such file"):
        asyncio.run(start())


def test_memory_of_a_large_file(folder):
    """100 MiB through the command, to a slow and a fast client."""
    (folder / "huge").touch()
    os.truncate(folder / "huge", 100 << 20)
    command = [sys.executable, "-m", "ioring", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(re.search(r":(\d+) ", process.stdout.readline())[1])

            def resident():
                return int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096

            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                assert ask(client, "/hello.txt")[0] == 200
                before = resident()
                client.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                size = most = 0
                while part := client.recv(1 << 20):
                    size += len(part)
                    most = max(most, resident())
            assert size > 100 << 20
            assert most - before < 20 << 20
        finally:
            process.terminate()
    assert process.returncode == 0


def test_through_tls(folder, factory, tmp_path):
    """Where the kernel cannot send the file by itself."""
    certificates = Certificates(tmp_path)

    async def get(port, path):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=certificates.client())
        writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path)
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
        return said

    async def main():
        loop = asyncio.get_running_loop()
        files = Files(Folder(folder))
        service = Service(files.answers, loop, asgi=False)
        server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, ssl=certificates.server())
        port = server.sockets[0].getsockname()[1]
        assert (await get(port, b"/large.bin")).endswith(b"\r\n\r\n" + LARGE)
        assert (await get(port, b"/hello.txt")).endswith(b"\r\n\r\nHello, world\n")
        server.close()
        await server.wait_closed()
        files.close()
        await loop.shutdown_default_executor()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_name_that_is_no_text(folder, served, factory):
    with open(os.fsencode(folder) + b"/caf\xe9 \xc3\xa9.txt", "wb") as file:
        file.write(b"Latin-1")
    server, prefix = served(factory)
    with server, server.connect() as client:
        assert ask(client, f"{prefix}/caf%e9%20%C3%A9.txt")[::2] == (200, b"Latin-1")
        assert ask(client, f"{prefix}/caf%ef%bf%bd%20%C3%A9.txt")[0] == 404


def test_starlette_with_static_files(folder, factory):
    applications = pytest.importorskip("starlette.applications")
    routing = pytest.importorskip("starlette.routing")
    application = applications.Starlette(routes=[routing.Mount("/files", ioring.StaticFiles(folder))])
    with Running(application, factory) as server, server.connect() as client:
        assert ask(client, "/files/hello.txt")[2] == b"Hello, world\n"
        assert ask(client, "/files/large.bin")[2] == LARGE
        assert ask(client, "/files/sub")[1][b"location"] == b"/files/sub/"
        with open(os.fsencode(folder) + b"/\xff.txt", "wb") as file:
            file.write(b"no text")
        assert ask(client, "/files/%ff.txt")[2] == b"no text"
    assert server.complaints == []


def test_another_server(folder):
    """Its messages alone, with no extension."""

    async def get(path, method="GET", headers=()):
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
        await application(scope, None, send)
        return sent[0], b"".join(message.get("body", b"") for message in sent[1:]), sent[-1].get("more_body", False)

    async def main():
        start, body, more = await get("/large.bin")
        assert (start["status"], body, more) == (200, LARGE, False)
        start, body, more = await get("/large.bin", headers=[(b"range", b"bytes=5-9,20-29")])
        check_parts(dict(start["headers"]), body, LARGE, [(5, 5), (20, 10)])
        assert (await get("/hello.txt"))[1:] == (b"Hello, world\n", False)
        start, body, more = await get("/hello.txt", "HEAD")
        assert (dict(start["headers"])[b"content-length"], body) == (b"13", b"")

    application = ioring.StaticFiles(folder)
    asyncio.run(main())


def test_import_without_the_servers_packages():
    code = "import sys; sys.modules['httptools'] = None; import ioring; print('ioring.http' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"False\n"


def test_command_line(folder):
    command = [sys.executable, "-m", "ioring", "serve", f"{folder}/nothing"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"ioring serve: {folder}/nothing: no such folder\n")


@pytest.mark.parametrize(
    "date, seconds",
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        (b"Sun Nov  6 08:49:37 1994", 784111777),
        (b"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800),
        (b"Friday, 01-Jan-38 00:00:00 GMT", 2145916800),
        (b"Mon, 99 Jan 2040 00:00:00 GMT", None),
        (b"Mon, 30 Feb 2032 00:00:00 GMT", None),
        (b"Mon, 00 Jan 2040 00:00:00 GMT", None),
        (b"Fri, 01 Jan 2038 00:00:00 +0200", None),
        (b"Fri, 01 Jan 2038 00:00:00", None),
        (b"Fri, 01 Jan 2038 99:99:99 GMT", None),
        (b"Fri, 01 Jan 2038 24:00:00 GMT", None),
        (b"Fri, 1 Jan 2038 00:00:00 GMT", None),
        (b"Fri, 01 Jan 2038 00:00 GMT", None),
        (b"fri, 01 jan 2038 00:00:00 gmt", None),
        (b"01 Jan 2038 00:00:00 GMT", None),
        (b"Fri, 01 Jan 0000 00:00:00 GMT", None),
        (b"2038-01-01T00:00:00Z", None),
        (b"2145916800", None),
        (b"foo", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_dates(date, seconds):
    """What is no date of HTTP is ignored (RFC 9110, section 13.1.3)."""
    assert time_of(date) == seconds
    assert precondition(Headers([(b"if-modified-since", date)]), b'"a"', 0) == (None if seconds is None else 304)
    assert precondition(Headers([(b"if-unmodified-since", date)]), b'"a"', 1 << 33) == (
        None if seconds is None else 412
    )
