"""Tests that failed and passed when they were run again (``--reruns``): shown, counted, and written to a file.

Each is a fault of the test or of what it tests. A machine that stands still for a moment excuses a few, and more than
that fail the run.
"""

import os
import platform
from pathlib import Path

import pytest

MAX = 3

FILE = Path(__file__).parents[2] / "build" / "reruns.txt"
"""Grows over the runs: a test that stands in it twice has a fault."""


class Reruns:
    def __init__(self):
        self.failures = {}
        self.passed = set()

    def pytest_runtest_logreport(self, report):
        if report.outcome == "rerun":
            self.failures.setdefault(report.nodeid, []).append(report.longreprtext)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    @property
    def again(self):
        return {name: texts for name, texts in self.failures.items() if name in self.passed}

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if len(self.again) > MAX and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if not self.again:
            return
        terminalreporter.section(f"failed first, and passed when run again: {len(self.again)} (at most {MAX})")
        FILE.parent.mkdir(exist_ok=True)
        kernel = os.environ.get("OLD_KERNEL")
        where = platform.python_version() + (f", as if on kernel {kernel}" if kernel else "")
        with FILE.open("a") as file:
            for name, texts in self.again.items():
                for out in (terminalreporter.write_line, lambda line: file.write(line + "\n")):
                    out(f"--- {name} ({where})")
                    for text in texts:
                        out(text)


def pytest_configure(config):
    # Of several processes only the one that prints knows all reports.
    if config.getoption("--reruns", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reruns(), "ioring-reruns")
