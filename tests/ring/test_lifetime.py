"""Memory that the kernel has: held until the final completion, and then given back, whatever is done meanwhile."""

import contextlib
import gc
import os
import socket
import sys
import time
import warnings
import weakref

import pytest

from ioring import CancelFlags, Direct, MsgHdr, Op, Ring, RingClosed, SetupFlags, SockAddr, Sqe, SqeSubmitted
from operations import needs_trial
from pending import KINDS, STARTERS, recv, timeout
from rings import (
    WAIT_S,
    descriptors,
    drain,
    make,
    needs,
    python,
    resizable,
    ring_mappings,
    stir,
    stream_pair,
    tcp_pair,
)

OPERATIONS = pytest.mark.parametrize("start", STARTERS)
FLAGS = pytest.mark.parametrize("flags", KINDS)


def begin(ring, start, stack):
    """Submits one pending request: its Sqe, its memory, and what lets it complete."""
    if start.before:
        start.before(ring)
    sqe = ring.get_sqe()
    memory, happen = stack.enter_context(start(ring, sqe))
    sqe.user_data = "pending"
    ring.submit()
    return sqe, memory, happen


def finish(ring, before):
    """Reaps everything and closes the descriptors that came."""
    seen = drain(ring)
    for cqe in seen:
        # Nothing here gives a small positive result that is an open descriptor, except the descriptors themselves.
        if cqe.user_data == "pending" and cqe.res > 2 and cqe.res in descriptors() - before:
            os.close(cqe.res)
    return seen


@OPERATIONS
@FLAGS
def test_memory_is_held_until_the_completion(flags, start):
    with make(flags) as ring, contextlib.ExitStack() as stack:
        sqe, memory, happen = begin(ring, start, stack)
        before = descriptors()
        assert not any(map(resizable, memory))
        if happen is None:
            return
        happen()
        seen = [ring.wait_cqe(WAIT_S)]
        if seen[-1].more and seen[-1].res >= 0:  # a multishot request, or a notification is to come
            ring.get_sqe().prep_cancel(sqe)
            ring.submit()
        seen += finish(ring, before)
        for cqe in seen[:1]:
            if cqe.res > 2 and cqe.res in descriptors() - before:
                os.close(cqe.res)
        assert seen[0].user_data == "pending"
        assert seen[0].res >= 0
        assert all(map(resizable, memory))
        assert ring.in_flight == 0


@OPERATIONS
@FLAGS
def test_cancelled_request_gives_its_memory_back_with_its_completion(flags, start):
    with make(flags) as ring, contextlib.ExitStack() as stack:
        sqe, memory, _ = begin(ring, start, stack)
        cancel = ring.get_sqe()
        cancel.prep_cancel(sqe)
        cancel.user_data = "cancel"
        ring.submit()
        seen = drain(ring)
        assert sum(cqe.user_data == "pending" for cqe in seen) >= 1
        assert sum(cqe.user_data == "cancel" for cqe in seen) == 1
        assert all(map(resizable, memory))


@OPERATIONS
@FLAGS
def test_nothing_is_left_of_a_ring_that_was_dropped(flags, start):
    before, mappings = descriptors(), ring_mappings()
    with contextlib.ExitStack() as stack:
        ring = make(flags)
        sqe, memory, happen = begin(ring, start, stack)
        copies = memory[:]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del ring, sqe, memory
            gc.collect()
        assert [str(warning.message) for warning in caught] == ["a Ring was not closed"]
        del caught  # names the ring
        gc.collect()
        assert all(map(resizable, copies))
        del copies
        chunks = stir()
        if happen is not None:
            # What would have been waited for happens now; somebody who listens no longer may be missed.
            with contextlib.suppress(OSError):
                happen()
        del happen
        assert all(chunk.count(0xAA) == len(chunk) for chunk in chunks)
    assert ring_mappings() == mappings
    gc.collect()
    assert descriptors() == before


@OPERATIONS
@FLAGS
def test_close_ends_what_is_in_flight(flags, start):
    with contextlib.ExitStack() as stack:
        ring = make(flags)
        sqe, memory, _ = begin(ring, start, stack)
        begin_time = time.monotonic()
        ring.close()
        assert time.monotonic() - begin_time < WAIT_S / 2
        assert all(map(resizable, memory))
        assert ring.in_flight == 0
        with pytest.raises(SqeSubmitted):
            sqe.prep_nop()


@FLAGS
def test_close_behind_a_drain(flags):
    # The kernel starts nothing that was submitted behind a drain, not even a cancellation.
    buffers = [bytearray(8), bytearray(8)]
    with make(flags) as ring, stream_pair() as (here, there):
        ring.get_sqe().prep_recv(here, buffers[0])
        ring.submit()
        ring.get_sqe().drain = True
        ring.submit()
        ring.get_sqe().prep_recv(there, buffers[1])
        ring.submit()
        begin_time = time.monotonic()
        ring.close()
        assert time.monotonic() - begin_time < WAIT_S / 2
        assert all(map(resizable, buffers))


@OPERATIONS
def test_event_that_comes_before_close_is_no_trouble(start):
    with contextlib.ExitStack() as stack, Ring(16) as ring:
        _, memory, happen = begin(ring, start, stack)
        if happen is not None:
            happen()
        ring.close()
        assert all(map(resizable, memory))


@OPERATIONS
def test_prepared_but_never_submitted(start):
    with contextlib.ExitStack() as stack, Ring(16) as ring:
        sqe = ring.get_sqe()
        memory, _ = stack.enter_context(start(ring, sqe))
        assert not any(map(resizable, memory))
        ring.close()
        assert all(map(resizable, memory))


@pytest.mark.parametrize(
    "how",
    [
        "any",
        "all of the descriptor",
        pytest.param("operation", marks=needs_trial("CancelFlags.OP", Sqe.prep_cancel_op, Op.RECV)),
        "user_data",
        "token",
    ],
)
@FLAGS
def test_ways_to_cancel(flags, how):
    with make(flags) as ring, stream_pair() as (here, _):
        buffer = bytearray(8)
        sqe = ring.get_sqe()
        sqe.prep_recv(here, buffer)
        sqe.user_data = mark = object()
        ring.submit()
        cancel = ring.get_sqe()
        if how == "any":
            cancel.prep_cancel(None, CancelFlags.ANY)
        elif how == "all of the descriptor":
            cancel.prep_cancel_fd(here, CancelFlags.ALL)
        elif how == "operation":
            cancel.prep_cancel_op(Op.RECV)
        elif how == "user_data":
            cancel.prep_cancel(mark)
        else:
            cancel.prep_cancel64(sqe.token)
        cancel.user_data = "cancel"
        ring.submit()
        results = {cqe.user_data: cqe.res for cqe in drain(ring)}
        assert results[mark] == -125
        assert results["cancel"] in (0, 1)
        assert resizable(buffer)


def test_cancelling_what_is_done_cancels_nothing_else():
    with Ring(8) as one, Ring(8) as two, stream_pair() as (here, there):
        done = one.get_sqe()
        one.submit()
        one.wait_cqe(WAIT_S)
        buffer = bytearray(8)
        two.get_sqe().prep_recv(here, buffer)
        two.submit()
        for ring in (one, two):
            cancel = ring.get_sqe()
            cancel.prep_cancel(done)
            ring.submit()
            assert ring.wait_cqe(WAIT_S).res == -2
        with pytest.raises(FileNotFoundError):
            two.register_sync_cancel(done)
        there.send(b"here")
        assert two.wait_cqe(WAIT_S).res == 4
        mine = one.get_sqe()
        with pytest.raises(ValueError, match="another ring"):
            two.get_sqe().prep_cancel(mine)


@needs("SEND_ZC")
@FLAGS
def test_zero_copy_send_holds_its_memory_until_the_notification(flags):
    buffer = bytearray(50000)
    with make(flags) as ring, tcp_pair() as (here, there):
        ring.get_sqe().prep_send_zc(here, buffer)
        ring.submit()
        result = ring.wait_cqe(WAIT_S)
        assert result.res > 0
        if result.more:
            assert ring.in_flight == 1
            assert not resizable(buffer)
            there.recv(1 << 20)
            assert ring.wait_cqe(WAIT_S).notification
        assert resizable(buffer)


# References.


def test_arguments_are_let_go():
    class Buffer(bytearray):
        pass

    class Socket:
        def fileno(self):
            return here.fileno()

    with Ring(8) as ring, stream_pair() as (here, there):
        sock, buffer, tag = Socket(), Buffer(8), Buffer()
        seen = [weakref.ref(thing) for thing in (sock, buffer, tag)]
        sqe = ring.get_sqe()
        sqe.prep_recv(sock, buffer)
        sqe.user_data = tag
        ring.submit()
        del sock, buffer, tag, sqe
        gc.collect()
        assert all(ref() is not None for ref in seen)
        there.send(b"x")
        cqe = ring.wait_cqe(WAIT_S)
        assert cqe.user_data is seen[2]()
        assert [ref() for ref in seen[:2]] == [None, None]
        del cqe
        assert seen[2]() is None


@FLAGS
def test_no_reference_is_lost_or_kept(flags):
    buffer, tag, path = bytearray(16), object(), "/nonexistent/" + "x" * 50
    with make(flags) as ring, stream_pair() as (here, there):

        def work():
            for _ in range(20):
                sqe = ring.get_sqe()
                sqe.prep_recv(here, buffer)
                sqe.user_data = tag
                sqe = ring.get_sqe()
                sqe.prep_openat(None, path)
                sqe.user_data = tag
                sqe = ring.get_sqe()
                sqe.prep_sendmsg(there, MsgHdr([b"0123456789abcdef"]))
                sqe.user_data = tag
                ring.submit()
                assert len(drain(ring)) == 3
            del sqe

        work()
        counts = [sys.getrefcount(thing) for thing in (buffer, tag, path, here, there)]
        for _ in range(10):
            work()
        assert [sys.getrefcount(thing) for thing in (buffer, tag, path, here, there)] == counts


def test_prepared_again_lets_go_of_the_first_arguments():
    one, two = bytearray(8), bytearray(8)
    with Ring(8) as ring, stream_pair() as (here, _):
        sqe = ring.get_sqe()
        sqe.prep_recv(here, one)
        sqe.prep_recvmsg(here, MsgHdr([two]))
        assert resizable(one)
        sqe.prep_nop()
        assert resizable(two)
        with pytest.raises(TypeError):
            sqe.prep_recv("nothing", one)
        ring.submit()
        assert ring.wait_cqe(WAIT_S).res == 0
        assert resizable(one)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("start", [recv, timeout])
def test_cycles_are_collected(start, closed):
    class Node:
        pass

    with contextlib.ExitStack() as stack:
        ring = Ring(16)
        sqe = ring.get_sqe()
        memory, _ = stack.enter_context(start(ring, sqe))
        node = Node()
        node.ring, node.sqe, node.memory = ring, sqe, memory
        sqe.user_data = node
        ring.submit()
        gone = weakref.ref(node)
        copies = memory[:]
        if closed:
            ring.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del ring, sqe, node, memory
            gc.collect()
        assert gone() is None
        assert all(map(resizable, copies))


def test_cycle_of_a_completion_is_collected():
    class Node:
        pass

    with Ring(8) as ring:
        node = Node()
        sqe = ring.get_sqe()
        sqe.user_data = node
        node.ring = ring
        ring.submit()
        node.cqe = ring.wait_cqe(WAIT_S)
        gone = weakref.ref(node)
        del node, sqe
        gc.collect()
        assert gone() is None


def test_sqe_outlives_its_ring():
    ring = Ring(8)
    prepared, submitted = ring.get_sqe(), ring.get_sqe()
    ring.submit()
    prepared_later = ring.get_sqe()
    ring.close()
    del ring
    gc.collect()
    for sqe in (prepared, submitted, prepared_later):
        assert "completed" in repr(sqe)
        for use in (
            sqe.prep_nop,
            lambda sqe=sqe: sqe.flags,
            lambda sqe=sqe: bytes(sqe),
            lambda sqe=sqe: sqe.set_flags(0),
        ):
            with pytest.raises(SqeSubmitted, match="take a new"):
                use()


def test_completed_sqe_is_not_another_requests():
    # A ring may use an Sqe again, but never one that the program still holds.
    with Ring(8) as ring:
        held = []
        for number in range(500):
            sqe = ring.get_sqe()
            assert all(sqe is not other for other in held)
            sqe.user_data = number
            if number % 3 == 0:
                held.append(sqe)
            token = sqe.token
            ring.submit()
            assert ring.wait_cqe(WAIT_S).user_data == number
            with pytest.raises(SqeSubmitted):
                sqe.prep_nop()
            assert sqe.token == token
        for sqe in held:
            with pytest.raises(SqeSubmitted):
                sqe.user_data = "ignored"
                sqe.prep_nop()


def test_buffers_registered_with_a_ring_are_held():
    buffers = [bytearray(4096) for _ in range(3)]
    ring = Ring(8)
    ring.register_buffers(buffers)
    assert not any(map(resizable, buffers))
    assert ring.register_buffers_update(1, [None]) == 1
    assert [resizable(buffer) for buffer in buffers] == [False, True, False]
    ring.unregister_buffers()
    assert all(map(resizable, buffers))
    ring.register_buffers(buffers)
    ring.close()
    assert all(map(resizable, buffers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        ring = Ring(8)
        ring.register_buffers(buffers)
        del ring
    assert all(map(resizable, buffers))


def test_provided_buffers_are_held_until_they_come_back():
    memory = bytearray(128)
    with Ring(8) as ring, stream_pair() as (here, there):
        ring.get_sqe().prep_provide_buffers(memory, 64, 2, 5)
        ring.submit()
        assert ring.wait_cqe(WAIT_S).res >= 0
        assert not resizable(memory)
        for number in range(2):
            sqe = ring.get_sqe()
            sqe.prep_recv(here, None)
            sqe.buffer_group = 5
            ring.submit()
            there.send(b"data")
            cqe = ring.wait_cqe(WAIT_S)
            at = 64 * cqe.buffer_id
            assert memory[at : at + cqe.res] == b"data"
            assert resizable(memory) == (number == 1)
        ring.get_sqe().prep_provide_buffers(memory, 64, 2, 5)
        ring.submit()
    assert resizable(memory)


# What cannot be ended.


def stubborn():
    """A ring that does not allow requests to be cancelled, with one in flight."""
    from ioring import RegisterOp, RestrictionOp

    ring = Ring(8, flags=SetupFlags.R_DISABLED)
    ring.register_restrictions([(RestrictionOp.REGISTER_OP, RegisterOp.ENABLE_RINGS), (RestrictionOp.SQE_OP, Op.READ)])
    ring.enable_rings()
    reading, writing = os.pipe()
    buffer = bytearray(b"unchanged")
    ring.get_sqe().prep_read(reading, buffer)
    ring.submit()
    return ring, reading, writing, buffer


@pytest.mark.parametrize("error", [False, True])
def test_memory_of_a_request_that_does_not_end_is_never_freed(error, monkeypatch):
    from ioring.ring import _lifecycle

    monkeypatch.setattr(_lifecycle, "CLOSE_SECONDS", 0.1)
    ring, reading, writing, buffer = stubborn()
    with warnings.catch_warnings(record=not error) as caught:
        warnings.simplefilter("error" if error else "always", ResourceWarning)
        if error:
            with pytest.raises(ResourceWarning, match="did not end"):
                ring.close()
        else:
            ring.close()
            assert len(caught) == 1
            assert "1 requests of a ring did not end" in str(caught[0].message)
    assert ring.closed
    assert not resizable(buffer)
    os.write(writing, b"something")
    os.close(reading)
    os.close(writing)
    with pytest.raises(RingClosed):
        ring.submit()


def test_ring_that_is_dropped_at_the_very_end():
    """When the interpreter has taken down the modules: what the kernel may write to has to outlive that, too."""
    said = python("""
import os, sys
class Last:
    pass
ring = Ring(8)
reading, writing = os.pipe()
ring.get_sqe().prep_read(reading, bytearray(1000))
ring.submit()
sys.last = Last()  # goes after the modules
sys.last.ring = ring
del ring
""")
    assert said == ""


# Growth.


def rss():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.no_sanitizer
@pytest.mark.parametrize("flags", KINDS[:2])
def test_memory_does_not_grow(flags):
    def rounds(count):
        for _ in range(count):
            with make(flags, 64) as ring, stream_pair() as (here, there):
                ring.register_files_sparse(8)
                ring.register_buffers([bytearray(65536)])
                buffers = ring.setup_buf_ring(16, 4096, 0)
                for number in range(60):
                    sqe = ring.get_sqe()
                    sqe.prep_recv(here, bytearray(65536))
                    sqe.user_data = [number] * 100
                sqe = ring.get_sqe()
                sqe.prep_recv_multishot(here)
                sqe.buffer_group = 0
                ring.submit()
                there.send(b"x" * 1000)
                buffers.view(cqe) if (cqe := ring.wait_cqe(WAIT_S)).buffer_id is not None else None

    rounds(20)
    before = rss()
    rounds(200)
    assert rss() - before < 16 << 20


def test_buffer_ring_memory_lives_as_long_as_its_views():
    with Ring(8) as ring, stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(4, 64, 2)
        sqe = ring.get_sqe()
        sqe.prep_recv(here, None)
        sqe.buffer_group = 2
        ring.submit()
        there.send(b"kept")
        view = buffers.view(ring.wait_cqe(WAIT_S))
    del buffers, ring, sqe
    stir()
    assert bytes(view) == b"kept"
    view[:] = b"mine"
    assert bytes(view) == b"mine"


def test_objects_that_are_held_by_nothing_else():
    # Everything is made in the call itself: the ring's reference is the only one.
    with Ring(16) as ring, stream_pair() as (here, there):
        ring.register_files_sparse(2)
        ring.get_sqe().prep_recvmsg(here.fileno(), MsgHdr([bytearray(100)], name_size=128))
        ring.get_sqe().prep_readv(here.fileno(), [bytearray(10) for _ in range(10)])
        ring.get_sqe().prep_statx(None, "/" + "." * 0, 0, 0x7FF, bytearray(256))
        ring.get_sqe().prep_openat_direct(None, "/dev/" + "null", 0, 0, Direct(1))
        ring.get_sqe().prep_timeout(0.001)
        with socket.create_server(("127.0.0.1", 0)) as server:
            ring.get_sqe().prep_accept(server.fileno(), SockAddr())
            gc.collect()
            ring.submit()
            stir()
            there.send(b"y" * 200)
            ring.wait_cqes(5, WAIT_S)
            cancel = ring.get_sqe()
            cancel.prep_cancel(None, CancelFlags.ANY | CancelFlags.ALL)
            ring.submit()
            drain(ring)
