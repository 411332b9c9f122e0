"""uvicorn's tests of HTTP, of a pinned source distribution, on our server: where they come from, and how they are run.

They run in a process of their own, by pytest, in a copy, with uvicorn itself beside them. `shim_uvicorn` stands in for
what they test. This module is a plugin of that pytest too: it puts our names where the tests have theirs, and takes one
of the variants of each test, since they differ in parsers of uvicorn's.
"""

import fnmatch
import importlib.util
import os
import pathlib
import shutil
import sys

from . import copies, skips
from .sdist import Sdist

TESTS = Sdist(
    "uvicorn",
    "0.54.0",
    "a2e33cbfaa0306f8e6b0c13e0cb89d7d7a2da3e62b90c66e18c33d9807b28620",
    folders=("tests", "uvicorn"),
)
VARIABLE = "IORING_SUITE_UVICORN"
LOOP_VARIABLE = "IORING_SUITE_UVICORN_LOOP"
LIMIT_S = 300

MODULES = {
    "test_http": "tests/protocols/test_http.py",
    "test_websocket": "tests/protocols/test_websocket.py",
    "test_proxy_headers": "tests/middleware/test_proxy_headers.py",
    "test_default_headers": "tests/test_default_headers.py",
    "test_ssl": "tests/test_ssl.py",
}

LOOPS = ["ring", "direct", "asyncio"]

INSTEAD = """
from suites.shim_uvicorn import {}  # noqa
"""


def missing():
    """The packages that the tests need and this environment has not."""
    needed = ("click", "h11", "httptools", "httpx", "anyio", "websockets", "wsproto", "trustme", "cryptography")
    return [name for name in needed if importlib.util.find_spec(name) is None]


def left_out(module, name):
    """The line that leaves a test out; None when it is to pass."""
    for line in skips.lines("uvicorn", module):
        if fnmatch.fnmatchcase(f"{module}.{name}", line.pattern.replace("[", "[[]")):
            return line
    return None


def run(module, loop, folder):
    """Runs a module's tests on a kind of loop, in a copy below a folder. The outcomes by name, and what was printed."""
    copy = pathlib.Path(folder, "uvicorn")
    shutil.copytree(TESTS.cache, copy)
    with open(copy / "tests" / "utils.py", "a", encoding="utf-8") as file:
        file.write(INSTEAD.format("run_server"))
    copy.joinpath("pytest.ini").write_text("[pytest]\n")
    found, printed = copies.run(
        copy,
        "suites.uvicorn",
        "-p",
        "no:asyncio",
        MODULES[module],
        variables={VARIABLE: module, LOOP_VARIABLE: loop},
        limit=LIMIT_S,
    )
    return {name: outcome for (_, name), outcome in found.items()}, printed


if VARIABLE in os.environ:  # this is the plugin
    import asyncio
    import functools

    import httpx
    import pytest

    import ioring

    sys.modules.setdefault("httpx2", httpx)  # what the tests need of it is the same

    VARIANTS = {"http_protocol_cls": "httptools_impl", "ws_protocol_cls": "websockets_sansio_impl"}

    make_loop = {
        "ring": ioring.Loop,
        "direct": functools.partial(ioring.Loop, direct_descriptors=True),
        "asyncio": asyncio.SelectorEventLoop,
    }[os.environ[LOOP_VARIABLE]]

    def pytest_configure(config):
        from uvicorn.config import Config

        from suites import shim_uvicorn

        shim_uvicorn.keep_options(Config)
        shim_uvicorn.make_loop = make_loop

    def is_chosen(item):
        given = item.callspec.params if hasattr(item, "callspec") else {}
        return all(wanted in given.get(name, wanted) for name, wanted in VARIANTS.items())

    def pytest_collection_modifyitems(config, items):
        from suites import shim_uvicorn

        module = os.environ[VARIABLE]
        for tests in {item.module for item in items}:
            if hasattr(tests, "get_connected_protocol"):
                tests.get_connected_protocol = shim_uvicorn.Connected
            if hasattr(tests, "make_httpx2_client"):
                tests.make_httpx2_client = functools.partial(shim_uvicorn.proxied_client, tests.default_app)
        others = [item for item in items if not is_chosen(item)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if is_chosen(item)]
        used = set()
        for item in items:
            if (line := left_out(module, item.name)) is not None:
                used.add(line)
                # What is done in another way has to fail, or the line is not true any more.
                differs = line.kind == "skip"
                mark = pytest.mark.xfail(reason=line.reason, strict=True) if differs else pytest.mark.skip(line.reason)
                item.add_marker(mark)
        unused = [line for line in skips.lines("uvicorn", module) if line not in used]
        if unused:
            raise pytest.UsageError(f"lines of {skips.FILE.name} without a test: {unused}")

    @pytest.fixture(autouse=True)
    def on_our_server():
        """A test that passes has had a server of ours; its connections are closed afterwards."""
        from suites import shim_uvicorn

        shim_uvicorn.ran.clear()
        yield
        while shim_uvicorn.made:
            shim_uvicorn.made.pop().close()
        assert shim_uvicorn.ran, "the test did not use the server"

    @pytest.fixture(autouse=True, scope="session")
    def our_loop():
        """The loop of asynchronous tests: anyio's runner makes one by asyncio."""
        before = asyncio.new_event_loop
        asyncio.new_event_loop = asyncio.events.new_event_loop = make_loop
        yield
        asyncio.new_event_loop = asyncio.events.new_event_loop = before
