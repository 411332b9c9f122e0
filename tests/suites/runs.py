"""Runs modules of a suite, each in a process of its own, and goes on behind a test that hung or crashed."""

import dataclasses
import functools
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from . import loops, skips

TESTS = pathlib.Path(__file__).parents[1]
LIMIT_S = 30
"""For one test. The longest takes about five seconds."""
MODULE_LIMIT_S = 900
ENDS_MAX = 20
"""After so many tests that took the process with them, the rest of a module is not tried any more."""
TAIL = 6000
"""How many characters of a process's output are kept for a test that took it down."""


def plug(suite):
    """The module of this package that knows the suite."""
    return importlib.import_module(f"{__package__}.{suite}")


@dataclasses.dataclass
class Test:
    """What became of one test: passed, failed, skipped by itself, hung, or crashed."""

    name: str
    outcome: str
    detail: str = ""
    seconds: float = 0.0
    on_loop: bool = True
    """Whether the test has used a loop of the kind in question. It is assumed of those that did not pass."""

    @property
    def class_name(self):
        return self.name.rpartition(".")[0]


@dataclasses.dataclass
class Run:
    """What became of a module."""

    suite: str
    module: str
    loop: str
    listed: list = dataclasses.field(default_factory=list)
    """The names of all tests that the module has, left out or not."""
    tests: list = dataclasses.field(default_factory=list)
    broken: str = ""
    """Why the module could not be run to its end."""

    def count(self, *outcomes):
        return sum(test.outcome in outcomes and test.on_loop for test in self.tests)

    @property
    def bad(self):
        return [test for test in self.tests if test.outcome not in ("passed", "skipped")]

    @property
    def counted(self):
        """The tests that were run on the loop, and passed or did not."""
        return [test for test in self.tests if test.on_loop and test.outcome != "skipped"]

    @functools.cached_property
    def lines(self):
        return skips.lines(self.suite, self.module)

    def left_out(self, kind):
        lines = [line for line in self.lines if line.kind == kind]
        return [name for name in self.listed if any(line.matches(name) for line in lines)]

    def problems(self):
        """What is wrong with the run itself, whatever the tests say: nothing may be left out unseen."""
        found = [self.broken] if self.broken else []
        found += [
            f"{skips.FILE.name}, line {line.number}: no test is called {line.pattern}"
            for line in self.lines
            if not any(line.matches(name) for name in self.listed)
        ]
        classes = {}
        for test in self.tests:
            if test.outcome != "skipped":
                classes[test.class_name] = classes.get(test.class_name, False) or test.on_loop
        unused = [name for name, used in classes.items() if not used]
        found += [f"{name}: none of its tests has used a {self.loop} loop" for name in unused]
        return found

    def summary(self):
        return {
            "passed": self.count("passed"),
            "failed": self.count("failed", "hung", "crashed"),
            "skipped": sum(test.outcome == "skipped" for test in self.tests) + len(self.left_out("skip")),
        }


def environment(suite, loop):
    """The variables for the process: the loop's name, and where this package, the tests, and the loop are."""
    special = plug(suite).environment(loop)
    paths = [special.get("PYTHONPATH"), str(TESTS), os.environ.get("PYTHONPATH")]
    return {**os.environ, **special, loops.VARIABLE: loop, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run_module(suite, module, loop, only=None, selected=(), limit_s=LIMIT_S):
    """Runs a module of a suite on a loop: tests named in `only`, or all, with one of `selected` in their names."""
    run = Run(suite, module, loop)
    ends = 0
    while ends < ENDS_MAX:
        arguments = {
            "suite": suite,
            "module": module,
            "loop": loop,
            "left_out": [line.pattern for line in run.lines],
            "only": only,
            "selected": list(selected),
            "done": [test.name for test in run.tests],
            "limit_s": limit_s,
        }
        entries, output, code = run_process(arguments, environment(suite, loop))
        started = None
        for entry in entries:
            if "started" in entry:
                started = entry["started"]
            elif "name" in entry:
                run.tests.append(Test(**entry))
                started = None
            elif "tests" in entry:
                run.listed = entry["tests"]
        if entries and "finished" in entries[-1]:
            return run
        if started is None:
            run.broken = f"{module} could not be run, exit code {code}:\n{output[-TAIL:]}"
            return run
        outcome = "hung" if "Timeout (" in output[-TAIL:] else "crashed"
        run.tests.append(Test(started, outcome, f"exit code {code}\n{output[-TAIL:]}"))
        ends += 1
    run.broken = f"{module}: {ends} tests hung or crashed; the rest was not tried"
    return run


def run_process(arguments, variables):
    """One process, to its end. Returns the journal's entries, what it printed, and its exit code."""
    with tempfile.TemporaryDirectory(prefix="ioring-suite-") as folder:
        journal, arguments_path = pathlib.Path(folder, "journal"), pathlib.Path(folder, "arguments")
        journal.touch()
        arguments_path.write_text(json.dumps({**arguments, "journal_path": str(journal)}), encoding="utf-8")
        command = [sys.executable, "-m", "suites.child", str(arguments_path)]
        with open(pathlib.Path(folder, "output"), "w+b") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                code = process.wait(MODULE_LIMIT_S)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                # Whatever a test has started and left goes with its session.
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                process.wait()
            output.seek(0)
            text = output.read().decode(errors="replace")
        entries = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    return entries, text, code
