"""Reads of much at once: into one object or the program's own memory, and as if they had not begun when they fail."""

import asyncio
import os
import tracemalloc

import pytest

import ioring

MIB = 1 << 20
DATA = os.urandom(1 << 16) * 96  # 6 MiB
HEAD = 5  # bytes that are read before, so that there is something read ahead


async def read(file, size):
    return await file.read(size)


async def readinto(file, size):
    buffer = bytearray(len(DATA) + 10 if size < 0 else size)
    count = await file.readinto(buffer)
    assert bytes(buffer[count:]) == bytes(len(buffer) - count)
    return bytes(buffer[:count])


ways = pytest.mark.parametrize("way", [read, readinto])


@ways
@pytest.mark.parametrize("size", [-1, 4 * MIB, 5 * MIB + 1, len(DATA) - HEAD, len(DATA), 2 * len(DATA)])
@pytest.mark.parametrize("buffering", [-1, 0])
def test_what_is_read(run, path, way, size, buffering):
    async def main():
        async with ioring.open(path, "rb", buffering=buffering) as file:
            assert await file.read(HEAD) == DATA[:HEAD]
            got = await way(file, size)
            assert got == (DATA[HEAD:] if size < 0 else DATA[HEAD : HEAD + size])
            assert await file.tell() == HEAD + len(got)
            assert await file.read(3) == DATA[HEAD + len(got) :][:3]

    run(main())


@ways
def test_memory(run, path, way):
    """No second copy of all of it."""

    async def main():
        async with ioring.open(path, "rb") as file:
            await file.read(HEAD)
            tracemalloc.start()
            try:
                await way(file, -1)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    # readinto() above makes the buffer and a copy of it itself.
    assert run(main()) < (1 if way is read else 3) * len(DATA) + 3 * MIB


@ways
def test_a_cancelled_one_has_not_happened(run, path, way):
    async def main():
        async with ioring.open(path, "rb") as file:
            assert await file.read(HEAD) == DATA[:HEAD]
            for turns in range(12):
                task = asyncio.ensure_future(way(file, -1))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if not task.cancel():  # it was done
                    assert await task == DATA[HEAD:] == DATA[HEAD : await file.tell()]
                    return
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await file.tell() == HEAD
            assert await file.read() == DATA[HEAD:]

    run(main())


@ways
def test_a_file_that_changes_meanwhile(run, path, way):
    """It is shorter or longer by the time that its end is read."""

    async def main(size):
        async with ioring.open(path, "rb") as file:
            task = asyncio.ensure_future(way(file, -1 if way is read else 3 * len(DATA)))
            await asyncio.sleep(0)
            os.truncate(path, size)
            return await task

    for size in (len(DATA) // 2, 2 * len(DATA)):
        path.write_bytes(DATA)
        got = run(main(size))
        assert got[: len(DATA) // 2] == DATA[: len(DATA) // 2]
        assert len(got) in (size, len(DATA))
        if size > len(DATA):
            assert got[: len(DATA)] == DATA
