"""Misuse: every one ends in a named exception that says what to do, or in the kernel's answer."""

import array
import copy
import mmap
import os
import pickle
import socket
import struct

import pytest

import ioring
from calls import ALLOWED_ANYWHERE, ring_calls, sqe_calls
from ioring import (
    FILE_INDEX_ALLOC,
    BufferRing,
    Cqe,
    Direct,
    EpollEvents,
    MsgHdr,
    RecvmsgOut,
    RegistrationError,
    RestrictionOp,
    Ring,
    RingClosed,
    RingError,
    SetupFlags,
    SlotError,
    SockAddr,
    Sqe,
    SqeFlags,
    SqeSubmitted,
    Statx,
    send_msg_ring,
)
from rings import WAIT_S, drain, python, resizable, stream_pair


@pytest.fixture
def sqe(ring):
    return ring.get_sqe()


class Sly:
    """A number that is small when it is looked at first, and large ever after."""

    def __init__(self, *values):
        self.values = list(values)

    def __index__(self):
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]

    __int__ = __index__


# What is closed.


def test_everything_on_a_closed_ring():
    ring = Ring(4)
    group = BufferRing(2, 16)
    sqe = ring.get_sqe()
    iterator = ring.completions()
    ring.close()
    calls = ring_calls(ring, group, bytearray(8)) | {"fileno": ring.fileno, "enter": ring.__enter__}
    for name, call in calls.items():
        with pytest.raises(RingClosed, match="closed"):
            pytest.fail(f"{name} gives {call()!r}")
    for name, call in sqe_calls(sqe).items():
        with pytest.raises(SqeSubmitted):
            pytest.fail(f"{name} gives {call()!r}")
    with pytest.raises(RingClosed):
        next(iterator) if list(iterator) else ring.fileno()
    with pytest.raises(RingClosed):
        send_msg_ring(ring, 0, 0)
    ring.close()
    assert ring.closed
    assert ring.in_flight == 0
    for name in ALLOWED_ANYWHERE - {"fileno", "close"}:
        getattr(ring, name)


def test_ring_whose_descriptor_was_closed_by_hand():
    with stream_pair() as (here, _):
        ring = Ring(4)
        ring.get_sqe()
        spare = os.dup(ring.fileno())
        os.close(ring.fileno())
        with pytest.raises(OSError):
            ring.register_probe()
        os.dup2(spare, ring.fileno())
        os.close(spare)
        ring.get_sqe().prep_recv(here, bytearray(1))
        assert ring.submit() == 2
        ring.close()


@pytest.mark.parametrize("kind", [Ring, Sqe, Cqe, BufferRing, MsgHdr])
def test_objects_cannot_be_copied(ring, kind):
    ring.get_sqe()
    ring.submit()
    thing = {
        Ring: ring,
        Sqe: ring.get_sqe(),
        Cqe: ring.wait_cqe(WAIT_S),
        BufferRing: BufferRing(2, 2),
        MsgHdr: MsgHdr([b"x"]),
    }[kind]
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copied(thing)


def test_objects_that_a_ring_makes_cannot_be_made():
    for kind in (Sqe, Cqe):
        with pytest.raises(TypeError, match="from a ring"):
            kind()
        bare = kind.__new__(kind)
        repr(bare)
    with pytest.raises(SqeSubmitted):
        Sqe.__new__(Sqe).prep_nop()
    with Ring(4) as ring:
        ring.get_sqe().prep_cancel(Sqe.__new__(Sqe))
        ring.submit()
        assert ring.wait_cqe(WAIT_S).res == -2
    for kind in (Sqe, Cqe, BufferRing, MsgHdr):
        with pytest.raises(TypeError, match="not an acceptable base type"):
            type("Sub", (kind,), {})


# Descriptors.


class Handle:
    def __init__(self, number):
        self.number = number

    def fileno(self):
        if isinstance(self.number, Exception):
            raise self.number
        return self.number

    def __repr__(self):
        return f"Handle({self.number!r})"


@pytest.mark.parametrize(
    ("fd", "error"),
    [
        (-1, ValueError),
        (2**31, ValueError),
        (2**70, ValueError),
        ("3", TypeError),
        (None, TypeError),
        (3.0, TypeError),
        (Handle(-1), ValueError),
        (Handle("x"), TypeError),
        (Handle(2**40), ValueError),
        (Handle(OSError("gone")), OSError),
        (Direct(3), SlotError),
    ],
    ids=ascii,
)
def test_descriptors(sqe, fd, error):
    for prepare in (
        lambda: sqe.prep_recv(fd, bytearray(1)),
        lambda: sqe.prep_close(fd),
        lambda: sqe.prep_poll_add(fd, 1),
        lambda: sqe.prep_accept(fd),
        lambda: sqe.prep_splice(fd, -1, 0, -1, 1),
        lambda: sqe.prep_splice(0, -1, fd, -1, 1),
        lambda: sqe.prep_cancel_fd(fd),
    ):
        with pytest.raises(error):
            prepare()
        assert bytes(sqe)[0] == 0  # a NOP


def test_descriptors_that_are_not_open(ring):
    ring.get_sqe().prep_recv(2**31 - 1, bytearray(1))
    with socket.socket() as sock:
        pass
    with pytest.raises(ValueError, match="closed"):
        ring.get_sqe().prep_recv(sock, bytearray(1))
    ring.submit()
    with pytest.raises(OSError, match="'recv'") as caught:
        ring.wait_cqe(WAIT_S).result()
    assert caught.value.errno == 9


def test_slots(ring):
    sqe = ring.get_sqe()
    for call in (
        lambda: sqe.prep_recv(Direct(0), bytearray(1)),
        lambda: sqe.prep_close_direct(0),
        lambda: sqe.prep_accept_direct(0),
        lambda: sqe.prep_openat_direct(None, "x", file_index=FILE_INDEX_ALLOC),
        lambda: sqe.prep_fixed_fd_install(0),
    ):
        with pytest.raises(SlotError, match=r"file table.*register_files_sparse"):
            call()
    ring.register_files_sparse(2)
    for slot in (2, 100, 2**20 - 1):
        with pytest.raises(SlotError, match="table of 2 slots"):
            sqe.prep_recv(Direct(slot), bytearray(1))
        with pytest.raises(SlotError, match="table of 2 slots"):
            sqe.prep_close_direct(slot)
    with pytest.raises(SlotError, match="names none"):
        sqe.prep_close_direct(FILE_INDEX_ALLOC)
    for slot in (-1, 2**20, 2**40):
        with pytest.raises(ValueError, match="slot must be"):
            Direct(slot)
    with pytest.raises(TypeError):
        Direct("1")
    with pytest.raises(TypeError, match="no direct descriptor as a directory"):
        sqe.prep_openat(Direct(0), "x")
    sqe.prep_recv(Direct(1), bytearray(1))
    sqe.fixed_file = False
    sqe.fixed_file = True
    ring.submit()
    assert ring.wait_cqe(WAIT_S).res == -9  # an empty slot


# Memory.


@pytest.mark.parametrize("nbytes", [-1, 9, 2**32, 2**70])
def test_lengths(sqe, nbytes):
    buffer = bytearray(8)
    for prepare in (sqe.prep_recv, sqe.prep_send, sqe.prep_read, sqe.prep_write, sqe.prep_send_zc):
        with pytest.raises(ValueError, match="length"):
            prepare(0, buffer, nbytes)
        with pytest.raises(TypeError, match="length"):
            prepare(0, buffer, "8")
    sqe.prep_nop()
    assert resizable(buffer)


def test_length_that_changes(sqe):
    # What was checked is what is used.
    for prepare in (sqe.prep_recv, sqe.prep_read, sqe.prep_send):
        prepare(0, bytearray(8), Sly(4, 100000))
        assert struct.unpack_from("=I", bytes(sqe), 24) == (4,)
    with pytest.raises(ValueError):
        sqe.prep_uring_cmd(0, 0, nbytes=Sly(100000, 1), addr=bytearray(8))
    with pytest.raises(ValueError):
        sqe.prep_provide_buffers(bytearray(8), Sly(100, 1), 1, 1)
    with pytest.raises(ValueError):
        sqe.prep_madvise(mmap.mmap(-1, 4096), Sly(8192, 0), 0)


@pytest.mark.parametrize("buffer", ["text", 8, int, [1], 1.5], ids=str)
def test_buffers_that_are_none(sqe, buffer):
    for prepare in (sqe.prep_recv, sqe.prep_send, sqe.prep_read, sqe.prep_read_fixed):
        with pytest.raises(TypeError):
            prepare(0, buffer)
    with pytest.raises(TypeError):
        sqe.prep_readv(0, [buffer])
    with pytest.raises(TypeError):
        MsgHdr([buffer])


@pytest.mark.parametrize("buffer", [b"12345678" * 64, memoryview(b"12345678" * 64)], ids=["bytes", "memoryview"])
def test_read_only_buffers_are_not_written_to(ring, sqe, buffer):
    for prepare in (
        lambda: sqe.prep_recv(0, buffer),
        lambda: sqe.prep_read(0, buffer),
        lambda: sqe.prep_readv(0, [bytearray(1), buffer]),
        lambda: sqe.prep_recvmsg(0, MsgHdr([buffer])),
        lambda: sqe.prep_statx(None, "/", 0, 0, buffer),
        lambda: sqe.prep_fgetxattr(0, "user.x", buffer),
        lambda: sqe.prep_epoll_wait(0, buffer),
        lambda: sqe.prep_provide_buffers(buffer, 8, 1, 1),
        lambda: sqe.prep_futex_wait(buffer, 0),
        lambda: sqe.prep_pipe(buffer),
        lambda: sqe.prep_waitid(0, 0, buffer, 4),
        lambda: sqe.prep_cmd_sock(2, 0, 1, 1, buffer),
        lambda: ring.register_buffers([buffer]),
    ):
        with pytest.raises(TypeError, match=r"writable|will not do"):
            prepare()
    sqe.prep_send(0, buffer)


def test_buffers_that_are_not_contiguous(ring, sqe):
    holes = memoryview(bytearray(2048))[::2]
    backwards = memoryview(bytearray(2048))[::-1]
    for view in (holes, backwards):
        for prepare in (
            lambda view=view: sqe.prep_recv(0, view),
            lambda view=view: sqe.prep_send(0, view),
            lambda view=view: sqe.prep_writev(0, [view]),
            lambda view=view: MsgHdr([view]),
            lambda view=view: sqe.prep_statx(None, "/", 0, 0, view),
            lambda view=view: ring.register_buffers([view]),
        ):
            with pytest.raises(TypeError, match=r"contiguous|will not do"):
                prepare()


def test_buffers_that_are_too_small(sqe):
    for prepare in (
        lambda: sqe.prep_statx(None, "/", 0, 0, bytearray(255)),
        lambda: sqe.prep_waitid(0, 0, bytearray(127), 4),
        lambda: sqe.prep_pipe(bytearray(7)),
        lambda: sqe.prep_futex_wait(bytearray(3), 0),
        lambda: sqe.prep_openat2(None, "/", b"x" * 23),
        lambda: sqe.prep_epoll_wait(0, EpollEvents(2), 3),
        lambda: sqe.prep_provide_buffers(bytearray(15), 8, 2, 0),
        lambda: sqe.prep_cmd_sock(3, 0, 1, 1, b"1234", 5),
        lambda: sqe.prep_uring_cmd(0, 0, nbytes=100, addr=bytearray(99)),
        lambda: sqe.prep_uring_cmd(0, 0, b"x" * 17),
        lambda: sqe.prep_futex_wait(memoryview(bytearray(9))[1:], 0),
        lambda: sqe.prep_madvise(bytearray(4096), 4095, 0),
    ):
        with pytest.raises(ValueError):
            prepare()


def test_vectors(ring, sqe):
    sqe.prep_readv(0, [bytearray(1)] * 1024)
    for prepare in (sqe.prep_readv, sqe.prep_writev):
        with pytest.raises(ValueError, match="at most 1024"):
            prepare(0, [bytearray(1)] * 1025)
        for wrong in (b"one", bytearray(1), memoryview(b"1"), "one"):
            with pytest.raises(TypeError, match="sequence of buffers"):
                prepare(0, wrong)
        with pytest.raises(TypeError):
            prepare(0, 5)
    with pytest.raises(ValueError, match="at most 1024"):
        MsgHdr([b"1"] * 1025)
    with open("/dev/null", "wb") as nowhere:
        sqe.prep_writev(nowhere, [])
        ring.submit()
        assert ring.wait_cqe(WAIT_S).res == 0


def test_files_update_takes_arrays_as_they_are(ring, sqe):
    class Long(array.array):
        def __len__(self):
            return 5000

    class Narrow(array.array):
        typecode = "i"

    ring.register_files_sparse(4)
    sqe.prep_files_update(Long("i", [-1, -1]))
    assert struct.unpack_from("=I", bytes(sqe), 24) == (2,)
    for wrong in (Narrow("b", [0] * 8), array.array("I", [1]), array.array("q", [1])):
        with pytest.raises(TypeError, match="typecode"):
            sqe.prep_files_update(wrong)
    for wrong in (["0"], [bytearray(4)], [None]):
        with pytest.raises(TypeError):
            sqe.prep_files_update(wrong)


# Paths, names and addresses.


def test_paths(sqe):
    for path in ("a\0b", b"a\0b"):
        for prepare in (
            lambda path=path: sqe.prep_open(path),
            lambda path=path: sqe.prep_unlink(path),
            lambda path=path: sqe.prep_rename("x", path),
            lambda path=path: sqe.prep_symlink(path, "x"),
            lambda path=path: sqe.prep_statx(None, path, 0, 0, Statx()),
            lambda path=path: sqe.prep_fgetxattr(0, path, bytearray(1)),
        ):
            with pytest.raises(ValueError, match="NUL"):
                prepare()
    for path in (5, None, 1.5, ["x"]):
        with pytest.raises(TypeError):
            sqe.prep_open(path)


@pytest.mark.parametrize(
    "address",
    [
        ("localhost", 80),
        ("example.org", 80),
        ("", 80),
        ("127.1", 80),
        ("256.0.0.1", 80),
        ("127.0.0.1", 65536),
        ("127.0.0.1", -1),
        ("127.0.0.1", 80, 0, 0),
        ("::1", 80, -1, 0),
        ("::1", 80, 0, 2**32),
        ("127.0.0.1",),
        (),
        ["127.0.0.1", 80],
        None,
        5,
        "x" * 108,
        "a\0b",
        b"\0" * 109,
    ],
    ids=ascii,
)
def test_addresses(sqe, address):
    with socket.socket() as sock:
        for prepare in (sqe.prep_connect, sqe.prep_bind):
            with pytest.raises(ValueError):
                prepare(sock, address)
    if address is not None:
        with pytest.raises(ValueError):
            MsgHdr([b""], address=address)


@pytest.mark.parametrize("address", [("127.0.0.1", "80"), (b"127.0.0.1", 80), (1, 80), ("::1", 80, "x", 0)], ids=ascii)
def test_addresses_of_wrong_types(sqe, address):
    with pytest.raises((TypeError, ValueError)):
        sqe.prep_connect(0, address)


def test_messages(ring, sqe):
    for arguments in (
        {"address": ("127.0.0.1", 1), "name_size": 16},
        {"control": [(1, 1, b"x")], "control_size": 10},
        {"name_size": 129},
        {"name_size": -1},
        {"control_size": -1},
        {"control": [(1, 2**40, b"x")]},
        {"control": [(1, 2)]},
    ):
        with pytest.raises(ValueError):
            MsgHdr([b"x"], **arguments)
    msg = MsgHdr([b"x"])
    with pytest.raises(RuntimeError, match="made once"):
        msg.__init__([b"y"])
    for wrong in (None, b"x", [b"x"]):
        with pytest.raises(TypeError, match="MsgHdr"):
            sqe.prep_sendmsg(0, wrong)
    with pytest.raises(ValueError, match="at least"):
        RecvmsgOut(b"", MsgHdr())
    with pytest.raises(ValueError, match="prep_send"):
        sqe.prep_send_set_addr(("127.0.0.1", 1))
    with pytest.raises(TypeError, match="SockAddr"):
        sqe.prep_accept(0, bytearray(200))
    small = SockAddr()
    del small[10:]
    with pytest.raises(ValueError):
        sqe.prep_accept(0, small)
    empty = MsgHdr.__new__(MsgHdr)
    repr(empty)
    ring.get_sqe().prep_sendmsg(0, empty)
    ring.submit()
    drain(ring)


def test_zero_copy_sends_do_not_drain(ring, sqe):
    """The kernel has such a request wait for its own notification, for ever, and all behind it (6.18)."""
    with stream_pair() as (here, _):
        for prepare in (lambda: sqe.prep_send_zc(here, b"data"), lambda: sqe.prep_sendmsg_zc(here, MsgHdr([b"data"]))):
            prepare()
            with pytest.raises(ValueError, match="must not drain"):
                sqe.drain = True
            with pytest.raises(ValueError, match="must not drain"):
                sqe.set_flags(SqeFlags.IO_DRAIN)
            assert not sqe.drain
            sqe.prep_nop()
            sqe.drain = True
            assert sqe.drain
            prepare()
            assert not sqe.drain
    sqe.prep_nop()
    ring.submit()
    assert ring.wait_cqe(WAIT_S).res == 0


# Numbers.


def test_flags_of_entries(sqe):
    for flags in (-1, 0x80, 2**40):
        with pytest.raises(ValueError, match="flags"):
            sqe.set_flags(flags)
    for name in ("buffer_group", "buf_index", "personality", "ioprio"):
        for value in (-1, 65536, 2**70):
            with pytest.raises(ValueError, match=name):
                setattr(sqe, name, value)
        with pytest.raises(TypeError, match=name):
            setattr(sqe, name, "1")


@pytest.mark.parametrize("seconds", [-1, -0.1, float("nan"), float("inf"), 2**40])
def test_seconds_out_of_range(sqe, seconds):
    for prepare in (sqe.prep_timeout, sqe.prep_link_timeout, lambda s: sqe.prep_timeout_update(s, sqe)):
        with pytest.raises(ValueError, match="seconds"):
            prepare(seconds)


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("soon", TypeError)])
def test_timeouts(ring, timeout, error):
    for wait in (ring.wait_cqe, lambda t: ring.wait_cqes(1, t), lambda t: ring.submit_and_wait(1, t)):
        with pytest.raises(error, match="timeout"):
            wait(timeout)


@pytest.mark.parametrize("count", [-1, 2**40, 1.5, "1", None])
def test_counts(ring, count):
    for wait in (ring.wait_cqes, ring.submit_and_wait):
        with pytest.raises((ValueError, TypeError)):
            wait(count, 0.001)
    with pytest.raises(ValueError, match="n must be"):
        ring.wait_cqes(0)


def test_targets(ring, sqe):
    with stream_pair() as (here, _):
        for _ in range(2):
            twin = ring.get_sqe()
            twin.prep_recv(here, bytearray(1))
            twin.user_data = "twin"
        with pytest.raises(ValueError, match="several requests"):
            sqe.prep_cancel("twin")
        for token in (-1, 2**64):
            with pytest.raises(ValueError, match="token"):
                sqe.prep_cancel64(token)
        sqe.prep_cancel("nobody")
        ring.submit()
        assert ring.wait_cqe(WAIT_S).res == -2
        for data in (-1, 2**63, 2**64):
            with pytest.raises(ValueError, match="data"):
                ring.get_sqe().prep_msg_ring(ring, 0, data)
            with pytest.raises(ValueError, match="data"):
                send_msg_ring(ring, 0, data)
    for wrong in ("x", None, 1.5):
        with pytest.raises(TypeError):
            send_msg_ring(wrong, 0, 0)


def test_submitted_entries(ring):
    sqe = ring.get_sqe()
    ring.submit()
    for name, call in sqe_calls(sqe).items():
        with pytest.raises(SqeSubmitted, match="take a new one"):
            pytest.fail(f"{name} gives {call()!r}")
    assert ring.wait_cqe(WAIT_S).res == 0


def test_prepared_twice_by_its_own_argument(ring):
    class Again:
        def fileno(self):
            sqe.prep_recv(0, second)
            return 0

    first, second = bytearray(8), bytearray(8)
    sqe = ring.get_sqe()
    with pytest.raises(RingError, match="prepared again"):
        sqe.prep_recv(Again(), first)
    sqe.prep_nop()
    assert resizable(first)
    assert resizable(second)


def test_failed_preparation_is_a_nop(ring):
    sqe = ring.get_sqe()
    for prepare in (
        lambda: sqe.prep_timeout(100),
        lambda: sqe.prep_recv(0, bytearray(10)),
        lambda: sqe.prep_socket(2, 1),
        lambda: sqe.prep_pipe(bytearray(8)),
    ):
        prepare()
        with pytest.raises(TypeError):
            sqe.prep_send(0, 5)
        assert bytes(sqe) == bytes(32) + struct.pack("=Q", sqe.token) + bytes(24)
    ring.submit()
    assert ring.wait_cqe(WAIT_S).res == 0


def test_restricted_ring():
    with Ring(8, flags=SetupFlags.R_DISABLED) as ring:
        ring.register_restrictions(
            [(RestrictionOp.REGISTER_OP, ioring.RegisterOp.ENABLE_RINGS), (RestrictionOp.SQE_OP, ioring.Op.NOP)]
        )
        with pytest.raises(RegistrationError, match="already"):
            ring.register_restrictions([(RestrictionOp.SQE_OP, 0)])
        ring.enable_rings()
        ring.get_sqe().prep_timeout(1)
        ring.submit()
        with pytest.raises(PermissionError):
            ring.wait_cqe(WAIT_S).result()
        with pytest.raises(PermissionError):
            ring.register_files_sparse(1)


# None, where something else is wanted.

NONES = """
import asyncio, inspect, io, os, tempfile
from ioring.files import opening as files

KIND = {kind!r}
SAMPLES = dict(
    size=1, offset=0, count=0, nbytes=1, whence=0, flags=0, fd=0, buf=bytearray(8), buffer=bytearray(8), data=b"x",
    buffers=[bytearray(8)], iovecs=[bytearray(8)], bid=0, cqe=None, lines=[b"x"], n=1, wait_nr=0, timeout=0, group=0,
    entries=2, path="x", name="x", text="x", limit=1, hint=-1, cookie=0, advice=0, mode=0, length=1,
)

def arguments(method):
    \"\"\"One None after the other, with what is right in the other places; and None everywhere.\"\"\"
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        for count in range(6):
            yield (None,) * count, {{}}
        return
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in parameters if p.kind == p.KEYWORD_ONLY]
    right = [SAMPLES.get(p.name, 0) for p in places]
    for place in range(len(places)):
        yield (*right[:place], None, *right[place + 1 :]), {{}}
        yield (*right[:place], None), {{}}
    for name in names:
        yield tuple(right), {{name: None}}
    for count in range(len(places) + 1):
        yield (None,) * count, {{}}
    yield (None,) * len(places), dict.fromkeys(names)

REFUSALS = (TypeError, ValueError, OSError, AttributeError, LookupError, RuntimeError, BufferError, StopIteration,
            StopAsyncIteration, NotImplementedError, RingError)

def methods(kind):
    return [name for name in dir(kind) if callable(getattr(kind, name)) and (
        not name.startswith("_") or name in ("__eq__", "__anext__", "__aexit__", "__exit__", "__len__", "__init__"))]

async def call_file(make):
    count = 0
    file = await make()
    kind = type(file)
    await file.close()
    for name in methods(kind):
        for args, options in list(arguments(getattr(file, name))):
            file = await make()
            try:
                value = getattr(file, name)(*args, **options)
                if inspect.isawaitable(value):
                    await asyncio.wait_for(value, 20)
                elif isinstance(value, io.IOBase) and name == "detach":
                    value.close()
            except REFUSALS:
                pass
            try:
                await file.close()
            except (OSError, ValueError):
                pass
            count += 1
    return count

def call_plain(make):
    count = 0
    thing = make()
    kind = type(thing[0])
    names = methods(kind)
    for name in names:
        for args, options in list(arguments(getattr(thing[0], name))):
            if name == "close":
                continue
            thing = make()
            try:
                getattr(thing[0], name)(*args, **options)
            except REFUSALS:
                pass
            count += 1
            for other in thing:
                if isinstance(other, Ring) and not other.closed:
                    other.close()
        for attribute in ("flags", "link", "buffer_group", "ioprio", "user_data", "personality"):
            try:
                setattr(thing[0], attribute, None)
            except REFUSALS:
                pass
    return count

def ring():
    ring = Ring(4)
    ring.get_sqe()
    ring.get_sqe()
    ring.submit()
    return ring,

def group():
    ring = Ring(4)
    return BufferRing(2, 16), ring

def sqe():
    ring = Ring(4)
    return ring.get_sqe(), ring

def cqe():
    ring = Ring(4)
    ring.get_sqe()
    ring.submit()
    return ring.wait_cqe(), ring

def message():
    return MsgHdr([bytearray(8)]),

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    with open("x", "wb") as file:
        file.write(b"one\\ntwo\\n" * 2000)
    if KIND in ("Ring", "BufferRing", "Sqe", "Cqe", "MsgHdr"):
        make = dict(Ring=ring, BufferRing=group, Sqe=sqe, Cqe=cqe, MsgHdr=message)[KIND]
        count = call_plain(make)
    else:
        async def make():
            if KIND == "RawFile":
                return await files.open("x", "r+b", 0)
            if KIND == "BufferedFile":
                return await files.open("x", "r+b")
            if KIND == "DirectFile":
                return await files.open("x", "r+b", direct=True)
            return await files.open("x", "r+", encoding="utf-8")
        try:
            count = ioring.run(call_file(make))
        except OSError as error:  # a file system without direct I/O
            assert KIND == "DirectFile", error
            count = 1
    assert count
    os.chdir("/")
gc.collect()
print("survived")
"""


@pytest.mark.parametrize(
    "kind", ["RawFile", "BufferedFile", "DirectFile", "TextFile", "Ring", "BufferRing", "Sqe", "Cqe", "MsgHdr"]
)
def test_none_for_every_argument(kind):
    """In a process of its own: a crash is a failure."""
    assert "survived" in python(NONES.format(kind=kind), arguments=["-W", "ignore"])


class Undecided:
    """Equality is no yes and no no, as that of arrays."""

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise ValueError("ambiguous")

    __hash__ = None


def test_targets_beside_those_that_cannot_be_compared(ring):
    for user_data in (Undecided(), "mine", Undecided()):
        sqe = ring.get_sqe()
        sqe.prep_timeout(WAIT_S)
        sqe.user_data = user_data
    ring.submit()
    sqe = ring.get_sqe()
    sqe.prep_cancel("mine")
    sqe.user_data = "cancel"
    ring.submit()
    assert {ring.wait_cqe(WAIT_S).user_data for _ in range(2)} == {"mine", "cancel"}
    ring.get_sqe().prep_timeout_update(1, user_data := Undecided())  # not in flight: nothing is found
    ring.submit()
    assert ring.wait_cqe(WAIT_S).res < 0
    assert user_data is not None
