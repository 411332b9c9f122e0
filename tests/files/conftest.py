import asyncio
import contextlib
import importlib

import pytest

from engines import ENGINES, ENGINES_AND_UVLOOP


def pytest_generate_tests(metafunc):
    """`run` is each of the engines, or of those that a module's RUN_ON names."""
    if "run" in metafunc.fixturenames:
        metafunc.parametrize("run", list(getattr(metafunc.module, "RUN_ON", ENGINES)), indirect=True)


@pytest.fixture
def run(request):
    """Runs a coroutine on one of the engines."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    return ENGINES_AND_UVLOOP[request.param]


@pytest.fixture(scope="session", autouse=True)
def first_uvloop():
    """The first loop of uvloop's leaves a pipe open, for all that follow."""
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("uvloop").run(asyncio.sleep(0))


@pytest.fixture
def path(request, tmp_path):
    """The name of a file, which holds the module's DATA if that has any."""
    path = tmp_path / "file"
    if hasattr(request.module, "DATA"):
        path.write_bytes(request.module.DATA)
    return path
