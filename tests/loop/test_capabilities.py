"""What other event loops stop short of, row by row: true of this one as far as the running Python has it.

Rows that tests of what they are about show are in ELSEWHERE.
"""

import asyncio
import inspect
import os
import pathlib
import socket
import ssl
import sys

import pytest

import ioring
from rings import pipe_pair
from running import run, until

HERE = pathlib.Path(__file__).parent

ELSEWHERE = {
    "happy eyeballs, interleave, all_errors": [
        "test_behaviours.py::test_happy_eyeballs",
        "test_behaviours.py::test_every_error_is_told",
    ],
    "abstract names": ["test_behaviours.py::test_abstract_names"],
    "start_tls keeps buffered data": ["test_tls.py::test_start_tls_keeps_what_came_before"],
    "sendfile and sock_sendfile": ["test_behaviours.py::test_sendfile"],
    "sock_recvfrom, sock_sendto": ["test_behaviours.py::test_single_datagrams"],
    "set_protocol": [
        "test_tls.py::test_another_protocol",
        "test_pipes.py::test_other_protocol_from_now_on",
        "test_datagram.py::test_other_protocol_from_now_on",
    ],
    "datagrams over Unix sockets": ["test_datagram.py::test_unix_sockets_by_path"],
    "create_task and old task factories": ["test_behaviours.py::test_factory_is_given_what_create_task_was_given"],
    "debug mode": [
        "test_loop.py::test_debug_mode_reports_slow_callbacks",
        "test_loop.py::test_debug_mode_checks_threads_and_callbacks",
        "test_poll.py::test_debug_mode_says_where_it_was_added",
    ],
    "sub-interpreters": ["test_interpreters.py::test_refused_in_words"],
    "CPython's own tests": ["../suites/test_cpython.py::test_module"],
}


@pytest.mark.parametrize("row", ELSEWHERE)
def test_is_shown_elsewhere(row):
    for place in ELSEWHERE[row]:
        file, _, name = place.partition("::")
        assert f"def {name}(" in (HERE / file).read_text(), place


def since(parameter, method):
    """Skips a test unless the running Python's asyncio has a parameter."""
    there = parameter in inspect.signature(getattr(asyncio.SelectorEventLoop, method)).parameters
    return pytest.mark.skipif(not there, reason=f"this Python's {method} has no {parameter}")


class Keeping(asyncio.Protocol):
    def __init__(self):
        self.data = b""
        self.transport = None
        self.lost = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data

    def connection_lost(self, exception):
        self.lost = True


class Listening:
    """A server whose protocols are kept."""

    def __init__(self, loop):
        self.loop = loop
        self.protocols = []

    def __call__(self):
        self.protocols.append(Keeping())
        return self.protocols[-1]

    async def start(self, **options):
        server = await self.loop.create_server(self, "127.0.0.1", 0, **options)
        return server, server.sockets[0].getsockname()


def test_what_isinstance_says(loop, certificates):
    async def main():
        assert isinstance(loop, asyncio.AbstractEventLoop) and isinstance(loop, asyncio.BaseEventLoop)
        here = Listening(loop)
        server, address = await here.start()
        secure, secure_address = await here.start(ssl=certificates.server())
        assert isinstance(server, asyncio.Server) and isinstance(server, asyncio.AbstractServer)
        transport, _ = await loop.create_connection(Keeping, *address)
        tls, _ = await loop.create_connection(
            Keeping, *secure_address, ssl=certificates.client(), server_hostname="localhost"
        )
        await until(lambda: len(here.protocols) == 2 and all(protocol.transport for protocol in here.protocols))
        for one in (transport, tls, *(protocol.transport for protocol in here.protocols)):
            assert isinstance(one, asyncio.Transport)
            assert isinstance(one, asyncio.ReadTransport) and isinstance(one, asyncio.WriteTransport)
            assert not isinstance(one, asyncio.DatagramTransport)
        datagram, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        assert isinstance(datagram, asyncio.DatagramTransport)
        with pipe_pair() as (source, sink):
            reader, _ = await loop.connect_read_pipe(Keeping, source)
            writer, _ = await loop.connect_write_pipe(Keeping, sink)
            assert isinstance(reader, asyncio.ReadTransport) and isinstance(writer, asyncio.WriteTransport)
            assert not isinstance(reader, asyncio.WriteTransport)
            assert reader.get_extra_info("pipe") is source and writer.get_extra_info("pipe") is sink
            writer.close(), reader.close()
            await until(lambda: source.closed and sink.closed)
        child, _ = await loop.subprocess_exec(asyncio.SubprocessProtocol, "true")
        assert isinstance(child, asyncio.SubprocessTransport)
        await child._wait()
        child.close()
        for one in (transport, tls, datagram):
            one.close()
        await until(lambda: all(protocol.lost for protocol in here.protocols))
        server.close(), secure.close()

    run(loop, main())


def option_of_accepted(transport, level, name):
    return transport.get_extra_info("socket").getsockopt(level, name)


@since("keep_alive", "create_server")
@pytest.mark.parametrize("wanted", [True, False])
def test_server_with_keep_alive(loop, wanted):
    async def main():
        here = Listening(loop)
        server, address = await here.start(keep_alive=wanted)
        transport, _ = await loop.create_connection(Keeping, *address)
        await until(lambda: here.protocols and here.protocols[0].transport)
        found = option_of_accepted(here.protocols[0].transport, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert bool(found) == wanted
        transport.close()
        await until(lambda: here.protocols[0].lost)
        server.close()

    run(loop, main())


@pytest.mark.parametrize("reuse", [True, False])
def test_server_that_shares_its_port(loop, reuse):
    async def main():
        here = Listening(loop)
        server, address = await here.start(reuse_port=reuse)
        if reuse:
            (await loop.create_server(here, *address, reuse_port=True)).close()
        else:
            with pytest.raises(OSError):
                await loop.create_server(here, *address, reuse_port=True)
        server.close()

    run(loop, main())


@since("cleanup_socket", "create_unix_server")
@pytest.mark.parametrize("clean", [True, False])
def test_socket_file_is_removed(loop, tmp_path, clean):
    path = tmp_path / "socket"

    async def main():
        server = await loop.create_unix_server(Keeping, path, cleanup_socket=clean)
        assert path.exists()
        server.close()
        await server.wait_closed()

    run(loop, main())
    assert path.exists() != clean


@since("cleanup_socket", "create_unix_server")
def test_socket_file_of_somebody_else_stays(loop, tmp_path):
    path = tmp_path / "socket"

    async def main():
        server = await loop.create_unix_server(Keeping, path)
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            server.close()
            assert path.exists()

    run(loop, main())


def test_tls_with_negotiated_protocol(loop, certificates):
    server_context, client_context = certificates.server(), certificates.client()
    server_context.set_alpn_protocols(["h2", "http/1.1"])
    client_context.set_alpn_protocols(["http/1.1"])

    async def main():
        here = Listening(loop)
        server, address = await here.start(ssl=server_context)
        transport, _ = await loop.create_connection(Keeping, *address, ssl=client_context, server_hostname="localhost")
        await until(lambda: here.protocols and here.protocols[0].transport)
        for one in (transport, here.protocols[0].transport):
            found = one.get_extra_info("ssl_object")
            assert isinstance(found, ssl.SSLObject)
            assert found.selected_alpn_protocol() == "http/1.1"
            assert one.get_extra_info("cipher") == found.cipher()
            assert one.get_extra_info("sslcontext") in (server_context, client_context)
        assert transport.get_extra_info("peercert")["subject"] == ((("commonName", "localhost"),),)
        transport.close()
        await until(lambda: here.protocols[0].lost)
        server.close()

    run(loop, main())


# The API of servers.


def test_server_as_context_manager(loop):
    async def main():
        here = Listening(loop)
        server = await loop.create_server(here, "127.0.0.1", 0, start_serving=False)
        assert not server.is_serving()
        async with server:
            await server.start_serving()
            assert server.is_serving() and server.get_loop() is loop
            address = server.sockets[0].getsockname()
            serving = loop.create_task(server.serve_forever())
            transport, _ = await loop.create_connection(Keeping, *address)
            await until(lambda: here.protocols and here.protocols[0].transport)
            serving.cancel()
            transport.close()  # from 3.12.1 on a server waits for its connections
            with pytest.raises(asyncio.CancelledError):
                await serving
        assert not server.is_serving() and server.sockets == ()
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(Keeping, *address)
        await until(lambda: here.protocols[0].lost)

    run(loop, main())


def test_wait_closed_waits_for_what_the_running_python_says(loop):
    """Up to 3.12.0 for nothing much; since, for the connections."""

    async def waits(loop):
        here = Listening(loop)
        server, address = await here.start()
        transport, _ = await loop.create_connection(Keeping, *address)
        await until(lambda: here.protocols and here.protocols[0].transport)
        server.close()
        waiting = loop.create_task(server.wait_closed())
        for _ in range(20):
            await asyncio.sleep(0)
        waited = not waiting.done()
        transport.close()
        await waiting
        await until(lambda: here.protocols[0].lost)
        return waited

    other = asyncio.SelectorEventLoop()
    try:
        expected = run(other, waits(other))
    finally:
        other.close()
    assert run(loop, waits(loop)) == expected


@pytest.mark.skipif(not hasattr(asyncio.Server, "close_clients"), reason="since Python 3.13")
@pytest.mark.parametrize("way", ["close_clients", "abort_clients"])
def test_server_ends_its_connections(loop, way, certificates):
    async def main(context, client):
        here = Listening(loop)
        server, address = await here.start(ssl=context)
        name = "localhost" if client else None
        clients = [
            (await loop.create_connection(Keeping, *address, ssl=client, server_hostname=name))[1] for _ in range(5)
        ]
        await until(lambda: len(here.protocols) == 5 and all(protocol.transport for protocol in here.protocols))
        for protocol in here.protocols:
            protocol.transport.write(b"the last words")
        server.close()
        getattr(server, way)()
        await server.wait_closed()
        await until(lambda: all(protocol.lost for protocol in [*here.protocols, *clients]))
        if way == "close_clients":
            assert all(protocol.data == b"the last words" for protocol in clients)

    run(loop, main(None, None))
    run(loop, main(certificates.server(), certificates.client()))


# Tasks.


@pytest.mark.skipif(sys.version_info < (3, 14), reason="since Python 3.14")
def test_eager_start_of_one_task(loop):
    async def at_once():
        return 5

    async def main():
        assert loop.create_task(at_once(), eager_start=True).done()
        assert not loop.create_task(at_once(), eager_start=False).done()

    run(loop, main())


def test_every_method_of_a_loop_is_there(loop):
    """What asyncio's own loop has, with the same parameters; `ssl` objects and the like included."""
    for name, method in inspect.getmembers(asyncio.SelectorEventLoop, callable):
        if name.startswith("_"):
            continue
        ours = getattr(ioring.Loop, name, None)
        assert ours is not None, name
        try:
            theirs, found = inspect.signature(method), inspect.signature(ours)
        except ValueError:  # compiled, and says nothing of its parameters
            continue
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in found.parameters.values()):
            continue
        missing = set(theirs.parameters) - set(found.parameters)
        keywords = {name for name in missing if theirs.parameters[name].default is not inspect.Parameter.empty}
        assert not keywords, f"{name}: {keywords}"
