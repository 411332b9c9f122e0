"""Files on the ring."""

import array
import asyncio
import ctypes
import errno
import fcntl
import gc
import io
import os

import pytest

import ioring
from engines import ENGINES_AND_UVLOOP, mounted, run_in_threads
from ioring import whole
from ioring.files import opening as files
from rings import as_root, python

RUN_ON = ENGINES_AND_UVLOOP

LINES = b"".join(b"line %d\n" % number for number in range(10_000))


def test_reads(run, path):
    path.write_bytes(LINES)

    async def main():
        async with files.open(path, "rb") as file:
            assert await file.read(5) == LINES[:5]
            assert await file.tell() == 5
            assert await file.readline() == b"0\n"
            assert await file.read_at(50_000, 100) == LINES[50_000:50_100]
            assert await file.tell() == 7
            assert await file.peek(1)
            assert await file.seek(-10, io.SEEK_END) == len(LINES) - 10
            assert await file.read() == LINES[-10:]
            assert await file.read(1) == b""
            await file.seek(0)
            assert await file.readlines() == LINES.splitlines(keepends=True)
            await file.seek(3)
            assert [line async for line in file] == io.BytesIO(LINES[3:]).readlines()
            buffer = bytearray(30)
            assert await file.readinto_at(100, buffer) == 30
            assert buffer == LINES[100:130]
            assert await file.readv_at(7, [buffer, bytearray(5)]) == 35
            assert buffer == LINES[7:37]
        assert file.closed

    run(main())


def test_writes(run, path):
    async def main():
        async with files.open(path, "w+b") as file:
            for line in LINES.splitlines(keepends=True):
                assert await file.write(line) == len(line)
            assert await file.tell() == len(LINES)
            await file.fdatasync()
            assert path.read_bytes() == LINES
            await file.seek(2)
            assert await file.read(4) == LINES[2:6]
            await file.write(b"here")
            await file.write_at(20, b"there")
            await file.seek(0)
            assert (await file.read())[:30] == LINES[:6] + b"here" + LINES[10:20] + b"there" + LINES[25:30]
            assert await file.truncate(100) == 100
            assert await file.writev_at(98, [b"abc", b"def"]) == 6
        assert path.read_bytes()[90:] == LINES[90:98] + b"abcdef"
        async with files.open(path, "ab") as file:
            assert await file.tell() == 104
            await file.write(b"!")
            await file.flush()
            assert await file.tell() == 105
        assert path.stat().st_size == 105

    run(main())


SHAPES = {
    "array": lambda: array.array("i", [1, 2, 3]),
    "table": lambda: memoryview(bytes(range(12))).cast("B", [2, 6]),
    "numbers": lambda: memoryview(bytearray(range(24))).cast("i", [2, 3]),
    "none": lambda: array.array("i"),
    "ctypes": lambda: (ctypes.c_int * 3)(1, 2, 3),  # its format has the order of bytes in it
    "bytearray": lambda: bytearray(b"bytes"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("buffering", [0, 8, -1])
def test_buffers_of_any_shape_are_written_as_bytes(run, path, shape, buffering):
    data = SHAPES[shape]()
    expected = bytes(memoryview(data))

    async def main():
        async with files.open(path, "w+b", buffering) as file:
            assert await file.write(data) == len(expected)
            assert await file.tell() == len(expected)
            await file.writelines([data, data])
            await file.flush()
            assert path.read_bytes() == expected * 3
            assert await file.write_at(1, data) == len(expected)
            assert await file.writev_at(100, [data, b"!", data]) == 2 * len(expected) + 1
        assert path.read_bytes()[100:] == expected + b"!" + expected
        assert await whole.write_bytes(path, data) == len(expected)
        assert path.read_bytes() == expected

    run(main())


@pytest.mark.parametrize("buffering", [0, -1])
def test_buffers_of_any_shape_are_read_into(run, path, buffering):
    path.write_bytes(LINES)

    async def main():
        async with files.open(path, "rb", buffering) as file:
            for make in (
                lambda: array.array("i", [0] * 5),
                lambda: memoryview(bytearray(20)).cast("i", [5, 1]),
                ctypes.c_int * 5,
                lambda: array.array("i"),
            ):
                buffer = make()
                size = memoryview(buffer).nbytes
                for name in ("readinto", "readinto1"):
                    if not hasattr(file, name):
                        continue
                    await file.seek(3)
                    assert await getattr(file, name)(buffer) == size
                    assert bytes(memoryview(buffer)) == LINES[3 : 3 + size]
                    assert await file.tell() == 3 + size
                assert await file.readinto_at(7, buffer) == size
                assert bytes(memoryview(buffer)) == LINES[7 : 7 + size]
                assert await file.readv_at(9, [buffer]) == size
                assert bytes(memoryview(buffer)) == LINES[9 : 9 + size]

    run(main())


@pytest.mark.parametrize("buffering", [0, -1])
def test_buffers_with_gaps_are_refused(run, path, buffering):
    gaps = memoryview(bytearray(20))[::2]

    async def main():
        async with files.open(path, "w+b", buffering) as file:
            await file.write(b"0123456789" * 3)
            await file.seek(2)
            for call in (
                lambda: file.write(gaps),
                lambda: file.writelines([gaps]),
                lambda: file.write_at(0, gaps),
                lambda: file.writev_at(0, [b"", gaps]),
                lambda: whole.write_bytes(path, gaps),
            ):
                with pytest.raises(BufferError, match="contiguous"):
                    await call()
            for call in (file.readinto, lambda data: file.readinto_at(0, data), lambda data: file.readv_at(0, [data])):
                with pytest.raises(TypeError, match="contiguous"):
                    await call(gaps)
            assert await file.tell() == 2
            for data in ("text", None, 5):
                with pytest.raises(TypeError, match="bytes-like"):
                    await file.write(data)
        assert path.read_bytes() == b"0123456789" * 3

    run(main())


@pytest.mark.parametrize("buffering", [0, -1])
def test_memory_that_cannot_be_read_into_takes_nothing(run, path, buffering):
    path.write_bytes(LINES)

    async def main():
        reading, writing = os.pipe()
        os.write(writing, b"0123456789")
        async with files.open(path, "rb", buffering) as file, files.open(reading, "rb", buffering) as pipe:
            for where in (file, pipe):
                for name in ("readinto", "readinto1"):
                    if hasattr(where, name):
                        for buffer in (b"12345", memoryview(b"12345"), "text", None):
                            with pytest.raises(TypeError):
                                await getattr(where, name)(buffer)
            assert await file.tell() == 0
            os.close(writing)
            assert await pipe.read() == b"0123456789"
            for call in (lambda: file.readinto_at(0, b"12345"), lambda: file.readv_at(0, [bytearray(1), b"12345"])):
                with pytest.raises(TypeError):
                    await call()

    run(main())


@pytest.mark.parametrize("buffering", [0, -1])
def test_numbers_are_looked_at(run, path, buffering):
    path.write_bytes(LINES)

    async def main():
        async with files.open(path, "r+b", buffering) as file:
            for call in (
                lambda number: file.read_at(number, 1),
                lambda number: file.read_at(0, number),
                lambda number: file.readinto_at(number, bytearray(1)),
                lambda number: file.readv_at(number, [bytearray(1)]),
                lambda number: file.write_at(number, b"x"),
                lambda number: file.writev_at(number, [b"x"]),
                file.truncate,
                lambda number: file.allocate(number, 1),
                lambda number: file.allocate(0, number),
                lambda number: file.advise(number, 1, 0),
                lambda number: file.advise(0, number, 0),
                lambda number: file.advise(0, 1, number),
            ):
                for number in (1.5, "x"):
                    with pytest.raises(TypeError, match="must be an int"):
                        await call(number)
                with pytest.raises(OverflowError):
                    await call(1 << 63)
            with pytest.raises((MemoryError, OverflowError)):
                await file.read_at(0, (1 << 63) - 1)
            for arguments in ((0, -1, 0), (0, 1, -1), (0, 1, 99)):
                with pytest.raises(OSError) as caught:
                    await file.advise(*arguments)
                assert caught.value.errno == errno.EINVAL
            assert await file.read_at(True, True) == LINES[1:2]
        assert path.read_bytes() == LINES
        for text in ("r", "rb"):
            file = await files.open(path, text)
            await file.close()
            with pytest.raises(ValueError, match="closed"):
                await file.writelines([])
        with pytest.raises(TypeError, match="integer"):
            await files.open(path, "rb", None)

    run(main())


@pytest.mark.parametrize("mode", ["wb", "w", "x"])
@pytest.mark.parametrize("buffering", [2**31, -(2**31) - 1, 2**70])
def test_wrong_size_of_buffers_leaves_the_file_alone(run, tmp_path, mode, buffering):
    path = tmp_path / "file"
    if mode != "x":
        path.write_bytes(b"content")

    async def main():
        with pytest.raises(OverflowError, match=r"buffering: -?\d+ "):
            await files.open(path, mode, buffering)

    run(main())
    with pytest.raises(OverflowError), open(path, mode, buffering):
        pass
    assert path.exists() == (mode != "x")
    assert mode == "x" or path.read_bytes() == b"content"


@pytest.mark.parametrize("mode", ["rb", "wb", "ab", "r+b", "rb+", "w+b", "a+b", "br+", "xb", "x+b"])
@pytest.mark.parametrize("buffering", [0, -1])
def test_mode_is_told_as_by_io(run, path, mode, buffering):
    path.write_bytes(LINES)

    async def main():
        if "x" in mode:
            path.unlink()
        async with files.open(path, mode, buffering) as file:
            told = file.mode
        if "x" in mode:
            path.unlink()
        with open(path, mode, buffering) as file:
            assert told == file.mode

    run(main())


def test_a_pipe_that_is_not_blocking_is_waited_for(run):
    async def main():
        reading, writing = os.pipe2(os.O_NONBLOCK)
        async with files.open(reading, "rb", 0) as file, files.open(writing, "wb", 0) as sink:
            task = asyncio.ensure_future(file.read(10))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert await sink.write(b"something") == 9
            assert await task == b"something"
            size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ) + 100
            task = asyncio.ensure_future(sink.write(bytes(size)))
            done = 0
            while done < size:
                done += len(await file.read(size))
            await task

    run(main())


def test_memory_that_shrinks_while_a_write_waits_for_its_turn(run, path):
    data = bytearray(b"x" * 100)

    async def main():
        async with files.open(path, "wb") as file:
            first = asyncio.ensure_future(file.write(b"y" * 100_000))
            second = asyncio.ensure_future(file.write(data))
            await asyncio.sleep(0)
            data.clear()
            assert await first + await second == 100_100
            assert await file.tell() == 100_100
        assert path.stat().st_size == 100_100

    run(main())


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_large_reads_in_a_row(run, tmp_path, mode):
    """What the page cache has all of is there without a wait, and what it has not comes just the same."""
    path = tmp_path / "large"
    content = os.urandom(3_000_001)
    path.write_bytes(content)

    async def main():
        async with files.open(path, mode) as file:
            for size in (100_000, 262_144, 1 << 20, 2_000_000):
                await file.seek(0)
                parts = []
                while part := await file.read(size):
                    assert await file.tell() == sum(map(len, parts)) + len(part)
                    parts.append(part)
                    if len(parts) == 2:
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                        assert await file.read(3) == content[2 * size :][:3]
                        parts.append(content[2 * size :][:3])
                assert b"".join(parts) == content
            await file.seek(10)
            assert await file.read(5) == content[10:15]
            assert await file.read(200_000) == content[15:200_015]
            if mode == "r+b":
                await file.write(b"written")
                assert await file.read(200_000) == content[200_022:400_022]
                await file.seek(200_015)
                assert await file.read(100_000) == b"written" + content[200_022:300_015]
        with pytest.raises(ValueError, match="closed"):
            await file.read(262_144)

    run(main())


def test_operations_take_turns(run, path):
    """Many at once on one file: each gets its own part, in the order in which they were begun."""
    path.write_bytes(LINES)

    async def main():
        async with files.open(path, "rb") as file:
            parts = await asyncio.gather(*(file.read(777) for _ in range(200)))
        assert b"".join(parts) == LINES

    run(main())


def test_errors_name_the_file(run, tmp_path):
    async def main():
        with pytest.raises(FileNotFoundError) as caught:
            await files.open(tmp_path / "missing", "rb")
        assert caught.value.filename == os.fspath(tmp_path / "missing")
        with pytest.raises(IsADirectoryError):
            await files.open(tmp_path, "rb")
        with pytest.raises(ValueError, match="null"):
            await files.open("a\0b", "rb")

    run(main())


@pytest.mark.parametrize("size", [-1, 1 << 62])
def test_a_size_that_cannot_be_names_the_file(run, path, size):
    async def main():
        async with files.open(path, "wb") as file:
            with pytest.raises(OSError) as caught:
                await file.truncate(size)
            assert caught.value.filename == os.fspath(path)

    run(main())


def test_allocate(run, path):
    async def main():
        path.write_bytes(b"data")
        async with files.open(path, "r+b") as file:
            await file.allocate(2, 100_000)
            assert path.stat().st_size == 100_002
            assert path.stat().st_blocks * 512 >= 100_000
            await file.allocate(0, 10)
            assert path.stat().st_size == 100_002
            assert await file.tell() == 0
            assert await file.read(5) == b"data\0"
            for offset, size in [(-1, 10), (0, -10), (0, 0)]:
                with pytest.raises(OSError) as caught:
                    await file.allocate(offset, size)
                assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, os.fspath(path))
        async with files.open(path, "rb") as file:
            with pytest.raises(io.UnsupportedOperation):
                await file.allocate(0, 10)
        with pytest.raises(ValueError, match="closed file"):
            await file.allocate(0, 10)

    run(main())


def test_advise(run, path):
    async def main():
        path.write_bytes(LINES)
        async with files.open(path, "rb") as file:
            for advice in ("NORMAL", "SEQUENTIAL", "RANDOM", "NOREUSE", "WILLNEED", "DONTNEED"):
                for offset, size in [(0, 0), (4096, 8192), (0, 1 << 40)]:
                    await file.advise(offset, size, getattr(os, f"POSIX_FADV_{advice}"))
            assert await file.read() == LINES
            with pytest.raises(OSError) as caught:
                await file.advise(0, 0, 1234)
            assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, os.fspath(path))
        with pytest.raises(ValueError, match="closed file"):
            await file.advise(0, 0, os.POSIX_FADV_NORMAL)

    run(main())


def test_opener(run, path):
    async def main():
        path.write_bytes(LINES)
        asked = []
        folder = os.open(path.parent, os.O_RDONLY)

        def opener(name, flags):
            asked.append((name, flags & os.O_ACCMODE))
            return os.open(name, flags, dir_fd=folder)

        try:
            async with files.open("file", "rb", opener=opener) as file:
                assert await file.read() == LINES
                assert file.name == "file"
                assert not os.get_inheritable(file.fileno())
            async with files.open("new", "w", opener=opener) as file:
                await file.write("text")
            assert path.with_name("new").read_text() == "text"
            assert asked == [("file", os.O_RDONLY), ("new", os.O_WRONLY)]
            with pytest.raises(FileNotFoundError):
                await files.open("absent", opener=opener)
            with pytest.raises(ValueError, match="opener returned -1"):
                await files.open("file", opener=lambda name, flags: -1)
            with pytest.raises(TypeError, match="expected integer from opener"):
                await files.open("file", opener=lambda name, flags: "1")
        finally:
            os.close(folder)

    run(main())


@pytest.mark.parametrize("mode", ["rb", "r+b", "r"])
@pytest.mark.parametrize("closefd", [False, True])
def test_closefd(run, path, mode, closefd):
    async def main():
        path.write_bytes(LINES)
        fd = os.open(path, os.O_RDWR)
        async with files.open(fd, mode, closefd=closefd) as file:
            assert file.name == fd
            assert len(await file.read(10)) == 10
        if closefd:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(fd)
            return
        assert os.pread(fd, 4, 0) == b"line"
        os.close(fd)
        with pytest.raises(ValueError, match="closefd=False"):
            await files.open(path, mode, closefd=False)

    run(main())


def test_a_folder_that_is_given_as_a_descriptor_stays_open(run, tmp_path):
    async def main():
        fd = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(IsADirectoryError):
            await files.open(fd, "rb")
        os.close(fd)
        with pytest.raises(IsADirectoryError):
            await files.open(tmp_path, "rb")

    run(main())


def test_a_file_that_could_not_be_made_is_closed_once(run, path):
    async def main():
        path.write_bytes(LINES)
        with pytest.raises(OverflowError) as caught:
            await files.open(path, "rb", 1 << 70)
        fd = os.open(path, os.O_RDONLY)  # has the number now that the file had
        del caught
        gc.collect()
        assert os.read(fd, 4) == b"line"
        os.close(fd)

    run(main())


def test_opening_a_fifo_does_not_stop_the_loop(run, tmp_path):
    """The other end is opened by a task of the same loop, so nobody may wait for it in the loop's thread."""
    os.mkfifo(tmp_path / "fifo")

    async def main():
        reading = asyncio.create_task(files.open(tmp_path / "fifo", "rb", buffering=0).__aenter__())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        fd = os.open(tmp_path / "fifo", os.O_RDWR)
        try:
            os.write(fd, b"12345")
            file = await reading
            assert await file.read(5) == b"12345"
            await file.close()
        finally:
            os.close(fd)

    run(main())


def test_a_pipe_without_buffers_is_read_to_its_end(run):
    async def main():
        reading, writing = os.pipe()
        os.write(writing, b"x" * 10_000)
        os.close(writing)
        async with files.open(reading, "rb", buffering=0) as file:
            assert await file.readall() == b"x" * 10_000

    run(main())


@pytest.mark.parametrize("runner", ["ioring.run", "asyncio.run"])
def test_there_are_workers_enough(runner):
    """The workers of the kernel are the thread's, as many as its first ring had entries, and few on few CPUs."""
    printed = python(
        f"""
import asyncio
from ioring.files.engine import running
small = Ring(1)

async def main():
    return running()._ring.register_iowq_max_workers(0, 0)[0]

print(small.register_iowq_max_workers(0, 0)[0], {runner}(main()) >= 32)
small.close()
"""
    )
    assert printed.split() == ["1", "True"]


class Refused(Exception):
    pass


def test_what_a_thread_raises_arrives(path, monkeypatch):
    """Whatever it is: the await must not wait for ever."""

    def refuse(*arguments, **options):
        raise Refused

    async def main():
        async with files.open(path, "w+b") as file:
            for name in ("mkdir", "rename", "posix_fallocate", "preadv"):
                monkeypatch.setattr(os, name, refuse)
            for call in (
                lambda: ioring.os.mkdir(path.with_name("folder")),
                lambda: ioring.os.rename(path, path.with_name("other")),
                lambda: file.allocate(0, 10),
                lambda: file.readv_at(0, [bytearray(1)]),
            ):
                with pytest.raises(Refused):
                    await call()

    run_in_threads(main())


@pytest.mark.parametrize("mode", [1 << 40, -1 << 40, 1 << 31])
def test_a_mode_that_cannot_be(run, tmp_path, mode):
    async def main():
        for make in (ioring.os.mkdir, ioring.os.makedirs):
            with pytest.raises(OverflowError):
                await make(tmp_path / "folder", mode)
        with pytest.raises(OverflowError):
            await ioring.Path(tmp_path / "folder").mkdir(mode)

    run(main())
    assert os.listdir(tmp_path) == []


@as_root
def test_allocate_where_the_file_system_cannot(run, tmp_path):
    """There posix_fallocate() writes."""

    async def main():
        async with files.open(tmp_path / "file", "w+b") as file:
            await file.write(b"data")
            await file.allocate(0, 10_000)
            await file.seek(0)
            assert await file.read() == b"data" + bytes(9996)

    with mounted("ramfs", tmp_path):
        run(main())
