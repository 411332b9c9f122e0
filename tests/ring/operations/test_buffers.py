"""Operations that take their memory from a group of buffers do what their names say."""

import errno
import os
import socket
import struct

import pytest

import ioring
from ioring import BufferRing, Direct, MsgHdr, RecvmsgOut, RecvSendFlags, RegistrationError, Sqe
from operations import by_user_data, complete, needs_registration, prepare, result, start, wait
from rings import needs

GROUP = 7
IP_PKTINFO = 8
HAS_BUNDLES = "RECVSEND_BUNDLE" in ioring.features().feature_flags
needs_bundles = pytest.mark.skipif(not HAS_BUNDLES, reason="the kernel has no bundles")


def arrived(end, count):
    """Waits until so many bytes can be received."""
    assert len(end.recv(count, socket.MSG_PEEK | socket.MSG_WAITALL)) == count


def incremental(ring, entries, size):
    try:
        return ring.setup_buf_ring(entries, size, GROUP, incremental=True)
    except OSError as error:
        assert error.errno == errno.EINVAL
        pytest.skip("the kernel has no incremental buffers")


# A ring of buffers.


def test_recv_picks_a_buffer(ring, pair):
    here, there = pair
    buffers = ring.setup_buf_ring(4, 64, GROUP)
    there.sendall(b"hello")
    cqe = complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP)
    assert (cqe.result(), cqe.more, cqe.buffer_more) == (5, False, False)
    assert cqe.buffer_id in range(4)
    assert buffers.available == 3
    assert (buffers.read(cqe), buffers.view(cqe)) == (b"hello", b"hello")
    assert buffers.buffer(cqe.buffer_id)[:5] == b"hello"
    buffers.recycle(cqe)
    assert buffers.available == 4
    with pytest.raises(ValueError, match="is with the kernel"):
        buffers.recycle(cqe)


def test_recv_limits_what_it_puts_into_a_buffer(ring, pair):
    here, there = pair
    buffers = ring.setup_buf_ring(4, 64, GROUP)
    there.sendall(b"hello")
    cqe = complete(ring, Sqe.prep_recv, here, None, 2, buffer_group=GROUP)
    assert buffers.read(cqe) == b"he"


def test_read_picks_a_buffer(ring, tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    buffers = ring.setup_buf_ring(2, 4, GROUP)
    with open(tmp_path / "file", "rb") as file:
        cqe = complete(ring, Sqe.prep_read, file, None, 4, 3, buffer_group=GROUP)
    assert buffers.read(cqe) == b"3456"


def test_buffers_come_round(ring, pair):
    here, there = pair
    buffers = ring.setup_buf_ring(4, 64, GROUP)
    seen = []
    for number in range(20):
        there.sendall(b"%d" % number)
        cqe = complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP)
        assert buffers.read(cqe) == b"%d" % number
        seen.append(cqe.buffer_id)
        buffers.recycle(cqe)
    assert set(seen) == {0, 1, 2, 3}


def test_add_and_advance(ring, pair):
    here, there = pair
    buffers = ring.setup_buf_ring(2, 64, GROUP)
    taken = []
    for _ in range(2):
        there.sendall(b"x")
        taken.append(complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP).buffer_id)
    there.sendall(b"y")
    assert complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP).res == -errno.ENOBUFS
    for bid in taken:
        buffers.add(bid)
    buffers.advance(1)
    cqe = complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP)
    assert (cqe.res, cqe.buffer_id) == (1, taken[0])
    with pytest.raises(ValueError, match="cannot be made visible"):
        buffers.advance(2)
    buffers.advance(1)


@needs_registration("PBUF_STATUS")
def test_buf_ring_head(ring, pair):
    here, there = pair
    buffers = ring.setup_buf_ring(4, 64, GROUP)
    assert ring.buf_ring_head(GROUP) == 0
    for expected in (1, 2):
        there.sendall(b"x")
        complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP)
        assert ring.buf_ring_head(GROUP) == expected
    assert buffers.available == 2
    with pytest.raises(RegistrationError):
        ring.buf_ring_head(GROUP + 1)


def test_group_that_is_unregistered(ring, pair):
    here, there = pair
    buffers = ring.setup_buf_ring(2, 64, GROUP)
    there.sendall(b"hello")
    cqe = complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP)
    with pytest.raises(RegistrationError):
        ring.register_buf_ring(BufferRing(2, 64), GROUP)
    ring.unregister_buf_ring(GROUP)
    assert (buffers.group, buffers.read(cqe)) == (None, b"hello")
    there.sendall(b"again")
    assert complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP).res == -errno.ENOBUFS
    ring.register_buf_ring(buffers, GROUP + 1)
    assert buffers.available == 1
    cqe = complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP + 1)
    assert buffers.read(cqe) == b"again"


# Receiving again and again.


@pytest.mark.parametrize("direct", [False, True])
def test_recv_multishot(ring, pair, direct):
    here, there = pair
    buffers = ring.setup_buf_ring(4, 64, GROUP)
    target = here
    if direct:
        assert result(ring, Sqe.prep_files_update, [here]) == 1
        target = Direct(0)
    start(ring, Sqe.prep_recv_multishot, target, buffer_group=GROUP, user_data="recv")
    for number in range(10):
        there.sendall(b"message %d" % number)
        cqe = wait(ring)
        assert (cqe.user_data, cqe.more) == ("recv", True)
        assert buffers.read(cqe) == b"message %d" % number
        buffers.recycle(cqe)
    there.close()
    cqe = wait(ring)
    assert (cqe.res, cqe.more) == (0, False)


def test_recv_multishot_without_buffers_loses_nothing(ring, pair):
    here, there = pair
    buffers = ring.setup_buf_ring(2, 4, GROUP)
    request = start(ring, Sqe.prep_recv_multishot, here, buffer_group=GROUP)
    there.sendall(b"0123456789ab")
    cqes = ring.wait_cqes(3, timeout=5)
    assert [cqe.res for cqe in cqes] == [4, 4, -errno.ENOBUFS]
    assert [cqe.more for cqe in cqes] == [True, True, False]
    assert b"".join(buffers.read(cqe) for cqe in cqes[:2]) == b"01234567"
    for cqe in cqes[:2]:
        buffers.recycle(cqe)
    request = start(ring, Sqe.prep_recv_multishot, here, buffer_group=GROUP)
    cqe = wait(ring)
    assert (buffers.read(cqe), cqe.more) == (b"89ab", True)
    start(ring, Sqe.prep_cancel, request, user_data="cancel")
    found = by_user_data(ring, 2)
    assert (found["cancel"].res, found[None].res, found[None].more) == (0, -errno.ECANCELED, False)


def test_incremental_buffers(ring, pair):
    here, there = pair
    buffers = incremental(ring, 2, 10)
    start(ring, Sqe.prep_recv_multishot, here, buffer_group=GROUP)
    seen = []
    for word in (b"abc", b"defg", b"hij", b"klm"):
        there.sendall(word)
        cqe = wait(ring)
        seen.append((buffers.read(cqe), cqe.buffer_id, cqe.buffer_more))
        buffers.recycle(cqe)
    assert seen == [(b"abc", 0, True), (b"defg", 0, True), (b"hij", 0, False), (b"klm", 1, True)]
    assert buffers.available == 2
    there.close()
    assert wait(ring).res == 0


def test_incremental_buffers_stay_readable(ring, pair):
    here, there = pair
    buffers = incremental(ring, 1, 1 << 16)
    cqes = []
    for word in (b"one", b"two", b"three"):
        there.sendall(word)
        cqes.append(complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP))
    assert [buffers.read(cqe) for cqe in cqes] == [b"one", b"two", b"three"]
    assert all(cqe.buffer_more for cqe in cqes)


@needs_bundles
def test_recv_bundle(ring, tcp):
    here, there = tcp
    buffers = ring.setup_buf_ring(8, 4, GROUP)
    there.sendall(b"0123456789")
    arrived(here, 10)
    cqe = complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP, ioprio=RecvSendFlags.BUNDLE)
    count = -(-cqe.result() // 4)
    assert count >= 2  # how many it dares to take before it knows what is there, is the kernel's business
    words = [b"0123", b"4567", b"89"][:count]
    assert [bytes(view) for view in buffers.views(cqe)] == words
    assert buffers.read(cqe) == b"".join(words)
    assert buffers.available == 8 - count
    with pytest.raises(ValueError, match=f"{count} buffers"):
        buffers.view(cqe)
    buffers.recycle(cqe)
    assert buffers.available == 8


@needs_bundles
@pytest.mark.parametrize("bit_by_bit", [False, True])
def test_recv_multishot_bundle(ring, tcp, bit_by_bit):
    here, there = tcp
    buffers = incremental(ring, 8, 16) if bit_by_bit else ring.setup_buf_ring(8, 16, GROUP)
    data = bytes(range(256)) * 16
    flags = RecvSendFlags.BUNDLE | RecvSendFlags.MULTISHOT
    received = b""
    rearmed = 0
    start(ring, Sqe.prep_recv_multishot, here, buffer_group=GROUP, ioprio=flags)
    there.sendall(data)
    while len(received) < len(data):
        cqe = wait(ring)
        if cqe.res > 0:
            received += buffers.read(cqe)
            buffers.recycle(cqe)
        if not cqe.more:
            rearmed += 1
            start(ring, Sqe.prep_recv_multishot, here, buffer_group=GROUP, ioprio=flags)
    assert received == data
    there.close()
    while wait(ring).more:
        pass


# Sending from a group.


@needs_bundles
def test_send_from_a_group(ring, pair):
    here, there = pair
    buffers = BufferRing(2, 8)
    for bid in range(2):
        buffers.buffer(bid)[:] = b"buffer %d" % bid
    ring.register_buf_ring(buffers, GROUP)
    for expected in (b"buffer 0", b"buf"):
        cqe = complete(ring, Sqe.prep_send, here, None, len(expected), buffer_group=GROUP)
        assert (cqe.result(), cqe.buffer_id) == (len(expected), int(expected == b"buf"))
        assert there.recv(100) == expected
    assert buffers.available == 0


@needs_bundles
def test_send_bundle(ring, tcp):
    here, there = tcp
    buffers = BufferRing(4, 8)
    for bid in range(4):
        buffers.buffer(bid)[:] = b"buffer %d" % bid
    ring.register_buf_ring(buffers, GROUP)
    cqe = complete(ring, Sqe.prep_send_bundle, here, buffer_group=GROUP)
    assert cqe.result() == 32
    assert [bytes(view) for view in buffers.views(cqe)] == [b"buffer %d" % bid for bid in range(4)]
    arrived(there, 32)
    assert there.recv(100) == b"buffer 0buffer 1buffer 2buffer 3"
    assert buffers.available == 0
    buffers.recycle(cqe)
    assert buffers.available == 4


@needs_bundles
def test_send_bundle_of_what_was_filled(ring, tcp):
    """Buffers of an empty group are added with the length of what is in them, in the order in which they leave."""
    here, there = tcp
    buffers = ring.setup_buf_ring(4, 8, GROUP, empty=True)
    assert buffers.available == 0
    sent = b""
    for turn in range(5):  # more often than there are entries
        words = {(turn + 2) % 4: b"hello", turn % 4: b"a", (turn + 3) % 4: b"8 bytes."}
        for bid, word in words.items():
            buffers.buffer(bid)[: len(word)] = word
            buffers.add(bid, len(word))
        buffers.advance(len(words))
        cqe = complete(ring, Sqe.prep_send_bundle, here, buffer_group=GROUP)
        expected = b"".join(words.values())
        assert cqe.result() == len(expected)
        assert [bytes(view) for view in buffers.views(cqe)] == list(words.values())
        assert buffers.read(cqe) == expected
        assert buffers.available == 0
        sent += expected
    arrived(there, len(sent))
    assert there.recv(1000) == sent


def test_received_into_a_part(ring, pair):
    here, there = pair
    buffers = BufferRing(2, 8, empty=True)
    buffers.add(1, 3)
    ring.register_buf_ring(buffers, GROUP)
    assert buffers.available == 1
    there.send(b"hello")
    cqe = complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP)
    assert (cqe.result(), cqe.buffer_id, buffers.read(cqe)) == (3, 1, b"hel")
    buffers.add(1, 1)
    ring.unregister_buf_ring(GROUP)
    ring.register_buf_ring(buffers, GROUP)  # it is added again as it was
    cqe = complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP)
    assert (cqe.result(), buffers.read(cqe)) == (1, b"l")


def test_lengths_of_buffers():
    buffers = BufferRing(2, 8, empty=True)
    for length in (0, -1, 9, 2**40):
        with pytest.raises(ValueError, match="length"):
            buffers.add(0, length)
    with pytest.raises(TypeError):
        buffers.add(0, "8")
    assert buffers.available == 0
    buffers.add(0, 8)
    with pytest.raises(ValueError, match="with the kernel"):
        buffers.add(0, 8)


# Messages.


def test_recvmsg_picks_a_buffer(ring, udp):
    sender, receiver = udp
    buffers = ring.setup_buf_ring(2, 64, GROUP)
    message = MsgHdr([bytearray(64)], name_size=128)
    sender.sendto(b"datagram", receiver.getsockname())
    cqe = complete(ring, Sqe.prep_recvmsg, receiver, message, buffer_group=GROUP)
    assert cqe.result() == 8
    assert buffers.read(cqe) == b"datagram"
    assert message.address == sender.getsockname()


def test_recvmsg_multishot(ring, udp):
    sender, receiver = udp
    receiver.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    message = MsgHdr(name_size=128, control_size=socket.CMSG_SPACE(12))
    buffers = ring.setup_buf_ring(2, 16 + 128 + message.control_size + 10, GROUP)
    start(ring, Sqe.prep_recvmsg_multishot, receiver, message, buffer_group=GROUP)
    for word in (b"first", b"0123456789", b"more than there is room for", b""):
        sender.sendto(word, receiver.getsockname())
        cqe = wait(ring)
        assert cqe.more == bool(word)  # an empty message ends it
        out = RecvmsgOut(buffers.view(cqe), message)
        assert out.payload == word[:10]
        assert out.address == sender.getsockname()
        assert bool(out.flags & socket.MSG_TRUNC) == (len(word) > 10)
        [(level, kind, data)] = out.control
        assert (level, kind, data[8:]) == (socket.IPPROTO_IP, IP_PKTINFO, bytes([127, 0, 0, 1]))
        buffers.recycle(cqe)


def test_recvmsg_multishot_of_descriptors(ring, pair):
    here, there = pair
    message = MsgHdr(control_size=socket.CMSG_SPACE(4))
    buffers = ring.setup_buf_ring(2, 256, GROUP)
    start(ring, Sqe.prep_recvmsg_multishot, here, message, buffer_group=GROUP)
    with open(os.devnull) as file:
        socket.send_fds(there, [b"take it"], [file.fileno()])
    out = RecvmsgOut(buffers.view(wait(ring)), message)
    [(level, kind, data)] = out.control
    assert (level, kind, out.payload, out.address) == (socket.SOL_SOCKET, socket.SCM_RIGHTS, b"take it", None)
    [fd] = struct.unpack("=i", data)
    assert os.path.samestat(os.fstat(fd), os.stat(os.devnull))
    os.close(fd)
    there.close()
    assert not wait(ring).more


# Buffers given one request at a time.


def test_provide_buffers(ring, pair):
    here, there = pair
    memory = bytearray(40)
    assert result(ring, Sqe.prep_provide_buffers, memory, 10, 4, GROUP, 100) == 0
    with pytest.raises(BufferError):
        memory.clear()
    seen = {}
    for word in (b"one", b"two", b"three", b"four"):
        there.sendall(word)
        cqe = complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP)
        seen[cqe.buffer_id] = word
        begin = 10 * (cqe.buffer_id - 100)
        assert memory[begin : begin + cqe.result()] == word
    assert set(seen) == {100, 101, 102, 103}
    there.sendall(b"five")
    assert complete(ring, Sqe.prep_recv, here, None, buffer_group=GROUP).res == -errno.ENOBUFS
    memory.clear()  # the program's again


def test_remove_buffers(ring, pair):
    memory = bytearray(40)
    assert result(ring, Sqe.prep_provide_buffers, memory, 10, 4, GROUP) == 0
    assert result(ring, Sqe.prep_remove_buffers, 3, GROUP) == 3
    assert result(ring, Sqe.prep_remove_buffers, 3, GROUP) == 1
    with pytest.raises(FileNotFoundError) as caught:
        complete(ring, Sqe.prep_remove_buffers, 1, GROUP + 1).result()
    assert caught.value.filename == "remove_buffers"
    pair[1].sendall(b"x")
    assert complete(ring, Sqe.prep_recv, pair[0], None, buffer_group=GROUP).res == -errno.ENOBUFS


def test_provide_buffers_that_fails(ring):
    ring.setup_buf_ring(2, 64, GROUP)
    memory = bytearray(16)
    with pytest.raises(OSError, match="provide_buffers"):
        complete(ring, Sqe.prep_provide_buffers, memory, 8, 2, GROUP).result()
    memory.clear()  # not given to anybody


def test_provide_buffers_that_is_not_submitted(ring):
    memory = bytearray(16)
    sqe = prepare(ring, Sqe.prep_provide_buffers, memory, 8, 2, GROUP)
    sqe.prep_nop()
    memory.clear()
    ring.submit()
    assert wait(ring).res == 0


@needs("READ_MULTISHOT")
def test_read_multishot_of_provided_buffers(ring):
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    memory = bytearray(16)
    try:
        assert result(ring, Sqe.prep_provide_buffers, memory, 8, 2, GROUP) == 0
        start(ring, Sqe.prep_read_multishot, fd, 0, 0, GROUP)
        for number in (3, 4):
            os.eventfd_write(fd, number)
            cqe = wait(ring)
            assert (cqe.result(), cqe.more) == (8, True)
            assert struct.unpack_from("=Q", memory, 8 * cqe.buffer_id) == (number,)
        os.eventfd_write(fd, 1)
        cqe = wait(ring)
        assert (cqe.res, cqe.more) == (-errno.ENOBUFS, False)
    finally:
        os.close(fd)
