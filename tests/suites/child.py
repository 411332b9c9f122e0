"""The process that runs one module of a suite, and writes down what became of each test as it goes."""

import asyncio
import faulthandler
import fnmatch
import importlib
import json
import os
import signal
import sys
import time
import traceback
import unittest

from . import loops

OUTPUT_MAX = 10_000
"""How many bytes of what a failed test has printed are kept."""


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def output_position():
    """How far the file is written that takes this process's output; None when it is no file."""
    sys.stdout.flush()
    try:
        return os.lseek(1, 0, os.SEEK_END)
    except OSError:
        return None


def output_since(position):
    """What has been printed since then. It often says more than the exception."""
    end = output_position()
    if position is None or end == position:
        return ""
    return "\n--- printed:\n" + os.pread(1, min(end - position, OUTPUT_MAX), position).decode(errors="replace")


class Journal:
    """A line of JSON for each event, on disk before anything else happens: the next thing may be a crash."""

    def __init__(self, file):
        self.file = file

    def write(self, **entry):
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()


class Recorder(unittest.TestResult):
    """Writes the outcome of each test, with the loops it has used, to the journal."""

    def __init__(self, journal, watch, made_counts, name_of, limit_s):
        super().__init__()
        self.journal, self.watch, self.made_counts = journal, watch, made_counts
        self.name_of, self.limit_s = name_of, limit_s
        self.begun = None

    def startTest(self, test):
        super().startTest(test)
        self.begin(test)

    def begin(self, test):
        self.begun = test
        self.outcome, self.detail = "passed", ""
        self.watch.reset()
        self.output_start = output_position()
        self.journal.write(started=self.name_of(test))
        # A thread of C, which needs no lock of the interpreter: it ends the process whatever the test is stuck in.
        faulthandler.dump_traceback_later(self.limit_s, exit=True)
        self.start = time.monotonic()

    def stopTest(self, test):
        seconds = time.monotonic() - self.start
        faulthandler.cancel_dump_traceback_later()
        # A loop that was left running would fail every test from here on.
        asyncio._set_running_loop(None)
        if self.outcome == "failed":
            self.detail += output_since(self.output_start)
        self.write(self.name_of(test), self.outcome, self.detail, seconds)
        super().stopTest(test)

    def write(self, name, outcome, detail="", seconds=0.0):
        used = self.watch.ran or (self.watch.made and self.made_counts)
        self.journal.write(
            name=name,
            outcome=outcome,
            detail=detail,
            seconds=round(seconds, 3),
            on_loop=bool(used or outcome == "failed"),
        )

    def settle(self, test, outcome, detail):
        if isinstance(test, unittest.TestCase):
            # Of several things that happen to a test the first failure stays.
            self.outcome = outcome if self.outcome == "passed" else self.outcome
            self.detail = f"{self.detail}\n{detail}".strip()
        else:  # what stands for a class or a module whose fixture went wrong
            self.watch.reset()
            self.write(str(test), outcome, detail)

    def addError(self, test, error):
        self.settle(test, "failed", "".join(traceback.format_exception(*error)))

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.settle(test, "failed", f"{subtest}\n" + "".join(traceback.format_exception(*error)))

    def addSkip(self, test, reason):
        if isinstance(test, unittest.case._SubTest):  # a part of a test; the other parts run
            return
        if isinstance(test, unittest.TestCase) and self.begun is not test:
            self.begin(test)  # Python 3.12.1 ends a test that is to be skipped without having started it
        self.settle(test, "skipped", reason)

    def addExpectedFailure(self, test, error):
        self.settle(test, "passed", "")

    def addUnexpectedSuccess(self, test):
        self.settle(test, "failed", "expected to fail, and passed")


def run(suite, module, loop, left_out, only, selected, done, limit_s, journal_path):
    """Runs a module's tests, except those left out, not asked for, or done by a process before this one.

    `only` are names, or None for all; `selected` are parts of names.
    """
    faulthandler.enable()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it, and so would the children that tests hang up on
    make = loops.factory(loop)
    watch = loops.Watch(make)
    plug = importlib.import_module(f"suites.{suite}")
    tests = plug.load(module, make, watch)
    prefix = f"{plug.PACKAGE}."

    def name_of(test):
        return test.id().removeprefix(prefix)

    cases = list(flatten(unittest.defaultTestLoader.loadTestsFromModule(tests)))
    done, only = set(done), None if only is None else set(only)

    def wanted(case):
        name = name_of(case)
        return (
            name not in done
            and (only is None or name in only)
            and not any(fnmatch.fnmatchcase(name, pattern) for pattern in left_out)
            and (not selected or any(word in name for word in selected))
        )

    with open(journal_path, "a", encoding="utf-8") as file:
        journal = Journal(file)
        journal.write(tests=[name_of(case) for case in cases])
        recorder = Recorder(journal, watch, plug.made_counts(module), name_of, limit_s)
        unittest.TestSuite(filter(wanted, cases)).run(recorder)
        journal.write(finished=True)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as arguments:
        run(**json.load(arguments))
    # Threads that a test left behind would be waited for.
    sys.stdout.flush()
    os._exit(0)
