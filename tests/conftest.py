"""What holds for every test: nothing may be left open at its end, and what was skipped is counted by reason.

With OLD_KERNEL the process runs on what stands in for an older kernel (old_kernel.c): see scripts/test --kernel.
"""

import collections
import gc
import os
import pathlib
import signal
import sys
import threading
import time

import hypothesis
import pytest

import needed
from ioring.loop import kernel_bugs as quirks

pytest_plugins = ["reruns"]

# Closing a ring ends work in the kernel that lets go of files a little later, and a thread ends after its last word.
RELEASE_TIMEOUT_S = 2.0

LOOP = pathlib.Path(__file__).parent / "loop"

# Tests start Python as users do. What the machine sets hides faults: PYTHONUNBUFFERED those of buffers.
for name in [name for name in os.environ if name.startswith("PYTHON") and name != "PYTHONMALLOC"]:  # see scripts/test
    del os.environ[name]
sys.dont_write_bytecode = False

# A shell that runs the tests in the background has them ignore Ctrl-C, and so what they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

OLD_KERNEL = os.environ.get("OLD_KERNEL")

if OLD_KERNEL == "6.12":  # that has a fault which nothing here can stand in for
    quirks._found = lambda: True

COMPLETE = os.environ.get("IORING_TEST_COMPLETE") == "1"
"""The programs that tests need were installed: none is skipped because one of them is missing."""

LACKS = "the kernel"
"""How the reason begins when a test is skipped because of the kernel: see rings.needs."""

LACKING_SHARE_MAX = 1 / 8
"""So many of the tests may be skipped because of the kernel, so that a mistake does not skip them all unnoticed."""


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the tests marked long too")


def pytest_report_header():
    return f"as if on kernel {OLD_KERNEL}" if OLD_KERNEL else None


def pytest_configure(config):
    # The same cases in every run, so that a change is not blamed for what it did not do; --long looks for new ones.
    hypothesis.settings.register_profile("repeatable", derandomize=True)
    if not config.getoption("--long"):
        hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(config, items):
    if OLD_KERNEL:
        left_out = [item for item in items if "any_kernel" in item.keywords]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if "any_kernel" not in item.keywords]
    if config.getoption("--long"):
        return
    for item in items:
        if "long" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="long: runs with --long"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """The loop has a way for every kernel that ioring supports, so none of its own tests depends on one."""
    report = yield
    if report.skipped and COMPLETE and needed.MISSING in str(report.longrepr[2]):
        report.outcome = "failed"
        report.longrepr = f"skipped, where everything should be installed: {report.longrepr[2]}"
    if report.skipped and item.path.parent == LOOP and LACKS in str(report.longrepr[2]):
        report.outcome = "failed"
        report.longrepr = f"skipped, which no test of the loop may be because of the kernel: {report.longrepr[2]}"
    return report


def skip_reasons(reporter):
    """How many tests were skipped for each reason."""
    return collections.Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in reporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return  # of several processes, the one that prints has the reports of all
    reasons = skip_reasons(reporter)
    # Another process may have collected them: what was reported is counted.
    count = sum(len(reports) for kind, reports in reporter.stats.items() if kind in ("passed", "skipped", "failed"))
    lacking = sum(count for reason, count in reasons.items() if reason.startswith(LACKS))
    # A part of the tests may be about nothing else.
    whole = session.config.args_source == pytest.Config.ArgsSource.TESTPATHS and count > 1000
    if whole and lacking > LACKING_SHARE_MAX * count:
        reporter.write_line(f"\n{lacking} of {count} tests are skipped because of the kernel")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    reasons = skip_reasons(terminalreporter)
    if reasons:
        counts = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"skipped {reasons.total()}: {counts}")


def open_descriptors():
    """What each open descriptor of this process refers to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the descriptor of the listing itself
    return found


@pytest.fixture(autouse=True)
def no_leaks():
    """Fails a test that ends with more descriptors or threads than it began with."""
    # What is there now is none of the collection's business below: it would take most of the time of all tests.
    gc.freeze()
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    yield
    gc.collect()
    deadline = time.monotonic() + RELEASE_TIMEOUT_S
    while True:
        descriptors_now, threads_now = open_descriptors(), set(threading.enumerate())
        leaked = len(descriptors_now) > len(descriptors) or len(threads_now) > len(threads)
        if not leaked or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    if leaked:
        opened = {number: name for number, name in descriptors_now.items() if descriptors.get(number) != name}
        pytest.fail(f"left open: descriptors {opened}, threads {threads_now - threads}", pytrace=False)
