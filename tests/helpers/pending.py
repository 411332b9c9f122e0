"""Requests that wait for something to happen, for tests of what becomes of their memory."""

import array
import contextlib
import os
import select
import signal
import socket
import tempfile
import time

import pytest

from ioring import Direct, EpollEvents, MsgHdr, Ring, SetupFlags, SigInfo, SockAddr
from rings import DEFER, WAIT_S, listener, needs, needs_setup, pipe_pair, stream_pair

KINDS = [
    pytest.param(SetupFlags(0), id="plain"),
    pytest.param(DEFER, id="defer", marks=needs_setup("DEFER_TASKRUN")),
    pytest.param(SetupFlags.SQPOLL, id="sqpoll", marks=needs_setup("SQPOLL")),
]

STARTERS = []


class Loan:
    """Stands for an object until it is given back, so that a suspended generator does not keep the object alive."""

    def __init__(self, thing):
        self.__dict__["thing"] = thing

    def __getattr__(self, name):
        return getattr(self.thing, name)

    def __setattr__(self, name, value):
        setattr(self.thing, name, value)


def pending(*operations, before=None):
    """Registers a context manager that prepares one request on a ring and gives (memory, happen).

    ``memory`` lists the bytearrays that the kernel may touch; ``happen`` lets the event happen that is waited for.
    ``before`` is called with the ring before the SQE is taken.
    """

    def register(function):
        manager = contextlib.contextmanager(function)

        @contextlib.contextmanager
        def start(ring, sqe):
            loans = Loan(ring), Loan(sqe)
            with manager(*loans) as prepared:
                for loan in loans:
                    del loan.__dict__["thing"]
                del ring, sqe
                yield prepared

        start.before = before
        STARTERS.append(pytest.param(start, id=function.__name__, marks=needs(*operations)))
        return start

    return register


@pending("RECV")
def recv(ring, sqe):
    buffer = bytearray(64)
    with stream_pair() as (here, there):
        sqe.prep_recv(here, buffer)
        yield [buffer], lambda: there.send(b"x" * 64)


@pending("RECV")
def recv_part(ring, sqe):
    buffer = bytearray(4096)
    with stream_pair() as (here, there):
        sqe.prep_recv(here, memoryview(buffer)[100:200], 50, socket.MSG_WAITALL)
        yield [buffer], lambda: there.send(b"x" * 64)


@pending("READ")
def read(ring, sqe):
    buffer = bytearray(64)
    with pipe_pair() as (source, sink):
        sqe.prep_read(source, buffer)
        yield [buffer], lambda: sink.write(b"x" * 64)


@pending("READV")
def readv(ring, sqe):
    buffers = [bytearray(3) for _ in range(20)]
    with pipe_pair() as (source, sink):
        sqe.prep_readv(source, buffers)
        yield buffers, lambda: sink.write(b"x" * 60)


@pending("READ_FIXED")
def read_fixed(ring, sqe):
    buffer = bytearray(8192)
    ring.register_buffers([buffer])
    with pipe_pair() as (source, sink):
        sqe.prep_read_fixed(source, memoryview(buffer)[64:4096], 100, 0, 0)
        yield [], lambda: sink.write(b"x" * 60)


@pending("RECVMSG")
def recvmsg(ring, sqe):
    buffers = [bytearray(30), bytearray(40)]
    with stream_pair() as (here, there):
        sqe.prep_recvmsg(here, MsgHdr(buffers, name_size=128, control_size=256))
        yield buffers, lambda: there.send(b"x" * 64)


@pending("ACCEPT")
def accept(ring, sqe):
    address = SockAddr()
    with listener() as server, socket.socket() as peer:
        sqe.prep_accept(server, address, socket.SOCK_CLOEXEC)
        yield [address], lambda: peer.connect(server.getsockname())


@pending("ACCEPT")
def accept_direct(ring, sqe):
    address = SockAddr()
    ring.register_files_sparse(4)
    with listener() as server, socket.socket() as peer:
        sqe.prep_accept_direct(server, address)
        yield [address], lambda: peer.connect(server.getsockname())


@pending("ACCEPT")
def multishot_accept(ring, sqe):
    with listener() as server, socket.socket() as peer:
        sqe.prep_multishot_accept(server)
        yield [], lambda: peer.connect(server.getsockname())


@pending("RECV")
def recv_multishot(ring, sqe):
    ring.setup_buf_ring(8, 64, 1)
    with stream_pair() as (here, there):
        sqe.prep_recv_multishot(here)
        sqe.buffer_group = 1
        yield [], lambda: there.send(b"x" * 300)


@pending("RECVMSG")
def recvmsg_multishot(ring, sqe):
    ring.setup_buf_ring(8, 256, 1)
    with stream_pair() as (here, there):
        sqe.prep_recvmsg_multishot(here, MsgHdr(name_size=16, control_size=32))
        sqe.buffer_group = 1
        yield [], lambda: there.send(b"x" * 64)


@pending("READ_MULTISHOT")
def read_multishot(ring, sqe):
    ring.setup_buf_ring(8, 64, 1)
    with pipe_pair() as (source, sink):
        sqe.prep_read_multishot(source, buf_group=1)
        yield [], lambda: sink.write(b"x" * 64)


def provide(ring):
    ring.get_sqe().prep_provide_buffers(bytearray(256), 64, 4, 9)
    ring.submit()
    assert ring.wait_cqe(WAIT_S).res >= 0


@pending("PROVIDE_BUFFERS", "RECV", before=provide)
def recv_of_provided_group(ring, sqe):
    with stream_pair() as (here, there):
        sqe.prep_recv(here, None, 64)
        sqe.buffer_group = 9
        yield [], lambda: there.send(b"x" * 64)


@pending("TIMEOUT")
def timeout(ring, sqe):
    sqe.prep_timeout(3600)
    yield [], None


@pending("POLL_ADD")
def poll_add(ring, sqe):
    with stream_pair() as (here, there):
        sqe.prep_poll_add(here, select.POLLIN)
        yield [], lambda: there.send(b"x")


@pending("POLL_ADD")
def poll_multishot(ring, sqe):
    with stream_pair() as (here, there):
        sqe.prep_poll_multishot(here, select.POLLIN)
        yield [], lambda: there.send(b"x")


def fill(sock):
    sock.setblocking(False)
    try:
        while True:
            sock.send(b"f" * 65536)
    except BlockingIOError:
        sock.setblocking(True)


def emptied(sock):
    """Reads until nothing comes for a while, so that whoever waits to send can."""

    def happen():
        sock.settimeout(0.2)
        try:
            while sock.recv(1 << 20):
                pass
        except TimeoutError:
            pass

    return happen


@pending("SEND")
def send(ring, sqe):
    buffer = bytearray(100000)
    with stream_pair() as (here, there):
        fill(here)
        sqe.prep_send(here, buffer, flags=socket.MSG_WAITALL)
        yield [buffer], emptied(there)


@pending("SENDMSG")
def sendmsg(ring, sqe):
    buffers = [bytearray(50000), bytearray(3)]
    with stream_pair() as (here, there):
        fill(here)
        sqe.prep_sendmsg(here, MsgHdr(buffers))
        yield buffers, emptied(there)


@pending("SEND_ZC")
def send_zc(ring, sqe):
    buffer = bytearray(200000)
    with listener() as server, socket.create_connection(server.getsockname()) as here:
        there, _ = server.accept()
        with there:
            fill(here)
            sqe.prep_send_zc(here, buffer, flags=socket.MSG_WAITALL)
            yield [buffer], emptied(there)


@pending("WRITE")
def write(ring, sqe):
    buffer = bytearray(1 << 20)
    with pipe_pair() as (source, sink):
        os.set_blocking(source.fileno(), False)
        sqe.prep_write(sink, buffer)

        def happen():
            while source.read(1 << 20):
                pass

        yield [buffer], happen


@pending("SPLICE")
def splice(ring, sqe):
    with pipe_pair() as (source, sink), pipe_pair() as (_, other):
        sqe.prep_splice(source, -1, other, -1, 64)
        yield [], lambda: sink.write(b"x" * 64)


@pending("FUTEX_WAIT")
def futex_wait(ring, sqe):
    word = bytearray(4)
    sqe.prep_futex_wait(word, 0)

    def happen():
        # A polling thread may not have looked at the request yet; and perhaps nobody waits any more.
        deadline = time.monotonic() + 0.3
        with Ring(2) as other:
            while time.monotonic() < deadline:
                other.get_sqe().prep_futex_wake(word, 1)
                other.submit()
                if other.wait_cqe(WAIT_S).result():
                    break

    yield [word], happen


@pending("WAITID")
def waitid(ring, sqe):
    info = SigInfo()
    child = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    try:
        sqe.prep_waitid(os.P_PID, child, info, os.WEXITED | os.WNOWAIT)
        yield [info], lambda: os.kill(child, signal.SIGKILL)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pending("EPOLL_WAIT")
def epoll_wait(ring, sqe):
    events = EpollEvents(4)
    with select.epoll() as epoll, stream_pair() as (here, there):
        epoll.register(here, select.EPOLLIN)
        sqe.prep_epoll_wait(epoll, events)
        yield [events], lambda: there.send(b"x")


@pending("OPENAT")
def openat_fifo(ring, sqe):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "fifo" * 20)
        os.mkfifo(path)
        sqe.prep_openat(None, path, os.O_RDONLY | os.O_CLOEXEC)
        sqe.always_async = True
        ends = []
        try:
            yield [], lambda: ends.append(os.open(path, os.O_RDWR))
        finally:
            for end in ends:
                os.close(end)


@pending("CONNECT")
def connect(ring, sqe):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):  # a full backlog answers to nobody
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        late = stack.enter_context(socket.socket())
        sqe.prep_connect(late, server.getsockname())
        yield [], None


@pending("LINK_TIMEOUT", "READ")
def linked_read(ring, sqe):
    buffer = bytearray(64)
    with pipe_pair() as (source, sink):
        sqe.prep_read(source, buffer)
        sqe.link = True
        limit = ring.get_sqe()
        limit.prep_link_timeout(3600)
        yield [buffer], lambda: sink.write(b"x" * 64)


@pending("STATX")
def statx_behind_read(ring, sqe):
    buffer, attributes = bytearray(8), bytearray(256)
    with pipe_pair() as (source, sink):
        sqe.prep_read(source, buffer)
        sqe.link = True
        ring.get_sqe().prep_statx(None, "/", 0, 0x7FF, attributes)
        yield [buffer, attributes], lambda: sink.write(b"x" * 8)


@pending("FILES_UPDATE")
def files_update_behind_read(ring, sqe):
    buffer, slots = bytearray(8), array.array("i", [-1])
    ring.register_files_sparse(2)
    with pipe_pair() as (source, sink):
        sqe.prep_read(source, buffer)
        sqe.hardlink = True
        ring.get_sqe().prep_files_update(slots)
        yield [buffer], lambda: sink.write(b"x" * 8)


@pending("RECV")
def direct_recv(ring, sqe):
    buffer = bytearray(64)
    with stream_pair() as (here, there):
        ring.register_files([here])
        here.close()
        sqe.prep_recv(Direct(0), buffer)
        yield [buffer], lambda: there.send(b"x" * 64)
