"""connect_write_pipe: pipes, sockets and terminals as transports that write."""

import asyncio
import contextlib
import gc
import logging
import os
import pty
import socket
import threading
import tty

import pytest

from pipe_ends import Writer, filled, opened_to_write, read_all
from rings import pipe_pair
from running import idle, in_flight, run, turns, until


def test_what_a_writer_does(loop):
    with pipe_pair() as (source, sink):
        transport, protocol = opened_to_write(loop, sink)
        assert isinstance(transport, asyncio.WriteTransport)
        assert isinstance(transport, asyncio.Transport)  # asyncio's is one too
        for name in ("is_reading", "pause_reading", "resume_reading"):
            with pytest.raises(NotImplementedError):
                getattr(transport, name)()
        assert transport.get_extra_info("pipe") is sink
        assert transport.can_write_eof()
        assert transport.get_write_buffer_size() == 0
        transport.write(b"one ")
        transport.write(bytearray(b"two "))
        transport.write(memoryview(b"three "))
        transport.write(b"")
        transport.writelines([b"four ", bytearray(b"five")])
        expected = b"one two three four five"
        turns(loop)
        assert read_all(source, len(expected)) == expected
        transport.close()
        assert run(loop, protocol.lost) is None
        assert source.read(1) == b"" and sink.closed
        assert protocol.events == ["made", "lost"]


@contextlib.contextmanager
def socket_to_write():
    here, there = socket.socketpair()
    with here, there, there.makefile("rb", buffering=0) as source:
        yield here, source


@contextlib.contextmanager
def terminal_to_write():
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    tty.setraw(theirs)
    with open(ours, "rb", buffering=0) as source, open(theirs, "wb", buffering=0) as sink:
        yield sink, source


@contextlib.contextmanager
def fifo_to_write():
    with pipe_pair() as (source, sink):
        yield sink, source


@pytest.mark.parametrize("kind", [fifo_to_write, socket_to_write, terminal_to_write])
def test_kinds_that_can_be_written(loop, kind):
    data = bytes(range(256)) * 1000  # more than any of them holds
    with kind() as (file, source):
        transport, protocol = opened_to_write(loop, file)
        found = []
        thread = threading.Thread(target=lambda: found.append(read_all(source, len(data))))
        thread.start()
        transport.write(data)
        transport.close()
        assert run(loop, protocol.lost) is None
        thread.join()
        assert found == [data]


def test_what_was_written_may_be_changed_afterwards(loop):
    with pipe_pair() as (source, sink):
        transport, _ = opened_to_write(loop, sink)
        data = bytearray(b"right")
        transport.write(data)
        transport.write(memoryview(data))
        data[:] = b"wrong"
        turns(loop)
        assert read_all(source, 10) == b"rightright"
        transport.close()
        turns(loop)


@pytest.mark.parametrize("wrong", ["text", 5, None, [b"x"]])
def test_not_bytes(loop, wrong):
    with pipe_pair() as (_, sink):
        transport, _ = opened_to_write(loop, sink)
        with pytest.raises(TypeError):
            transport.write(wrong)
        transport.close()
        turns(loop)


def test_written_while_the_loop_rests(loop):
    with pipe_pair() as (source, sink):
        os.set_blocking(source.fileno(), False)
        transport, _ = opened_to_write(loop, sink)
        transport.write(b"now")
        assert source.read(10) == b"now"
        transport.close()
        turns(loop)


def test_flow_control(loop):
    with pipe_pair() as (source, sink):
        transport, protocol = opened_to_write(loop, sink)
        transport.set_write_buffer_limits(high=200_000, low=50_000)
        assert transport.get_write_buffer_limits() == (50_000, 200_000)
        total = filled(loop, transport, protocol)
        assert transport.get_write_buffer_size() > 200_000
        assert protocol.events == ["made", "pause"]

        def drain():
            found.append(read_all(source, total))

        found = []
        thread = threading.Thread(target=drain)
        thread.start()
        run(loop, protocol.resumed.wait())
        assert transport.get_write_buffer_size() <= 50_000
        run(loop, until(lambda: transport.get_write_buffer_size() == 0))
        thread.join()
        assert protocol.events == ["made", "pause", "resume"]
        transport.close()
        assert run(loop, protocol.lost) is None


def test_written_while_a_protocol_is_told_to_go_on(loop):
    class Filling(Writer):
        def resume_writing(self):
            Writer.resume_writing(self)
            self.transport.write(b"last")
            self.transport.close()

    with pipe_pair() as (source, sink):
        transport, protocol = run(loop, loop.connect_write_pipe(lambda: Filling(loop), sink))
        total = filled(loop, transport, protocol)
        found = []
        thread = threading.Thread(target=lambda: found.append(read_all(source, total + 4)))
        thread.start()
        assert run(loop, protocol.lost) is None
        thread.join()
        assert found[0].endswith(b"xlast") and len(found[0]) == total + 4


@pytest.mark.parametrize("way", ["close", "write_eof"])
def test_closing_sends_the_rest_first(loop, way):
    with pipe_pair() as (source, sink):
        transport, protocol = opened_to_write(loop, sink)
        total = filled(loop, transport, protocol)
        transport.write(b"last")
        getattr(transport, way)()
        transport.write(b"too late")
        turns(loop)
        assert transport.is_closing() and not protocol.lost.done()
        found = []
        thread = threading.Thread(target=lambda: found.append(read_all(source, total + 4)))
        thread.start()
        assert run(loop, protocol.lost) is None
        thread.join()
        assert found[0].endswith(b"xlast") and source.read(1) == b""


def test_abort_drops_the_rest(loop):
    with pipe_pair() as (source, sink):
        before = idle(loop)
        transport, protocol = opened_to_write(loop, sink)
        total = filled(loop, transport, protocol)
        transport.abort()
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        assert run(loop, protocol.lost) is None
        run(loop, until(lambda: in_flight(loop) == before))
        assert sink.closed and protocol.events.count("lost") == 1
        found = source.read(total)
        while data := source.read(total):
            found += data
        assert len(found) < total


def test_reading_end_is_closed_when_nothing_is_to_be_written(loop):
    with pipe_pair() as (source, sink):
        _, protocol = opened_to_write(loop, sink)
        turns(loop)
        source.close()
        assert run(loop, protocol.lost) is None
        assert sink.closed


def test_reading_end_is_closed_too_early(loop):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    with pipe_pair() as (source, sink):
        before = idle(loop)
        transport, protocol = opened_to_write(loop, sink)
        filled(loop, transport, protocol)
        source.close()
        assert isinstance(run(loop, protocol.lost), BrokenPipeError)
        run(loop, until(lambda: in_flight(loop) == before))
        assert contexts == [] and sink.closed


def test_reading_end_of_a_socket_is_closed(loop):
    here, there = socket.socketpair()
    with here, there:
        _, protocol = opened_to_write(loop, here)
        turns(loop)
        there.close()
        assert run(loop, protocol.lost) is None
        assert here.fileno() == -1


def test_reading_end_is_closed_after_close(loop):
    with pipe_pair() as (source, sink):
        transport, protocol = opened_to_write(loop, sink)
        filled(loop, transport, protocol)
        transport.close()
        source.close()
        assert isinstance(run(loop, protocol.lost), BrokenPipeError)
        assert protocol.events.count("lost") == 1


def test_writes_to_a_lost_pipe_are_dropped_and_then_warned_about(loop, caplog):
    with pipe_pair() as (source, sink):
        transport, protocol = opened_to_write(loop, sink)
        source.close()
        run(loop, protocol.lost)
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(4):
                transport.write(b"x")
            assert not caplog.records
            for _ in range(50):
                transport.write(b"x")
            [record] = caplog.records
            assert record.getMessage().startswith("pipe closed by peer")
        assert transport.get_write_buffer_size() == 0


def test_writer_that_nobody_refers_to_writes_the_rest(loop):
    with pipe_pair() as (source, sink):
        transport, protocol = opened_to_write(loop, sink)
        total = filled(loop, transport, protocol)
        lost = protocol.lost
        del transport, protocol
        gc.collect()
        found = []
        thread = threading.Thread(target=lambda: (found.append(read_all(source, total)), source.close()))
        thread.start()
        assert run(loop, lost) is None  # the reading end was closed
        thread.join()
        assert found == [b"x" * total]
