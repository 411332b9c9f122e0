"""Files that are closed, or dropped, while somebody uses them: nothing reads or writes another file's descriptor."""

import asyncio
import concurrent.futures
import errno
import gc
import os
import random
import threading
import warnings

import pytest

import ioring
from engines import ENGINES_AND_UVLOOP, run_in_threads, uncached
from ioring.files import opening as files
from rings import WAIT_S, descriptors, python
from running import until

RUN_ON = ENGINES_AND_UVLOOP

DATA = random.Random(5).randbytes(300_000)
OTHER = b"other" * 10_000


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "other"
    path.write_bytes(OTHER)
    return path


async def reading(file, way):
    """The first 4096 bytes of a file, beside its order."""
    if way == "read_at":
        return await file.read_at(0, 4096)
    buffer = bytearray(4096)
    if way == "readinto_at":
        assert await file.readinto_at(0, buffer) == 4096
    else:
        assert await file.readv_at(0, [memoryview(buffer)[:1000], memoryview(buffer)[1000:]]) == 4096
    return bytes(buffer)


READS = ["read_at", "readinto_at", "readv_at"]


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("way", READS)
def test_a_file_that_is_dropped_while_it_is_read(run, path, way, direct):
    async def main():
        uncached(path)
        with pytest.warns(ResourceWarning, match="unclosed file"):
            assert await reading(await files.open(path, "rb", direct=direct), way) == DATA[:4096]
            gc.collect()

    run(main())


@pytest.mark.parametrize("way", ["write_at", "writev_at"])
def test_a_file_that_is_dropped_before_it_is_written(run, path, other, way):
    async def main():
        file = await files.open(path, "r+b")
        request = file.write_at(0, b"mine") if way == "write_at" else file.writev_at(0, [b"mi", b"ne"])
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del file
            gc.collect()
            async with files.open(other, "r+b"):
                assert await request == 4
            del request
            gc.collect()

    run(main())
    assert path.read_bytes() == b"mine" + DATA[4:]
    assert other.read_bytes() == OTHER


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("way", READS)
def test_closing_waits_for_reads(run, path, other, way, direct):
    async def main():
        for turns in range(4):
            uncached(path)
            file = await files.open(path, "rb", direct=direct)
            tasks = [asyncio.ensure_future(reading(file, way)) for _ in range(20)]
            await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            await file.close()
            assert file.closed
            async with files.open(other, "rb"):
                assert await asyncio.gather(*tasks) == [DATA[:4096]] * 20

    run(main())


def test_closing_waits_for_a_thread(path, other):
    """All threads of the executor are taken, and the request waits for one."""

    async def main():
        free = threading.Event()
        loop = asyncio.get_running_loop()
        file = await files.open(path, "r+b")
        taken = [loop.run_in_executor(None, free.wait) for _ in range(50)]
        writing = asyncio.ensure_future(file.write_at(0, b"mine"))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(file.close())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not closing.done()
        with pytest.raises(ValueError, match="closed file"):
            file.read_at(0, 10)
        with pytest.raises(ValueError, match="closed file"):
            await file.tell()
        free.set()
        await closing
        assert writing.done()
        await asyncio.gather(*taken)

    run_in_threads(main())
    assert path.read_bytes() == b"mine" + DATA[4:]


def test_requests_made_in_another_thread(run, path):
    """As asyncio.run_coroutine_threadsafe() takes them: made there, awaited in the file's loop."""
    calls = {
        "read": lambda file: file.read(4),
        "read_at": lambda file: file.read_at(0, 4),
        "readinto_at": lambda file: file.readinto_at(0, bytearray(4)),
        "write_at": lambda file: file.write_at(0, DATA[:4]),
    }
    expected = {"read": DATA[:4], "read_at": DATA[:4], "readinto_at": 4, "write_at": 4}

    async def main():
        loop = asyncio.get_running_loop()

        def work(call):
            async def wait():
                return await made

            made = call(file)
            return asyncio.run_coroutine_threadsafe(wait(), loop).result(20)

        async with files.open(path, "r+b") as file:
            for name, call in calls.items():
                assert await asyncio.to_thread(work, call) == expected[name]

    run(main())


def test_closing_waits_for_reads_of_later_turns(run, path):
    async def main():
        file = await files.open(path, "rb")
        tasks = [asyncio.ensure_future(file.read_at(place, 4096)) for place in range(300)]
        await asyncio.sleep(0)
        await file.close()
        for place, data in enumerate(await asyncio.gather(*tasks)):
            assert data == DATA[place : place + 4096]

    run(main())


def test_closing_waits_for_what_was_cancelled(run, path, other):
    async def main():
        for turns in range(4):
            uncached(path)
            file = await files.open(path, "r+b")
            calls = [file.read_at(0, 4096), file.write_at(0, DATA), file.allocate(0, 100), file.fsync()]
            tasks = [asyncio.ensure_future(call) for call in calls]
            await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await file.close()
            async with files.open(other, "r+b"):
                pass
        assert other.read_bytes() == OTHER
        assert path.read_bytes() == DATA

    run(main())


def test_requests_that_nobody_awaits(run, path):
    async def main():
        file = await files.open(path, "r+b")
        file.write_at(0, b"not written")
        file.readinto_at(0, bytearray(10))
        late = [file.read_at(0, 10), file.write_at(0, b"late"), file.readv_at(0, [bytearray(10)])]
        await file.close()
        for request in late:
            with pytest.raises(ValueError, match="closed file"):
                await request
        assert path.read_bytes() == DATA

    run(main())


def test_what_waits_behind_a_close(run, path):
    async def main():
        file = await files.open(path, "r+b")
        uncached(path)
        before = asyncio.ensure_future(file.read(100))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(file.close())
        after = asyncio.ensure_future(file.read(100_000))
        assert await before == DATA[:100]
        await closing
        with pytest.raises(ValueError, match="closed file"):
            await after

    run(main())


def test_detaching_while_it_is_read(run, path):
    async def main():
        uncached(path)
        async with files.open(path, "rb", direct=True) as file:  # which nothing is read of at once
            task = asyncio.ensure_future(file.read_at(0, 4096))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="under way"):
                file.detach()
            await task

    run(main())


# Closing goes on when it is cancelled.


def leads_to(number, path):
    """Whether a descriptor is one of this file; it may be closed meanwhile."""
    try:
        return os.path.samefile(f"/proc/self/fd/{number}", path)
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("turns", range(1, 11))
@pytest.mark.parametrize("mode", ["r+b", "r+", "rb"])
def test_a_cancelled_close_goes_on(run, path, mode, turns):
    async def main():
        before = descriptors()
        uncached(path)
        file = await files.open(path, mode)
        if mode != "rb":
            await file.write("x" * 100 if mode == "r+" else b"x" * 100)
        below = file.buffer if mode == "r+" else file
        requests = [asyncio.ensure_future(below.read_at(200_000, 4096)) for _ in range(3)]
        await asyncio.sleep(0)
        task = asyncio.ensure_future(file.close())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: file.closed)
        assert await asyncio.gather(*requests) == [DATA[200_000:204_096]] * 3
        await file.close()
        await until(lambda: not any(leads_to(number, path) for number in descriptors() - before))

    run(main())
    assert path.read_bytes() == (DATA if mode == "rb" else b"x" * 100 + DATA[100:])


def test_a_cancelled_close_whose_turn_has_not_come(run):

    async def main():
        reading, writing = os.pipe()
        async with files.open(reading, "rb", 0) as source:
            file = await files.open(writing, "wb")
            flushing = asyncio.ensure_future(file.write(b"a" * 200_000))  # more than it holds
            await asyncio.sleep(0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await file.close()
            assert not file.closed
            with pytest.raises(ValueError, match="closed file"):
                await file.write(b"late")
            data = await source.readall()  # ends when the file is closed
            assert data == b"a" * 200_000
            await flushing
            assert file.closed

    run(main())


def test_a_cancelled_close_of_a_full_pipe(run):
    """What is unwritten is written as soon as somebody reads."""

    async def main():
        reading, writing = os.pipe()
        os.write(writing, b"a" * 65536)
        async with files.open(reading, "rb", 0) as source:
            file = await files.open(writing, "wb")
            await file.write(b"the end")
            closing = asyncio.ensure_future(file.close())
            for _ in range(3):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            assert not file.closed
            assert await source.readall() == b"a" * 65536 + b"the end"
            assert file.closed

    run(main())


def test_a_loop_that_ends_under_a_cancelled_close(run, path):
    async def main():
        nonlocal file
        file = await files.open(path, "wb")
        for _ in range(100):
            await file.write(b"x" * 1000)
        closing = asyncio.ensure_future(file.close())
        await asyncio.sleep(0)
        closing.cancel()

    file = None
    run(main())
    assert file.closed
    assert path.read_bytes() == b"x" * 100_000


def test_a_cancelled_close_that_fails(run):
    async def main():
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        file = await files.open("/dev/full", "wb")
        await file.write(b"x")
        closing = asyncio.ensure_future(file.close())
        await asyncio.sleep(0)
        closing.cancel()
        try:
            await closing
        except OSError as error:  # it was over before
            told.append(error)
        except asyncio.CancelledError:
            pass
        await until(lambda: file.closed)
        assert [(error.errno, error.filename) for error in told] == [(errno.ENOSPC, "/dev/full")]

    run(main())


# Loops that end.


@pytest.mark.parametrize("kind", ["write", "read", "unlink"])
def test_generators_that_are_alive_at_the_end(run, path, kind):
    """asyncio.run() ends them, and what they do then works."""

    async def written(number):
        async with files.open(f"{path}{number}", "wb") as file:
            while True:
                await file.write(b"hello")
                yield

    async def read(number):
        async with files.open(path, "rb") as file:
            try:
                async for line in file:
                    yield line
            finally:
                uncached(path)
                await file.seek(0)
                assert await file.read() == DATA
                ended.append(number)

    async def unlinked(number):
        name = f"{path}{number}"
        await ioring.Path(name).write_bytes(b"hello")
        try:
            yield
        finally:
            await asyncio.sleep(0.001 * number)
            await ioring.os.unlink(name)
            ended.append(number)

    async def main():
        for generator in generators:
            await anext(generator)

    ended = []
    generators = [{"write": written, "read": read, "unlink": unlinked}[kind](number) for number in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main())
    if kind == "write":
        assert [path.with_name(f"file{number}").read_bytes() for number in range(5)] == [b"hello"] * 5
    else:
        assert sorted(ended) == list(range(5))
        assert os.listdir(path.parent) == ["file"]


@pytest.mark.usefixtures("first_uvloop")
@pytest.mark.parametrize("make", [ioring.new_event_loop, asyncio.SelectorEventLoop, "uvloop"])
def test_a_file_after_the_generators_were_ended(make, path):
    if make == "uvloop":
        make = pytest.importorskip("uvloop").new_event_loop
    loop = make()

    async def begin():
        return await files.open(path, "rb")

    async def go_on(file):
        async with file:
            return await file.read()

    before = descriptors()
    file = loop.run_until_complete(begin())
    loop.run_until_complete(loop.shutdown_asyncgens())
    uncached(path)
    assert loop.run_until_complete(go_on(file)) == DATA
    loop.close()
    assert not descriptors() - before


@pytest.mark.usefixtures("first_uvloop")
@pytest.mark.parametrize("engine", ["side", "uvloop"])
def test_the_ring_is_closed_with_the_loop(path, engine):
    make = asyncio.SelectorEventLoop if engine == "side" else pytest.importorskip("uvloop").new_event_loop
    before = descriptors()
    loop = make()
    file = loop.run_until_complete(ioring.Path(path).read_bytes())
    assert file == DATA
    loop.close()
    assert not descriptors() - before


# One loop in several threads, one after the other. asyncio and uvloop allow it.


@pytest.mark.usefixtures("first_uvloop")
@pytest.mark.parametrize("engine", ["side", "uvloop"])
def test_a_loop_that_moves_between_threads(path, engine):
    make = asyncio.SelectorEventLoop if engine == "side" else pytest.importorskip("uvloop").new_event_loop
    with concurrent.futures.ThreadPoolExecutor(1) as first, concurrent.futures.ThreadPoolExecutor(1) as second:
        for pool in (first, second):
            pool.submit(int).result()
        before = descriptors()
        loop = make()

        async def job():
            uncached(path)
            return await ioring.Path(path).read_bytes()

        first.submit(loop.run_until_complete, job()).result()
        there = descriptors()
        for pool in (first, second) * 5:
            assert pool.submit(loop.run_until_complete, job()).result() == DATA
        assert descriptors() == there
        second.submit(loop.run_until_complete, loop.shutdown_default_executor()).result()
        loop.close()  # in a third one
        assert not descriptors() - before


@pytest.mark.parametrize("alive", [True, False])
def test_a_request_goes_on_in_another_thread(alive):
    """What the kernel has of a thread that ends is cancelled, and asked for once more."""
    before = descriptors()
    loop = asyncio.SelectorEventLoop()
    reading, writing = os.pipe()

    async def begin():
        file = await files.open(reading, "rb", 0)
        task = asyncio.ensure_future(file.read(100))
        for _ in range(3):
            await asyncio.sleep(0)
        return file, task

    async def go_on(file, task):
        os.write(writing, b"late")
        async with file:
            assert await task == b"late"

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        begun = pool.submit(loop.run_until_complete, begin())
        begun.result()
        if alive:
            loop.run_until_complete(asyncio.wait_for(go_on(*begun.result()), WAIT_S))
    if not alive:
        loop.run_until_complete(asyncio.wait_for(go_on(*begun.result()), WAIT_S))
    loop.close()
    os.close(writing)
    assert not descriptors() - before


@pytest.mark.parametrize("runner", ["asyncio.run", "ioring.run"])
def test_a_daemon_thread_that_uses_files_does_not_keep_the_process(runner, path):
    code = f"""
import asyncio, threading
begun = threading.Event()

async def main():
    async with ioring.open({str(path)!r}, "w") as file:
        while True:
            await file.write("x")
            await file.flush()
            begun.set()

threading.Thread(target=lambda: {runner}(main()), daemon=True).start()
begun.wait()
print("end")
"""
    assert python(code, timeout=WAIT_S) == "end\n"


def test_a_loop_that_is_used_at_the_interpreters_end(path):
    """Closing what works for one loop may make another use files, and each of these once more."""
    code = f"""
import asyncio, atexit, weakref

async def main():
    await ioring.Path({str(path)!r}).write_bytes(b"x" * 100_000)

class Kept:
    pass

def again(count):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    left.append(loop)
    if count:
        kept = Kept()
        weakref.finalize(kept, again, count - 1)
        left.append(kept)

left = []
atexit.register(again, 2)
again(2)
print("end")
"""
    assert python(code, arguments=["-W", "ignore"], timeout=WAIT_S) == "end\n"
