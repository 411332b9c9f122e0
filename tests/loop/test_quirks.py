"""What some kernels get wrong: whether it is found, and loops on such a kernel.

In the runs as if on kernel 6.12 all loops take it for one: see conftest.py.
"""

import asyncio
import functools
import random
import resource
import socket
import threading

import pytest

import ioring
from ioring import quirks
from rings import RESET, WAIT_S, as_root, python
from running import connected, run, until


@pytest.fixture
def not_known(monkeypatch):
    monkeypatch.setattr(quirks, "_found", functools.cache(quirks._try))


@pytest.fixture(params=["as found", "once"])
def loop(request, monkeypatch):
    """A loop that receives as suits this kernel, and one that does as on a kernel with the fault."""
    if request.param == "once":
        monkeypatch.setattr("ioring.loop.multishot_misses_ends", lambda: True)
    loop = ioring.Loop()
    assert loop._receive_once or request.param == "as found"
    yield loop
    loop.close()


class Silent(quirks.Ring):
    """A ring on a kernel with the fault."""

    def wait_cqe(self, timeout=None):
        cqe = super().wait_cqe(timeout)
        if not cqe.more:
            raise TimeoutError
        return cqe


def test_fault_is_found(not_known, monkeypatch):
    monkeypatch.setattr(quirks, "Ring", Silent)
    assert quirks.multishot_misses_ends() is True


@pytest.mark.parametrize("silent", [0, 1], ids=["of Unix sockets", "of TCP"])
def test_fault_of_one_kind_is_found(not_known, monkeypatch, silent):
    kinds = [ioring.Ring, ioring.Ring]
    kinds[silent] = Silent

    def make(entries, flags):
        return kinds.pop(0)(entries, flags=flags)

    monkeypatch.setattr(quirks, "Ring", make)
    assert quirks.multishot_misses_ends() is True


def test_answer_is_kept(not_known, monkeypatch):
    first = quirks.multishot_misses_ends()
    monkeypatch.setattr(quirks, "_misses", None)
    assert quirks.multishot_misses_ends() is first


def test_fault_is_supposed_while_nothing_can_be_tried(not_known, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert quirks.multishot_misses_ends() is True
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    monkeypatch.setattr(quirks, "_misses", lambda *ends: [end.close() for end in ends if end] and False)
    assert quirks.multishot_misses_ends() is False


@as_root
def test_without_a_network():
    said = python(
        """
import ctypes
if ctypes.CDLL(None).unshare(0x40000000):
    print("None")
else:
    from ioring import quirks
    try:
        quirks._connection()[0].close()
    except AttributeError:
        print(quirks._connection()[0])
    assert quirks.multishot_misses_ends() in (False, True)
    Loop().close()
"""
    )
    assert said == "None\n"


class Received(asyncio.Protocol):
    def __init__(self):
        self.data = b""
        self.ended = False
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data

    def eof_received(self):
        self.ended = True

    def connection_lost(self, exception):
        self.lost.set_result(exception)


def path_of(family, folder, number):
    return str(folder / str(number)) if family == "unix" else None


@pytest.mark.parametrize("family", ["unix", "tcp"])
@pytest.mark.parametrize("end", ["close", "shutdown", "reset"])
def test_end_right_behind_data(loop, family, end, tmp_path):
    async def main():
        for number in range(20):
            async with connected(Received, path_of(family, tmp_path, number)) as (protocol, client):
                await asyncio.sleep(0)
                if end == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.sendall(b"data")
                if end == "shutdown":
                    client.shutdown(socket.SHUT_WR)
                else:
                    client.close()
                await asyncio.wait_for(protocol.lost, WAIT_S)
            if end != "reset":
                assert (protocol.data, protocol.ended, protocol.lost.result()) == (b"data", True, None)

    run(loop, main())


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_end_that_races_with_the_loop(loop, family, tmp_path):
    def sends(client, pause):
        for _ in range(pause):
            pass
        client.sendall(b"data")
        client.shutdown(socket.SHUT_WR)

    async def main():
        for number in range(30):
            async with connected(Received, path_of(family, tmp_path, number)) as (protocol, client):
                thread = threading.Thread(target=sends, args=(client, 50 * number))
                thread.start()
                await asyncio.wait_for(protocol.lost, WAIT_S)
                thread.join()
            assert (protocol.data, protocol.ended) == (b"data", True)

    run(loop, main())


def test_stream_that_is_paused_now_and_then(loop):
    whole = random.Random(1).randbytes(3_000_000)

    async def main():
        async with connected(Received) as (protocol, client):
            sending = asyncio.get_running_loop().run_in_executor(None, client.sendall, whole)
            while len(protocol.data) < len(whole):
                protocol.transport.pause_reading()
                before = len(protocol.data)
                await asyncio.sleep(0.001)
                assert len(protocol.data) == before
                protocol.transport.resume_reading()
                await until(lambda before=before: len(protocol.data) > before)
            await sending
            assert protocol.data == whole
            protocol.transport.write(b"all")
            assert await asyncio.get_running_loop().run_in_executor(None, client.recv, 10) == b"all"
            protocol.transport.close()
            await protocol.lost

    run(loop, main())
