"""Operations that make, connect, tune and end sockets do what their names say."""

import array
import errno
import os
import socket
import struct

import pytest

from ioring import FILE_INDEX_ALLOC, AcceptFlags, CancelFlags, Direct, SockAddr, SocketOp, Sqe
from operations import by_user_data, complete, prepare, result, start, wait
from rings import listener, needs, stream_pair

SLOTS = 4


@pytest.fixture
def server():
    with listener() as server:
        yield server


def client_of(server):
    return socket.create_connection(server.getsockname()[:2])


def cancel(ring, request):
    """Ends a multishot request; its final completion."""
    start(ring, Sqe.prep_cancel, request, user_data="cancel")
    found = by_user_data(ring, 2)
    assert found.pop("cancel").res == 0
    [final] = found.values()
    return final


# Accepting.


def test_accept(ring, server):
    peer = SockAddr()
    start(ring, Sqe.prep_accept, server, peer, socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    with client_of(server) as client, socket.socket(fileno=wait(ring).result()) as accepted:
        assert peer.address == client.getsockname() == accepted.getpeername()
        assert not accepted.get_inheritable()
        assert not os.get_blocking(accepted.fileno())
        client.sendall(b"hello")
        buffer = bytearray(10)
        assert result(ring, Sqe.prep_recv, accepted, buffer) == 5
        assert buffer[:5] == b"hello"


def test_accept_adds_no_flags(ring, server):
    with client_of(server):
        fd = result(ring, Sqe.prep_accept, server)
    assert os.get_inheritable(fd)
    assert os.get_blocking(fd)
    os.close(fd)


def test_accept_without_waiting(ring, server):
    cqe = complete(ring, Sqe.prep_accept, server, ioprio=AcceptFlags.POLL_FIRST | AcceptFlags.DONTWAIT)
    if cqe.res == -errno.EINVAL:
        pytest.skip("the kernel knows no AcceptFlags.DONTWAIT")
    with pytest.raises(BlockingIOError):
        cqe.result()
    with client_of(server):
        os.close(result(ring, Sqe.prep_accept, server, ioprio=AcceptFlags.POLL_FIRST))


def test_accept_of_what_does_not_listen(ring):
    with stream_pair() as (here, _):
        cqe = complete(ring, Sqe.prep_accept, here)
    with pytest.raises(OSError, match="accept") as caught:
        cqe.result()
    assert caught.value.errno == errno.EINVAL


def test_accept_ipv6_and_unix(ring, tmp_path):
    peer = SockAddr()
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6")
    with server, client_of(server) as client:
        os.close(result(ring, Sqe.prep_accept, server, peer))
        assert peer.address == client.getsockname()
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "server"))
        server.listen()
        client.bind(str(tmp_path / "client"))
        assert result(ring, Sqe.prep_connect, client, tmp_path / "server") == 0
        os.close(result(ring, Sqe.prep_accept, server, peer))
    assert peer.address == str(tmp_path / "client")


def test_accept_direct(ring, server):
    with client_of(server) as client:
        slot = Direct(result(ring, Sqe.prep_accept_direct, server))
        assert result(ring, Sqe.prep_send, slot, b"direct") == 6
        assert client.recv(10) == b"direct"
        assert result(ring, Sqe.prep_close_direct, slot) == 0
        assert client.recv(10) == b""


def test_accept_direct_into_a_slot(ring, server):
    peer = SockAddr()
    with client_of(server) as client:
        assert result(ring, Sqe.prep_accept_direct, server, peer, 0, 2) == 0
        assert peer.address == client.getsockname()
        assert result(ring, Sqe.prep_send, Direct(2), b"direct") == 6
        assert client.recv(10) == b"direct"


def test_multishot_accept(ring, server):
    request = start(ring, Sqe.prep_multishot_accept, server, None, socket.SOCK_CLOEXEC, user_data="accept")
    for _ in range(3):
        with client_of(server) as client:
            cqe = wait(ring)
            assert (cqe.more, cqe.user_data) == (True, "accept")
            with socket.socket(fileno=cqe.result()) as accepted:
                assert accepted.getpeername() == client.getsockname()
                assert not accepted.get_inheritable()
    final = cancel(ring, request)
    assert (final.res, final.more) == (-errno.ECANCELED, False)


def test_multishot_accept_direct(ring, server):
    request = start(ring, Sqe.prep_multishot_accept_direct, server, user_data="accept")
    slots = set()
    for word in (b"one", b"two"):
        with client_of(server) as client:
            cqe = wait(ring)
            assert cqe.more
            slots.add(cqe.result())
            assert result(ring, Sqe.prep_send, Direct(cqe.res), word) == 3
            assert client.recv(10) == word
    assert len(slots) == 2
    assert cancel(ring, request).res == -errno.ECANCELED


def test_multishot_accept_direct_with_a_full_table(ring, server):
    start(ring, Sqe.prep_multishot_accept_direct, server)
    clients = [client_of(server) for _ in range(SLOTS + 1)]
    cqes = ring.wait_cqes(SLOTS + 1, timeout=5)
    assert sorted(cqe.res for cqe in cqes) == [-errno.ENFILE, *range(SLOTS)]
    assert [cqe.more for cqe in cqes] == [True] * SLOTS + [False]
    assert clients[-1].recv(1) == b""  # accepted, and closed for want of a slot
    for client in clients:
        client.close()


# Connecting.


def test_connect(ring, server):
    with socket.socket() as client:
        assert result(ring, Sqe.prep_connect, client, server.getsockname()) == 0
        assert client.getpeername() == server.getsockname()


def test_connect_refused(ring, server):
    address = server.getsockname()
    server.close()
    with socket.socket() as client, pytest.raises(ConnectionRefusedError) as caught:
        complete(ring, Sqe.prep_connect, client, address).result()
    assert caught.value.filename == "connect"


@needs("BIND", "LISTEN", "SOCKET")
def test_server_made_by_operations(ring):
    with socket.socket(
        fileno=result(ring, Sqe.prep_socket, socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    ) as server:
        assert not server.get_inheritable()
        assert (server.family, server.type) == (socket.AF_INET, socket.SOCK_STREAM)
        assert result(ring, Sqe.prep_bind, server, ("127.0.0.1", 0)) == 0
        assert result(ring, Sqe.prep_listen, server, 5) == 0
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        with client_of(server) as client:
            assert client.getpeername() == server.getsockname()
        with socket.socket() as other, pytest.raises(OSError, match="bind") as caught:
            complete(ring, Sqe.prep_bind, other, server.getsockname()).result()
    assert caught.value.errno == errno.EADDRINUSE


@needs("BIND", "LISTEN", "SOCKET")
def test_direct_server_and_client(ring, tmp_path):
    path = tmp_path / "socket"
    assert result(ring, Sqe.prep_socket_direct, socket.AF_UNIX, socket.SOCK_STREAM, 0, 3) == 0
    server = Direct(3)
    assert result(ring, Sqe.prep_bind, server, path) == 0
    assert result(ring, Sqe.prep_listen, server) == 0
    client = Direct(result(ring, Sqe.prep_socket_direct_alloc, socket.AF_UNIX, socket.SOCK_STREAM))
    assert client != server
    assert result(ring, Sqe.prep_connect, client, path) == 0
    accepted = Direct(result(ring, Sqe.prep_accept_direct, server))
    assert result(ring, Sqe.prep_send, client, b"all direct") == 10
    buffer = bytearray(20)
    assert result(ring, Sqe.prep_recv, accepted, buffer) == 10
    assert buffer[:10] == b"all direct"


@needs("SOCKET")
def test_socket_direct_chooses_a_slot(ring):
    slots = [
        result(ring, Sqe.prep_socket_direct, socket.AF_INET, socket.SOCK_DGRAM, 0, FILE_INDEX_ALLOC)
        for _ in range(SLOTS)
    ]
    assert sorted(slots) == list(range(SLOTS))
    assert complete(ring, Sqe.prep_socket_direct, socket.AF_INET, socket.SOCK_DGRAM).res == -errno.ENFILE


@needs("SOCKET")
def test_socket_of_no_family(ring):
    with pytest.raises(OSError, match="socket") as caught:
        result(ring, Sqe.prep_socket, 9999, socket.SOCK_STREAM)
    assert caught.value.errno == errno.EAFNOSUPPORT


@pytest.mark.parametrize("direct", [False, True])
def test_shutdown(ring, direct):
    with stream_pair() as (here, there):
        target = here
        if direct:
            assert result(ring, Sqe.prep_files_update, [here]) == 1
            target = Direct(0)
        assert result(ring, Sqe.prep_shutdown, target, socket.SHUT_WR) == 0
        assert there.recv(1) == b""
        there.sendall(b"still")
        assert here.recv(10) == b"still"
        with pytest.raises(BrokenPipeError):
            complete(ring, Sqe.prep_send, here, b"x", None, socket.MSG_NOSIGNAL).result()


def test_closing_a_slot_closes_the_connection(ring):
    with stream_pair() as (here, there):
        assert result(ring, Sqe.prep_files_update, [here]) == 1
        here.close()
        prepare(ring, Sqe.prep_send, Direct(0), b"last words", link=True, user_data="send")
        start(ring, Sqe.prep_close_direct, 0, user_data="close")
        found = by_user_data(ring, 2)
        assert (found["send"].res, found["close"].res) == (10, 0)
        assert there.recv(100) == b"last words"
        assert there.recv(100) == b""


# Socket commands.


@pytest.fixture
def commands(ring):
    """The ring, where the kernel has socket commands."""
    with stream_pair() as (here, _):
        arguments = (here, socket.SOL_SOCKET, socket.SO_TYPE, bytearray(4))
        if complete(ring, Sqe.prep_cmd_sock, SocketOp.GETSOCKOPT, *arguments).res == -errno.EOPNOTSUPP:
            pytest.skip("the kernel has no socket commands")
    return ring


@needs("URING_CMD")
@pytest.mark.parametrize("direct", [False, True])
def test_setsockopt_and_getsockopt(commands, server, direct):
    ring, target = commands, server
    if direct:
        assert result(ring, Sqe.prep_files_update, [server]) == 1
        target = Direct(0)
    on = struct.pack("=i", 1)
    arguments = (target, socket.IPPROTO_TCP, socket.TCP_NODELAY, on)
    assert result(ring, Sqe.prep_cmd_sock, SocketOp.SETSOCKOPT, *arguments) == 0
    assert server.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    value = array.array("i", [0, 7])
    arguments = (target, socket.SOL_SOCKET, socket.SO_TYPE, value, 4)
    assert result(ring, Sqe.prep_cmd_sock, SocketOp.GETSOCKOPT, *arguments) == 4
    assert list(value) == [socket.SOCK_STREAM, 7]
    cqe = complete(ring, Sqe.prep_cmd_sock, SocketOp.SETSOCKOPT, target, socket.SOL_SOCKET, 9999, on)
    assert cqe.res == -errno.ENOPROTOOPT


@needs("URING_CMD")
def test_socket_queue_lengths(commands, server):
    ring = commands
    with client_of(server) as client, server.accept()[0] as accepted:
        client.sendall(b"12345")
        assert accepted.recv(1, socket.MSG_PEEK) == b"1"
        assert result(ring, Sqe.prep_cmd_sock, SocketOp.SIOCINQ, accepted, 0, 0, None) == 5
        assert result(ring, Sqe.prep_cmd_sock, SocketOp.SIOCOUTQ, accepted, 0, 0, None) == 0


@needs("URING_CMD")
def test_uring_cmd(commands, server):
    ring = commands
    with client_of(server) as client, server.accept()[0] as accepted:
        client.sendall(b"12345")
        assert accepted.recv(1, socket.MSG_PEEK) == b"1"
        assert result(ring, Sqe.prep_uring_cmd, SocketOp.SIOCINQ, accepted) == 5
        assert result(ring, Sqe.prep_files_update, [accepted]) == 1
        assert result(ring, Sqe.prep_uring_cmd, SocketOp.SIOCINQ, Direct(0)) == 5
        assert complete(ring, Sqe.prep_uring_cmd, 9999, accepted).res == -errno.EOPNOTSUPP


def test_closing_does_not_stop_a_multishot_accept(ring, server):
    address = server.getsockname()
    start(ring, Sqe.prep_multishot_accept, server, user_data="accept")
    fd = server.detach()
    assert result(ring, Sqe.prep_close, fd) == 0
    with socket.create_connection(address):
        cqe = wait(ring)
        assert (cqe.user_data, cqe.more) == ("accept", True)
        os.close(cqe.result())
    start(ring, Sqe.prep_cancel, "accept", CancelFlags.ALL, user_data="cancel")
    found = by_user_data(ring, 2)
    assert (found["cancel"].res, found["accept"].res) == (1, -errno.ECANCELED)
