"""The programs of docs/guides/frameworks.md, which stand in the folder guide, run and are asked."""

import errno
import http.client
import importlib.util
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from programs import children, loops

GUIDE = Path(__file__).parent / "guide"

pytestmark = [
    pytest.mark.no_sanitizer,
    pytest.mark.skipif("plain" not in loops.CHOSEN, reason="the guide is about our loop"),
]


@pytest.fixture(autouse=True)
def loop_name():
    """Once: the programs name the loop themselves."""


def need(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def start(arguments, **variables):
    path = os.pathsep.join(filter(None, [str(GUIDE), os.environ.get("PYTHONPATH")]))
    return children.running([sys.executable, *arguments], env={**os.environ, "PYTHONPATH": path, **variables})


def source(name, port):
    return (GUIDE / f"{name}.py").read_text().replace("8080", str(port))


def connect(child, port):
    """A connection, as soon as somebody listens."""
    while True:
        client = socket.socket()
        error = client.connect_ex(("127.0.0.1", port))
        if error == 0:
            return client
        client.close()
        assert error == errno.ECONNREFUSED, os.strerror(error)
        assert child.process.poll() is None, child.said


def loop_of(child, port):
    """Which module's loop answers."""
    connect(child, port).close()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=children.TIMEOUT_S)
    try:
        client.request("GET", "/")
        return client.getresponse().read().decode()
    finally:
        client.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("program", ["uvicorn", "aiohttp", "hypercorn", "granian", "tornado"])
def test_servers(program, number):
    need(program)
    port = children.free_port()
    with start(["-c", source(f"{program}_server", port)]) as child:
        assert loop_of(child, port).startswith("ioring.loop")
        # Some take the signal for themselves, some leave it to Python, and tornado's does nothing about either.
        assert child.stop(number) in (0, -number), child.said


def test_uvicorn_command():
    need("uvicorn")
    with start(["-m", "uvicorn", "application:app", "--port", "0", "--loop", "ioring:new_event_loop"]) as child:
        port = int(child.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1])
        assert loop_of(child, port).startswith("ioring.loop")
        assert child.stop() in (0, -signal.SIGTERM), child.said


@pytest.mark.parametrize(("module", "needed"), [("ring_worker", "uvicorn_worker"), ("ring_asgi_worker", "gunicorn")])
def test_gunicorn(module, needed, tmp_path):
    need("gunicorn", needed)
    port = children.free_port()
    options = ["--worker-class", f"{module}.RingWorker", "--workers", "2"]
    with start(
        ["-m", "gunicorn", "application:app", *options, "--bind", f"127.0.0.1:{port}"], HOME=str(tmp_path)
    ) as child:
        assert loop_of(child, port).startswith("ioring.loop")
        assert child.stop() == 0, child.said


def test_anyio():
    need("anyio")
    port = children.free_port()
    with start(["-c", source("anyio_program", port)]) as child:
        with connect(child, port) as client:
            client.sendall(b"word")
            assert client.recv(100) == b"word"
        assert child.stop(signal.SIGINT) in (0, -signal.SIGINT), child.said


PLUGIN_TEST = """
import asyncio, pytest

@pytest.mark.{mark}
async def test_loop():
    await asyncio.sleep(0.001)
    assert type(asyncio.get_running_loop()).__module__.startswith("ioring.loop")
"""


@pytest.mark.parametrize(("plugin", "mark"), [("anyio", "anyio"), ("pytest_asyncio", "asyncio")])
def test_plugins_of_pytest(plugin, mark, tmp_path):
    need(plugin)
    (tmp_path / "conftest.py").write_text((GUIDE / f"{plugin}_conftest.py").read_text())
    (tmp_path / "test_loop.py").write_text(PLUGIN_TEST.format(mark=mark))
    with start(["-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]) as child:
        assert child.wait() == 0, child.said
    assert "1 passed" in child.said


@pytest.mark.skipif(sys.version_info < (3, 13), reason="IsolatedAsyncioTestCase has no loop_factory")
def test_unittest():
    with start([str(GUIDE / "unittest_case.py")]) as child:
        assert child.wait() == 0, child.said
    assert "Ran 1 test" in child.said


def test_notebook():
    need("anyio")
    with start([str(GUIDE / "notebook.py")]) as child:
        assert child.wait() == 0, child.said
    assert child.said == "Loop\n"
