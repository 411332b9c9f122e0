"""Writes down how many tests each loop passes, and puts it into docs/compatibility.md.

    python -m suites.report run [LOOP ...]    runs both suites on these loops, on the Python that runs this
    python -m suites.report http              counts the tests and requests that the HTTP server gets
    python -m suites.report tables            only writes the tables again
    python -m suites.report record            writes down what of uvloop's tests stock asyncio passes

`results/` holds what was counted, a file for each Python. Run it on a quiet machine: some tests watch the clock.
"""

import importlib.metadata
import json
import pathlib
import platform
import sys

from . import report_http, runs, skips, uvloop

SUITES = ("cpython", "uvloop")
LOOPS = ("asyncio", "uvloop", "ioring", "ioring:direct")
RESULTS = pathlib.Path(__file__).with_name("results")
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "compatibility.md"
BEGIN, END = "<!-- made by suites.report: {} -->", "<!-- end -->"
RECORD_ROUNDS = 3
"""What asyncio does not pass every time is not asked of anybody."""
LIMIT_S = 20


def minor():
    return "{}.{}".format(*sys.version_info)


def versions():
    found = {"Python": platform.python_version(), "kernel": platform.release()}
    for name in ("ioring", "uvloop"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass  # from a folder on the path
    return found


def measure(wanted):
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{minor()}.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"loops": {}}
    results["versions"] = versions()
    uvloop.TESTS.fetch()
    for loop in wanted:
        results["loops"][loop] = counted = {}
        for suite in SUITES:
            for module in runs.plug(suite).modules():
                run = runs.run_module(suite, module, loop, limit_s=LIMIT_S)
                try_again(run)
                counted.setdefault(suite, {})[module] = run.summary()
                print(loop, suite, module, run.summary(), *[f"\n    {test.outcome}: {test.name}" for test in run.bad])
                sys.stdout.flush()
        path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def try_again(run):
    """A test that failed gets a second try without the others, whichever the loop: the machine may have been busy."""
    failed = [test.name for test in run.tests if test.outcome == "failed"]
    if not failed:
        return
    second = runs.run_module(run.suite, run.module, run.loop, only=failed, limit_s=LIMIT_S)
    passed = {test.name: test for test in second.tests if test.outcome == "passed"}
    run.tests = [passed.get(test.name, test) for test in run.tests]


def record():
    """The names of the tests that stock asyncio has passed in each of some rounds."""
    uvloop.TESTS.fetch()
    passed = None
    for _ in range(RECORD_ROUNDS):
        names = set()
        for module in uvloop.modules():
            run = runs.run_module("uvloop", module, "asyncio", limit_s=LIMIT_S)
            if run.broken:
                raise SystemExit(run.broken)
            names.update(test.name for test in run.tests if test.outcome == "passed")
        passed = names if passed is None else passed & names
        print(len(names), "passed,", len(passed), "each time")
    head = f"# What stock asyncio passes of the tests of uvloop {uvloop.TESTS.version}; written by suites.report.\n"
    uvloop.RECORDS.mkdir(exist_ok=True)
    target = uvloop.RECORDS / f"{minor()}.txt"
    target.write_text(head + "".join(f"{name}\n" for name in sorted(passed)), encoding="utf-8")


def cell(summary):
    """passed/run, and how many are left out."""
    if summary is None:
        return ""
    return f"{summary['passed']}/{summary['passed'] + summary['failed']}"


def add(summaries):
    return {key: sum(summary[key] for summary in summaries) for key in ("passed", "failed", "skipped")}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def total_lines(results):
    rows = []
    for version, result in results.items():
        for suite in SUITES:
            loops = {loop: counted[suite] for loop, counted in result["loops"].items() if suite in counted}
            cells = [cell(add(loops[loop].values())) if loop in loops else "" for loop in LOOPS]
            skipped = add(loops.get("ioring", loops.get("asyncio", {})).values())["skipped"]
            rows.append([f"{suite}, Python {version}", *cells, str(skipped)])
    return table(["suite", *LOOPS, "skipped"], rows)


def module_lines(results):
    version, result = list(results.items())[-1]
    lines = []
    for suite in SUITES:
        modules = sorted({module for counted in result["loops"].values() for module in counted.get(suite, {})})
        rows = []
        for module in modules:
            summaries = [result["loops"].get(loop, {}).get(suite, {}).get(module) for loop in LOOPS]
            skipped = max(summary["skipped"] for summary in summaries if summary)
            rows.append([f"`{module}`", *map(cell, summaries), str(skipped)])
        lines += [f"{suite}, Python {version}:", "", *table(["module", *LOOPS, "skipped"], rows), ""]
    return lines[:-1]


def skip_lines(kind):
    rows = [
        [f"`{line.pattern}`" + ("" if line.versions == "-" else f" ({line.versions})"), line.reason]
        for line in skips.all_lines()
        if line.kind == kind and line.suite in SUITES
    ]
    return ["| test | why |", "|---|---|", *("| " + " | ".join(row) + " |" for row in rows)]


def write_tables():
    paths = sorted(RESULTS.glob("*.json"), key=lambda path: tuple(map(int, path.stem.split("."))))
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    text = PAGE.read_text(encoding="utf-8")
    parts = {"totals": total_lines(results), "modules": module_lines(results)}
    parts.update({kind: skip_lines(kind) for kind in skips.KINDS})
    parts["http"], parts["http differences"] = report_http.total_lines(table), report_http.difference_lines()
    for name, lines in parts.items():
        before, begin, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise SystemExit(f"{PAGE} has no place for the {name}")
        text = before + begin + "\n" + "\n".join(lines) + "\n" + end + after
    PAGE.write_text(text, encoding="utf-8")


def main():
    command, *rest = sys.argv[1:] or ["help"]
    if command == "run":
        measure(rest or LOOPS)
        write_tables()
    elif command == "http" and not rest:
        report_http.measure()
        write_tables()
    elif command == "tables" and not rest:
        write_tables()
    elif command == "record" and not rest:
        record()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
