"""A loop that runs in one thread after another, and one that is closed in another thread than its own."""

import asyncio
import gc
import os
import queue
import signal
import socket
import threading
from asyncio.subprocess import PIPE

import pytest

import ioring
from rings import WAIT_S
from running import in_flight, run, turns, until


class Thread:
    """A thread that lives on between the calls that it makes."""

    def __init__(self):
        self.calls = queue.SimpleQueue()
        self.results = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        while (call := self.calls.get()) is not None:
            try:
                self.results.put((call(), None))
            except BaseException as error:
                self.results.put((None, error))

    def __call__(self, call):
        self.calls.put(call)
        result, error = self.results.get(timeout=2 * WAIT_S)
        if error is not None:
            raise error
        return result

    def end(self):
        self.calls.put(None)
        self.thread.join()


class Ending:
    """A thread for each call, which ends with it."""

    def __call__(self, call):
        thread = Thread()
        try:
            return thread(call)
        finally:
            thread.end()

    def end(self):
        pass


@pytest.fixture(params=[Thread, Ending], ids=["living", "ended"])
def elsewhere(request):
    """Calls in another thread than this one; in one that lives on afterwards, or that ends."""
    thread = request.param()
    yield thread
    thread.end()


@pytest.fixture(params=[False, True], ids=["usual", "any-thread"])
def wandering(request):
    """A loop that has run here."""
    loop = ioring.Loop(any_thread=request.param)
    turns(loop)
    yield loop
    loop.close()


async def echo(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_one_thread_after_another(wandering, elsewhere):
    for _ in range(3):
        assert run(wandering, asyncio.sleep(0.001, 1)) == 1
        assert elsewhere(lambda: run(wandering, asyncio.sleep(0.001, 2))) == 2


def test_watched_descriptors(wandering, elsewhere):
    reading, writing = os.pipe()
    seen = []
    wandering.add_reader(reading, lambda: seen.append(os.read(reading, 100)))
    turns(wandering)
    os.write(writing, b"first")
    elsewhere(lambda: run(wandering, until(lambda: len(seen) == 1)))
    os.write(writing, b"second")
    run(wandering, until(lambda: len(seen) == 2))
    assert seen == [b"first", b"second"]
    wandering.remove_reader(reading)
    os.close(reading), os.close(writing)


def test_what_is_being_sent(wandering, elsewhere):
    here, there = socket.socketpair()
    here.setblocking(False), there.setblocking(False)
    data = os.urandom(3_000_000)
    lost = []

    class Sender(asyncio.Protocol):
        def connection_lost(self, exception):
            lost.append(exception)

    async def send():
        transport, _ = await wandering.create_connection(Sender, sock=here)
        transport.write(data)
        await asyncio.sleep(0)
        return transport

    transport = elsewhere(lambda: run(wandering, send()))

    async def receive(limit):
        received = bytearray()
        while len(received) < limit:
            received += await wandering.sock_recv(there, 1 << 16)
        return received

    first = run(wandering, receive(len(data) // 2))
    assert first + elsewhere(lambda: run(wandering, receive(len(data) - len(first)))) == data
    transport.close()
    turns(wandering)
    assert lost == [None]
    there.close()


def test_pieces_of_sendall(wandering, elsewhere):
    here, there = socket.socketpair()
    here.setblocking(False), there.setblocking(False)
    data = os.urandom(3_000_000)

    async def begin():
        task = wandering.create_task(wandering.sock_sendall(here, data))
        await asyncio.sleep(0.001)
        return task

    async def receive(task):
        received = bytearray()
        while len(received) < len(data):
            received += await wandering.sock_recv(there, 1 << 16)
        await task
        return received

    task = run(wandering, begin())
    assert elsewhere(lambda: run(wandering, receive(task))) == data
    here.close(), there.close()


@pytest.mark.parametrize("call", ["sock_recv", "sock_recv_into", "sock_recvfrom", "sock_accept"])
def test_a_call_that_waits(call, wandering, elsewhere):
    if call == "sock_accept":
        here = socket.create_server(("127.0.0.1", 0))
        arguments = []
    else:
        here, there = socket.socketpair(type=socket.SOCK_DGRAM if call == "sock_recvfrom" else socket.SOCK_STREAM)
        arguments = [bytearray(10)] if call == "sock_recv_into" else [10]
    here.setblocking(False)

    async def begin():
        task = wandering.create_task(getattr(wandering, call)(here, *arguments))
        await asyncio.sleep(0.001)
        return task

    task = elsewhere(lambda: run(wandering, begin()))
    if call == "sock_accept":
        there = socket.create_connection(here.getsockname())
    else:
        there.send(b"hello")
    result = run(wandering, task)
    if call == "sock_accept":
        assert result[1] == there.getsockname()
        result[0].close()
    else:
        expected = {"sock_recv": b"hello", "sock_recv_into": 5, "sock_recvfrom": (b"hello", None)}
        assert result == expected[call]
    here.close(), there.close()


@pytest.mark.parametrize("size", [100, 5_000_000])
def test_connections_of_a_server(size, wandering, elsewhere):
    """Begun in one thread, used from the next: the usual start_server() before a thread with run_forever()."""
    data = os.urandom(size)
    ended = []

    async def serve(reader, writer):
        await echo(reader, writer)
        await writer.wait_closed()
        ended.append(writer)

    server = run(wandering, asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 16))
    address = server.sockets[0].getsockname()

    async def together(*coroutines):
        return await asyncio.gather(*coroutines)

    open_connections = run(wandering, together(*(asyncio.open_connection(*address) for _ in range(5))))

    async def exchange(reader, writer):
        writer.write(data)
        return await reader.readexactly(size) == data

    def everything():
        return run(wandering, together(*(exchange(*each) for each in open_connections)))

    for _ in range(3):
        assert all(elsewhere(everything))
        assert all(everything())
        open_connections.append(elsewhere(lambda: run(wandering, asyncio.open_connection(*address))))

    async def end():
        for _, writer in open_connections:
            writer.close()
            await writer.wait_closed()
        await until(lambda: len(ended) == len(open_connections))
        server.close()
        await server.wait_closed()

    elsewhere(lambda: run(wandering, end()))
    turns(wandering)
    statistics = wandering.statistics()
    assert statistics["buffers_free"] == statistics["buffers"]


def test_what_came_before_the_move_is_kept(wandering, elsewhere):
    """Completions that nobody has seen yet, and the buffers that they name, go along."""
    here, there = socket.socketpair()
    got = bytearray()

    class Protocol(asyncio.Protocol):
        def data_received(self, data):
            got.extend(data)

    def stop_at_once():
        # In one turn: the data arrive, and the loop stops before their completions are taken.
        there.send(piece)
        wandering.stop()

    run(wandering, wandering.create_connection(Protocol, sock=here))
    expected = bytearray()
    for number in range(40):
        piece = bytes([number]) * (1000 * number + 1)
        expected += piece
        wandering.call_soon(stop_at_once)
        if number % 2:
            elsewhere(wandering.run_forever)
        else:
            wandering.run_forever()
    run(wandering, until(lambda: len(got) == len(expected)))
    assert got == expected
    statistics = wandering.statistics()
    assert statistics["buffers_free"] == statistics["buffers"]
    there.close()
    turns(wandering)


def test_datagrams(wandering, elsewhere):
    got = []

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            got.append(data)

    transport, _ = run(wandering, wandering.create_datagram_endpoint(Protocol, ("127.0.0.1", 0)))
    sender, _ = elsewhere(
        lambda: run(
            wandering,
            wandering.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=transport.get_extra_info("sockname")
            ),
        )
    )
    expected = []
    for number in range(300):  # more than there are buffers
        expected.append(b"%d" % number)
        sender.sendto(expected[-1])
        if number % 7 == 0:
            turns(wandering, 2)
        elif number % 10 == 0:
            elsewhere(lambda: turns(wandering, 1))
    run(wandering, until(lambda: len(got) == len(expected)))
    assert got == expected
    transport.close(), sender.close()
    turns(wandering)


def test_pipes(wandering, elsewhere):
    reading, writing = os.pipe()
    data = os.urandom(1_000_000)
    got = bytearray()

    class Reader(asyncio.Protocol):
        def data_received(self, piece):
            got.extend(piece)

    reader, _ = run(wandering, wandering.connect_read_pipe(Reader, os.fdopen(reading, "rb", 0)))
    writer, _ = elsewhere(
        lambda: run(wandering, wandering.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writing, "wb", 0)))
    )
    writer.write(data)
    while len(got) < len(data):
        turns(wandering)
        elsewhere(lambda: turns(wandering))
    assert got == data
    writer.close()
    run(wandering, until(reader.is_closing))
    turns(wandering)


def test_other_threads_wake_it(wandering, elsewhere):
    for _ in range(3):
        timer = threading.Timer(0.02, wandering.call_soon_threadsafe, [wandering.stop])
        timer.start()
        elsewhere(wandering.run_forever)
        timer.join()
        timer = threading.Timer(0.02, wandering.call_soon_threadsafe, [wandering.stop])
        timer.start()
        wandering.run_forever()
        timer.join()


def test_signals_when_it_is_back(wandering, elsewhere):
    seen = []
    wandering.add_signal_handler(signal.SIGUSR1, seen.append, 1)
    for number in range(1, 4):
        elsewhere(lambda: turns(wandering))
        timer = threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGUSR1])
        timer.start()
        run(wandering, until(lambda: len(seen) == number))  # noqa: B023
        timer.join()


def test_children(wandering, elsewhere):
    async def begin():
        return await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)

    process = run(wandering, begin())
    assert elsewhere(lambda: run(wandering, process.communicate(b"hello"))) == (b"hello", None)
    assert run(wandering, process.wait()) == 0


def test_files(wandering, elsewhere, tmp_path):
    async def write(file, data):
        await file.write(data)

    async def make():
        return await ioring.open(tmp_path / "file", "wb")

    async def close(file):
        await file.close()

    file = run(wandering, make())
    elsewhere(lambda: run(wandering, write(file, b"one ")))
    run(wandering, write(file, b"two"))
    elsewhere(lambda: run(wandering, close(file)))
    assert (tmp_path / "file").read_bytes() == b"one two"


def test_descriptors_and_memory_of_moves(wandering):
    def count():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    thread = Thread()
    thread(lambda: turns(wandering))
    turns(wandering)
    before = count()
    for _ in range(20):
        thread(lambda: turns(wandering))
        turns(wandering)
    after = count()
    thread.end()
    # A thread that lives gives the kernel's registration of a ring back when it opens the next one.
    assert after <= before + 1


def connecting(loop):
    """A request that cannot be taken back: a connection that is being made and that nobody accepts."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    clients = [socket.socket() for _ in range(3)]
    for client in clients:
        client.setblocking(False)

    async def begin():
        tasks = [loop.create_task(loop.sock_connect(client, listener.getsockname())) for client in clients]
        await asyncio.sleep(0.01)
        return tasks

    return [listener, *clients], begin


def test_what_cannot_be_taken_back():
    loop = ioring.Loop()
    sockets, begin = connecting(loop)
    thread = Thread()
    tasks = thread(lambda: run(loop, begin()))
    assert in_flight(loop)
    with pytest.raises(RuntimeError, match=r"cannot run in this thread: end them there, or .*any_thread"):
        run_refused(loop)
    with pytest.raises(RuntimeError, match="cannot be closed in this one"):
        loop.close()
    assert not loop.is_closed()

    async def end():
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread(lambda: run(loop, end()))
    assert run(loop, asyncio.sleep(0, 1)) == 1
    thread.end()
    loop.close()
    for each in sockets:
        each.close()


def run_refused(loop):
    coroutine = asyncio.sleep(0)
    try:
        loop.run_until_complete(coroutine)
    finally:
        coroutine.close()


def test_direct_descriptors(elsewhere):
    loop = ioring.Loop(direct_descriptors=True)
    if not loop.statistics()["slots"]:
        loop.close()
        pytest.skip("this kernel has no direct descriptors for a loop")
    turns(loop)
    assert elsewhere(lambda: run(loop, asyncio.sleep(0, 1))) == 1
    server = elsewhere(lambda: run(loop, asyncio.start_server(echo, "127.0.0.1", 0)))
    address = server.sockets[0].getsockname()
    reader, writer = run(loop, asyncio.open_connection(*address))
    writer.write(b"hello")
    assert run(loop, reader.readexactly(5)) == b"hello"
    assert loop.statistics()["slots_used"] == 1
    with pytest.raises(RuntimeError, match="direct descriptors"):
        elsewhere(lambda: run_refused(loop))
    writer.close()
    server.close()
    run(loop, until(lambda: loop.statistics()["slots_used"] == 0))
    assert elsewhere(lambda: run(loop, asyncio.sleep(0, 1))) == 1
    loop.close()


@pytest.mark.parametrize("left", ["nothing", "server", "reader", "call"])
@pytest.mark.parametrize("any_thread", [False, True], ids=["usual", "any-thread"])
def test_closed_by_another_thread(left, any_thread):
    def descriptors():
        gc.collect()
        return set(os.listdir("/proc/self/fd"))

    here, there = socket.socketpair()
    here.setblocking(False)
    thread = Thread()
    thread(ioring.Loop().close)  # whatever is opened once
    before = descriptors()
    loop = ioring.Loop(any_thread=any_thread)
    server = task = None

    async def begin():
        nonlocal server, task
        if left == "server":
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
        elif left == "reader":
            loop.add_reader(here, print)
        elif left == "call":
            task = asyncio.ensure_future(loop.sock_recv(here, 10))
        await asyncio.sleep(0.001)

    thread(lambda: loop.run_until_complete(begin()))
    if server is not None:
        server.close()
    if task is not None:
        task.cancel()
        thread(lambda: loop.run_until_complete(asyncio.wait([task])))
    loop.close()
    assert loop.is_closed()
    thread(ioring.Loop().close)  # gives back the registration of the ring before
    server = task = None
    assert descriptors() == before
    thread.end()
    here.close(), there.close()
