"""`ioring.Server`: on a running loop, in a thread, in tests."""

import asyncio
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

import ioring
from http_servers import GET, LAST, WAIT_S, body_of, hello, lifeless
from ioring.http import ConfigurationError
from serving import APP

QUIET = {"port": 0, "access_log": False, "log_level": "warning"}
ROOT = Path(__file__).parents[2]


def ask(server, path="/"):
    with urllib.request.urlopen(server.url + path, timeout=WAIT_S) as response:
        return response.read()


async def asked(port, data=LAST):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    said = await reader.read()
    writer.close()
    return said


def run(http_loop, main):
    with asyncio.Runner(loop_factory=http_loop) as runner:
        return runner.run(main)


class Life:
    """An application with a start-up and a shutdown, and with a request that waits."""

    def __init__(self, fails=False):
        self.seen, self.fails = [], fails
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            self.seen.append("started")
            if self.fails:
                await send({"type": "lifespan.startup.failed", "message": "no database"})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.seen.append("ended")
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] == "/wait":
            self.begun.set()
            await self.go.wait()
            await hello(scope, receive, send)
        else:
            await hello(scope, receive, send)


def test_on_a_running_loop(http_loop):
    async def main():
        life = Life()
        server = ioring.Server(life, **QUIET)
        with pytest.raises(RuntimeError, match="not started"):
            server.port  # noqa: B018
        with pytest.raises(RuntimeError, match="not started"):
            server.url  # noqa: B018
        assert server.sockets == ()
        async with server as entered:
            assert entered is server
            assert life.seen == ["started"]
            assert server.url == f"http://127.0.0.1:{server.port}"
            assert [each.getsockname()[1] for each in server.sockets] == [server.port]
            for _ in range(3):
                assert body_of(await asked(server.port)) == b"hello"
        assert life.seen == ["started", "ended"]
        assert server.sockets == ()
        with pytest.raises(ConnectionRefusedError):
            await asked(server.port)
        with pytest.raises(RuntimeError, match="serves once"):
            await server.start()

    run(http_loop, main())


def test_several_at_once(http_loop):
    async def main():
        async with ioring.Server(lifeless(hello), **QUIET) as first, ioring.Server(lifeless(hello), **QUIET) as second:
            assert first.port != second.port
            assert body_of(await asked(first.port)) == body_of(await asked(second.port)) == b"hello"

    run(http_loop, main())


@pytest.mark.parametrize("early", [True, False])
def test_serve_until_stop(http_loop, early):
    async def main():
        life = Life()
        server = ioring.Server(life, **QUIET)
        if early:
            server.stop()  # before it has started
            await server.serve()
        else:
            await server.start()
            serving = asyncio.ensure_future(server.serve())
            request = asyncio.ensure_future(asked(server.port, GET.replace(b"/", b"/wait", 1)))
            await life.begun.wait()
            threading.Thread(target=server.stop).start()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(serving), 0.2)
            life.go.set()
            assert b"hello" in await request  # what it has begun it answers
            await serving
        server.stop()  # which changes nothing any more
        assert life.seen == ["started", "ended"]

    run(http_loop, main())


@pytest.mark.parametrize("how", ["twice", "cancelled", "raised"])
def test_ends_at_once(http_loop, how):
    async def main():
        life = Life()
        server = ioring.Server(life, **QUIET)
        request = None

        async def ask_and_wait():
            nonlocal request
            request = asyncio.ensure_future(asked(server.port, GET.replace(b"/", b"/wait", 1)))
            await life.begun.wait()

        if how == "raised":
            with pytest.raises(ZeroDivisionError):
                async with server:
                    await ask_and_wait()
                    raise ZeroDivisionError
        else:
            await server.start()
            serving = asyncio.ensure_future(server.serve())
            await ask_and_wait()
            if how == "cancelled":
                serving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await serving
            else:
                server.stop()
                server.stop()
                await serving
        with pytest.raises(ConnectionResetError):
            assert await request == b""
            raise ConnectionResetError  # either of them
        assert server.sockets == ()

    run(http_loop, main())


def test_in_a_thread():
    with ioring.Server(lifeless(hello), **QUIET) as server:
        assert ask(server) == b"hello"
        assert threading.active_count() > 1
        url = server.url
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=WAIT_S)


def test_wsgi_and_folders_in_threads(tmp_path):
    def wsgi(environ, start_response):
        start_response("200 OK", [])
        return [b"from wsgi"]

    (tmp_path / "file").write_text("from a file")
    with ioring.Server(wsgi, **QUIET) as server, ioring.Server(tmp_path, **QUIET) as other:
        assert ask(server) == b"from wsgi"
        assert ask(other, "/file") == b"from a file"


def test_unix_socket(tmp_path):
    with ioring.Server(lifeless(hello), uds=str(tmp_path / "s"), log_level="warning") as server:
        assert server.url == f"http+unix://{tmp_path}/s"
        with pytest.raises(RuntimeError, match="Unix socket"):
            server.port  # noqa: B018
    assert not (tmp_path / "s").exists()


def test_start_that_fails(http_loop):
    async def main():
        with pytest.raises(ConfigurationError, match="no database"):
            async with ioring.Server(Life(fails=True), **QUIET):
                raise AssertionError

    run(http_loop, main())
    with ioring.Server(lifeless(hello), **QUIET) as server:
        with (
            pytest.raises(ConfigurationError, match="cannot listen"),
            ioring.Server(lifeless(hello), **{**QUIET, "port": server.port}),
        ):
            raise AssertionError
        assert ask(server) == b"hello"


@pytest.mark.any_kernel
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 2}, "workers: a Server is in one process"),
        ({"reload": True}, "reload: a Server does not restart"),
        ({"worker_timeout": 5}, "worker_timeout: a Server does not restart"),
        ({"nonsense": 5}, "nonsense: there is no such option"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(ConfigurationError, match=words):
        ioring.Server("main:app", **options)


def test_what_it_prints(tmp_path):
    program = f"""
import urllib.request
import ioring
{APP}
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"said"}})
with ioring.Server(app, port=0) as server:
    urllib.request.urlopen(server.url + "/path").read()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT_S, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("ioring: serves app on http://127.0.0.1:")
    assert second.endswith('"GET /path HTTP/1.1" 200')
    assert done.stderr == ""


def test_the_example_for_pytest():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "examples/test_with_server.py",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=6 * WAIT_S, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
