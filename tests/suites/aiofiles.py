"""aiofiles' tests, of a pinned source distribution, on our files: where they come from, and how they are run.

They import `aiofiles`; a package of that name stands first on the path (`shim_aiofiles`) and gives them ours. They run
in a process of their own, by pytest and pytest-asyncio, in a copy, because they change their folder. This module is a
plugin of that pytest too: it brings the loop, or takes the ring away.
"""

import importlib.util
import os
import pathlib
import shutil

from . import copies
from .sdist import Sdist

TESTS = Sdist("aiofiles", "25.1.0", "a8d728f0a29de45dc521f18f07297428d56992a742f0cd2701ba86e44d23d5b2")
SHIM = pathlib.Path(__file__).with_name("shim_aiofiles")
VARIABLE = "IORING_SUITE_ENGINE"
LIMIT_S = 300

ENGINES = ["loop", "side", "threads"]
LEFT_OUT = {
    "test_slow_file": "replaces the blocking open, which is not called, by a slow one, to see that a thread calls it",
}
if os.geteuid() == 0:
    LEFT_OUT["test_access"] = "root may read and write whatever the mode says"


def missing():
    """The packages that the tests need and this environment has not."""
    return [name for name in ("pytest_asyncio",) if importlib.util.find_spec(name) is None]


def run(engine, folder):
    """Runs all tests with an engine, in a copy below a folder. The outcomes by name, and what was printed."""
    copy = pathlib.Path(folder, "aiofiles")
    shutil.copytree(TESTS.cache, copy)
    copy.joinpath("pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    found, printed = copies.run(
        copy,
        "suites.aiofiles",
        "-k",
        " and ".join(f"not {name}" for name in LEFT_OUT),
        "tests",
        variables={VARIABLE: engine},
        limit=LIMIT_S,
        first=[SHIM],
    )
    return {f"{where}.{name}": outcome for (where, name), outcome in found.items()}, printed


if VARIABLE in os.environ:  # this is the plugin
    import asyncio
    import inspect

    import pytest

    import ioring
    from ioring.files import engine as engines

    def pytest_asyncio_loop_factories(config, item):
        make = ioring.new_event_loop if os.environ[VARIABLE] == "loop" else asyncio.SelectorEventLoop
        return {os.environ[VARIABLE]: make}

    def pytest_collection_modifyitems(items):
        for item in items:
            if inspect.iscoroutinefunction(item.function):
                item.add_marker(pytest.mark.usefixtures("engine_is_right"))

    if os.environ[VARIABLE] == "threads":
        engines.RingSide = engines.ThreadSide

    @pytest.fixture
    async def engine_is_right():
        """What is tested works by the engine in question."""
        kinds = {"loop": ioring.Loop, "side": engines.RingSide, "threads": engines.ThreadSide}
        assert type(engines.running()) is kinds[os.environ[VARIABLE]]
