"""ioring.os: the same as os, on every engine."""

import asyncio
import errno
import os
import resource
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ioring
import needed
from engines import ENGINES, mounted, result_of, result_of_async, run_beside, run_here, snapshot
from rings import WAIT_S, as_root, python
from running import until

NAMES = ["a", "b", "a/b", "a/b/c", "link", "link/x", "nothing/here", "", "x" * 300, "a/../b", "no\0ne", "\udcff"]
paths = st.sampled_from(NAMES)

OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["mkdir"]), paths, st.sampled_from([0o777, 0o700])),
    st.tuples(
        st.sampled_from(["rmdir", "remove", "unlink", "removedirs", "readlink", "stat", "lstat", "listdir"]), paths
    ),
    st.tuples(st.sampled_from(["rename", "replace", "renames", "link"]), paths, paths),
    st.tuples(st.just("makedirs"), paths, st.just(0o777), st.booleans()),
    st.tuples(st.just("symlink"), st.sampled_from(["a", "b", "link", "/nowhere", ""]), paths),
    st.tuples(st.just("access"), paths, st.sampled_from([os.F_OK, os.R_OK, os.X_OK])),
    st.tuples(st.just("truncate"), paths, st.integers(-1, 20)),
    st.tuples(st.just("chmod"), paths, st.sampled_from([0o600, 0o755])),
    st.tuples(
        st.sampled_from(["exists", "lexists", "isfile", "isdir", "islink", "ismount", "getsize"]).map("path.".__add__),
        paths,
    ),
    st.tuples(st.just("path.samefile"), paths, paths),
)


def lookup(module, name):
    for part in name.split("."):
        module = getattr(module, part)
    return module


def prepare(folder):
    """The tree that a sequence of operations begins with."""
    os.makedirs(folder / "a")
    (folder / "b").write_bytes(b"content")
    (folder / "link").symlink_to("a")
    return folder


def comparable(value):
    """What is the same of the same file in another folder."""
    if isinstance(value, os.stat_result):
        return value.st_mode, value.st_nlink, 0 if stat.S_ISDIR(value.st_mode) else value.st_size
    return sorted(value) if isinstance(value, list) else value


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(OPERATIONS, min_size=1, max_size=12))
def test_sequences_do_what_os_does(engine, tmp_path_factory, steps):
    ours, theirs = (prepare(tmp_path_factory.mktemp("tree")) for _ in range(2))
    wanted = []
    # The same relative paths in both, so that exceptions are the same too.
    before = os.getcwd()
    try:
        os.chdir(theirs)
        wanted = [comparable(result_of(lookup(os, name), *arguments)) for name, *arguments in steps]
        os.chdir(ours)

        async def main():
            return [
                comparable(await result_of_async(lookup(ioring.os, name), *arguments)) for name, *arguments in steps
            ]

        assert ENGINES[engine](main()) == wanted
    finally:
        os.chdir(before)
    assert snapshot(ours) == snapshot(theirs)


def test_attributes_are_all_there(run, tmp_path):
    """Every number of stat_result, of cached files and of others, by path, descriptor, and through a folder."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"x" * 12345)
    link.symlink_to("file")
    os.utime(file, ns=(-5_000_000_001, 1_700_000_000_123_456_789))
    folder = os.open(tmp_path, os.O_RDONLY)
    fd = os.open(file, os.O_RDONLY)

    def numbers(found):
        return {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}, tuple(found)

    async def main():
        for path in (file, link, os.fsencode(file), "/", "/proc/self/status", "/dev/null"):
            assert numbers(await ioring.os.stat(path)) == numbers(os.stat(path))
            assert numbers(await ioring.os.lstat(path)) == numbers(os.lstat(path))
            assert numbers(await ioring.os.stat(path, follow_symlinks=False)) == numbers(os.lstat(path))
        assert numbers(await ioring.os.stat("link", dir_fd=folder)) == numbers(os.stat(file))
        assert numbers(await ioring.os.lstat("link", dir_fd=folder)) == numbers(os.lstat(link))
        assert numbers(await ioring.os.stat(fd)) == numbers(os.stat(fd))
        with pytest.raises(ValueError, match="follow_symlinks"):
            await ioring.os.stat(fd, follow_symlinks=False)
        assert await ioring.os.path.getmtime(file) == os.path.getmtime(file)
        assert await ioring.os.path.getatime(file) == os.path.getatime(file)
        assert await ioring.os.path.getctime(file) == os.path.getctime(file)
        assert await ioring.os.path.exists(fd) and not await ioring.os.path.exists(9999)
        assert await ioring.os.path.sameopenfile(fd, fd) and not await ioring.os.path.sameopenfile(fd, folder)
        assert await ioring.os.path.abspath("x") == os.path.abspath("x")
        assert await ioring.os.path.realpath(link) == os.path.realpath(link)
        assert await ioring.os.getcwd() == os.getcwd()
        assert (await ioring.os.statvfs(file)).f_bsize == os.statvfs(file).f_bsize

    try:
        run(main())
    finally:
        os.close(folder)
        os.close(fd)


def test_folders_by_descriptor(run, tmp_path):
    """dir_fd and its kin, for every call that takes them."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = (os.open(tmp_path / name, os.O_RDONLY) for name in ("one", "two"))

    async def main():
        await ioring.os.mkdir("folder", dir_fd=one)
        await ioring.os.symlink("folder", "link", dir_fd=one)
        assert await ioring.os.readlink("link", dir_fd=one) == "folder"
        assert await ioring.os.access("link", os.R_OK, dir_fd=one)
        await ioring.os.rename("folder", "moved", src_dir_fd=one, dst_dir_fd=two)
        assert os.listdir(two) == ["moved"]
        await ioring.os.rmdir("moved", dir_fd=two)
        (tmp_path / "one/file").write_bytes(b"1")
        (tmp_path / "one/way").symlink_to("file")
        await ioring.os.link("file", "second", src_dir_fd=one, dst_dir_fd=two)
        await ioring.os.link("way", "third", src_dir_fd=one, dst_dir_fd=two)
        await ioring.os.link("way", "fourth", src_dir_fd=one, dst_dir_fd=two, follow_symlinks=False)
        assert os.path.islink(tmp_path / "two/fourth") and not os.path.islink(tmp_path / "two/third")
        await ioring.os.chmod("second", 0o640, dir_fd=two)
        await ioring.os.utime("second", (1, 2), dir_fd=two)
        status = os.stat(tmp_path / "one/file")
        assert (status.st_nlink, status.st_mode & 0o777, status.st_mtime) == (3, 0o640, 2)
        await ioring.os.unlink("second", dir_fd=two)
        assert sorted(await ioring.os.listdir(two)) == ["fourth", "third"]
        await ioring.os.chown("third", -1, -1, dir_fd=two)
        fd = os.open(tmp_path / "one/file", os.O_RDWR)
        try:
            await ioring.os.truncate(fd, 1000)
            assert os.stat(fd).st_size == 1000
            with pytest.raises(OSError, match="Invalid argument"):
                await ioring.os.truncate(fd, -1)
        finally:
            os.close(fd)

    try:
        run(main())
    finally:
        os.close(one)
        os.close(two)


def test_scandir(run, tmp_path):
    for number in range(100):
        (tmp_path / f"{number}").write_bytes(b"")

    async def main():
        names = set(os.listdir(tmp_path))
        async with await ioring.os.scandir(tmp_path) as entries:
            assert {entry.name async for entry in entries} == names
        with await ioring.os.scandir(os.fspath(tmp_path)) as entries:
            assert next(entries).name in names
            assert len(list(entries)) == 99
        async with await ioring.os.scandir(tmp_path) as entries:
            pass
        assert list(entries) == []
        for entry in await ioring.os.scandir(tmp_path):
            assert (await ioring.os.stat(entry)).st_size == 0
            break

    run(main())


def test_extended_attributes(run, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    try:
        os.setxattr(file, "user.probe", b"")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")

    async def main():
        await ioring.os.setxattr(file, "user.colour", b"green")
        assert await ioring.os.getxattr(file, "user.colour") == b"green"
        assert sorted(await ioring.os.listxattr(file)) == ["user.colour", "user.probe"]
        await ioring.os.removexattr(file, "user.colour")
        with pytest.raises(OSError) as caught:
            await ioring.os.getxattr(file, "user.colour")
        assert caught.value.filename == os.fspath(file)

    run(main())


def test_sendfile(run, tmp_path):
    (tmp_path / "from").write_bytes(b"0123456789")

    async def main():
        with open(tmp_path / "from", "rb") as source, open(tmp_path / "to", "wb") as target:
            assert await ioring.os.sendfile(target.fileno(), source.fileno(), 2, 5) == 5

    run(main())
    assert (tmp_path / "to").read_bytes() == b"23456"


def test_names_are_a_thousand_at_a_time(run, tmp_path):
    """More requests at once than the ring has entries, and more attempts than a turn allows."""

    async def main():
        await asyncio.gather(*(ioring.os.mkdir(tmp_path / str(number)) for number in range(1000)))
        found = await asyncio.gather(*(ioring.os.path.isdir(tmp_path / str(number)) for number in range(1001)))
        assert found == [True] * 1000 + [False]
        await asyncio.gather(*(ioring.os.rmdir(tmp_path / str(number)) for number in range(1000)))
        assert os.listdir(tmp_path) == []

    run(main())


def test_names_that_are_not_text(run, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff\xfe"

    async def main():
        await ioring.os.mkdir(name)
        assert await ioring.os.listdir(tmp_path) == ["\udcff\udcfe"]
        assert await ioring.os.listdir(os.fsencode(tmp_path)) == [b"\xff\xfe"]
        assert await ioring.os.path.isdir(os.fsdecode(name))
        await ioring.os.rename(name, os.fsdecode(name) + "\udc80")
        assert os.listdir(os.fsencode(tmp_path)) == [b"\xff\xfe\x80"]

    run(main())


@as_root
@pytest.mark.parametrize("engine", ENGINES)
def test_permission_is_that_of_the_process(engine, tmp_path):
    """As another user: what is forbidden is forbidden, with the path's name."""
    (tmp_path / "secret").mkdir(mode=0o700)
    (tmp_path / "secret/file").write_bytes(b"1")
    # The folder above belongs to root alone too.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.stat().st_mode & 0o1 == 0:
            folder.chmod(folder.stat().st_mode | 0o111)
    python(
        f"""
import errno
from engines import ENGINES
import ioring.os
folder = {os.fspath(tmp_path)!r}
ENGINES[{engine!r}](ioring.os.listdir("/"))  # what it imports may not be readable later
os.setgroups([])
os.setgid(65534)
os.setuid(65534)

async def main():
    for call in (ioring.os.stat, ioring.os.listdir, ioring.os.unlink, ioring.os.rmdir, ioring.os.mkdir):
        path = folder + "/secret/file"
        try:
            await call(path)
        except PermissionError as error:
            assert error.errno == errno.EACCES and error.filename == path, error
        else:
            raise AssertionError(call)
    try:
        await ioring.os.rename(folder + "/secret", folder + "/public")
    except PermissionError as error:
        assert (error.filename, error.filename2) == (folder + "/secret", folder + "/public")
    else:
        raise AssertionError("renamed")
    assert not await ioring.os.path.exists(folder + "/secret/file")
    assert not await ioring.os.access(folder + "/secret", os.R_OK)
    assert await ioring.os.path.isdir(folder + "/secret")

ENGINES[{engine!r}](main())
"""
    )


def test_without_a_free_descriptor(run, tmp_path):
    """A look at a name needs a descriptor for a moment; where there is none it goes another way."""
    (tmp_path / "file").write_bytes(b"12345")

    async def main():
        loop = asyncio.get_running_loop()
        await ioring.os.stat(tmp_path)
        await loop.run_in_executor(None, lambda: None)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(map(int, os.listdir("/proc/self/fd"))) + 1
        held = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        try:
            while True:
                held.append(os.dup(0))
        except OSError as error:
            assert error.errno == errno.EMFILE
            assert (await ioring.os.stat(tmp_path / "file")).st_size == 5
            assert not await ioring.os.path.exists(tmp_path / "other")
            await ioring.os.rename(tmp_path / "file", tmp_path / "other")
            assert await ioring.os.path.isfile(tmp_path / "other")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in held:
                os.close(fd)

    run(main())


@as_root
def test_read_only_mount(run, tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    with mounted("tmpfs", tmp_path, "-o", "ro"):

        async def main():
            path = os.fspath(tmp_path / "x")
            for call in (ioring.os.mkdir, ioring.os.makedirs):
                with pytest.raises(OSError) as caught:
                    await call(path)
                assert (caught.value.errno, caught.value.filename) == (errno.EROFS, path)
            await ioring.os.makedirs(tmp_path, exist_ok=True)
            assert await ioring.os.path.ismount(tmp_path)
            assert not await ioring.os.path.exists(path)

        run(main())
    assert os.listdir(tmp_path) == ["file"]


@as_root
def test_names_that_are_not_cached(run, tmp_path):
    """A file system that was just mounted: nothing of it is in the caches, and the ring or a thread has to look."""
    image = tmp_path / "image"
    folder = tmp_path / "mounted"
    folder.mkdir()
    image.write_bytes(b"")
    os.truncate(image, 8 << 20)
    try:
        subprocess.run([needed.program("mkfs.ext4"), "-q", image], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system to be had: {error}")
    with mounted("ext4", folder, "-o", "loop", source=image):
        (folder / "below/deep").mkdir(parents=True)
        (folder / "below/deep/file").write_bytes(b"12345")
    with mounted("ext4", folder, "-o", "loop", source=image):

        async def main():
            loop = asyncio.get_running_loop()
            requests = getattr(loop, "statistics", lambda: {"submissions": 0})
            before = requests()["submissions"]
            assert (await ioring.os.stat(folder / "below/deep/file")).st_size == 5
            cold = requests()["submissions"]
            assert (await ioring.os.stat(folder / "below/deep/file")).st_size == 5
            assert requests()["submissions"] == cold
            return cold - before

        assert run(main()) == (1 if run.__name__ in ("run_here", "run_direct") else 0)


def test_cancelled_changes_are_over(run, tmp_path):
    """When the cancellation arrives, the change was made or will never be."""

    async def main():
        for number in range(300):
            task = asyncio.create_task(ioring.os.mkdir(tmp_path / str(number)))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                assert task.cancelled()
            made = os.path.exists(tmp_path / str(number))
            await ioring.os.rename(tmp_path, tmp_path.with_name("other"))
            await ioring.os.rename(tmp_path.with_name("other"), tmp_path)
            assert os.path.exists(tmp_path / str(number)) == made

    run(main())


def test_many_cancelled_calls_leave_nothing(run, tmp_path):
    """Looks and changes, cancelled at different moments; the fixture counts descriptors."""
    file = tmp_path / "file"
    file.write_bytes(b"")
    calls = [
        lambda: ioring.os.stat(file),
        lambda: ioring.os.stat("/proc/self/stat"),  # never at once
        lambda: ioring.os.path.exists(tmp_path / "none"),
        lambda: ioring.os.link(file, tmp_path / "second"),
        lambda: ioring.os.unlink(tmp_path / "second"),
    ]

    async def main():
        await ioring.os.stat("/proc/self/stat")
        before = set(os.listdir("/proc/self/fd"))
        for number in range(10_000 if run in (run_here, run_beside) else 2000):
            task = asyncio.create_task(calls[number % len(calls)]())
            if number % 3:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()
        await ioring.os.stat("/proc/self/stat")
        await until(lambda: len(os.listdir("/proc/self/fd")) <= len(before) + 1)

    run(main())


def test_exceptions_of_bad_arguments(run):
    async def main():
        for bad in (None, 1.5, object()):
            for call in (ioring.os.stat, ioring.os.mkdir, ioring.os.unlink):
                with pytest.raises(TypeError):
                    await call(bad)
        with pytest.raises(ValueError, match="null"):
            await ioring.os.stat("a\0b")
        with pytest.raises(TypeError):
            await ioring.os.rename("a", 3)

    run(main())


def test_without_a_loop():
    """A coroutine is made anywhere, and says what it needs when it is run."""
    coroutine = ioring.os.stat("/")
    with pytest.raises(RuntimeError, match="no running event loop"):
        coroutine.send(None)


def test_everything_of_aiofiles():
    """Whatever aiofiles.os has, ioring.os has under the same name."""
    theirs = pytest.importorskip("aiofiles.os")
    assert set(theirs.__all__) - {"wrap"} <= set(ioring.os.__all__)
    inner = {name for name in vars(theirs.path) if not name.startswith("_") and callable(vars(theirs.path)[name])}
    assert inner - {"wrap"} <= set(ioring.os.path.__all__)


def test_module_is_importable_by_itself():
    done = subprocess.run(
        [sys.executable, "-c", "import ioring.os as os; print(os.stat.__doc__)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_S,
    )
    assert "os.stat" in done.stdout


def test_more_in_flight_than_completions_find_room(tmp_path):
    """Beside another loop the kernel keeps some without telling anybody: none may be forgotten."""

    async def main():
        for _ in range(3):
            await asyncio.gather(*(ioring.os.mkdir(tmp_path / str(number)) for number in range(1000)))
            await asyncio.gather(*(ioring.os.rmdir(tmp_path / str(number)) for number in range(1000)))

    for _ in range(3):
        asyncio.run(asyncio.wait_for(main(), 30))
