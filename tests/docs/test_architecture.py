"""The pictures of the architecture show what is there."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
draw = runpy.run_path(str(ROOT / "scripts/site/draw.py"))
WINGS, WALKS = draw["read"]()

pytestmark = [pytest.mark.any_kernel, pytest.mark.any_python, pytest.mark.no_sanitizer]


def test_the_pictures_are_those_of_the_text():
    for path, content in draw["pictures"]().items():
        assert path.read_text() == content, f"{path.name} is old: run python scripts/site/draw.py"


def test_the_wings_are_there():
    wings = [wing.name for wing in WINGS]
    assert wings[-1] == "kernel"
    folders = {path.parent.name for path in (ROOT / "src/ioring").glob("*/__init__.py")}
    assert set(wings[:-1]) == folders - {"aiofiles"}


def test_the_walks_go_through_files_that_exist():
    assert len(WALKS) == 3
    for name, steps in WALKS:
        missing = [
            step.place for step in steps if step.place != "*" and not (ROOT / "src/ioring" / step.place).is_file()
        ]
        assert missing == [], name
        assert len(steps) > 5


def test_functions_named_in_the_walks_exist():
    """Such as `reap()`: it stands in the file of its step, or in one that the program writes."""
    for _, steps in WALKS:
        for step in steps:
            if step.place == "*":
                continue
            source = (ROOT / "src/ioring" / step.place).read_text()
            for name in draw["functions_of"](step.what):
                assert name in source, f"{step.place}: {name}()"
