"""Signals: handlers in the loop, interrupts, and the interpreter's wakeup descriptor."""

import asyncio
import contextlib
import contextvars
import os
import signal
import subprocess
import threading

import pytest

import ioring
from rings import WAIT_S, stream_pair
from running import run, turns, until


def test_signal_handler_runs_in_the_loop(loop):
    said = []

    async def main():
        future = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, lambda: (said.append(threading.current_thread()), future.set_result(1)))
        threading.Timer(0.001, os.kill, [os.getpid(), signal.SIGUSR1]).start()
        await future

    loop.run_until_complete(main())
    assert said == [threading.main_thread()]
    assert loop.remove_signal_handler(signal.SIGUSR1)
    assert not loop.remove_signal_handler(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_wrong_signals(loop):
    with pytest.raises(TypeError):
        loop.add_signal_handler("SIGINT", print)
    with pytest.raises(ValueError):
        loop.add_signal_handler(1000, print)
    with pytest.raises(RuntimeError, match="cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, print)


def test_interrupt_ends_a_wait(loop):
    timer = threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGINT])
    loop.call_soon(timer.start)  # on a busy machine the signal may come before start() has returned
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    timer.join()
    turns(loop)


def test_interrupt_cancels_the_main_task_of_run():
    async def main():
        threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGINT]).start()
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        ioring.run(main())


def test_handler_runs_in_the_context_in_which_it_was_added(loop):
    name = contextvars.ContextVar("name")
    seen = []

    async def main():
        name.set("who added it")
        loop.add_signal_handler(signal.SIGUSR1, lambda: seen.append(name.get()))
        name.set("later")

        async def interrupted():
            name.set("who was interrupted")
            signal.raise_signal(signal.SIGUSR1)

        await asyncio.create_task(interrupted())
        await until(lambda: seen)
        loop.remove_signal_handler(signal.SIGUSR1)

    run(loop, main())
    assert seen == ["who added it"]


# The wakeup descriptor is one for the whole process: a loop has it only while it runs, and tells who had it before.


@contextlib.contextmanager
def wakeup_descriptor():
    """One that somebody else has set: its reading end."""
    with stream_pair() as (reader, writer):
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader, writer
        finally:
            signal.set_wakeup_fd(-1)


@contextlib.contextmanager
def caught(number):
    before = signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_wakeup_descriptor_of_others_is_restored(loop):
    with wakeup_descriptor() as (_, writer):
        turns(loop)
        assert signal.set_wakeup_fd(-1) == writer.fileno()


def test_others_are_told_of_signals_while_the_loop_runs(loop):
    told = []
    with wakeup_descriptor() as (reader, _), caught(signal.SIGUSR1), caught(signal.SIGUSR2):
        loop.add_reader(reader, lambda: told.extend(reader.recv(100)))
        for number in (signal.SIGUSR1, signal.SIGUSR2) * 2:
            signal.raise_signal(number)  # while the loop rests: the interpreter writes it
            run(loop, until(lambda number=number: told[-1:] == [number]))
            loop.call_soon(signal.raise_signal, number)
            loop.call_later(0.01, os.kill, os.getpid(), number)  # ends a wait
            count = len(told)
            run(loop, until(lambda count=count: len(told) >= count + 2))
        loop.remove_reader(reader)
    assert told == [signal.SIGUSR1] * 3 + [signal.SIGUSR2] * 3 + [signal.SIGUSR1] * 3 + [signal.SIGUSR2] * 3


def test_others_are_told_of_signals_that_the_loop_has_handlers_for(loop):
    told = []

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, told.append, "loop")
        signal.raise_signal(signal.SIGUSR1)
        await until(lambda: len(told) == 2)
        loop.remove_signal_handler(signal.SIGUSR1)

    with wakeup_descriptor() as (reader, _):
        loop.add_reader(reader, lambda: told.extend(reader.recv(100)))
        run(loop, main())
        loop.remove_reader(reader)
    assert set(told) == {"loop", signal.SIGUSR1}


def test_others_learn_of_the_end_of_a_child(loop):
    """As Twisted's reactor does."""
    told = []
    with wakeup_descriptor() as (reader, _), caught(signal.SIGCHLD):
        loop.add_reader(reader, lambda: told.extend(reader.recv(100)))
        with subprocess.Popen(["true"]):
            run(loop, until(lambda: told))
        loop.remove_reader(reader)
    assert set(told) == {signal.SIGCHLD}


@pytest.mark.parametrize("full", [True, False], ids=["full", "closed"])
def test_wakeup_descriptor_that_takes_nothing(loop, full):
    with wakeup_descriptor() as (reader, writer), caught(signal.SIGUSR1):
        if full:
            with contextlib.suppress(BlockingIOError):
                while True:
                    writer.send(bytes(65536))
        else:
            reader.close()
        loop.call_later(0.01, signal.raise_signal, signal.SIGUSR1)
        run(loop, asyncio.sleep(0.05))


def test_wakeup_descriptor_that_is_set_while_the_loop_runs_stays(loop):
    with stream_pair() as (_, other), stream_pair() as (_, before):
        other.setblocking(False)
        before.setblocking(False)
        signal.set_wakeup_fd(before.fileno())
        try:
            loop.call_soon(signal.set_wakeup_fd, other.fileno())
            turns(loop)
            assert signal.set_wakeup_fd(before.fileno()) == other.fileno()
            loop.call_soon(signal.set_wakeup_fd, -1)
            turns(loop)
            assert signal.set_wakeup_fd(before.fileno()) == -1
            turns(loop)
            assert signal.set_wakeup_fd(-1) == before.fileno()
        finally:
            signal.set_wakeup_fd(-1)


def test_an_interrupt_ends_the_wait_without_the_wakeup_descriptor(loop):
    with stream_pair() as (_, other), pytest.raises(KeyboardInterrupt):
        other.setblocking(False)
        loop.call_soon(signal.set_wakeup_fd, other.fileno())
        loop.call_later(WAIT_S, loop.stop)
        timer = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT])
        loop.call_soon(timer.start)
        try:
            loop.run_forever()
        finally:
            timer.join()
            signal.set_wakeup_fd(-1)
