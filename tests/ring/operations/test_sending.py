"""Operations that send and receive into the program's own memory do what their names say."""

import array
import errno
import os
import select
import socket
import struct

import pytest

from ioring import Direct, MsgHdr, RecvSendFlags, SockAddr, Sqe, SqeFlags
from operations import by_user_data, complete, needs_trial, prepare, result, start, wait
from rings import listener, needs, pipe_pair

ZC_COPIED = 1 << 31  # IORING_NOTIF_USAGE_ZC_COPIED: the loopback device always copies


# Plain.


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array.array("b", data)])
def test_send(ring, pair, kind):
    here, there = pair
    assert result(ring, Sqe.prep_send, here, kind(b"hello")) == 5
    assert there.recv(10) == b"hello"


def test_send_a_part(ring, pair):
    here, there = pair
    assert result(ring, Sqe.prep_send, here.fileno(), b"hello", 2) == 2
    assert there.recv(10) == b"he"


def test_send_all(ring, pair):
    here, there = pair
    data = os.urandom(1 << 20)
    received = bytearray(len(data))
    prepare(ring, Sqe.prep_send, here, data, None, socket.MSG_WAITALL, user_data="send")
    start(ring, Sqe.prep_recv, there, received, None, socket.MSG_WAITALL, user_data="recv")
    assert {key: cqe.result() for key, cqe in by_user_data(ring, 2).items()} == {"send": len(data), "recv": len(data)}
    assert received == data


def test_send_to_a_closed_connection(ring, pair):
    pair[1].close()
    with pytest.raises(BrokenPipeError) as caught:
        complete(ring, Sqe.prep_send, pair[0], b"x", None, socket.MSG_NOSIGNAL).result()
    assert (caught.value.errno, caught.value.filename) == (errno.EPIPE, "send")


def test_recv(ring, pair):
    here, there = pair
    buffer = bytearray(10)
    start(ring, Sqe.prep_recv, here, buffer)
    there.sendall(b"hello")
    cqe = wait(ring)
    assert (cqe.result(), cqe.more, cqe.notification, cqe.buffer_id, cqe.extra) == (5, False, False, None, None)
    assert buffer == b"hello" + bytes(5)
    there.close()
    assert result(ring, Sqe.prep_recv, here, buffer) == 0


def test_recv_flags(ring, pair):
    here, there = pair
    there.sendall(b"hello")
    buffer = bytearray(10)
    assert result(ring, Sqe.prep_recv, here, buffer, 3, socket.MSG_PEEK) == 3
    start(ring, Sqe.prep_recv, here, buffer, 10, socket.MSG_WAITALL)
    there.sendall(b"world")
    assert wait(ring).result() == 10
    assert buffer == b"helloworld"
    with pytest.raises(BlockingIOError):
        complete(ring, Sqe.prep_recv, here, buffer, None, socket.MSG_DONTWAIT).result()


def test_recv_says_that_there_is_more(ring, tcp):
    here, there = tcp
    there.sendall(b"hello")
    buffer = bytearray(2)
    poll = select.poll()
    poll.register(here, select.POLLIN)
    assert poll.poll(5000)
    cqe = complete(ring, Sqe.prep_recv, here, buffer)
    assert (cqe.res, cqe.socket_nonempty) == (2, True)
    cqe = complete(ring, Sqe.prep_recv, here, bytearray(100))
    assert (cqe.res, cqe.socket_nonempty) == (3, False)


def test_recv_polls_first(ring, pair):
    here, there = pair
    there.sendall(b"x")
    assert result(ring, Sqe.prep_recv, here, bytearray(1), ioprio=RecvSendFlags.POLL_FIRST) == 1


def test_direct_descriptors(ring, pair):
    here, there = pair
    assert result(ring, Sqe.prep_files_update, [here, there]) == 2
    buffer = bytearray(5)
    prepare(ring, Sqe.prep_recv, Direct(1), buffer, user_data="recv")
    start(ring, Sqe.prep_send, Direct(0), b"hello", user_data="send")
    assert {key: cqe.result() for key, cqe in by_user_data(ring, 2).items()} == {"recv": 5, "send": 5}
    assert buffer == b"hello"
    with pytest.raises(OSError, match="recv") as caught:
        complete(ring, Sqe.prep_recv, Direct(7), buffer).result()
    assert caught.value.errno == errno.EBADF


def test_plain_number_as_slot(ring, pair):
    here, there = pair
    assert result(ring, Sqe.prep_files_update, [here]) == 1
    assert result(ring, Sqe.prep_send, 0, b"by number", fixed_file=True) == 9
    assert result(ring, Sqe.prep_send, 0, b", by flags", flags=SqeFlags.FIXED_FILE) == 10
    assert there.recv(100) == b"by number, by flags"


def test_kernel_worker(ring, pair):
    assert result(ring, Sqe.prep_send, pair[0], b"worker", always_async=True) == 6
    assert pair[1].recv(10) == b"worker"


# Messages with addresses and ancillary data.


def test_sendto(ring, udp):
    sender, receiver = udp
    assert result(ring, Sqe.prep_sendto, sender, b"datagram", None, 0, receiver.getsockname()) == 8
    assert receiver.recvfrom(100) == (b"datagram", sender.getsockname())
    cqe = complete(ring, Sqe.prep_sendto, sender, b"datagram")
    assert cqe.res == -errno.EDESTADDRREQ


def test_sendto_where_a_message_came_from(ring, udp):
    sender, receiver = udp
    message = MsgHdr([bytearray(10)], name_size=128)
    sender.sendto(b"question", receiver.getsockname())
    assert result(ring, Sqe.prep_recvmsg, receiver, message) == 8
    assert result(ring, Sqe.prep_sendto, receiver, b"answer", None, 0, message.address) == 6
    assert sender.recv(10) == b"answer"


@pytest.mark.parametrize("method", [Sqe.prep_send, Sqe.prep_send_zc])
def test_send_set_addr(ring, udp, method):
    sender, receiver = udp
    sqe = prepare(ring, method, sender, b"datagram")
    sqe.prep_send_set_addr(receiver.getsockname())
    ring.submit()
    cqe = wait(ring)
    assert cqe.result() == 8
    if cqe.more:
        assert wait(ring).notification
    assert receiver.recvfrom(100) == (b"datagram", sender.getsockname())


def test_send_set_addr_of_something_else(ring):
    sqe = ring.get_sqe()
    sqe.prep_nop()
    with pytest.raises(ValueError, match="prep_send"):
        sqe.prep_send_set_addr(("127.0.0.1", 1))
    ring.submit()
    assert wait(ring).result() == 0


def test_sendmsg(ring, udp):
    sender, receiver = udp
    message = MsgHdr([b"one ", bytearray(b"two "), memoryview(b"three")], address=receiver.getsockname())
    assert message.nbytes == 13
    for _ in range(2):
        assert result(ring, Sqe.prep_sendmsg, sender, message) == 13
        assert receiver.recvfrom(100) == (b"one two three", sender.getsockname())


def test_recvmsg(ring, udp):
    sender, receiver = udp
    parts = [bytearray(4), bytearray(10)]
    message = MsgHdr(parts, name_size=128, control_size=socket.CMSG_SPACE(12))
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_PKTINFO if hasattr(socket, "IP_PKTINFO") else 8, 1)
    for word in (b"datagram", b"again"):
        sender.sendto(word, receiver.getsockname())
        assert result(ring, Sqe.prep_recvmsg, receiver, message) == len(word)
        assert b"".join(parts)[: len(word)] == word
        assert message.address == sender.getsockname()
        [(level, kind, data)] = message.control
        assert (level, kind, data[8:]) == (socket.IPPROTO_IP, 8, bytes([127, 0, 0, 1]))
        assert message.flags == 0
    sender.sendto(b"too long for it", receiver.getsockname())
    assert result(ring, Sqe.prep_recvmsg, receiver, message) == 14
    assert message.flags & socket.MSG_TRUNC


def test_descriptors_in_messages(ring, pair, tmp_path):
    here, there = pair
    (tmp_path / "file").write_bytes(b"content")
    with open(tmp_path / "file", "rb") as file:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))]
        assert result(ring, Sqe.prep_sendmsg, here, MsgHdr([b"x"], control=rights)) == 1
    received = MsgHdr([bytearray(1)], control_size=socket.CMSG_SPACE(4))
    assert result(ring, Sqe.prep_recvmsg, there, received, socket.MSG_CMSG_CLOEXEC) == 1
    [(level, kind, data)] = received.control
    assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
    [fd] = struct.unpack("=i", data)
    assert os.pread(fd, 10, 0) == b"content"
    os.close(fd)


def test_sendmsg_to_a_unix_address(ring, tmp_path):
    message = MsgHdr([bytearray(20)], name_size=128)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there,
    ):
        here.bind(str(tmp_path / "here"))
        there.bind(b"\0ioring-test-" + str(os.getpid()).encode())
        assert result(ring, Sqe.prep_sendmsg, here, MsgHdr([b"hello"], address=there.getsockname())) == 5
        assert result(ring, Sqe.prep_recvmsg, there, message) == 5
        assert message.address == str(tmp_path / "here")
        assert result(ring, Sqe.prep_sendto, there, b"back", None, 0, str(tmp_path / "here")) == 4
        assert here.recvfrom(10) == (b"back", there.getsockname())


def test_socket_address_as_argument(ring):
    peer = SockAddr()
    with listener() as server, socket.socket() as client:
        client.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        os.close(result(ring, Sqe.prep_accept, server, peer))
        client.close()
        with socket.socket() as again, socket.socket() as dialled:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(peer.address)
            again.listen()
            assert result(ring, Sqe.prep_connect, dialled, peer) == 0
            assert dialled.getpeername() == peer.address


# Without copying.


def zero_copy(ring, method, *arguments):
    """The result of a zero-copy send, and its notification."""
    start(ring, method, *arguments, user_data="zc")
    cqe = wait(ring)
    assert (cqe.user_data, cqe.notification) == ("zc", False)
    if not cqe.more:
        return cqe, None
    final = wait(ring)
    assert (final.user_data, final.notification, final.more) == ("zc", True, False)
    return cqe, final


@needs("SEND_ZC")
def test_send_zc(ring, tcp):
    here, there = tcp
    cqe, notification = zero_copy(ring, Sqe.prep_send_zc, here, b"zero copies")
    assert cqe.result() == 11
    assert notification is not None
    assert notification.result() == 0
    assert there.recv(100) == b"zero copies"


with pipe_pair() as (reading, _):  # not a socket, and that is found after the flag
    needs_usage = needs_trial(
        "usage reports", Sqe.prep_send_zc, reading, b"data", None, 0, RecvSendFlags.ZC_REPORT_USAGE
    )


@needs_usage
def test_send_zc_reports_its_usage(ring, tcp):
    here, there = tcp
    _, notification = zero_copy(ring, Sqe.prep_send_zc, here, b"data", None, 0, RecvSendFlags.ZC_REPORT_USAGE)
    assert notification.result() == ZC_COPIED
    assert there.recv(100) == b"data"


@needs("SEND_ZC")
def test_send_zc_keeps_its_memory_until_the_notification(ring, tcp):
    here, there = tcp
    buffer = bytearray(b"kept")
    start(ring, Sqe.prep_send_zc, here, buffer)
    with pytest.raises(BufferError):
        buffer.clear()
    assert there.recv(100) == b"kept"
    while wait(ring).more:
        pass
    buffer.clear()


@needs("SEND_ZC")
def test_send_zc_fails(ring, tcp):
    here, there = tcp
    here.shutdown(socket.SHUT_WR)
    cqe, _ = zero_copy(ring, Sqe.prep_send_zc, here, b"x", None, socket.MSG_NOSIGNAL)
    with pytest.raises(BrokenPipeError) as caught:
        cqe.result()
    assert caught.value.filename == "send_zc"
    assert there.recv(1) == b""


@needs("SEND_ZC")
def test_send_zc_fixed(ring, tcp):
    here, there = tcp
    buffers = [bytearray(10), bytearray(b"registered buffer")]
    ring.register_buffers(buffers)
    cqe, _ = zero_copy(ring, Sqe.prep_send_zc_fixed, here, memoryview(buffers[1])[11:], 3, 0, 0, 1)
    assert cqe.result() == 3
    assert there.recv(100) == b"buf"
    cqe, _ = zero_copy(ring, Sqe.prep_send_zc_fixed, here, buffers[1], 3, 0, 0, 0)
    assert cqe.res == -errno.EFAULT


@needs("SENDMSG_ZC")
def test_sendmsg_zc(ring, udp):
    sender, receiver = udp
    message = MsgHdr([b"one", b"two"], address=receiver.getsockname())
    cqe, _ = zero_copy(ring, Sqe.prep_sendmsg_zc, sender, message)
    assert cqe.result() == 6
    assert receiver.recv(100) == b"onetwo"


@needs("SENDMSG_ZC", "READV_FIXED")
def test_sendmsg_zc_fixed(ring, tcp):
    here, there = tcp
    buffer = bytearray(b"registered")
    ring.register_buffers([bytearray(1), buffer])
    view = memoryview(buffer)
    cqe, _ = zero_copy(ring, Sqe.prep_sendmsg_zc_fixed, here, MsgHdr([view[8:], view[:4]]), 0, 1)
    assert cqe.result() == 6
    assert there.recv(100) == b"edregi"


@pytest.mark.parametrize(
    ("method", "name"), [(Sqe.prep_send, "send"), (Sqe.prep_recv, "recv"), (Sqe.prep_shutdown, "shutdown")]
)
def test_operations_are_named_in_errors(ring, method, name):
    with open(os.devnull, "r+b") as file, pytest.raises(OSError, match="non-socket") as caught:
        complete(ring, method, file, 1 if name == "shutdown" else bytearray(1)).result()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOTSOCK, name)
