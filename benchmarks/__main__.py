"""python -m benchmarks: measures, prints tables, updates docs/benchmarks.md. scripts/bench sets up what it needs."""

import argparse
import dataclasses
import os
import resource
import signal
import sys
from pathlib import Path

from . import machine, measure, plots, programs, report, results
from .registry import WORKLOADS, by_name, matches

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
    parser.add_argument(
        "--workload", nargs="+", action="extend", default=[], metavar="NAME", help="only these; may be patterns"
    )
    parser.add_argument(
        "--side",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="only these programs of the workloads (ioring, uvloop, c-uring; may be patterns); writes nothing",
    )
    parser.add_argument(
        "--also",
        nargs="+",
        action="extend",
        default=[],
        type=named_folder,
        metavar="NAME=FOLDER",
        help="ioring from another folder in the same rounds, as ioring@NAME, to compare builds; writes nothing",
    )
    parser.add_argument("--rounds", type=positive(int), metavar="N", help="rounds of each workload (7)")
    parser.add_argument(
        "--seconds", type=positive(float), metavar="S", help="measured time per program and round (1.5)"
    )
    parser.add_argument(
        "--impatient", action="store_true", help="neither wait for a quiet machine nor repeat disturbed rounds"
    )
    parser.add_argument("--no-write", action="store_true", help="leave docs/ as it is")
    parser.add_argument("--list", action="store_true", help="print the workloads' names and end")
    options = parser.parse_args()
    options.no_write |= bool(options.quick or options.side or options.also)
    options.impatient |= options.quick
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.seconds = options.seconds or (0.5 if options.quick else 1.5)
    return options


def named_folder(text):
    name, _, folder = text.partition("=")
    if not name or not Path(folder, "ioring").is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: NAME=FOLDER is wanted, with a package ioring in the folder")
    return name, str(Path(folder).resolve())


def chosen(workload, options):
    """The workload with the sides that were asked for, and the targets that these allow."""
    sides = [side for side in workload.sides if not options.side or matches(side.name, options.side)]
    sides = [side for side in sides if not (side.optional and measure.why_not(side))]
    for side in list(sides):
        if any(needed.startswith("ioring") for needed in side.needs):
            sides += [built_elsewhere(side, name, folder) for name, folder in options.also]
    names = {side.name for side in sides}
    targets = [target for target in workload.targets if names.issuperset({target.side, *target.against})]
    return dataclasses.replace(workload, sides=tuple(sides), targets=tuple(targets))


def built_elsewhere(side, name, folder):
    return dataclasses.replace(
        side,
        name=f"{side.name}@{name}",
        label=f"{side.label} @ {name}",
        environment=(*side.environment, ("PYTHONPATH", folder)),
        needs=(),  # what this process can import says nothing about another folder
    )


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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended on the way out
    options = parse()
    if options.list:
        print("\n".join(f"{workload.name:16} {workload.title}" for workload in WORKLOADS))
        return 0
    build = Path(os.environ.get("BENCHMARKS_BUILD", ROOT / "build" / "bench"))
    warmup = min(0.5, options.seconds / 2)
    settings = measure.Settings(options.rounds, options.seconds, warmup, build, patient=not options.impatient)
    programs.make_all(build, tell)
    environment = machine.describe(programs.FLAGS)
    if len(measure.processes.ALLOWED_CPUS) < 2:
        tell("server and load generator share the only CPU: the numbers say little")
    failed = False
    raise_descriptor_limit()
    for workload in by_name(options.workload):
        workload = chosen(workload, options)
        if not workload.sides:
            continue
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
