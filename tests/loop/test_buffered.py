"""Protocols that bring their own buffer, above all with much at a time, when the loop receives in another way."""

import asyncio
import contextlib
import random
import socket
import time

import pytest

from rings import RESET, WAIT_S
from running import connected, run, unclosed, until

BIG = 65536


class Collector(asyncio.BufferedProtocol):
    """Keeps what it gets. All of them share one buffer, as a server with many connections may."""

    buffer = bytearray(BIG)

    def __init__(self):
        self.received = bytearray()
        self.sizes = []
        self.ended = False
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        self.received += self.buffer[:count]
        self.sizes.append(count)

    def eof_received(self):
        self.ended = True

    def connection_lost(self, exception):
        self.lost.set_result(exception)


def send(peer, data):
    return asyncio.get_running_loop().run_in_executor(None, peer.sendall, data)


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def test_much_and_then_little_and_then_much(loop):
    """The way of receiving changes between them, and no byte is lost or doubled."""

    async def main():
        async with connected(Collector) as (protocol, peer):
            parts = [noise(size) for size in [BIG * 30, *[100] * 60, BIG * 30, *[100] * 20, 1]]
            expected = 0
            for part in parts:
                expected += len(part)
                await send(peer, part)
                await until(lambda: len(protocol.received) >= expected)  # noqa: B023
            assert protocol.received == b"".join(parts)
            assert max(protocol.sizes) > 32768

    run(loop, main())


def test_two_connections_share_a_buffer(loop):
    async def main():
        async with connected(Collector) as (one, one_peer), connected(Collector) as (two, two_peer):
            data = [noise(BIG * 40, 1), noise(BIG * 40, 2)]
            await asyncio.gather(send(one_peer, data[0]), send(two_peer, data[1]))
            await until(lambda: len(one.received) == len(two.received) == BIG * 40)
            assert [one.received, two.received] == data

    run(loop, main())


def test_pause(loop):
    """Nothing comes while reading is paused, and the rest, with the end, when it goes on."""

    class Pausing(Collector):
        def buffer_updated(self, count):
            super().buffer_updated(count)
            if len(self.received) > self.limit:
                self.transport.pause_reading()

        limit = 5 * BIG

    async def main():
        async with connected(Pausing) as (protocol, peer):
            data = noise(BIG * 100)
            sending = send(peer, data)
            while len(protocol.received) < len(data):
                await until(lambda: not protocol.transport.is_reading() or len(protocol.received) == len(data))
                before = len(protocol.received)
                await asyncio.sleep(0.01)
                assert len(protocol.received) == before
                protocol.limit += 20 * BIG
                protocol.transport.resume_reading()
            await sending
            assert protocol.received == data
            protocol.transport.pause_reading()
            peer.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.01)
            assert not protocol.ended
            protocol.transport.resume_reading()
            await protocol.lost
            assert protocol.ended

    run(loop, main())


def test_end_and_reset(loop):
    async def main(end):
        async with connected(Collector) as (protocol, peer):
            await send(peer, noise(BIG * 20))
            await until(lambda: len(protocol.received) == BIG * 20)
            if end == "reset":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            outcome = await protocol.lost
            assert protocol.ended == (end == "end")
            assert isinstance(outcome, ConnectionResetError) == (end == "reset")

    run(loop, main("end"))
    run(loop, main("reset"))


def test_end_right_behind_the_last_bytes(loop):
    """Both are there before the loop looks."""

    async def main():
        async with connected(Collector) as (protocol, peer):
            await send(peer, noise(BIG * 20))
            await until(lambda: len(protocol.received) == BIG * 20)
            await asyncio.sleep(0.01)
            peer.sendall(b"last")
            peer.shutdown(socket.SHUT_WR)
            time.sleep(0.01)  # noqa: ASYNC251
            await protocol.lost
            assert protocol.ended
            assert protocol.received[-4:] == b"last"

    run(loop, main())


def test_end_that_keeps_open(loop):
    class Answering(Collector):
        def eof_received(self):
            self.ended = True
            return True

    async def main():
        async with connected(Answering) as (protocol, peer):
            await send(peer, noise(BIG * 20))
            await until(lambda: len(protocol.received) == BIG * 20)
            peer.shutdown(socket.SHUT_WR)
            await until(lambda: protocol.ended)
            turns = loop.statistics()["turns"]
            await asyncio.sleep(0.05)
            assert loop.statistics()["turns"] - turns < 20  # it does not spin at the end
            protocol.transport.write(b"all of it")
            protocol.transport.close()
            answer = await loop.run_in_executor(None, peer.recv, 100)
            assert answer == b"all of it"
            await protocol.lost

    run(loop, main())


def test_another_protocol(loop):
    """One that takes bytes goes on where the buffered one was."""

    class Plain(asyncio.Protocol):
        def __init__(self):
            self.received = bytearray()

        def data_received(self, data):
            self.received += data

    class Switching(Collector):
        def buffer_updated(self, count):
            super().buffer_updated(count)
            if len(self.received) >= 10 * BIG:
                self.transport.set_protocol(plain)

    plain = Plain()

    async def main():
        async with connected(Switching) as (protocol, peer):
            data = noise(BIG * 50)
            await send(peer, data)
            await until(lambda: len(protocol.received) + len(plain.received) == len(data))
            assert protocol.received + plain.received == data
            protocol.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("callback", ["get_buffer", "buffer_updated"])
@pytest.mark.parametrize("after", [0, 20 * BIG])
def test_callback_raises(loop, callback, after):
    class Failing(Collector):
        def get_buffer(self, sizehint):
            self.check("get_buffer")
            return super().get_buffer(sizehint)

        def buffer_updated(self, count):
            super().buffer_updated(count)
            self.check("buffer_updated")

        def check(self, name):
            if name == callback and len(self.received) > after:
                raise ZeroDivisionError

    async def main():
        told = []
        loop.set_exception_handler(lambda loop, context: told.append(context))
        async with connected(Failing) as (protocol, peer):
            with contextlib.suppress(ConnectionError):
                await send(peer, noise(after + 10 * BIG))
            outcome = await protocol.lost
            assert isinstance(outcome, ZeroDivisionError)
            assert [callback in context["message"] for context in told] == [True]

    run(loop, main())


def test_urgent_data_in_between(loop):
    """recv(2) ends at it, whatever stands behind."""

    async def main():
        async with connected(Collector) as (protocol, peer):
            await send(peer, noise(BIG * 20))
            await until(lambda: len(protocol.received) == BIG * 20)
            for _ in range(20):
                protocol.received.clear()
                peer.sendall(b"before")
                peer.send(b"!", socket.MSG_OOB)
                peer.sendall(b"behind")
                await until(lambda: protocol.received.endswith(b"behind"))
                assert protocol.received.replace(b"!", b"") == b"beforebehind"

    run(loop, main())


def test_descriptors_sent_along(loop, tmp_path):
    """On a Unix socket recv(2) ends at them, whatever stands behind."""

    async def main():
        here, there = socket.socketpair()
        _, protocol = await loop.create_connection(Collector, sock=here)
        with there:
            there.settimeout(WAIT_S)
            await loop.run_in_executor(None, there.sendall, bytes(BIG * 20))
            await until(lambda: len(protocol.received) == BIG * 20)
            for _ in range(20):
                protocol.received.clear()
                there.sendall(b"before")
                socket.send_fds(there, [b"with"], [there.fileno()])
                there.sendall(b"behind")
                await until(lambda: len(protocol.received) == 16)
        await protocol.lost

    run(loop, main())


def test_empty_buffer(loop):
    class Empty(Collector):
        def get_buffer(self, sizehint):
            return self.buffer if len(self.received) < 20 * BIG else bytearray()

    async def main():
        loop.set_exception_handler(lambda loop, context: None)
        async with connected(Empty) as (protocol, peer):
            with contextlib.suppress(ConnectionError):
                await send(peer, noise(40 * BIG))
            with pytest.raises(RuntimeError, match="get_buffer"):
                raise await protocol.lost

    run(loop, main())


@pytest.mark.parametrize("how", ["close", "abort"])
def test_end_on_this_side(loop, how):
    async def main():
        async with connected(Collector) as (protocol, peer):
            await send(peer, noise(BIG * 20))
            await until(lambda: len(protocol.received) == BIG * 20)
            getattr(protocol.transport, how)()
            assert await protocol.lost is None
            assert await loop.run_in_executor(None, peer.recv, 1) == b""

    run(loop, main())


def test_loop_is_closed_while_it_waits_for_more(loop):
    async def main():
        server = await loop.create_server(Collector, "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname())
        await send(peer, noise(BIG * 20))
        await asyncio.sleep(0.01)
        return peer

    with unclosed():
        peer = run(loop, main())
        loop.close()
    with peer, contextlib.suppress(ConnectionResetError):
        peer.settimeout(WAIT_S)
        assert peer.recv(1) == b""
