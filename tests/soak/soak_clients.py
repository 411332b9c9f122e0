"""The soak's clients on the loop: conversations with an echo, by each of asyncio's ways to have one.

A client sends and receives at the same time, in pieces of all sizes; what comes back has to be what was sent. It stops
reading now and then, which makes the server stop writing, which makes it stop reading.
"""

import asyncio
import contextlib
import socket

from soak_pattern import Pattern


def plan(rng):
    """What is sent, piece by piece: many small pieces, or a few large ones."""
    if rng.random() < 0.5:
        return [rng.randrange(1, 3000) for _ in range(rng.randrange(1, 60))]
    return [rng.choice([1, 65536, 300_000, rng.randrange(1, 1 << 20)]) for _ in range(rng.randrange(1, 4))]


class Client(asyncio.Protocol):
    def __init__(self, soak, rng, seed, wanted):
        self.soak = soak
        self.rng = rng
        self.received = Pattern(seed)
        self.wanted = wanted
        self.all = soak.loop.create_future()
        self.lost = soak.loop.create_future()
        self.may_write = asyncio.Event()
        self.may_write.set()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        try:
            self.received.check(data)
            assert self.received.count <= self.wanted
        except AssertionError as error:
            if not self.all.done():
                self.all.set_exception(error)
            raise
        if self.received.count == self.wanted and not self.all.done():
            self.all.set_result(None)
        elif self.rng.random() < 0.02:
            self.pause()

    def pause(self):
        self.transport.pause_reading()
        self.soak.did["pause_reading"] += 1
        self.soak.loop.call_later(self.rng.random() * 0.02, self.transport.resume_reading)

    def pause_writing(self):
        self.may_write.clear()

    def resume_writing(self):
        self.may_write.set()

    def connection_lost(self, exception):
        self.may_write.set()
        if not self.all.done():
            self.all.set_exception(exception or ConnectionResetError("the end, too early"))
            self.all.exception()  # it is told to whoever waits for it
        if not self.lost.cancelled():
            self.lost.set_result(exception)


class BufferedClient(Client, asyncio.BufferedProtocol):
    def __init__(self, soak, rng, seed, wanted):
        super().__init__(soak, rng, seed, wanted)
        self.buffer = bytearray(rng.choice([50, 5000, 200_000]))

    def get_buffer(self, sizehint):
        if len(self.buffer) == 50 and self.received.count > 1000:
            self.buffer = bytearray(20_000)
        # asyncio's own TLS slices what it gets, and fills a copy if that is a bytearray.
        return memoryview(self.buffer)

    def buffer_updated(self, count):
        self.data_received(memoryview(self.buffer)[:count])


async def connected(soak, rng, style, address, seed, wanted):
    """A transport with a Client."""
    loop = soak.loop

    def factory():
        return (BufferedClient if style == "buffered" else Client)(soak, rng, seed, wanted)

    if isinstance(address, str):
        return await loop.create_unix_connection(factory, address)
    return await loop.create_connection(factory, *address)


async def by_protocol(soak, rng, address, *, style="protocol", ssl=None, upgrade=False):
    loop = soak.loop
    pieces = plan(rng)
    seed = rng.getrandbits(40)
    if ssl and not upgrade:
        transport, client = await loop.create_connection(
            lambda: (BufferedClient if style == "buffered" else Client)(soak, rng, seed, sum(pieces)),
            *address,
            ssl=ssl,
            server_hostname="localhost",
            ssl_handshake_timeout=60,
            ssl_shutdown_timeout=30,
        )
    else:
        transport, client = await connected(soak, rng, style, address, seed, sum(pieces))
    try:
        if upgrade:
            transport = await upgraded(soak, transport, client, ssl)
        await send(client, transport, Pattern(seed), pieces)
        await client.all
    finally:
        transport.close() if rng.random() < 0.8 else transport.abort()
    await client.lost


async def send(client, transport, sent, pieces):
    rng = client.rng
    for size in pieces:
        await client.may_write.wait()
        if transport.is_closing():
            raise ConnectionResetError("closed while it was written to")
        if rng.random() < 0.2:
            transport.writelines([sent.take(size // 2), bytearray(sent.take(size - size // 2))])
        else:
            transport.write(sent.take(size))
        if rng.random() < 0.1:
            await asyncio.sleep(rng.random() * 0.005)


async def upgraded(soak, transport, client, context):
    """The connection of an Upgrading server's client, over TLS."""

    class Waiting(asyncio.Protocol):
        data = b""

        def data_received(self, data):
            self.data += data
            if self.data == b"GO\n":
                transport.pause_reading()
                if not go.done():
                    go.set_result(None)

        def connection_lost(self, exception):
            if not go.done():
                go.set_exception(exception or ConnectionResetError())

    go = soak.loop.create_future()
    transport.set_protocol(Waiting())
    transport.write(b"STARTTLS\n")
    await go
    over_tls = await soak.loop.start_tls(
        transport, client, context, server_hostname="localhost", ssl_handshake_timeout=60
    )
    client.transport = over_tls
    return over_tls


async def by_streams(soak, rng, address):
    pieces = plan(rng)
    seed = rng.getrandbits(40)
    if isinstance(address, str):
        reader, writer = await asyncio.open_unix_connection(address)
    else:
        reader, writer = await asyncio.open_connection(*address, limit=rng.choice([1000, 65536]))

    async def talk():
        sent = Pattern(seed)
        for size in pieces:
            writer.write(sent.take(size))
            await writer.drain()
        writer.write_eof()

    async def listen():
        received = Pattern(seed)
        while data := await read(rng.choice([100, 5000, 200_000])):
            received.check(data)
        assert received.count == sum(pieces), f"the end after {received.count} of {sum(pieces)}"

    async def read(most):
        while rng.random() < 0.1:
            try:
                async with asyncio.timeout(0.0005 * rng.randrange(3)):
                    return await reader.read(most)
            except TimeoutError:
                soak.did["timeout"] += 1
        return await reader.read(most)

    try:
        await both(talk(), listen())
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def by_sock(soak, rng, address):
    """sock_* calls; receives are cancelled again and again."""
    loop = soak.loop
    pieces = plan(rng)
    seed = rng.getrandbits(40)
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)

        async def talk():
            sent = Pattern(seed)
            for size in pieces:
                await loop.sock_sendall(sock, sent.take(size))
            sock.shutdown(socket.SHUT_WR)

        async def listen():
            received = Pattern(seed)
            # Not so small that a busy machine takes a minute for it.
            buffer = bytearray(max(rng.choice([100, 3000, 100_000]), sum(pieces) // 1000))
            while True:
                if rng.random() < 0.5:
                    data = await receive(lambda: loop.sock_recv(sock, len(buffer)))
                else:
                    count = await receive(lambda: loop.sock_recv_into(sock, buffer))
                    data = memoryview(buffer)[:count]
                if not data:
                    break
                received.check(data)
                data = None
            assert received.count == sum(pieces), f"the end after {received.count} of {sum(pieces)}"

        async def receive(call):
            # asyncio's own loop loses what has come when the cancellation comes a moment later.
            while soak.on_ring and rng.random() < 0.2:
                task = asyncio.ensure_future(call())
                try:
                    for _ in range(rng.randrange(4)):
                        await asyncio.sleep(0)
                finally:
                    cancelled = task.cancel()
                if not cancelled:
                    return await task
                try:
                    return await task
                except asyncio.CancelledError:
                    if asyncio.current_task().cancelling():
                        raise
                    soak.did["cancelled sock_recv"] += 1
            return await call()

        await both(talk(), listen())


async def both(*coroutines):
    """Runs them at once; the first failure is the one that is raised, and nothing is left running."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
