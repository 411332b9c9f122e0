"""Whole files: read, written, replaced, copied, on every engine."""

import asyncio
import errno
import os
import random
import resource
import shutil
import stat
import threading
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import ENGINES, mounted, run_beside, run_here
from ioring import whole
from ioring.files import contents
from ioring.files.engine import running
from rings import as_root, python
from running import until

SIZES = [0, 1, 2048, 4095, 4096, 4097, 65_535, 65_536, 65_537, 262_144, 262_145, 1_048_576, 3_000_001]
RANDOM = random.Random(1).randbytes(SIZES[-1])


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read(run, tmp_path, size):
    data = RANDOM[:size]

    async def main():
        for atomic in (False, True):
            assert await whole.write_bytes(tmp_path / "file", data, atomic=atomic) == size
            assert (tmp_path / "file").read_bytes() == data
            assert await whole.read_bytes(tmp_path / "file") == data
        assert await whole.write_bytes(tmp_path / "file", memoryview(data)[::-1].tobytes()[:100]) == min(size, 100)

    run(main())
    assert os.listdir(tmp_path) == ["file"]


def test_buffers_of_any_kind_are_written(run, tmp_path):
    async def main():
        for data in (bytearray(b"123"), memoryview(b"12345678").cast("I")):
            for atomic in (False, True):
                await whole.write_bytes(tmp_path / "file", data, atomic=atomic)
                assert (tmp_path / "file").read_bytes() == bytes(data)
        with pytest.raises(TypeError):
            await whole.write_bytes(tmp_path / "other", "text")
        assert os.listdir(tmp_path) == ["file"]

    run(main())


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\r\n"))),
    times=st.sampled_from([1, 1, 1, 40_000]),
    encoding=st.sampled_from([None, "utf-8", "utf-16", "latin-1", "ascii"]),
    errors=st.sampled_from([None, "strict", "replace", "surrogateescape"]),
    newline=st.sampled_from([None, "", "\n", "\r\n", "\r"]),
)
def test_text_is_that_of_python(engine, tmp_path, text, times, encoding, errors, newline):
    text *= times
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"

    def write():
        with open(theirs, "w", encoding=encoding, errors=errors, newline=newline) as file:
            return file.write(text)

    def read(path):
        with open(path, encoding=encoding, errors=errors, newline=newline) as file:
            return file.read()

    try:
        wanted = write()
    except UnicodeError as error:
        wanted = type(error)

    async def main():
        options = {"encoding": encoding, "errors": errors, "newline": newline}
        try:
            assert await whole.write_text(ours, text, **options) == wanted
        except UnicodeError as error:
            assert type(error) is wanted
            return
        assert ours.read_bytes() == theirs.read_bytes()
        assert await whole.read_text(ours, **options) == read(ours)

    ENGINES[engine](main())


def test_text_is_checked_before_the_file_is_emptied(run, tmp_path):
    (tmp_path / "file").write_bytes(b"old")

    async def main():
        with pytest.raises(TypeError, match="data must be str"):
            await whole.write_text(tmp_path / "file", b"bytes")
        with pytest.raises(UnicodeEncodeError):
            await whole.write_text(tmp_path / "file", "\xe4", encoding="ascii")
        with pytest.raises(UnicodeDecodeError):
            (tmp_path / "wrong").write_bytes(b"\xff")
            await whole.read_text(tmp_path / "wrong", encoding="utf-8")

    run(main())
    assert (tmp_path / "file").read_bytes() == b"old"


def test_files_without_a_size(run):
    async def main():
        with open("/proc/self/cmdline", "rb") as file:
            assert await whole.read_bytes("/proc/self/cmdline") == file.read()
        assert (await whole.read_bytes("/proc/self/status")).startswith(b"Name:")
        assert await whole.read_bytes("/dev/null") == b""
        assert await whole.write_bytes("/dev/null", b"123") == 3
        large = await whole.read_text("/proc/self/maps")
        assert large.count("\n") > 20

    run(main())


def test_fifos_wait_for_their_other_end(run, tmp_path):
    os.mkfifo(tmp_path / "fifo")

    async def main():
        data = RANDOM[:300_000]
        reading = asyncio.create_task(whole.read_bytes(tmp_path / "fifo"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert await whole.write_bytes(tmp_path / "fifo", data) == len(data)
        assert await reading == data

    run(main())


def test_files_that_change_meanwhile(run, tmp_path):
    """A file that another takes the place of is one or the other, never a mixture, whatever their sizes."""
    versions = [bytes([number]) * size for number, size in enumerate((100, 4096, 8192, 70_000, 600_000, 5))]
    path = tmp_path / "file"
    path.write_bytes(versions[0])
    over = threading.Event()

    def replace():
        number = 0
        while not over.is_set():
            number += 1
            (tmp_path / "next").write_bytes(versions[number % len(versions)])
            os.rename(tmp_path / "next", path)

    async def main():
        for _ in range(300):
            assert await whole.read_bytes(path) in versions

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        run(main())
    finally:
        over.set()
        thread.join()


def test_a_growing_file_is_read_to_its_end(run, tmp_path, monkeypatch):
    """One that is longer, or shorter, than it was said to be when reading began."""
    path = tmp_path / "file"
    path.write_bytes(RANDOM[:500_000])

    async def main():
        fd = os.open(path, os.O_RDONLY)
        try:
            for told in (0, 10, 100_000, 300_000, 500_000, 500_001, 900_000):
                assert await contents._read(running(), path, fd, told) == RANDOM[:500_000]
        finally:
            os.close(fd)

    run(main())


def test_exceptions_name_the_path(run, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")

    async def main():
        cases = [
            (whole.read_bytes, (tmp_path / "none",), errno.ENOENT),
            (whole.read_bytes, (tmp_path / "folder",), errno.EISDIR),
            (whole.read_bytes, (tmp_path / "file/below",), errno.ENOTDIR),
            (whole.read_bytes, (tmp_path / ("x" * 300),), errno.ENAMETOOLONG),
            (whole.read_text, (os.fsencode(tmp_path / "none"),), errno.ENOENT),
        ]
        for atomic in (False, True):
            cases += [
                (
                    lambda path, a=atomic: whole.write_bytes(path, b"1", atomic=a),
                    (tmp_path / "none/below",),
                    errno.ENOENT,
                ),
                (lambda path, a=atomic: whole.write_bytes(path, b"1", atomic=a), (tmp_path / "folder",), errno.EISDIR),
                (
                    lambda path, a=atomic: whole.write_text(path, "1", atomic=a),
                    (tmp_path / ("x" * 300),),
                    errno.ENAMETOOLONG,
                ),
            ]
        for function, (path,), number in cases:
            with pytest.raises(OSError) as caught:
                await function(path)
            assert (caught.value.errno, caught.value.filename) == (number, os.fspath(path))
        for function in (whole.read_bytes, lambda path: whole.write_bytes(path, b"")):
            with pytest.raises(ValueError, match="null"):
                await function("a\0b")

    run(main())
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_replaced_file_keeps_its_permissions(run, tmp_path):
    path = tmp_path / "file"
    before = os.umask(0o077)
    try:

        async def main():
            for mode in (0o666, 0o640, 0o4755, 0o400):
                path.unlink(missing_ok=True)
                path.write_bytes(b"old")
                path.chmod(mode)
                await whole.write_bytes(path, b"new", atomic=True)
                assert stat.S_IMODE(path.stat().st_mode) == mode
            path.unlink()
            await whole.write_bytes(path, b"new", atomic=True)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            if os.geteuid() == 0:
                os.chown(path, 1234, 2345)
                await whole.write_bytes(path, b"newer", atomic=True)
                assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)

        run(main())
    finally:
        os.umask(before)


def test_a_replaced_link_stays_one(run, tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below/file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("below/file")
    (tmp_path / "dangling").symlink_to("below/none")

    async def main():
        for name in ("link", "dangling"):
            await whole.write_bytes(tmp_path / name, b"new", atomic=True)
            assert (tmp_path / name).is_symlink()
            assert (tmp_path / name).read_bytes() == b"new"
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(OSError) as caught:
            await whole.write_bytes(tmp_path / "fifo", b"", atomic=True)
        assert caught.value.errno == errno.EINVAL

    run(main())
    assert sorted(os.listdir(tmp_path / "below")) == ["file", "none"]


def make_requests_by(monkeypatch, make):
    """Each request that a replacement makes is made by ``make(request, *arguments)``."""
    for name in ("openat", "pwrite", "fsync", "close", "renameat"):
        monkeypatch.setattr(contents, name, partial(make, getattr(contents, name)))


@pytest.mark.parametrize("exists", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("turns", [0, 1, 2])
def test_a_cancelled_replacement_is_all_or_nothing(run, tmp_path, monkeypatch, exists, turns):
    """Cancelled at every request that it makes: just after it was made, and a turn or two later."""
    path = tmp_path / "file"
    old, new = b"old" * 1000, RANDOM[: 2 * contents.PIECE + 5]
    counted, at = 0, 0

    def cancel_later(task, left):
        if left:
            task.get_loop().call_soon(cancel_later, task, left - 1)
        else:
            task.cancel()

    def counting(request, *arguments, **options):
        nonlocal counted
        counted += 1
        if counted == at:
            cancel_later(asyncio.current_task(), turns)
        return request(*arguments, **options)

    async def main():
        nonlocal counted, at
        outcomes = set()
        while True:
            at += 1
            counted = 0
            path.unlink(missing_ok=True)
            if exists:
                path.write_bytes(old)
            task = asyncio.create_task(whole.write_bytes(path, new, atomic=True))
            await asyncio.wait([task])
            content = path.read_bytes() if path.exists() else None
            assert content in ((old, new) if exists else (None, new))
            assert set(os.listdir(tmp_path)) <= {"file"}
            outcomes.add((task.cancelled(), content == new))
            if counted < at:
                assert outcomes >= {(True, False), (False, True)}
                return

    make_requests_by(monkeypatch, counting)
    run(main())


def test_a_failing_replacement_leaves_the_old(run, tmp_path, monkeypatch):
    """Each of its requests fails in turn."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    counted, at = 0, 0

    def failing(request, *arguments, **options):
        nonlocal counted
        counted += 1
        if counted != at:
            return request(*arguments, **options)
        if request.__name__ == "close":
            os.close(arguments[1])
        raise OSError(errno.EIO, "broken")

    async def main():
        nonlocal counted, at
        while True:
            at += 1
            counted = 0
            before = path.read_bytes()
            try:
                await whole.write_bytes(path, b"%d" % at, atomic=True)
            except OSError as error:
                assert error.errno == errno.EIO
                assert path.read_bytes() in (before, b"%d" % at)
            assert os.listdir(tmp_path) == ["file"]
            if counted < at:
                assert at > 5
                return

    make_requests_by(monkeypatch, failing)
    run(main())


def test_cancelled_calls_leave_no_descriptor(run, tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(RANDOM[:100])
    large.write_bytes(RANDOM[:1_000_000])
    calls = [
        lambda: whole.read_bytes(small),
        lambda: whole.read_bytes(large),
        lambda: whole.read_bytes("/proc/self/status"),
        lambda: whole.write_bytes(tmp_path / "new", b"123"),
        lambda: whole.write_bytes(tmp_path / "new", b"123", atomic=True),
        lambda: whole.copy(small, tmp_path / "copy"),
    ]

    async def main():
        await whole.read_bytes("/proc/self/status")
        before = len(os.listdir("/proc/self/fd"))
        for number in range(3000 if run is run_here else 1500):
            task = asyncio.create_task(calls[number % len(calls)]())
            for _ in range(number % 5):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
        await until(lambda: len(os.listdir("/proc/self/fd")) <= before)

    run(main())
    assert set(os.listdir(tmp_path)) <= {"small", "large", "new", "copy"}


def test_many_at_once(run, tmp_path):
    for number in range(300):
        (tmp_path / str(number)).write_bytes(b"%d" % number * 700)

    async def main():
        found = await asyncio.gather(*(whole.read_bytes(tmp_path / str(number)) for number in range(300)))
        assert found == [b"%d" % number * 700 for number in range(300)]
        await asyncio.gather(*(whole.write_bytes(tmp_path / str(number), b"%d" % number) for number in range(300)))
        assert [(tmp_path / str(number)).read_bytes() for number in range(300)] == [b"%d" % n for n in range(300)]

    run(main())


def test_without_a_free_descriptor(run, tmp_path):
    (tmp_path / "file").write_bytes(b"old")

    async def main():
        await whole.read_bytes("/proc/self/status")
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        held = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
        try:
            with pytest.raises(OSError):
                while True:
                    held.append(os.dup(0))
            for call in (
                lambda: whole.read_bytes(tmp_path / "file"),
                lambda: whole.write_bytes(tmp_path / "file", b"new", atomic=True),
                lambda: whole.write_bytes(tmp_path / "other", b"new"),
                lambda: whole.copy(tmp_path / "file", tmp_path / "other"),
            ):
                with pytest.raises(OSError) as caught:
                    await call()
                assert caught.value.errno == errno.EMFILE
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in held:
                os.close(fd)
        assert os.listdir(tmp_path) == ["file"]
        assert await whole.read_bytes(tmp_path / "file") == b"old"

    run(main())


@as_root
def test_full_disk(run, tmp_path):
    with mounted("tmpfs", tmp_path, "-o", "size=1m"):

        async def main():
            path = tmp_path / "file"
            await whole.write_bytes(path, b"old")
            with pytest.raises(OSError) as caught:
                await whole.write_bytes(path, RANDOM, atomic=True)
            assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, os.fspath(path))
            assert os.listdir(tmp_path) == ["file"]
            assert await whole.read_bytes(path) == b"old"
            with pytest.raises(OSError) as caught:
                await whole.write_bytes(path, RANDOM)
            assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, os.fspath(path))
            path.unlink()
            (tmp_path.parent / "source").write_bytes(RANDOM)
            with pytest.raises(OSError) as caught:
                await whole.copy(tmp_path.parent / "source", path)
            assert caught.value.errno == errno.ENOSPC

        run(main())


@as_root
def test_read_only_mount(run, tmp_path):
    with mounted("tmpfs", tmp_path, "-o", "ro"):

        async def main():
            for atomic in (False, True):
                with pytest.raises(OSError) as caught:
                    await whole.write_bytes(tmp_path / "x", b"", atomic=atomic)
                assert (caught.value.errno, caught.value.filename) == (errno.EROFS, os.fspath(tmp_path / "x"))

        run(main())


@as_root
@pytest.mark.parametrize("engine", ENGINES)
def test_permission(engine, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"1")
    secret.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o1 == 0:
            folder.chmod(folder.stat().st_mode | 0o111)
    python(
        f"""
import errno
from engines import ENGINES
from ioring import whole
secret = {os.fspath(secret)!r}
ENGINES[{engine!r}](whole.copy("/proc/self/status", "/dev/null"))  # what it imports may not be readable later
os.setgroups([])
os.setgid(65534)
os.setuid(65534)

async def main():
    calls = [
        whole.read_bytes,
        whole.read_text,
        lambda path: whole.write_bytes(path, b""),
        lambda path: whole.write_bytes(path, b"", atomic=True),
        lambda path: whole.copy(path, "/dev/null"),
    ]
    for call in calls:
        try:
            await call(secret)
        except PermissionError as error:
            assert (error.errno, error.filename) == (errno.EACCES, secret), error
        else:
            raise AssertionError(call)

ENGINES[{engine!r}](main())
"""
    )
    assert secret.read_bytes() == b"1" and os.listdir(tmp_path) == ["secret"]


# Copying.


@pytest.mark.parametrize("size", [0, 1, 4096, 100_000, 3_000_001])
@pytest.mark.parametrize("chunk", [7_000, 1 << 20])
def test_copies(run, tmp_path, size, chunk):
    source = tmp_path / "source"
    source.write_bytes(RANDOM[:size])
    source.chmod(0o640)
    told = []

    async def main():
        copied = await whole.copy(
            source, tmp_path / "target", progress=lambda *numbers: told.append(numbers), chunk=chunk
        )
        assert copied == os.fspath(tmp_path / "target")

    run(main())
    assert (tmp_path / "target").read_bytes() == RANDOM[:size]
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o640
    assert told[-1] == (size, size)
    assert told == sorted(told)


@pytest.mark.parametrize("where", ["tmp", "shm"])
def test_holes_are_copied_as_holes(run, tmp_path, where):
    folder = tmp_path if where == "tmp" else None
    if folder is None:
        if not os.access("/dev/shm", os.W_OK):
            pytest.skip("no tmpfs to write to")
        folder = "/dev/shm"
    source, target = (os.path.join(folder, f"ioring-{os.getpid()}-{name}") for name in ("source", "target"))
    size = 64 << 20
    try:
        with open(source, "wb") as file:
            for place in (0, 5 << 20, 40 << 20):
                file.seek(place)
                file.write(RANDOM[:5000])
            file.truncate(size)

        async def main():
            await whole.copy(source, target)

        run(main())
        assert os.stat(target).st_size == size
        assert os.stat(target).st_blocks * 512 < 2 << 20
        with open(source, "rb") as a, open(target, "rb") as b:
            assert a.read() == b.read()
    finally:
        for path in (source, target):
            if os.path.exists(path):
                os.unlink(path)


def test_copies_between_file_systems_and_without_size(run, tmp_path):
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no second file system to write to")
    other = f"/dev/shm/ioring-{os.getpid()}"
    (tmp_path / "source").write_bytes(RANDOM)

    async def main():
        await whole.copy(tmp_path / "source", other, chunk=100_000)
        with open(other, "rb") as file:
            assert file.read() == RANDOM
        await whole.copy("/proc/self/cmdline", other)
        with open(other, "rb") as file, open("/proc/self/cmdline", "rb") as wanted:
            assert file.read() == wanted.read()

    try:
        run(main())
    finally:
        os.unlink(other)


def test_copying_goes_wrong_as_in_shutil(run, tmp_path):
    (tmp_path / "file").write_bytes(b"123")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")

    async def main():
        for src, dst, exception in (
            ("file", "file", shutil.SameFileError),
            ("file", "link", shutil.SameFileError),
            ("none", "copy", FileNotFoundError),
            ("folder", "copy", IsADirectoryError),
            ("file", "none/copy", FileNotFoundError),
            ("fifo", "copy", shutil.SpecialFileError),
            ("file", "fifo", shutil.SpecialFileError),
        ):
            with pytest.raises(exception):
                shutil.copy(tmp_path / src, tmp_path / dst)
            with pytest.raises(exception):
                await whole.copy(tmp_path / src, tmp_path / dst)
        assert await whole.copy(tmp_path / "file", tmp_path / "folder") == os.fspath(tmp_path / "folder/file")
        with pytest.raises(ValueError, match="chunk"):
            await whole.copy(tmp_path / "file", tmp_path / "copy", chunk=0)

        def stop(done, size):
            raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            await whole.copy(tmp_path / "file", tmp_path / "copy", progress=stop)

    run(main())
    assert (tmp_path / "file").read_bytes() == (tmp_path / "folder/file").read_bytes() == b"123"


def test_reading_goes_on_while_a_worker_fails(tmp_path, monkeypatch):
    """The part that cannot be read is told, after the others are over."""
    (tmp_path / "file").write_bytes(RANDOM)
    part, under_way, most = contents.read_part, 0, 0

    async def counted(*arguments):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await asyncio.sleep(0)
            if arguments[3] >= 4 * contents.PART:
                raise OSError(errno.EIO, "broken")
            return await part(*arguments)
        finally:
            under_way -= 1

    async def main():
        with pytest.raises(OSError, match="broken"):
            await whole.read_bytes(tmp_path / "file")
        assert under_way == 0 and most > 1

    monkeypatch.setattr(contents, "read_part", counted)
    for runner in (run_here, run_beside):
        runner(main())
