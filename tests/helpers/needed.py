"""Programs that tests need. A test whose program is not there is skipped, in words by which that is known.

With IORING_TEST_COMPLETE=1, where all of tests/packages.txt was installed, such a skip is an error: see conftest.py.
"""

import pathlib
import shutil

import pytest

MISSING = "not on this machine: "
"""How the reason begins."""

_LINES = [
    line.split("#") for line in pathlib.Path(__file__).parents[1].joinpath("packages.txt").read_text().splitlines()
]
PACKAGES = {name: package.strip() for package, names in _LINES if package.strip() for name in names.split()}
"""The Debian package of each program."""


def reason(name):
    """Why a test without this program, or library, is skipped."""
    return f"{MISSING}{name} (of Debian's {PACKAGES[name]})"


def program(*names, path=None):
    """Where the first of these programs that is there is; skips the test without any."""
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    if found is None:
        pytest.skip(reason(names[0]))
    return found


def needs_program(*names):
    """Skips a test without any of these programs."""
    return pytest.mark.skipif(not any(map(shutil.which, names)), reason=reason(names[0]))
