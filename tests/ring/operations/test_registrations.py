"""What is registered with a ring has the effect that its name says."""

import array
import concurrent.futures
import errno
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

import ioring
from ioring import (
    FILE_INDEX_ALLOC,
    FILES_SKIP,
    Direct,
    Op,
    RegisterOp,
    RegistrationError,
    RestrictionOp,
    RingError,
    SetupFlags,
    SlotError,
    Sqe,
    SqeFlags,
    WrongThread,
)
from operations import TIMEOUT_S, complete, needs_registration, opened, prepare, result, start, wait
from rings import as_root, listener, make, needs, needs_setup, pipe_pair, stream_pair

SLOTS = 0  # tests register files of their own


@pytest.fixture
def eventfd():
    fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


# eventfd.


def test_eventfd(ring, eventfd, pipe):
    ring.register_eventfd(eventfd)
    with pytest.raises(RegistrationError):
        ring.register_eventfd(eventfd)
    complete(ring, Sqe.prep_nop)
    assert os.eventfd_read(eventfd) == 1
    start(ring, Sqe.prep_read, pipe[0], bytearray(1))
    with pytest.raises(BlockingIOError):
        os.eventfd_read(eventfd)
    pipe[1].write(b"x")
    poll = select.poll()
    poll.register(eventfd, select.POLLIN)
    wait(ring)
    assert poll.poll(1000 * TIMEOUT_S)
    os.eventfd_read(eventfd)
    ring.unregister_eventfd()
    complete(ring, Sqe.prep_nop)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(eventfd)
    with pytest.raises(RegistrationError):
        ring.unregister_eventfd()


def test_eventfd_async(eventfd):
    with opened(SetupFlags(0)) as ring:
        ring.register_eventfd_async(eventfd)
        complete(ring, Sqe.prep_nop)
        with pytest.raises(BlockingIOError):
            os.eventfd_read(eventfd)
        complete(ring, Sqe.prep_nop, always_async=True)
        poll = select.poll()
        poll.register(eventfd, select.POLLIN)
        assert poll.poll(1000 * TIMEOUT_S)


def test_eventfd_that_is_none(ring, pipe):
    with pytest.raises(OSError, match="eventfd"):
        ring.register_eventfd(pipe[0])


# What the kernel has, and who asks.


def test_probe(ring):
    numbers = ring.register_probe()
    assert {Op.NOP, Op.READ, Op.SEND, Op.RECV} <= numbers
    assert {op.name for op in Op if op in numbers} == set(ioring.features().operations)


@pytest.fixture
def secret():
    """A file for its owner only, in a folder for everybody."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        secret = Path(folder, "secret")
        secret.touch(0o600)
        yield secret


@as_root
def test_personality(secret):
    nobody = 65534
    with opened(SetupFlags(0)) as ring:
        root = ring.register_personality()
        os.seteuid(nobody)
        try:
            other = ring.register_personality()
        finally:
            os.seteuid(0)
        assert root != other
        os.close(result(ring, Sqe.prep_open, secret))
        os.close(result(ring, Sqe.prep_open, secret, personality=root))
        with pytest.raises(PermissionError):
            complete(ring, Sqe.prep_open, secret, personality=other).result()
        ring.unregister_personality(other)
        assert complete(ring, Sqe.prep_open, secret, personality=other).res == -errno.EINVAL
        with pytest.raises(RegistrationError):
            ring.unregister_personality(other)


# Restrictions, and a ring that is built in one thread and used in another.


def test_restrictions(pipe):
    with opened(SetupFlags.R_DISABLED) as ring:
        ring.register_restrictions(
            [
                (RestrictionOp.REGISTER_OP, RegisterOp.ENABLE_RINGS),
                (RestrictionOp.REGISTER_OP, RegisterOp.PROBE),
                (RestrictionOp.SQE_OP, Op.NOP),
                (RestrictionOp.SQE_OP, Op.READ),
                (RestrictionOp.SQE_OP, Op.ASYNC_CANCEL),
                (RestrictionOp.SQE_FLAGS_ALLOWED, SqeFlags.IO_LINK),
            ]
        )
        with pytest.raises(RegistrationError, match="already"):
            ring.register_restrictions([(RestrictionOp.SQE_OP, Op.WRITE)])
        ring.enable_rings()
        pipe[1].write(b"x")
        assert result(ring, Sqe.prep_nop) == 0
        assert result(ring, Sqe.prep_read, pipe[0], bytearray(1)) == 1
        with pytest.raises(PermissionError) as caught:
            complete(ring, Sqe.prep_write, pipe[1], b"x").result()
        assert caught.value.errno == errno.EACCES
        assert complete(ring, Sqe.prep_nop, always_async=True).res == -errno.EACCES
        assert ring.register_probe()
        with pytest.raises(PermissionError):
            ring.register_files_sparse(4)


def test_restrictions_require_flags():
    with opened(SetupFlags.R_DISABLED) as ring:
        ring.register_restrictions(
            [
                (RestrictionOp.REGISTER_OP, RegisterOp.ENABLE_RINGS),
                (RestrictionOp.SQE_OP, Op.NOP),
                (RestrictionOp.SQE_FLAGS_REQUIRED, SqeFlags.ASYNC),
            ]
        )
        ring.enable_rings()
        assert complete(ring, Sqe.prep_nop).res == -errno.EACCES
        assert complete(ring, Sqe.prep_nop, always_async=True).res == 0


def test_restrictions_come_first(ring):
    with pytest.raises(RegistrationError, match="R_DISABLED"):
        ring.register_restrictions([(RestrictionOp.SQE_OP, Op.NOP)])
    with pytest.raises(ValueError, match="which restrictions"):
        ring.register_restrictions([])


def test_enable_rings(ring):
    with pytest.raises(RegistrationError, match="enabled already"):
        ring.enable_rings()
    with opened(SetupFlags.R_DISABLED) as disabled:
        prepare(disabled, Sqe.prep_nop)
        with pytest.raises(RingError, match="enable_rings"):
            disabled.submit()
        disabled.enable_rings()
        disabled.submit()
        assert wait(disabled).res == 0


@needs_setup("DEFER_TASKRUN")
def test_enable_rings_in_another_thread():
    flags = SetupFlags.R_DISABLED | SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN
    outcome = []

    def work(ring):
        ring.enable_rings()
        outcome.append(result(ring, Sqe.prep_nop_result, 42))
        ring.close()

    ring = make(flags)
    thread = threading.Thread(target=work, args=(ring,))
    thread.start()
    thread.join(TIMEOUT_S)
    assert outcome in ([42], [0])
    assert ring.closed


def test_enabling_that_was_interrupted():
    """An interrupt can come when the kernel has done it and before the ring has noted that."""
    with make(SetupFlags.R_DISABLED | SetupFlags.SINGLE_ISSUER) as ring:
        ring._adopt_disabled()
        ring._do(RegisterOp.ENABLE_RINGS, None, 0)
        ring.enable_rings()
        assert result(ring, Sqe.prep_nop) == 0
        with pytest.raises(RegistrationError, match="enabled already"):
            ring.enable_rings()


# Kernel workers.


def test_iowq_affinity(ring):
    ring.register_iowq_aff(os.sched_getaffinity(0))
    assert result(ring, Sqe.prep_nop, always_async=True) == 0
    ring.unregister_iowq_aff()
    with pytest.raises(ValueError, match="which processors"):
        ring.register_iowq_aff([])


def test_iowq_max_workers(ring):
    ring.register_iowq_max_workers(3, 5)
    assert ring.register_iowq_max_workers() == (3, 5)
    assert ring.register_iowq_max_workers(2) == (3, 5)
    assert ring.register_iowq_max_workers() == (2, 5)


def test_iowq_max_workers_limits_what_runs():
    def work():
        with opened(SetupFlags(0)) as ring, pipe_pair() as one, pipe_pair() as two, pipe_pair() as target:
            ring.register_iowq_max_workers(1, 1)
            two[1].write(b"2")
            for number, (reading, _) in enumerate((one, two)):
                start(ring, Sqe.prep_splice, reading, -1, target[1], -1, 1, user_data=number)
            with pytest.raises(TimeoutError):
                ring.wait_cqe(timeout=0.05)  # the only worker waits for the first pipe
            one[1].write(b"1")
            assert [wait(ring).user_data for _ in range(2)] == [0, 1]
            assert target[0].read(2) == b"12"

    # Workers are a thread's: those that the rings before this one left idle would run for this one, too.
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        executor.submit(work).result(TIMEOUT_S)


# Waiting.


@needs_registration("NAPI")
def test_napi(ring):
    assert ring.register_napi(50, prefer_busy_poll=True) == (0, False)
    assert ring.register_napi(60) == (50, True)
    with stream_pair() as (here, there):
        there.sendall(b"x")
        assert result(ring, Sqe.prep_recv, here, bytearray(1)) == 1
    assert ring.unregister_napi() == (60, False)
    assert ring.unregister_napi() == (0, False)


@needs_registration("CLOCK")
def test_clock(ring):
    for clock in (time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC):
        ring.register_clock(clock)
        begin = time.clock_gettime(clock)
        with pytest.raises(TimeoutError):
            ring.wait_cqe(timeout=0.02)
        assert 0.02 <= time.clock_gettime(clock) - begin < TIMEOUT_S
    with pytest.raises(OSError, match="clock") as caught:
        ring.register_clock(time.CLOCK_REALTIME)
    assert caught.value.errno == errno.EINVAL


def test_ring_fd(ring):
    assert ring.register_ring_fd() == 1
    with pytest.raises(RegistrationError):
        ring.register_ring_fd()
    for number in range(100):
        assert complete(ring, Sqe.prep_nop, user_data=number).user_data == number
    with pytest.raises(TimeoutError):
        ring.wait_cqe(timeout=0.01)
    ring.unregister_ring_fd()
    with pytest.raises(RegistrationError):
        ring.unregister_ring_fd()
    assert result(ring, Sqe.prep_nop) == 0


def test_ring_fds_are_sixteen():
    rings = [make() for _ in range(17)]
    try:
        for ring in rings[:16]:
            ring.register_ring_fd()
        with pytest.raises(OSError, match="ring_fds"):
            rings[16].register_ring_fd()
        assert [complete(ring, Sqe.prep_nop).res for ring in rings] == [0] * 17
        rings[3].unregister_ring_fd()
        rings[16].register_ring_fd()
        assert [complete(ring, Sqe.prep_nop).res for ring in rings] == [0] * 17
    finally:
        for ring in rings:
            ring.close()


# The file table.


@pytest.fixture
def contents(tmp_path):
    """Three open files that hold their own number."""
    files = []
    for number in range(3):
        (tmp_path / str(number)).write_text(str(number))
        files.append(open(tmp_path / str(number), "rb", buffering=0))  # noqa: SIM115
    yield files
    for file in files:
        file.close()


def read_slot(ring, slot):
    buffer = bytearray(1)
    cqe = complete(ring, Sqe.prep_read, Direct(slot), buffer, None, 0)
    return bytes(buffer) if cqe.res == 1 else cqe.res


def test_register_files(ring, contents):
    ring.register_files([contents[0], -1, contents[1].fileno()])
    for file in contents[:2]:
        file.close()
    assert [read_slot(ring, slot) for slot in range(3)] == [b"0", -errno.EBADF, b"1"]
    with pytest.raises(RegistrationError, match="3 slots"):
        ring.register_files([contents[2]])
    with pytest.raises(RegistrationError):
        ring.register_files_sparse(4)
    ring.unregister_files()
    with pytest.raises(RegistrationError):
        ring.unregister_files()
    with pytest.raises(SlotError):
        prepare(ring, Sqe.prep_read, Direct(0), bytearray(1))
    assert result(ring, Sqe.prep_nop) == 0
    wait(ring)
    ring.register_files([contents[2]])
    assert read_slot(ring, 0) == b"2"


def test_register_files_update(ring, contents):
    ring.register_files_sparse(5)
    assert ring.register_files_update(1, contents) == 3
    assert [read_slot(ring, slot) for slot in range(5)] == [-errno.EBADF, b"0", b"1", b"2", -errno.EBADF]
    assert ring.register_files_update(1, [-1, FILES_SKIP, contents[0]]) == 3
    assert [read_slot(ring, slot) for slot in range(1, 4)] == [-errno.EBADF, b"1", b"0"]
    assert ring.register_files_update(0, []) == 0
    with pytest.raises(SlotError):
        ring.register_files_update(3, contents)
    with pytest.raises(OSError, match="files_update") as caught:
        ring.register_files_update(0, [contents[0].fileno() + 1000])
    assert caught.value.errno == errno.EBADF


def test_unregistering_files_closes_them(ring):
    here, there = socket.socketpair()
    with here, there:
        ring.register_files([here])
        here.close()
        ring.unregister_files()
        there.settimeout(TIMEOUT_S)
        assert there.recv(1) == b""


def test_file_alloc_range(ring, contents):
    ring.register_files_sparse(8)
    ring.register_file_alloc_range(5, 2)
    path = contents[1].name
    assert {result(ring, Sqe.prep_open_direct, path) for _ in range(2)} == {5, 6}
    assert complete(ring, Sqe.prep_open_direct, path).res == -errno.ENFILE
    assert result(ring, Sqe.prep_open_direct, path, 0, 0, 2) == 0
    slots = array.array("i", [contents[0].fileno()])
    ring.register_file_alloc_range(0, 8)
    assert result(ring, Sqe.prep_files_update, slots, FILE_INDEX_ALLOC) == 1
    assert slots[0] not in (2, 5, 6)
    with pytest.raises(SlotError):
        ring.register_file_alloc_range(5, 4)


def test_too_large_a_table():
    code = "import resource, ioring; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    code += "with ioring.Ring(4) as ring:\n  try:\n    ring.register_files_sparse(65)\n"
    code += "  except OSError as error:\n    print(error.errno, error.strerror)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"{errno.EMFILE} a file table of 65 slots")
    assert "ulimit -n" in done.stdout


# Fixed buffers.


def test_register_buffers(ring, contents):
    buffers = [bytearray(10), bytearray(20)]
    ring.register_buffers(buffers)
    with pytest.raises(RegistrationError, match="2 buffers"):
        ring.register_buffers(buffers)
    with pytest.raises(BufferError):
        buffers[0].clear()
    assert result(ring, Sqe.prep_read_fixed, contents[2], buffers[1], 1, 0, 1) == 1
    assert buffers[1][:1] == b"2"
    ring.unregister_buffers()
    buffers[0].clear()
    with pytest.raises(RegistrationError):
        ring.unregister_buffers()
    assert complete(ring, Sqe.prep_read_fixed, contents[2], buffers[1], 1, 0, 1).res == -errno.EFAULT
    with pytest.raises(TypeError, match="writable"):
        ring.register_buffers([b"read-only"])
    with pytest.raises(ValueError, match="1 to"):
        ring.register_buffers([])


def test_register_buffers_update(ring, contents):
    with pytest.raises(RegistrationError):
        ring.register_buffers_update(0, [bytearray(1)])
    ring.register_buffers_sparse(3)
    one, two = bytearray(4096), bytearray(4096)
    assert ring.register_buffers_update(1, [one, two]) == 2
    assert result(ring, Sqe.prep_read_fixed, contents[1], two, 1, 0, 2) == 1
    assert two[:1] == b"1"
    assert complete(ring, Sqe.prep_read_fixed, contents[1], one, 1, 0, 0).res == -errno.EFAULT
    assert ring.register_buffers_update(1, [None]) == 1
    one.clear()
    with pytest.raises(BufferError):
        two.clear()
    with pytest.raises(ValueError, match="3 places"):
        ring.register_buffers_update(2, [bytearray(1), bytearray(1)])
    assert ring.register_buffers_update(0, []) == 0


def test_a_request_keeps_its_registered_buffer(ring, pipe):
    buffer = bytearray(8)
    ring.register_buffers([buffer])
    start(ring, Sqe.prep_read_fixed, pipe[0], buffer, 8)
    ring.unregister_buffers()
    with pytest.raises(BufferError):
        buffer.clear()
    pipe[1].write(b"12345678")
    assert wait(ring).result() == 8
    assert buffer == b"12345678"
    buffer.clear()


# Sharing.


def test_shared_workers(ring):
    with (
        opened(SetupFlags(0), wq_fd=ring)
        if not ring.flags & SetupFlags.SQPOLL
        else opened(SetupFlags.SQPOLL, wq_fd=ring) as other
    ):
        assert other.flags & SetupFlags.ATTACH_WQ
        assert result(other, Sqe.prep_nop, always_async=True) == 0


@needs("SOCKET")
def test_ring_is_pollable(ring):
    poll = select.poll()
    poll.register(ring, select.POLLIN)
    assert poll.poll(0) == []
    with listener() as server, socket.create_connection(server.getsockname()):
        start(ring, Sqe.prep_accept, server)
        assert poll.poll(1000 * TIMEOUT_S) == [(ring.fileno(), select.POLLIN)]
        os.close(wait(ring).result())


def test_registrations_belong_to_the_thread(ring):
    caught = []

    def work():
        try:
            ring.register_files_sparse(1)
        except WrongThread as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(caught) == 1
