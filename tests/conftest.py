"""What holds for every test: nothing may be left open at its end, and what was skipped is counted by reason."""

import collections
import gc
import os
import threading
import time

import pytest

# Closing a ring ends work in the kernel that lets go of files a little later, and a thread ends after its last word.
RELEASE_TIMEOUT_S = 2.0


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the tests marked long too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--long"):
        return
    for item in items:
        if "long" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="long: runs with --long"))


def pytest_terminal_summary(terminalreporter):
    reasons = collections.Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
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
