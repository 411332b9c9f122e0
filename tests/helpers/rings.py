"""Helpers for tests of rings: what the kernel has, what a process holds, and Python in a process of its own."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time

import pytest

import ioring
from ioring import Ring, SetupFlags

DEFER = SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN
WAIT_S = 20.0
"""Longer than anything that is waited for here takes."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with which close() resets a connection."""


def wait_until(condition):
    """Waits, outside of loops, until something holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kernel_threads(name):
    """Numbers of this process's threads that the kernel made and calls so, or so and more."""
    found = set()
    for number in map(int, os.listdir("/proc/self/task")):
        # One may end meanwhile.
        with contextlib.suppress(OSError), open(f"/proc/self/task/{number}/comm") as file:
            if file.read().startswith(name):
                found.add(number)
    return found


def needs(*operations):
    """Skips a test unless the kernel has these operations."""
    missing = [name for name in operations if name not in ioring.features().operations]
    return pytest.mark.skipif(bool(missing), reason=f"the kernel has no {', '.join(missing)}")


def needs_setup(*flags):
    """Skips a test unless the kernel accepts these setup flags."""
    missing = [name for name in flags if name not in ioring.features().setup_flags]
    return pytest.mark.skipif(bool(missing), reason=f"the kernel has no {', '.join(missing)}")


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

FLAGS = [
    pytest.param(SetupFlags(0), id="plain"),
    pytest.param(SetupFlags.SUBMIT_ALL | SetupFlags.COOP_TASKRUN | SetupFlags.TASKRUN_FLAG, id="coop"),
    pytest.param(DEFER, id="defer", marks=needs_setup("DEFER_TASKRUN")),
    pytest.param(DEFER | SetupFlags.TASKRUN_FLAG, id="defer-flag", marks=needs_setup("DEFER_TASKRUN")),
    pytest.param(SetupFlags.SQPOLL, id="sqpoll", marks=needs_setup("SQPOLL")),
]
"""The kinds of ring that behave differently inside."""


@contextlib.contextmanager
def stream_pair():
    """Two connected sockets."""
    here, there = socket.socketpair()
    with here, there:
        yield here, there


@contextlib.contextmanager
def tcp_pair():
    """The same over TCP."""
    with listener() as server, socket.create_connection(server.getsockname(), WAIT_S) as here:
        there, _ = server.accept()
        with there:
            yield here, there


@contextlib.contextmanager
def pipe_pair():
    """The two ends of a pipe, as file objects without buffers."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as source, open(writing, "wb", buffering=0) as sink:
        yield source, sink


@contextlib.contextmanager
def listener():
    """A listening TCP socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def drain(ring, timeout=WAIT_S):
    """All completions until nothing is in flight."""
    deadline = time.monotonic() + timeout
    found = []
    while True:
        while (cqe := ring.peek_cqe()) is not None:
            found.append(cqe)
        if not ring.in_flight:
            return found
        try:
            found.append(ring.wait_cqe(0.1))
        except TimeoutError:
            # What is left may be successes that are not shown.
            assert time.monotonic() < deadline, f"{ring.in_flight} requests do not end"


def resizable(buffer):
    """Whether nobody holds the memory of a bytearray."""
    try:
        buffer.append(0)
    except BufferError:
        return False
    buffer.pop()
    return True


def ring_mappings():
    """How many mappings of io_uring memory this process has."""
    with open("/proc/self/maps") as maps:
        return sum("io_uring" in line for line in maps)


def descriptors():
    """The numbers of the open descriptors."""
    # Listing opens descriptors of its own, which are gone when it is done.
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{name}")}


def stir():
    """Allocates and frees a lot, so that memory given up too early is somebody else's now."""
    chunks = [bytearray(b"\xaa" * size) for size in (16, 64, 256, 4096, 65536) for _ in range(200)]
    assert all(chunk.count(0xAA) == len(chunk) for chunk in chunks)
    return chunks


def make(flags=0, entries=16, **options):
    """A ring, with a polling thread that goes to sleep soon when it has one."""
    if flags & SetupFlags.SQPOLL:
        options.setdefault("sq_thread_idle", 10)
    return Ring(entries, flags=flags, **options)


PRELUDE = """
import array, gc, os, select, signal, socket, struct, sys, threading, time, warnings
import ioring
from ioring import *
"""


def python(code, *, arguments=(), prelude=PRELUDE, timeout=60, expect=0):
    """Runs code in a Python of its own; what it printed. Its end must be an ordinary one."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", *arguments, "-c", prelude + code],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path[:1], os.path.dirname(__file__), *sys.path])},
        check=False,
    )
    if done.returncode != expect:
        pytest.fail(f"ended with {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout + done.stderr


UNPRIVILEGED = """
import resource
resource.setrlimit(resource.RLIMIT_MEMLOCK, (AMOUNT, AMOUNT))
os.setgroups([])
# Nobody else's number: what a user has locked is counted for all its processes together.
user = 60000 + os.getpid() % 5000
os.setgid(user)
os.setuid(user)
"""


def unprivileged(code, limit):
    """Runs code as a user without privileges, who may lock so many bytes; what it printed."""
    said = python(UNPRIVILEGED.replace("AMOUNT", str(limit)) + code)
    if "available: False" in said:
        pytest.skip("io_uring is for administrators only here")
    return said


# A process that io_uring_setup, or another system call, is refused in by a seccomp filter, as container runtimes do it.
REFUSED = """
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)

def refuse(number, call=425):
    def step(code, jt, jf, k):
        return struct.pack("=HBBI", code, jt, jf, k)
    program = b"".join([
        step(0x20, 0, 0, 0),                    # load the system call's number
        step(0x15, 0, 1, call),                 # that one?
        step(0x06, 0, 0, 0x00050000 | number),  # fail with this errno
        step(0x06, 0, 0, 0x7FFF0000),           # allow
    ])
    memory = ctypes.create_string_buffer(program, len(program))
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
    argument = Program(4, ctypes.addressof(memory))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(argument), 0, 0):
        print("no seccomp here")
        sys.exit(0)
"""
