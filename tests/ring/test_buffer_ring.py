"""Buffer rings: who holds which buffer, over many rounds, and what the bytes are."""

import contextlib
import gc
import os
import random
import socket

import pytest

import ioring
from ioring import BufferRing, Cqe, CqeFlags, RecvSendFlags, RegistrationError, Ring, SqeFlags
from rings import FLAGS, WAIT_S, drain, make, needs, pipe_pair, stream_pair


def incremental():
    """Skips a test unless the kernel has incremental buffers."""
    with Ring(2) as ring:
        try:
            ring.setup_buf_ring(2, 64, 0, incremental=True)
        except OSError:
            pytest.skip("the kernel has no incremental buffers")


def receive(ring, sock, group, **settings):
    sqe = ring.get_sqe()
    if settings.pop("multishot", False):
        sqe.prep_recv_multishot(sock)
    else:
        sqe.prep_recv(sock, None, settings.pop("nbytes", 0))
    sqe.buffer_group = group
    if settings.pop("bundle", False):
        sqe.ioprio |= RecvSendFlags.BUNDLE
    assert not settings
    ring.submit()
    return sqe


# Without a ring.


@pytest.mark.parametrize("entries", [1, 2, 64, 32768])
def test_attributes(entries):
    buffers = BufferRing(entries, 48)
    assert (buffers.entries, buffers.buffer_size, buffers.incremental) == (entries, 48, False)
    assert len(buffers) == entries == buffers.available
    assert buffers.group is None
    assert repr(buffers) == f"<BufferRing {entries} x 48 bytes, not registered, {entries} available>"
    for bid in {0, entries // 2, entries - 1}:
        assert bytes(buffers.buffer(bid)) == bytes(48)


@pytest.mark.parametrize("entries", [0, -1, 3, 65536, 2**40])
def test_entries_that_cannot_be(entries):
    with pytest.raises(ValueError, match=r"power of two|between 1 and 32768"):
        BufferRing(entries, 16)


@pytest.mark.parametrize("size", [0, -5, 2**31])
def test_sizes_that_cannot_be(size):
    with pytest.raises(ValueError, match="size must be between"):
        BufferRing(4, size)


def test_arguments_that_are_no_numbers():
    for arguments in (("4", 4), (4, "4"), (4.0, 4), (4, None)):
        with pytest.raises(TypeError):
            BufferRing(*arguments)


def test_more_memory_than_there_is():
    with pytest.raises(MemoryError, match="32768 buffers"):
        BufferRing(32768, 2**31 - 1)


def test_buffers_are_apart():
    buffers = BufferRing(8, 10)
    for bid in range(8):
        buffers.buffer(bid)[:] = bytes([bid]) * 10
    assert [bytes(buffers.buffer(bid)) for bid in range(8)] == [bytes([bid]) * 10 for bid in range(8)]


@pytest.mark.parametrize("bid", [-1, 4, 2**31, 2**70])
def test_ids_out_of_range(bid):
    buffers = BufferRing(4, 10)
    for call in (buffers.buffer, buffers.add, buffers.recycle):
        with pytest.raises(ValueError, match="between 0 and 3"):
            call(bid)
    for call in (buffers.buffer, buffers.add, buffers.advance):
        with pytest.raises(TypeError):
            call("0")


def test_a_buffer_is_given_once():
    buffers = BufferRing(4, 10)
    for call in (buffers.add, buffers.recycle):
        with pytest.raises(ValueError, match="with the kernel"):
            call(0)
    buffers.advance(0)
    with pytest.raises(ValueError, match="0 were added"):
        buffers.advance(1)
    with pytest.raises(ValueError):
        buffers.advance(-1)


# With a ring.


@pytest.mark.parametrize("flags", FLAGS)
def test_many_rounds(flags):
    with make(flags) as ring, stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(4, 16, 7)
        assert buffers.group == 7
        for number in range(300):
            receive(ring, here, 7)
            there.send(b"%08d" % number)
            cqe = ring.wait_cqe(WAIT_S)
            assert buffers.available == 3
            assert cqe.flags & CqeFlags.BUFFER
            assert bytes(buffers.view(cqe)) == buffers.read(cqe) == b"%08d" % number
            assert bytes(buffers.buffer(cqe.buffer_id)[: cqe.res]) == b"%08d" % number
            if number % 2:
                buffers.recycle(cqe)
            else:
                buffers.add(cqe.buffer_id)
                assert buffers.available == 4
                buffers.advance(1)
            with pytest.raises(ValueError, match="with the kernel"):
                buffers.recycle(cqe)


def test_tail_wraps_around():
    # The kernel's tail has 16 bits.
    with Ring(8) as ring, pipe_pair() as (source, sink):
        buffers = ring.setup_buf_ring(16, 8, 1)
        for _ in range(70_000 // 16):
            os.write(sink.fileno(), b"12345678" * 16)
            for _ in range(16):
                sqe = ring.get_sqe()
                sqe.prep_read(source, None, 8)
                sqe.buffer_group = 1
            for cqe in wait(ring, 16):
                assert buffers.read(cqe) == b"12345678"
                buffers.recycle(cqe)
        assert buffers.available == 16


def wait(ring, count):
    ring.submit_and_wait(count, WAIT_S)
    return ring.wait_cqes(count, WAIT_S)


@pytest.mark.parametrize("flags", FLAGS)
def test_multishot_until_the_group_is_empty(flags):
    with make(flags) as ring, stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(4, 8, 0)
        receive(ring, here, 0, multishot=True)
        there.send(b"".join(b"%08d" % number for number in range(10)))
        seen = []
        while True:
            cqe = ring.wait_cqe(WAIT_S)
            if cqe.buffer_id is None:
                break
            seen.append(cqe)
        assert cqe.res == -105
        assert not cqe.more
        assert buffers.available == 0
        assert [buffers.read(cqe) for cqe in seen] == [b"%08d" % number for number in range(4)]
        # In another order than they came.
        for cqe in random.Random(1).sample(seen, 4):
            buffers.recycle(cqe)
        receive(ring, here, 0, multishot=True)
        assert buffers.read(ring.wait_cqe(WAIT_S)) == b"00000004"


def test_added_buffers_are_seen_when_they_are_advanced(ring):
    with stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(2, 8, 0)
        there.send(b"12345678" * 3)
        receive(ring, here, 0)
        receive(ring, here, 0)
        cqes = ring.wait_cqes(2, WAIT_S)
        for cqe in cqes:
            buffers.add(cqe.buffer_id)
        receive(ring, here, 0)
        assert ring.wait_cqe(WAIT_S).res == -105
        buffers.advance(1)
        receive(ring, here, 0)
        assert buffers.read(ring.wait_cqe(WAIT_S)) == b"12345678"
        with pytest.raises(ValueError):
            buffers.advance(2)
        buffers.advance(1)


def test_head(ring):
    with stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(4, 8, 3)
        try:
            assert ring.buf_ring_head(3) == 0
        except OSError:
            pytest.skip("the kernel does not tell the head")
        for number in range(6):
            receive(ring, here, 3)
            there.send(b"x")
            buffers.recycle(ring.wait_cqe(WAIT_S))
            assert ring.buf_ring_head(3) == number + 1


@needs("READ_MULTISHOT")
def test_reading_again_and_again(ring):
    with pipe_pair() as (source, sink):
        buffers = ring.setup_buf_ring(4, 8, 2)
        ring.get_sqe().prep_read_multishot(source, buf_group=2)
        ring.submit()
        for number in range(20):
            sink.write(b"%d" % number)
            cqe = ring.wait_cqe(WAIT_S)
            assert cqe.more
            assert buffers.read(cqe) == b"%d" % number
            buffers.recycle(cqe)
        sink.close()
        assert ring.wait_cqe(WAIT_S).res == 0


def test_incremental(ring):
    incremental()
    with stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(2, 16, 1, incremental=True)
        assert buffers.incremental
        data, views = b"", []
        for number in range(60):
            receive(ring, here, 1)
            piece = bytes([65 + number % 26]) * (1 + number % 7)
            there.send(piece)
            got = b""
            while len(got) < len(piece):
                cqe = ring.wait_cqe(WAIT_S)
                views.append((buffers.view(cqe), buffers.read(cqe)))
                got += buffers.read(cqe)
                assert all(bytes(view) == read for view, read in views[-2:])
                if not cqe.buffer_more:
                    assert buffers.available == 1
                buffers.recycle(cqe)
                if len(got) < len(piece):
                    receive(ring, here, 1)
            assert got == piece
            data += got
        assert buffers.available == 2
        assert len(data) > 200


@pytest.mark.parametrize("inc", [False, True])
def test_bundles(ring, inc):
    if inc:
        incremental()
    if "RECVSEND_BUNDLE" not in ioring.features().feature_flags:
        pytest.skip("the kernel has no bundles")
    with stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(8, 16, 1, incremental=inc)
        generator = random.Random(2)
        for _ in range(100):
            piece = generator.randbytes(generator.randint(1, 100))
            there.send(piece)
            got = b""
            while len(got) < len(piece):
                receive(ring, here, 1, bundle=True)
                cqe = ring.wait_cqe(WAIT_S)
                assert cqe.res > 0
                views = buffers.views(cqe)
                assert sum(map(len, views)) == cqe.res
                if len(views) > 1:
                    with pytest.raises(ValueError, match="spans"):
                        buffers.view(cqe)
                got += buffers.read(cqe)
                buffers.recycle(cqe)
            assert got == piece
            assert buffers.available == 8


def test_part_of_a_bundle_given_back_by_hand(ring):
    if "RECVSEND_BUNDLE" not in ioring.features().feature_flags:
        pytest.skip("the kernel has no bundles")
    with stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(4, 8, 1)
        there.send(b"x" * 24)
        receive(ring, here, 1, bundle=True)
        cqe = ring.wait_cqe(WAIT_S)
        assert len(buffers.views(cqe)) == 3
        buffers.recycle((cqe.buffer_id + 2) % 4)
        with pytest.raises(ValueError, match="with the kernel"):
            buffers.recycle(cqe)
        # Nothing is half given back: what was not recycled still can be.
        buffers.recycle(cqe.buffer_id)
        buffers.recycle((cqe.buffer_id + 1) % 4)
        assert buffers.available == 4
        there.send(b"y" * 32)
        receive(ring, here, 1, bundle=True)
        assert ring.wait_cqe(WAIT_S).res == 32


# Groups.


def test_a_group_is_registered_once(ring):
    buffers = ring.setup_buf_ring(2, 8, 1)
    with pytest.raises(RegistrationError, match="group 1 is registered already"):
        ring.setup_buf_ring(2, 8, 1)
    with pytest.raises(RegistrationError, match="already, as group 1"):
        ring.register_buf_ring(buffers, 2)
    with Ring(4) as other, pytest.raises(RegistrationError):
        other.register_buf_ring(buffers, 2)
    ring.unregister_buf_ring(1)
    for bgid in (1, 2, "1", None, 70000):
        with pytest.raises(RegistrationError, match="no buffer ring"):
            ring.unregister_buf_ring(bgid)
        with pytest.raises(RegistrationError, match="no buffer ring"):
            ring.buf_ring_head(bgid)
    for bgid, error in ((-1, ValueError), (65536, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="bgid"):
            ring.register_buf_ring(buffers, bgid)
    with pytest.raises(TypeError, match=r"ioring\.BufferRing"):
        ring.register_buf_ring(bytearray(10), 1)
    assert buffers.group is None
    ring.register_buf_ring(buffers, 65535)
    assert buffers.group == 65535


def test_registered_again_elsewhere():
    buffers = BufferRing(4, 8)
    with stream_pair() as (here, there):
        for turn in range(5):
            with Ring(4) as ring:
                ring.register_buf_ring(buffers, turn)
                receive(ring, here, turn)
                there.send(b"%d" % turn)
                cqe = ring.wait_cqe(WAIT_S)
                assert buffers.read(cqe) == b"%d" % turn
                if turn % 2:
                    ring.unregister_buf_ring(turn)
            assert buffers.group is None
            assert buffers.read(cqe) == b"%d" % turn
            if turn != 2:
                buffers.recycle(cqe)
        assert buffers.available == 3
        with Ring(4) as ring:
            ring.register_buf_ring(buffers, 9)
            assert buffers.available == 3
            for _ in range(3):
                receive(ring, here, 9)
                there.send(b"last")
                assert buffers.read(ring.wait_cqe(WAIT_S)) == b"last"
            receive(ring, here, 9)
            there.send(b"none")
            assert ring.wait_cqe(WAIT_S).res == -105


@pytest.mark.parametrize("flags", FLAGS)
def test_unregistered_with_requests_in_flight(flags):
    with make(flags) as ring, stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(4, 8, 1)
        receive(ring, here, 1, multishot=True)
        ring.unregister_buf_ring(1)
        del buffers
        gc.collect()
        there.send(b"nobody")
        assert ring.wait_cqe(WAIT_S).res == -105
        assert ring.in_flight == 0


@pytest.mark.parametrize("successor", [False, True])
def test_bytes_that_came_before_unregistering_are_not_lost(ring, successor):
    with stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(4, 8, 1)
        receive(ring, here, 1)
        there.send(b"before")
        ring.submit_and_wait(1, WAIT_S)
        ring.unregister_buf_ring(1)
        later = ring.setup_buf_ring(4, 8, 1) if successor else None
        cqe = ring.wait_cqe(WAIT_S)
        assert buffers.read(cqe) == b"before"
        assert buffers.available == 3
        buffers.recycle(cqe)
        if later is not None:
            assert later.available == 4
            with pytest.raises(ValueError, match="no buffer of this group"):
                later.read(cqe)


def test_group_named_by_buf_index(ring):
    with stream_pair() as (here, there):
        ring.setup_buf_ring(4, 8, 0)
        buffers = ring.setup_buf_ring(4, 8, 5)
        sqe = ring.get_sqe()
        sqe.prep_recv(here, None)
        sqe.buf_index = 5
        sqe.set_flags(SqeFlags.BUFFER_SELECT)
        ring.submit()
        there.send(b"five")
        assert buffers.read(ring.wait_cqe(WAIT_S)) == b"five"


def test_several_groups(ring):
    with stream_pair() as (here, there):
        groups = {bgid: ring.setup_buf_ring(2, 8, bgid) for bgid in range(20)}
        for bgid, buffers in groups.items():
            receive(ring, here, bgid)
            there.send(b"%d" % bgid)
            cqe = ring.wait_cqe(WAIT_S)
            assert buffers.read(cqe) == b"%d" % bgid
            for other in groups.values():
                if other is not buffers:
                    with pytest.raises(ValueError, match="no buffer of this group"):
                        other.recycle(cqe)


def test_completions_without_a_buffer(ring):
    buffers = ring.setup_buf_ring(2, 8, 1)
    ring.get_sqe()
    cqe = wait(ring, 1)[0]
    for call in (buffers.read, buffers.view, buffers.views, buffers.recycle):
        with pytest.raises(ValueError, match="no buffer"):
            call(cqe)
        with pytest.raises(ValueError, match="no buffer"):
            call(Cqe.__new__(Cqe))
        with pytest.raises((TypeError, ValueError)):
            call(None)


@needs("MSG_RING")
def test_message_that_claims_a_buffer(ring):
    buffers = ring.setup_buf_ring(2, 8, 0)
    try:
        ring.get_sqe().prep_msg_ring_cqe_flags(ring, 8, 7, 0, CqeFlags.BUFFER | 1 << 16)
        ring.submit_and_wait(2, 1)
    except TimeoutError:
        drain(ring)
        pytest.skip("the kernel does not pass flags")
    for cqe in ring.wait_cqes(2, WAIT_S):
        with pytest.raises(ValueError, match="no buffer"):
            buffers.read(cqe)
    assert buffers.available == 2


def test_views_outlive_everything():
    with Ring(4) as ring, stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(2, 4096, 1)
        receive(ring, here, 1)
        there.send(b"A" * 4096)
        cqe = ring.wait_cqe(WAIT_S)
        view, whole = buffers.view(cqe), buffers.buffer(1)
        exporter = view.obj
    del buffers, ring, cqe
    gc.collect()
    filler = [bytearray(1 << 16) for _ in range(100)]
    assert bytes(view) == b"A" * 4096
    whole[:] = bytes(4096)
    for act in ("close", "resize"):
        with pytest.raises(BufferError), contextlib.ExitStack():
            getattr(exporter, act)(*([100] if act == "resize" else []))
    view.release()
    assert filler


def test_close_with_unseen_buffers_makes_them_available_again():
    buffers = BufferRing(2, 8)
    with stream_pair() as (here, there):
        with Ring(4) as ring:
            ring.register_buf_ring(buffers, 1)
            receive(ring, here, 1, multishot=True)
            there.send(b"unseen")
            ring.submit_and_wait(1, WAIT_S)
        with Ring(4) as ring:
            ring.register_buf_ring(buffers, 1)
            assert buffers.available == 2
            for _ in range(2):
                receive(ring, here, 1)
                there.send(b"seen")
                assert buffers.read(ring.wait_cqe(WAIT_S)) == b"seen"


def test_datagrams(ring):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here, socket.socket(type=socket.SOCK_DGRAM) as there:
        here.bind(("127.0.0.1", 0))
        buffers = ring.setup_buf_ring(4, 256, 1)
        msg = ioring.MsgHdr(name_size=28)
        sqe = ring.get_sqe()
        sqe.prep_recvmsg_multishot(here, msg)
        sqe.buffer_group = 1
        ring.submit()
        for number in range(20):
            there.sendto(b"%d" % number, here.getsockname())
            cqe = ring.wait_cqe(WAIT_S)
            out = ioring.RecvmsgOut(buffers.view(cqe), msg)
            assert (bytes(out.payload), out.address[1]) == (b"%d" % number, there.getsockname()[1])
            buffers.recycle(cqe)
