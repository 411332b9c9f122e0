"""The loop beside threads, executors and processes."""

import asyncio
import concurrent.futures
import contextvars
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from programs import children


async def test_loop_is_the_one_that_was_asked_for(loop_name):
    package = {"stock": "asyncio", "uv": "uvloop"}.get(loop_name, "ioring")
    assert type(asyncio.get_running_loop()).__module__.split(".")[0] == package


async def test_to_thread():
    name = contextvars.ContextVar("name")
    name.set("carried along")

    def work():
        return threading.current_thread() is threading.main_thread(), name.get()

    assert await asyncio.gather(*(asyncio.to_thread(work) for _ in range(100))) == [(False, "carried along")] * 100


async def test_exception_in_a_thread():
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(lambda: 1 / 0)


async def test_loop_goes_on_while_a_thread_blocks():
    reading, writing = os.pipe()
    try:
        blocked = asyncio.create_task(asyncio.to_thread(os.read, reading, 1))
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not blocked.done()
        os.write(writing, b"x")
        assert await blocked == b"x"
    finally:
        os.close(reading)
        os.close(writing)


async def test_executor_of_its_own():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(3, "mine") as executor:
        names = await asyncio.gather(
            *(loop.run_in_executor(executor, lambda: threading.current_thread().name) for _ in range(30))
        )
    assert all(name.startswith("mine") for name in names)


async def test_executor_of_processes():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        answers = await asyncio.gather(*(loop.run_in_executor(executor, pow, 7, number) for number in range(50)))
        assert answers == [7**number for number in range(50)]
        assert await loop.run_in_executor(executor, os.getpid) != os.getpid()


async def test_process_that_talks_by_a_connection():
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=subprocess_main, args=[there])
    process.start()
    there.close()
    loop, received = asyncio.get_running_loop(), asyncio.Queue()

    def readable():
        try:
            received.put_nowait(here.recv())
        except EOFError:
            loop.remove_reader(here)
            received.put_nowait(None)

    loop.add_reader(here, readable)
    assert [await received.get() for _ in range(11)] == [*range(10), None]
    here.close()
    await asyncio.to_thread(process.join)
    assert process.exitcode == 0
    process.close()


def subprocess_main(connection):
    for number in range(10):
        connection.send(number)


async def test_calls_from_threads():
    loop = asyncio.get_running_loop()
    called, done = [], asyncio.Event()

    def call(thread):
        for number in range(1000):
            loop.call_soon_threadsafe(add, (thread, number))

    def add(item):
        called.append(item)
        if len(called) == 8000:
            done.set()

    threads = [threading.Thread(target=call, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    await done.wait()
    for thread in threads:
        thread.join()
    for number in range(8):
        assert [turn for thread, turn in called if thread == number] == list(range(1000))


async def test_coroutines_from_threads():
    loop = asyncio.get_running_loop()

    async def double(number):
        await asyncio.sleep(0)
        return number * 2

    def work(number):
        return asyncio.run_coroutine_threadsafe(double(number), loop).result(20)

    assert await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(100))) == [n * 2 for n in range(100)]


def test_call_wakes_a_loop_that_sleeps(loop_factory):
    """Nothing else would: no timer, no descriptor."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        loop = runner.get_loop()

        async def main():
            event = asyncio.Event()
            threading.Timer(0.05, lambda: loop.call_soon_threadsafe(event.set)).start()
            before = time.process_time()
            await event.wait()
            return time.process_time() - before

        assert runner.run(main()) < 0.04  # it slept


def test_loops_in_threads(loop_factory):
    """Several loops at once, each with a server and its clients."""

    async def main(number):
        async def echo(reader, writer):
            writer.write(await reader.read(100))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            for turn in range(20):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"%d %d" % (number, turn))
                assert await reader.read() == b"%d %d" % (number, turn)
                writer.close()
                await writer.wait_closed()
        child = await asyncio.create_subprocess_exec("echo", str(number), stdout=subprocess.PIPE)
        output, _ = await child.communicate()
        return int(output)

    def thread(number):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main(number))

    with concurrent.futures.ThreadPoolExecutor(6) as executor:
        assert list(executor.map(thread, range(6))) == list(range(6))


FORK = """
import asyncio, os
from programs import loops

async def main():
    await asyncio.sleep(0.001)
    child = os.fork()
    if child == 0:
        # The child leaves the parent's loop alone and has one of its own.
        asyncio._set_running_loop(None)
        with asyncio.Runner(loop_factory=loops.{loop_name}) as runner:
            os._exit(runner.run(asyncio.sleep(0.01, 5)))
    await asyncio.sleep(0.01)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    print("child:", os.waitstatus_to_exitcode(status))

with asyncio.Runner(loop_factory=loops.{loop_name}) as runner:
    runner.run(main())
"""


def test_fork_while_the_loop_runs(loop_name):
    """A child with a loop of its own, as multiprocessing's fork makes it; the parent's goes on."""
    with children.python("-W", "ignore::DeprecationWarning", "-c", FORK.format(loop_name=loop_name)) as child:
        assert child.wait() == 0, child.said
    assert child.said == "child: 5\n"


INTERRUPTED = """
import asyncio
from programs import loops

async def main():
    try:
        print("ready", flush=True)
        await asyncio.sleep(60)
    finally:
        print("cleaned", flush=True)

with asyncio.Runner(loop_factory=loops.{loop_name}) as runner:
    runner.run(main())
"""


def test_ctrl_c(loop_name):
    with children.python("-c", INTERRUPTED.format(loop_name=loop_name)) as child:
        child.wait_for("ready")
        assert child.stop(signal.SIGINT) == -signal.SIGINT, child.said
    assert "cleaned\n" in child.said
    assert child.said.endswith("KeyboardInterrupt\n")


BUSY = """
import asyncio
from programs import loops

async def main():
    print("ready", flush=True)
    while True:
        await asyncio.sleep(0)

with asyncio.Runner(loop_factory=loops.{loop_name}) as runner:
    runner.run(main())
"""


def test_ctrl_c_while_busy(loop_name):
    with children.python("-c", BUSY.format(loop_name=loop_name)) as child:
        child.wait_for("ready")
        assert child.stop(signal.SIGINT) == -signal.SIGINT, child.said


async def test_standard_streams_of_the_process(loop_name):
    """connect_read_pipe and connect_write_pipe on standard input and output, in a child."""
    script = f"""
import asyncio, sys
from programs import loops

async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    transport.set_write_buffer_limits(0)  # drain() waits until everything is out
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    async for line in reader:
        writer.write(line.upper())
        await writer.drain()

with asyncio.Runner(loop_factory=loops.{loop_name}) as runner:
    runner.run(main())
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, env=children.environment(), **pipes)
    output, _ = await child.communicate(b"line\n" * 50_000)
    assert output == b"LINE\n" * 50_000
    assert child.returncode == 0
