"""What a workload is: its programs, what is measured of them, and what ioring should reach.

Every round measures each side, that is each program, once. The first side is the subject, ioring; without it there is
nothing to compare, and the workload is left out.
"""

from dataclasses import dataclass

from .data import Contents, Files

# A metric's heading in tables, and whether more is better.
METRICS = {
    "messages_per_second": ("messages/s", True),
    "cpu_us": ("server CPU us/message", False),
    "server_busy": ("server busy", None),
    "load_busy": ("load busy", None),
    "p50_us": ("p50 us", False),
    "p99_us": ("p99 us", False),
    "p99.9_us": ("p99.9 us", False),
    "memory_mib": ("memory MiB", False),
    "kib_per_connection": ("KiB/connection", False),
    "operations_per_second": ("operations/s", True),
    "cpu_us_per_operation": ("CPU us/operation", False),
    "longest_pause_ms": ("longest pause ms", False),
    "ns_per_nop": ("ns per NOP", False),
    "ns_per_operation": ("ns per operation", False),
    "cpu_ns_per_operation": ("CPU ns per operation", False),
    "mb_per_second": ("MB/s", True),
    "cpu_s_per_gib": ("server CPU s/GiB", False),
}


@dataclass(frozen=True)
class Side:
    """One program. What may stand in braces in its command and its variables: measure.places.

    A server whose command has a {port} is told where to listen; the others say it.
    """

    name: str
    label: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()  # variables set for it
    needs: tuple[str, ...] = ()  # "module" or "module:name" without which it cannot run
    programs: tuple[str, ...] = ()  # commands without which it cannot
    optional: bool = False  # then it is left out without a word where it cannot run


@dataclass(frozen=True)
class Target:
    """What `side` should reach: its metric divided by the best of those it is held against, round by round.

    When it is held against nobody, the metric itself.
    """

    metric: str
    side: str
    against: tuple[str, ...]
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    explanation: str
    sides: tuple[Side, ...]
    columns: tuple[str, ...]  # metrics of the table; the plot shows the first
    targets: tuple[Target, ...] = ()
    files: Files | Contents | None = None  # what there is to be read, in the folder {data}


@dataclass(frozen=True)
class ServerWorkload(Workload):
    load: tuple[str, ...] = ()  # options of the load generator; braces as in commands
    both_cpus: bool = False  # for servers of several processes; they share one of the CPUs with the load
    half_of: str | None = None  # the side half of whose throughput is the rate of requests for all


@dataclass(frozen=True)
class ProgramWorkload(Workload):
    """Its sides take the seconds to run as last argument and print a JSON object of metrics."""

    both_cpus: bool = False  # for programs whose threads work at the same time; the others have the server's CPU


ECHO_COLUMNS = ("messages_per_second", "cpu_us", "server_busy", "load_busy", "p50_us", "p99_us", "p99.9_us")
