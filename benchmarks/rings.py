"""Workloads of the ring itself: the Python interface to it, and an echo server on it without an event loop."""

from .workloads import ECHO_COLUMNS, ProgramWorkload, ServerWorkload, Side, Target


def c_uring(buffer_size=4096, connections=64):
    """`connections`: how many at a time; it has memory for that many."""
    options = ("--connections", str(connections), "--buffer-size", str(buffer_size))
    return Side("c-uring", "C, io_uring", ("{build}/uring_echo", *options))


def c_epoll(buffer_size=4096):
    return Side("c-epoll", "C, epoll", ("{build}/epoll_echo", "--buffer-size", str(buffer_size)))


IORING_ECHO = Side(
    "ioring",
    "ioring echo",
    ("{python}", "-m", "ioring", "echo", "--host", "127.0.0.1", "--port", "0"),
    needs=("ioring.__main__:main",),
)


def nop(library, mode):
    return ("{python}", "{benchmarks}/nop.py", library, mode)


def nop_sides(mode):
    sides = [
        Side("ioring", "ioring", nop("ioring", mode), needs=("ioring",)),
        Side("liburing", "liburing (PyPI)", nop("liburing", mode), needs=("liburing",)),
    ]
    if mode == "batch":
        label = "liburing (PyPI), array of SQEs"
        sides.append(Side("liburing-array", label, nop("liburing-array", mode), needs=("liburing",)))
    return (*sides, Side("c", "C, system calls alone", ("{build}/nop", mode)))


RING_WORKLOADS = (
    ProgramWorkload(
        name="nop-single",
        title="One NOP at a time",
        explanation="A NOP is prepared with its user_data, submitted, waited for and looked at (user_data, res), then "
        "the next. One io_uring_enter each. The ring has no setup flags.",
        sides=nop_sides("single"),
        columns=("ns_per_nop",),
        targets=(Target("ns_per_nop", "ioring", ("liburing",), at_most=0.6),),
    ),
    ProgramWorkload(
        name="nop-batch",
        title="NOPs in batches of 256",
        explanation="256 NOPs are prepared with their user_data, submitted by one io_uring_enter, and looked at "
        "(user_data, res) one after the other. The ring has no setup flags.",
        sides=nop_sides("batch"),
        columns=("ns_per_nop",),
        targets=(Target("ns_per_nop", "ioring", ("liburing",), at_most=0.6),),
    ),
    ServerWorkload(
        name="ring-echo",
        title="Echo on the ring, 64 bytes",
        explanation="50 connections, each with one message of 64 bytes under way. The server of `ioring echo` uses "
        "ioring.Ring alone, without an event loop; the C servers are benchmarks/uring_echo.c and epoll_echo.c.",
        sides=(IORING_ECHO, c_uring(), c_epoll()),
        columns=ECHO_COLUMNS,
        targets=(
            Target("messages_per_second", "ioring", ("c-uring",), at_least=0.85),
            Target("cpu_us", "ioring", ("c-uring",), at_most=1 / 0.85),
        ),
        load=("--connections", "50", "--size", "64"),
    ),
)
