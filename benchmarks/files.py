"""Workloads of files: what other libraries for coroutines make of the same, and what the calls cost at least.

Peers that come with threads of their own, or use the loop's executor, run on uvloop, which makes them faster than
asyncio's own loop does; aiofiles is measured on both, since most of its users have the latter.
"""

from .data import Files
from .workloads import ECHO_COLUMNS, ProgramWorkload, ServerWorkload, Side, Target

COLUMNS = ("operations_per_second", "cpu_us_per_operation", "longest_pause_ms")
FROM_3_12 = "turbofile, which needs Python 3.12, is measured where it is installed."
AIOFILES = ("aiofiles-asyncio", "aiofiles-uvloop")


def side(name, label, kind, loop, library, needs=(), optional=False):
    command = ("{python}", "{benchmarks}/servers/file_work.py", "--loop", loop, "--library", library, kind, "{data}")
    return Side(name, label, command, needs=needs, optional=optional)


def sides(kind, *names):
    """ioring, the peers of these names, and the calls themselves."""
    uvloop = "uvloop:new_event_loop"
    peers = {
        "aiofile": side("aiofile", "aiofile, uvloop", kind, "uvloop", "aiofile", (uvloop, "aiofile")),
        "pyaio": side("pyaio", "pyaio, uvloop", kind, "uvloop", "pyaio", (uvloop, "pyaio.uring")),
        "turbofile": side("turbofile", "turbofile, uvloop", kind, "uvloop", "turbofile", (uvloop, "turbofile"), True),
    }
    return (
        side("ioring", "ioring, Loop", kind, "ioring", "ioring", ("ioring:open",)),
        side("ioring-uvloop", "ioring, uvloop", kind, "uvloop", "ioring", ("ioring:open", uvloop)),
        side("aiofiles-asyncio", "aiofiles, asyncio", kind, "asyncio", "aiofiles", ("aiofiles",)),
        side("aiofiles-uvloop", "aiofiles, uvloop", kind, "uvloop", "aiofiles", (uvloop, "aiofiles")),
        side("to-thread", "asyncio.to_thread, uvloop", kind, "uvloop", "to-thread", (uvloop,)),
        *(peers[name] for name in names),
        side("blocking", "blocking calls in the coroutine", kind, "asyncio", "blocking"),
    )


def at_least(ratio, *against, metric="operations_per_second"):
    return Target(metric, "ioring", against, at_least=ratio)


def files(name, title, explanation, kind, files, peers, targets, sides=sides, columns=COLUMNS):
    return ProgramWorkload(
        name=f"files-{name}",
        title=title,
        explanation=f"{explanation} `benchmarks/servers/file_work.py`.",
        sides=sides(kind, *peers),
        columns=columns,
        targets=targets,
        both_cpus=True,
        files=files,
    )


def direct_sides(kind):
    first, beside, *_ = sides(kind)
    return first, beside, Side("fio", "fio, io_uring", ("{python}", "{benchmarks}/servers/fio.py", "{data}"))


def reading(loop, library, label, needs):
    """An echo server whose loop has 64 tasks that read."""
    options = ("--reading", library, "--folder", "{data}") if library else ()
    name = f"{loop}-{library}" if library else loop
    return Side(name, label, ("{python}", "{benchmarks}/servers/echo.py", "--loop", loop, *options), needs=needs)


READING_LOAD = ("--connections", "50", "--size", "64")

FILE_WORKLOADS = (
    files(
        "random",
        "4 KiB random reads, 64 tasks",
        f"A file of 64 MiB that the page cache has. {FROM_3_12}",
        "random",
        Files(1, 64 << 20),
        ("aiofile", "pyaio", "turbofile"),
        (at_least(10, *AIOFILES), at_least(1.3, "pyaio"), at_least(1.3, "turbofile")),
    ),
    files(
        "direct",
        "4 KiB random reads past the page cache, 64 in flight",
        "A file of 256 MiB, opened with `direct=True`; fio with `--ioengine=io_uring --iodepth=64`.",
        "direct",
        Files(1, 256 << 20, cached=False),
        (),
        (at_least(0.9, "fio"),),
        sides=direct_sides,
    ),
    files(
        "small",
        "Open, read and close 10,000 files of 2 KiB, 64 tasks",
        f"All of them are cached. pyaio opens no files. {FROM_3_12}",
        "small",
        Files(10_000, 2048),
        ("aiofile", "turbofile"),
        (at_least(5, *AIOFILES),),
    ),
    files(
        "append",
        "4 KiB appended and fdatasync, 32 files",
        "A task for each file. turbofile has no fdatasync.",
        "append",
        Files(0, 0),
        ("aiofile", "pyaio"),
        (at_least(2, *AIOFILES),),
    ),
    files(
        "sequential",
        "1 GiB read from beginning to end, 1 task",
        f"256 KiB at a time, from the page cache; an operation is the whole file. {FROM_3_12}",
        "sequential",
        Files(1, 1 << 30),
        ("aiofile", "pyaio", "turbofile"),
        (
            at_least(1, "blocking", metric="mb_per_second"),
            Target("longest_pause_ms", "ioring", (), at_most=5),
        ),
        columns=("mb_per_second", "longest_pause_ms", "cpu_us_per_operation"),
    ),
    ServerWorkload(
        name="files-echo",
        title="Echo, 64 bytes, while 64 tasks read files",
        explanation="`benchmarks/servers/echo.py --reading`: the tasks read 4 KiB at random from a cached file of 64"
        f" MiB as fast as they can, on the CPU of the server. Load `{' '.join(READING_LOAD)}`.",
        sides=(
            reading("ioring", "ioring", "ioring, reading", ("ioring:open",)),
            reading("ioring", None, "ioring, not reading", ("ioring:Loop",)),
            reading("uvloop", "aiofiles", "uvloop, reading by aiofiles", ("uvloop:new_event_loop", "aiofiles")),
            reading("uvloop", None, "uvloop, not reading", ("uvloop:new_event_loop",)),
        ),
        columns=("p99_us", "p50_us", "p99.9_us", *ECHO_COLUMNS[:3]),
        targets=(Target("p99_us", "ioring-ioring", ("ioring",), at_most=1.5),),
        load=READING_LOAD,
        files=Files(1, 64 << 20),
    ),
)
