"""Results as plain tables for the terminal and as docs/benchmarks.md."""

from .results import column, most_foreign_share, ratio, verdicts
from .workloads import METRICS

# What a throughput costs: the number to look at when the load generator limits the throughput.
THROUGHPUTS = {"messages_per_second": "cpu_us", "mb_per_second": "cpu_s_per_gib"}
COSTS = (*THROUGHPUTS.values(), "kib_per_connection", "cpu_ns_per_operation", "cpu_us_per_operation")
BUSY_ENOUGH = 0.95  # a server that is idle for more of its time is not what limits the throughput

HOW_TO_READ = """\
# Benchmarks

This file is written by `scripts/bench`. Each workload's numbers are from the run named below its table; every round of
it is in `docs/benchmarks/`, one JSON file per workload.

## How to read it

- A number is the median over the rounds, with the smallest and the largest in brackets. Within a round every program is
  measured once, one after the other, each freshly started; the order moves on from round to round. A ratio is computed
  within each round, and then its median is taken, so that a slow minute of the machine falls on both sides.
- The server runs on one CPU, the load generator (`benchmarks/load.c`, io_uring, one thread) on another. It compares
  every byte that comes back; of messages of 16 KiB and more one in sixteen, and of the others the length, so that it
  costs less than the servers. A run with a wrong byte or a broken connection counts as failed.
- **Server CPU per message** is the processor time that the server used, the kernel's part included, divided by the
  messages. It is the steadiest number. When the server is not busy all the time, the load generator is what limits
  messages per second, and only this number says what the server costs; it is then said below the table. A busy load
  generator alone means little: the fewer messages it finds at a time, the more each of them costs it.
- Latency runs from the moment a message is submitted to the moment its last byte is seen. With all connections always
  sending it mostly says how many messages wait in line. With one connection (`latency`) the load generator does not
  sleep, so that only the server's waking up is in it.
- **Heap kept** means that glibc was told (by `MALLOC_TRIM_THRESHOLD_` and others) not to give freed memory back to the
  kernel. No target is held against these rows.
- **KiB/connection** is how much the server's memory (its proportional share) has grown by, from before the first
  connection to the end of the measurement, divided by the connections. What the kernel holds for them is not in it.
- HTTP servers are started by their own commands, which are in the JSON files, with one worker and without an access
  log. Of every answer the status and the body are compared; messages are requests. At a fixed rate (`http-latency`)
  requests are sent on schedule whatever becomes of those before, and latency runs from the scheduled moment.
- **Longest pause** is by how much a timer of a millisecond was late at most: for so long nobody else had a turn. With
  uvloop, whose clock has milliseconds only, it is up to one more.
- Files are on a disk and, unless it is said, in the page cache. Programs that read them may use both CPUs, for the
  threads of those that have some; what the kernel's threads do for a ring counts as the program's.
- All programs that a target compares are shown, the ones that are faster than ioring too. rsloop is measured where it
  is installed; it has to be compiled by Rust.
- A round in which other processes used more than 3 % of the two CPUs is measured again, while repeats are left. When
  there was more than that in the rounds that count, it is said below the table.

## How to repeat it

```sh
scripts/bench                              # everything; writes this file
scripts/bench --workload ring-echo         # one workload; the others' results stay
scripts/bench --quick                      # short rounds, to see that it works; writes nothing
scripts/bench --list                       # what there is
```

It sets up its own environment in `.venv-bench`, compiles the C programs into `build/bench`, and needs a machine with
two CPUs that does nothing else. Numbers from different machines cannot be compared; ratios can, roughly.
"""


def number(metric, value):
    if metric in ("server_busy", "load_busy"):
        return f"{value:.0%}"
    if metric in ("messages_per_second", "operations_per_second"):
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


def compared(result):
    """The metrics that have a column of ratios: the first, and what it costs the server."""
    primary, *others = result["columns"]
    return [primary, *(metric for metric in others if metric in COSTS)]


def table(result):
    """Rows of cells, the heading first. The last columns are the first side divided by the row's."""
    first, ratios = next(iter(result["sides"])), compared(result)
    subject = result["sides"][first]["label"]
    headings = [METRICS[metric][0] for metric in result["columns"]]
    rows = [["", *headings, *(f"{METRICS[metric][0]}: {subject} / this" for metric in ratios)]]
    for name, side in result["sides"].items():
        if not side["rounds"]:
            rows.append([side["label"], side.get("skipped", "not measured")])
            continue
        cells = [cell(metric, column(result, name, metric)) for metric in result["columns"]]
        against = [ratio_cell(ratio(result, metric, first, [name])) for metric in ratios if name != first]
        rows.append([side["label"], *cells, *against])
    return [row + [""] * (len(rows[0]) - len(row)) for row in rows]


def verdict_lines(result):
    for verdict in verdicts(result):
        outcome = "not measured" if verdict.found is None else "met" if verdict.met else "missed"
        found = f": {ratio_cell(verdict.found)}" if verdict.found else ""
        remark = limited_by_load(result, verdict.target)
        yield f"{verdict.description}{found}. Target {verdict.bound}: {outcome}.{remark}"


def limited_by_load(result, target):
    """A remark on a throughput that is the load generator's, not the server's; empty when there is nothing to say."""
    busy = column(result, target["side"], "server_busy")
    if target["metric"] not in THROUGHPUTS or busy is None or busy.median >= BUSY_ENOUGH:
        return ""
    side, cost = result["sides"][target["side"]]["label"], THROUGHPUTS[target["metric"]]
    cost_ratio = ratio(result, cost, target["side"], target["against"])
    if cost_ratio is None:
        return ""
    return (
        f" The load limits it: {side} was busy for {busy.median:.0%} of the time. {METRICS[cost][0]}, the ratio: "
        f"{ratio_cell(cost_ratio)}."
    )


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
