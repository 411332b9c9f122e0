"""Runs a suite on a loop by hand: `python -m suites cpython test_events -k call_later`."""

import argparse
import json
import os
import sys
import tempfile

from . import child, loops, runs, skips


def arguments():
    parser = argparse.ArgumentParser(prog="python -m suites", description=__doc__)
    parser.add_argument("suite", choices=["cpython", "uvloop"])
    parser.add_argument("module", nargs="*", help="test_events, for example; all when there are none")
    parser.add_argument("-l", "--loop", default=loops.chosen(), help="asyncio, uvloop, ioring, ioring:direct, ...")
    parser.add_argument("-k", dest="selected", action="append", default=[], help="only tests whose name has this in it")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each test")
    parser.add_argument("--limit", type=float, default=runs.LIMIT_S, help="seconds for one test")
    parser.add_argument("--here", action="store_true", help="run one module in this process, for a debugger")
    parser.add_argument("--json", help="write what became of each test into this file")
    return parser.parse_intermixed_args()


def run_here(options):
    os.environ[loops.VARIABLE] = options.loop
    with tempfile.NamedTemporaryFile("r") as journal:
        child.run(
            suite=options.suite,
            module=options.module[0],
            loop=options.loop,
            left_out=[line.pattern for line in skips.lines(options.suite, options.module[0])],
            only=None,
            selected=options.selected,
            done=[],
            limit_s=options.limit,
            journal_path=journal.name,
        )
        for entry in map(json.loads, journal):
            if "name" in entry:
                print(entry["outcome"], entry["name"], entry["detail"], sep="\n" if entry["detail"] else " ")


def main():
    options = arguments()
    if options.here:
        return run_here(options)
    plug = runs.plug(options.suite)
    results, failed = {}, False
    for module in options.module or plug.modules():
        run = runs.run_module(options.suite, module, options.loop, None, options.selected, options.limit)
        for test in run.tests:
            if options.verbose:
                print(f"{test.outcome:8} {test.seconds:6.2f} {'' if test.on_loop else '(no loop) '}{test.name}")
            if test in run.bad:
                print(f"\n=== {test.outcome}: {test.name}\n{test.detail}\n")
        problems = [] if options.selected else run.problems()
        for problem in problems:
            print("!!!", problem)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in run.summary().items())
        without = sum(not test.on_loop for test in run.tests)
        print(f"{module}: {counts}, {without} without a loop, {sum(test.seconds for test in run.tests):.1f} s")
        for test in run.bad:
            print(f"    {test.outcome}: {test.name}")
        sys.stdout.flush()
        failed = failed or bool(problems or run.bad)
        results[module] = {"listed": run.listed, "tests": [vars(test) for test in run.tests], "broken": run.broken}
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    return failed


if __name__ == "__main__":
    sys.exit(main())
