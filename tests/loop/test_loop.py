"""The loop: callbacks, timers, threads, debug mode, running and closing."""

import asyncio
import contextvars
import gc
import logging
import socket
import sys
import threading
import time
import weakref

import pytest

import ioring
from rings import python
from running import until


def turns(loop, count=1):
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


def test_is_a_loop_of_asyncio(loop):
    assert isinstance(loop, asyncio.AbstractEventLoop)
    handle = loop.call_soon(print)
    timer = loop.call_later(10, print)
    assert isinstance(handle, asyncio.Handle) and not isinstance(handle, asyncio.TimerHandle)
    assert isinstance(timer, asyncio.TimerHandle)
    handle.cancel(), timer.cancel()


def test_callbacks_run_in_the_order_of_calls_and_in_the_next_turn(loop):
    said = []
    for number in range(200):  # more than the queue holds at first
        loop.call_soon(said.append, number)
    loop.call_soon(lambda: loop.call_soon(said.append, "later"))
    turns(loop)
    assert said == list(range(200))
    turns(loop)
    assert said[200:] == ["later"]


def test_cancelled_callback_is_not_called(loop):
    said = []
    handle = loop.call_soon(said.append, 1)
    handle.cancel()
    assert handle.cancelled()
    turns(loop)
    assert said == []


def test_callback_runs_in_its_context(loop):
    name = contextvars.ContextVar("name", default="nobody")
    context = contextvars.copy_context()
    context.run(name.set, "somebody")
    said = []
    loop.call_soon(lambda: said.append(name.get()), context=context)
    loop.call_soon(lambda: said.append(name.get()))
    loop.call_later(0, lambda: said.append(name.get()), context=context)
    turns(loop, 2)
    assert said == ["somebody", "nobody", "somebody"]


def test_timers_are_never_early_and_come_in_order(loop):
    said = []
    begin = loop.time()
    for delay in (0.03, 0.01, 0.02, 0.01, 0.0005, 0):
        loop.call_later(delay, lambda delay=delay: said.append((delay, loop.time() - begin)))
    loop.call_later(0.04, loop.stop)
    loop.run_forever()
    assert [delay for delay, _ in said] == [0, 0.0005, 0.01, 0.01, 0.02, 0.03]
    assert all(passed >= delay for delay, passed in said)


def test_timers_of_one_time_keep_the_order_of_calls(loop):
    said = []
    when = loop.time() + 0.001
    for number in range(50):
        loop.call_at(when, said.append, number)
    loop.call_at(when, loop.stop)
    loop.run_forever()
    assert said == list(range(50))


def test_timer_comes_behind_what_was_ready_before_it_was_due(loop):
    said = []

    def begin():
        when = loop.time() + 0.001
        loop.call_at(when, said.append, "timer")
        loop.call_soon(said.append, "soon")
        while loop.time() <= when:
            pass

    loop.call_soon(begin)
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert said == ["soon", "timer"]


def test_cancelled_timers_are_forgotten_at_once(loop):
    timers = [loop.call_later(1000 + number % 7, print) for number in range(1000)]
    assert loop.statistics()["timers"] == 1000
    reference = weakref.ref(timers[500])
    for timer in timers[::2] + timers[1::2]:
        timer.cancel()
    assert loop.statistics()["timers"] == 0
    del timer, timers
    assert reference() is None


def test_wrong_arguments(loop):
    with pytest.raises(TypeError):
        loop.call_later(None, print)
    with pytest.raises(TypeError):
        loop.call_at(None, print)
    with pytest.raises(TypeError):
        loop.call_later("soon", print)


def test_closed_loop(loop):
    loop.close()
    loop.close()
    for call in (loop.call_soon, loop.call_soon_threadsafe):
        with pytest.raises(RuntimeError, match="closed"):
            call(print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_forever()


def test_exception_of_a_callback_goes_to_the_handler(loop):
    contexts = []
    loop.set_exception_handler(lambda loop, context: contexts.append(context))
    loop.call_soon(lambda: 1 / 0)
    turns(loop)
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)
    assert "lambda" in contexts[0]["message"]
    assert isinstance(contexts[0]["handle"], asyncio.Handle)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_programs_ends_the_loop_and_loses_nothing(loop, error):
    said = []

    def fail():
        raise error

    loop.call_soon(said.append, 1)
    loop.call_soon(fail)
    loop.call_soon(said.append, 2)
    with pytest.raises(error):
        loop.run_forever()
    assert said == [1]
    turns(loop)
    assert said == [1, 2]


def test_calls_from_other_threads_wake_the_loop(loop):
    count = 1000
    said = []

    def call():
        for number in range(count):
            loop.call_soon_threadsafe(said.append, number)
        loop.call_soon_threadsafe(said.append, "end")

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    while said.count("end") < 3:
        turns(loop)
    for thread in threads:
        thread.join()
    assert len(said) == 3 * (count + 1)


def test_thread_wakes_a_loop_that_waits_for_ever(loop):
    for _ in range(50):
        future = loop.create_future()
        thread = threading.Timer(0.0001, loop.call_soon_threadsafe, [future.set_result, 1])
        thread.start()
        assert loop.run_until_complete(future) == 1
        thread.join()


def test_made_in_one_thread_and_run_in_another(loop):
    results = []

    def run():
        results.append(loop.run_until_complete(asyncio.sleep(0.001, "slept")))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results == ["slept"] and loop.is_closed()


GROWING = """
import contextvars, gc
loop = Loop()
context = contextvars.copy_context()
ran = []

class Garbage:
    def __init__(self):
        self.itself = self

    def __del__(self):
        loop.call_soon(callback, context=context)

def callback():
    ran.append(0)

call_soon = loop.call_soon
gc.collect()
gc.disable()
other = Loop()  # leaves handles to be used again, so that the list is what is allocated first
for _ in range(200):
    other.call_soon(callback, context=context)
other.call_soon(other.stop, context=context)
other.run_forever()
other.close()
ran.clear()
for _ in range(64):
    call_soon(callback, context=context)
kept = [[] for _ in range(300)]  # so that a list has to be allocated
Garbage()
gc.set_threshold(1, 1000, 1000)
gc.enable()
call_soon(callback, context=context)
gc.disable()
gc.collect()
for _ in range(400):
    call_soon(callback, context=context)
loop.call_soon(loop.stop)
loop.run_forever()
loop.close()
print(len(ran))
"""


def test_the_queue_of_callbacks_grows_while_it_grows():
    """Collected garbage calls call_soon() while the queue gets more room."""
    said = python(GROWING)
    assert said == "466\n"


def test_a_time_that_is_no_number(loop):
    for call in (loop.call_later, loop.call_at):
        with pytest.raises(ValueError, match="NaN"):
            call(float("nan"), print)


class Back(asyncio.Protocol):
    """Sends back what comes, which is much, as long as it may."""

    def __init__(self, budget):
        self.budget = budget

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.budget[0] -= 1
        if self.budget[0] > 0:
            for begin in range(0, len(data), 16384):
                self.transport.write(data[begin : begin + 16384])


def test_others_have_their_turn_beside_those_who_never_stop(loop):
    """Much is sent in the middle of a turn, which brings more of what is received."""
    budget = [20_000]
    left = []

    async def main():
        transports = []
        for _ in range(4):
            for sock in socket.socketpair():
                transports.append((await loop.create_connection(lambda: Back(budget), sock=sock))[0])
        for transport in transports:
            transport.write(bytes(200_000))
        loop.call_later(0.001, lambda: left.append(budget[0]))
        await until(lambda: left)
        budget[0] = 0
        for transport in transports:
            transport.abort()

    loop.run_until_complete(main())
    assert left[0] > 0


def test_debug_mode_reports_slow_callbacks(loop, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.001

    def slow():
        until = time.monotonic() + 0.002
        while time.monotonic() < until:
            pass

    loop.call_soon(slow)
    with caplog.at_level(logging.WARNING, "asyncio"):
        turns(loop)
    assert "Executing <Handle" in caplog.text and "slow" in caplog.text


def test_debug_mode_checks_threads_and_callbacks(loop):
    loop.set_debug(True)
    errors = []

    async def main():
        def call():
            try:
                loop.call_soon(print)
            except RuntimeError as error:
                errors.append(str(error))

        await asyncio.to_thread(call)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    assert "Non-thread-safe" in errors[0]
    with pytest.raises(TypeError):
        loop.call_soon("not callable")


def test_loop_that_was_never_closed():
    def leave():
        loop = ioring.Loop()
        loop.call_soon(lambda: loop)
        loop.call_later(1000, lambda: loop)
        return weakref.ref(loop)

    reference = leave()
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        gc.collect()
    gc.collect()  # the warning referred to it
    assert reference() is None


def test_run_falls_back_only_when_asked(monkeypatch):
    def no_ring(*args, **kwargs):
        raise ioring.RingUnavailable(1, "io_uring is switched off on this system")

    monkeypatch.setattr("ioring.loop.runners.Loop", no_ring)

    async def main():
        return type(asyncio.get_running_loop())

    coroutine = main()
    with pytest.raises(ioring.RingUnavailable):
        ioring.run(coroutine)
    coroutine.close()
    with pytest.warns(RuntimeWarning, match="switched off"):
        assert ioring.run(main(), fallback="asyncio") is asyncio.SelectorEventLoop
    coroutine = main()
    with pytest.raises(ValueError):
        ioring.run(coroutine, fallback="trio")
    coroutine.close()


@pytest.mark.skipif(sys.version_info >= (3, 16), reason="there are no policies any more")
@pytest.mark.filterwarnings("ignore:.*policy:DeprecationWarning")
def test_policy():
    asyncio.set_event_loop_policy(ioring.EventLoopPolicy())
    try:
        loop = asyncio.new_event_loop()
        assert type(loop) is ioring.Loop
        loop.close()
    finally:
        asyncio.set_event_loop_policy(None)


def test_statistics_count(loop):
    before = loop.statistics()
    turns(loop, 5)
    after = loop.statistics()
    assert after["turns"] == before["turns"] + 5
    assert set(after) >= {"enters", "waits", "submissions", "completions", "in_flight", "buffers_free"}


@pytest.mark.filterwarnings("error")
def test_loop_that_is_made_in_a_wrong_way_is_no_open_loop():
    with pytest.raises(TypeError, match="direct"):
        ioring.Loop(direct=True)
    gc.collect()


def test_nest_asyncio_is_refused():
    """It asks for this name and then replaces methods of the class, for every loop; it refuses others by ValueError."""
    loop = ioring.Loop()
    with pytest.raises(ValueError, match="Can't patch loop of type"):
        exec("hasattr(loop, '_nest_patched')", {"__name__": "nest_asyncio", "loop": loop})
    assert not hasattr(loop, "_nest_patched")
    loop.close()
