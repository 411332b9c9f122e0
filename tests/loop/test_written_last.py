"""What is written leaves at the end of the loop's turn. Who aborts before that, or asks what is left, cannot tell."""

import asyncio
import os
import random
import socket

import pytest

from rings import WAIT_S, stream_pair
from running import run, turns, until
from tls_peer import Peer


class Recorder(asyncio.Protocol):
    def __init__(self):
        self.lost = []

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exception):
        self.lost.append(exception)


async def received(loop, sock):
    """Everything up to the end."""
    sock.setblocking(False)
    got = bytearray()
    while True:
        try:
            piece = await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), WAIT_S)
        except ConnectionResetError:
            return bytes(got)
        if not piece:
            return bytes(got)
        got += piece


@pytest.mark.parametrize(
    "pieces", [[b"once"], [b"a", b"b" * 5000, b"c"], [b"x" * 20_000] * 3], ids=["one", "some", "more"]
)
def test_stream_that_is_written_to_and_aborted(loop, pieces):
    async def main():
        with stream_pair() as (ours, theirs):
            transport, protocol = await loop.create_connection(Recorder, sock=ours)
            for piece in pieces:
                transport.write(piece)
            transport.abort()
            assert transport.get_write_buffer_size() == 0 and transport.is_closing()
            assert await received(loop, theirs) == b"".join(pieces)
            assert protocol.lost == [None]

    run(loop, main())


def test_accepted_stream_that_is_written_to_and_aborted_when_it_is_made(loop):
    class Refusing(asyncio.Protocol):
        def connection_made(self, transport):
            transport.write(b"400")
            transport.abort()

    async def main():
        server = await loop.create_server(Refusing, "127.0.0.1", 0)
        clients = [socket.create_connection(server.sockets[0].getsockname(), WAIT_S) for _ in range(20)]
        for client in clients:
            with client:
                assert await received(loop, client) == b"400"
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_protocol_that_fails_after_it_has_written(loop):
    loop.set_exception_handler(lambda *_: None)

    class Failing(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(b"an answer to " + data)
            raise ValueError("after that")

    async def main():
        with stream_pair() as (ours, theirs):
            await loop.create_connection(Failing, sock=ours)
            theirs.send(b"this")
            assert await received(loop, theirs) == b"an answer to this"

    run(loop, main())


def test_what_finds_no_room_is_dropped_by_abort(loop):
    async def main():
        with stream_pair() as (ours, theirs):
            transport, protocol = await loop.create_connection(Recorder, sock=ours)
            data = random.Random(1).randbytes(30_000)
            for _ in range(300):
                transport.write(data)
            transport.abort()
            got = await received(loop, theirs)
            assert data < got < data * 300 and (data * 300).startswith(got)
            assert protocol.lost == [None]

    run(loop, main())


def test_behind_a_send_that_is_under_way_nothing_is_sent_by_abort(loop):
    async def main():
        with stream_pair() as (ours, theirs):
            transport, _ = await loop.create_connection(Recorder, sock=ours)
            transport.write(b"1" * 2_000_000)
            await asyncio.sleep(0.01)
            assert transport.get_write_buffer_size()
            transport.write(b"2")
            transport.abort()
            got = await received(loop, theirs)
            assert got and set(got) == {ord("1")}

    run(loop, main())


@pytest.mark.parametrize("pieces", [[b"once"], [b"x" * 20_000] * 3], ids=["one", "some"])
def test_tls_that_is_written_to_and_aborted(loop, certificates, pieces):
    async def main():
        made = loop.create_future()

        class Aborting(Recorder):
            def connection_made(self, transport):
                for piece in pieces:
                    transport.write(piece)
                transport.abort()
                made.set_result(self)

        server = await loop.create_server(Aborting, "127.0.0.1", 0, ssl=certificates.server())
        sock = socket.socket()
        sock.setblocking(False)
        with sock:
            await loop.sock_connect(sock, server.sockets[0].getsockname())
            peer = await Peer(loop, sock, certificates.client()).handshake()
            got = bytearray()
            while len(got) < sum(map(len, pieces)):
                got += await asyncio.wait_for(peer.recv(), WAIT_S)
            assert got == b"".join(pieces)
        await made
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_pipe_that_is_written_to_and_aborted(loop):
    async def main():
        reading, writing = os.pipe()
        transport, protocol = await loop.connect_write_pipe(Recorder, os.fdopen(writing, "wb", 0))
        for piece in (b"a", b"b" * 5000, b"c"):
            transport.write(piece)
        transport.abort()
        await until(lambda: protocol.lost)
        with os.fdopen(reading, "rb", 0) as end:
            os.set_blocking(reading, False)
            assert end.read(10_000) == b"a" + b"b" * 5000 + b"c"
            assert end.read(1) == b""

    run(loop, main())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_datagrams_that_are_sent_before_abort(loop, family):
    async def main():
        if family == socket.AF_UNIX:
            ours, theirs = socket.socketpair(family, socket.SOCK_DGRAM)
        else:
            theirs = socket.socket(family, socket.SOCK_DGRAM)
            theirs.bind(("127.0.0.1", 0))
            ours = socket.socket(family, socket.SOCK_DGRAM)
            ours.connect(theirs.getsockname())
        with theirs:
            theirs.setblocking(False)
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=ours)
            for number in range(5):
                transport.sendto(b"%d" % number)
            transport.abort()
            assert transport.get_write_buffer_size() == 0
            got = [await asyncio.wait_for(loop.sock_recv(theirs, 100), WAIT_S) for _ in range(5)]
            assert got == [b"%d" % number for number in range(5)]

    run(loop, main())


# How much is left.


def test_write_buffer_is_empty_when_the_socket_has_taken_everything(loop):
    async def main():
        with stream_pair() as (ours, theirs):
            theirs.setblocking(False)
            transport, _ = await loop.create_connection(Recorder, sock=ours)
            sent = b""
            for size in (1, 1000, 100):
                transport.write(b"x" * size)
                transport.write(b"y" * size)
                sent += b"x" * size + b"y" * size
                assert transport.get_write_buffer_size() == 0
            assert theirs.recv(10_000) == sent
            transport.write(b"after that")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert theirs.recv(100) == b"after that"
            transport.close()

    run(loop, main())


def test_write_buffer_holds_what_the_socket_has_not_taken(loop):
    async def main():
        with stream_pair() as (ours, theirs):
            theirs.setblocking(False)
            transport, protocol = await loop.create_connection(Recorder, sock=ours)
            transport.set_write_buffer_limits(high=1 << 30)
            data = random.Random(2).randbytes(20_000)
            for _ in range(100):
                transport.write(data)
            left = transport.get_write_buffer_size()
            assert 0 < left < 100 * len(data)
            assert transport.get_write_buffer_size() == left
            taken = theirs.recv(1 << 24)
            assert len(taken) == 100 * len(data) - left
            transport.write(b"the end")
            transport.close()
            assert taken + await received(loop, theirs) == data * 100 + b"the end"
            assert protocol.lost == [None]

    run(loop, main())


def test_write_buffer_of_tls_is_empty_when_the_socket_has_taken_everything(loop, certificates):
    async def main():
        with stream_pair() as (ours, theirs):
            theirs.setblocking(False)
            connecting = loop.create_task(
                loop.create_connection(Recorder, sock=ours, ssl=certificates.client(), server_hostname="localhost")
            )
            peer = await Peer(loop, theirs, certificates.server(), server_side=True).handshake()
            transport, _ = await connecting
            transport.write(b"hello")
            assert transport.get_write_buffer_size() == 0
            assert await asyncio.wait_for(peer.recv(), WAIT_S) == b"hello"
            transport.abort()
            await asyncio.sleep(0)

    run(loop, main())


def test_asking_while_the_protocol_is_paused_does_not_resume_it(loop):
    class Paused(Recorder):
        paused = 0

        def pause_writing(self):
            self.paused += 1
            self.seen = self.transport.get_write_buffer_size()

        def resume_writing(self):
            raise AssertionError("nothing has left yet")

    async def main():
        with stream_pair() as (ours, _):
            transport, protocol = await loop.create_connection(Paused, sock=ours)
            transport.set_write_buffer_limits(high=1000)
            for _ in range(3):
                transport.write(b"x" * 600)
            assert protocol.paused == 1 and protocol.seen == 1200
            assert transport.get_write_buffer_size() == 1800
            transport.abort()
            await asyncio.sleep(0)

    run(loop, main())


# Very many pieces.


@pytest.mark.parametrize("room", [4096, 200_000])
def test_many_pieces_arrive_whole_and_in_order(loop, room):
    """More than one request takes (1024), and a peer that takes a few bytes of them at a time."""
    dice = random.Random(room)
    pieces = [dice.randbytes(dice.choice([1, 1, 7, 100, 3000])) for _ in range(6000)]

    async def main():
        with stream_pair() as (ours, theirs):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
            theirs.setblocking(False)
            transport, protocol = await loop.create_connection(Recorder, sock=ours)
            for piece in pieces:
                transport.write(piece)
            transport.close()
            got = bytearray()
            while piece := await asyncio.wait_for(loop.sock_recv(theirs, dice.choice([1, 500, 100_000])), WAIT_S):
                got += piece
                if dice.random() < 0.2:
                    await asyncio.sleep(0)
            assert bytes(got) == b"".join(pieces)
            assert protocol.lost == [None]

    run(loop, main())
    turns(loop)
