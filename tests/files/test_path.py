"""ioring.Path: pathlib's, awaited."""

import asyncio
import copy
import errno
import inspect
import os
import pathlib
import pickle
import shutil
import socket
import stat
import sys
import tempfile
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import ENGINES, result_of, result_of_async, snapshot
from ioring import Path

NAMES = ["a", "b", "a/b", "a/b/c", "link", "link/x", "none/here", "", "x" * 300, "a/../b", "no\0ne", "\udcff", "."]
names = st.sampled_from(NAMES)
SEGMENTS = st.lists(
    st.sampled_from(["a", "b.tar.gz", "/", "..", ".", "", "/x/y", "c d", "~", "\xe4", ".h"]), max_size=4
)


def public(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


# Names alone.


@given(segments=SEGMENTS, other=SEGMENTS)
def test_names_are_those_of_pathlib(segments, other):
    ours, theirs = Path(*segments), pathlib.Path(*segments)
    second, wanted = Path(*other), pathlib.Path(*other)
    for name in ("parts", "drive", "root", "anchor", "name", "suffix", "suffixes", "stem"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.parent == theirs.parent and type(ours.parent) is Path
    assert [str(path) for path in ours.parents] == [str(path) for path in theirs.parents]
    assert (str(ours), bytes(ours), os.fspath(ours), hash(ours)) == (
        str(theirs),
        bytes(theirs),
        str(theirs),
        hash(theirs),
    )
    assert repr(ours) == f"Path({theirs.as_posix()!r})" and ours.as_posix() == theirs.as_posix()
    assert (ours == second, ours < second, ours <= second, ours > second, ours >= second) == (
        theirs == wanted,
        theirs < wanted,
        theirs <= wanted,
        theirs > wanted,
        theirs >= wanted,
    )
    assert (ours == wanted) == (wanted == ours) == (theirs == wanted)
    assert str(ours / second) == str(ours / wanted) == str(ours / str(wanted)) == str(theirs / wanted)
    assert str(str(theirs) / second) == str(theirs / wanted) and type(str(theirs) / second) is Path
    for name, arguments in (
        ("joinpath", other),
        ("relative_to", [os.fspath(wanted)]),
        ("is_relative_to", [os.fspath(wanted)]),
        ("with_name", other[:1] or ["n"]),
        ("with_stem", ["stem"]),
        ("with_suffix", [".new"]),
        ("match", ["*"]),
        ("as_uri", []),
        ("is_absolute", []),
    ):
        found, expected = (result_of(getattr(path, name), *arguments) for path in (ours, theirs))
        assert found == expected
        assert not isinstance(expected, pathlib.Path) or type(found) is Path
    assert pickle.loads(pickle.dumps(ours)) == copy.deepcopy(ours) == copy.copy(ours) == ours


def test_what_a_path_is_not():
    assert Path("a") != "a" and Path("a") != object()
    assert isinstance(Path("a"), os.PathLike) and weakref.ref(Path("a")) is not None
    assert {Path("a"), pathlib.Path("a")} == {Path("a")}
    with pytest.raises(TypeError):
        Path("a") < "b"  # noqa: B015
    with pytest.raises(TypeError):
        Path("a") / 3
    with pytest.raises(TypeError):
        3 / Path("a")
    with pytest.raises(TypeError):
        Path(b"a")
    with pytest.raises(AttributeError):
        Path("a").other = 1
    assert Path("a").is_reserved() is False
    if sys.version_info >= (3, 12):
        assert Path("a/b").relative_to("c", walk_up=True) == pathlib.Path("../a/b")
    if sys.version_info >= (3, 13):
        assert Path.from_uri("file:///a/b") == Path("/a/b")
        assert Path("a/b/c").full_match("a/**") and Path.parser is os.path


def test_subclasses_make_their_own(run, tmp_path):
    class Home(Path):
        __slots__ = ()

    async def main():
        home = Home(tmp_path)
        (tmp_path / "x").write_bytes(b"")
        for path in (
            home / "x",
            home.parent,
            home.parents[0],
            home.joinpath("x"),
            home.with_name("x"),
            await home.cwd(),
        ):
            assert type(path) is Home
        assert [type(path) async for path in home.iterdir()] == [Home]
        assert [type(path) async for path in home.glob("*")] == [Home]
        assert type(await (home / "x").rename(tmp_path / "y")) is Home
        assert type(pickle.loads(pickle.dumps(Path("a")))) is Path

    run(main())


def test_folders_above_have_a_mode_of_their_own(run, tmp_path):
    async def main():
        await Path(tmp_path / "a" / "b" / "c").mkdir(0o500, parents=True, parent_mode=0o700)
        for name, mode in {"a": 0o700, "a/b": 0o700, "a/b/c": 0o500}.items():
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode

    run(main())


# Copies.


def make_tree(folder):
    """A folder with what can be copied; no two times are the same."""
    (folder / "inner" / "empty").mkdir(parents=True)
    (folder / "one").write_bytes(b"1" * 100_000)
    (folder / "inner" / "two").write_bytes(b"22")
    (folder / "link").symlink_to("one")
    (folder / "to folder").symlink_to("inner")
    (folder / "inner" / "two").chmod(0o640)
    (folder / "inner").chmod(0o750)
    for number, name in enumerate(["one", "inner/two", "inner/empty", "inner", "."]):
        os.utime(folder / name, (1000 + number, 2000 + number))


def times(folder):
    paths = [folder, *folder.rglob("*")]
    return {str(path.relative_to(folder)): path.lstat().st_mtime for path in paths if not path.is_symlink()}


@pytest.mark.parametrize("preserve", [False, True])
@pytest.mark.parametrize("follow", [False, True])
def test_a_folder_is_copied_with_all_that_is_in_it(run, tmp_path, follow, preserve):
    source, target = tmp_path / "source", tmp_path / "target"
    make_tree(source)

    async def main():
        made = await Path(source).copy(target, follow_symlinks=follow, preserve_metadata=preserve)
        assert type(made) is Path and made == target

    run(main())
    names = {str(path.relative_to(target)) for path in target.rglob("*")}
    wanted = {"inner", "inner/empty", "inner/two", "one", "link", "to folder"}
    assert names == (wanted | {"to folder/empty", "to folder/two"} if follow else wanted)
    assert (target / "one").read_bytes() == (target / "link").read_bytes() == b"1" * 100_000
    assert (target / "inner" / "two").read_bytes() == b"22"
    for name, content in {"link": "one", "to folder": "inner"}.items():
        assert (target / name).is_symlink() != follow
        if not follow:
            assert os.readlink(target / name) == content
    kept = (target / "one").stat().st_mtime == 2000, stat.S_IMODE((target / "inner").stat().st_mode) == 0o750
    assert kept == (preserve, preserve)
    if preserve and not follow:
        assert times(target) == times(source)
        assert snapshot(target) == snapshot(source)
    if hasattr(pathlib.Path, "copy"):
        source.copy(tmp_path / "theirs", follow_symlinks=follow, preserve_metadata=preserve)
        assert snapshot(tmp_path / "theirs") == snapshot(target)


def test_a_copy_of_a_file_replaces_a_file(run, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"short")
    one.chmod(0o700)
    two.write_bytes(b"something longer")
    two.chmod(0o600)
    (tmp_path / "folder").mkdir()

    async def main():
        assert await Path(one).copy(two) == two
        assert await Path(one).copy_into(Path(tmp_path / "folder")) == tmp_path / "folder" / "one"

    run(main())
    assert two.read_bytes() == (tmp_path / "folder" / "one").read_bytes() == b"short"
    assert stat.S_IMODE(two.stat().st_mode) == 0o600  # permissions are attributes
    assert stat.S_IMODE((tmp_path / "folder" / "one").stat().st_mode) & 0o111 == 0


@pytest.mark.parametrize(
    ("source", "target", "number"),
    [
        ("file", "file", errno.EINVAL),
        ("file", "second name", errno.EINVAL),
        ("file", "link", errno.EINVAL),
        ("folder", "folder", errno.EINVAL),
        ("folder", "folder/inside", errno.EINVAL),
        ("folder", "other", errno.EEXIST),
        ("file", "folder", errno.EISDIR),
        ("none", "new", errno.ENOENT),
        ("file", "none/new", errno.ENOENT),
    ],
)
def test_what_cannot_be_copied(run, tmp_path, source, target, number):
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "second name").hardlink_to(tmp_path / "file")
    (tmp_path / "link").symlink_to("file")
    before = snapshot(tmp_path)

    async def main():
        with pytest.raises(OSError) as raised:
            await Path(tmp_path / source).copy(tmp_path / target)
        assert raised.value.errno == number

    run(main())
    assert snapshot(tmp_path) == before
    if hasattr(pathlib.Path, "copy"):
        with pytest.raises(OSError) as raised:
            (tmp_path / source).copy(tmp_path / target)
        assert raised.value.errno == number


def test_moving_is_renaming(run, tmp_path):
    make_tree(tmp_path / "source")
    (tmp_path / "file").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "second name").hardlink_to(tmp_path / "file")
    number = (tmp_path / "source").stat().st_ino

    async def main():
        moved = await Path(tmp_path / "source").move(tmp_path / "target")
        assert type(moved) is Path and moved == tmp_path / "target"
        assert await Path(tmp_path / "file").move(tmp_path / "old") == tmp_path / "old"
        assert await Path(tmp_path / "old").move_into(Path(tmp_path / "target")) == tmp_path / "target" / "old"
        for source, target, wanted in [
            ("second name", "target/old", errno.EINVAL),
            ("target", "target", errno.EINVAL),
            ("target/inner", "target", errno.ENOTEMPTY),
            ("none", "new", errno.ENOENT),
        ]:
            with pytest.raises(OSError) as raised:
                await Path(tmp_path / source).move(tmp_path / target)
            assert raised.value.errno == wanted, source

    run(main())
    assert (tmp_path / "target").stat().st_ino == number
    assert (tmp_path / "target" / "old").read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"target", "second name"}


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_moving_to_another_file_system_copies_and_removes(run, tmp_path, kind):
    folder = pathlib.Path("/dev/shm")
    if not folder.is_dir() or folder.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system that can be written to")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        source, target = tmp_path / "source", pathlib.Path(name, "target")
        if kind == "folder":
            make_tree(source)
        elif kind == "file":
            source.write_bytes(b"content")
            source.chmod(0o640)
        else:
            source.symlink_to("nowhere")
        before = snapshot(tmp_path)

        async def main():
            assert await Path(source).move(target) == target

        run(main())
        assert snapshot(tmp_path) == {}
        after = snapshot(pathlib.Path(name))
        assert after == {path.replace("source", "target", 1): found for path, found in before.items()}


def test_what_has_no_name_is_not_copied_into_a_folder(run, tmp_path):
    async def main():
        for call in (Path("/").copy_into, Path("/").move_into):
            with pytest.raises(ValueError, match="has an empty name"):
                await call(tmp_path)

    run(main())


def test_info_is_asked_for_once(run, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "broken").symlink_to("none")

    async def all_of(info):
        return [
            await info.exists(),
            await info.exists(follow_symlinks=False),
            await info.is_dir(),
            await info.is_dir(follow_symlinks=False),
            await info.is_file(),
            await info.is_file(follow_symlinks=False),
            await info.is_symlink(),
        ]

    async def main():
        for name, wanted in {
            "file": [True, True, False, False, True, True, False],
            "folder": [True, True, True, True, False, False, False],
            "link": [True, True, True, False, False, False, True],
            "broken": [False, True, False, False, False, False, True],
            "none": [False] * 7,
            "file/x": [False] * 7,
            "no\0ne": [False] * 7,
        }.items():
            path = Path(tmp_path / name)
            assert path.info is path.info
            assert await all_of(path.info) == wanted, name
            if hasattr(pathlib.Path, "info"):
                theirs = (tmp_path / name).info
                assert wanted == [
                    theirs.exists(),
                    theirs.exists(follow_symlinks=False),
                    theirs.is_dir(),
                    theirs.is_dir(follow_symlinks=False),
                    theirs.is_file(),
                    theirs.is_file(follow_symlinks=False),
                    theirs.is_symlink(),
                ]
        path = Path(tmp_path / "file")
        assert await path.info.is_file()
        await path.unlink()
        assert await path.info.is_file() and not await path.is_file()
        assert not await Path(path).info.exists()

    run(main())


def test_everything_of_pathlib_and_anyio():
    """What is missing is missing for a reason."""
    assert public(pathlib.Path) - public(Path) - {"link_to"} == set()  # deprecated, and gone in Python 3.12
    anyio = pytest.importorskip("anyio")
    assert public(anyio.Path) - public(Path) - {"limiter"} == set()  # a limit for anyio's threads
    for name in public(anyio.Path) & public(Path):
        theirs, ours = (inspect.getattr_static(cls, name) for cls in (anyio.Path, Path))
        if name not in ("parser", "open"):
            for kind in (property, classmethod):
                assert isinstance(theirs, kind) == isinstance(ours, kind), name
        if callable(getattr(Path, name)) and name not in ("parser", "open"):
            theirs, ours = (getattr(cls, name) for cls in (anyio.Path, Path))
            assert inspect.iscoroutinefunction(theirs) == inspect.iscoroutinefunction(ours), name
            if theirs.__doc__ is None and name not in ("glob", "rglob"):
                wanted = {
                    parameter.name
                    for parameter in inspect.signature(theirs).parameters.values()
                    if parameter.kind is not parameter.VAR_POSITIONAL and parameter.name != "limiter"
                }
                taken = inspect.signature(ours).parameters
                if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
                    assert wanted <= set(taken) | {"path_pattern"}, name


# Files.

OPERATIONS = st.one_of(
    st.tuples(names, st.just("mkdir"), st.sampled_from([0o777, 0o700]), st.booleans(), st.booleans()),
    st.tuples(
        names,
        st.sampled_from(
            [
                "rmdir",
                "unlink",
                "touch",
                "readlink",
                "exists",
                "is_dir",
                "is_file",
                "is_symlink",
                "is_fifo",
                "is_block_device",
                "is_char_device",
                "is_socket",
                "stat",
                "lstat",
                "absolute",
                "resolve",
                "expanduser",
                "read_bytes",
                "read_text",
                "owner",
                "group",
            ]
        ),
    ),
    st.tuples(names, st.sampled_from(["rename", "replace", "symlink_to", "hardlink_to", "samefile"]), names),
    st.tuples(names, st.just("unlink"), st.booleans()),
    st.tuples(names, st.just("touch"), st.sampled_from([0o666, 0o600]), st.booleans()),
    st.tuples(names, st.just("chmod"), st.sampled_from([0o600, 0o755])),
    st.tuples(names, st.just("write_bytes"), st.binary(max_size=20)),
    st.tuples(names, st.just("write_text"), st.text(st.characters(codec="utf-8"), max_size=20), st.just("utf-8")),
    st.tuples(names, st.just("resolve"), st.booleans()),
)


def prepare(folder):
    os.makedirs(folder / "a/b")
    (folder / "b").write_bytes(b"content")
    (folder / "link").symlink_to("a")
    return folder


def comparable(value):
    """What is the same of the same file in another folder."""
    if isinstance(value, os.stat_result):
        return value.st_mode, value.st_nlink, 0 if stat.S_ISDIR(value.st_mode) else value.st_size
    if isinstance(value, Path | pathlib.Path):
        return str(value).replace(os.getcwd(), "/here")
    if isinstance(value, tuple):
        return tuple(part.replace(os.getcwd(), "/here") if isinstance(part, str) else part for part in value)
    return value


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(OPERATIONS, min_size=1, max_size=12))
def test_sequences_do_what_pathlib_does(engine, tmp_path_factory, steps):
    ours, theirs = (prepare(tmp_path_factory.mktemp("tree")) for _ in range(2))
    before = os.getcwd()
    try:
        os.chdir(theirs)
        wanted = [comparable(result_of(getattr(pathlib.Path(name), do), *rest)) for name, do, *rest in steps]
        os.chdir(ours)

        async def main():
            return [comparable(await result_of_async(getattr(Path(name), do), *rest)) for name, do, *rest in steps]

        assert ENGINES[engine](main()) == wanted
    finally:
        os.chdir(before)
    assert snapshot(ours) == snapshot(theirs)
    shutil.rmtree(ours)
    shutil.rmtree(theirs)


def test_kinds_of_files(run, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(tmp_path / "socket"))

        async def main():
            assert await (Path(tmp_path) / "fifo").is_fifo()
            assert await (Path(tmp_path) / "socket").is_socket()
            assert await Path("/dev/null").is_char_device() and not await Path("/dev/null").is_block_device()
            assert await Path("/").is_mount() and not await Path(tmp_path).is_mount()
            assert not await Path(tmp_path).is_junction()
            assert await Path.home() == pathlib.Path.home() and await Path.cwd() == pathlib.Path.cwd()
            assert await Path("~").expanduser() == pathlib.Path.home()
            assert await Path("/dev/null").owner() == "root" and await Path("/dev/null").group() == "root"
            with pytest.raises(OSError) as caught:
                await Path("x" * 300).stat()
            assert caught.value.errno == errno.ENAMETOOLONG
            (tmp_path / "link").symlink_to("fifo")
            for name in ("fifo", "link"):
                theirs = result_of((tmp_path / name).lchmod, 0o600)
                assert await result_of_async(Path(tmp_path / name).lchmod, 0o600) == theirs

        run(main())


def tree(folder):
    """Some hundred files in a few folders, more than a batch."""
    for name in ("a", "a/b", "c", "c/d"):
        (folder / name).mkdir()
        for number in range(150):
            (folder / name / f"{number}.txt").touch()
    (folder / "c/link").symlink_to("../a")
    (folder / "empty").mkdir()
    return folder


def test_folders_are_iterated_in_batches(run, tmp_path):
    folder = tree(tmp_path)
    plain = pathlib.Path(folder)

    async def main():
        path = Path(folder)
        assert {p async for p in path.iterdir()} == set(plain.iterdir())
        assert [p async for p in (path / "empty").iterdir()] == []
        for pattern in ("*", "a/*.txt", "**/*.txt", "*/1?.txt", "none/*", "**/b"):
            assert sorted([p async for p in path.glob(pattern)]) == sorted(plain.glob(pattern))
        for pattern in ("*.txt", "1*", "b", "c/*"):
            assert sorted([p async for p in path.rglob(pattern)]) == sorted(plain.rglob(pattern))
        for pattern in ("", "/x"):
            with pytest.raises((ValueError, NotImplementedError)):
                async for _ in path.glob(pattern):
                    pass
        with pytest.raises(FileNotFoundError) as caught:
            [p async for p in (path / "none").iterdir()]
        assert caught.value.filename == os.fspath(folder / "none")
        if sys.version_info >= (3, 12):
            assert [p async for p in path.glob("A", case_sensitive=False)] == [path / "a"]

    run(main())


def walked(steps):
    return {os.fspath(root): (sorted(folders), sorted(names)) for root, folders, names in steps}


def test_walk(run, tmp_path):
    folder = tree(tmp_path)

    def wanted(top_down=True, follow=False):
        """By os.walk, for which links to folders are folders in any case."""
        found = {}
        for root, folders, files in os.walk(folder, top_down, followlinks=follow):
            links = [] if follow else [name for name in folders if os.path.islink(os.path.join(root, name))]
            found[root] = (sorted(set(folders) - set(links)), sorted(files + links))
        return found

    async def main():
        for top_down in (True, False):
            for follow in (True, False):
                steps = [step async for step in Path(folder).walk(top_down, follow_symlinks=follow)]
                assert walked(steps) == wanted(top_down, follow)
                assert all(type(root) is Path for root, _, _ in steps)
                order = [root for root, _, _ in steps]
                for root in order:
                    above = [order.index(parent) for parent in root.parents if parent in order]
                    assert all((place < order.index(root)) == top_down for place in above)
        seen = []
        async for root, folders, _ in Path(folder).walk():
            seen.append(root.name)
            if "b" in folders:
                folders.remove("b")
        assert "a" in seen and "b" not in seen
        errors = []
        assert [step async for step in Path(folder / "none").walk(on_error=errors.append)] == []
        assert [error.filename for error in errors] == [os.fspath(folder / "none")]

    run(main())


def test_an_iteration_that_is_left_early_leaves_nothing(run, tmp_path):
    folder = tree(tmp_path)

    async def main():
        path = Path(folder)
        for _ in range(20):
            for entries in (path.iterdir(), path.glob("**/*.txt"), path.rglob("*"), path.walk()):
                async for _entry in entries:
                    break
                await entries.aclose()
        for number in range(100):

            async def all_of_it():
                return [entry async for entry in path.rglob("*")]

            task = asyncio.create_task(all_of_it())
            for _ in range(number % 7):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

    run(main())


def test_content(run, tmp_path):
    async def main():
        path = Path(tmp_path) / "file"
        assert await path.write_text("one\ntwo\n", encoding="utf-8") == 8
        assert await path.read_text(encoding="utf-8") == "one\ntwo\n"
        assert await path.write_bytes(b"new", atomic=True) == 3
        assert await path.read_bytes() == b"new"
        async with path.open("rb") as file:
            assert await file.read() == b"new"
        file = await path.open("ab")
        await file.write(b"er")
        await file.close()
        assert await path.read_bytes() == b"newer"
        with pytest.raises(FileNotFoundError):
            await (path.parent / "none").open("rb")

    run(main())


def test_many_cancelled_calls_leave_nothing(run, tmp_path):
    path = Path(tmp_path) / "file"
    (tmp_path / "file").write_bytes(b"123")
    calls = [path.stat, path.exists, path.read_bytes, path.touch, lambda: path.write_bytes(b"123"), path.resolve]

    async def main():
        for number in range(1200):
            task = asyncio.create_task(calls[number % len(calls)]())
            if number % 3:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    run(main())
    assert os.listdir(tmp_path) == ["file"]
