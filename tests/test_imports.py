"""What an import of ioring brings along: no more than what is used needs. Names of modules, not times.

Programs run in processes of their own: here everything is imported already.
"""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import ioring

pytestmark = [pytest.mark.any_kernel]

# Of what takes long to import, what the library itself uses here and there, and that asyncio does not import itself.
SLOW = {"ctypes", "email", "hmac", "html", "http", "json", "pathlib", "platform", "random", "secrets", "urllib", "uuid"}


def imported(program):
    """The modules that a program imports beyond asyncio and what the start of Python has."""
    # Editable installations import finders, and what those need, at Python's start.
    script = "import asyncio, json, sys; before = {*sys.modules}\n"
    script += f"{program}\nprint(json.dumps([*{{*sys.modules}} - before]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1])) - {"_frozen_importlib_external"}


def wings(modules):
    return {name.split(".")[1] for name in modules if name.count(".") > 1 and name.startswith("ioring.")}


def packages(modules):
    return {name.partition(".")[0] for name in modules}


def test_the_package_alone():
    found = imported("import ioring")
    assert {name for name in found if name.startswith("ioring")} == {
        "ioring",
        "ioring._main_interpreter",
        "ioring._version",
    }
    assert not packages(found) & SLOW - {"json"}


@pytest.mark.parametrize(
    "program, needed",
    [
        ("from ioring import Ring, Op, Sqe, features", {"ring"}),
        ("from ioring import run, Loop, new_event_loop", {"ring", "loop"}),
        ("from ioring import open, wrap", {"ring", "loop", "files"}),
        ("from ioring import *", {"ring", "loop", "files"}),
        ("import ioring; ioring.os.stat", {"ring", "loop", "files"}),
    ],
)
def test_wings(program, needed):
    assert wings(imported(program)) <= needed


@pytest.mark.parametrize(
    "program, slow",
    [
        ("from ioring import Ring, features", set()),
        ("from ioring import run", set()),
        ("from ioring import open", set()),
        ("from ioring import Path", {"pathlib", "urllib"}),
    ],
)
def test_slow_modules(program, slow):
    # json is the test's own.
    assert packages(imported(program)) & SLOW <= slow


def test_a_running_loop_needs_no_more():
    """Neither its start nor a socket imports what is slow."""
    found = imported(
        "async def main():\n"
        "    async with await asyncio.start_server(lambda reader, writer: writer.close(), '127.0.0.1', 0) as server:\n"
        "        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())\n"
        "        await reader.read()\n"
        "        writer.close()\n"
        "import ioring; ioring.run(main())"
    )
    assert wings(found) == {"ring", "loop"}
    assert not packages(found) & SLOW


@pytest.mark.any_python
@pytest.mark.parametrize("command, wing", [("doctor", "ring"), ("echo", "ring")])
def test_a_command_needs_no_server(command, wing):
    pytest.importorskip("click")
    found = imported(f"from ioring.cli.main import commands; commands(['{command}', '--help'], standalone_mode=False)")
    assert wings(found) <= {"cli", wing}


def test_each_name_is_where_type_checkers_find_it():
    """What `import *` and `from ioring import` give is what the imports say that only type checkers see."""
    tree = ast.parse(Path(ioring.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    shown = {
        alias.name: node.module for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert shown.pop("os") == "ioring"
    assert shown == ioring._MODULE_OF
    hidden = {"open", "serve", "Server", "StaticFiles"}
    if sys.version_info >= (3, 14):
        hidden.add("EventLoopPolicy")
    assert {*ioring.__all__} == {*shown} - hidden


def test_names():
    for name in ioring.__all__:
        assert getattr(ioring, name) is getattr(sys.modules[ioring._MODULE_OF[name]], name)
        assert name in vars(ioring), "asked for twice"
    assert {*ioring.__all__, "open", "os", "__version__"} <= {*dir(ioring)}
    assert ioring.os is sys.modules["ioring.os"]


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'ioring' has no attribute 'Rign'"):
        ioring.Rign  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Rign' from 'ioring'"):
        exec("from ioring import Rign")


def test_a_star_hides_nothing_of_python():
    names = {}
    exec("from ioring import *", names)
    assert "open" not in names and "os" not in names
    assert names["Ring"] is ioring.Ring
