"""pyzmq's asyncio sockets, which watch ZeroMQ's descriptor by add_reader."""

import asyncio
import contextlib
import os

import pytest

pytestmark = pytest.mark.no_sanitizer

zmq = pytest.importorskip("zmq", reason="pyzmq is not installed")
zmq_asyncio = pytest.importorskip("zmq.asyncio")


@contextlib.contextmanager
def sockets(first, second, transport="tcp"):
    """Two sockets, the second connected to the first."""
    with zmq_asyncio.Context() as context, context.socket(first) as here, context.socket(second) as there:
        for socket in (here, there):
            socket.linger = 0
        if transport == "tcp":
            address = f"tcp://127.0.0.1:{here.bind_to_random_port('tcp://127.0.0.1')}"
        else:
            address = "inproc://here"
            here.bind(address)
        if second == zmq.SUB:
            there.subscribe(b"")
        there.connect(address)
        yield here, there


@pytest.mark.parametrize("transport", ["tcp", "inproc"])
async def test_request_and_reply(transport):
    with sockets(zmq.REP, zmq.REQ, transport) as (server, client):

        async def serve():
            while True:
                await server.send(bytes(reversed(await server.recv())))

        serving = asyncio.create_task(serve())
        for number in range(500):
            await client.send(b"word %d" % number)
            assert await client.recv() == bytes(reversed(b"word %d" % number))
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def test_many_messages():
    with sockets(zmq.PULL, zmq.PUSH) as (pull, push):

        async def send():
            for number in range(10_000):
                await push.send(b"%d" % number)

        sending = asyncio.create_task(send())
        assert [int(await pull.recv()) for _ in range(10_000)] == list(range(10_000))
        await sending


async def test_large_messages_in_parts():
    with sockets(zmq.PULL, zmq.PUSH) as (pull, push):
        parts = [os.urandom(5_000_000), b"", os.urandom(10)]
        await push.send_multipart(parts)
        assert await pull.recv_multipart() == parts


async def test_publish_and_subscribe():
    with sockets(zmq.XPUB, zmq.SUB) as (publisher, subscriber):
        assert await publisher.recv() == b"\1"  # the subscription has arrived
        for number in range(500):
            await publisher.send(b"news %d" % number)
        assert [await subscriber.recv() for _ in range(500)] == [b"news %d" % number for number in range(500)]


async def test_time_limit():
    with sockets(zmq.PULL, zmq.PUSH) as (pull, push):
        assert await pull.poll(20) == 0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pull.recv(), 0.02)
        await push.send(b"late")
        assert await pull.recv() == b"late"


async def test_poller():
    with sockets(zmq.PULL, zmq.PUSH) as (pull, push):
        poller = zmq_asyncio.Poller()
        poller.register(pull, zmq.POLLIN)
        polling = asyncio.ensure_future(poller.poll(10_000))
        await push.send(b"x")
        assert dict(await polling) == {pull: zmq.POLLIN}
        assert await pull.recv() == b"x"
