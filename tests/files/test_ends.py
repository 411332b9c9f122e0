"""Files that are cancelled, dropped, or whose loop is closed: nothing is lost, nothing is freed too early."""

import asyncio
import codecs
import errno
import fcntl
import gc
import io
import os
import select
import socket
import threading
import warnings

import pytest

import ioring
from engines import ENGINES, ENGINES_AND_UVLOOP, run_beside, run_here, run_in_threads, uncached
from ioring.files import opening as files
from rings import WAIT_S, descriptors, python, stir
from running import until

RUN_ON = ENGINES_AND_UVLOOP

LINES = [f"line {number} é\n" for number in range(4000)]
TEXT = "".join(LINES)
DATA = TEXT.encode()


async def cancelled_after(call, turns):
    """Cancels a call that has had so many turns of the loop. Its result, or None when it was cancelled."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    stir()
    try:
        return await task
    except asyncio.CancelledError:
        return None


@pytest.mark.parametrize("size", [1, 100, 9000, 70_000, -1])
def test_a_cancelled_read_has_not_happened(run, path, size):
    async def main():
        async with files.open(path, "rb", 4096) as file:
            place = 0
            for turns in [*range(8)] * 3:
                uncached(path)
                data = await cancelled_after(file.read(size), turns)
                place += len(data or b"")
                assert await file.tell() == place
            assert await file.read() == DATA[place:]

    run(main())


def test_a_cancelled_read_of_lines_has_not_happened(run, path):
    async def main():
        async with files.open(path, encoding="utf-8") as file:
            seen = []
            for turns in [*range(10)] * 3:
                if turns == 5:
                    cookie = await file.tell()
                    await file.seek(cookie)
                uncached(path)
                if turns % 3:
                    line = await cancelled_after(file.readline(), turns)
                else:
                    line = await cancelled_after(file.read(30_000), turns)
                seen.append(line or "")
            assert "".join(seen) + await file.read() == TEXT

    run(main())


def test_a_cancelled_read_of_a_pipe_loses_nothing(run):
    async def main():
        reading, writing = os.pipe()
        async with files.open(reading, "rb", 0) as file, files.open(writing, "wb", 0) as sink:
            for number in range(20):
                task = asyncio.ensure_future(file.read(10))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if number % 2:
                    await sink.write(b"%d" % number)
                task.cancel()
                try:
                    assert await task == b"%d" % number
                    continue
                except asyncio.CancelledError:
                    pass
                if number % 2 == 0:
                    await sink.write(b"%d" % number)
                assert await file.read(10) == b"%d" % number

    run(main())


@pytest.mark.parametrize("arguments", [("rb", 0), ("rb", 4096), ("r", -1, "utf-8"), ("r", -1, "utf-8", None, "\r\n")])
def test_a_cancelled_read_of_all_lines_has_not_happened(run, path, arguments):
    with open(path, *arguments) as theirs:
        lines = theirs.readlines()

    async def main():
        async with files.open(path, *arguments) as file:
            start = lines[0]
            assert await file.read(len(start)) == start
            place = await file.tell()
            for turns in [*range(12)] * 2:
                uncached(path)
                if await cancelled_after(file.readlines(), turns) is not None:
                    await file.seek(place)
                assert await file.tell() == place
            assert await file.readlines() == lines[1:]
            assert await file.readlines() == []

    run(main())


@pytest.mark.parametrize("arguments", [("rb", 0), ("rb", 4096), ("r", -1, "utf-8")])
def test_cancelled_reads_of_lines_of_a_pipe_lose_nothing(run, arguments):
    async def main():
        reading, writing = os.pipe()
        async with files.open(reading, *arguments) as file:
            empty = await file.read(0)
            for call in (file.readline, file.readlines, file.__anext__):
                os.write(writing, b"one\ntwo\nabc" if call == file.readlines else b"abc")
                task = asyncio.ensure_future(call())
                while select.select([reading], [], [], 0)[0]:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                for _ in range(3):
                    await asyncio.sleep(0)
                task.cancel()
                os.write(writing, b"def\n")
                with pytest.raises(asyncio.CancelledError):
                    await task
                found = [await file.readline() for _ in range(3 if call == file.readlines else 1)]
                expected = b"one\ntwo\nabcdef\n" if call == file.readlines else b"abcdef\n"
                assert empty.join(found) == (expected if empty == b"" else expected.decode())
            os.write(writing, b"end")
            os.close(writing)
            assert empty.join(await file.readlines()) == (b"end" if empty == b"" else "end")

    run(main())


def test_a_long_line_that_is_not_read_moves_nothing(run, path):
    path.write_bytes(b"x" * 300_000 + b"\nnext\n")

    async def main():
        async with files.open(path, "rb", 0) as file:
            for turns in range(20):
                uncached(path)
                if await cancelled_after(file.readline(), turns) is not None:
                    await file.seek(0)
                assert await file.tell() == 0
            assert len(await file.readline()) == 300_001
            assert await file.readline() == b"next\n"

    run(main())


def test_what_a_cancelled_write_has_not_written_is_not_written_later(run):
    """A raw file keeps nothing, so there is nothing for close() to write."""

    async def main():
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        async with files.open(writing, "wb", 0) as file:
            full = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
            await file.write(b"." * full)
            task = asyncio.ensure_future(file.write(b"late"))
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if run is not run_in_threads:
                with pytest.raises(OSError):
                    await file.tell()  # its turn comes when the kernel is done with the write
            assert os.read(reading, full) == b"." * full
        # A thread is not stopped: it has written once, or not at all.
        left = os.read(reading, full)
        assert left == b"" or (left == b"late" and run is run_in_threads)
        os.close(reading)

    run(main())


@pytest.mark.parametrize("buffering", [0, 4096])
def test_a_cancelled_write_is_told_by_the_position(run, path, buffering):
    async def main():
        async with files.open(path, "wb", buffering) as file:
            expected = b""
            for turns in [*range(6)] * 5:
                piece = bytes([turns + 65]) * 50_000
                before = await file.tell()
                assert before == len(expected)
                await cancelled_after(file.write(piece), turns)
                after = await file.tell()
                expected += piece[: after - before]
        assert path.read_bytes() == expected

    run(main())


def test_a_cancelled_close_closes(run, path):
    async def main():
        for turns in range(6):
            before = descriptors()
            file = await files.open(path, "r+b")
            await file.write(b"x" * 100)
            await cancelled_after(file.close(), turns)
            if turns == 0:  # it did not begin
                await file.close()
            await until(lambda file=file: file.closed)
            # The thread's and the ring's own come once.
            await until(lambda turns=turns, before=before: turns == 0 or len(descriptors()) <= len(before))
            assert path.read_bytes()[:100] == b"x" * 100

    run(main())


def test_dropped_files_write_and_warn(run, path):
    async def main():
        binary = await files.open(path, "wb")
        await binary.write(b"unwritten")
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del binary
            gc.collect()
        assert path.read_bytes() == b"unwritten"
        text = await files.open(path, "w")
        await text.write("text")
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del text
            gc.collect()
        assert path.read_bytes() == b"text"

    run(main())


def test_lines_do_not_keep_a_file(run, path):
    """A file that was read by lines goes away with its last reference, without the garbage collector."""

    async def main():
        for mode in ("r", "rb"):
            gc.disable()
            try:
                file = await files.open(path, mode)
                async for _line in file:
                    break
                await file.readline()
                with pytest.warns(ResourceWarning, match="unclosed file"):
                    del file
            finally:
                gc.enable()

    run(main())


def test_references_dropped_while_the_kernel_reads(run, path):
    async def main():
        for _ in range(20):
            uncached(path)
            file = await files.open(path, "rb")
            tasks = [asyncio.ensure_future(file.read_at(offset, 5000)) for offset in range(0, 40_000, 5000)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            del file, tasks, task
            stir()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        run(main())
        gc.collect()


@pytest.mark.parametrize("make", [ioring.new_event_loop, asyncio.SelectorEventLoop], ids=["loop", "side"])
def test_a_loop_that_is_closed_under_a_file(make, path):
    """Requests are in flight when the loop is closed."""
    loop = make()
    reading, writing = os.pipe()

    async def begin():
        file = await files.open(reading, "rb", 0)
        other = await files.open(path, "r+b", 0)
        tasks = [asyncio.ensure_future(file.read(100)), asyncio.ensure_future(other.write(b"x" * 100_000))]
        for task in tasks:
            task._log_destroy_pending = False
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return file, other, tasks

    file, other, tasks = loop.run_until_complete(begin())
    stir()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    stir()
    os.close(writing)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del file, other, tasks, loop
        gc.collect()
    assert sum("unclosed file" in str(warning.message) for warning in caught) == 2


def deferred_reads(file, number):
    """Reads of what is cached, of which one turn allows only the first few; the others wait for the next ones."""
    return [asyncio.ensure_future(file.read_at(place % 60_000, 4096)) for place in range(number)]


def test_reads_that_wait_for_another_turn_are_done_in_order(run, path):
    async def main():
        async with files.open(path, "rb") as file:
            order = []
            reads = deferred_reads(file, 500)
            for place, read in enumerate(reads):
                read.add_done_callback(lambda _, place=place: order.append(place))
            for place, data in enumerate(await asyncio.gather(*reads)):
                assert data == DATA[place : place + 4096]
            assert len(order) == 500
            return order

    assert run(main()) == list(range(500)) or run is ENGINES["threads"]


def test_others_are_not_held_back_by_reads(run, path):
    """500 reads of 4 KiB take many turns, of which others have their part."""

    async def main():
        turns = 0

        async def other():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async with files.open(path, "rb") as file:
            counting = asyncio.ensure_future(other())
            await asyncio.gather(*deferred_reads(file, 500))
            counting.cancel()
        assert turns > 20

    run(main())


@pytest.mark.parametrize("way", ["socket", "timer", "thread"])
def test_one_who_reads_on_and_on_does_not_stop_the_loop(run, path, way):
    """Nobody else has anything to do until something comes from outside."""

    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        came = []
        with near, far:
            near.setblocking(False)
            if way == "socket":
                received = asyncio.ensure_future(loop.sock_recv(near, 10))
                received.add_done_callback(came.append)
                threading.Timer(0.05, far.send, [b"x"]).start()
            elif way == "timer":
                loop.call_later(0.05, came.append, None)
            else:
                threading.Timer(0.05, loop.call_soon_threadsafe, [came.append, None]).start()
            async with files.open(path, "rb") as file:
                while not came:
                    assert await file.read_at(100, 4096) == DATA[100:4196]

    run(main())


@pytest.mark.parametrize("turns", range(4))
def test_cancelled_reads_that_wait_for_another_turn(run, path, turns):
    async def main():
        async with files.open(path, "rb") as file:
            reads = deferred_reads(file, 300)
            for _ in range(turns):
                await asyncio.sleep(0)
            for read in reads[::2]:
                read.cancel()
            stir()
            results = await asyncio.gather(*reads, return_exceptions=True)
            for place, result in enumerate(results):
                if not isinstance(result, asyncio.CancelledError):
                    assert result == DATA[place : place + 4096]
            assert not any(isinstance(result, asyncio.CancelledError) for result in results[1::2])
            assert sum(isinstance(result, asyncio.CancelledError) for result in results[::2]) >= (
                100 if not turns else 0
            )
            assert await file.read(10) == DATA[:10]

    run(main())


@pytest.mark.parametrize("make", [ioring.Loop, asyncio.new_event_loop])
def test_loop_that_is_closed_under_reads_that_wait_for_another_turn(make, path):
    loop = make()

    async def begin():
        file = await files.open(path, "rb")
        reads = deferred_reads(file, 300)
        for read in reads:
            read._log_destroy_pending = False
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not reads[-1].done()
        return file, reads

    file, reads = loop.run_until_complete(begin())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    stir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del file, reads, loop
        gc.collect()


def test_used_in_one_loop_after_another(path):
    async def begin():
        file = await files.open(path, encoding="utf-8")
        return file, await file.readline()

    async def go_on(file):
        rest = await file.read()
        await file.close()
        return rest

    file, line = run_here(begin())
    assert line + run_beside(go_on(file)) == TEXT


@pytest.mark.parametrize("act", ["detach", "close"])
def test_handler_of_errors_that_ends_its_file(run, path, act):
    """What is to be written then goes nowhere, and the caller is told."""

    async def main():
        file = await files.open(path, "w", encoding="ascii", errors="ends its file")
        ended = []

        def handler(error):
            if not ended:
                ended.append(file.detach() if act == "detach" else asyncio.ensure_future(file.close()))
            return "?", error.end

        codecs.register_error("ends its file", handler)
        if act == "detach":
            with pytest.raises(ValueError, match="detached"):
                await file.write("\u1234")
            ended[0].close()
            assert path.read_bytes() == b""
        else:
            assert await file.write("\u1234") == 1  # close() was called, and waits for its turn
            await ended[0]
            assert path.read_bytes() == b"?"

    run(main())


def test_detach_and_raw(run, path):
    async def main():
        file = await files.open(path, "r+b")
        assert await file.read(5) == DATA[:5]
        await file.write(b"here")
        raw = file.detach()
        assert isinstance(raw, io.FileIO)
        assert path.read_bytes()[:9] == DATA[:5] + b"here"
        assert raw.read(5) == DATA[9:14]
        with pytest.raises(ValueError, match="detached"):
            await file.read()
        raw.close()
        text = await files.open(path, encoding="utf-8")
        buffer = text.detach()
        assert buffer.read(5) == DATA[:5]
        with pytest.raises(ValueError, match="detached"):
            await text.read()
        buffer.close()
        async with files.open(path, "rb", 8) as file:
            assert await file.read(5) == DATA[:5]
            assert file.raw.read(3)

    run(main())


@pytest.mark.parametrize("count", [None, 0, 1000, 1 << 30])
def test_copy_to(run, path, tmp_path, count):
    async def main():
        told = []
        async with files.open(path, "rb") as source, files.open(tmp_path / "copy", "wb") as sink:
            await sink.write(b"before ")
            assert await source.read(3) == DATA[:3]
            done = await source.copy_to(sink, None, count, progress=told.append)
            expected = DATA[3:][:count]
            assert done == len(expected)
            assert await source.tell() == 3 + done
            await sink.write(b" between ")
            assert await source.copy_to(sink, 10, 20) == 20
            assert await source.tell() == 3 + done
        assert (tmp_path / "copy").read_bytes() == b"before " + expected + b" between " + DATA[10:30]
        assert told[-1:] == ([done] if done else [])

    run(main())


def test_a_copy_that_is_cancelled_while_the_kernel_copies(run, path, tmp_path, monkeypatch):
    """Both positions are behind what was copied, so that copying goes on there."""
    began, free = threading.Event(), threading.Event()
    copy_file_range = os.copy_file_range

    def copying(*arguments):
        began.set()
        assert free.wait(WAIT_S)
        return copy_file_range(*arguments)

    async def main():
        async with files.open(path, "rb") as source, files.open(tmp_path / "copy", "wb") as sink:
            assert await source.read(10) == DATA[:10]
            monkeypatch.setattr(os, "copy_file_range", copying)
            task = asyncio.ensure_future(source.copy_to(sink, None, 1000))
            await until(began.is_set)
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            assert not task.done()
            free.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await source.tell() == 1010
            assert await sink.tell() == 1000
            assert await source.copy_to(sink) == len(DATA) - 1010
        assert (tmp_path / "copy").read_bytes() == DATA[10:]

    run(main())


def cannot(number):
    def fails(*arguments):
        raise OSError(number, os.strerror(number))

    return fails


@pytest.mark.parametrize("buffering", [0, 4096])
def test_a_copy_that_is_cancelled_while_requests_copy(run, path, tmp_path, monkeypatch, buffering):
    async def main():
        async with files.open(path, "rb") as source, files.open(tmp_path / "copy", "wb", buffering) as sink:
            monkeypatch.setattr(os, "copy_file_range", cannot(errno.EXDEV))
            for turns in range(20):
                await cancelled_after(source.copy_to(sink, None, 2500), turns)
                assert await source.tell() == await sink.tell()
            await source.copy_to(sink)
        assert (tmp_path / "copy").read_bytes() == DATA

    run(main())


def test_a_copy_that_finds_no_room(run, path, tmp_path, monkeypatch):
    async def main():
        async with files.open(path, "rb") as source, files.open(tmp_path / "copy", "wb") as sink:
            monkeypatch.setattr(os, "copy_file_range", cannot(errno.EFBIG))
            with pytest.raises(OSError, match="File too large") as caught:
                await source.copy_to(sink)
            assert caught.value.filename == os.fspath(tmp_path / "copy")
            assert await source.tell() == await sink.tell() == 0

    run(main())


def test_copy_from_a_pipe(run, path):
    async def main():
        reading, writing = os.pipe()
        os.write(writing, b"through a pipe")
        os.close(writing)
        async with files.open(reading, "rb") as source, files.open(path, "wb") as sink:
            assert await source.copy_to(sink) == 14
        assert path.read_bytes() == b"through a pipe"

    run(main())


def test_wrap(run, path):
    async def main():
        blocking = open(path, "r+b")  # noqa: SIM115
        assert blocking.readline() == LINES[0].encode()
        async with files.wrap(blocking) as file:
            assert await file.readline() == LINES[1].encode()
            await file.seek(0)
            await file.write(b"LINE")
        assert blocking.closed
        assert path.read_bytes()[:4] == b"LINE"
        text = open(path, encoding="utf-8")  # noqa: SIM115
        text.readline()
        with pytest.raises(TypeError, match="newline="):
            files.wrap(text)
        async with files.wrap(text, newline=None) as file:
            assert await file.readline() == LINES[1]
        assert text.closed
        with pytest.raises(TypeError):
            files.wrap(io.BytesIO())

    run(main())


@pytest.mark.parametrize("runner", ["ioring.run", "asyncio.run"])
def test_standard_streams(runner):
    """Read from a pipe, in order with what is printed, and a reader that never ends does not keep the process."""
    code = f"""
import asyncio, subprocess
child = '''
import asyncio, ioring, ioring.aiofiles as aiofiles
async def main():
    print("first")
    await aiofiles.stdout.write("second\\\\n")
    print("third")
    await aiofiles.stdout_bytes.write(b"fourth\\\\n")
    await aiofiles.stderr.write(repr(await aiofiles.stdin.readline()))
    try:
        await asyncio.wait_for(aiofiles.stdin.readline(), 0.05)
    except asyncio.TimeoutError:
        print("fifth")
{runner}(main())
'''
process = subprocess.Popen([sys.executable, "-c", child], stdin=-1, stdout=-1, stderr=-1, text=True)
process.stdin.write("one\\n")
process.stdin.flush()
assert process.wait(20) == 0, process.stderr.read()
print(process.stdout.read().split(), process.stderr.read())
"""
    assert python(code) == "['first', 'second', 'third', 'fourth', 'fifth'] 'one\\n'\n"


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("kind", ["pipe", "file", "file for both", "memory"])
def test_standard_streams_keep_the_order_of_what_is_written(name, kind, tmp_path):
    """The text layer, the buffer below it and our own two streams are used by turns, without a newline or a flush."""
    code = f"""
import asyncio, io
from ioring import aiofiles

async def main():
    text, binary = aiofiles.{name}, aiofiles.{name}_bytes
    here = sys.{name}
    here.write("1")
    await binary.write(b"2")
    here.write("3")
    await text.write("4")
    here.write("5")
    await binary.writelines([b"6", b"7"])
    here.write("8")
    here.flush()
    here.buffer.write(b"9")
    await text.write("a")
    here.write("b")
    await binary.flush()
    here.write("c")
    if here.seekable():
        assert await binary.tell() == 12
    await binary.write(b"d")

kind, path = {kind!r}, {str(tmp_path / "file")!r}
if kind == "pipe":
    reading, writing = os.pipe()
    stream = io.TextIOWrapper(open(writing, "wb"))
elif kind == "memory":
    stream = io.TextIOWrapper(io.BytesIO())
else:
    stream = open(path, "w+" if kind == "file for both" else "w")
before, sys.{name} = sys.{name}, stream
ioring.run(main())
stream.flush()
sys.{name} = before
if kind == "pipe":
    print(os.read(reading, 100).decode())
else:
    print(stream.buffer.getvalue().decode() if kind == "memory" else open(path).read())
"""
    assert python(code, arguments=["-W", "ignore"]) == "123456789abcd\n"


def test_public_names():
    assert ioring.open is files.open
    assert "open" not in ioring.__all__


LEFT = """
import asyncio, warnings

class Keep:
    pass

async def main():
    binary = await ioring.open("binary", "wb")
    await binary.write(b"binary")
    text = await ioring.open("text", "w")
    await text.write("text")
    appended = await ioring.open("appended", "ab")
    await appended.write(b"appended")
    reading = await ioring.open("/etc/passwd")
    await reading.readline()
    full = await ioring.open("/dev/full", "wb")
    await full.write(b"nowhere")
    return binary, text, appended, reading, full

keep = Keep()
keep.keep, keep.files = keep, ioring.run(main())
PLACE
"""


@pytest.mark.parametrize("place", ["sys.keep = keep", "asyncio.keep = keep", ""])
def test_files_that_are_left_until_the_interpreters_end_are_written_and_say_nothing(tmp_path, place):
    code = LEFT.replace("PLACE", place)
    assert python(f"os.chdir({str(tmp_path)!r})\n" + code) == ""
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: name for name in ("binary", "text", "appended")
    }
