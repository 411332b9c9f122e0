"""CPython's own tests of asyncio, on our loop; IORING_SUITE_LOOP names another one. How: tests/suites."""

import functools

import pytest

import shared
from suites import cpython, loops, runs, skips

LOOP = loops.chosen()
MODULES = cpython.modules()

pytestmark = pytest.mark.timeout(runs.MODULE_LIMIT_S + 30)

with_tests = pytest.mark.skipif(not MODULES, reason="this Python came without its own tests")


@pytest.fixture
def outcome(tmp_path_factory):
    """Runs a module, once for all tests that ask for it, unless something is wrong with it."""

    def run(module, loop=LOOP):
        make = functools.partial(runs.run_module, "cpython", module, loop)
        name = f"cpython-{module}-{loop}"
        return shared.result(tmp_path_factory, name, make, lambda run: not run.bad and not run.problems())

    return run


@with_tests
@pytest.mark.parametrize("module", MODULES)
def test_module(module, outcome):
    check(outcome(module))


@with_tests
@pytest.mark.long
@pytest.mark.skipif(LOOP != "ioring", reason="about a mode of our loop")
@pytest.mark.parametrize("module", cpython.WITH_SERVERS)
def test_module_with_direct_descriptors(module, outcome):
    check(outcome(module, "ioring:direct"))


def check(run):
    """Fails when a test has not passed, or the run does not prove what it should."""
    found = run.problems() + [f"{test.name} {test.outcome}:\n{test.detail}" for test in run.bad]
    if found:
        names = "".join(f"\n{test.outcome}: {test.name}" for test in run.bad)
        pytest.fail("\n\n".join(found) + f"\n{len(run.bad)} of {len(run.tests)}:{names}", pytrace=False)
    assert run.counted


def test_lines_name_modules():
    """A line for a module that is not run would match nothing, and nobody would see it."""
    for line in skips.all_lines():
        assert line.module in runs.plug(line.suite).MODULES, line


@with_tests
def test_few_are_skipped(outcome):
    """Of the tests that are run or skipped, all modules together."""
    left_out, tests = 0, 0
    for module in MODULES:
        run = outcome(module)
        left_out += run.summary()["skipped"]
        tests += len(run.counted) + run.summary()["skipped"]
    assert left_out <= skips.SHARE_MAX * tests, f"{left_out} of {tests} are skipped"
