"""create_datagram_endpoint: UDP and Unix datagram sockets as transports, what they send and receive, and addresses."""

import asyncio
import contextlib
import contextvars
import os
import socket

import pytest

from datagrams import UDP_MAX, Echo, Receiver, blocked, closed, endpoint, name, udp, unix_pair
from rings import WAIT_S
from running import run, turns, until

# Sending and receiving.


def test_what_a_protocol_is_told(loop):
    transport, protocol = endpoint(loop)
    with udp() as sock:
        assert isinstance(transport, asyncio.DatagramTransport)
        assert protocol.transport is transport and transport.get_protocol() is protocol
        assert not transport.is_closing()
        sock.sendto(b"hello", name(transport))
        run(loop, until(lambda: protocol.received))
        assert protocol.received == [(b"hello", sock.getsockname())]
        assert type(protocol.received[0][1]) is tuple
        transport.sendto(b"world", protocol.received[0][1])
        turns(loop)
        assert sock.recvfrom(100) == (b"world", name(transport))
    transport.close()
    assert transport.is_closing()
    assert run(loop, protocol.lost) is None
    assert protocol.events == ["made", "lost"]


@pytest.mark.parametrize("address", [(), ("127.0.0.1",), ("127.0.0.1", "x"), (None, 1), ("127.0.0.1", None), 5, [1, 2]])
def test_what_is_no_address(loop, address):
    transport, protocol = endpoint(loop)
    with pytest.raises((TypeError, ValueError, OSError)):
        transport.sendto(b"x", address)
    transport.sendto(b"x", name(transport))
    run(loop, until(lambda: protocol.received))
    transport.close()
    run(loop, protocol.lost)


def test_extra_information(loop):
    transport, _ = endpoint(loop)
    host, port = name(transport)
    assert host == "127.0.0.1" and port > 0
    assert transport.get_extra_info("peername") is None
    assert transport.get_extra_info("socket").getsockname() == (host, port)
    assert transport.get_extra_info("socket").type == socket.SOCK_DGRAM
    assert transport.get_extra_info("nothing", 7) == 7
    other, _ = endpoint(loop, remote_addr=(host, port))
    assert other.get_extra_info("peername") == (host, port)
    closed(loop, transport, other)
    assert transport.get_extra_info("sockname") == (host, port)


def test_connected(loop):
    server, echo = endpoint(loop, Echo)
    client, protocol = endpoint(loop, remote_addr=name(server))
    client.sendto(b"one")
    client.sendto(b"two", None)
    client.sendto(b"three", name(server))
    run(loop, until(lambda: len(protocol.received) == 3))
    assert protocol.data == [b"one", b"two", b"three"]
    assert {address for _, address in protocol.received} == {name(server)}
    assert {address for _, address in echo.received} == {name(client)}
    with pytest.raises(ValueError, match="Invalid address"):
        client.sendto(b"x", ("127.0.0.1", 9))
    closed(loop, server, client)


def test_only_what_comes_from_the_peer(loop):
    with udp() as peer, udp() as stranger:
        transport, protocol = endpoint(loop, remote_addr=peer.getsockname())
        stranger.sendto(b"stranger", name(transport))
        peer.sendto(b"peer", name(transport))
        run(loop, until(lambda: protocol.received))
        assert protocol.data == [b"peer"]
        closed(loop, transport)


def test_socket_of_the_program(loop):
    with udp() as peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(peer.getsockname())
        transport, _ = endpoint(loop, sock=sock)
        transport.sendto(b"x")
        turns(loop)
        data, address = peer.recvfrom(100)
        assert data == b"x" and address == sock.getsockname()
        assert transport.get_extra_info("peername") == peer.getsockname()
        closed(loop, transport)
        assert sock.fileno() == -1


def test_ipv6(loop):
    try:
        server, _ = endpoint(loop, Echo, local_addr=("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    client, protocol = endpoint(loop, local_addr=("::1", 0))
    client.sendto(b"four", name(server))
    client.sendto(b"two", name(server)[:2])
    run(loop, until(lambda: len(protocol.received) == 2))
    assert protocol.received == [(b"four", name(server)), (b"two", name(server))]
    assert len(name(server)) == 4
    closed(loop, server, client)


@pytest.mark.parametrize("size", [1, 1400, 16384 - 128, 16384, 16385, UDP_MAX])
def test_sizes_of_udp(loop, size):
    server, _ = endpoint(loop, Echo)
    client, protocol = endpoint(loop)
    data = os.urandom(size)
    client.sendto(data, name(server))
    run(loop, until(lambda: protocol.received))
    assert protocol.received == [(data, name(server))]
    closed(loop, server, client)


@pytest.mark.parametrize("size", [1, 16384, 65536, 70_000, 200_000])
def test_sizes_of_unix_datagrams(loop, size):
    with unix_pair() as (here, there):
        transport, protocol = endpoint(loop, sock=here)
        there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * size)
        data = os.urandom(size)
        there.send(data)
        run(loop, until(lambda: protocol.received))
        assert protocol.data == [data]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * size)
        transport.sendto(data)
        turns(loop)
        assert there.recv(size + 1) == data
        closed(loop, transport)


def test_empty_datagrams_do_not_end_anything(loop):
    transport, protocol = endpoint(loop)
    with udp() as sock:
        for data in (b"", b"one", b"", b"", b"two"):
            sock.sendto(data, name(transport))
        run(loop, until(lambda: len(protocol.received) == 5))
        assert protocol.data == [b"", b"one", b"", b"", b"two"]
        assert {address for _, address in protocol.received} == {sock.getsockname()}
        sock.sendto(b"three", name(transport))
        run(loop, until(lambda: len(protocol.received) == 6))
    closed(loop, transport)


def test_order_within_a_turn(loop):
    transport, _ = endpoint(loop)
    with udp() as sock:
        for burst in range(20):
            for number in range(20):
                transport.sendto(b"%d" % (burst * 20 + number), sock.getsockname())
            turns(loop)
            assert [int(sock.recv(100)) for _ in range(20)] == list(range(burst * 20, burst * 20 + 20))
    closed(loop, transport)


def test_more_than_there_are_buffers(loop):
    """What waits in the socket is received once buffers are free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, udp() as sock:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiver.bind(("127.0.0.1", 0))
        transport, protocol = endpoint(loop, sock=receiver)
        for number in range(250):
            sock.sendto(b"%d" % number, receiver.getsockname())
        run(loop, until(lambda: len(protocol.received) == 250))
        assert protocol.data == [b"%d" % number for number in range(250)]
        closed(loop, transport)


def test_many_transports_share_the_buffers(loop):
    echoes = [endpoint(loop, Echo)[0] for _ in range(40)]
    transport, protocol = endpoint(loop)
    for number in range(200):
        transport.sendto(b"%d" % number, name(echoes[number % 40]))
        turns(loop, 1)
    run(loop, until(lambda: len(protocol.received) == 200))
    assert sorted(map(int, protocol.data)) == list(range(200))
    assert all(address == name(echoes[int(data) % 40]) for data, address in protocol.received)
    closed(loop, transport, *echoes)


def test_senders_are_told_apart(loop):
    transport, protocol = endpoint(loop)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(udp()) for _ in range(30)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.2", socks[0].getsockname()[1]))
            socks.append(other)
            for sock in socks * 2:
                sock.sendto(repr(sock.getsockname()).encode(), name(transport))
            run(loop, until(lambda: len(protocol.received) == 62))
    assert all(data == repr(address).encode() for data, address in protocol.received)
    closed(loop, transport)


def test_what_is_sent_may_be_changed_afterwards(loop):
    transport, _ = endpoint(loop)
    with udp() as sock:
        data = bytearray(b"right")
        transport.sendto(data, sock.getsockname())
        transport.sendto(memoryview(data)[1:], sock.getsockname())
        data[:] = b"wrong"
        turns(loop)
        assert sock.recv(10) == b"right" and sock.recv(10) == b"ight"
    closed(loop, transport)


def test_sent_while_the_loop_rests(loop):
    transport, _ = endpoint(loop)
    with udp() as sock:
        transport.sendto(b"now", sock.getsockname())
        assert sock.recv(10) == b"now"
    closed(loop, transport)


def test_context_of_the_protocol(loop):
    variable = contextvars.ContextVar("variable", default="nobody")
    said = []

    class Speaking(Receiver):
        def datagram_received(self, data, address):
            said.append(variable.get())
            Receiver.datagram_received(self, data, address)

        def connection_lost(self, exception):
            said.append(variable.get())
            Receiver.connection_lost(self, exception)

    async def main():
        variable.set("somebody")
        return await loop.create_datagram_endpoint(lambda: Speaking(loop), local_addr=("127.0.0.1", 0))

    transport, protocol = run(loop, main())
    with udp() as sock:
        sock.sendto(b"x", name(transport))
        run(loop, until(lambda: protocol.received))
    closed(loop, transport)
    assert said == ["somebody", "somebody"]


def test_other_protocol_from_now_on(loop):
    transport, first = endpoint(loop)
    second = Receiver(loop)
    with udp() as sock:
        sock.sendto(b"1", name(transport))
        run(loop, until(lambda: first.received))
        transport.set_protocol(second)
        sock.sendto(b"2", name(transport))
        run(loop, until(lambda: second.received))
    assert first.data == [b"1"] and second.data == [b"2"]
    closed(loop, transport)


# Addresses.


def test_names_of_hosts_are_looked_up(loop):
    transport, protocol = endpoint(loop)
    with udp() as sock:
        transport.sendto(b"x", ("localhost", sock.getsockname()[1]))
        turns(loop)
        assert sock.recv(10) == b"x"
    assert protocol.errors == []
    closed(loop, transport)


def test_host_that_cannot_be_found(loop, monkeypatch):
    """The protocol hears of it, as of any error in sending."""

    def getaddrinfo(*args, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    transport, protocol = endpoint(loop)
    transport.sendto(b"x", ("no.such.host.invalid", 9))
    turns(loop)
    assert [type(error) for error in protocol.errors] == [socket.gaierror]
    closed(loop, transport)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
@pytest.mark.parametrize("port", [65536, -1, 1 << 40])
def test_what_is_no_port(loop, host, port):
    with socket.socket(type=socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        transport, _ = endpoint(loop, local_addr=("127.0.0.1", 0))
        for wrong in (port, receiver.getsockname()[1] + 65536):
            with pytest.raises(OverflowError, match="port must be 0-65535"):
                transport.sendto(b"to nobody", (host, wrong))
        transport.sendto(b"the transport works", receiver.getsockname())
        run(loop, until(lambda: not transport.get_write_buffer_size()))
        assert receiver.recv(100) == b"the transport works"
        transport.abort()
        turns(loop)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_the_empty_name_means_this_host_also_on_ipv6(loop):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("::1", 0))
        receiver.settimeout(WAIT_S)
        transport, protocol = endpoint(loop, local_addr=("::", 0))
        transport.sendto(b"x", ("", receiver.getsockname()[1]))
        turns(loop)
        assert receiver.recv(100) == b"x" and protocol.errors == []
        transport.abort()
        turns(loop)


@pytest.mark.parametrize("host", ["", "<broadcast>"])
def test_names_that_sockets_know(loop, host):
    """The empty name is the host itself, and <broadcast> is 255.255.255.255: whether that can be reached or not."""
    transport, protocol = endpoint(loop, local_addr=("127.0.0.1", 0), allow_broadcast=True)
    with udp() as sock:
        transport.sendto(b"x", (host, sock.getsockname()[1]))
        turns(loop)
        if host == "":
            assert sock.recv(10) == b"x"
    assert not any(isinstance(error, socket.gaierror) for error in protocol.errors)
    assert not transport.is_closing()
    closed(loop, transport)


def test_broadcast(loop):
    transport, _ = endpoint(loop, local_addr=("0.0.0.0", 0), allow_broadcast=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WAIT_S)
        sock.bind(("0.0.0.0", 0))
        transport.sendto(b"everybody", ("127.255.255.255", sock.getsockname()[1]))
        turns(loop)
        assert sock.recv(100) == b"everybody"
    closed(loop, transport)


def test_no_address_at_all(loop):
    """As with asyncio the mistake does not pass in silence; here it raises and ends nothing."""
    transport, protocol = endpoint(loop)
    with pytest.raises(ValueError, match="address"):
        transport.sendto(b"x")
    with udp() as sock:
        transport.sendto(b"y", sock.getsockname())
        turns(loop)
        assert sock.recv(10) == b"y"
    assert not protocol.errors
    closed(loop, transport)


@pytest.mark.parametrize("wrong", ["text", 5, None, [b"x"]])
def test_not_bytes(loop, wrong):
    transport, _ = endpoint(loop)
    with pytest.raises(TypeError, match="bytes-like"):
        transport.sendto(wrong, name(transport))
    assert transport.get_write_buffer_size() == 0
    closed(loop, transport)


# Unix sockets.


def test_unix_sockets_by_path(loop, tmp_path):
    path, other = str(tmp_path / "server"), str(tmp_path / "client")
    server, echo = endpoint(loop, Echo, local_addr=path, family=socket.AF_UNIX)
    client, protocol = endpoint(loop, local_addr=other, remote_addr=path, family=socket.AF_UNIX)
    assert name(server) == path
    client.sendto(b"ping")
    run(loop, until(lambda: protocol.received))
    assert echo.received == [(b"ping", other)]
    assert protocol.received == [(b"ping", path)]
    closed(loop, server, client)


def test_abstract_names(loop):
    path = b"\0ioring-test-%d" % os.getpid()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there,
    ):
        sock.bind(path)
        there.bind(path + b"-there")
        there.settimeout(WAIT_S)
        transport, protocol = endpoint(loop, sock=sock)
        there.sendto(b"in", path)
        run(loop, until(lambda: protocol.received))
        assert protocol.received == [(b"in", path + b"-there")]
        transport.sendto(b"out", path + b"-there")
        turns(loop)
        assert there.recvfrom(10) == (b"out", path)
        closed(loop, transport)


def test_sender_without_a_name(loop):
    with unix_pair() as (here, there):
        transport, protocol = endpoint(loop, sock=here)
        there.send(b"x")
        run(loop, until(lambda: protocol.received))
        assert protocol.received == [(b"x", None)]
        transport.sendto(b"y")
        turns(loop)
        assert there.recv(10) == b"y"
        closed(loop, transport)


@pytest.mark.parametrize("connected", [True, False])
def test_unix_datagrams_keep_their_order_while_the_receiver_is_slow(loop, tmp_path, connected):
    path = str(tmp_path / "slow")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind(path)
        there.setblocking(False)
        if connected:
            transport, protocol = endpoint(loop, remote_addr=path, family=socket.AF_UNIX)
        else:
            transport, protocol = endpoint(loop, local_addr=path + "2", family=socket.AF_UNIX)
        for number in range(1500):
            transport.sendto(b"%d" % number, None if connected else path)
        blocked(loop, transport)
        received = []

        async def receive():
            while len(received) < 1500:
                try:
                    received.append(there.recv(10))
                except BlockingIOError:
                    await asyncio.sleep(0)

        run(loop, receive())
        assert received == [b"%d" % number for number in range(1500)]
        run(loop, until(lambda: transport.get_write_buffer_size() == 0))
        assert protocol.errors == []
        closed(loop, transport)
