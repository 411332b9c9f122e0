"""get_extra_info() of connections: who is at the other end, also when that is asked late."""

import asyncio
import socket

import pytest

import ioring
from rings import RESET, WAIT_S
from running import run


@pytest.fixture
def plain_loop():
    loop = ioring.Loop()
    yield loop
    loop.close()


class Kept(asyncio.Protocol):
    """Tells of its connection and of its end."""

    def __init__(self, loop):
        self.made = loop.create_future()
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.made.set_result(None)

    def connection_lost(self, exception):
        self.lost.set_result(exception)


def serve(loop, **options):
    """A server for one connection: its protocol and its address."""
    protocol = Kept(loop)
    server = run(loop, loop.create_server(lambda: protocol, **options))
    return server, protocol, server.sockets[0].getsockname()


def connect(loop, protocol, address, family=socket.AF_INET):
    """A connection to the server, that it has accepted."""
    sock = socket.socket(family)
    sock.settimeout(WAIT_S)
    sock.connect(address)
    run(loop, protocol.made)
    return sock


def test_of_an_accepted_connection(loop):
    server, protocol, address = serve(loop, host="127.0.0.1", port=0)
    with connect(loop, protocol, address) as sock:
        transport = protocol.transport
        assert transport.get_extra_info("peername") == sock.getsockname()
        assert transport.get_extra_info("sockname") == address
        assert transport.get_extra_info("socket").fileno() == transport._sock.fileno()
        assert transport.get_extra_info("socket").getpeername() == sock.getsockname()
        assert transport.get_extra_info("nothing", "else") == "else"
        transport.close()
        run(loop, protocol.lost)
        assert transport.get_extra_info("peername") == sock.getsockname()
        assert transport._sock is None
    server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_peer_that_is_asked_for_after_the_connection_was_reset(plain_loop, host):
    loop = plain_loop
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server, protocol, address = serve(loop, host=host, port=0)
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    with connect(loop, protocol, address, family) as sock:
        name = sock.getsockname()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    assert isinstance(run(loop, protocol.lost), ConnectionResetError)
    assert protocol.transport.get_extra_info("peername") == name
    server.close()


@pytest.mark.parametrize("named", [False, True])
def test_peer_of_a_unix_connection(loop, tmp_path, named):
    protocol = Kept(loop)
    path = str(tmp_path / "server")
    server = run(loop, loop.create_unix_server(lambda: protocol, path))
    with socket.socket(socket.AF_UNIX) as sock:
        if named:
            sock.bind(str(tmp_path / "client"))
        sock.connect(path)
        run(loop, protocol.made)
        assert protocol.transport.get_extra_info("peername") == sock.getsockname()
        assert protocol.transport.get_extra_info("sockname") == path
        protocol.transport.close()
        run(loop, protocol.lost)
    server.close()


def test_peer_of_a_made_connection(loop):
    server, protocol, address = serve(loop, host="127.0.0.1", port=0)
    transport, mine = run(loop, loop.create_connection(lambda: Kept(loop), *address))
    run(loop, protocol.made)
    name = protocol.transport.get_extra_info("peername")
    assert transport.get_extra_info("sockname") == name
    transport.close()
    run(loop, mine.lost)
    run(loop, protocol.lost)
    assert transport.get_extra_info("peername") == address
    server.close()
