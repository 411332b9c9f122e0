"""Results as plain tables for the terminal and as docs/benchmarks.md."""

from .results import column, most_foreign_share, ratio, verdicts
from .workloads import METRICS

HOW_TO_READ = """\
# Benchmarks

This file is written by `scripts/bench`. Each workload's numbers are from the run named below its table; every round of
it is in `docs/benchmarks/`, one JSON file per workload.

## How to read it

- A number is the median over the rounds, with the smallest and the largest in brackets. Within a round every program is
  measured once, one after the other, each freshly started; the order moves on from round to round. A ratio is computed
  within each round, and then its median is taken, so that a slow minute of the machine falls on both sides.
- The server runs on one CPU, the load generator (`benchmarks/load.c`, io_uring, one thread) on another. It compares
  every byte that comes back. A run with a wrong byte or a broken connection counts as failed.
- **Server CPU per message** is the processor time that the server used, the kernel's part included, divided by the
  messages. It is the steadiest number. When the load generator is busy all the time and the server is not, the load
  generator is what limits messages per second, and only this number says what the server costs.
- Latency runs from the moment a message is submitted to the moment its last byte is seen. With all connections always
  sending it mostly says how many messages wait in line.
- All programs that a target compares are shown, the ones that are faster than ioring too.
- A round in which other processes used more than 3 % of the two CPUs is measured again, while repeats are left. When
  there was more than that in the rounds that count, it is said below the table.

## How to repeat it

```sh
scripts/bench                              # everything; writes this file
scripts/bench --workload ring-echo         # one workload; the others' results stay
scripts/bench --quick                      # short rounds, to see that it works; writes nothing
```

It sets up its own environment in `.venv-bench`, compiles the C programs into `build/bench`, and needs a machine with
two CPUs that does nothing else. Numbers from different machines cannot be compared; ratios can, roughly.
"""


def number(metric, value):
    if metric in ("server_busy", "load_busy"):
        return f"{value:.0%}"
    if metric == "messages_per_second":
        return f"{value:,.0f}"
    digits = 2 if value < 10 else 1 if value < 1000 else 0
    return f"{value:,.{digits}f}"


def cell(metric, found):
    if found is None:
        return ""
    median, least, most = (number(metric, value) for value in found)
    return median if least == most else f"{median} ({least} - {most})"


def ratio_cell(found):
    return "" if found is None else f"{found.median:.2f} ({found.least:.2f} - {found.most:.2f})"


def table(result):
    """Rows of cells, the heading first. The last column is the first side divided by the row's, by the first metric."""
    first, (primary, *_) = next(iter(result["sides"])), result["columns"]
    subject = result["sides"][first]["label"]
    rows = [["", *(METRICS[metric][0] for metric in result["columns"]), f"{METRICS[primary][0]}: {subject} / this"]]
    for name, side in result["sides"].items():
        if not side["rounds"]:
            rows.append([side["label"], side.get("skipped", "not measured")])
            continue
        cells = [cell(metric, column(result, name, metric)) for metric in result["columns"]]
        against = "" if name == first else ratio_cell(ratio(result, primary, first, [name]))
        rows.append([side["label"], *cells, against])
    return [row + [""] * (len(rows[0]) - len(row)) for row in rows]


def verdict_lines(result):
    for verdict in verdicts(result):
        outcome = "not measured" if verdict.found is None else "met" if verdict.met else "missed"
        found = f": {ratio_cell(verdict.found)}" if verdict.found else ""
        yield f"{verdict.description}{found}. Target {verdict.bound}: {outcome}."


def terminal(result):
    rows = table(result)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [f"{result['name']}: {result['title']}"]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join([*lines, *(f"  {line}" for line in verdict_lines(result))])


def provenance(result):
    settings, environment = result["settings"], result["environment"]
    load = f", load `{settings['load']}`" if settings["load"] else ""
    commit = f", commit {environment['commit']}" if environment["commit"] else ""
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    text = (
        f"{environment['date']}{commit}; {settings['rounds']} rounds of {settings['seconds']:g} s{load}; "
        f"{environment['python']}; {packages}."
    )
    foreign = most_foreign_share(result)
    if foreign > 0.03:
        text += f" Other processes used up to {foreign:.0%} of the two CPUs in a round."
    return text


def machine_table(results):
    """One row per property; values that differ between results are all listed."""
    properties = {
        "processor": "Processor",
        "cpus": "CPUs",
        "memory": "Memory",
        "kernel": "Kernel",
        "distribution": "Distribution",
        "compiler": "Compiler",
        "compiler_flags": "Flags of the C programs",
        "python": "Python",
    }
    lines = ["| | |", "|---|---|"]
    for key, heading in properties.items():
        values = dict.fromkeys(result["environment"].get(key, "") for result in results)
        lines.append(f"| {heading} | {'; '.join(values)} |")
    return "\n".join(lines)


def markdown(results):
    """The whole of docs/benchmarks.md."""
    parts = [HOW_TO_READ, "## The machine\n", machine_table(results), ""]
    for result in results:
        heading, *rows = table(result)
        parts += [f"## {result['title']}\n", f"`{result['name']}`. {result['explanation']}\n"]
        parts += [f"| {' | '.join(heading)} |", "|---" + "|---:" * (len(heading) - 1) + "|"]
        parts += [f"| {' | '.join(row)} |" for row in rows]
        parts += ["", *(f"- **{line}**" for line in verdict_lines(result)), ""]
        parts += [f"![{result['title']}](benchmarks/{result['name']}.svg)\n", provenance(result), ""]
    return "\n".join(parts)
