"""uvicorn as a process of its own, started as people start it, asked by plain HTTP and by websockets."""

import asyncio
import contextlib
import errno
import hashlib
import http.client
import os
import signal
import socket
import ssl
import threading

import pytest

from programs import children

pytestmark = pytest.mark.no_sanitizer

pytest.importorskip("uvicorn", reason="uvicorn is not installed")

# After it has cleaned up, it sends itself the signal that ended it; releases before 0.29 did not.
ENDED = (0, -signal.SIGTERM)


@pytest.fixture(params=["httptools", "h11"])
def http_option(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


@contextlib.contextmanager
def uvicorn(loop, *options, scheme="http"):
    arguments = ["-m", "uvicorn", "programs.applications:app", "--port", 0, "--loop", loop, *options]
    with children.python(*arguments) as child:
        child.port = int(child.wait_for(rf"Uvicorn running on {scheme}://127\.0\.0\.1:(\d+)")[1])
        yield child


@pytest.fixture
def served(loop_name, http_option):
    with uvicorn(f"programs.loops:{loop_name}", "--http", http_option) as child:
        yield child
        assert child.stop() in ENDED, child.said
        child.wait_for("lifespan.shutdown")
        assert "Traceback" not in child.said


@contextlib.contextmanager
def connection(child, tls=None):
    if tls is None:
        found = http.client.HTTPConnection("127.0.0.1", child.port, timeout=30)
    else:
        found = http.client.HTTPSConnection("localhost", child.port, timeout=30, context=tls)
    with contextlib.closing(found):
        yield found


def ask(connection, method, path, body=None):
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read()


def test_requests(served):
    with connection(served) as client:
        for number in range(20):
            assert ask(client, "GET", f"/hello?{number}") == (200, b"hello %d" % number)
        body = os.urandom(20_000_000)
        expected = f"{hashlib.sha256(body).hexdigest()} {len(body)}".encode()
        assert ask(client, "POST", "/digest", body) == (200, expected)
        parts = [os.urandom(size) for size in (1, 70_000, 3, 500_000)]
        whole = b"".join(parts)
        expected = f"{hashlib.sha256(whole).hexdigest()} {len(whole)}".encode()
        assert ask(client, "POST", "/digest", iter(parts)) == (200, expected)
        numbers = b"".join(b"%d\n" % number for number in range(10_000))
        assert ask(client, "GET", "/count?to=10000") == (200, numbers)


def test_clients_at_once(served):
    right = []

    def talk(number):
        with connection(served) as client:
            answers = [ask(client, "GET", f"/hello?{number}-{turn}") for turn in range(20)]
        right.append(answers == [(200, b"hello %d-%d" % (number, turn)) for turn in range(20)])

    threads = [threading.Thread(target=talk, args=[number]) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 30


def test_client_that_leaves(served):
    with connection(served) as client:
        client.request("GET", "/left")
        assert client.getresponse().readline() == b"begun\n"
    served.wait_for("client left")


def test_application_that_fails(loop_name, http_option):
    with uvicorn(f"programs.loops:{loop_name}", "--http", http_option) as child, connection(child) as client:
        assert ask(client, "GET", "/fail") == (500, b"Internal Server Error")
        child.wait_for("RuntimeError: on purpose")
        assert ask(client, "GET", "/hello?on") == (200, b"hello on")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_answer_is_finished_before_the_end(loop_name, number):
    with uvicorn(f"programs.loops:{loop_name}") as child, connection(child) as client:
        client.request("GET", "/gate")
        child.wait_for("(?m)^begun")
        child.process.send_signal(number)
        assert client.getresponse().read() == b"begun\nended\n"
        assert child.wait() in (0, -number), child.said
        child.wait_for("lifespan.shutdown")
        assert "CancelledError" not in child.said


def test_keep_alive_does_not_hinder_the_end(loop_name):
    with uvicorn(f"programs.loops:{loop_name}") as child, connection(child) as client:
        assert ask(client, "GET", "/hello?") == (200, b"hello ")
        assert child.stop() in ENDED, child.said
        assert client.sock.recv(1) == b""


def test_tls(loop_name, http_option, certificates):
    options = ["--ssl-certfile", certificates.cert, "--ssl-keyfile", certificates.key, "--http", http_option]
    with uvicorn(f"programs.loops:{loop_name}", *options, scheme="https") as child:
        with connection(child, certificates.client) as client:
            body = os.urandom(5_000_000)
            expected = f"{hashlib.sha256(body).hexdigest()} {len(body)}".encode()
            assert ask(client, "POST", "/digest", body) == (200, expected)
            assert ask(client, "GET", "/hello?tls") == (200, b"hello tls")
        with connection(child, ssl.create_default_context()) as client, pytest.raises(ssl.SSLError):
            ask(client, "GET", "/hello")
        with connection(child, certificates.client) as client:
            assert ask(client, "GET", "/hello?again") == (200, b"hello again")


@pytest.mark.parametrize("implementation", ["websockets", "websockets-sansio", "wsproto"])
async def test_web_socket(loop_name, implementation):
    websockets = pytest.importorskip("websockets", reason="websockets is not installed")
    from websockets.asyncio.client import connect

    if implementation == "wsproto":
        pytest.importorskip("wsproto", reason="wsproto is not installed")

    async def talk(url, number):
        async with connect(url, max_size=None) as socket:
            for message, answer in [(f"word {number}", f"WORD {number}"), (b"abc", b"cba")]:
                await socket.send(message)
                assert await socket.recv() == answer
            big = os.urandom(300_000)
            await socket.send(big)
            assert await socket.recv() == big[::-1]

    with uvicorn(f"programs.loops:{loop_name}", "--ws", implementation) as child:
        url = f"ws://127.0.0.1:{child.port}/"
        await asyncio.gather(*(talk(url, number) for number in range(20)))
        async with connect(url) as socket:
            await socket.send("close")
            with pytest.raises(websockets.ConnectionClosedError) as caught:
                await socket.recv()
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "asked")
        async with connect(url) as socket:
            await socket.close(4002)
        child.wait_for("websocket ended 4002")


def test_unix_socket(loop_name, tmp_path):
    path = tmp_path / "socket"
    arguments = ["-m", "uvicorn", "programs.applications:app", "--uds", path, "--loop", f"programs.loops:{loop_name}"]
    with children.python(*arguments) as child:
        child.wait_for("Uvicorn running on unix socket")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /hello?path HTTP/1.0\r\n\r\n")
            with client.makefile("rb") as answer:
                assert b"\r\nhello path\r\n" in answer.read()
        assert child.stop() in ENDED, child.said


def test_two_workers(loop_name):
    """Processes that uvicorn starts, listening on a socket that they inherited."""
    options = ["--workers", 2]
    with uvicorn(f"programs.loops:{loop_name}", *options) as child:
        child.wait_for(r"(?s)(Application startup complete.*){2}")
        # They say so before they listen.
        with socket.socket() as first:
            while first.connect_ex(("127.0.0.1", child.port)) == errno.ECONNREFUSED:
                pass
        for number in range(50):
            with connection(child) as client:
                assert ask(client, "GET", f"/hello?{number}") == (200, b"hello %d" % number)
        assert child.stop() in ENDED, child.said
        assert child.said.count("lifespan.shutdown") == 2
