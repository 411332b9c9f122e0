"""uvloop's tests, of a pinned source distribution: where they come from, and how a loop gets under them.

They import `uvloop` and make loops with it, also in processes that they start. So a package of that name stands first
on the path (`shim/uvloop`), with the loop in question behind uvloop's names. On uvloop itself there is no such package.

The tests come in pairs of classes, one for uvloop and one for asyncio. Those for uvloop are run. What they ask of
uvloop alone, stock asyncio fails too, and nobody else has to pass: `passed_by_asyncio/` holds the names of what it
passes.
"""

import importlib
import importlib.util
import os
import pathlib
import sys

from . import loops
from .sdist import Sdist, Unavailable

PACKAGE = "tests"
TESTS = Sdist(
    "uvloop",
    "0.23.0",
    "28d160f51ab4da3b187063652e643dea6831072add4adc1e6d62afbe73b6be27",
    others={"uvloop/_testbase.py": "testbase/_testbase.py"},
)
SHIM = pathlib.Path(__file__).with_name("shim")
RECORDS = pathlib.Path(__file__).with_name("passed_by_asyncio")

MODULES = {
    "test_aiohttp": ["aiohttp"],
    "test_base": [],
    "test_context": [],
    "test_dealloc": [],
    "test_dns": [],
    "test_executors": [],
    "test_pipes": [],
    "test_process": ["psutil"],
    "test_process_spawning": [],
    "test_regr1": [],
    "test_runner": [],
    "test_signals": [],
    "test_sockets": [],
    "test_tcp": ["OpenSSL"],
    "test_udp": [],
    "test_unix": [],
}
"""The modules, with the packages that each needs; without those about libuv, Cython and uvloop's style."""


def modules():
    return list(MODULES)


def made_counts(module):
    return True


def missing(module):
    """The packages that a module needs and this environment has not."""
    return [name for name in MODULES[module] if importlib.util.find_spec(name) is None]


def environment(loop):
    """What the process needs: `tests`, and the stand-in for uvloop unless that is the loop in question."""
    shim = [] if loop == "uvloop" else [str(SHIM)]
    return {
        "PYTHONPATH": os.pathsep.join([*shim, str(TESTS.cache)]),
        "IORING_SUITE_TESTBASE": str(TESTS.cache / "testbase"),
    }


def load(module, make, watch):
    """Imports a module of tests, without the classes for asyncio's own loop."""
    testbase = importlib.import_module("uvloop._testbase")
    if os.environ[loops.VARIABLE] != "uvloop":
        # Tests look here for what they know of uvloop or asyncio alone. This is neither.
        testbase.UVTestCase.implementation = "another"
    tests = importlib.import_module(f"{PACKAGE}.{module}")
    for name, value in list(vars(tests).items()):
        if isinstance(value, type) and issubclass(value, testbase.AIOTestCase):
            delattr(tests, name)
    return tests


def passed_by_asyncio(version=None):
    """The names of the tests that stock asyncio passes, of a Python like "3.12"; the one that runs if none is given."""
    version = version or "{}.{}".format(*sys.version_info)
    record = RECORDS / f"{version}.txt"
    if not record.exists():
        raise Unavailable(f"nobody has written down what asyncio of Python {version} passes")
    return [line for line in record.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
