"""``ioring.Path``: ``pathlib.Path`` whose methods that look at files are awaited, as ``anyio.Path`` has it.

What only looks at names, here and in pathlib, is an ordinary method; it is pathlib's. What changes names or looks at
attributes is that of ioring.os, and content is that of ioring.whole and ioring.open.
"""

from __future__ import annotations

import errno
import itertools
import os
import pathlib
import stat
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, overload

from ioring.files import contents, copytree
from ioring.files import opening as files
from ioring.files import os_calls as calls
from ioring.files._buffered import BufferedFile
from ioring.files._path_requests import work
from ioring.files._raw import RawFile
from ioring.files._text import TextFile
from ioring.files.engine import running
from ioring.files.path_info import Kind, PathInfo

if TYPE_CHECKING:
    from types import ModuleType

    from _typeshed import OpenBinaryMode, OpenTextMode, ReadableBuffer, StrPath

_T = TypeVar("_T")

BATCH = 256
"""How many entries of a folder one call in a thread fetches at most."""

BATCH_S = 0.01
"""And for how long it fetches entries, in seconds."""

IGNORED = {errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP}
"""Errors that mean for pathlib that there is no such file; up to Python 3.13 it raises all others."""


def _inner(path: Any) -> Any:
    return path._path if isinstance(path, Path) else path


async def _in_thread(function: Callable[..., _T], *arguments: Any, steady: bool = False, **options: Any) -> _T:
    return await work(running(), partial(function, *arguments, **options), steady)


async def _fetch(begin: Callable[[], Iterable[_T]], batch: int = BATCH) -> AsyncGenerator[_T, None]:
    """The items of an iterator that ``begin()`` makes. It is made and used in threads, many items at a time."""
    iterator: Iterator[_T] | None = None

    def step() -> list[_T]:
        nonlocal iterator
        if iterator is None:
            iterator = iter(begin())
        found: list[_T] = []
        deadline = time.monotonic() + BATCH_S
        for item in itertools.islice(iterator, batch):
            found.append(item)
            if time.monotonic() > deadline:
                break
        return found

    try:
        # Steady: the iterator is not closed while a thread uses it.
        while found := await _in_thread(step, steady=True):
            for item in found:
                yield item
    finally:
        if isinstance(iterator, Generator):
            iterator.close()


def _walk(
    top: pathlib.Path, top_down: bool, on_error: Callable[[OSError], object] | None, follow_symlinks: bool
) -> Iterator[tuple[pathlib.Path, list[str], list[str]]]:
    """pathlib.Path.walk, for Python 3.11."""
    folders: list[str] = []
    others: list[str] = []
    try:
        with os.scandir(top) as entries:
            for entry in entries:
                try:
                    folder = entry.is_dir(follow_symlinks=follow_symlinks)
                except OSError:
                    folder = False
                (folders if folder else others).append(entry.name)
    except OSError as error:
        if on_error is not None:
            on_error(error)
        return
    if top_down:
        yield top, folders, others
    for name in folders:
        yield from _walk(top / name, top_down, on_error, follow_symlinks)
    if not top_down:
        yield top, folders, others


class Path(Kind):
    """A path; see ``pathlib.Path``. It is made of strings and other paths, and is an ``os.PathLike``."""

    __slots__ = ("__weakref__", "_info", "_path")

    def __init__(self, *segments: StrPath) -> None:
        self._path = pathlib.Path(*map(_inner, segments))
        self._info: PathInfo | None = None

    # Names alone.

    def __fspath__(self) -> str:
        return self._path.__fspath__()

    def __str__(self) -> str:
        return str(self._path)

    def __bytes__(self) -> bytes:
        return bytes(self._path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.as_posix()!r})"

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (str(self._path),)

    def __hash__(self) -> int:
        return hash(self._path)

    def __eq__(self, other: object) -> bool:
        return self._path.__eq__(_inner(other))

    def __lt__(self, other: pathlib.PurePath | Path) -> bool:
        return self._path.__lt__(_inner(other))

    def __le__(self, other: pathlib.PurePath | Path) -> bool:
        return self._path.__le__(_inner(other))

    def __gt__(self, other: pathlib.PurePath | Path) -> bool:
        return self._path.__gt__(_inner(other))

    def __ge__(self, other: pathlib.PurePath | Path) -> bool:
        return self._path.__ge__(_inner(other))

    def __truediv__(self, other: StrPath) -> Self:
        joined = self._path.__truediv__(_inner(other))
        return joined if joined is NotImplemented else self.with_segments(joined)

    def __rtruediv__(self, other: StrPath) -> Self:
        joined = self._path.__rtruediv__(_inner(other))
        return joined if joined is NotImplemented else self.with_segments(joined)

    def with_segments(self, *segments: StrPath) -> Self:
        """Another path of this kind (``pathlib.Path.with_segments``): for subclasses that need more arguments."""
        return type(self)(*segments)

    @property
    def parts(self) -> tuple[str, ...]:
        """Its names, and the root (``pathlib.Path.parts``)."""
        return self._path.parts

    @property
    def drive(self) -> str:
        """Always empty here (``pathlib.Path.drive``)."""
        return self._path.drive

    @property
    def root(self) -> str:
        """``"/"`` or nothing (``pathlib.Path.root``)."""
        return self._path.root

    @property
    def anchor(self) -> str:
        """The same (``pathlib.Path.anchor``)."""
        return self._path.anchor

    @property
    def parents(self) -> tuple[Self, ...]:
        """The folders above (``pathlib.Path.parents``)."""
        return tuple(self.with_segments(path) for path in self._path.parents)

    @property
    def parent(self) -> Self:
        """The folder that it is in (``pathlib.Path.parent``)."""
        return self.with_segments(self._path.parent)

    @property
    def name(self) -> str:
        """Its last name (``pathlib.Path.name``)."""
        return self._path.name

    @property
    def suffix(self) -> str:
        """The last name's end, with a dot (``pathlib.Path.suffix``)."""
        return self._path.suffix

    @property
    def suffixes(self) -> list[str]:
        """All of the last name's ends (``pathlib.Path.suffixes``)."""
        return self._path.suffixes

    @property
    def stem(self) -> str:
        """The last name without its end (``pathlib.Path.stem``)."""
        return self._path.stem

    def as_posix(self) -> str:
        """As a string (``pathlib.Path.as_posix``)."""
        return self._path.as_posix()

    def as_uri(self) -> str:
        """As a ``file:`` address (``pathlib.Path.as_uri``)."""
        return self._path.as_uri()

    def is_absolute(self) -> bool:
        """Whether it begins at the root (``pathlib.Path.is_absolute``)."""
        return self._path.is_absolute()

    def is_relative_to(self, other: StrPath) -> bool:
        """Whether it begins with another (``pathlib.Path.is_relative_to``)."""
        return self._path.is_relative_to(_inner(other))

    def relative_to(self, *other: StrPath, walk_up: bool = False) -> Self:
        """What comes after another path (``pathlib.Path.relative_to``; ``walk_up`` since Python 3.12)."""
        options: dict[str, Any] = {"walk_up": True} if walk_up else {}
        return self.with_segments(self._path.relative_to(pathlib.Path(*map(_inner, other)), **options))

    def joinpath(self, *segments: StrPath) -> Self:
        """With more names behind it (``pathlib.Path.joinpath``)."""
        return self.with_segments(self._path.joinpath(*map(_inner, segments)))

    def match(self, path_pattern: str, **options: Any) -> bool:
        """Whether a pattern fits (``pathlib.Path.match``)."""
        return self._path.match(path_pattern, **options)

    def with_name(self, name: str) -> Self:
        """With another last name (``pathlib.Path.with_name``)."""
        return self.with_segments(self._path.with_name(name))

    def with_stem(self, stem: str) -> Self:
        """With another last name that ends the same (``pathlib.Path.with_stem``)."""
        return self.with_segments(self._path.with_stem(stem))

    def with_suffix(self, suffix: str) -> Self:
        """With another end (``pathlib.Path.with_suffix``)."""
        return self.with_segments(self._path.with_suffix(suffix))

    def is_reserved(self) -> Literal[False]:
        """Whether Windows keeps the name for itself: never (``pathlib.Path.is_reserved``)."""
        return False

    if sys.version_info >= (3, 13):
        parser: ClassVar[ModuleType] = pathlib.Path.parser
        """The module by which paths are taken apart: ``posixpath`` (``pathlib.Path.parser``)."""

        @classmethod
        def from_uri(cls, uri: str) -> Self:
            """Of a ``file:`` address (``pathlib.Path.from_uri``)."""
            return cls(pathlib.Path.from_uri(uri))

        def full_match(self, pattern: StrPath, *, case_sensitive: bool | None = None) -> bool:
            """Whether a pattern fits all of it (``pathlib.Path.full_match``)."""
            return self._path.full_match(_inner(pattern), case_sensitive=case_sensitive)

    if sys.version_info >= (3, 15):

        def __vfspath__(self) -> str:
            return str(self._path)

    # Where we are.

    @classmethod
    async def cwd(cls) -> Self:
        """The working folder (``pathlib.Path.cwd``)."""
        return cls(await calls.getcwd())

    @classmethod
    async def home(cls) -> Self:
        """The user's folder (``pathlib.Path.home``). In the executor."""
        return cls(await _in_thread(pathlib.Path.home))

    async def absolute(self) -> Self:
        """From the root on (``pathlib.Path.absolute``)."""
        return self.with_segments(self._path.absolute())

    async def expanduser(self) -> Self:
        """With the user's folder for ``~`` (``pathlib.Path.expanduser``). In the executor."""
        return self.with_segments(await _in_thread(self._path.expanduser))

    async def resolve(self, strict: bool = False) -> Self:
        """From the root on, without symbolic links (``pathlib.Path.resolve``). In the executor."""
        return self.with_segments(await _in_thread(self._path.resolve, strict))

    async def readlink(self) -> Self:
        """What the link points to (``pathlib.Path.readlink``). In the executor."""
        return self.with_segments(await calls.readlink(self._path))

    # What it is.

    async def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Attributes (``pathlib.Path.stat``): at once when they are cached."""
        return await calls.stat(self._path, follow_symlinks=follow_symlinks)

    async def lstat(self) -> os.stat_result:
        """Those of a symbolic link itself (``pathlib.Path.lstat``)."""
        return await calls.lstat(self._path)

    async def _mode(self, follow_symlinks: bool = True) -> int:
        try:
            return (await calls.stat(self._path, follow_symlinks=follow_symlinks)).st_mode
        except OSError as error:
            if error.errno not in IGNORED and sys.version_info < (3, 14):
                raise
        except ValueError:
            pass
        return 0

    async def is_block_device(self) -> bool:
        """Whether it is one (``pathlib.Path.is_block_device``)."""
        return stat.S_ISBLK(await self._mode())

    async def is_char_device(self) -> bool:
        """Whether it is one (``pathlib.Path.is_char_device``)."""
        return stat.S_ISCHR(await self._mode())

    async def is_fifo(self) -> bool:
        """Whether it is one (``pathlib.Path.is_fifo``)."""
        return stat.S_ISFIFO(await self._mode())

    async def is_socket(self) -> bool:
        """Whether it is one (``pathlib.Path.is_socket``)."""
        return stat.S_ISSOCK(await self._mode())

    async def is_mount(self) -> bool:
        """Whether something is mounted there (``pathlib.Path.is_mount``). In the executor."""
        return await calls.path.ismount(self._path)

    async def is_junction(self) -> Literal[False]:
        """Whether it is a junction of Windows: never (``pathlib.Path.is_junction``)."""
        return False

    async def owner(self, **options: bool) -> str:
        """Its owner's name (``pathlib.Path.owner``). In the executor."""
        return await _in_thread(self._path.owner, **options)

    async def group(self, **options: bool) -> str:
        """Its group's name (``pathlib.Path.group``). In the executor."""
        return await _in_thread(self._path.group, **options)

    async def samefile(self, other_path: StrPath) -> bool:
        """Whether another path leads to the same file (``pathlib.Path.samefile``)."""
        return await calls.path.samefile(self._path, pathlib.Path(_inner(other_path)))

    @property
    def info(self) -> PathInfo:
        """What is known of its kind (``pathlib.Path.info``): methods that are awaited, and look only once."""
        if self._info is None:
            self._info = PathInfo(self._path)
        return self._info

    # What is in it.

    async def iterdir(self) -> AsyncGenerator[Self, None]:
        """Its entries, one after the other (``pathlib.Path.iterdir``). They are read in batches, in the executor."""
        async for path in _fetch(self._path.iterdir):
            yield self.with_segments(path)

    def glob(self, pattern: StrPath, **options: Any) -> AsyncGenerator[Self, None]:
        """What fits a pattern (``pathlib.Path.glob``). It is looked for in batches, in the executor."""
        return self._found(self._path.glob(_inner(pattern), **options))

    def rglob(self, pattern: StrPath, **options: Any) -> AsyncGenerator[Self, None]:
        """The same in all folders below (``pathlib.Path.rglob``)."""
        return self._found(self._path.rglob(_inner(pattern), **options))

    async def _found(self, iterator: Iterable[pathlib.Path]) -> AsyncGenerator[Self, None]:
        async for path in _fetch(lambda: iterator):
            yield self.with_segments(path)

    async def walk(
        self,
        top_down: bool = True,
        on_error: Callable[[OSError], object] | None = None,
        follow_symlinks: bool = False,
    ) -> AsyncGenerator[tuple[Self, list[str], list[str]], None]:
        """Each folder with its folders and files (``pathlib.Path.walk``), in the executor.

        From the top down it is one call for each, since the program may take folders out of the list. ``on_error`` is
        called in a thread.
        """
        if sys.version_info >= (3, 12):
            begin = partial(self._path.walk, top_down, on_error, follow_symlinks)
        else:
            begin = partial(_walk, self._path, top_down, on_error, follow_symlinks)
        async for path, folders, others in _fetch(begin, 1 if top_down else BATCH):
            yield self.with_segments(path), folders, others

    # Changing names.

    async def mkdir(
        self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False, *, parent_mode: int | None = None
    ) -> None:
        """Makes a folder (``pathlib.Path.mkdir``; ``parent_mode`` is that of Python 3.15)."""
        try:
            await calls.mkdir(self._path, mode)
        except FileNotFoundError:
            if not parents or self._path.parent == self._path:
                raise
            above = 0o777 if parent_mode is None else parent_mode
            await self.parent.mkdir(above, parents=True, exist_ok=True, parent_mode=parent_mode)
            await self.mkdir(mode, exist_ok=exist_ok)
        except OSError:
            # Not only EEXIST: a file system may be read-only, and the folder there.
            if not exist_ok or not await self.is_dir():
                raise

    async def rmdir(self) -> None:
        """Removes an empty folder (``pathlib.Path.rmdir``)."""
        await calls.rmdir(self._path)

    async def unlink(self, missing_ok: bool = False) -> None:
        """Takes the name away (``pathlib.Path.unlink``)."""
        try:
            await calls.unlink(self._path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    async def rename(self, target: StrPath) -> Self:
        """Gives it another name; the path of that (``pathlib.Path.rename``)."""
        await calls.rename(self._path, _inner(target))
        return self.with_segments(target)

    async def replace(self, target: StrPath) -> Self:
        """The same (``pathlib.Path.replace``)."""
        await calls.replace(self._path, _inner(target))
        return self.with_segments(target)

    async def symlink_to(self, target: StrPath, target_is_directory: bool = False) -> None:
        """Makes it a symbolic link (``pathlib.Path.symlink_to``)."""
        await calls.symlink(_inner(target), self._path, target_is_directory)

    async def hardlink_to(self, target: StrPath) -> None:
        """Makes it a second name of a file (``pathlib.Path.hardlink_to``)."""
        await calls.link(_inner(target), self._path)

    async def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        """Makes an empty file, or sets the times of one (``pathlib.Path.touch``). In the executor."""
        await _in_thread(self._path.touch, mode, exist_ok, steady=True)

    async def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        """Permissions (``pathlib.Path.chmod``). In the executor."""
        await calls.chmod(self._path, mode, follow_symlinks=follow_symlinks)

    async def lchmod(self, mode: int) -> None:
        """Those of a symbolic link, which Linux does not have (``pathlib.Path.lchmod``). In the executor."""
        await calls.chmod(self._path, mode, follow_symlinks=False)

    async def copy(self, target: StrPath, *, follow_symlinks: bool = True, preserve_metadata: bool = False) -> Self:
        """Copies a file or a folder with all that is in it; the path of the copy (``pathlib.Path.copy``).

        A file in the place of a file's copy is replaced. Content is copied in the executor. A copy that fails or is
        cancelled is incomplete.

        Parameters:
            follow_symlinks: whether what links lead to is copied in their place.
            preserve_metadata: whether permissions, flags, times and extended attributes are copied as well.

        Raises:
            OSError: both are the same, the target is in the folder, or a folder or link is in the place of its copy.
        """
        copied = self.with_segments(target)
        await copytree.copy(self._path, copied._path, follow_symlinks, preserve_metadata)
        return copied

    async def copy_into(
        self, target_dir: StrPath, *, follow_symlinks: bool = True, preserve_metadata: bool = False
    ) -> Self:
        """The same into a folder that is there, with the same name (``pathlib.Path.copy_into``).

        Raises:
            ValueError: the path has no name.
        """
        return await self.copy(
            self._place_in(target_dir), follow_symlinks=follow_symlinks, preserve_metadata=preserve_metadata
        )

    async def move(self, target: StrPath) -> Self:
        """Moves a file or a folder, also to another file system; its new path (``pathlib.Path.move``).

        That is ``replace``, by the ring. To another file system it is copied, and removed here.

        Raises:
            OSError: both are the same, or the target is a folder that is not empty.
        """
        moved = self.with_segments(target)
        await copytree.move(self._path, moved._path)
        return moved

    async def move_into(self, target_dir: StrPath) -> Self:
        """The same into a folder that is there, with the same name (``pathlib.Path.move_into``).

        Raises:
            ValueError: the path has no name.
        """
        return await self.move(self._place_in(target_dir))

    def _place_in(self, folder: StrPath) -> pathlib.Path:
        if not self.name:
            raise ValueError(f"{self!r} has an empty name")
        return pathlib.Path(_inner(folder), self.name)

    # Content.

    @overload
    def open(
        self,
        mode: OpenTextMode = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> files.Opening[TextFile]: ...
    @overload
    def open(  # type: ignore[overload-overlap]
        self,
        mode: OpenBinaryMode,
        buffering: Literal[0],
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> files.Opening[RawFile]: ...
    @overload
    def open(
        self,
        mode: OpenBinaryMode,
        buffering: int = -1,
        encoding: None = None,
        errors: None = None,
        newline: None = None,
    ) -> files.Opening[BufferedFile]: ...
    @overload
    def open(
        self,
        mode: str,
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> files.Opening[Any]: ...
    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> files.Opening[Any]:
        """Opens the file (``ioring.open``): ``await`` it, or use it with ``async with``."""
        return files.open(self._path, mode, buffering, encoding, errors, newline)

    async def read_bytes(self) -> bytes:
        """All bytes of the file (``pathlib.Path.read_bytes``): at once when it is small and cached."""
        return await contents.read_bytes(self._path)

    async def read_text(
        self, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> str:
        """The text of the file (``pathlib.Path.read_text``)."""
        return await contents.read_text(self._path, encoding, errors, newline)

    async def write_bytes(self, data: ReadableBuffer, *, atomic: bool = False) -> int:
        """Makes a file of bytes (``pathlib.Path.write_bytes``).

        With ``atomic`` whoever opens it finds the old content or the new, also after a crash.
        """
        return await contents.write_bytes(self._path, data, atomic=atomic)

    async def write_text(
        self,
        data: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *,
        atomic: bool = False,
    ) -> int:
        """Makes a file of text (``pathlib.Path.write_text``); ``atomic`` as for ``write_bytes``."""
        return await contents.write_text(self._path, data, encoding, errors, newline, atomic=atomic)


os.PathLike.register(Path)
