"""add_reader and add_writer: readiness that is told for as long as it lasts."""

import asyncio
import contextlib
import contextvars
import gc
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref

import pytest

import ioring
from rings import WAIT_S, descriptors, pipe_pair, stream_pair
from running import idle, in_flight, run, turns, until

# When callbacks are called.


def test_reader_is_called_as_long_as_something_is_there(loop):
    with pipe_pair() as (source, sink):
        said = []
        loop.add_reader(source, lambda: said.append(source.read(1)))
        turns(loop)
        assert said == []
        sink.write(b"abcdef")
        run(loop, until(lambda: len(said) == 6))
        turns(loop)
        assert said == [b"a", b"b", b"c", b"d", b"e", b"f"]
        sink.write(b"g")
        run(loop, until(lambda: len(said) == 7))
        assert loop.remove_reader(source)


def test_reader_that_takes_nothing_is_called_again_and_again(loop):
    with pipe_pair() as (source, sink):
        sink.write(b"x")
        said = []
        loop.add_reader(source, said.append, 1)
        run(loop, until(lambda: len(said) == 20))
        assert loop.remove_reader(source)
        count = len(said)
        turns(loop)
        assert len(said) == count


def test_reader_wakes_a_loop_that_waits(loop):
    with pipe_pair() as (source, sink):
        future = loop.create_future()
        loop.add_reader(source, lambda: future.done() or future.set_result(source.read(1)))
        thread = threading.Thread(target=sink.write, args=(b"x",))
        loop.call_soon(thread.start)
        assert run(loop, future) == b"x"
        thread.join()
        loop.remove_reader(source)


def test_writer_is_called_when_something_fits(loop):
    with stream_pair() as (here, there):
        here.setblocking(False)
        calls, sent = [], []

        def fill():
            calls.append(1)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent.append(here.send(b"x" * 4096))

        loop.add_writer(here, fill)
        run(loop, until(lambda: calls))
        turns(loop)
        count = len(calls)
        turns(loop)
        assert len(calls) == count, "called though nothing fits"
        there.settimeout(WAIT_S)
        left = sum(sent)
        while left:
            left -= len(there.recv(left))
        run(loop, until(lambda: len(calls) > count))
        assert loop.remove_writer(here)


def test_both_directions_of_one_descriptor(loop):
    with stream_pair() as (here, there):
        said = []
        loop.add_reader(here, lambda: said.append(here.recv(1)))
        loop.add_writer(here, lambda: said.append("writable"))
        run(loop, until(lambda: said.count("writable") > 2))
        there.send(b"x")
        run(loop, until(lambda: b"x" in said))
        assert loop.remove_writer(here)
        assert not loop.remove_writer(here)
        said.clear()
        there.send(b"y")
        run(loop, until(lambda: said))
        assert said == [b"y"]
        assert loop.remove_reader(here)


def test_end_of_the_other_side_is_readiness(loop):
    said = []
    with pipe_pair() as (source, sink):
        loop.add_reader(source, lambda: said.append(source.read(1)))
        turns(loop)
        sink.close()
        run(loop, until(lambda: said))
        assert loop.remove_reader(source)
    assert said[0] == b""
    said.clear()
    with pipe_pair() as (source, sink):
        source.close()
        loop.add_writer(sink, said.append, "broken")
        run(loop, until(lambda: said))
        assert loop.remove_writer(sink)


def test_arguments_and_context(loop):
    name = contextvars.ContextVar("name", default="nobody")
    said = []

    def read(*args):
        said.append((name.get(), args))
        loop.remove_reader(source)

    with pipe_pair() as (source, sink):
        sink.write(b"x")
        context = contextvars.copy_context()
        context.run(name.set, "somebody")
        context.run(loop.add_reader, source, read, 1, "two")
        run(loop, until(lambda: said))
    assert said == [("somebody", (1, "two"))]


# Adding and removing.


def test_second_callback_replaces_the_first(loop):
    with pipe_pair() as (source, sink):
        said = []
        assert loop.add_reader(source, said.append, 1) is None
        turns(loop)
        loop.add_reader(source, said.append, 2)
        sink.write(b"x")
        run(loop, until(lambda: said))
        assert loop.remove_reader(source)
        assert not loop.remove_reader(source)
        assert set(said) == {2}


def test_callback_that_replaces_itself(loop):
    with pipe_pair() as (source, sink):
        said = []

        def first():
            said.append("first")
            loop.add_reader(source, said.append, "second")

        loop.add_reader(source, first)
        sink.write(b"x")
        run(loop, until(lambda: len(said) >= 3))
        assert said[:3] == ["first", "second", "second"]
        assert loop.remove_reader(source)


def test_callback_that_removes_itself_is_called_once(loop):
    with pipe_pair() as (source, sink):
        before = idle(loop)
        said = []
        loop.add_reader(source, lambda: said.append(loop.remove_reader(source)))
        sink.write(b"x")
        run(loop, until(lambda: said))
        turns(loop)
        assert said == [True]
        assert in_flight(loop) == before


def test_removed_by_another_callback_of_the_same_turn(loop):
    with stream_pair() as (here, there):
        here.send(b"x")
        there.send(b"x")
        said = []

        def read(name, other):
            said.append(name)
            loop.remove_reader(other)

        loop.add_reader(here, read, "here", there)
        loop.add_reader(there, read, "there", here)
        run(loop, until(lambda: said))
        turns(loop)
        assert len(set(said)) == 1
        assert loop.remove_reader(here) != loop.remove_reader(there)


def test_a_future_that_is_done_is_not_set_again(loop):
    """The usual way to wait: who is cancelled, or told something else first, removes the reader in the next turn."""
    complaints = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))

    async def main():
        for how in ("cancel", "set", "close"):
            with stream_pair() as (here, there):
                future = loop.create_future()
                loop.add_reader(here, future.set_result, None)
                future.add_done_callback(lambda _, here=here: loop.remove_reader(here))
                await asyncio.sleep(0.001)
                loop.call_soon(there.send, b"x")
                if how == "cancel":
                    loop.call_soon(future.cancel)
                else:
                    loop.call_soon(future.set_result, None)
                if how == "close":
                    loop.call_soon(there.close)
                await asyncio.sleep(0.001)
                assert future.done() and not loop.remove_reader(here)

    run(loop, main())
    assert complaints == []


def test_removed_before_it_was_ever_submitted(loop):
    with pipe_pair() as (source, sink):
        before = idle(loop)
        sink.write(b"x")
        said = []
        loop.add_reader(source, said.append, 1)
        assert loop.remove_reader(source)
        turns(loop)
        assert said == [] and in_flight(loop) == before


def test_nothing_was_added(loop):
    with pipe_pair() as (source, sink):
        assert loop.remove_reader(source) is False
        assert loop.remove_writer(sink) is False
        loop.add_reader(source, print)
        assert loop.remove_writer(source) is False
        assert loop.remove_reader(source) is True


def test_no_request_is_left_when_all_are_removed(loop):
    with pipe_pair() as (source, _):
        before = idle(loop)
        for _attempt in range(100):
            loop.add_reader(source, print)
            turns(loop, 1)
            assert loop.remove_reader(source)
        run(loop, until(lambda: in_flight(loop) == before))


def test_removing_while_the_loop_rests_lets_go_of_the_file(loop):
    with stream_pair() as (here, there):
        loop.add_reader(here, print)
        turns(loop)
        assert loop.remove_reader(here)
        here.close()
        there.settimeout(WAIT_S)
        assert there.recv(1) == b""  # the loop does not run meanwhile


def test_number_of_a_closed_file_is_used_again(loop):
    said = []
    first = os.eventfd(0, os.EFD_CLOEXEC)
    kept = os.dup(first)
    second = None
    try:
        loop.add_reader(first, said.append, "first")
        turns(loop)
        assert loop.remove_reader(first)
        os.close(first)
        second = os.eventfd(0, os.EFD_CLOEXEC)
        assert second == first
        loop.add_reader(second, said.append, "second")
        turns(loop)
        os.eventfd_write(kept, 1)  # the first file, which lives on under another number
        turns(loop)
        assert said == []
        os.eventfd_write(second, 1)
        run(loop, until(lambda: said))
        assert set(said) == {"second"}
        assert loop.remove_reader(second)
    finally:
        os.close(kept)
        os.close(second if second is not None else first)


def test_replaced_when_the_number_means_another_file(loop):
    """Nobody removed the reader of the file that was closed."""
    said = []
    first = os.eventfd(0, os.EFD_CLOEXEC)
    loop.add_reader(first, said.append, "first")
    turns(loop)
    os.close(first)
    second = os.eventfd(1, os.EFD_CLOEXEC)
    try:
        assert second == first
        loop.add_reader(second, said.append, "second")
        run(loop, until(lambda: said))
        assert set(said) == {"second"}
        assert loop.remove_reader(second)
    finally:
        os.close(second)


# Files that are closed while they are watched.


def test_closing_a_watched_file_closes_it(loop):
    with stream_pair() as (here, there):
        loop.add_reader(here, print)
        turns(loop)
        here.close()
        there.settimeout(WAIT_S)
        assert there.recv(1) == b""


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_removed_by_the_object_after_its_close(loop, direction):
    add, remove = getattr(loop, f"add_{direction}"), getattr(loop, f"remove_{direction}")
    with stream_pair() as (here, _), stream_pair() as (never, _):
        add(here, print)
        turns(loop)
        here.close()
        assert remove(here) is True
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            remove(here)  # nothing is known of it any more
        never.close()
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            remove(never)


def test_removed_by_the_object_that_has_given_its_number_away(loop):
    said = []
    with stream_pair() as (here, _), stream_pair() as (other, end):
        loop.add_reader(here, said.append, "closed")
        loop.add_writer(here, said.append, "closed")
        number = here.fileno()
        here.close()
        os.dup2(other.fileno(), number)
        try:
            loop.add_reader(number, said.append, "other")
            turns(loop)
            assert said == []
            end.send(b"x")
            run(loop, until(lambda: said))
            assert set(said) == {"other"}
            assert not loop.remove_writer(number) and loop.remove_reader(number)
        finally:
            os.close(number)


@pytest.mark.parametrize("ready", [True, False])
def test_nothing_is_called_for_a_file_that_has_the_number_of_a_watched_one(loop, ready):
    said = []
    with stream_pair() as (here, there), stream_pair() as (other, end):
        number = here.fileno()
        loop.add_reader(number, said.append, 1)
        turns(loop)
        if ready:
            there.send(b"x")  # and nobody has looked yet
        here.detach()
        os.dup2(other.fileno(), number)
        try:
            end.send(b"x")
            turns(loop, 5)
            assert said == []
        finally:
            os.close(number)


def test_a_file_that_lives_on_under_another_number_keeps_nobody_busy(loop):
    """The kernel tells of it as long as it is open, and by its old number it can be removed no more."""
    said = []
    with stream_pair() as (here, there), stream_pair() as (other, end):
        number = here.fileno()
        loop.add_reader(other, said.append, "other")
        loop.add_reader(number, said.append, "first")
        turns(loop)
        kept = os.dup(number)
        here.detach()
        os.close(number)
        assert loop.remove_reader(number)
        there.send(b"x")
        turns(loop, 5)
        before = loop.statistics()["turns"]
        run(loop, asyncio.sleep(0.05))
        assert loop.statistics()["turns"] < before + 20
        end.send(b"x")
        run(loop, until(lambda: said))
        assert set(said) == {"other"}  # those that are watched still are
        assert loop.remove_reader(other)
        os.close(kept)


def test_the_child_of_a_fork_runs_none_of_the_callbacks_left(loop):
    ran = []

    def fork():
        ran.append(os.fork())
        if ran[-1] == 0:
            os.environ["IORING_TEST_CHILD"] = "1"

    with stream_pair() as (here, there), stream_pair() as (here_too, there_too):
        there.send(b"x"), there_too.send(b"x")
        for sock in (here, here_too):
            loop.add_reader(sock, fork)
        try:
            loop.call_later(WAIT_S, loop.stop)
            loop.call_soon(lambda: loop.call_soon(loop.stop))
            loop.run_forever()
        finally:
            if os.environ.pop("IORING_TEST_CHILD", None):
                os._exit(3 if ran.count(0) == 1 else 4)
        assert len(ran) >= 2 and all(ran)
        for child in ran:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


# What can be watched.


@contextlib.contextmanager
def eventfd():
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    yield fd, lambda: os.eventfd_write(fd, 1)
    os.close(fd)


@contextlib.contextmanager
def pidfd():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    fd = os.pidfd_open(child.pid)
    yield fd, child.stdin.close
    os.close(fd)
    assert child.wait(WAIT_S) == 1


@contextlib.contextmanager
def epoll():
    with select.epoll() as poll, pipe_pair() as (source, sink):
        poll.register(source, select.EPOLLIN)
        yield poll, lambda: sink.write(b"x")


@contextlib.contextmanager
def terminal():
    ours, theirs = pty.openpty()
    yield ours, lambda: os.write(theirs, b"x")
    os.close(ours)
    os.close(theirs)


@contextlib.contextmanager
def fifo():
    with pipe_pair() as (source, sink):
        yield source, lambda: sink.write(b"x")


@contextlib.contextmanager
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        clients = []
        yield server, lambda: clients.append(socket.create_connection(server.getsockname(), WAIT_S))
        for client in clients:
            client.close()


@contextlib.contextmanager
def datagrams():
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        yield here, lambda: there.send(b"x")


@pytest.mark.parametrize("kind", [eventfd, pidfd, epoll, terminal, fifo, listening, datagrams])
def test_kinds_of_descriptors(loop, kind):
    with kind() as (file, happen):
        said = []
        loop.add_reader(file, said.append, 1)
        turns(loop)
        assert said == []
        happen()
        run(loop, until(lambda: len(said) > 1))
        assert loop.remove_reader(file)


def test_numbers_and_objects_mean_the_same(loop):
    class File:
        def __init__(self, number):
            self.number = number

        def fileno(self):
            return self.number

    with pipe_pair() as (source, _):
        loop.add_reader(source.fileno(), print)
        assert loop.remove_reader(File(source.fileno()))
        loop.add_reader(File(source.fileno()), print)
        assert loop.remove_reader(source)


@pytest.mark.parametrize("wrong", [-1, "file", None, 1.5, object()])
def test_not_a_descriptor(loop, wrong):
    for call in (loop.add_reader, loop.add_writer):
        with pytest.raises(ValueError, match="Invalid file"):
            call(wrong, print)
    for call in (loop.remove_reader, loop.remove_writer):
        with pytest.raises(ValueError, match="Invalid file"):
            call(wrong)


def test_object_without_a_descriptor(loop):
    with stream_pair() as (here, _):
        here.close()
        with pytest.raises(ValueError):
            loop.add_reader(here, print)


def test_number_of_no_file(loop):
    number = os.dup(0)
    os.close(number)
    for call in (loop.add_reader, loop.add_writer):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call(number, print)
    assert not loop.remove_reader(number) and not loop.remove_writer(number)


def test_regular_files_and_directories_are_refused(loop, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path):
        fd = os.open(path, os.O_RDONLY)
        try:
            for call in (loop.add_reader, loop.add_writer):
                with pytest.raises(PermissionError):
                    call(fd, print)
        finally:
            os.close(fd)


def test_many_at_once(loop):
    fds = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(300)]
    try:
        said = []

        def read(fd):
            said.append((fd, os.eventfd_read(fd)))

        for fd in fds:
            loop.add_reader(fd, read, fd)
        turns(loop)
        for number, fd in enumerate(fds):
            os.eventfd_write(fd, number + 1)
        run(loop, until(lambda: len(said) == len(fds)))
        turns(loop)
        assert sorted(said) == [(fd, number + 1) for number, fd in enumerate(fds)]
        assert all(loop.remove_reader(fd) for fd in fds)
    finally:
        for fd in fds:
            os.close(fd)


# When something goes wrong.


def test_exception_goes_to_the_handler_and_the_reader_stays(loop):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    with pipe_pair() as (source, sink):

        def read():
            raise ArithmeticError(source.read(1))

        loop.add_reader(source, read)
        sink.write(b"ab")
        run(loop, until(lambda: len(contexts) == 2))
        assert loop.remove_reader(source)
    assert [context["exception"].args for context in contexts] == [(b"a",), (b"b",)]
    assert isinstance(contexts[0]["handle"], asyncio.Handle)


def test_debug_mode_says_where_it_was_added(loop):
    contexts = []
    loop.set_debug(True)
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    with pipe_pair() as (source, sink):
        loop.add_reader(source, lambda: source.read(1) / 2)
        sink.write(b"x")
        run(loop, until(lambda: contexts))
        assert loop.remove_reader(source)
    assert any(frame.name == "test_debug_mode_says_where_it_was_added" for frame in contexts[0]["source_traceback"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_does_not_end_the_reader(loop, error):
    with pipe_pair() as (source, sink):
        os.set_blocking(source.fileno(), False)
        said = []

        def read():
            data = source.read(1)
            if data == b"!":
                raise error
            if data is not None:  # None: told twice, once before the loop ended
                said.append(data)

        loop.add_reader(source, read)
        sink.write(b"!ab")
        with pytest.raises(error):
            loop.run_forever()
        run(loop, until(lambda: len(said) == 2))
        assert said == [b"a", b"b"]
        assert loop.remove_reader(source)


def test_interrupt_while_it_waits_for_readiness(loop):
    with pipe_pair() as (source, sink):
        said = []
        loop.add_reader(source, lambda: said.append(source.read(1)))
        timer = threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        timer.join()
        sink.write(b"x")
        run(loop, until(lambda: said))
        assert said == [b"x"]
        assert loop.remove_reader(source)


# The end of the loop.


def test_closed_loop(loop):
    with pipe_pair() as (source, sink):
        loop.add_reader(source, print)
        loop.close()
        for call in (loop.add_reader, loop.add_writer):
            with pytest.raises(RuntimeError, match="closed"):
                call(source, print)
        assert loop.remove_reader(source) is False
        assert loop.remove_writer(sink) is False


def test_loop_is_closed_under_a_poll(loop):
    class Owner:
        def read(self):
            raise AssertionError("called after the end")

    with stream_pair() as (here, there):
        owner = Owner()
        reference = weakref.ref(owner)
        loop.add_reader(here, owner.read)
        loop.add_writer(here, loop.remove_writer, here)
        turns(loop)
        there.send(b"x")
        loop.close()
        del owner
        gc.collect()
        assert reference() is None
        here.close()
        there.settimeout(WAIT_S)
        with pytest.raises(ConnectionResetError):  # the file itself is gone: it had something unread
            there.recv(1)


def test_loop_is_dropped_under_a_poll():
    with pipe_pair() as (source, _):
        loop = ioring.Loop()
        loop.add_reader(source, print, loop)
        turns(loop)
        before = descriptors()
        reference = weakref.ref(loop)
        del loop
        with pytest.warns(ResourceWarning, match="unclosed event loop"):
            gc.collect()
        gc.collect()  # the warning referred to it
        assert reference() is None
        assert descriptors() < before
