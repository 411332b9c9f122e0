"""What the soak does: each kind of work is a coroutine function of the soak and a random.Random."""

import asyncio
import contextlib
import functools
import gc
import hashlib
import os
import signal
import socket
import sys

import soak_clients
import soak_peers
from soak_clients import Client, both, by_protocol, by_sock, by_streams
from soak_pattern import Pattern
from soak_servers import FILE_SEED, FILE_SIZE, Echo

KINDS = {}
"""Name, coroutine function and how often it is dealt."""


def kind(times=1):
    def add(function):
        KINDS[function.__name__] = (function, times)
        return function

    return add


def _conversations():
    echoes = ("protocol", "buffered", "streams", "switching", "unix", "unix streams")
    ways = {
        "protocol": by_protocol,
        "buffered": functools.partial(by_protocol, style="buffered"),
        "streams": by_streams,
        "sock": by_sock,
    }
    for echo in echoes:
        for way, function in ways.items():

            async def conversation(soak, rng, function=function, echo=echo):
                await function(soak, rng, soak.addresses[echo])

            KINDS[f"{way} with {echo}"] = (conversation, 1)


_conversations()


# TLS.


@kind(2)
async def tls(soak, rng):
    style = rng.choice(["protocol", "buffered"])
    await by_protocol(soak, rng, soak.addresses["tls"], style=style, ssl=soak.client_context)


@kind(2)
async def start_tls(soak, rng):
    await by_protocol(soak, rng, soak.addresses["upgrading"], ssl=soak.client_context, upgrade=True)


# Clients that block, in threads.


def in_thread(times, function, *servers, with_context=False):
    async def rude(soak, rng):
        address = soak.addresses[rng.choice(servers)]
        more = (soak.client_context,) if with_context else ()
        try:
            await soak.loop.run_in_executor(soak.threads, function, address, rng, *more)
        except ConnectionError:
            # The server's own end can come first where the client breaks off in any case.
            if function in (soak_peers.half_closes, soak_peers.reads_slowly, soak_peers.echoes_over_tls):
                raise

    KINDS[function.__name__] = (rude, times)


in_thread(3, soak_peers.resets_echo, "protocol", "buffered", "streams", "switching", "unix", "unix streams")
in_thread(3, soak_peers.resets_source, "source")
in_thread(3, soak_peers.half_closes, "sink")
in_thread(2, soak_peers.writes_slowly, "sink")
in_thread(2, soak_peers.reads_slowly, "source")
in_thread(2, soak_peers.breaks_off_tls, "tls")
in_thread(2, soak_peers.echoes_over_tls, "tls", with_context=True)


@kind()
async def peer_process_dies(soak, rng):
    """A process with connections in the middle of something is killed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-S",
        soak_peers.__file__,
        *(str(soak.addresses[name][1]) for name in ("protocol", "sink", "source")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": os.path.dirname(soak_peers.__file__)},  # without what is preloaded here
    )
    try:
        assert await child.stdout.readline() == b"ready\n"
    finally:
        child.kill()
        await child.communicate()
    assert child.returncode == -signal.SIGKILL


# Listeners that come and go.


@kind()
async def listener_closed_in_a_storm(soak, rng):
    loop = soak.loop
    path = soak.folder / f"storm{rng.getrandbits(60):x}" if rng.random() < 0.3 else None
    if path:
        server = await loop.create_unix_server(lambda: Echo(soak), str(path))
        address = str(path)
    else:
        server = await loop.create_server(lambda: Echo(soak), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
    storm = loop.run_in_executor(soak.threads, soak_peers.storms, address, rng)
    await asyncio.sleep(rng.random() * 0.02)
    server.close()
    await storm
    if path:
        path.unlink(missing_ok=True)


# Files.


async def _file_received(soak, rng, take):
    """What the file server has sent. `take` yields it piece by piece, once it was told what to ask for."""
    offset = rng.randrange(FILE_SIZE)
    count = rng.randrange(1, FILE_SIZE - offset + 1)
    head = soak_peers.HEADER.pack(offset, count)
    pattern, got = Pattern(FILE_SEED + offset), b""
    async for data in take(head):
        if len(got) < len(head):
            got += data
            data = got[len(head) :]
        pattern.check(data)
    assert got[: len(head)] == head
    assert pattern.count == count, f"the end after {pattern.count} of {count} bytes of a file"


@kind(3)
async def sendfile(soak, rng):
    async def take(head):
        reader, writer = await asyncio.open_connection(*soak.addresses["file"])
        writer.write(head)
        while data := await reader.read(rng.choice([1000, 100_000])):
            yield data
        writer.close()
        await writer.wait_closed()

    await _file_received(soak, rng, take)


@kind()
async def sendfile_broken_off(soak, rng):
    reader, writer = await asyncio.open_connection(*soak.addresses["file"])
    writer.write(soak_peers.HEADER.pack(0, FILE_SIZE))
    await reader.read(1000)
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@kind()
async def sock_sendfile(soak, rng):
    loop = soak.loop
    here, there = _pair()
    with here, there, open(soak.file, "rb") as file:  # noqa: ASYNC230
        offset = rng.randrange(FILE_SIZE)

        async def talk():
            await loop.sock_sendfile(here, file, offset)
            here.shutdown(socket.SHUT_WR)

        async def listen():
            pattern = Pattern(FILE_SEED + offset)
            while data := await loop.sock_recv(there, 100_000):
                pattern.check(data)
            assert pattern.count == FILE_SIZE - offset

        await both(talk(), listen())


def _pair():
    pair = socket.socketpair()
    for sock in pair:
        sock.setblocking(False)
    return pair


# Datagrams.


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, loop):
        self.received = asyncio.Queue()
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.lost = loop.create_future()

    def datagram_received(self, data, address):
        self.received.put_nowait(data)

    def error_received(self, error):
        self.received.put_nowait(error)

    def pause_writing(self):
        self.may_write.clear()

    def resume_writing(self):
        self.may_write.set()

    def connection_lost(self, exception):
        if not self.lost.cancelled():
            self.lost.set_result(exception)


def _datagram(seed, number, size):
    return number.to_bytes(4, "big") + Pattern(seed + number).take(size)


@kind(3)
async def udp(soak, rng):
    """Datagrams may be lost and are sent again, but what arrives has to be whole."""
    transport, protocol = await soak.loop.create_datagram_endpoint(
        lambda: Datagrams(soak.loop), remote_addr=soak.addresses["udp"]
    )
    seed = rng.getrandbits(40)
    wanted = {number: _datagram(seed, number, rng.choice([0, 10, 1400, 30_000])) for number in range(20)}
    missing = set(wanted)
    try:
        while missing:
            for number in missing:
                transport.sendto(wanted[number])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while missing:
                        data = await protocol.received.get()
                        number = int.from_bytes(data[:4], "big")
                        assert data == wanted[number], "a datagram arrived that nobody sent"
                        missing.discard(number)
    finally:
        transport.close()
        await protocol.lost


@kind(2)
async def udp_by_sock(soak, rng):
    loop = soak.loop
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        seed = rng.getrandbits(40)
        for number in range(10):
            data = _datagram(seed, number, rng.choice([0, 1400, 30_000]))
            while True:
                await loop.sock_sendto(sock, data, soak.addresses["udp"])
                try:
                    async with asyncio.timeout(0.5):
                        while True:
                            found, sender = await loop.sock_recvfrom(sock, 65536)
                            if int.from_bytes(found[:4], "big") == number:  # not a late one of before
                                break
                except TimeoutError:
                    continue
                assert sender == soak.addresses["udp"]
                assert found == data, "a datagram arrived that nobody sent"
                break


@kind(2)
async def unix_datagrams(soak, rng):
    """Datagrams that are never lost, and keep their order, though the receiver's queue is short."""
    seed = rng.getrandbits(40)
    sizes = [rng.choice([0, 10, 1400, 30_000]) for _ in range(100)]
    path = str(soak.folder / f"datagrams{rng.getrandbits(60):x}")
    ends = [
        await soak.loop.create_datagram_endpoint(lambda: Datagrams(soak.loop), family=socket.AF_UNIX, **address)
        for address in ({"local_addr": path}, {"remote_addr": path})
    ]
    (there, receiver), (here, sender) = ends

    async def talk():
        for number, size in enumerate(sizes):
            await sender.may_write.wait()
            here.sendto(_datagram(seed, number, size))
            if number % 30 == 0:
                there.pause_reading() if hasattr(there, "pause_reading") else None
                await asyncio.sleep(0.001)
                there.resume_reading() if hasattr(there, "resume_reading") else None

    async def listen():
        for number, size in enumerate(sizes):
            assert await receiver.received.get() == _datagram(seed, number, size), f"datagram {number}"

    try:
        await both(talk(), listen())
    finally:
        for transport, protocol in ends:
            transport.close()
            await protocol.lost
        os.unlink(path)


# Pipes and children.


@kind(2)
async def child(soak, rng):
    """A child that sends back what it gets."""
    process = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    data = Pattern(rng.getrandbits(40)).take(rng.choice([10, 100_000, 1_000_000]))
    if rng.random() < 0.7:
        out, _ = await process.communicate(data)
        assert out == data, f"{len(out)} bytes of {len(data)} came back from a child, or others"
        assert process.returncode == 0
    else:
        process.stdin.write(data)
        assert await process.stdout.readexactly(10) == data[:10]
        process.kill()
        rest, _ = await process.communicate()
        assert data[10:].startswith(rest)
        assert process.returncode == -signal.SIGKILL


@kind(2)
async def pipes(soak, rng):
    loop = soak.loop
    reading, writing = os.pipe()
    seed = rng.getrandbits(40)
    pieces = soak_clients.plan(rng)
    client = Client(soak, rng, seed, sum(pieces))
    await loop.connect_read_pipe(lambda: client, os.fdopen(reading, "rb", buffering=0))
    sink, writer = await loop.connect_write_pipe(
        lambda: Client(soak, rng, seed, 0), os.fdopen(writing, "wb", buffering=0)
    )
    sent = Pattern(seed)
    for size in pieces:
        await writer.may_write.wait()
        sink.write(sent.take(size))
    sink.close()
    await client.all
    await client.lost
    await writer.lost


@kind(2)
async def readers_and_writers(soak, rng):
    """add_reader and add_writer, with sockets of the program's own."""
    loop = soak.loop
    here, there = _pair()
    seed, wanted = rng.getrandbits(40), rng.randrange(1, 500_000)
    sent, received = Pattern(seed), Pattern(seed)
    done = loop.create_future()

    def write():
        # The place moves on by what the socket has taken.
        size = min(20_000, wanted - sent.count)
        before = sent.count
        sent.count = before + here.send(sent.take(size))
        if sent.count == wanted:
            loop.remove_writer(here)

    def read():
        received.check(there.recv(rng.choice([10, 5000, 100_000])))
        if received.count == wanted:
            done.set_result(None)

    with here, there:
        loop.add_reader(there, read)
        loop.add_writer(here, write)
        try:
            await done
        finally:
            loop.remove_reader(there)
            loop.remove_writer(here)


# Callbacks.


@kind(2)
async def timers(soak, rng):
    """They come in order and not early; those that are cancelled do not come."""
    loop = soak.loop
    came = []
    done = loop.create_future()

    def comes(number, when):
        assert loop.time() + 1e-3 >= when, "a timer was early"  # asyncio's own are up to its clock's resolution
        came.append(number)

    times = sorted(loop.time() + rng.random() * 0.05 for _ in range(100))
    handles = {number: loop.call_at(when, comes, number, when) for number, when in enumerate(times)}
    cancelled = set(rng.sample(range(100), 50))
    for number in cancelled:
        handles[number].cancel()
    loop.call_at(times[-1] + 0.001, done.set_result, None)
    await done
    assert came == [number for number in range(100) if number not in cancelled]


@kind(2)
async def calls_from_threads(soak, rng):
    loop = soak.loop
    came = {0: [], 1: []}
    done = [loop.create_future() for _ in came]

    def calls(thread):
        for number in range(200):
            loop.call_soon_threadsafe(came[thread].append, number)
        loop.call_soon_threadsafe(done[thread].set_result, None)

    await asyncio.gather(*(loop.run_in_executor(soak.threads, calls, thread) for thread in came))
    await asyncio.gather(*done)
    assert came == {thread: list(range(200)) for thread in came}


@kind(2)
async def executor(soak, rng):
    data = Pattern(rng.getrandbits(40)).take(200_000)
    sums = await asyncio.gather(*(asyncio.to_thread(lambda: hashlib.sha256(data).digest()) for _ in range(5)))
    assert set(sums) == {hashlib.sha256(data).digest()}


@kind(2)
async def cancelled_tasks(soak, rng):
    """Tasks that wait for all kinds of things are cancelled, at any point of it."""

    async def waits():
        reader, writer = await asyncio.open_connection(*soak.addresses["streams"])
        try:
            writer.write(b"x" * rng.choice([1, 200_000]))
            await writer.drain()
            await reader.readexactly(1 << 30)
        finally:
            writer.close()

    tasks = [asyncio.ensure_future(waits()) for _ in range(5)]
    tasks.append(asyncio.ensure_future(by_protocol(soak, rng, soak.addresses["protocol"])))
    tasks.append(asyncio.ensure_future(by_sock(soak, rng, soak.addresses["protocol"])))
    tasks.append(asyncio.ensure_future(tls(soak, rng)))
    tasks.append(asyncio.ensure_future(start_tls(soak, rng)))
    tasks.append(asyncio.ensure_future(asyncio.sleep(100)))
    while not all(task.done() for task in tasks):
        for _ in range(rng.randrange(5)):
            await asyncio.sleep(0 if rng.random() < 0.7 else 0.002)
        rng.choice(tasks).cancel()
    for task in tasks:
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()


@kind()
async def timeouts(soak, rng):
    """Time runs out for all but the last attempt, and nothing of what comes then is missing."""
    reader, writer = await asyncio.open_connection(*soak.addresses["streams"])
    data = Pattern(rng.getrandbits(40)).take(rng.randrange(1, 50_000))
    for _ in range(3):
        try:
            async with asyncio.timeout(rng.random() * 0.004):
                await reader.readexactly(len(data))
        except TimeoutError:
            soak.did["timeout"] += 1
    writer.write(data)
    while True:
        try:
            async with asyncio.timeout(rng.choice([0, 0.001, 60])):
                assert await reader.readexactly(len(data)) == data
            break
        except TimeoutError:
            soak.did["timeout"] += 1
    writer.close()
    await writer.wait_closed()


class Patient(Client):
    def pause(self):
        pass  # no timer that goes on reading, and knows the transport until then


@kind()
async def dropped(soak, rng):
    """A transport that nobody closes and nobody knows any more is closed all the same."""
    loop = soak.loop

    async def drop():
        seed = rng.getrandbits(40)
        transport, client = await loop.create_connection(
            lambda: Patient(soak, rng, seed, 1 << 30), *soak.addresses["source"]
        )
        transport.write(soak_peers.HEADER.pack(seed, 1 << 30))
        while client.received.count == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        transport.pause_reading()

    await drop()
    await asyncio.sleep(0.01)
    gc.collect()
