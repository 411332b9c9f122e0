"""Memory that is given to a sock_* call is the caller's again when the call is over, also if its task is kept."""

import asyncio
import gc
import socket
import weakref

import pytest

from rings import WAIT_S, resizable, stream_pair
from running import run, until

# What each call is given: the socket, the other end, and the memory.
CALLS = {
    "sock_recv_into": lambda loop, sock, memory: loop.sock_recv_into(sock, memory),
    "sock_recvfrom_into": lambda loop, sock, memory: loop.sock_recvfrom_into(sock, memory),
    "sock_sendall": lambda loop, sock, memory: loop.sock_sendall(sock, memory),
    "sock_sendto": lambda loop, sock, memory: loop.sock_sendto(sock, memory, sock.getpeername()),
}
RECEIVING = ["sock_recv_into", "sock_recvfrom_into"]
BIG = 8_000_000


@pytest.fixture
def ends(request):
    kind = socket.SOCK_DGRAM if request.getfixturevalue("call") == "sock_sendto" else socket.SOCK_STREAM
    if kind == socket.SOCK_DGRAM:
        here, there = socket.socket(type=kind), socket.socket(type=kind)
        there.bind(("127.0.0.1", 0))
        here.connect(there.getsockname())
    else:
        here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        yield here, there


@pytest.mark.parametrize("waited", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_free_when_the_call_has_succeeded(loop, call, ends, waited):
    async def main():
        memory = bytearray(b"some bytes")
        if call in RECEIVING and not waited:
            ends[1].send(b"there already")
        task = loop.create_task(CALLS[call](loop, ends[0], memory))
        await asyncio.sleep(0.01)
        if call in RECEIVING and waited:
            assert not resizable(memory)
            ends[1].send(b"later")
        await asyncio.wait_for(task, WAIT_S)
        assert resizable(memory)
        return task

    run(loop, main())


@pytest.mark.parametrize("call", RECEIVING)
def test_free_when_the_call_was_cancelled(loop, call, ends):
    async def main():
        memory = bytearray(100)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.01):
                await CALLS[call](loop, ends[0], memory)
        await until(lambda: resizable(memory))
        task = loop.create_task(CALLS[call](loop, ends[0], memory))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: resizable(memory))
        ends[1].send(b"for the next one")
        assert await asyncio.wait_for(loop.sock_recv(ends[0], 100), WAIT_S) == b"for the next one"
        return caught, task

    run(loop, main())


@pytest.mark.parametrize("call", ["sock_sendall"])
def test_free_when_sending_was_cancelled(loop, call, ends):
    async def main():
        memory = bytearray(BIG)
        task = loop.create_task(CALLS[call](loop, ends[0], memory))
        await asyncio.sleep(0.01)
        assert not resizable(memory)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: resizable(memory))

    run(loop, main())


@pytest.mark.parametrize("call", ["sock_recv_into", "sock_recvfrom_into", "sock_sendall"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_free_when_the_call_has_failed(loop, call, ends, when):
    async def main():
        memory = bytearray(BIG)
        if when == "before":
            ends[0].close()
        task = loop.create_task(CALLS[call](loop, ends[0], memory))
        await asyncio.sleep(0.01)
        if when == "meanwhile":
            ends[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1] + [0] * 7))
            if call in RECEIVING:
                ends[0].send(b"nobody reads it")  # so that a Unix socket's end is a reset
            ends[1].close()
        with pytest.raises(OSError):
            await asyncio.wait_for(task, WAIT_S)
        assert resizable(memory)
        return task

    run(loop, main())


@pytest.mark.parametrize("call", CALLS)
def test_free_when_the_call_was_never_awaited(loop, call, ends):
    memory = bytearray(100)
    coroutine = CALLS[call](loop, ends[0], memory)
    coroutine.close()
    assert resizable(memory)


@pytest.mark.parametrize("call", ["sock_recv_into"])
def test_memory_belongs_to_the_kernel_until_it_is_done(loop, call, ends):
    async def main():
        memory = bytearray(100)
        request = CALLS[call](loop, ends[0], memory)
        request.send(None)
        await asyncio.sleep(0.01)
        request.close()
        assert not resizable(memory)  # nobody has told the kernel yet
        return memory, request

    memory, request = run(loop, main())
    loop.close()
    del request
    gc.collect()
    assert resizable(memory)


def test_what_a_call_has_received_does_not_stay_with_its_task(loop):
    class Data(bytearray):
        pass

    async def main():
        with stream_pair() as (here, there):
            here.setblocking(False)
            memory = Data(100)
            task = loop.create_task(loop.sock_recv_into(here, memory))
            there.send(b"x")
            await task
            reference = weakref.ref(memory)
            del memory
            gc.collect()
            assert reference() is None
            return task

    run(loop, main())
