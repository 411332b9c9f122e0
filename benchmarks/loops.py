"""Workloads of event loops: the same program (servers/) on ioring's loop and on others.

asyncio, uvloop and rloop receive into large blocks that glibc gives back to the kernel after every message, which can
cost more than all the rest. Where that matters a second row has the heap kept (MALLOC_ variables), so that nobody takes
an allocator's setting for a loop's merit. Targets are held against loops as they come, without it.
"""

from .rings import c_epoll, c_uring
from .workloads import ECHO_COLUMNS, ProgramWorkload, ServerWorkload, Side, Target

LOOPS = ("uvloop", "asyncio", "rloop", "rsloop")  # those that ioring is compared with
NO_RLOOP = ("uvloop", "asyncio", "rsloop")  # rloop has neither Unix servers nor TLS
LABELS = {"ioring": "ioring.Loop", "ioring-direct": "ioring.Loop, direct descriptors"}
NEEDS = {"asyncio": (), "ioring-direct": ("ioring:Loop",)}
HEAP_KEPT = tuple((f"MALLOC_{name}_", str(64 << 20)) for name in ("TRIM_THRESHOLD", "MMAP_THRESHOLD", "TOP_PAD"))
OPTIONS_OF_KIND = {
    "unix": ("--unix", "{socket}"),
    "tls": ("--certificate", "{certificate}", "--key", "{key}"),
}


def loop_side(loop, program, heap_kept=False):
    """`program` is the file in servers/ with its arguments."""
    label = LABELS.get(loop, loop)
    file, *arguments = program
    return Side(
        name=f"{loop}-heap-kept" if heap_kept else loop,
        label=f"{label}, heap kept" if heap_kept else label,
        command=("{python}", f"{{benchmarks}}/servers/{file}", "--loop", loop, *arguments),
        environment=HEAP_KEPT if heap_kept else (),
        needs=NEEDS.get(loop, (f"{loop}:new_event_loop",)),
        optional=loop == "rsloop",  # it comes as source alone, and needs a Rust compiler and its packages
    )


def loop_sides(program, loops=LOOPS, heap_kept=(), direct=False):
    """ioring.Loop, the loops, and again those that are to be measured with the heap kept too."""
    ours = ("ioring", "ioring-direct") if direct else ("ioring",)
    return (
        *(loop_side(loop, program) for loop in (*ours, *loops)),
        *(loop_side(loop, program, heap_kept=True) for loop in heap_kept),
    )


def at_least(ratio, metric="messages_per_second", against="uvloop"):
    return Target(metric, "ioring", (against,), at_least=ratio)


def at_most(ratio, metric, against="uvloop"):
    return Target(metric, "ioring", (against,), at_most=ratio)


def echo(name, title, kind, load, targets, floor=(), columns=ECHO_COLUMNS, **sides):
    """The floor is what the same costs in C."""
    program = ("echo.py", "--kind", kind, *OPTIONS_OF_KIND.get(kind, ()))
    return ServerWorkload(
        name=name,
        title=title,
        explanation=f"`benchmarks/servers/echo.py --kind {kind}`, load `{' '.join(load)}`.",
        sides=(*loop_sides(program, **sides), *floor),
        columns=columns,
        targets=targets,
        load=load,
    )


def transfer(kind, title, explanation):
    return ServerWorkload(
        name=kind,
        title=title,
        explanation=f"{explanation} `benchmarks/servers/transfer.py --kind {kind}`.",
        sides=loop_sides(("transfer.py", "--kind", kind), heap_kept=("uvloop",)),
        columns=("mb_per_second", "cpu_s_per_gib", "server_busy", "load_busy"),
        targets=(at_least(1.2, "mb_per_second"),),
        load=("--mode", kind, "--size", str(1 << 30)),
    )


def turns(kind, title, explanation, both_cpus=False):
    return ProgramWorkload(
        name=kind,
        title=title,
        explanation=f"{explanation} `benchmarks/servers/callbacks.py`.",
        sides=loop_sides(("callbacks.py", kind)),
        columns=("ns_per_operation", "cpu_ns_per_operation"),
        targets=(at_most(1.0, "ns_per_operation"),),
        both_cpus=both_cpus,
    )


def messages(size, connections=50):
    load = ("--connections", str(connections), "--size", str(size))
    # Comparing every byte would cost more than what is measured.
    return (*load, "--compare-every", "16") if size >= 16384 else load


ECHO_WORKLOADS = (
    echo(
        "protocol-64",
        "asyncio.Protocol, 64 bytes",
        "protocol",
        messages(64),
        (at_least(1.25), at_most(1.15, "cpu_us", "c-uring")),
        floor=(c_uring(), c_epoll()),
        heap_kept=("asyncio",),
        direct=True,
    ),
    echo(
        "protocol-1k",
        "asyncio.Protocol, 1 KiB",
        "protocol",
        messages(1024),
        (at_least(1.25), at_most(1.15, "cpu_us", "c-uring")),
        floor=(c_uring(), c_epoll()),
    ),
    echo(
        "protocol-16k",
        "asyncio.Protocol, 16 KiB",
        "protocol",
        messages(16384),
        (at_least(2.0), at_most(1.25, "cpu_us", "c-uring")),
        floor=(c_uring(16384), c_epoll(16384)),
        heap_kept=("uvloop", "asyncio"),
    ),
    echo(
        "buffered-64k",
        "asyncio.BufferedProtocol, 64 KiB",
        "buffered",
        messages(65536),
        (at_least(1.3),),
        floor=(c_uring(65536),),
        heap_kept=("uvloop",),
    ),
    echo(
        "streams-64",
        "Streams, 64 bytes",
        "streams",
        messages(64),
        (at_least(1.4),),
        heap_kept=("asyncio",),
    ),
    echo("sock-64", "sock_recv and sock_sendall, 64 bytes", "sock", messages(64), (at_least(2.2),)),
    echo(
        "latency",
        "One connection, 64 bytes",
        "protocol",
        (*messages(64, connections=1), "--spin"),
        (at_most(1.0, "p50_us"),),
        floor=(c_uring(), c_epoll()),
        columns=("p50_us", "p99_us", "p99.9_us", "messages_per_second", "cpu_us", "server_busy"),
    ),
    echo(
        "connect",
        "A connection per message, 64 bytes",
        "protocol",
        (*messages(64), "--mode", "connect"),
        (at_least(1.3),),
        floor=(c_uring(connections=1024),),  # more than there are: the last ones are closed a little later
        direct=True,
    ),
    echo(
        "connect-asking",
        "A connection per message, asked about its addresses",
        "inquisitive",
        (*messages(64), "--mode", "connect"),
        (),
        direct=True,
    ),
    echo("unix-64", "Unix sockets, 64 bytes", "unix", messages(64), (at_least(1.4),), loops=NO_RLOOP),
    echo("udp-64", "Datagrams, 64 bytes", "udp", (*messages(64), "--udp"), (at_least(1.5),)),
    echo(
        "idle",
        "5,000 connections, 1 % active",
        "protocol",
        (*messages(64, connections=5000), "--active-percent", "1"),
        (at_least(1.2), at_most(0.5, "kib_per_connection")),
        columns=("messages_per_second", "kib_per_connection", "memory_mib", *ECHO_COLUMNS[1:]),
        direct=True,
    ),
    echo(
        "tls-1k",
        "TLS, 1 KiB",
        "tls",
        (*messages(1024), "--tls"),
        (at_least(1.1),),
        loops=NO_RLOOP,
        heap_kept=("uvloop", "asyncio"),
    ),
)

TRANSFER_WORKLOADS = (
    transfer(
        "upload",
        "Upload of 1 GiB through one stream",
        "A connection sends 1 GiB, which the server reads by `reader.read(65536)`; then the next.",
    ),
    transfer(
        "download",
        "Download of 1 GiB through one stream",
        "A connection asks for 1 GiB, which the server writes in pieces of 64 KiB, each followed by `drain()`; then the"
        " next.",
    ),
)

TURN_WORKLOADS = (
    turns("call-soon", "call_soon", "100 callbacks that each schedule themselves again."),
    turns("call-later", "call_later and cancel", "1,000 timers outstanding: the oldest cancelled, a new one started."),
    turns("create-task", "create_task", "100 tasks that do nothing, started together and awaited."),
    turns("sleep-0", "sleep(0)", "One task that gives up its turn: each is a turn of the loop."),
    turns(
        "threadsafe",
        "call_soon_threadsafe, there and back",
        "A thread wakes the sleeping loop by `call_soon_threadsafe` and waits until the callback has run. Both CPUs may"
        " be used: on one this would measure how the kernel shares it.",
        both_cpus=True,
    ),
)

LOOP_WORKLOADS = (*ECHO_WORKLOADS, *TRANSFER_WORKLOADS, *TURN_WORKLOADS)
