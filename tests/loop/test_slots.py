"""Direct descriptors: whose a slot is, and what happens when there are few of them or none."""

import asyncio
import contextlib
import gc
import os
import resource
import socket

import pytest

import ioring
from ioring.loop import ring_setup
from rings import WAIT_S, python
from running import turns

pytestmark = pytest.mark.skipif(
    "FIXED_FD_INSTALL" not in ioring.features().operations, reason="a loop has no direct descriptors here"
)

# Connections that end at once with write_eof() and close(), and others that are to be answered, while the kernel's
# workers, which do the shutdowns of direct descriptors, hardly ever get the processor.
SHUTDOWNS_LATE = """
import asyncio
import contextlib
from rings import kernel_threads

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data == b"end":
            self.transport.write_eof()
            self.transport.close()
        else:
            self.transport.write(data)

async def asks(loop, address, question, times):
    for _ in range(times):
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            await loop.sock_sendall(sock, question)
            answer = await loop.sock_recv(sock, 10)
            assert answer == (b"" if question == b"end" else question), f"{answer!r} to {question!r}"

async def main(loop):
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=1000)
    address = server.sockets[0].getsockname()
    await asks(loop, address, b"end", 100)
    for thread in kernel_threads("iou-wrk"):
        with contextlib.suppress(ProcessLookupError):  # one that is idle may end meanwhile
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
    await asyncio.gather(*(asks(loop, address, b"end" if number % 2 else b"hello", 200) for number in range(20)))
    server.close()

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
loop = ioring.Loop(direct_descriptors=True)
loop.run_until_complete(main(loop))
deadline = time.monotonic() + 10
while loop.statistics()["slots_used"]:
    assert time.monotonic() < deadline, loop.statistics()
    loop.run_until_complete(asyncio.sleep(0.001))
loop.close()
"""


def test_late_shutdown_does_not_meet_the_next_connection_in_its_slot():
    python(SHUTDOWNS_LATE)


@contextlib.contextmanager
def loop_with(slots):
    """A loop whose file table has so many slots: as many as the limit on open files allows when it is made."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (slots, hard))
    try:
        loop = ioring.Loop(direct_descriptors=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert loop.statistics()["slots"] == slots
    try:
        yield loop
        run(loop, settled(loop))
    finally:
        loop.close()


def run(loop, coroutine):
    return loop.run_until_complete(asyncio.wait_for(coroutine, 6 * WAIT_S))


async def settled(loop):
    while loop.statistics()["slots_used"]:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


class Greeter(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello")


class Clients:
    """Sockets that connect at once, each of which wants to be greeted."""

    def __init__(self, loop, count, address):
        self.loop = loop
        self.open = [socket.socket() for _ in range(count)]
        self.greeted = []
        for sock in self.open:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(address)
        self.tasks = [loop.create_task(self.greet(sock)) for sock in self.open]

    async def greet(self, sock):
        assert await self.loop.sock_recv(sock, 100) == b"hello", "accepted and closed"
        self.greeted.append(sock)

    async def until(self, count):
        while len(self.greeted) < count:
            for task in self.tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.001)

    def close(self, count):
        """So many of those who have been greeted leave."""
        for sock in self.greeted[:count]:
            sock.close()
            self.open.remove(sock)
        del self.greeted[:count]

    async def leave(self):
        await asyncio.gather(*self.tasks)
        self.close(len(self.greeted))
        assert not self.open


async def listening(loop, backlog=1000):  # TCP itself would let clients wait who do not find a place there
    server = await loop.create_server(Greeter, "127.0.0.1", 0, backlog=backlog)
    return server, server.sockets[0].getsockname()


@pytest.mark.parametrize(
    ("slots", "clients", "backlog"),
    [(40, 100, 200), (600, 800, 1000), (1024, 2500, 3000)],
)
def test_clients_wait_for_a_slot(slots, clients, backlog):
    """Those that find the table full are not dropped; each place that becomes free is given to one of them."""
    with loop_with(slots) as loop:
        server, address = run(loop, listening(loop, backlog))
        waiting = Clients(loop, clients, address)
        run(loop, waiting.until(slots))
        turns(loop, 20)
        assert len(waiting.greeted) == loop.statistics()["slots_used"] == slots
        waiting.close(1)
        run(loop, waiting.until(slots))
        turns(loop, 20)
        assert len(waiting.greeted) == loop.statistics()["slots_used"] == slots
        left = clients - 1
        while left > slots:
            waiting.close(slots // 2)
            left -= slots // 2
            run(loop, waiting.until(min(slots, left)))
        run(loop, waiting.leave())
        run(loop, settled(loop))
        again = Clients(loop, 10, address)
        run(loop, again.leave())
        server.close()


def test_table_fills_bit_by_bit():
    with loop_with(1024) as loop:
        server, address = run(loop, listening(loop, 200))
        crowds = []
        for _ in range(10):
            crowds.append(Clients(loop, 100, address))
            run(loop, crowds[-1].until(100))
        last = Clients(loop, 150, address)
        run(loop, last.until(24))
        turns(loop, 20)
        assert len(last.greeted) == 24
        for crowd in crowds:
            run(loop, crowd.leave())
        run(loop, last.leave())
        server.close()


def test_two_listeners_fill_one_table():
    with loop_with(1024) as loop:
        servers = [run(loop, listening(loop)) for _ in range(2)]
        crowds = [Clients(loop, 900, address) for _, address in servers]
        run(loop, greeted(crowds, 1024))
        turns(loop, 20)
        assert sum(len(crowd.greeted) for crowd in crowds) == 1024
        while any(len(crowd.open) > len(crowd.greeted) for crowd in crowds):
            before = sum(len(crowd.open) for crowd in crowds)
            for crowd in crowds:
                crowd.close(100)
            run(loop, greeted(crowds, min(1024, before - 200)))
        for crowd in crowds:
            run(loop, crowd.leave())
        for server, _ in servers:
            server.close()


async def greeted(crowds, count):
    while sum(len(crowd.greeted) for crowd in crowds) < count:
        for crowd in crowds:
            await crowd.until(0)
        await asyncio.sleep(0.001)


def test_last_slot_is_not_kept_for_a_listener_that_nobody_comes_to():
    with loop_with(40) as loop:
        servers = [run(loop, listening(loop)) for _ in range(3)]
        first = Clients(loop, 39, servers[0][1])
        run(loop, first.until(39))
        for _ in range(3):
            for _, address in servers:
                last = Clients(loop, 1, address)
                run(loop, last.leave())
        first.close(39)
        for server, _ in servers:
            server.close()


def test_listener_closed_with_a_full_table():
    with loop_with(40) as loop:
        server, address = run(loop, listening(loop))
        waiting = Clients(loop, 60, address)
        run(loop, waiting.until(40))
        server.close()
        results = run(loop, asyncio.gather(*waiting.tasks, return_exceptions=True))
        assert results.count(None) == 40
        assert all(isinstance(result, ConnectionResetError) for result in results if result is not None)
        for sock in waiting.open:
            sock.close()
        run(loop, settled(loop))


def test_a_factory_that_closes_its_server():
    """What cannot be attached to the server any more is dropped once."""
    with contextlib.closing(ioring.Loop(direct_descriptors=True)) as loop:
        told = []
        loop.set_exception_handler(lambda loop, context: told.append(context))

        async def main():
            def factory():
                server.close()
                return asyncio.Protocol()

            server = await loop.create_server(factory, "127.0.0.1", 0)
            with socket.create_connection(server.sockets[0].getsockname(), timeout=WAIT_S) as client:
                client.setblocking(False)
                assert await loop.sock_recv(client, 1) == b""
            await server.wait_closed()

        loop.run_until_complete(asyncio.wait_for(main(), WAIT_S))
        turns(loop)
        assert len(told) <= 1
        assert loop.statistics()["slots_used"] == 0


@pytest.fixture
def small_queue(monkeypatch):
    monkeypatch.setattr(ring_setup, "ENTRIES", 8)
    monkeypatch.setattr(ring_setup, "COMPLETIONS", 16)


class Named(asyncio.Protocol):
    """Asks at once for what only an ordinary descriptor can tell."""

    made = 0

    def connection_made(self, transport):
        Named.made += 1
        self.transport = transport
        self.peer = transport.get_extra_info("peername")
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data):
        self.transport.write(repr(self.peer).encode() + b" " + data)


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def crowd(loop, count, factory):
    """So many clients that have connected, and sent their numbers, before the loop looks."""
    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0, backlog=count))
    address = server.sockets[0].getsockname()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address, timeout=WAIT_S)) for _ in range(count)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        yield clients
        server.close()


def test_more_connections_at_once_than_the_completion_queue_has_room_for(small_queue):
    before = open_descriptors()
    with contextlib.closing(ioring.Loop(direct_descriptors=True)) as loop:
        told = []
        loop.set_exception_handler(lambda loop, context: told.append(context))
        with crowd(loop, 300, Named) as clients:

            async def answers():
                for number, client in enumerate(clients):
                    client.setblocking(False)
                    answer = await loop.sock_recv(client, 100)
                    assert answer == f"{client.getsockname()!r} {number}".encode()

            loop.run_until_complete(asyncio.wait_for(answers(), WAIT_S))
        run(loop, settled(loop))
        assert told == []
    gc.collect()
    assert open_descriptors() == before


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("way", ["close", "drop"])
@pytest.mark.parametrize("at", [1, 5, 20, 40])
def test_closing_while_completions_found_no_room(small_queue, way, at):
    """What the kernel had accepted, and nobody has taken, is closed with the loop, also what was set aside."""
    before = open_descriptors()
    Named.made = 0

    class Stops(Named):
        def connection_made(self, transport):
            super().connection_made(transport)
            if Named.made == at:
                asyncio.get_running_loop().stop()

    loop = ioring.Loop(direct_descriptors=True)
    with crowd(loop, 60, Stops):
        loop.run_forever()
        if way == "close":
            loop.close()
    del loop
    gc.collect()
    assert open_descriptors() == before
