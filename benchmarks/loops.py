"""Workloads of event loops: the same echo server (servers/echo.py) on ioring's loop and on others.

asyncio and rloop receive into large blocks that glibc gives back to the kernel after every message, which can cost more
than all the rest. Where that matters a second row has the heap kept (MALLOC_ variables), so that nobody takes an
allocator's setting for a loop's merit.
"""

from .rings import c_epoll, c_uring
from .workloads import ECHO_COLUMNS, ServerWorkload, Side, Target

HEAP_KEPT = tuple((f"MALLOC_{name}_", str(64 << 20)) for name in ("TRIM_THRESHOLD", "MMAP_THRESHOLD", "TOP_PAD"))
OPTIONS_OF_KIND = {
    "unix": ("--unix", "{socket}"),
    "tls": ("--certificate", "{certificate}", "--key", "{key}"),
}


def loop_side(loop, kind, heap_kept=False):
    label = {"ioring": "ioring.Loop"}.get(loop, loop)
    return Side(
        name=f"{loop}-heap-kept" if heap_kept else loop,
        label=f"{label}, heap kept" if heap_kept else label,
        command=(
            *("{python}", "{benchmarks}/servers/echo.py", "--loop", loop, "--kind", kind),
            *OPTIONS_OF_KIND.get(kind, ()),
        ),
        environment=HEAP_KEPT if heap_kept else (),
        needs=() if loop == "asyncio" else (f"{loop}:new_event_loop",),
    )


def loop_workload(
    name, title, kind, load, loops=("asyncio", "uvloop", "rloop"), heap_kept=(), floor=(), columns=ECHO_COLUMNS
):
    """ioring.Loop against the loops, and again against those that are to be measured with the heap kept too.

    The floor is shown without being held against it: what the same costs in C.
    """
    others = [loop_side(loop, kind) for loop in loops]
    others += [loop_side(loop, kind, heap_kept=True) for loop in heap_kept]
    # Not messages per second: the load generator can be what limits those.
    metric = columns[0] if columns[0] != "messages_per_second" else "cpu_us"
    return ServerWorkload(
        name=name,
        title=title,
        explanation=f"benchmarks/servers/echo.py --kind {kind}, load `{' '.join(load)}`.",
        sides=(loop_side("ioring", kind), *others, *floor),
        columns=columns,
        targets=(Target(metric, "ioring", tuple(side.name for side in others), at_most=1.0),),
        load=load,
    )


SMALL = ("--connections", "50", "--size", "64")
LARGE = ("--connections", "50", "--size", "16384")

LOOP_WORKLOADS = (
    loop_workload(
        "protocol-64",
        "asyncio.Protocol, 64 bytes",
        "protocol",
        SMALL,
        heap_kept=("asyncio", "rloop"),
        floor=(c_uring(), c_epoll()),
    ),
    loop_workload(
        "protocol-16k",
        "asyncio.Protocol, 16 KiB",
        "protocol",
        LARGE,
        heap_kept=("asyncio", "uvloop", "rloop"),
        floor=(c_uring(16384), c_epoll(16384)),
    ),
    loop_workload("buffered-64", "asyncio.BufferedProtocol, 64 bytes", "buffered", SMALL),
    loop_workload("buffered-16k", "asyncio.BufferedProtocol, 16 KiB", "buffered", LARGE),
    loop_workload("streams-64", "Streams, 64 bytes", "streams", SMALL, heap_kept=("asyncio", "rloop")),
    loop_workload("sock-64", "sock_recv and sock_sendall, 64 bytes", "sock", SMALL, heap_kept=("asyncio",)),
    # rloop has neither Unix servers nor TLS.
    loop_workload(
        "unix-64", "Unix sockets, 64 bytes", "unix", SMALL, loops=("asyncio", "uvloop"), heap_kept=("asyncio",)
    ),
    loop_workload("udp-64", "Datagrams, 64 bytes", "udp", (*SMALL, "--udp"), heap_kept=("asyncio",)),
    loop_workload(
        "tls-64",
        "TLS, 64 bytes",
        "tls",
        (*SMALL, "--tls"),
        loops=("asyncio", "uvloop"),
        heap_kept=("asyncio", "uvloop"),
    ),
    loop_workload(
        "tls-16k", "TLS, 16 KiB", "tls", (*LARGE, "--tls"), loops=("asyncio", "uvloop"), heap_kept=("asyncio", "uvloop")
    ),
    loop_workload("connect", "A connection per message", "protocol", (*SMALL, "--mode", "connect")),
    loop_workload(
        "idle",
        "10,000 connections, 1 % active",
        "protocol",
        ("--connections", "10000", "--size", "64", "--active-percent", "1"),
        columns=("kib_per_connection", "memory_mib", "messages_per_second", "cpu_us", "p50_us", "p99_us"),
    ),
)
