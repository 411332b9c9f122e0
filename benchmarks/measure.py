"""One measurement: one side of a workload, once. And rounds of them."""

import contextlib
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import data, processes
from .processes import Failed
from .workloads import ProgramWorkload

BENCHMARKS = Path(__file__).parent
# More of the two CPUs' time than this used by others: the round waits, or is repeated, while there are repeats left.
FOREIGN_SHARE_MAX = 0.03
WAIT_FOR_QUIET_MAX_S = 60  # for each workload


class Settings:
    """How long and how often, and where the compiled programs are."""

    def __init__(self, rounds, seconds, warmup, build, patient=True):
        self.rounds = rounds
        self.seconds = seconds
        self.warmup = warmup
        self.build = Path(build)
        self.data = None  # the folder of the files to be read
        self.rate = None  # messages per second that are sent, for workloads where it is the same for all
        # On a machine that is never quiet a run must come to an end.
        self.repeats_max = rounds if patient else 0
        self.wait_for_quiet_max_s = WAIT_FOR_QUIET_MAX_S if patient else 0


def places(settings, port=None):
    """What may stand in braces in commands, variables and options of the load."""
    return {
        "python": sys.executable,
        "scripts": Path(sys.executable).parent,
        "build": settings.build,
        "benchmarks": BENCHMARKS,
        "socket": Path(tempfile.gettempdir(), f"ioring-bench-{os.getpid()}.sock"),  # short: 107 bytes are the limit
        "certificate": settings.build / "certificate.pem",
        "key": settings.build / "key.pem",
        "data": settings.data,
        "port": port,
    }


def filled(parts, places):
    return [part.format(**places) for part in parts]


def environment_of(side, places):
    return {**os.environ, **{name: value.format(**places) for name, value in side.environment}}


def why_not(side):
    """Why a side cannot be measured here, or None."""
    for needed in side.needs:
        module, _, name = needed.partition(":")
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            return f"cannot import {module}: {error}"
        if name and not hasattr(found, name):
            return f"{module} has no {name}"
    for program in side.programs:
        if not shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"):
            return f"{program} is not installed"
    return None


def measure(workload, side, settings):
    """One measurement as a dictionary of numbers."""
    if isinstance(workload, ProgramWorkload):
        return measure_program(workload, side, settings)
    return measure_server(workload, side, settings)


def measure_program(workload, side, settings):
    watch, cpu_before = processes.CpuWatch(), cpu_of_ended_children()
    known = places(settings)
    command = [*filled(side.command, known), str(settings.seconds)]
    process = processes.start(
        command,
        {processes.SERVER_CPU, processes.LOAD_CPU} if workload.both_cpus else {processes.SERVER_CPU},
        env=environment_of(side, known),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    output, complaint = process.communicate()
    if process.returncode:
        raise Failed(f"{side.label} ended with status {process.returncode}:\n{complaint}")
    numbers = json.loads(output)
    numbers["foreign_share"] = round(watch.foreign_share(cpu_of_ended_children() - cpu_before), 4)
    return numbers


def cpu_of_ended_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_server(workload, side, settings):
    log = settings.build / f"{workload.name}-{side.name}.log"
    port = processes.free_port() if any("{port}" in part for part in side.command) else None
    cpus = {processes.SERVER_CPU, processes.LOAD_CPU} if workload.both_cpus else {processes.SERVER_CPU}
    known = places(settings, port)
    command, environment = filled(side.command, known), environment_of(side, known)
    with processes.Server(side.label, command, environment, log, port, cpus) as server:
        memory_before = server.resident_bytes()
        address = ["--unix", server.address] if isinstance(server.address, str) else list(server.address)
        times = ["--seconds", str(settings.seconds), "--warmup", str(settings.warmup)]
        rate = ["--rate", str(settings.rate)] if settings.rate else []
        load = processes.start(
            [str(settings.build / "load"), *address, *filled(workload.load, known), *rate, *times, "--announce"],
            {processes.LOAD_CPU},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        complaints = []
        cpu_seconds = foreign_share = memory = 0
        try:
            for line in load.stderr:
                if line == "begin\n":
                    cpu_before = server.cpu_seconds()
                    watch, load_before = processes.CpuWatch(), processes.process_cpu_seconds(load.pid)
                elif line == "end\n":
                    cpu_seconds = server.cpu_seconds() - cpu_before
                    load_seconds = processes.process_cpu_seconds(load.pid) - load_before
                    foreign_share = watch.foreign_share(cpu_seconds + load_seconds)
                    memory = server.resident_bytes()  # while the connections still are
                    load.stdin.close()
                else:
                    complaints.append(line)
            output = load.stdout.read()
            if load.wait():
                raise Failed(f"the load on {side.label} failed:\n{''.join(complaints)}{server.output()}")
        finally:
            load.kill()  # it has ended, unless this was interrupted
    return server_numbers(json.loads(output), cpu_seconds, foreign_share, memory_before, memory)


def server_numbers(load, cpu_seconds, foreign_share, memory_before, memory):
    latency = load["latency_us"]
    transferred = load["messages"] * load["size"]
    return {
        "messages_per_second": load["messages_per_second"],
        "cpu_us": round(cpu_seconds / load["messages"] * 1e6, 4),
        "mb_per_second": round(transferred / load["seconds"] / 1e6, 2),
        "cpu_s_per_gib": round(cpu_seconds / (transferred / 2**30), 4),
        "server_busy": round(cpu_seconds / load["seconds"], 4),
        "load_busy": round(load["load_cpu_seconds"] / load["seconds"], 4),
        **{f"{name}_us": value for name, value in latency.items()},
        "memory_mib": round(memory / 2**20, 2),
        "kib_per_connection": round((memory - memory_before) / 1024 / load["connections"], 2),
        "lost": load["lost"],
        "foreign_share": round(foreign_share, 4),
    }


def run_rounds(workload, settings, tell):
    """Measures every side once per round, in an order that moves on from round to round.

    Returns {side name: [numbers per round]} and {side name: why it was not measured}. A side that fails is out of the
    workload, and the others go on. Rounds wait until others leave the CPUs alone, and are repeated when they did not;
    when waiting and repeats are used up they are kept, and show in their foreign_share.
    """
    with data.made(workload.files, settings.build) if workload.files else contextlib.nullcontext() as settings.data:
        return run_rounds_on(workload, settings, tell)


def half_rate(workload, sides, settings, tell):
    """Half of the messages per second that a side can do, for workloads where that is the rate of all; or None.

    Where that side is not measured it is half of what the first one can do.
    """
    if not getattr(workload, "half_of", None):
        return None
    settings.rate = None
    side = next((side for side in sides if side.name == workload.half_of), sides[0])
    try:
        rate = round(measure(workload, side, settings)["messages_per_second"] / 2)
    except Failed as error:
        raise SystemExit(f"{workload.name}: no rate without {side.label}: {error}") from error
    tell(f"{workload.name}: {rate} messages/s, half of what {side.label} can do")
    return rate


def run_rounds_on(workload, settings, tell):
    """The rounds of ``run_rounds``; the files are there."""
    skipped = {side.name: why for side in workload.sides if (why := why_not(side))}
    sides = [side for side in workload.sides if side.name not in skipped]
    results = {side.name: [] for side in sides}
    settings.rate = half_rate(workload, sides, settings, tell) if sides else None
    repeats_left, waiting_left = settings.repeats_max, settings.wait_for_quiet_max_s
    count = 0
    while sides and count < settings.rounds:
        if waiting_left > 0:
            waiting_left -= processes.wait_for_quiet(FOREIGN_SHARE_MAX, waiting_left)
        shift = count % len(sides)
        numbers = {}
        for side in sides[shift:] + sides[:shift]:
            try:
                numbers[side.name] = measure(workload, side, settings)
            except Failed as error:
                tell(f"{workload.name}: {error}")
                skipped[side.name] = f"failed: {str(error).splitlines()[0].rstrip(':')}"
                sides.remove(side)
                results.pop(side.name)
        if not numbers:
            continue
        disturbed = max(number["foreign_share"] for number in numbers.values())
        if disturbed > FOREIGN_SHARE_MAX and repeats_left:
            repeats_left -= 1
            tell(f"{workload.name}: round {count + 1} again: others used {disturbed:.0%} of the CPUs")
            continue
        count += 1
        for name, number in numbers.items():
            results[name].append(number)
        tell(f"{workload.name}: round {count} of {settings.rounds}")
    return results, skipped
