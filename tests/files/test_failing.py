"""Files where storage, names, descriptors or patience run out."""

import asyncio
import contextlib
import errno
import fcntl
import os
import random
import resource
import struct
import subprocess
import sys

import pytest

import needed
from engines import ENGINES, mounted, run_here, uncached
from ioring import whole
from ioring.files import opening as files
from rings import as_root, stir
from running import until

FIBMAP = 1
DATA = random.Random(3).randbytes(1 << 20)


@contextlib.contextmanager
def disk(tmp_path):
    """A file system on a disk that is a file: (its folder, the file). What becomes of the file, the disk suffers."""
    holder, folder = tmp_path / "holder", tmp_path / "disk"
    holder.mkdir()
    folder.mkdir()
    with mounted("tmpfs", holder, "-o", "size=4m"):
        image = holder / "image"
        image.write_bytes(b"")
        os.truncate(image, 16 << 20)
        try:
            # A journal that cannot be written would make the whole file system read-only.
            command = [needed.program("mkfs.ext4"), "-q", "-O", "^has_journal", image]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system to be had: {error}")
        with mounted("ext4", folder, "-o", "loop,errors=continue", source=image):
            yield folder, image


@as_root
def test_a_disk_that_cannot_be_read(run, tmp_path):
    with disk(tmp_path) as (folder, image):
        path = folder / "file"
        path.write_bytes(DATA)
        lines = folder / "lines"
        lines.write_bytes(b"line\n" * 100_000)

        async def main():
            file = await files.open(path, "rb")
            raw = await files.open(path, "rb", 0)
            direct = await files.open(path, "rb", 0, direct=True)
            text = await files.open(lines)
            for name in (path, lines):
                uncached(name)
            size = image.stat().st_size
            os.truncate(image, 0)
            try:
                for opened, call in (
                    (file, lambda: file.read(10)),
                    (file, file.readline),
                    (file, file.read),
                    (file, lambda: file.read_at(5000, 100)),
                    (file, lambda: file.readinto_at(9000, bytearray(100))),
                    (file, lambda: file.readv_at(9000, [bytearray(100), bytearray(1)])),
                    (raw, lambda: raw.read(10)),
                    (raw, raw.readall),
                    (direct, lambda: direct.read_at(4096, 4096)),
                    (text, text.readline),
                    (text, text.read),
                    (None, lambda: whole.read_bytes(path)),
                    (None, lambda: whole.read_text(lines)),
                ):
                    with pytest.raises(OSError) as caught:
                        await call()
                    name = lines if opened is text or "lines" in str(caught.value.filename) else path
                    assert (caught.value.errno, caught.value.filename) == (errno.EIO, os.fspath(name))
                    if opened is not None:
                        assert await opened.tell() == 0
            finally:
                os.truncate(image, size)
            for opened in (file, raw, direct, text):
                await opened.close()

        run(main())


def place_on_disk(path, offset):
    """Where on its disk a byte of a file is."""
    with open(path, "rb") as file:
        block_size = os.fstatvfs(file.fileno()).f_bsize
        block = fcntl.ioctl(file.fileno(), FIBMAP, struct.pack("i", offset // block_size))
    return struct.unpack("i", block)[0] * block_size


@as_root
def test_a_disk_that_can_be_read_in_part(run, tmp_path):
    """Less than was asked for means the end of the file, so it is never the answer in the middle of one."""
    with disk(tmp_path) as (folder, image):
        path = folder / "file"
        path.write_bytes(DATA)

        async def main():
            file = await files.open(path, "rb", 4096)
            raw = await files.open(path, "rb", 0)
            direct = await files.open(path, "rb", 0, direct=True)
            size = image.stat().st_size
            uncached(path)
            end = place_on_disk(path, 300_000)
            os.truncate(image, end)
            try:
                for call in (
                    lambda: file.read_at(0, len(DATA)),
                    lambda: file.readinto_at(0, bytearray(len(DATA))),
                    lambda: direct.read_at(0, len(DATA)),
                    lambda: whole.read_bytes(path),
                    file.read,
                    raw.readall,
                ):
                    with pytest.raises(OSError) as caught:
                        await call()
                    assert (caught.value.errno, caught.value.filename) == (errno.EIO, os.fspath(path))
                assert await file.tell() == 0
                assert await file.read_at(1000, 100_000) == DATA[1000:101_000]
                assert await file.read(50_000) == DATA[:50_000]
            finally:
                os.truncate(image, size)
            for opened in (file, raw, direct):
                await opened.close()

        run(main())


@as_root
def test_a_disk_that_cannot_be_written(run, tmp_path):
    """What was written to the cache is lost: fsync says so, and replacing a file does not take place."""
    with disk(tmp_path) as (folder, image):
        path, other = folder / "file", folder / "other"
        path.write_bytes(b"old")
        os.sync()
        before = set(os.listdir(folder)) | {"other"}
        filler = image.with_name("filler")

        async def main():
            opened = await files.open(other, "wb")
            with pytest.raises(OSError) as caught:
                filler.write_bytes(bytes(8 << 20))
            assert caught.value.errno == errno.ENOSPC  # whatever the image lacks now, it cannot get
            try:
                with pytest.raises(OSError) as caught:
                    await whole.write_bytes(path, DATA, atomic=True)
                assert caught.value.errno in (errno.EIO, errno.ENOSPC)
                assert caught.value.filename == os.fspath(path)
                assert await whole.read_bytes(path) == b"old"
                assert set(os.listdir(folder)) == before
                await opened.write(DATA)
                with pytest.raises(OSError) as caught:
                    await opened.fdatasync()
                assert caught.value.errno in (errno.EIO, errno.ENOSPC)
                assert caught.value.filename == os.fspath(other)
            finally:
                filler.unlink()
            await opened.close()

        run(main())


@contextlib.contextmanager
def full_disk(folder):
    """A small disk without any room: a function that makes some."""
    with mounted("tmpfs", folder, "-o", "size=256k"):
        filler = folder / "filler"

        def fill():
            with contextlib.suppress(OSError), open(filler, "wb", 0) as file:
                while True:
                    file.write(bytes(4096))

        yield fill, filler.unlink


WRITERS = [
    ("wb", 0, b"A"),
    ("wb", 4096, b"A"),
    ("wb", 10_000, b"A"),  # which a call fills to the last byte
    ("w", 8192, "A"),
    ("w", 1, "A\n"),
]


@as_root
@pytest.mark.parametrize(("mode", "buffering", "letter"), WRITERS)
def test_a_write_that_fails_has_not_happened(run, tmp_path, mode, buffering, letter):
    """So it can be made again, or not, when there is room; what earlier calls wrote is kept."""
    path, data, earlier = tmp_path / "file", letter * 10_000, letter[:1] * 100
    text = isinstance(letter, str)

    async def main():
        with full_disk(tmp_path) as (fill, make_room):
            for before in (b"", earlier) if buffering else (b"",):
                for again in (True, False):
                    async with files.open(path, mode, buffering) as file:
                        fill()
                        if before:
                            await file.write(before)  # into the buffer
                        for _ in range(3):
                            with pytest.raises(OSError) as caught:
                                await file.write(data)
                            assert caught.value.errno == errno.ENOSPC
                        make_room()
                        if again:
                            await file.write(data)
                    expected = (before or letter[:0]) + (data if again else letter[:0])
                    assert path.read_bytes() == (expected.encode() if text else expected)
                    path.unlink()

    run(main())


@as_root
@pytest.mark.parametrize("buffering", [0, 4096, 1 << 18])
def test_a_write_that_there_is_room_for_in_part(run, tmp_path, buffering):
    """As with io the kernel's part stays written, and the position is behind it."""
    path = tmp_path / "file"

    async def main():
        with full_disk(tmp_path) as (fill, make_room):
            path.write_bytes(bytes(1 << 16))
            fill()
            async with files.open(path, "wb", buffering) as file:  # what it held is room now
                with pytest.raises(OSError) as caught:
                    for _ in range(2):  # without a buffer the first has a result: how much was written
                        await file.write(DATA[: 1 << 17])
                        await file.flush()
                assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, os.fspath(path))
                make_room()
                if buffering == 1 << 18:
                    assert await file.tell() == 1 << 17  # it was write() that took it, and flush() that failed
                    await file.flush()
                    assert path.read_bytes() == DATA[: 1 << 17]
                else:
                    assert await file.tell() == 1 << 16
                    await file.write(b"more")
                    await file.flush()
                    assert path.read_bytes() == DATA[: 1 << 16] + b"more"

    run(main())


@as_root
def test_a_text_that_fails_begins_anew_with_its_mark(run, tmp_path):
    path = tmp_path / "file"

    async def main():
        with full_disk(tmp_path) as (fill, make_room):
            fill()
            async with files.open(path, "w", 8192, encoding="utf-16") as file:
                with pytest.raises(OSError):
                    await file.write("x" * 10_000)
                make_room()
                await file.write("y" * 10_000)
            assert path.read_text("utf-16") == "y" * 10_000
            path.unlink()

    run(main())


@as_root
@pytest.mark.parametrize("kind", ["stdout", "stdout_bytes"])
def test_a_standard_stream_keeps_nothing_that_failed(tmp_path, kind):
    data = '"line"' if kind == "stdout" else 'b"line"'
    code = f"""
import ioring, os, sys
from ioring import aiofiles

async def main():
    os.close(1)
    os.open({str(tmp_path / "file")!r}, os.O_WRONLY | os.O_CREAT)
    for way in (aiofiles.{kind}.write, lambda data: aiofiles.{kind}.writelines([data, data])):
        try:
            await way({data})
        except OSError as error:
            print(error.errno, file=sys.stderr)
    os.unlink({str(tmp_path / "filler")!r})
    await aiofiles.{kind}.write({data})

ioring.run(main())
"""
    with full_disk(tmp_path) as (fill, _):
        fill()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.split()) == (0, [str(errno.ENOSPC)] * 2), done.stderr
        assert (tmp_path / "file").read_bytes() == b"line"


@as_root
def test_read_only_mount(run, tmp_path):
    with mounted("tmpfs", tmp_path):
        (tmp_path / "file").write_bytes(DATA)
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)

        async def main():
            for mode in ("wb", "ab", "r+b", "xb"):
                path = tmp_path / ("new" if mode == "xb" else "file")
                with pytest.raises(OSError) as caught:
                    await files.open(path, mode)
                assert (caught.value.errno, caught.value.filename) == (errno.EROFS, os.fspath(path))
            async with files.open(tmp_path / "file", "rb") as file:
                assert await file.read() == DATA

        run(main())
        assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_is_truncated_while_it_is_read(run, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)

    async def main():
        async with files.open(path, "rb", 4096) as file, files.open(path, "rb", 0) as raw:
            assert await file.read(10_000) == DATA[:10_000]
            assert await raw.read(10_000) == DATA[:10_000]
            os.truncate(path, 50_000)
            assert await raw.readall() == DATA[10_000:50_000]
            rest = await file.read()  # what was read ahead may reach further
            assert rest == DATA[10_000 : 10_000 + len(rest)] and len(rest) >= 40_000
            os.truncate(path, 100)
            assert await raw.read(10) == await raw.readall() == b""
            assert await file.read() == await file.readline() == b""
            assert await file.read_at(50, 1000) == DATA[50:100]
            assert await raw.read_at(1000, 1000) == b""
            assert await file.readinto_at(50, bytearray(100)) == 50
            # Readers and the one who makes it shorter, all at once.
            path.write_bytes(DATA)
            await file.seek(0)
            tasks = [asyncio.ensure_future(file.read_at(offset, 9000)) for offset in range(0, len(DATA), 9000)]
            tasks.append(asyncio.ensure_future(file.read()))
            await asyncio.sleep(0)
            os.truncate(path, 70_001)
            for task, offset in zip(tasks, [*range(0, len(DATA), 9000), 0], strict=True):
                found = await task
                assert found == DATA[offset : offset + len(found)]
                assert offset + len(found) >= min(70_001, offset + 9000) or offset >= 70_001

    run(main())


@pytest.mark.parametrize("mode", ["rb", "wb", "r+b", "r", "a"])
def test_names_that_cannot_be(run, tmp_path, mode):
    async def main():
        for name, number in (("x" * 256, errno.ENAMETOOLONG), ("y/" * 2500 + "z", errno.ENAMETOOLONG)):
            for path in (tmp_path / name, os.fsencode(tmp_path / name)):
                with pytest.raises(OSError) as caught:
                    await files.open(path, mode)
                assert (caught.value.errno, caught.value.filename) == (number, os.fspath(path))
        for path in ("a\0b", b"a\0b", tmp_path / "a\0b"):
            with pytest.raises(ValueError, match="null"):
                await files.open(path, mode)
        with pytest.raises(UnicodeEncodeError):
            await files.open("\ud800", mode)  # no byte stands behind it

    run(main())
    assert os.listdir(tmp_path) == []


def test_names_that_are_not_text(run, tmp_path):
    """Bytes that no encoding has: they come back as they are, in names and in exceptions."""
    as_bytes = os.fsencode(tmp_path) + b"/\xff\xfe"
    as_text = os.fsdecode(as_bytes)

    async def main():
        with pytest.raises(FileNotFoundError) as caught:
            await files.open(as_text, "rb")
        assert caught.value.filename == as_text
        async with files.open(as_text, "wb") as file:
            assert file.name == as_text
            await file.write(b"1")
        async with files.open(as_bytes, "rb") as file:
            assert (file.name, await file.read()) == (as_bytes, b"1")
        await whole.write_bytes(as_bytes, b"2", atomic=True)
        assert await whole.read_bytes(as_text) == b"2"

    run(main())
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xfe"]


def test_without_a_free_descriptor(run, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)

    async def main():
        file = await files.open(path, "r+b")
        await asyncio.get_running_loop().run_in_executor(None, int)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        held = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
        try:
            with pytest.raises(OSError):
                while True:
                    held.append(os.dup(0))
            for name, mode in ((path, "rb"), (path, "r"), (path, "r+b"), (tmp_path / "new", "xb")):
                with pytest.raises(OSError) as caught:
                    await files.open(name, mode)
                assert (caught.value.errno, caught.value.filename) == (errno.EMFILE, os.fspath(name))
            # What is open already works.
            assert await file.read(5000) == DATA[:5000]
            await file.write_at(0, b"here")
            await file.fsync()
            await file.close()
            async with files.open(path, "rb") as again:
                assert await again.read_at(0, 6) == b"here" + DATA[4:6]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in held:
                os.close(fd)

    run(main())


@pytest.mark.parametrize(
    ("engine", "count"),
    [(engine, 10_000) for engine in ENGINES] + [pytest.param("loop", 100_000, marks=pytest.mark.no_sanitizer)],
)
def test_cancelled_reads_leave_nothing(tmp_path, engine, count):
    """Past the page cache, so that the kernel has them when they are cancelled, or is just done, or was not asked."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    run = ENGINES[engine]

    async def main():
        try:
            file = await files.open(path, "rb", direct=True)
        except OSError as error:
            pytest.skip(f"no direct I/O: {error}")
        loop = asyncio.get_running_loop()
        in_flight = (lambda: loop.statistics()["in_flight"]) if run is run_here else (lambda: 0)
        under_way, blocks = in_flight(), 0
        cancelled = 0
        for number in range(count // 100):
            tasks = [asyncio.ensure_future(file.read_at(part * 1000, 4096)) for part in range(100)]
            for _ in range(number % 4):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            if number % 50 == 0:
                stir()
            for part, found in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
                if isinstance(found, asyncio.CancelledError):
                    cancelled += 1
                else:
                    assert found == DATA[part * 1000 : part * 1000 + 4096]
            if number == 10:
                blocks = sys.getallocatedblocks()
        del tasks, task, found
        assert cancelled > count // 4
        await until(lambda: in_flight() <= under_way)
        # All of the memory for reading is there again, and none that was borrowed is in somebody else's hands.
        parts = await asyncio.gather(*(file.read_at(part * 777, 4096) for part in range(200)))
        assert parts == [DATA[part * 777 : part * 777 + 4096] for part in range(200)]
        await file.close()
        assert sys.getallocatedblocks() - blocks < 2000

    run(main())


@pytest.mark.parametrize("buffering", [0, -1])
def test_reading_what_is_partly_cached(run, tmp_path, buffering):
    """What the page cache has is taken at once, and the rest is waited for: both are one read."""
    path = tmp_path / "file"
    path.write_bytes(DATA)

    async def main():
        for cached in (1, 5000, 100_000, 500_000):
            uncached(path)
            with open(path, "rb", 0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                file.read(cached)
            async with files.open(path, "rb", buffering) as file:
                assert await file.read(len(DATA) - 10) == DATA[:-10]
                assert await file.read(20) == DATA[-10:]
                assert await file.read(20) == b""

    run(main())
