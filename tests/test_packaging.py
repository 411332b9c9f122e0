"""The source distribution builds, a wheel builds from it, and both hold what a user needs."""

import importlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import ioring

ROOT = Path(__file__).parent.parent
COMPILED = sorted(
    pxd.relative_to(ROOT / "src").with_suffix("").as_posix()
    for pxd in (ROOT / "src/ioring").rglob("*.pxd")
    if pxd.with_suffix(".py").exists()
)

pytestmark = [
    pytest.mark.any_kernel,
    pytest.mark.any_python,
    pytest.mark.no_sanitizer,
    pytest.mark.timeout(600),
]


COMPILER = """#!/bin/sh
# Finds every header, but makes empty files: what is in a compiled module is not looked at.
case " $* " in
*" -c "*) exec cc -E "$@" ;;
esac
while [ $# -gt 1 ]; do
    [ "$1" != -o ] || : >"$2"
    shift
done
"""


def distributions(tmp_path):
    """File names in (the sdist, the wheel that was built from it)."""
    tree = tmp_path / "tree"
    # A copy, since a build writes into the tree it builds; without what earlier builds wrote.
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "*.so")
    shutil.copytree(ROOT, tree, ignore=unwanted)
    compiler = tmp_path / "cc"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    built = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", tree],
        env={**os.environ, "CC": str(compiler)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    [sdist] = tree.glob("dist/*.tar.gz")
    [wheel] = tree.glob("dist/*.whl")
    with tarfile.open(sdist) as tar, zipfile.ZipFile(wheel) as archive:
        source_names = {name.partition("/")[2] for name in tar.getnames()}
        return source_names, set(archive.namelist())


def tracked_sources():
    for path in (ROOT / "src/ioring").rglob("*"):
        if path.suffix in (".py", ".pyi", ".pxd", ".h", ".html") or path.name == "py.typed":
            yield path.relative_to(ROOT).as_posix()


def check_that_sdist_holds_sources_and_tests(names, _):
    wanted = {*tracked_sources(), "LICENSE", "pyproject.toml", "setup.py", "tests/conftest.py"}
    assert wanted <= names


def check_that_sdist_holds_nothing_that_was_built(names, _):
    # Programs in C to compare with, and what stands for older kernels.
    sources = {name for name in names if not name.startswith("benchmarks/") and name != "tests/old_kernel.c"}
    assert not [name for name in sources if name.startswith(("build", "dist", ".")) or name.endswith((".c", ".so"))]


def check_that_wheel_holds_sources_and_compiled_modules(_, names):
    compiled = {f"{name}.py" for name in COMPILED}
    wanted = {name.removeprefix("src/") for name in tracked_sources()} - compiled
    assert wanted <= names
    assert not names & compiled, "a source that is never imported"
    assert sorted(name.partition(".")[0] for name in names if name.endswith(".so")) == COMPILED


def check_that_wheel_holds_nothing_else(_, names):
    kinds = (".py", ".pyi", ".pxd", ".h", ".html", ".so", "py.typed")
    assert not [name for name in names if not name.endswith(kinds) and ".dist-info/" not in name]


def test_distributions(tmp_path):
    """One test, since they take long to build and each process would build its own."""
    names = distributions(tmp_path)
    check_that_sdist_holds_sources_and_tests(*names)
    check_that_sdist_holds_nothing_that_was_built(*names)
    check_that_wheel_holds_sources_and_compiled_modules(*names)
    check_that_wheel_holds_nothing_else(*names)


def test_compiled_modules_are_what_gets_imported():
    for name in COMPILED:
        module = importlib.import_module(name.replace("/", "."))
        assert module.__file__.endswith(".so"), name


def test_version_has_one_source():
    assert metadata.version("ioring") == ioring.__version__


def test_library_needs_no_other_package():
    assert not [line for line in metadata.requires("ioring") if "extra ==" not in line]
