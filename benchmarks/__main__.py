"""python -m benchmarks: measures, prints tables, updates docs/benchmarks.md. scripts/bench sets up what it needs."""

import argparse
import os
import resource
import sys
from pathlib import Path

from . import machine, measure, plots, report, results
from .registry import WORKLOADS, by_name

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def positive(kind):
    def convert(text):
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError("must be more than 0")
        return value

    return convert


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures ioring against other libraries and C.")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 0.5 s, to see that it works; writes nothing")
    parser.add_argument("--workload", nargs="+", action="extend", default=[], metavar="NAME", help="only these")
    parser.add_argument("--rounds", type=positive(int), metavar="N", help="rounds of each workload (9)")
    parser.add_argument("--seconds", type=positive(float), metavar="S", help="measured time per program and round (2)")
    parser.add_argument("--no-write", action="store_true", help="leave docs/ as it is")
    parser.add_argument("--list", action="store_true", help="print the workloads' names and end")
    options = parser.parse_args()
    options.no_write |= options.quick
    options.rounds = options.rounds or (2 if options.quick else 9)
    options.seconds = options.seconds or (0.5 if options.quick else 2)
    return options


def raise_descriptor_limit():
    """For the servers: the usual 1,024 are not enough for the workloads with many connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def tell(line):
    print(line, file=sys.stderr, flush=True)


def write(result):
    results.save(result, DOCS / "benchmarks")
    plots.save(result, DOCS / "benchmarks" / f"{result['name']}.svg")
    known = results.load_all(DOCS / "benchmarks", [workload.name for workload in WORKLOADS])
    (DOCS / "benchmarks.md").write_text(report.markdown(known))


def main():
    options = parse()
    if options.list:
        print("\n".join(f"{workload.name:16} {workload.title}" for workload in WORKLOADS))
        return 0
    build = Path(os.environ.get("BENCHMARKS_BUILD", ROOT / "build" / "bench"))
    settings = measure.Settings(options.rounds, options.seconds, min(0.5, options.seconds / 2), build)
    environment = machine.describe(os.environ.get("BENCHMARKS_CFLAGS", "unknown"))
    if len(measure.processes.ALLOWED_CPUS) < 2:
        tell("server and load generator share the only CPU: the numbers say little")
    failed = False
    raise_descriptor_limit()
    for workload in by_name(options.workload):
        if not options.workload and (why := measure.why_not(workload.sides[0])):
            tell(f"{workload.name}: left out: {why}")
            continue
        measured, skipped = measure.run_rounds(workload, settings, tell)
        failed |= any(why.startswith("failed") for why in skipped.values())
        result = results.result_of(workload, settings, environment, measured, skipped)
        print(report.terminal(result), end="\n\n", flush=True)
        if not options.no_write:
            write(result)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
