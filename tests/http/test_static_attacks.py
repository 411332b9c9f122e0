"""Nothing outside of a folder, and nothing but ordinary files, can be had: names, symbolic links, races, devices."""

import asyncio
import concurrent.futures
import errno
import os
import re
import resource
import socket
import threading
import time
import types

import pytest

import ioring
from http_servers import WAIT_S, Running, hello, lifeless, read_all, read_response
from ioring.http import Configuration
from ioring.http import open_file_cache as kept
from ioring.http._response_cache import Answer, Answers
from ioring.http.conditional import Headers, coding_of, names, ranges_of
from ioring.http.forwarded import Proxies
from ioring.http.log import escaped
from ioring.http.sendfile import File, Sending
from rings import RESET
from running import descriptors_left
from serving import Serving
from tls_peer import Certificates

SECRET = b"this is secret"
FACTORIES = {"ring": ioring.Loop, "asyncio": asyncio.SelectorEventLoop}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "public"
    (folder / "sub").mkdir(parents=True)
    (folder / "file.txt").write_text("public")
    (folder / "sub" / "inner.txt").write_text("inner")
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "public-not").mkdir()
    (tmp_path / "public-not" / "secret.txt").write_bytes(SECRET)
    return folder


@pytest.fixture(params=["folder", "mount", "asgi"])
def served(request, folder):
    """Starts a server of the folder in each of the ways; gives it with the prefix of its paths."""

    def start():
        if request.param == "folder":
            return Running(folder, ioring.Loop, listing=True), b""
        if request.param == "mount":
            return Running(lifeless(hello), ioring.Loop, mount={"/static": folder}, listing=True), b"/static"
        return Running(ioring.StaticFiles(folder, listing=True), ioring.Loop), b""

    return start


def get(client, path):
    client.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    return read_response(client)


UP = [
    b"..",
    b"%2e%2e",
    b"%2E.",
    b".%2e",
    b"%252e%252e",
    b"%c0%ae%c0%ae",
    b"%e0%80%ae%e0%80%ae",
    b"%f0%80%80%ae%f0%80%80%ae",
    b"%uff0e%uff0e",
    b"%ef%bc%8e%ef%bc%8e",
    b"..%00",
    b"%00..",
    b"...",
    b"....",
    b"..;",
    b"..%20",
    b".%0d.",
]
SLASHES = [b"/", b"%2f", b"%2F", b"%5c", b"\\", b"%252f", b"%c0%af", b"%e0%80%af", b"//", b"/./", b"%ef%bc%8f"]


def test_ways_up(served):
    server, prefix = served()
    with server, server.connect() as client:
        for up in UP:
            for slash in SLASHES:
                for begin in (b"/", b"/sub/", b"/sub" + slash + up + slash, b"//"):
                    for name in (b"secret.txt", b"public-not/secret.txt"):
                        path = prefix + begin + up + slash + name
                        status, headers, body = get(client, path)
                        assert status == 404, path
                        assert SECRET not in body
                        assert b"location" not in headers
    assert server.complaints == []


@pytest.mark.parametrize(
    "path",
    [
        b"/file.txt%00",
        b"/file.txt%00.html",
        b"/%00",
        b"/%2f/etc/passwd",
        b"//etc/passwd",
        b"/%2fetc%2fpasswd",
        b"/proc/self/root/etc/passwd",
        b"/file.txt/.",
        b"/file.txt//",
        b"/file.txt/inner",
        b"/file.txt%2f",
        b"/file.txt\\",
        b"/FILE.TXT",
        b"/" + b"a" * 300,
        b"/" + b"a/" * 3000,
        b"/%",
        b"/%zz",
        b"/%ff%fe",
    ],
)
def test_names_that_are_none(served, path):
    server, prefix = served()
    with server, server.connect() as client:
        status, headers, _ = get(client, prefix + path)
        assert status == 404
        assert b"location" not in headers
        assert get(client, prefix + b"/file.txt")[2] == b"public"
    assert server.complaints == []


@pytest.mark.parametrize(
    "path, found",
    [
        (b"/./file.txt", b"public"),
        (b"/sub/../file.txt", b"public"),
        (b"/sub/%2e%2e/file.txt", b"public"),
        (b"/nothing/../file.txt", b"public"),
        (b"/../../../file.txt", b"public"),
        (b"//file.txt", b"public"),
        (b"/%2ffile.txt", b"public"),
        (b"/sub/./.././/file.txt", b"public"),
        (b"/sub//inner.txt", b"inner"),
        (b"/sub/./inner.txt", b"inner"),
        (b"/sub/.", b"Index of"),
        (b"/sub/x/..", b"Index of"),
        (b"/file.txt/..", b"Index of"),
        (b"/..", b"Index of"),
    ],
)
def test_dot_segments_and_empty_ones_are_taken_away(served, path, found):
    """apt asks a flat repository for /deb/./Packages. The ways that are left end at the root."""
    server, prefix = served()
    with server, server.connect() as client:
        for _ in range(2):
            status, _, body = get(client, prefix + path)
            assert status == 200
            assert found in body
        assert get(client, prefix + b"/sub/.?a=b")[0] == 200
    assert server.complaints == []


def test_redirect_stays_here(served, folder):
    """`//host/` would be another server, and a line break a header."""
    (folder / "evil.com").mkdir()
    (folder / "a\r\nset-cookie: b").mkdir()
    (folder / "\\evil.com").mkdir()
    server, prefix = served()
    with server, server.connect() as client:
        for path in (b"//evil.com", b"/%2fevil.com", b"///evil.com", b"/.//evil.com", b"/x/..//evil.com"):
            status, headers, _ = get(client, prefix + path)
            assert (status, headers[b"location"]) == (308, prefix + b"/evil.com/"), path
        status, headers, _ = get(client, prefix + b"/%5cevil.com")
        assert (status, headers[b"location"]) == (308, prefix + b"/%5Cevil.com/")
        status, headers, _ = get(client, prefix + b"/a%0d%0aset-cookie:%20b")
        assert (status, headers[b"location"]) == (308, prefix + b"/a%0D%0Aset-cookie%3A%20b/")
        assert b"set-cookie" not in headers
    assert server.complaints == []


def test_symbolic_links(served, folder):
    (folder / "relative").symlink_to("../secret.txt")
    (folder / "absolute").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to("..")
    (folder / "sub" / "out").symlink_to("../..")
    (folder / "absolute-inside").symlink_to(folder / "file.txt")
    (folder / "inside").symlink_to("sub/inner.txt")
    (folder / "folder-inside").symlink_to("sub")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nothing")
    (folder / "magic").symlink_to("/proc/self/root")
    (folder / "index.html").symlink_to("../secret.txt")
    (folder / "file.txt.gz").symlink_to("../secret.txt")
    server, prefix = served()
    with server, server.connect() as client:
        for path in (
            b"relative",
            b"absolute",
            b"absolute-inside",
            b"up/secret.txt",
            b"up",
            b"up/public/file.txt",
            b"sub/out/secret.txt",
            b"loop",
            b"dangling",
            b"magic/etc/passwd",
            b"index.html",
        ):
            assert get(client, prefix + b"/" + path)[0] == 404, path
        assert get(client, prefix + b"/inside")[2] == b"inner"
        assert get(client, prefix + b"/folder-inside/inner.txt")[2] == b"inner"
        client.sendall(b"GET %b/file.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n" % prefix)
        assert read_response(client)[2] == b"public"
        listed = get(client, prefix + b"/")[2]
        assert b"relative" not in listed
        assert b"inside" in listed
    assert server.complaints == []


def test_what_is_no_ordinary_file(served, folder):
    """Nothing waits for the other end of a FIFO, also when it comes where a file was."""
    os.mkfifo(folder / "fifo")
    os.mkfifo(folder / "file.txt.gz")
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.getcwd()
        os.chdir(folder)  # a socket's path is short
        sock.bind("socket")
        os.chdir(here)
    (folder / "null").symlink_to("/dev/null")
    server, prefix = served()
    with server, server.connect() as client:
        for name in (b"fifo", b"socket", b"null"):
            assert get(client, prefix + b"/" + name)[0] == 404
            assert name not in get(client, prefix + b"/")[2]
        assert get(client, prefix + b"/file.txt")[2] == b"public"
    assert server.complaints == []


HIDDEN = [
    b"/.env",
    b"/%2eenv",
    b"/%2E%65nv",
    b"/.git",
    b"/.git/",
    b"/.git/config",
    b"/%2egit/config",
    b"/sub/.private/file.txt",
    b"/sub/%2Eprivate/file.txt",
    b"/sub/.private/",
    b"/.well-known/.secret",
    b"/.well-known.txt",
    b"/.Well-Known/file.txt",
]


@pytest.fixture
def hiding(folder):
    for path in (b".env", b".git/config", b"sub/.private/file.txt", b".well-known/.secret", b".well-known.txt"):
        path = folder / path.decode()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(SECRET)
    (folder / ".Well-Known").mkdir()
    (folder / ".Well-Known" / "file.txt").write_bytes(SECRET)
    (folder / ".well-known" / "acme").write_text("public")
    return folder


def test_names_that_begin_with_a_dot(served, hiding):
    server, prefix = served()
    with server, server.connect() as client:
        for _ in range(2):
            for path in HIDDEN:
                status, headers, body = get(client, prefix + path)
                assert (status, SECRET in body, b"location" in headers) == (404, False, False), path
            assert get(client, prefix + b"/.well-known/acme")[2] == b"public"
            assert get(client, prefix + b"/%2ewell-known/acme")[2] == b"public"
            assert get(client, prefix + b"/.well-known")[0] == 308
        listed = get(client, prefix + b"/")[2] + get(client, prefix + b"/sub/")[2]
        assert re.findall(rb'href="./([^"]*)"', listed) == [b"sub/", b"file.txt", b"inner.txt"]
    assert server.complaints == []


@pytest.mark.parametrize("way", ["folder", "mount", "asgi"])
def test_names_that_begin_with_a_dot_when_they_are_wanted(hiding, way):
    if way == "asgi":
        server = Running(ioring.StaticFiles(hiding, listing=True, hidden=True), ioring.Loop)
    elif way == "mount":
        server = Running(lifeless(hello), ioring.Loop, mount={"/static": hiding}, listing=True, hidden=True)
    else:
        server = Running(hiding, ioring.Loop, listing=True, hidden=True)
    prefix = b"/static" if way == "mount" else b""
    with server, server.connect() as client:
        for path in HIDDEN:
            status, headers, body = get(client, prefix + path)
            if path == b"/.git":
                assert (status, headers[b"location"]) == (308, prefix + b"/.git/")
            elif path.endswith(b"/"):
                assert (status, b"Index of" in body) == (200, True)
            else:
                assert (status, body) == (200, SECRET), path
        assert b'href="./.env"' in get(client, prefix + b"/")[2]
        assert get(client, prefix + b"/../secret.txt")[0] == 404
        assert get(client, prefix + b"/./file.txt")[0] == 200
    assert server.complaints == []


def test_option_for_names_that_begin_with_a_dot(tmp_path, hiding):
    assert not Configuration.from_environment({}, {}).hidden
    assert Configuration.from_environment({}, {"IORING_HIDDEN": "yes"}).hidden
    with Serving(tmp_path, "./public", "--hidden") as server:
        assert server.get("/.env").encode() == SECRET


def test_file_that_nobody_may_read(folder):
    (folder / "file.txt").chmod(0)
    if os.access(folder / "file.txt", os.R_OK):
        pytest.skip("who may do everything may read it")
    with Running(folder, ioring.Loop) as server, server.connect() as client:
        assert get(client, b"/file.txt")[0] == 404


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_races(folder, factory):
    """A folder and a link that lead out take turns under one name, as fast as they can."""
    (folder / "a").mkdir()
    (folder / "a" / "secret.txt").write_text("harmless")
    (folder / "b").symlink_to("..")
    (folder / "c").write_text("harmless")
    (folder / "d").symlink_to("../secret.txt")
    stop = threading.Event()

    def exchange():
        while not stop.is_set():
            for one, other in (("a", "b"), ("c", "d")):
                os.rename(folder / one, folder / "spare")
                os.rename(folder / other, folder / one)
                os.rename(folder / "spare", folder / other)

    thread = threading.Thread(target=exchange)
    seen = set()
    with Running(folder, factory) as server, server.connect() as client:
        files = server.server._files[0]
        thread.start()
        try:
            files.remember = lambda *_: None
            for _ in range(300):
                for path in (b"/a/secret.txt", b"/b/secret.txt", b"/c", b"/d"):
                    status, _, body = get(client, path)
                    seen.add(status)
                    assert SECRET not in body
                    assert status in (200, 404)
        finally:
            stop.set()
            thread.join()
    assert seen == {200, 404}
    assert server.complaints == []


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_client_that_asks_and_does_not_take(folder, factory):
    """Responses are made as they are taken, also when all requests come at once."""
    count, content = 600, b"x" * 60_000
    (folder / "medium").write_bytes(content)
    with Running(folder, factory) as server, server.connect() as client, server.connect() as other:
        assert get(other, b"/medium")[0] == 200
        client.sendall(b"GET /medium HTTP/1.1\r\nHost: a\r\n\r\n" * (count - 1))
        client.sendall(b"GET /medium HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.recv(1, socket.MSG_PEEK)
        for _ in range(20):
            assert get(other, b"/file.txt")[0] == 200
        assert server.server.service.sent < count * len(content) / 2
        said = read_all(client)
    assert said.count(content) == count
    assert server.complaints == []


def test_memory_of_answers_is_bounded():
    """What is remembered by each path counts, but not all paths are."""
    answers = Answers(None, 10, 100_000)
    for number in range(100):
        answers.put(b"/%d" % number, Answer(None, b"", b"x", 0.0, 1))
        assert len(answers.by_path) <= 10
    assert b"/99" in answers.by_path
    for number in range(100):
        answers.put(b"/%d" % number, Answer(None, b"", b"x", 0.0, 30_000))
        assert answers.held <= 100_000
    kept = Answer(None, b"", b"x", 0.0, 1)
    answers.put(b"/kept", kept)
    for number in range(100):
        kept.used = True
        answers.put(b"/%d" % number, Answer(None, b"", b"x", 0.0, 1))
        answers.get(b"/%d" % number).used = False
    assert b"/kept" in answers.by_path
    for number in range(10):
        answers.put(b"/%d" % number + b"x" * 30_000, Answer(None, b"", b"x", 0.0, 1))
        assert sum(map(len, answers.by_path)) <= answers.held <= 100_000
    answers.clear()
    assert answers.held == 0


def test_memory_of_choices_is_bounded():
    """Values of accept-encoding count as well, and long ones are not kept."""
    answers = Answers(None, 10, 100_000)
    chosen = Answer(None, b"", b"x", 0.0, 1)
    for path in range(10):
        answer = Answer(None, None, None, 0.0, 1, {})
        answers.put(b"/%d" % path, answer)
        empty = answer.size
        for number in range(100):
            answers.remember(answer, b"%200d" % number, chosen)
            assert sum(map(len, answer.choices)) <= answer.size - empty
            assert len(answer.choices) <= 32
            assert answers.held <= 100_000
        assert answer.choices[b"%200d" % 99] is chosen
        answers.remember(answer, None, chosen)
        assert answer.choices[None] is chosen
        answers.remember(answer, b"x" * 1000, chosen)
        assert b"x" * 1000 not in answer.choices
    answers.drop(b"/9")
    answers.remember(answer, b"late", chosen)
    assert b"late" not in answer.choices
    assert answers.held == sum(kept.size for kept in answers.by_path.values())
    answers.clear()
    assert answers.held == 0


SPELLINGS = [b"/file.txt", b"/file%2Etxt", b"/f%69le.txt", b"/%66%69%6c%65%2e%74%78%74", b"/f%69le%2etxt?a"]


def test_spellings_of_a_path_share_what_is_remembered(served, folder):
    (folder / "file.txt.gz").write_bytes(b"compressed")
    (folder / "a b%20\xe9!.txt").write_text("odd")
    (folder / "a%20b").write_text("percent")
    (folder / "a b").write_text("space")
    server, prefix = served()
    with server, server.connect() as client:
        for _ in range(2):
            for path in SPELLINGS:
                for host in (b"", b"http://a", b"http://b" + b"x" * 2000):
                    assert get(client, host + prefix + path)[2] == b"public"
                    client.sendall(
                        b"GET %b HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n" % (host + prefix + path)
                    )
                    assert read_response(client)[2] == b"compressed"
        if server.server._files:
            answers = server.server._files[0].answers
            assert list(answers.by_path) == [prefix + b"/file.txt"]
            assert answers.held < 30_000
        for _ in range(2):
            assert get(client, prefix + b"/a%20b%2520%C3%A9!.txt")[2] == b"odd"
            assert get(client, prefix + b"/a%20b")[2] == b"space"
            assert get(client, prefix + b"/a%2520b")[2] == b"percent"
        if server.server._files:
            # What browsers send is found at once.
            spelled = [b"/file.txt", b"/a%20b%2520%C3%A9!.txt", b"/a%20b", b"/a%2520b"]
            assert list(answers.by_path) == [prefix + path for path in spelled]
    assert server.complaints == []


# Descriptors.


def opened_of(folder, process="self"):
    """The names of the files of a folder that a process has open, sorted."""
    found = []
    for name in os.listdir(f"/proc/{process}/fd"):
        try:
            path = os.readlink(f"/proc/{process}/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
        if path.startswith(f"{folder}/"):
            found.append(os.path.basename(path))
    return sorted(found)


def large_files(folder, count, endings=("", ".br", ".gz")):
    for number in range(count):
        for ending in endings:
            (folder / f"large{number}{ending}").write_bytes(b"x" * 70_000)


def head(client, path):
    client.sendall(b"HEAD %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        part = client.recv(1 << 16)
        assert part, data
        data += part
    return int(data.split()[1])


def test_descriptors_that_are_kept_are_bounded(served, folder, monkeypatch):
    """It is descriptors that are counted, not files; and there may be several of a file."""
    monkeypatch.setattr(kept, "share_of_limit", lambda: 10)
    large_files(folder, 8)
    server, prefix = served()
    with server, server.connect() as client:
        for _ in range(2):
            for number in range(8):
                assert head(client, prefix + b"/large%d" % number) == 200
                assert len(opened_of(folder)) <= 10
        assert "large7" in opened_of(folder)
        for host in range(50):
            assert head(client, b"http://a%d%b/large%%37" % (host, prefix)) == 200
            assert len(opened_of(folder)) <= 10
            assert opened_of(folder).count("large7") == 1
    assert server.complaints == []


def test_descriptors_are_shared_by_all_folders(folder, monkeypatch):
    monkeypatch.setattr(kept, "share_of_limit", lambda: 4)
    large_files(folder, 3, ("",))
    mounts = {f"/{number}": folder for number in range(5)}
    with Running(lifeless(hello), ioring.Loop, mount=mounts) as server, server.connect() as client:
        for mount in range(5):
            for number in range(3):
                assert head(client, b"/%d/large%d" % (mount, number)) == 200
                assert len(opened_of(folder)) <= 4
        assert len(opened_of(folder)) == 4
        assert server.until(lambda: kept.kept_of(server.loop).count) == 4
    assert server.complaints == []


def test_share_of_the_limit(monkeypatch):
    for limit, share in ((1024, 256), (100, 25), (1 << 20, 256), (resource.RLIM_INFINITY, 256), (3, 0)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert kept.share_of_limit() == share


def test_file_with_more_descriptors_than_may_be_kept(folder, monkeypatch):
    monkeypatch.setattr(kept, "share_of_limit", lambda: 2)
    large_files(folder, 1)
    with Running(folder, ioring.Loop) as server, server.connect() as client:
        for _ in range(3):
            assert head(client, b"/large0") == 200
            assert opened_of(folder) == []
            assert get(client, b"/large0")[2] == b"x" * 70_000
    assert server.complaints == []


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_kept_files_make_room_for_others(folder, factory):
    """When a file cannot be opened those are closed that are only kept; the cache of the kernel makes no difference."""
    large_files(folder, 2)
    with Running(folder, factory) as server, server.connect() as client:
        assert head(client, b"/large0") == 200
        with descriptors_left(2):
            assert opened_of(folder) == ["large0", "large0.br", "large0.gz"]
            assert head(client, b"/large1") == 200
            assert opened_of(folder) == ["large1", "large1.br", "large1.gz"]
        files = server.server._files[0]
        look = files.look
        files.look = lambda known, path, cached: look(known, path, False) if not cached else not_cached()
        with descriptors_left(2):
            assert head(client, b"/large0") == 200
            assert opened_of(folder) == ["large0", "large0.br", "large0.gz"]
    assert server.complaints == []


def not_cached():
    raise BlockingIOError


@pytest.mark.parametrize("pipelined", [False, True])
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_sending_without_descriptors(served, folder, factory, pipelined):
    """Nothing is left behind that waits for ever: neither the client, nor the server when it is to stop."""
    large_files(folder, 1, ("",))
    server, prefix = served()
    server.factory = factory
    request = b"GET %b/large0 HTTP/1.1\r\nHost: a\r\n\r\n" % prefix
    with server, server.connect() as client, server.connect() as other:
        assert get(client, prefix + b"/file.txt")[2] == b"public"
        assert get(other, prefix + b"/large0")[0] == 200
        server.until(lambda: server.server.service.active == 0)
        before = len(os.listdir("/proc/self/fd"))
        with descriptors_left(0):
            if pipelined:
                client.sendall(b"GET %b/file.txt HTTP/1.1\r\nHost: a\r\n\r\n" % prefix + request)
            else:
                client.sendall(request)
            said = read_all(client)
            statuses = re.findall(rb"HTTP/1.1 (\d+)", said)
            assert statuses == ([b"200", b"503"] if pipelined else [b"503"])
        server.until(lambda: len(server.server.service.connections) == 1)
        assert get(other, prefix + b"/large0")[2] == b"x" * 70_000
        server.until(lambda: server.server.service.active == 0)
        assert len(os.listdir("/proc/self/fd")) <= before
    assert "Too many open files" in server.complaints[0][0]


@pytest.mark.parametrize(
    "number", [errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EIO], ids=errno.errorcode.get
)
def test_network_that_fails_is_not_a_fault_of_the_file(folder, monkeypatch, number):
    large_files(folder, 1, ("",))

    def sendfile(*_):
        raise OSError(number, os.strerror(number))

    with Running(folder, ioring.Loop) as server, server.connect() as client:
        monkeypatch.setattr(os, "sendfile", sendfile)
        client.sendall(b"GET /large0 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"x" not in read_all(client).partition(b"\r\n\r\n")[2]
    assert ["the file cannot be sent" in words for words, _ in server.complaints] == [True] * (number == errno.EIO)


class Holding(concurrent.futures.ThreadPoolExecutor):
    """Threads that hold on to what they gave, as every one does until it runs again."""

    held = ()

    def submit(self, function, /, *arguments):
        future = super().submit(function, *arguments)
        self.held = [*self.held, future.result(WAIT_S)]
        return future


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_files_that_a_thread_opened_are_closed_at_once(folder, factory):
    large_files(folder, 1)
    with Running(folder, factory) as server, server.connect() as client:
        executor = Holding()
        server.loop.call_soon_threadsafe(server.loop.set_default_executor, executor)
        files = server.server._files[0]
        look = files.look
        files.look = lambda known, path, cached: not_cached() if cached else look(known, path, False)
        assert head(client, b"/large0") == 200
        assert len(executor.held) == 1
        assert len(opened_of(folder)) == 3
        assert server.until(lambda: kept.kept_of(server.loop).give_up())
        assert opened_of(folder) == []
    assert server.complaints == []


@pytest.mark.parametrize("ring", [True, False])
def test_accepting_without_descriptors(tmp_path, folder, ring):
    """It is said once a second, what the server kept open is given up, and nothing of it is left when it stops."""
    large_files(folder, 1)
    options = () if ring else ("--fallback", "asyncio")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    try:
        serving = Serving(tmp_path, "./public", *options, ring=ring)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with serving as server:
        pid = server.process.pid
        with server.connect() as client:
            assert head(client, b"/large0") == 200
            assert len(opened_of(folder, pid)) == 3
            clients = [server.connect() for _ in range(60)]
            server.wait_for("cannot be accepted.*ulimit -n")
            assert opened_of(folder, pid) == []
            server.wait_for("cannot be accepted", 3)
            for each in clients:
                each.close()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            assert get(client, b"/file.txt")[2] == b"public"
        assert server.get("/file.txt") == "public"
    said = [line for line in server.errors if "cannot be accepted" in line]
    assert 3 <= len(said) < 10
    assert len(server.errors) == len(said) + (not ring), server.errors  # what serves without a ring says so


# Clients that reset.

RANGE = b"Range: bytes=1000-\r\n"
RANGES = b"Range: bytes=0-9999999, 20000000-29999999, -5000000\r\n"
STATES = {
    "whole": b"",
    "range": RANGE,
    "ranges": RANGES,
    "compressed": b"Accept-Encoding: gzip\r\n",
    "not modified": b"If-None-Match: *\r\n",
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("lines", STATES.values(), ids=STATES)
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_resets(folder, factory, lines, tls, tmp_path, caplog):
    """A client that resets its connection at any time leaves nothing behind: no file, no socket, no request."""
    for name in ("huge", "huge.gz"):
        (folder / name).touch()
        os.truncate(folder / name, 1 << 26)
    options = {}
    if tls:
        certificates = Certificates(tmp_path)
        options = {"ssl_certfile": str(certificates.certificate), "ssl_keyfile": str(certificates.key)}
    request = b"GET /huge HTTP/1.1\r\nHost: a\r\n%b\r\n" % lines

    def connect(server):
        client = server.connect()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # close() resets
        return certificates.client().wrap_socket(client, server_hostname="localhost") if tls else client

    with Running(folder, factory, **options) as server:
        service = server.server.service
        with connect(server) as client:
            client.sendall(request)
            assert client.recv(1000)
        server.until(lambda: not service.connections)
        before = len(os.listdir("/proc/self/fd"))
        for taken in (0, 1, 1000, 100_000, 1_000_000):
            with connect(server) as client:
                client.sendall(request * 5)
                while taken > 0 and (part := client.recv(min(taken, 1 << 16))):
                    taken -= len(part)
                    if lines.startswith(b"If-None-Match"):
                        break
            with connect(server) as client, connect(server) as other:
                client.sendall(request)
                other.sendall(request[:-2])
                assert client.recv(1)
        server.until(lambda: not service.connections and service.active == 0)
        server.until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        server.until(lambda: kept.kept_of(server.loop).give_up() or True)
        server.until(lambda: opened_of(folder) == [])
    assert server.complaints == []
    assert caplog.records == []


def test_client_that_leaves_while_a_thread_reads():
    """Whatever the sending waits for, it ends with the connection, and the file is open as long as it is read."""

    async def main():
        loop = asyncio.get_running_loop()
        drained = loop.create_future()
        transport = types.SimpleNamespace(write=lambda data: None, is_closing=lambda: False)
        connection = types.SimpleNamespace(transport=transport, drain=lambda: drained)
        exchange = types.SimpleNamespace(connection=connection, service=types.SimpleNamespace(loop=loop))
        descriptor = os.open(__file__, os.O_RDONLY)
        sending = Sending(exchange, File(descriptor), [b"head", (0, 10)])
        task = asyncio.create_task(sending.copy())
        await asyncio.sleep(0)
        assert not task.done()
        sending.end()
        os.fstat(descriptor)
        drained.set_result(None)
        await task
        del sending, task
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)

    asyncio.run(main())


@pytest.mark.no_sanitizer
@pytest.mark.parametrize(
    "cost",
    [
        lambda: Headers([(b"if-match", b"a")] * 5_000).get(b"if-match"),
        lambda: names(b'"a",' * 15_000 + b'"tag"', b'"tag"', weak=True),
        lambda: coding_of(b"a," * 30_000, {b"gzip": 1}),
        lambda: coding_of(b"gzip" + b";" * 60_000, {b"gzip": 1}),
        lambda: ranges_of(Headers([(b"range", b"bytes=" + b"1-2," * 15_000)]), b"", 0, 100),
        lambda: Proxies("*").client_of([(b"x-forwarded-for", b"1::1," * 12_000)], None),
        lambda: Proxies("*").client_of([(b"x-forwarded-for", b"1::1")] * 3_000, None),
        lambda: escaped(b'"' * 60_000),
    ],
)
def test_long_headers_cost_little(cost):
    """What 64 KiB of a head can be made of."""
    times = []
    for _ in range(5):
        before = time.process_time()
        cost()
        times.append(time.process_time() - before)
    assert min(times) < 0.01


def test_long_headers_mean_what_short_ones_do():
    assert coding_of(b"br;q=0, gzip" + b" " * 900, {b"gzip": 1, b"br": 1}) == b"gzip"
    assert coding_of(b"gzip" + b" " * 1100, {b"gzip": 1}) is None
    assert names(b'"a",' * 200 + b'"tag"', b'"tag"', weak=True)
    assert Headers([(b"if-match", b"a"), (b"if-match", b"b")]).get(b"if-match") == b"a, b"
    assert escaped(b'a "\\\xff\x7f') == r"a\x20\x22\x5c\xff\x7f"
