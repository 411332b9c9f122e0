"""Files whose descriptor somebody else has too: the position is the kernel's, and nobody writes over the others' bytes.

What io does is the model.
"""

import asyncio
import ctypes
import io
import os
import pathlib
import subprocess
import sys

import pytest

from ioring import aiofiles
from ioring.files import opening as files
from rings import python

MODES = [("wb", 0), ("w+b", 0), ("wb", -1), ("w+b", -1), ("w", -1), ("w", 1), ("ab", 0), ("a", -1)]


def lines_of(mode, *words):
    return [word.encode() if "b" in mode else word for word in words]


async def written_by_a_child(fd, text):
    """A child has the descriptor as its standard output, and writes."""
    child = await asyncio.create_subprocess_exec("/bin/echo", text, stdout=fd)
    assert await child.wait() == 0


def opened_by_number(path, mode):
    flags = os.O_RDWR | os.O_CREAT | (os.O_APPEND if "a" in mode else os.O_TRUNC)
    return os.open(path, flags)


@pytest.mark.parametrize(("mode", "buffering"), MODES)
@pytest.mark.parametrize("way", ["fileno", "raw", "number", "opener", "dup"])
def test_what_others_write_stays(run, path, mode, buffering, way):
    first, second, third = lines_of(mode, "first\n", "third\n", "fifth\n")

    async def main():
        extra = {"opener": lambda name, flags: opened_by_number(path, mode)} if way == "opener" else {}
        fd = opened_by_number(path, mode) if way == "number" else -1
        async with files.open(fd if way == "number" else path, mode, buffering, **extra) as file:
            await file.write(first)
            await file.flush()
            if way == "raw":
                other = (file if "b" in mode else file.buffer).raw.fileno()
            elif way == "dup":
                other = os.dup(file.fileno())
            else:
                other = fd if way == "number" else file.fileno()
            await written_by_a_child(other, "second")
            await file.write(second)
            await file.flush()
            os.write(other, b"fourth\n")
            await file.write(third)
            await file.flush()
            assert await file.tell() == len(b"first\nsecond\nthird\nfourth\nfifth\n")
            if way == "dup":
                os.close(other)

    run(main())
    assert path.read_text() == "first\nsecond\nthird\nfourth\nfifth\n"


@pytest.mark.parametrize("buffering", [0, -1])
def test_what_others_read_is_not_read_again(run, path, buffering):
    path.write_bytes(bytes(range(256)) * 1000)
    content = path.read_bytes()

    async def main():
        async with files.open(path, "r+b", buffering) as file, files.open(os.open(path, os.O_RDWR), "r+b", 0) as other:
            assert await file.read(10) == content[:10]
            place = os.lseek(file.fileno(), 0, os.SEEK_CUR)  # behind what is read ahead
            assert os.read(file.fileno(), 1000) == content[place : place + 1000]
            rest = await file.read()
            assert rest == content[10:place] + content[place + 1000 :]
            # Position and content after seeking, reading and writing by turns.
            assert await file.seek(50_000) == 50_000
            assert await file.read(5) == content[50_000:50_005]
            assert await file.tell() == 50_005
            assert await file.seek(-5, 1) == 50_000
            await file.write(b"here")
            assert await file.tell() == 50_004
            assert await file.read(3) == content[50_004:50_007]
            assert await other.read_at(50_000, 4) in (b"here", content[50_000:50_004] if buffering else b"here")
            assert await file.truncate() == 50_007
            assert await file.seek(0, 2) == os.lseek(other.fileno(), 0, os.SEEK_END) == 50_007

    run(main())


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_cancelled_read_of_a_shared_file_has_not_happened(run, path, buffering):
    path.write_bytes(os.urandom(1 << 20))
    content = path.read_bytes()

    async def main():
        async with files.open(path, "rb", buffering) as file:
            file.fileno()
            for turns in range(6):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                place = await file.tell()
                task = asyncio.ensure_future(file.read(100_000))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    got = await task
                    assert got and content.startswith(got, place)  # a raw read may be a short one
                    place += len(got)
                except asyncio.CancelledError:
                    pass
                assert await file.tell() == place
                got = await file.read(1000)
                assert got and content.startswith(got, place)

    run(main())


def test_two_who_write_at_the_same_time(run, path):
    """The kernel's own position is locked by write(2), and not by a request of a ring."""
    count = 3000
    code = f"import os\nfor _ in range({count}): os.write(1, b'child\\n')"

    async def main():
        async with files.open(path, "wb", 0) as file:
            child = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", "-c", code, stdout=file.fileno())
            for _ in range(count):
                await file.write(b"other\n")
            assert await child.wait() == 0

    run(main())
    found = path.read_bytes().splitlines()
    assert (found.count(b"child"), found.count(b"other")) == (count, count)


@pytest.mark.parametrize("buffering", [0, 4096])
def test_given_away_while_it_is_written(run, path, buffering):
    """The write that is under way ends where it began; then the position is the kernel's."""

    async def main():
        async with files.open(path, "wb", buffering) as file:
            await file.write(b"1" * 5000)
            task = asyncio.ensure_future(file.write(b"2" * 5000))
            while not task.done():
                other = file.fileno()
                await asyncio.sleep(0)
            await file.flush()
            os.write(other, b"3" * 5000)
            await file.write(b"4" * 5000)
            await file.flush()

    run(main())
    assert path.read_bytes() == b"1" * 5000 + b"2" * 5000 + b"3" * 5000 + b"4" * 5000


def test_direct(run, path):
    path.write_bytes(bytes(8192))

    async def main():
        try:
            file = await files.open(path, "r+b", direct=True)
        except OSError as error:
            pytest.skip(f"no direct I/O: {error}")
        async with file:
            await file.write(b"1" * 4096)
            assert os.lseek(file.fileno(), 4096, os.SEEK_CUR) == 8192
            await file.write(b"3" * 4096)
            assert await file.tell() == 12288
            assert os.lseek(file.fileno(), 0, os.SEEK_SET) == 0
            assert await file.read(100) == b"1" * 100
            assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 100

    run(main())
    assert path.read_bytes() == b"1" * 4096 + bytes(4096) + b"3" * 4096


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_descriptor_that_appends(run, path, buffering):
    async def main():
        path.write_bytes(b"0123456789")
        async with files.open(os.open(path, os.O_RDWR | os.O_APPEND), "r+b", buffering) as file:
            assert await file.read(2) == b"01"
            await file.write(b"ab")
            await file.flush()
            assert await file.tell() == 12
            assert await file.read(5) == b""

    run(main())
    assert path.read_bytes() == b"0123456789ab"


@pytest.mark.parametrize("kind", ["text", "binary", "raw", "standard"])
def test_standard_output_as_a_file(kind, path):
    """As from a shell's `>`: print() and the file of descriptor 1 take turns."""
    code = f"""
import sys, ioring
from ioring import aiofiles

async def main():
    kind = {kind!r}
    if kind == "standard":
        out = aiofiles.stdout
    else:
        buffering = 0 if kind == "raw" else -1
        out = await ioring.open(1, "w" if kind == "text" else "wb", buffering, closefd=False)
    for number in range(3):
        print("print", number, flush=True)
        line = f"file {{number}}\\n"
        await out.write(line.encode() if kind in ("binary", "raw") else line)
        await out.flush()
    if kind != "standard":
        await out.close()

ioring.run(main())
"""
    with open(path, "wb") as output:
        subprocess.run([sys.executable, "-c", code], stdout=output, check=True)
    assert path.read_text().split() == ["print", "0", "file", "0", "print", "1", "file", "1", "print", "2", "file", "2"]


@pytest.mark.parametrize("runner", ["ioring.run", "asyncio.run"])
def test_a_forked_child_writes_on(runner, path):
    """It has every descriptor, also those whose number nobody asked for."""
    code = f"""
import asyncio, os
from ioring.files import opening as files
from rings import python

async def main():
    path = {str(path)!r}
    async with files.open(path, "w+b", 0) as raw, files.open(path + "2", "w") as text:
        async with files.open(path + "3", "wb") as closed:
            pass
        await raw.write(b"parent ")
        await text.write("parent ")
        await text.flush()
        pid = os.fork()
        if pid == 0:
            os.write(raw.fileno(), b"child ")
            os.write(text.fileno(), b"child ")
            os._exit(0)
        os.waitpid(pid, 0)
        await raw.write(b"parent")
        await text.write("parent")
        await text.flush()
        assert await raw.tell() == 19
        await raw.seek(0)
        print(await raw.read())

{runner}(main())
print(open({str(path) + "2"!r}).read())
"""
    assert python(code, arguments=["-W", "ignore"]) == "b'parent child parent'\nparent child parent\n"


@pytest.mark.parametrize("kind", ["wrap", "temporary"])
def test_files_of_others(run, path, kind):
    """wrap() takes over a blocking file, whose descriptor others may have; a temporary file is new."""

    async def main():
        if kind == "wrap":
            file = aiofiles.threadpool.wrap(io.FileIO(path, "w+"))
        else:
            file = await aiofiles.tempfile.TemporaryFile("w+b", 0)
        async with file:
            await file.write(b"1")
            number = file.fileno()
            os.write(number, b"2")
            await file.write(b"3")
            await file.seek(0)
            assert await file.read() == b"123"

    run(main())


# Descriptors that answer lseek() and have no positions, and files that are written at none.


def test_descriptors_without_positions(run, tmp_path):
    libc = ctypes.CDLL(None, use_errno=True)

    async def main():
        async with files.open(os.eventfd(5), "r+b", buffering=0) as file:
            assert int.from_bytes(await file.read(8), sys.byteorder) == 5
            assert await file.write((3).to_bytes(8, sys.byteorder)) == 8
            assert int.from_bytes(await file.read(100), sys.byteorder) == 3
            assert not await file.seekable()
        async with files.open(os.eventfd(7), "r+b") as file:
            assert int.from_bytes((await file.read1())[:8], sys.byteorder) == 7
        for buffering in (0, -1):
            watch = libc.inotify_init1(os.O_CLOEXEC)
            assert libc.inotify_add_watch(watch, os.fsencode(tmp_path), 0x100) == 1
            async with files.open(watch, "rb", buffering) as file:
                (tmp_path / "new").write_bytes(b"")
                assert b"new" in await (file.read1() if buffering else file.read(4096))
                (tmp_path / "new").unlink()

    run(main())


@pytest.mark.parametrize(("mode", "buffering"), [("w", -1), ("wb", 0), ("r+b", 0), ("r+b", -1)])
def test_files_of_the_kernel_are_written(run, mode, buffering):
    """Most of /proc can be sought, and knows no pwrite()."""
    comm = pathlib.Path("/proc/self/comm")
    before = comm.read_bytes()

    async def main():
        async with files.open(comm, mode, buffering) as file:
            await file.write(lines_of(mode, "a name")[0])
        async with files.open(comm) as file:
            assert await file.read() == "a name\n"
            assert await file.seek(0) == 0
            assert await file.read(3) == "a n"

    try:
        run(main())
    finally:
        comm.write_bytes(before)
