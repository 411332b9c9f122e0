"""Messages between rings, futexes, children, epoll sets and device commands do what their names say."""

import array
import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading

import pytest

from ioring import (
    FILE_INDEX_ALLOC,
    CqeFlags,
    Direct,
    EpollEvents,
    FutexFlags,
    MsgRingFlags,
    SetupFlags,
    SigInfo,
    Sqe,
    send_msg_ring,
)
from operations import (
    by_user_data,
    complete,
    needs_registration,
    opened,
    result,
    start,
    wait,
)
from rings import DEFER, needs, needs_setup, pipe_pair, stream_pair


@pytest.fixture(
    params=[
        pytest.param(SetupFlags(0), id="to-plain"),
        pytest.param(DEFER, id="to-defer", marks=needs_setup("DEFER_TASKRUN")),
    ]
)
def other(request):
    """A second ring, of the same thread."""
    with opened(request.param, slots=4) as ring:
        yield ring


# Messages between rings.


@pytest.mark.parametrize(("nbytes", "data"), [(5, 1234), (0, 0), (2**31 - 1, 2**63 - 1), (-errno.EIO, 1)])
def test_msg_ring(ring, other, nbytes, data):
    assert result(ring, Sqe.prep_msg_ring, other, nbytes, data) == 0
    cqe = wait(other)
    assert (cqe.res, cqe.user_data, cqe.flags) == (nbytes, data, 0)
    if nbytes < 0:
        with pytest.raises(OSError, match="message") as caught:
            cqe.result()
        assert caught.value.errno == errno.EIO


def test_msg_ring_by_number(ring, other):
    assert result(ring, Sqe.prep_msg_ring, other.fileno(), 1, 2) == 0
    assert wait(other).user_data == 2


def test_msg_ring_to_something_else(ring, other):
    with pipe_pair() as (reading, _):
        cqe = complete(ring, Sqe.prep_msg_ring, reading, 1, 2)
    with pytest.raises(OSError, match="msg_ring") as caught:
        cqe.result()
    assert caught.value.errno == errno.EBADFD


@pytest.mark.parametrize("data", [2**63, 2**64 - 1, -1])
def test_message_data_cannot_be_taken_for_a_request(ring, other, data):
    sqe = ring.get_sqe()
    with pytest.raises(ValueError, match="data must"):
        sqe.prep_msg_ring(other, 0, data)
    ring.submit()
    assert wait(ring).res == 0


@needs("SENDMSG_ZC")
def test_msg_ring_cqe_flags(ring, other):
    flags = CqeFlags.MORE | CqeFlags.SOCK_NONEMPTY | 77 << 16
    if complete(ring, Sqe.prep_msg_ring_cqe_flags, other, 3, 4, 0, flags).res == -errno.EINVAL:
        pytest.skip("the kernel passes no flags")
    cqe = wait(other)
    assert (cqe.res, cqe.user_data, cqe.flags) == (3, 4, flags)
    assert (cqe.more, cqe.socket_nonempty) == (True, True)


@needs_registration("SEND_MSG_RING")
def test_send_msg_ring_from_a_thread(ring):
    thread = threading.Thread(target=send_msg_ring, args=(ring, 7, 8))
    thread.start()
    cqe = wait(ring)
    thread.join()
    assert (cqe.res, cqe.user_data) == (7, 8)


@needs_registration("SEND_MSG_RING")
def test_send_msg_ring_to_something_else():
    with pipe_pair() as (reading, _), pytest.raises(OSError, match="send_msg_ring") as caught:
        send_msg_ring(reading, 1, 2)
    assert caught.value.errno == errno.EBADFD


@pytest.fixture
def source(ring, tmp_path):
    """A slot of the ring that holds a file."""
    (tmp_path / "file").write_bytes(b"content")
    return Direct(result(ring, Sqe.prep_open_direct, tmp_path / "file", os.O_RDONLY, 0, 5) + 5)


def read_in(ring, slot):
    buffer = bytearray(7)
    assert result(ring, Sqe.prep_read, Direct(slot), buffer, None, 0) == 7
    return bytes(buffer)


@pytest.mark.parametrize("source_as_number", [False, True])
def test_msg_ring_fd(ring, other, source, source_as_number):
    slot = source.slot if source_as_number else source
    assert result(ring, Sqe.prep_msg_ring_fd, other, slot, 2, 99) == 0
    cqe = wait(other)
    assert (cqe.res, cqe.user_data) == (0, 99)
    assert read_in(other, 2) == b"content"


def test_msg_ring_fd_without_a_completion(ring, other, source):
    target = Direct(3)
    assert result(ring, Sqe.prep_msg_ring_fd, other, source, target, 0, MsgRingFlags.CQE_SKIP) == 0
    assert other.peek_cqe() is None
    assert read_in(other, 3) == b"content"


@pytest.mark.parametrize("method", [Sqe.prep_msg_ring_fd, Sqe.prep_msg_ring_fd_alloc])
def test_msg_ring_fd_chooses_a_slot(ring, other, source, method):
    where = (FILE_INDEX_ALLOC,) if method is Sqe.prep_msg_ring_fd else ()
    slots = set()
    for number in range(4):
        slot = result(ring, method, other, source, *where, number)
        assert wait(other).user_data == number
        assert read_in(other, slot) == b"content"
        slots.add(slot)
    assert slots == set(range(4))
    assert complete(ring, method, other, source, *where, 0).res == -errno.ENFILE


def test_msg_ring_fd_of_an_empty_slot(ring, other):
    assert complete(ring, Sqe.prep_msg_ring_fd, other, 0, 0, 0).res == -errno.EBADF


# Futexes.


@needs("FUTEX_WAIT", "FUTEX_WAKE")
@pytest.mark.parametrize("scope", [0, FutexFlags.PRIVATE])
def test_futex(ring, scope):
    futex = array.array("I", [5])
    flags = FutexFlags.SIZE_U32 | scope
    assert complete(ring, Sqe.prep_futex_wait, futex, 4, 0xFFFFFFFF, flags).res == -errno.EAGAIN
    for number in range(3):
        start(ring, Sqe.prep_futex_wait, futex, 5, 0xFFFFFFFF, flags, user_data=number)
    start(ring, Sqe.prep_futex_wake, futex, 2, 0xFFFFFFFF, flags, user_data="wake")
    found = by_user_data(ring, 3)
    assert found.pop("wake").res == 2
    assert [cqe.res for cqe in found.values()] == [0, 0]
    start(ring, Sqe.prep_futex_wake, futex, 2, 0xFFFFFFFF, flags, user_data="wake")
    found = by_user_data(ring, 2)
    assert found.pop("wake").res == 1
    assert result(ring, Sqe.prep_futex_wake, futex, 1, 0xFFFFFFFF, flags) == 0


@needs("FUTEX_WAIT", "FUTEX_WAKE")
def test_futex_mask(ring):
    futex = array.array("I", [0])
    start(ring, Sqe.prep_futex_wait, futex, 0, 0b01, user_data="one")
    start(ring, Sqe.prep_futex_wait, futex, 0, 0b10, user_data="two")
    for mask, name in [(0b10, "two"), (0b01, "one")]:
        start(ring, Sqe.prep_futex_wake, futex, 9, mask, user_data="wake")
        assert {key: cqe.res for key, cqe in by_user_data(ring, 2).items()} == {"wake": 1, name: 0}


@needs("FUTEX_WAITV", "FUTEX_WAKE")
def test_futex_waitv(ring):
    futexes = [array.array("I", [number]) for number in range(3)]
    waited = [(futexes[0], 0), (futexes[1], 1, FutexFlags.SIZE_U32), (futexes[2], 2)]
    start(ring, Sqe.prep_futex_waitv, waited, user_data="wait")
    start(ring, Sqe.prep_futex_wake, futexes[1], 1, user_data="wake")
    assert {key: cqe.res for key, cqe in by_user_data(ring, 2).items()} == {"wait": 1, "wake": 1}
    futexes[2][0] = 7
    assert complete(ring, Sqe.prep_futex_waitv, waited).res == -errno.EAGAIN


# Children.


@needs("WAITID")
def test_waitid(ring):
    info = SigInfo()
    with subprocess.Popen([sys.executable, "-S", "-c", "input(); raise SystemExit(7)"], stdin=subprocess.PIPE) as child:
        start(ring, Sqe.prep_waitid, os.P_PID, child.pid, info, os.WEXITED | os.WNOWAIT)
        assert ring.peek_cqe() is None
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert wait(ring).result() == 0
        assert (info.signo, info.code, info.pid, info.status) == (signal.SIGCHLD, os.CLD_EXITED, child.pid, 7)
        assert info.uid == os.getuid()
        assert child.wait() == 7


@needs("WAITID")
def test_waitid_of_a_killed_child(ring):
    info = SigInfo()
    child = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(60)"], {})
    os.kill(child, signal.SIGKILL)
    assert result(ring, Sqe.prep_waitid, os.P_PID, child, info, os.WEXITED) == 0
    assert (info.code, info.pid, info.status) == (os.CLD_KILLED, child, signal.SIGKILL)
    with pytest.raises(ChildProcessError) as caught:
        complete(ring, Sqe.prep_waitid, os.P_PID, child, None, os.WEXITED).result()
    assert caught.value.filename == "waitid"


# epoll sets.


@pytest.fixture
def epoll():
    with select.epoll() as epoll:
        yield epoll


def test_epoll_ctl(ring, epoll):
    add, delete, change = 1, 2, 3
    with pipe_pair() as (reading, writing):
        assert result(ring, Sqe.prep_epoll_ctl, epoll, writing, add, select.EPOLLOUT, writing.fileno()) == 0
        assert epoll.poll(0) == [(writing.fileno(), select.EPOLLOUT)]
        assert complete(ring, Sqe.prep_epoll_ctl, epoll, writing, add, select.EPOLLOUT).res == -errno.EEXIST
        assert result(ring, Sqe.prep_epoll_ctl, epoll, writing, change, select.EPOLLPRI) == 0
        assert epoll.poll(0) == []
        assert result(ring, Sqe.prep_epoll_ctl, epoll, writing, delete) == 0
        assert complete(ring, Sqe.prep_epoll_ctl, epoll, reading, delete).res == -errno.ENOENT


@needs("EPOLL_WAIT")
def test_epoll_wait(ring, epoll):
    events = EpollEvents(4)
    with pipe_pair() as one, pipe_pair() as two:
        for number, (reading, _) in enumerate((one, two)):
            data = 2**64 - 1 - number
            assert result(ring, Sqe.prep_epoll_ctl, epoll, reading, 1, select.EPOLLIN | select.EPOLLET, data) == 0
        start(ring, Sqe.prep_epoll_wait, epoll, events)
        assert ring.peek_cqe() is None
        two[1].write(b"x")
        assert wait(ring).result() == 1
        assert events.events(1) == [(2**64 - 2, select.EPOLLIN)]
        one[1].write(b"x")
        two[1].write(b"x")
        assert result(ring, Sqe.prep_epoll_wait, epoll, events, 1) == 1
        assert result(ring, Sqe.prep_epoll_wait, epoll, events) == 1


# Commands to drivers.


@pytest.fixture
def device(tmp_path):
    """A block device of 1 MiB that is backed by a file."""
    get_free, set_fd, clear_fd = 0x4C82, 0x4C00, 0x4C01
    path = tmp_path / "disk"
    path.write_bytes(b"\xaa" * (1 << 20))
    try:
        with open("/dev/loop-control", "rb") as control, open(path, "r+b") as file:
            fcntl.flock(control, fcntl.LOCK_EX)  # another process of these tests would be told of the same device
            device = open(f"/dev/loop{fcntl.ioctl(control, get_free)}", "r+b", buffering=0)  # noqa: SIM115
            with device:
                fcntl.ioctl(device, set_fd, file.fileno())
                try:
                    yield device, path
                finally:
                    fcntl.ioctl(device, clear_fd)
    except OSError as error:
        pytest.skip(f"no loop device: {error.strerror}")


@needs("URING_CMD")
@pytest.mark.parametrize("direct", [False, True])
def test_cmd_discard(ring, device, direct):
    disk, path = device
    target = disk
    if direct:
        assert result(ring, Sqe.prep_files_update, [disk]) == 1
        target = Direct(0)
    cqe = complete(ring, Sqe.prep_cmd_discard, target, 65536, 131072)
    if direct:
        assert result(ring, Sqe.prep_close_direct, 0) == 0
    if cqe.res in (-errno.EINVAL, -errno.EOPNOTSUPP):
        pytest.skip("the kernel, or the file system, discards nothing")
    assert cqe.result() == 0
    os.fsync(disk.fileno())
    content = path.read_bytes()
    assert content.count(0) == 131072
    assert content[65536 : 65536 + 131072] == bytes(131072)


@needs("URING_CMD")
def test_cmd_discard_outside_of_the_device(ring, device):
    cqe = complete(ring, Sqe.prep_cmd_discard, device[0], 1 << 20, 4096)
    assert cqe.res in (-errno.EINVAL, -errno.EOPNOTSUPP)
    with pytest.raises(OSError, match="uring_cmd"):
        cqe.result()


@needs("URING_CMD")
@pytest.mark.parametrize("size", [17, 80])
def test_command_that_does_not_fit(ring, size):
    sqe = ring.get_sqe()
    with pytest.raises(ValueError, match="at most 16 bytes"):
        sqe.prep_uring_cmd(0, 0, bytes(size))
    ring.submit()
    assert wait(ring).res == 0


@needs("URING_CMD")
@needs_setup("SQE128")
def test_command_in_a_large_sqe():
    with (
        opened(SetupFlags.SQE128) as ring,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as accepted,
    ):
        client.sendall(b"12345")
        assert accepted.recv(5, socket.MSG_PEEK | socket.MSG_WAITALL) == b"12345"
        cqe = complete(ring, Sqe.prep_uring_cmd, 0, accepted, bytes(80))
    assert cqe.res in (5, -errno.EOPNOTSUPP)


@needs_setup("SQE128", "CQE32")
def test_large_entries_of_both_queues():
    with opened(SetupFlags.SQE128 | SetupFlags.CQE32) as ring, stream_pair() as (here, there):
        for number in range(3 * ring.cq_entries):
            cqe = complete(ring, Sqe.prep_send, here, b"%d" % number, user_data=number)
            assert (cqe.user_data, cqe.result(), len(cqe.extra)) == (number, len(str(number)), 2)
            assert there.recv(10) == b"%d" % number


@needs("URING_CMD")
def test_command_that_is_no_bytes(ring):
    sqe = ring.get_sqe()
    with pytest.raises(TypeError):
        sqe.prep_uring_cmd(0, 0, 16)
    ring.submit()
    assert wait(ring).res == 0
