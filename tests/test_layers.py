"""Arrows point down: who may import whom, read from the sources."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "ioring"

# What each module of the core may build on, from the bottom up: those before it, and declarations of C headers.
CORE = [
    ["constants", "number", "names"],
    ["errors", "address", "direct", "op"],
    ["cqe", "msghdr"],
    ["buffers", "entry"],
    ["sqe_files"],
    ["sqe_sockets"],
    ["sqe"],
    ["lifecycle"],
    ["ring"],
    ["driver"],
    ["echo", "handle"],
    ["loop"],
    ["transport", "awaitable", "records"],
    ["sock", "output", "pipe", "datagram", "fileops"],
    ["stream"],
    ["poll", "accept", "reader", "tls", "file", "quick", "pathops"],
    ["copying"],
    ["rawfile", "bufferedfile"],
    ["text", "directfile"],
    ["service"],
    ["exchange"],
    ["asgi", "environ"],
    ["wsgi"],
    ["answers", "connection"],
]
LEVEL = {name: level for level, names in enumerate(CORE) for name in names}

CIMPORT = re.compile(r"^\s*from\s+(?:cython\.cimports\.)?ioring([\w.]*)\s+c?import\b", re.MULTILINE)


def imports(path):
    """Names of the modules of this package that a file imports, at compile time or at run time."""
    text = path.read_text()
    found = {"ioring" + name for name in CIMPORT.findall(text)}
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "ioring"}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                module = node.module.removeprefix("cython.cimports.")
                if module == "ioring":
                    found |= {f"ioring.{alias.name}" for alias in node.names}
                elif module.startswith("ioring."):
                    found.add(module)
    return found


def is_header(name):
    """Whether a .pxd only declares what a C header of the same name defines."""
    return (SOURCE / "_core" / f"{name}.h").exists() and not (SOURCE / "_core" / f"{name}.py").exists()


def core_files():
    return sorted(path for suffix in ("*.py", "*.pxd") for path in (SOURCE / "_core").glob(suffix))


def test_sources_are_there():
    assert len(core_files()) > 10


@pytest.mark.parametrize("path", core_files(), ids=lambda path: path.name)
def test_core_imports_nothing_above_it(path):
    above = {name for name in imports(path) if not name.startswith("ioring._core")}
    assert not above


@pytest.mark.parametrize("path", [path for path in core_files() if path.stem in LEVEL], ids=lambda path: path.name)
def test_ring_modules_import_only_lower_ones(path):
    for name in imports(path):
        if name.startswith("ioring._core.") and is_header(name.rpartition(".")[2]):
            continue
        other = name.removeprefix("ioring._core.").removeprefix("ioring._core")
        if other and other != path.stem:
            assert LEVEL.get(other, len(CORE)) < LEVEL[path.stem], f"{path.name} imports {other}"


def test_c_headers_include_only_each_other():
    for path in (SOURCE / "_core").glob("*.h"):
        for included in re.findall(r'#include\s+"([^"]+)"', path.read_text()):
            assert (SOURCE / "_core" / included).exists()


def test_ring_layer_does_not_know_the_layers_above():
    ring_layer = {"ring", "features", "structs"}
    for name in ring_layer:
        for imported in imports(SOURCE / f"{name}.py"):
            part = imported.removeprefix("ioring.").split(".")[0]
            assert part == "_core" or part in ring_layer, f"{name}.py imports {imported}"


def test_private_asyncio_names_stay_in_two_places():
    for path in SOURCE.rglob("*.py"):
        if path.name not in ("loop.py", "reader.py"):
            assert not re.search(r"\basyncio\.(\w+\.)?_[a-z]", path.read_text()), path
