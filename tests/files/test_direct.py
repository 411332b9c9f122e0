"""Files past the page cache."""

import array
import asyncio
import mmap
import os
import random

import pytest

from ioring.files import opening as files
from rings import stir

DATA = random.Random(5).randbytes(1 << 20) + b"the end is not at a whole block"


@pytest.fixture
def path(path):
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("the file system has no direct I/O")
    return path


def test_reads(run, path):
    async def main():
        async with files.open(path, "rb", direct=True) as file:
            for offset, size in [(0, 4096), (0, 0), (1, 1), (4095, 2), (5000, 20_000), (100, 300_000), (len(DATA), 5)]:
                assert await file.read_at(offset, size) == DATA[offset : offset + size]
                buffer = bytearray(size)
                count = await file.readinto_at(offset, buffer)
                assert buffer[:count] == DATA[offset : offset + size]
            assert await file.read_at(len(DATA) - 10, 100) == DATA[-10:]
            assert await file.read(10_000) == DATA[:10_000]
            assert await file.readline() == DATA[10_000 : DATA.index(b"\n", 10_000) + 1]
            await file.seek(-7, os.SEEK_END)
            assert await file.read() == DATA[-7:]
            await file.seek(3)
            assert await file.readall() == DATA[3:]
            buffers = [bytearray(5000), bytearray(3)]
            assert await file.readv_at(11, buffers) == 5003
            assert b"".join(buffers) == DATA[11:5014]
            with mmap.mmap(-1, 8192) as aligned:
                assert await file.readinto_at(4096, aligned) == 8192
                assert aligned[:] == DATA[4096 : 4096 + 8192]

    run(main())


def test_more_at_once_than_the_pool_has(run, path):
    async def main():
        async with files.open(path, "rb", direct=True) as file:
            offsets = [random.Random(7).randrange(len(DATA)) for _ in range(500)]
            parts = await asyncio.gather(*(file.read_at(offset, 4096) for offset in offsets))
            assert parts == [DATA[offset : offset + 4096] for offset in offsets]

    run(main())


def test_writes(run, path):
    async def main():
        async with files.open(path, "r+b", direct=True) as file:
            await file.write_at(4096, b"a" * 8192)
            assert await file.writev_at(0, [b"b" * 100, b"c" * 3996]) == 4096
            with pytest.raises(ValueError, match="whole blocks of 512"):
                await file.write_at(0, b"short")
            with pytest.raises(ValueError, match="whole blocks of 512"):
                await file.write_at(5, b"x" * 512)
            await file.seek(1 << 16)
            assert await file.write(b"d" * (1 << 17)) == 1 << 17
            assert await file.tell() == (1 << 16) + (1 << 17)
            with mmap.mmap(-1, 4096) as aligned:
                aligned[:] = b"e" * 4096
                await file.write_at(32768, aligned)
            await file.fsync()
        content = path.read_bytes()
        assert content[4096:12288] == b"a" * 8192
        assert content[32768:36864] == b"e" * 4096
        assert content[1 << 16 : (1 << 16) + (1 << 17)] == b"d" * (1 << 17)
        assert content[(1 << 16) + (1 << 17) :] == DATA[(1 << 16) + (1 << 17) :]

    run(main())


def test_buffers_of_any_shape(run, path):
    numbers = array.array("i", range(1024))
    memory = mmap.mmap(-1, 4096)
    aligned = memoryview(memory).cast("i", [32, 32])

    async def main():
        async with files.open(path, "r+b", direct=True) as file:
            for data in (
                numbers,
                memoryview(bytes(512)).cast("i"),
                memoryview(bytes(range(256)) * 4).cast("i", [2, 128]),
            ):
                expected = bytes(data)
                await file.seek(4096)
                assert await file.write(data) == len(expected)
                assert await file.tell() == 4096 + len(expected)
                assert await file.read_at(4096, len(expected)) == expected
                assert await file.write_at(8192, data) == len(expected)
                assert await file.read_at(8192, len(expected)) == expected
                assert await file.writev_at(512, [data, data]) == 2 * len(expected)
                assert await file.read_at(512, 2 * len(expected)) == expected * 2
            await file.seek(0)
            assert await file.write(aligned) == 4096
            assert await file.tell() == 4096
            into = array.array("i", [0] * 50)
            for count in (
                await file.readinto_at(100_001, into),
                await file.readv_at(100_001, [into[:0], into]),
            ):
                assert count == 200
                assert into.tobytes() == DATA[100_001:100_201]
            await file.seek(100_001)
            assert await file.readinto(into) == 200
            for call in (file.write, lambda data: file.write_at(0, data)):
                with pytest.raises(BufferError, match="contiguous"):
                    await call(memoryview(bytearray(2048))[::2])
            for call in (file.readinto, lambda data: file.readinto_at(0, data)):
                with pytest.raises(TypeError, match="contiguous"):
                    await call(memoryview(bytearray(2048))[::2])

    run(main())
    aligned.release()
    memory.close()


def test_cancelled(run, path):
    async def main():
        async with files.open(path, "r+b", direct=True) as file:
            for turns in [*range(4)] * 10:
                task = asyncio.ensure_future(file.read_at(turns * 100, 9000))
                write = asyncio.ensure_future(file.write_at(1 << 19, b"w" * 4096))
                file.read_at(0, 4096)  # never awaited
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                write.cancel()
                stir()
                await asyncio.gather(task, write, return_exceptions=True)
            # All slots are there again.
            parts = await asyncio.gather(*(file.read_at(0, 5000) for _ in range(200)))
            assert set(parts) == {DATA[:5000]}

    run(main())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("r",), "binary"),
        (("rb", 4096), "without buffers"),
        (("ab",), "cannot append"),
    ],
)
def test_what_cannot_be(run, path, arguments, message):
    async def main():
        with pytest.raises(ValueError, match=message):
            await files.open(path, *arguments, direct=True)

    run(main())
