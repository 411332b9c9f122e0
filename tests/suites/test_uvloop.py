"""uvloop's own tests, on our loop: it passes what stock asyncio passes. IORING_SUITE_LOOP names another loop."""

import functools

import pytest

from suites import loops, runs, sdist, uvloop

LOOP = loops.chosen()

pytestmark = [pytest.mark.timeout(runs.MODULE_LIMIT_S + 30), pytest.mark.any_kernel]


@functools.cache
def wanted():
    """The names of the tests to pass; skips when they or the tests themselves are not here."""
    try:
        uvloop.TESTS.fetch()
        return uvloop.passed_by_asyncio()
    except sdist.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("module", uvloop.modules())
def test_module(module):
    only = [name for name in wanted() if name.startswith(f"{module}.")]
    missing = uvloop.missing(module)
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert only
    run = runs.run_module("uvloop", module, LOOP, only=only)
    only = set(only).difference(run.left_out("skip"))
    ended = {test.name: test for test in run.tests}
    not_passed = [ended[name] for name in sorted(only & ended.keys()) if ended[name].outcome != "passed"]
    found = run.problems()
    found += [f"{test.name} {test.outcome}:\n{test.detail}" for test in not_passed]
    found += [f"{name} was not run" for name in sorted(only - ended.keys())]
    if found:
        names = "".join(f"\n{test.outcome}: {test.name}" for test in not_passed)
        pytest.fail("\n\n".join(found) + f"\n{len(not_passed)} of {len(only)}:{names}", pytrace=False)
