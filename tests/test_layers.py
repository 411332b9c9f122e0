"""Arrows point down: who may import whom, read from the sources.

The wings stand on each other, ``cli -> http -> files -> loop -> ring``, and inside a wing no two modules need each
other, not even by way of others. Imports inside functions count too.
"""

import ast
import graphlib
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = SOURCE / "ioring"

WINGS = ["ring", "loop", "files", "http", "cli"]
"""From the bottom up."""

PUBLIC = {
    "": len(WINGS),  # the package itself: the public names
    "__main__": len(WINGS) + 1,
    "_version": -2,
    "_main_interpreter": -1,
    "os": WINGS.index("files"),
    "whole": WINGS.index("files"),
    "aiofiles": WINGS.index("files"),
}
"""What lies beside the wings, and how high."""

CIMPORT = re.compile(r"^\s*from\s+(?:cython\.cimports\.)?(ioring[\w.]*)\s+c?import\s+(\w+)", re.MULTILINE)


def module_name(path):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources():
    return sorted(path for suffix in ("*.py", "*.pxd") for path in PACKAGE.rglob(suffix))


MODULES = {module_name(path) for path in sources()}


def imports(path):
    """Names of the modules of this package that a file imports, at compile time or at run time."""
    text = path.read_text()
    # `from package import name`: the module of that name if there is one, the package otherwise.
    pairs = CIMPORT.findall(text) if path.suffix == ".pxd" else []
    found = set()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "ioring"}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                module = node.module.removeprefix("cython.cimports.")
                if module.split(".")[0] == "ioring":
                    pairs += [(module, alias.name) for alias in node.names]
    for module, name in pairs:
        found.add(f"{module}.{name}" if f"{module}.{name}" in MODULES else module)
    assert found <= MODULES, f"{path}: {found - MODULES}"
    return found - {module_name(path)}


def height(module):
    """The wing that a module belongs to, as a number: what it imports has none that is higher."""
    part = module.split(".")[1] if "." in module else ""
    return WINGS.index(part) if part in WINGS else PUBLIC[part]


def is_header(path):
    """Whether a .pxd only declares what a C header defines."""
    return path.suffix == ".pxd" and path.with_suffix(".h").exists() and not path.with_suffix(".py").exists()


def test_sources_are_there():
    assert {f"ioring.{wing}" for wing in WINGS} < MODULES
    assert len(MODULES) > 100


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = height(module_name(path))
    higher = {name for name in imports(path) if height(name) > own}
    # Looked up when a command or `ioring.serve` asks for it; the page of the version needs nothing.
    allowed = {"ioring.http"} if module_name(path) == "ioring" else {"ioring"} if own >= WINGS.index("http") else set()
    assert not higher - allowed


def test_no_circles():
    graph = {}
    for path in sources():
        if path != PACKAGE / "__init__.py":
            graph.setdefault(module_name(path), set()).update(imports(path) - {"ioring"})
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("wing", WINGS)
def test_compiled_modules_have_an_underscore(wing):
    for path in (PACKAGE / wing).rglob("*"):
        if path.suffix == ".py" and path.name != "__init__.py":
            assert path.stem.startswith("_") == path.with_suffix(".pxd").exists(), path
        elif path.suffix == ".pxd":
            assert is_header(path) != path.stem.startswith("_"), path


def test_wings_import_nothing_by_themselves():
    for wing in WINGS:
        text = (PACKAGE / wing / "__init__.py").read_text()
        tree = ast.parse(text)
        assert ast.get_docstring(tree), wing
        assert not [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], wing


def test_c_headers_include_only_each_other():
    headers = {path.name: path for path in PACKAGE.rglob("*.h")}
    assert len(headers) == len(list(PACKAGE.rglob("*.h"))), "two headers of one name"
    for path in headers.values():
        for included in re.findall(r'#include\s+"([^"]+)"', path.read_text()):
            assert height(module_name(headers[included])) <= height(module_name(path))


def test_private_asyncio_names_stay_where_they_are_checked():
    """See loop/test_asyncio_names.py."""
    for path in PACKAGE.rglob("*.py"):
        if path.name not in ("asyncio_private.py", "_stream_reader.py"):
            assert not re.search(r"\basyncio\.(\w+\.)?_[a-z]", path.read_text()), path
