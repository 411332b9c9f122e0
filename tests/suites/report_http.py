"""What docs/compatibility.md says of the HTTP server: tests and requests of others, how many and what differs.

`python -m suites.report http` counts and writes; the tables of lines are written with the others.
"""

import collections
import json
import pathlib
import tempfile

from . import corpora, skips, uvicorn

RESULTS = pathlib.Path(__file__).with_name("results") / "http"
"""Without a suffix: results/*.json are about Pythons."""


def measure():
    uvicorn.TESTS.fetch()
    results = {"uvicorn": {}, "corpora": {}}
    for module in uvicorn.MODULES:
        with tempfile.TemporaryDirectory() as folder:
            outcomes, printed = uvicorn.run(module, "ring", folder)
        count = collections.Counter()
        for name, outcome in outcomes.items():
            line = uvicorn.left_out(module, name)
            count[line.kind if line is not None else outcome] += 1
        if not outcomes or set(count) - {"passed", "skip", "without"}:
            raise SystemExit(printed)
        results["uvicorn"][module] = dict(sorted(count.items()))
    for corpus in corpora.SOURCES:
        known, count = corpora.lines(corpus), collections.Counter()
        for case in corpora.cases(corpus):
            line = corpora.line_for(case, known)
            count[line.verdict if line is not None else ("refused by both" if case.bad else "taken by both")] += 1
        results["corpora"][corpus] = dict(sorted(count.items()))
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def total_lines(table):
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = []
    for module in uvicorn.MODULES:
        count = results["uvicorn"][module]
        rows.append([f"`{module}`", *(str(count.get(name, 0)) for name in ("passed", "skip", "without"))])
    lines = table([f"uvicorn {uvicorn.TESTS.version}", "passed", "another way", "not about HTTP"], rows)
    kinds = ["taken by both", "refused by both", "accepted", "refused", "differs", "without"]
    rows = []
    for corpus, source in corpora.SOURCES.items():
        count = results["corpora"][corpus]
        origin = (
            f"{corpus} {source.version}" if corpus == source.name else f"{corpus}, of {source.name} {source.version}"
        )
        rows.append([origin, *(str(count.get(kind, 0)) for kind in kinds)])
    return [*lines, "", *table(["requests of", *kinds[:2], "we accept", "we refuse", "differs", "not sent"], rows)]


def difference_lines():
    rows = [("uvicorn", line.pattern, line.reason) for line in skips.all_lines() if in_report(line)]
    for corpus in corpora.SOURCES:
        rows += [
            (f"{corpus}, {line.verdict}", line.pattern, line.reason)
            for line in corpora.lines(corpus)
            if line.verdict != "without"
        ]
    return [
        "| of | test or request | why |",
        "|---|---|---|",
        *(f"| {of} | `{what}` | {why} |" for of, what, why in rows),
    ]


def in_report(line):
    return line.suite == "uvicorn" and line.kind == "skip"
