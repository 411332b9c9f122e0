"""connect_read_pipe: pipes, sockets and terminals as transports that read; and both ends together."""

import asyncio
import contextlib
import contextvars
import fcntl
import gc
import os
import pty
import random
import socket
import stat
import tty
import weakref

import pytest

from pipe_ends import Reader, filled, opened, opened_to_write
from rings import pipe_pair
from running import idle, in_flight, run, turns, unclosed, until

# Reading.


def test_what_a_reader_is_told(loop):
    with pipe_pair() as (source, sink):
        transport, protocol = opened(loop, source)
        assert isinstance(transport, asyncio.ReadTransport)
        assert protocol.transport is transport
        assert transport.get_protocol() is protocol
        assert transport.get_extra_info("pipe") is source
        assert transport.get_extra_info("nothing", 7) == 7
        assert transport.is_reading() and not transport.is_closing()
        sink.write(b"hello ")
        run(loop, until(lambda: protocol.data))
        sink.write(b"world")
        sink.close()
        assert run(loop, protocol.lost) is None
        assert protocol.data == b"hello world"
        assert protocol.events == ["made", "data", "eof", "lost"]
        assert source.closed and transport.is_closing() and not transport.is_reading()


@contextlib.contextmanager
def fifo():
    with pipe_pair() as (source, sink):
        yield source, sink.write


@contextlib.contextmanager
def unix_socket():
    here, there = socket.socketpair()
    with here, there:
        yield here, there.send


@contextlib.contextmanager
def terminal():
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    with open(ours, "rb", buffering=0) as source, open(theirs, "wb", buffering=0) as sink:
        yield source, sink.write


@pytest.mark.parametrize("kind", [fifo, unix_socket, terminal])
def test_kinds_that_can_be_read(loop, kind):
    with kind() as (file, write):
        transport, protocol = opened(loop, file)
        for number in range(5):
            turns(loop)  # also when it was waited for
            write(b"%d" % number)
            run(loop, until(lambda: len(protocol.data) > number))  # noqa: B023
        assert protocol.data == b"01234"
        transport.close()
        assert run(loop, protocol.lost) is None


@pytest.mark.parametrize("way", ["read", "write"])
def test_other_kinds_are_refused(loop, tmp_path, way):
    with open(tmp_path / "file", "w+b", buffering=0) as file:
        connect = loop.connect_read_pipe if way == "read" else loop.connect_write_pipe
        with pytest.raises(ValueError, match="Pipe transport is"):
            run(loop, connect(asyncio.Protocol, file))


def test_far_end_of_a_terminal_is_closed(loop):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as file:
        _, protocol = opened(loop, file)
        os.write(theirs, b"x")
        run(loop, until(lambda: protocol.data))
        os.close(theirs)
        error = run(loop, protocol.lost)
        assert isinstance(error, OSError) and "Input/output" in str(error)
        assert contexts == [], "it is how terminals end"


def test_descriptor_does_not_block_from_then_on(loop):
    with pipe_pair() as (source, sink):
        reading, _ = opened(loop, source)
        writing, _ = opened_to_write(loop, sink)
        assert not os.get_blocking(source.fileno()) and not os.get_blocking(sink.fileno())
        reading.close(), writing.close()
        turns(loop)


def test_much_data_both_ways(loop):
    data = random.Random(1).randbytes(4 << 20)
    with pipe_pair() as (source, sink):
        _, reader = opened(loop, source)
        transport, writer = opened_to_write(loop, sink)

        async def main():
            sizes = random.Random(2)
            at = 0
            while at < len(data):
                size = sizes.choice([1, 100, 5000, 70000, 300000])
                transport.write(data[at : at + size])
                at += size
                if sizes.random() < 0.5:
                    await asyncio.sleep(0)
            transport.close()
            assert await writer.lost is None
            assert await reader.lost is None

        run(loop, main())
        assert reader.data == data


def test_more_pipes_than_buffers(loop):
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(pipe_pair()) for _ in range(loop.statistics()["buffers"] + 50)]
        protocols = [opened(loop, source)[1] for source, _ in pairs]
        for number, (_, sink) in enumerate(pairs):
            sink.write(b"%d" % number)
        for _, sink in pairs:
            sink.close()
        run(loop, asyncio.gather(*(protocol.lost for protocol in protocols)))
        assert [protocol.data for protocol in protocols] == [b"%d" % number for number in range(len(pairs))]
        assert loop.statistics()["buffers_free"] == loop.statistics()["buffers"]


def test_pause_and_resume(loop):
    with pipe_pair() as (source, sink):
        transport, protocol = opened(loop, source)
        transport.pause_reading()
        assert not transport.is_reading()
        sink.write(b"one ")
        turns(loop)
        sink.write(b"two ")
        turns(loop)
        assert protocol.events == ["made"]
        transport.resume_reading()
        assert transport.is_reading()
        run(loop, until(lambda: protocol.data == b"one two "))
        sink.write(b"three")
        run(loop, until(lambda: protocol.data == b"one two three"))
        for _ in range(3):
            transport.pause_reading()
            transport.pause_reading()
            transport.resume_reading()
            transport.resume_reading()
        sink.write(b" four")
        run(loop, until(lambda: protocol.data == b"one two three four"))
        transport.close()
        turns(loop)


def test_paused_before_anything_was_read(loop):
    class Pausing(Reader):
        def connection_made(self, transport):
            Reader.connection_made(self, transport)
            transport.pause_reading()

    with pipe_pair() as (source, sink):
        sink.write(b"x")
        transport, protocol = run(loop, loop.connect_read_pipe(lambda: Pausing(loop), source))
        turns(loop)
        assert protocol.events == ["made"]
        transport.resume_reading()
        run(loop, until(lambda: protocol.data == b"x"))
        transport.close()
        turns(loop)


def test_pausing_at_every_piece_loses_none(loop):
    class Pausing(Reader):
        def data_received(self, data):
            assert self.transport.is_reading()
            Reader.data_received(self, data)
            self.transport.pause_reading()
            loop.call_soon(self.transport.resume_reading)

    data = random.Random(3).randbytes(300_000)
    with pipe_pair() as (source, sink):
        _, protocol = run(loop, loop.connect_read_pipe(lambda: Pausing(loop), source))
        transport, _ = opened_to_write(loop, sink)
        transport.write(data)
        transport.close()
        assert run(loop, protocol.lost) is None
        assert protocol.data == data


def test_end_waits_while_reading_is_paused(loop):
    with pipe_pair() as (source, sink):
        transport, protocol = opened(loop, source)
        sink.write(b"x")
        transport.pause_reading()
        turns(loop)
        sink.close()
        turns(loop)
        assert protocol.events == ["made"]
        transport.resume_reading()
        assert run(loop, protocol.lost) is None
        assert protocol.events == ["made", "data", "eof", "lost"]


def test_other_protocol_from_now_on(loop):
    with pipe_pair() as (source, sink):
        transport, first = opened(loop, source)
        sink.write(b"1")
        run(loop, until(lambda: first.data))
        second = Reader(loop)
        second.events.append("set")
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        sink.write(b"2")
        sink.close()
        run(loop, second.lost)
        assert first.events == ["made", "data"] and second.events == ["set", "data", "eof", "lost"]


def test_context_of_the_protocol(loop):
    name = contextvars.ContextVar("name", default="nobody")
    said = []

    class Speaking(Reader):
        def data_received(self, data):
            said.append(name.get())
            Reader.data_received(self, data)

        def connection_lost(self, exception):
            said.append(name.get())
            Reader.connection_lost(self, exception)

    async def main():
        name.set("somebody")
        return await loop.connect_read_pipe(lambda: Speaking(loop), source)

    with pipe_pair() as (source, sink):
        _, protocol = run(loop, main())
        sink.write(b"x")
        sink.close()
        run(loop, protocol.lost)
    assert said == ["somebody", "somebody"]


def test_exception_of_the_protocol_ends_the_transport(loop):
    class Failing(Reader):
        def data_received(self, data):
            raise ArithmeticError(data)

    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    with pipe_pair() as (source, sink):
        transport, protocol = run(loop, loop.connect_read_pipe(lambda: Failing(loop), source))
        sink.write(b"x")
        error = run(loop, protocol.lost)
        assert isinstance(error, ArithmeticError) and contexts[0]["exception"] is error
        assert contexts[0]["transport"] is transport and source.closed


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_does_not_end_reading(loop, error):
    class Ending(Reader):
        def data_received(self, data):
            Reader.data_received(self, data)
            if data == b"!":
                raise error

    with pipe_pair() as (source, sink):
        transport, protocol = run(loop, loop.connect_read_pipe(lambda: Ending(loop), source))
        sink.write(b"!")
        with pytest.raises(error):
            loop.run_forever()
        sink.write(b"more")
        run(loop, until(lambda: protocol.data == b"!more"))
        transport.close()
        assert run(loop, protocol.lost) is None


def test_reader_is_closed(loop):
    with pipe_pair() as (source, sink):
        before = idle(loop)
        transport, protocol = opened(loop, source)
        turns(loop)
        assert in_flight(loop) > before
        transport.close()
        transport.close()
        sink.write(b"too late")
        assert run(loop, protocol.lost) is None
        run(loop, until(lambda: in_flight(loop) == before))
        assert protocol.events == ["made", "lost"] and source.closed
        with pytest.raises(BrokenPipeError):
            sink.write(b"x")
        transport.resume_reading()
        transport.pause_reading()


def test_reader_is_closed_by_its_protocol(loop):
    class Closing(Reader):
        def data_received(self, data):
            Reader.data_received(self, data)
            self.transport.close()

    with pipe_pair() as (source, sink):
        _, protocol = run(loop, loop.connect_read_pipe(lambda: Closing(loop), source))
        fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, 1 << 18)
        sink.write(b"x" * (1 << 18))  # more than one piece
        assert run(loop, protocol.lost) is None
        assert 0 < len(protocol.data) < 1 << 18
        assert protocol.events == ["made", "data", "lost"]


def test_reader_whose_protocol_closes_it_at_once(loop):
    class Closing(Reader):
        def connection_made(self, transport):
            Reader.connection_made(self, transport)
            transport.close()

    with pipe_pair() as (source, sink):
        before = idle(loop)
        sink.write(b"x")
        _, protocol = run(loop, loop.connect_read_pipe(lambda: Closing(loop), source))
        assert run(loop, protocol.lost) is None
        assert protocol.events == ["made", "lost"]
        assert in_flight(loop) == before


def test_reader_that_nobody_refers_to_goes_on(loop):
    with pipe_pair() as (source, sink):
        transport, protocol = opened(loop, source)
        reference, data, lost = weakref.ref(protocol), protocol.data, protocol.lost
        turns(loop)
        del transport, protocol
        gc.collect()
        sink.write(b"x" * 100)
        sink.close()
        assert run(loop, lost) is None
        assert data == b"x" * 100
        turns(loop)
        gc.collect()
        assert reference() is None


# Together.


def test_streams_over_pipes(loop):
    async def main():
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sink)
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        lines = [b"%d %s\n" % (number, b"x" * (number % 3000)) for number in range(1000)]

        async def write():
            for line in lines:
                writer.write(line)
                await writer.drain()
            transport.close()

        task = asyncio.create_task(write())
        found = [line async for line in reader]
        await task
        assert found == lines

    with pipe_pair() as (source, sink):
        run(loop, main())


def test_named_pipe(loop, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with open(os.open(path, os.O_RDWR | os.O_NONBLOCK), "r+b", buffering=0) as both:
        assert stat.S_ISFIFO(os.fstat(both.fileno()).st_mode)
        reading, reader = opened(loop, both)
        with open(path, "wb", buffering=0) as sink:
            writing, writer = opened_to_write(loop, sink)
            writing.write(b"x")
            run(loop, until(lambda: reader.data == b"x"))
            writing.close()
            run(loop, writer.lost)
        turns(loop)
        assert not reader.lost.done()
        reading.close()
        run(loop, reader.lost)


def test_named_pipe_without_a_writer_yet(loop, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as source:
        _, reader = opened(loop, source)
        turns(loop, 10)
        assert reader.events == ["made"]
        with open(path, "wb", buffering=0) as sink:
            sink.write(b"x")
            run(loop, until(lambda: reader.data == b"x"))
        assert run(loop, reader.lost) is None
    assert reader.events == ["made", "data", "eof", "lost"]


# The end of the loop.


def test_loop_is_closed_under_a_read(loop):
    with pipe_pair() as (source, sink):
        protocol = opened(loop, source)[1]
        reference = weakref.ref(protocol)
        turns(loop)
        sink.write(b"x")
        del protocol
        with unclosed():
            loop.close()
        assert reference() is None and source.closed


def test_loop_is_closed_with_something_held(loop):
    with pipe_pair() as (source, sink):
        transport, protocol = opened(loop, source)
        turns(loop)
        transport.pause_reading()
        sink.write(b"x")
        turns(loop)
        sink.close()
        transport.resume_reading()
        del transport, protocol
        with unclosed():
            loop.close()
        assert source.closed


def test_loop_is_closed_under_a_write(loop):
    with pipe_pair() as (_, sink):
        transport, protocol = opened_to_write(loop, sink)
        filled(loop, transport, protocol)
        reference = weakref.ref(protocol)
        del transport, protocol
        with unclosed():
            loop.close()
        assert reference() is None and sink.closed


def test_transport_outlives_the_loop(loop):
    with pipe_pair() as (source, sink):
        reading = opened(loop, source)[0]
        writing = opened_to_write(loop, sink)[0]
        loop.close()
        assert writing.get_write_buffer_size() == 0
        assert "PipeReader" in repr(reading) and "PipeWriter" in repr(writing)
        with unclosed():
            del reading, writing
        assert source.closed and sink.closed


@pytest.mark.parametrize("end", ["reading", "writing"])
def test_protocol_of_a_closed_pipe_is_freed_without_the_garbage_collector(loop, end):
    class Keeping(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def connection_lost(self, exception):
            lost.set_result(exception)

    async def main():
        reading, writing = os.pipe()
        if end == "reading":
            transport, protocol = await loop.connect_read_pipe(Keeping, os.fdopen(reading, "rb", 0))
            os.close(writing)
        else:
            transport, protocol = await loop.connect_write_pipe(Keeping, os.fdopen(writing, "wb", 0))
            os.close(reading)
        reference = weakref.ref(protocol)
        await lost
        del transport, protocol
        await asyncio.sleep(0)
        return reference

    lost = loop.create_future()
    gc.collect()
    gc.disable()
    try:
        reference = run(loop, main())
        assert reference() is None
    finally:
        gc.enable()


def test_children_leave_no_garbage(loop):
    async def child():
        process = await asyncio.create_subprocess_exec("true", stdout=-1)
        await process.communicate()

    async def main():
        for _ in range(3):
            await child()
        gc.collect()
        gc.disable()
        before = len(gc.get_objects())
        for _ in range(10):
            await child()
        return len(gc.get_objects()) - before

    try:
        assert run(loop, main()) < 30  # a cycle has five objects for each of the ten
    finally:
        gc.enable()
