"""Programs whose callbacks raise: every callback that a protocol has, on asyncio's own loop and on this one.

Each scene is played twice, once by each loop, and what happened must be the same: what the protocol was told, which
exceptions the handler of the loop was told of, what came out of the run, and how the connection ended.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import warnings

import pytest

import ioring
from rings import WAIT_S, pipe_pair
from running import until

BIG = b"x" * (8 << 20)

ORDINARY = [ZeroDivisionError, OSError, asyncio.CancelledError, GeneratorExit]
STOPPING = [KeyboardInterrupt, SystemExit]


class Actor:
    """A protocol that keeps what it is told and raises in one place, the first time that it comes there."""

    def __init__(self, place, error):
        self.place = place
        self.error = error
        self.events = []
        self.transport = None
        self.received = 0

    def come_to(self, place):
        # asyncio asks for a buffer before it knows that there is nothing to be put into it.
        if place != "get_buffer" and self.events[-1:] != [place]:
            self.events.append(place)
        if place == self.place:
            self.place = None
            raise self.error

    def seen(self, *places):
        return any(place in self.events for place in places)

    def connection_made(self, transport):
        self.transport = transport
        self.come_to("connection_made")

    def connection_lost(self, exception):
        self.end = type(exception)
        self.come_to("connection_lost")

    def pause_writing(self):
        self.come_to("pause_writing")

    def resume_writing(self):
        self.come_to("resume_writing")


class Stream(Actor, asyncio.Protocol):
    def data_received(self, data):
        self.received += len(data)
        self.come_to("data_received")

    def eof_received(self):
        self.come_to("eof_received")


class Buffered(Actor, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint):
        self.buffer = bytearray(1000)
        self.come_to("get_buffer")
        return self.buffer

    def buffer_updated(self, count):
        self.received += count
        self.come_to("buffer_updated")

    def eof_received(self):
        self.come_to("eof_received")


class Datagrams(Actor, asyncio.DatagramProtocol):
    def datagram_received(self, data, address):
        self.received += len(data)
        self.come_to("datagram_received")

    def error_received(self, error):
        self.come_to("error_received")


class Child(Actor, asyncio.SubprocessProtocol):
    def pipe_data_received(self, fd, data):
        self.come_to("pipe_data_received")

    def pipe_connection_lost(self, fd, exception):
        self.come_to("pipe_connection_lost")

    def process_exited(self):
        self.come_to("process_exited")


class Stage:
    """One scene on one loop: what it said in the end."""

    def __init__(self, make_loop):
        self.loop = make_loop()
        self.reports = []
        self.stops = 0
        self.loop.set_exception_handler(self.report)

    def report(self, loop, context):
        assert context["message"]
        self.reports.append(type(context["exception"]))

    def play(self, scene, *arguments):
        """Runs a scene to its end, however often something stops the loop."""

        async def limited():
            async with asyncio.timeout(WAIT_S):
                return await scene(self, *arguments)

        try:
            task = self.loop.create_task(limited())
            while True:
                try:
                    result = self.loop.run_until_complete(task)
                    break
                except (KeyboardInterrupt, SystemExit):
                    self.stops += 1
                    assert self.stops < 10
            # What the end left to do may raise too.
            for _ in range(3):
                try:
                    self.loop.run_until_complete(asyncio.sleep(0))
                except (KeyboardInterrupt, SystemExit):
                    self.stops += 1
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()
        return {"result": result, "reports": self.reports, "stops": self.stops}

    async def settle(self):
        for _ in range(10):
            await asyncio.sleep(0)


def asyncios(scene, *arguments):
    """What happens on asyncio's own loop, which forgets a socket here and there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        said = Stage(asyncio.SelectorEventLoop).play(scene, *arguments)
        gc.collect()
    return said


def ours(scene, direct, *arguments):
    return Stage(lambda: ioring.Loop(direct_descriptors=direct)).play(scene, *arguments)


# Streams.


async def close_quietly(writer):
    writer.close()
    try:
        await writer.wait_closed()
    except (OSError, asyncio.IncompleteReadError):
        pass


async def use_connection(stage, actor, reader, writer, update):
    """All that a connection goes through: connected, data, flow control, the end. What the protocol was told of it."""
    lost = "connection_lost"
    await until(lambda: actor.seen("connection_made"))
    await stage.settle()
    writer.write(b"data")
    await until(lambda: actor.seen(update, lost))
    if not actor.transport.is_closing():
        # In a callback of its own, since write() itself raises what pause_writing() must not be kept from raising.
        stage.loop.call_soon(actor.transport.write, BIG)
        await until(lambda: actor.seen("pause_writing", lost))
        stage.loop.call_soon(actor.transport.write, b"the rest")
        got = 0
        while got < len(BIG) + 8:
            chunk = await reader.read(1 << 20)
            assert chunk
            got += len(chunk)
        await until(lambda: actor.seen("resume_writing", lost))
        await stage.settle()
    await close_quietly(writer)
    await until(lambda: actor.seen(lost))
    await stage.settle()
    assert actor.transport.is_closing()
    return actor.events, actor.end


def test_a_reset_while_much_is_written(loop):
    """It is a reset, also for the part that could not be sent any more."""

    async def main():
        lost = loop.create_future()

        class Writer(asyncio.Protocol):
            def connection_made(self, transport):
                transport.write(BIG)

            def connection_lost(self, exception):
                lost.set_result(exception)

        server = await loop.create_server(Writer, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname(), timeout=WAIT_S)
        await loop.run_in_executor(None, client.recv, 1 << 16)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert isinstance(await lost, ConnectionResetError)
        server.close()

    loop.run_until_complete(asyncio.wait_for(main(), WAIT_S))


async def accepted(stage, kind, place, error, tls):
    actors = []

    def factory():
        if place == "factory" and not actors:
            actors.append(None)
            raise error
        actors.append(kind(place, error))
        return actors[-1]

    context, client = tls or (None, None)
    server = await stage.loop.create_server(factory, "127.0.0.1", 0, ssl=context)
    address = server.sockets[0].getsockname()
    update = "data_received" if kind is Stream else "buffer_updated"
    results = []
    for _ in range(2):  # the second is as if nothing had been
        name = "localhost" if tls else None
        try:
            reader, writer = await asyncio.open_connection(*address, ssl=client, server_hostname=name)
        except OSError:
            assert tls and place == "factory"
            continue
        await until(lambda: actors)
        if actors[-1] is None:
            try:
                assert await reader.read() == b""
            except ConnectionError:
                pass
            await close_quietly(writer)
        else:
            results.append(await use_connection(stage, actors.pop(), reader, writer, update))
        place = None
    server.close()
    await server.wait_closed()
    return results


async def connected(stage, kind, place, error, tls):
    connections = []
    context, client = tls or (None, None)
    server = await asyncio.start_server(lambda *connection: connections.append(connection), "127.0.0.1", 0, ssl=context)
    address = server.sockets[0].getsockname()
    actor = kind(place, error)

    def factory():
        if place == "factory":
            raise error
        return actor

    name = "localhost" if tls else None
    result = None
    task = stage.loop.create_task(stage.loop.create_connection(factory, *address, ssl=client, server_hostname=name))
    await asyncio.wait([task])
    if task.cancelled() or task.exception() is not None:
        result = "no connection"
        del task  # asyncio leaves the socket to its finalizer, and the exception holds it
        gc.collect()
        if not tls:
            await until(lambda: connections)
        await stage.settle()
        while connections:
            await close_quietly(connections.pop()[1])
    else:
        # TLS asks for a buffer for what turns out to be no data, when the server may not be ready yet.
        await until(lambda: connections or actor.seen("connection_lost"))
        if connections:
            update = "data_received" if kind is Stream else "buffer_updated"
            result = await use_connection(stage, actor, *connections.pop(), update)
        else:
            result = actor.events, actor.end
    server.close()
    await server.wait_closed()
    return result


STREAM_PLACES = [
    (Stream, "factory"),
    (Stream, "connection_made"),
    (Stream, "data_received"),
    (Stream, "eof_received"),
    (Stream, "connection_lost"),
    (Stream, "pause_writing"),
    (Stream, "resume_writing"),
    (Buffered, "get_buffer"),
    (Buffered, "buffer_updated"),
    (Buffered, "eof_received"),
]


def names(value):
    return value.__name__ if isinstance(value, type) else None


@pytest.mark.parametrize("direct", [False, True], ids=["plain", "direct"])
@pytest.mark.parametrize("error", ORDINARY + STOPPING, ids=names)
@pytest.mark.parametrize(("kind", "place"), STREAM_PLACES, ids=names)
@pytest.mark.parametrize("scene", [accepted, connected], ids=lambda scene: scene.__name__)
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_streams(scene, kind, place, error, direct):
    """When the factory of a client raises, asyncio's create_connection() leaves the socket to its finalizer."""
    arguments = kind, place, error, None
    found = ours(scene, direct, *arguments)
    if scene is accepted and place == "factory":
        # asyncio keeps the connection open, and mentions the exception in debug mode only.
        assert len(found["result"]) == 1
        assert (found["reports"], found["stops"]) == (([error], 0) if error in ORDINARY else ([], 1))
    elif place == "resume_writing" and error in STOPPING:
        # asyncio's transport does nothing but fail from then on.
        assert found == {**ours(scene, direct, kind, None, None, None), "stops": 1}
    else:
        assert found == asyncios(scene, *arguments)


@pytest.mark.parametrize("direct", [False, True], ids=["plain", "direct"])
@pytest.mark.parametrize("error", [ZeroDivisionError, OSError, KeyboardInterrupt], ids=names)
@pytest.mark.parametrize(("kind", "place"), STREAM_PLACES, ids=names)
@pytest.mark.parametrize("scene", [accepted, connected], ids=lambda scene: scene.__name__)
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_tls(scene, kind, place, error, direct, certificates):
    """asyncio's TLS hangs after some of these, so that this one is compared with itself when nothing is raised."""
    tls = certificates.server(), certificates.client()
    calm = ours(scene, direct, kind, None, None, tls)
    assert (calm["reports"], calm["stops"]) == ([], 0)
    found = ours(scene, direct, kind, place, error, tls)
    assert found["stops"] == (error in STOPPING)
    if place == "factory":
        assert found["result"] == (calm["result"][:1] if scene is accepted else "no connection")
    elif (scene, place) == (connected, "connection_made") and error not in STOPPING:
        assert found["result"] == "no connection"
    elif error in STOPPING or place in ("pause_writing", "resume_writing", "connection_lost"):
        assert found["result"] == calm["result"]
        assert found["reports"] == ([error] if error not in STOPPING else [])
    else:
        events, end = found["result"][0] if scene is accepted else found["result"]
        assert (events[-1], end) == ("connection_lost", error)
        assert found["reports"] == ([error] if error is not OSError else [])


async def ended_by_hand(stage, tls):
    """A StreamReader that was told of the end, and then gets more: its feed_data() raises."""
    context, client = tls or (None, None)
    met = stage.loop.create_future()

    async def meet(reader, writer):
        reader.feed_eof()
        met.set_result(writer)

    server = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context)
    address = server.sockets[0].getsockname()
    name = "localhost" if tls else None
    reader, writer = await asyncio.open_connection(*address, ssl=client, server_hostname=name)
    accepted = await met
    writer.write(b"more")
    try:
        rest = await reader.read()
    except ConnectionError:
        rest = b""
    await until(accepted.is_closing)
    await close_quietly(writer)
    await stage.settle()
    server.close()
    await server.wait_closed()
    return rest


@pytest.mark.parametrize("direct", [False, True], ids=["plain", "direct"])
def test_reader(direct):
    found = ours(ended_by_hand, direct, None)
    assert found == asyncios(ended_by_hand, None)
    assert found == {"result": b"", "reports": [AssertionError], "stops": 0}


@pytest.mark.parametrize("direct", [False, True], ids=["plain", "direct"])
def test_reader_over_tls(direct, certificates):
    found = ours(ended_by_hand, direct, (certificates.server(), certificates.client()))
    assert found == {"result": b"", "reports": [AssertionError], "stops": 0}


# Pipes.


async def read_pipe(stage, kind, place, error):
    actor = kind(place, error)
    with pipe_pair() as (source, sink):

        def factory():
            if place == "factory":
                raise error
            return actor

        task = stage.loop.create_task(stage.loop.connect_read_pipe(factory, source))
        await asyncio.wait([task])
        if task.cancelled() or task.exception() is not None:
            return "no transport"
        await stage.settle()
        sink.write(b"data")
        await until(lambda: actor.seen("data_received", "connection_lost"))
        await stage.settle()
        sink.close()
        await until(lambda: actor.seen("connection_lost"))
        await stage.settle()
        return actor.events, actor.end, source.closed


async def write_pipe(stage, kind, place, error):
    actor = kind(place, error)
    with pipe_pair() as (source, sink):

        def factory():
            if place == "factory":
                raise error
            return actor

        task = stage.loop.create_task(stage.loop.connect_write_pipe(factory, sink))
        await asyncio.wait([task])
        if task.cancelled() or task.exception() is not None:
            return "no transport"
        await stage.settle()
        stage.loop.call_soon(actor.transport.write, BIG[: 1 << 20])
        await until(lambda: actor.seen("pause_writing"))
        stage.loop.call_soon(actor.transport.write, b"the rest")
        await stage.settle()
        got = 0
        while got < (1 << 20) + 8:
            await stage.settle()
            got += len(source.read(1 << 16))
        await until(lambda: actor.seen("resume_writing"))
        await stage.settle()
        actor.transport.close()
        await until(lambda: actor.seen("connection_lost"))
        await stage.settle()
        return actor.events, actor.end, sink.closed, source.read(1)


@pytest.mark.parametrize("error", ORDINARY + STOPPING, ids=names)
@pytest.mark.parametrize(
    "place", ["factory", "connection_made", "data_received", "eof_received", "connection_lost"], ids=names
)
def test_reading_pipes(place, error):
    found = ours(read_pipe, False, Stream, place, error)
    if place == "data_received" and error in ORDINARY:
        # As with sockets; asyncio's pipe reads on.
        events, end, closed = found["result"]
        assert (events[-2:], end, closed) == (["data_received", "connection_lost"], error, True)
        assert found["reports"] == ([error] if error is not OSError else [])
    else:
        assert found == asyncios(read_pipe, Stream, place, error)


@pytest.mark.parametrize("error", ORDINARY + STOPPING, ids=names)
@pytest.mark.parametrize(
    "place", ["factory", "connection_made", "pause_writing", "resume_writing", "connection_lost"], ids=names
)
def test_writing_pipes(place, error):
    found = ours(write_pipe, False, Stream, place, error)
    assert found == asyncios(write_pipe, Stream, place, error)


# Datagrams.


async def datagrams(stage, place, error):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        actor = Datagrams(place, error)

        def factory():
            if place == "factory":
                raise error
            return actor

        task = stage.loop.create_task(stage.loop.create_datagram_endpoint(factory, remote_addr=peer.getsockname()))
        await asyncio.wait([task])
        if task.cancelled() or task.exception() is not None:
            return "no transport"
        await stage.settle()
        address = actor.transport.get_extra_info("sockname")
        for number in range(2):
            peer.sendto(b"data", address)
            await until(lambda number=number: actor.received == 4 * (number + 1))
            await stage.settle()
    # Nobody listens any more.
    for _ in range(2):
        actor.events.append("sent")
        actor.transport.sendto(b"data")
        await until(lambda: actor.events[-1] == "error_received")
        await stage.settle()
    actor.transport.close()
    await until(lambda: actor.seen("connection_lost"))
    await stage.settle()
    return actor.events, actor.end


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("error", ORDINARY + STOPPING, ids=names)
@pytest.mark.parametrize(
    "place", ["factory", "connection_made", "datagram_received", "error_received", "connection_lost"]
)
@pytest.mark.filterwarnings(  # asyncio leaves the socket to the collector when the factory raises
    "ignore:.*finalizing socket:pytest.PytestUnraisableExceptionWarning"
)
def test_datagrams(place, error):
    found = ours(datagrams, False, place, error)
    assert found == asyncios(datagrams, place, error)


# Children.


async def child(stage, place, error):
    actor = Child(place, error)

    def factory():
        if place == "factory":
            raise error
        return actor

    start = stage.loop.subprocess_exec(factory, "/bin/sh", "-c", "echo data; read line", stderr=None)
    task = stage.loop.create_task(start)
    await asyncio.wait([task])
    if task.cancelled() or task.exception() is not None:
        return "no child"
    await until(lambda: actor.seen("pipe_data_received", "pipe_connection_lost"))
    await stage.settle()
    if (pipe := actor.transport.get_pipe_transport(0)) is not None:
        pipe.close()
    await until(lambda: actor.seen("process_exited"))
    actor.transport.close()
    if place != "process_exited":
        await until(lambda: actor.seen("connection_lost"))
    await stage.settle()
    # The order in which its pipes and itself end is not fixed.
    return sorted(set(actor.events)), actor.transport.get_returncode()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt], ids=names)
@pytest.mark.parametrize(
    "place",
    ["factory", "connection_made", "pipe_data_received", "pipe_connection_lost", "process_exited", "connection_lost"],
)
def test_children(place, error):
    found = ours(child, False, place, error)
    assert found == asyncios(child, place, error)


# What the loop itself calls.


async def callbacks(stage, place, error):
    said = []
    loop = stage.loop

    def fail(*arguments):
        said.append("fail")
        raise error

    def fail_once(*arguments):
        if "fail" not in said:
            fail()
        said.append("again")

    async def coroutine():
        said.append("coroutine")
        fail()

    with contextlib.ExitStack() as stack:
        here, there = (stack.enter_context(sock) for sock in socket.socketpair())
        for sock in (here, there):
            sock.setblocking(False)
        if place == "call_soon":
            loop.call_soon(said.append, "before")
            loop.call_soon(fail)
            loop.call_soon(said.append, "after")
        elif place == "call_soon_threadsafe":
            await asyncio.to_thread(loop.call_soon_threadsafe, fail)
        elif place == "call_later":
            when = loop.time() + 0.001
            for callback in (lambda: said.append("before"), fail, lambda: said.append("after")):
                loop.call_at(when, callback)
            await until(lambda: "after" in said)
        elif place == "add_reader":
            loop.add_reader(here, fail_once)
            there.send(b"data")
            await until(lambda: "again" in said)
            loop.remove_reader(here)
        elif place == "add_writer":
            loop.add_writer(here, fail_once)
            await until(lambda: "again" in said)
            loop.remove_writer(here)
        elif place == "done callback":
            future = loop.create_future()
            future.add_done_callback(lambda future: said.append("before"))
            future.add_done_callback(fail)
            future.add_done_callback(lambda future: said.append("after"))
            future.set_result(None)
        elif place == "task":
            task = loop.create_task(coroutine())
            await asyncio.wait([task])
            said.append("cancelled" if task.cancelled() else type(task.exception()))
        elif place == "signal":
            loop.add_signal_handler(signal.SIGUSR1, fail)
            signal.raise_signal(signal.SIGUSR1)
            await until(lambda: said)
            loop.remove_signal_handler(signal.SIGUSR1)
        elif place == "exception handler":
            loop.set_exception_handler(fail)
            loop.call_soon(lambda: 1 / 0)
            await until(lambda: said)
            await stage.settle()
            loop.set_exception_handler(stage.report)
        elif place == "context repr":

            class Silent:
                def __repr__(self):
                    raise error

            loop.set_exception_handler(None)
            try:
                loop.call_exception_handler({"message": "something", "object": Silent()})
            except error:
                said.append("raised")
            else:
                said.append("logged")
            loop.set_exception_handler(stage.report)
        await until(lambda: said)
        await stage.settle()
    while "again" in said[:-1]:
        said.remove("again")  # how often is a matter of luck
    return said


@pytest.mark.parametrize("error", ORDINARY + STOPPING, ids=names)
@pytest.mark.parametrize(
    "place",
    [
        "call_soon",
        "call_soon_threadsafe",
        "call_later",
        "add_reader",
        "add_writer",
        "done callback",
        "task",
        "signal",
        "exception handler",
        "context repr",
    ],
)
def test_callbacks(place, error, caplog):
    found = ours(callbacks, False, place, error)
    ours_logged = [record.getMessage() for record in caplog.records]
    caplog.clear()
    assert found == asyncios(callbacks, place, error)
    assert ours_logged == [record.getMessage() for record in caplog.records]
