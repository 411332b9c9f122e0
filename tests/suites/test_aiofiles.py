"""aiofiles' own tests, on ioring.aiofiles, in each of the ways in which files are done."""

import pytest

from suites import aiofiles, sdist

pytestmark = [pytest.mark.timeout(aiofiles.LIMIT_S + 60), pytest.mark.no_sanitizer, pytest.mark.any_kernel]

TESTS_MIN = 195
"""It has more; that many at least are run, and not skipped by themselves for the version of Python."""


@pytest.mark.parametrize("engine", aiofiles.ENGINES)
def test_aiofiles(engine, tmp_path):
    if lacking := aiofiles.missing():
        pytest.skip(f"not installed: {', '.join(lacking)}")
    try:
        aiofiles.TESTS.fetch()
    except sdist.Unavailable as reason:
        pytest.skip(str(reason))
    outcomes, printed = aiofiles.run(engine, tmp_path)
    bad = [f"{name}: {outcome}" for name, outcome in outcomes.items() if outcome not in ("passed", "skipped")]
    assert not bad, printed
    assert sum(outcome == "passed" for outcome in outcomes.values()) >= TESTS_MIN, printed
