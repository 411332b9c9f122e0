"""More is sent than the loop has buffers for: everybody gets a share, whatever way of receiving it uses."""

import asyncio
import contextlib
import os
import random
import socket

import pytest

from running import run, turns, until

COUNT = 200
"""Connections: more than there are buffers."""

ROUNDS = 40

SPREAD_MAX = 4
"""How many pieces more than another a connection may have got, in so many rounds."""


RATIO_MAX = 1.8
"""How many times as many bytes as another. Pieces are not of one size, and the first and the last round are cut."""


class Uploads:
    """Connections whose other sides always have something to send.

    ``pieces`` counts what each has received, in pieces, ``octets`` in bytes.
    """

    def __init__(self, count=COUNT):
        self.count = count
        self.pieces, self.octets = [0] * count, [0] * count
        self.peers = {}
        self.going_on = True

    def pair(self, number):
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        self.peers[number] = there
        return here

    def refill(self, number):
        with contextlib.suppress(BlockingIOError):
            while self.going_on:
                self.peers[number].send(bytes(65536))

    def got(self, number, data):
        self.pieces[number] += 1
        self.octets[number] += len(data)
        self.refill(number)

    async def share(self):
        """Lets everybody begin, then counts for some rounds. The spread, and by how much bytes differ."""
        for number in range(self.count):
            self.refill(number)
        await until(lambda: min(self.pieces) > 1 or sum(self.pieces) > 30 * self.count)
        pieces, octets = self.pieces[:], self.octets[:]
        end = sum(pieces) + ROUNDS * self.count
        await until(lambda: sum(self.pieces) >= end)
        self.going_on = False
        pieces = [after - before for after, before in zip(self.pieces, pieces, strict=True)]
        octets = [after - before for after, before in zip(self.octets, octets, strict=True)]
        return max(pieces) - min(pieces), max(octets) / max(min(octets), 1)

    def close(self):
        for peer in self.peers.values():
            peer.close()


@pytest.fixture
def uploads():
    with contextlib.closing(Uploads()) as uploads:
        yield uploads


class Counting(asyncio.Protocol):
    def __init__(self, uploads, number):
        self.uploads = uploads
        self.number = number

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.uploads.got(self.number, data)


class Pausing(Counting):
    """Takes a pause after each piece."""

    def data_received(self, data):
        super().data_received(data)
        if self.uploads.going_on:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)


class Copying(asyncio.BufferedProtocol):
    """Takes what comes in pieces that are too small to be polled for."""

    def __init__(self, uploads, number):
        self.uploads = uploads
        self.number = number
        self.buffer = bytearray(65536)

    def get_buffer(self, hint):
        return self.buffer

    def buffer_updated(self, length):
        self.uploads.got(self.number, self.buffer[:length])


async def closed(transports, wait=5):
    for transport in transports:
        transport.abort()
    for _ in range(wait):
        await asyncio.sleep(0)


@pytest.mark.parametrize("protocol", [Counting, Pausing, Copying])
def test_protocols_share(loop, uploads, protocol):
    async def main():
        transports = []
        for number in range(COUNT):
            transport, _ = await loop.create_connection(
                lambda n=number: protocol(uploads, n), sock=uploads.pair(number)
            )
            transports.append(transport)
        spread, ratio = await uploads.share()
        assert spread <= SPREAD_MAX or protocol is not Pausing
        assert ratio < RATIO_MAX
        await closed(transports)

    run(loop, main())


@pytest.mark.parametrize("limit", [65536, 1 << 20])
def test_streams_share(loop, uploads, limit):
    async def handle(reader, number):
        while data := await reader.read(65536):
            uploads.got(number, data)

    async def main():
        writers, tasks = [], []
        for number in range(COUNT):
            reader, writer = await asyncio.open_connection(sock=uploads.pair(number), limit=limit)
            writers.append(writer)
            tasks.append(asyncio.create_task(handle(reader, number)))
        _, ratio = await uploads.share()
        assert ratio < RATIO_MAX
        await closed([writer.transport for writer in writers])
        await asyncio.gather(*tasks)

    run(loop, main())


def test_sock_recv_shares_with_streams(loop, uploads):
    """Half of them are uploads to tasks that call sock_recv()."""

    async def receive(sock, number):
        while data := await loop.sock_recv(sock, 65536):
            uploads.got(number, data)

    async def main():
        transports, tasks, socks = [], [], []
        for number in range(COUNT):
            sock = uploads.pair(number)
            if number % 2:
                socks.append(sock)
                tasks.append(asyncio.create_task(receive(sock, number)))
            else:
                transport, _ = await loop.create_connection(lambda n=number: Pausing(uploads, n), sock=sock)
                transports.append(transport)
        _, ratio = await uploads.share()
        assert ratio < RATIO_MAX
        await closed(transports)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for _ in range(5):
            await asyncio.sleep(0)
        for sock in socks:
            sock.close()

    run(loop, main())


def test_pipes_share_with_streams(loop, uploads):
    class Pipes(Uploads):
        def __init__(self):
            super().__init__()
            self.writing = {}

        def refill(self, number):
            if number not in self.writing:
                super().refill(number)
                return
            with contextlib.suppress(BlockingIOError):
                while self.going_on:
                    os.write(self.writing[number], bytes(65536))

    async def main():
        uploads = Pipes()
        transports = []
        for number in range(COUNT):
            if number % 2:
                reading, uploads.writing[number] = os.pipe()
                os.set_blocking(uploads.writing[number], False)
                file = os.fdopen(reading, "rb", 0)
                transport, _ = await loop.connect_read_pipe(lambda n=number: Counting(uploads, n), file)
            else:
                transport, _ = await loop.create_connection(
                    lambda n=number: Pausing(uploads, n), sock=uploads.pair(number)
                )
            transports.append(transport)
        _, ratio = await uploads.share()
        assert ratio < 2  # a pipe holds 64 KiB, which is a little less than a buffer
        for transport in transports:
            transport.close()
        for _ in range(5):
            await asyncio.sleep(0)
        uploads.close()
        for writing in uploads.writing.values():
            os.close(writing)

    run(loop, main())


def test_tls_shares(loop, certificates):
    """Both sides are on this loop, so both receive."""
    count = 90
    octets = [0] * count
    senders = []

    class Sender(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

    class Receiver(Counting):
        def data_received(self, data):
            octets[self.number] += len(data)
            sender = senders[self.number].transport
            if sender.get_write_buffer_size() < 400_000:
                sender.write(bytes(300_000))

    async def main():
        transports = []
        for number in range(count):
            here, there = socket.socketpair()
            accepting = loop.connect_accepted_socket(
                lambda n=number: Receiver(None, n), here, ssl=certificates.server()
            )
            connecting = loop.create_connection(
                Sender, sock=there, ssl=certificates.client(), server_hostname="localhost"
            )
            (one, _), (two, sender) = await asyncio.gather(accepting, connecting)
            senders.append(sender)
            transports += [one, two]
        for sender in senders:
            sender.transport.write(bytes(900_000))
        await until(lambda: sum(octets) > count * 1_000_000)
        before = octets[:]
        await until(lambda: sum(octets) > count * 3_000_000)
        shares = [after - begun for after, begun in zip(octets, before, strict=True)]
        assert max(shares) < 2 * min(shares), (min(shares), max(shares))
        await closed(transports)

    run(loop, main())


def test_a_question_is_answered_meanwhile(loop, uploads):
    """Of a connection that is new, and then of the same one: it does not wait behind all the uploads."""
    answered = []

    class Asked(asyncio.Protocol):
        def data_received(self, data):
            answered.append(data)

    async def ask(peer):
        begun = loop.statistics()["turns"]
        peer.send(b"question")
        await until(lambda: answered)
        answered.clear()
        return loop.statistics()["turns"] - begun

    async def main():
        transports = []
        for number in range(COUNT):
            transport, _ = await loop.create_connection(lambda n=number: Pausing(uploads, n), sock=uploads.pair(number))
            transports.append(transport)
            uploads.refill(number)
        await until(lambda: sum(uploads.pieces) > 5 * COUNT)
        assert loop.statistics()["starved"] > 0
        here, there = socket.socketpair()
        with there:
            transport, _ = await loop.create_connection(Asked, sock=here)
            for _ in range(10):
                assert await ask(there) <= 5
        uploads.going_on = False
        await closed([*transports, transport])

    run(loop, main())


def test_receives_are_multishot_again_when_buffers_suffice(loop, uploads):
    if loop._receive_once:
        pytest.skip("no receive is multishot on this kernel")

    async def main():
        transports = []
        for number in range(COUNT):
            transport, _ = await loop.create_connection(lambda n=number: Pausing(uploads, n), sock=uploads.pair(number))
            transports.append(transport)
        await uploads.share()
        assert loop.statistics()["starved"] > 0
        for _ in range(60):
            await asyncio.sleep(0)

        peers = list(uploads.peers.values())

        # The receives that are in flight are for one buffer. Those that follow are not; COUNT messages at once are more
        # than there are buffers, and so they come in two halves.
        async def half(peers):
            before = sum(uploads.pieces)
            for peer in peers:
                peer.send(b"x")
            await until(lambda: sum(uploads.pieces) == before + len(peers))

        for _ in range(2):
            await half(peers[:100])
            await half(peers[100:])
        submitted = loop.statistics()["submissions"]
        for _ in range(5):
            await half(peers[:100])
            await half(peers[100:])
        assert loop.statistics()["submissions"] == submitted
        await closed(transports)

    run(loop, main())


def test_nothing_is_lost_or_out_of_order(loop):
    """Connections that pause, resume, end and are closed while they wait for buffers."""
    chance = random.Random(7)
    contents = [chance.randbytes(chance.randrange(600_000)) for _ in range(COUNT)]

    class Whimsical(asyncio.Protocol):
        def __init__(self, number):
            self.number = number
            self.received = bytearray()
            self.over = False

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            assert not self.over
            self.received += data
            what = chance.random()
            if self.number % 10 == 9 and what < 0.2:
                self.transport.abort()
            elif what < 0.6:
                self.transport.pause_reading()
                if what < 0.1:
                    self.transport.resume_reading()
                    self.transport.pause_reading()
                loop.call_later(chance.random() / 1000, self.transport.resume_reading)

        def connection_lost(self, exception):
            self.over = True

    async def main():
        protocols, peers = [], []
        for number in range(COUNT):
            here, there = socket.socketpair()
            there.setblocking(False)
            peers.append(there)
            _, protocol = await loop.create_connection(lambda n=number: Whimsical(n), sock=here)
            protocols.append(protocol)

        async def send(number):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await loop.sock_sendall(peers[number], contents[number])
            peers[number].close()

        sends = [asyncio.create_task(send(number)) for number in range(COUNT)]
        await asyncio.gather(*sends)
        await until(lambda: all(protocol.over for protocol in protocols))
        for number, protocol in enumerate(protocols):
            if number % 10 == 9:
                assert contents[number].startswith(protocol.received)
            else:
                assert protocol.received == contents[number]

    run(loop, main())
    turns(loop)


def test_loop_that_is_closed_while_connections_wait(loop, uploads):
    transports = []

    async def main():
        for number in range(COUNT):
            transport, _ = await loop.create_connection(lambda n=number: Pausing(uploads, n), sock=uploads.pair(number))
            transports.append(transport)
            uploads.refill(number)
        await until(lambda: sum(uploads.pieces) > 5 * COUNT)
        for transport in transports:
            transport.abort()

    run(loop, main())
    turns(loop)
    uploads.going_on = False
