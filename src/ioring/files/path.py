"""``ioring.Path``: ``pathlib.Path`` whose methods that look at files are awaited, as ``anyio.Path`` has it.

What only looks at names, here and in pathlib, is an ordinary method; it is pathlib's. What changes names or looks at
attributes is that of ioring.os, and content is that of ioring.whole and ioring.open.
"""

import errno
import itertools
import os
import pathlib
import stat
import sys
import time
from functools import partial

from ioring.files import contents
from ioring.files import opening as files
from ioring.files import os_calls as calls
from ioring.files._path_requests import work
from ioring.files.engine import running

BATCH = 256
"""So many entries of a folder are fetched by one call in a thread."""

BATCH_S = 0.01
"""Or as many as come in this time."""

IGNORED = {errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP}
"""Errors by which pathlib knows that there is no such file (up to Python 3.13); others it raises."""


def _inner(path):
    return path._path if isinstance(path, Path) else path


async def _in_thread(function, *arguments, steady=False, **options):
    return await work(running(), partial(function, *arguments, **options), steady)


async def _fetch(begin, batch=BATCH):
    """What an iterator gives, which ``begin()`` makes; it is made and used in threads, several steps at a time."""
    iterator = None

    def step():
        nonlocal iterator
        if iterator is None:
            iterator = iter(begin())
        found = []
        deadline = time.monotonic() + BATCH_S
        for item in itertools.islice(iterator, batch):
            found.append(item)
            if time.monotonic() > deadline:
                break
        return found

    try:
        # Steady: nobody else may use the iterator before it is out of the thread.
        while found := await _in_thread(step, steady=True):
            for item in found:
                yield item
    finally:
        if hasattr(iterator, "close"):
            iterator.close()


def _walk(top, top_down, on_error, follow_symlinks):
    """pathlib.Path.walk, for Python 3.11."""
    folders, others = [], []
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


class Path:
    """A path; see ``pathlib.Path``. It is made of strings and other paths, and is an ``os.PathLike``."""

    __slots__ = ("__weakref__", "_path")

    def __init__(self, *segments):
        self._path = pathlib.Path(*map(_inner, segments))

    # Names alone.

    def __fspath__(self):
        return self._path.__fspath__()

    def __str__(self):
        return str(self._path)

    def __bytes__(self):
        return bytes(self._path)

    def __repr__(self):
        return f"{type(self).__name__}({self.as_posix()!r})"

    def __reduce__(self):
        return type(self), (str(self._path),)

    def __hash__(self):
        return hash(self._path)

    def __eq__(self, other):
        return self._path.__eq__(_inner(other))

    def __lt__(self, other):
        return self._path.__lt__(_inner(other))

    def __le__(self, other):
        return self._path.__le__(_inner(other))

    def __gt__(self, other):
        return self._path.__gt__(_inner(other))

    def __ge__(self, other):
        return self._path.__ge__(_inner(other))

    def __truediv__(self, other):
        joined = self._path.__truediv__(_inner(other))
        return joined if joined is NotImplemented else self.with_segments(joined)

    def __rtruediv__(self, other):
        joined = self._path.__rtruediv__(_inner(other))
        return joined if joined is NotImplemented else self.with_segments(joined)

    def with_segments(self, *segments):
        """Another path of this kind (``pathlib.Path.with_segments``): for subclasses that need more arguments."""
        return type(self)(*segments)

    @property
    def parts(self):
        """Its names, and the root (``pathlib.Path.parts``)."""
        return self._path.parts

    @property
    def drive(self):
        """Always empty here (``pathlib.Path.drive``)."""
        return self._path.drive

    @property
    def root(self):
        """``"/"`` or nothing (``pathlib.Path.root``)."""
        return self._path.root

    @property
    def anchor(self):
        """The same (``pathlib.Path.anchor``)."""
        return self._path.anchor

    @property
    def parents(self):
        """The folders above (``pathlib.Path.parents``)."""
        return tuple(self.with_segments(path) for path in self._path.parents)

    @property
    def parent(self):
        """The folder that it is in (``pathlib.Path.parent``)."""
        return self.with_segments(self._path.parent)

    @property
    def name(self):
        """Its last name (``pathlib.Path.name``)."""
        return self._path.name

    @property
    def suffix(self):
        """The last name's end, with a dot (``pathlib.Path.suffix``)."""
        return self._path.suffix

    @property
    def suffixes(self):
        """All of the last name's ends (``pathlib.Path.suffixes``)."""
        return self._path.suffixes

    @property
    def stem(self):
        """The last name without its end (``pathlib.Path.stem``)."""
        return self._path.stem

    def as_posix(self):
        """As a string (``pathlib.Path.as_posix``)."""
        return self._path.as_posix()

    def as_uri(self):
        """As a ``file:`` address (``pathlib.Path.as_uri``)."""
        return self._path.as_uri()

    def is_absolute(self):
        """Whether it begins at the root (``pathlib.Path.is_absolute``)."""
        return self._path.is_absolute()

    def is_relative_to(self, other):
        """Whether it begins with another (``pathlib.Path.is_relative_to``)."""
        return self._path.is_relative_to(_inner(other))

    def relative_to(self, *other, walk_up=False):
        """What comes after another path (``pathlib.Path.relative_to``; ``walk_up`` since Python 3.12)."""
        options = {"walk_up": True} if walk_up else {}
        return self.with_segments(self._path.relative_to(pathlib.Path(*map(_inner, other)), **options))

    def joinpath(self, *segments):
        """With more names behind it (``pathlib.Path.joinpath``)."""
        return self.with_segments(self._path.joinpath(*map(_inner, segments)))

    def match(self, path_pattern, **options):
        """Whether a pattern fits (``pathlib.Path.match``)."""
        return self._path.match(path_pattern, **options)

    def with_name(self, name):
        """With another last name (``pathlib.Path.with_name``)."""
        return self.with_segments(self._path.with_name(name))

    def with_stem(self, stem):
        """With another last name that ends the same (``pathlib.Path.with_stem``)."""
        return self.with_segments(self._path.with_stem(stem))

    def with_suffix(self, suffix):
        """With another end (``pathlib.Path.with_suffix``)."""
        return self.with_segments(self._path.with_suffix(suffix))

    def is_reserved(self):
        """Whether Windows keeps the name for itself: never (``pathlib.Path.is_reserved``)."""
        return False

    if sys.version_info >= (3, 13):
        parser = pathlib.Path.parser

        @classmethod
        def from_uri(cls, uri):
            """Of a ``file:`` address (``pathlib.Path.from_uri``)."""
            return cls(pathlib.Path.from_uri(uri))

        def full_match(self, pattern, *, case_sensitive=None):
            """Whether a pattern fits all of it (``pathlib.Path.full_match``)."""
            return self._path.full_match(_inner(pattern), case_sensitive=case_sensitive)

    # Where we are.

    @classmethod
    async def cwd(cls):
        """The working folder (``pathlib.Path.cwd``)."""
        return cls(await calls.getcwd())

    @classmethod
    async def home(cls):
        """The user's folder (``pathlib.Path.home``). In the executor."""
        return cls(await _in_thread(pathlib.Path.home))

    async def absolute(self):
        """From the root on (``pathlib.Path.absolute``)."""
        return self.with_segments(self._path.absolute())

    async def expanduser(self):
        """With the user's folder for ``~`` (``pathlib.Path.expanduser``). In the executor."""
        return self.with_segments(await _in_thread(self._path.expanduser))

    async def resolve(self, strict=False):
        """From the root on, without symbolic links (``pathlib.Path.resolve``). In the executor."""
        return self.with_segments(await _in_thread(self._path.resolve, strict))

    async def readlink(self):
        """What the link points to (``pathlib.Path.readlink``). In the executor."""
        return self.with_segments(await calls.readlink(self._path))

    # What it is.

    async def stat(self, *, follow_symlinks=True):
        """Attributes (``pathlib.Path.stat``): at once when they are cached."""
        return await calls.stat(self._path, follow_symlinks=follow_symlinks)

    async def lstat(self):
        """Those of a symbolic link itself (``pathlib.Path.lstat``)."""
        return await calls.lstat(self._path)

    async def _mode(self, follow_symlinks=True):
        try:
            return (await calls.stat(self._path, follow_symlinks=follow_symlinks)).st_mode
        except OSError as error:
            if error.errno not in IGNORED and sys.version_info < (3, 14):
                raise
        except ValueError:
            pass
        return 0

    async def exists(self, *, follow_symlinks=True):
        """Whether it is there (``pathlib.Path.exists``)."""
        return await self._mode(follow_symlinks) != 0

    async def is_dir(self, *, follow_symlinks=True):
        """Whether it is a folder (``pathlib.Path.is_dir``)."""
        return stat.S_ISDIR(await self._mode(follow_symlinks))

    async def is_file(self, *, follow_symlinks=True):
        """Whether it is an ordinary file (``pathlib.Path.is_file``)."""
        return stat.S_ISREG(await self._mode(follow_symlinks))

    async def is_symlink(self):
        """Whether it is a symbolic link (``pathlib.Path.is_symlink``)."""
        return stat.S_ISLNK(await self._mode(False))

    async def is_block_device(self):
        """Whether it is one (``pathlib.Path.is_block_device``)."""
        return stat.S_ISBLK(await self._mode())

    async def is_char_device(self):
        """Whether it is one (``pathlib.Path.is_char_device``)."""
        return stat.S_ISCHR(await self._mode())

    async def is_fifo(self):
        """Whether it is one (``pathlib.Path.is_fifo``)."""
        return stat.S_ISFIFO(await self._mode())

    async def is_socket(self):
        """Whether it is one (``pathlib.Path.is_socket``)."""
        return stat.S_ISSOCK(await self._mode())

    async def is_mount(self):
        """Whether something is mounted there (``pathlib.Path.is_mount``). In the executor."""
        return await calls.path.ismount(self._path)

    async def is_junction(self):
        """Whether it is a junction of Windows: never (``pathlib.Path.is_junction``)."""
        return False

    async def owner(self, **options):
        """Its owner's name (``pathlib.Path.owner``). In the executor."""
        return await _in_thread(self._path.owner, **options)

    async def group(self, **options):
        """Its group's name (``pathlib.Path.group``). In the executor."""
        return await _in_thread(self._path.group, **options)

    async def samefile(self, other_path):
        """Whether another path leads to the same file (``pathlib.Path.samefile``)."""
        return await calls.path.samefile(self._path, pathlib.Path(_inner(other_path)))

    # What is in it.

    async def iterdir(self):
        """Its entries, one after the other (``pathlib.Path.iterdir``). They are read in batches, in the executor."""
        async for path in _fetch(self._path.iterdir):
            yield self.with_segments(path)

    def glob(self, pattern, **options):
        """What fits a pattern (``pathlib.Path.glob``). It is looked for in batches, in the executor."""
        return self._found(self._path.glob(_inner(pattern), **options))

    def rglob(self, pattern, **options):
        """The same in all folders below (``pathlib.Path.rglob``)."""
        return self._found(self._path.rglob(_inner(pattern), **options))

    async def _found(self, iterator):
        async for path in _fetch(lambda: iterator):
            yield self.with_segments(path)

    async def walk(self, top_down=True, on_error=None, follow_symlinks=False):
        """Each folder with its folders and files (``pathlib.Path.walk``), in the executor.

        From the top down it is one call for each, since the program may take folders out of the list. ``on_error`` is
        called in a thread.
        """
        begin = self._path.walk if sys.version_info >= (3, 12) else partial(_walk, self._path)
        begin = partial(begin, top_down, on_error, follow_symlinks)
        async for path, folders, others in _fetch(begin, 1 if top_down else BATCH):
            yield self.with_segments(path), folders, others

    # Changing names.

    async def mkdir(self, mode=0o777, parents=False, exist_ok=False):
        """Makes a folder (``pathlib.Path.mkdir``)."""
        try:
            await calls.mkdir(self._path, mode)
        except FileNotFoundError:
            if not parents or self._path.parent == self._path:
                raise
            await self.parent.mkdir(parents=True, exist_ok=True)
            await self.mkdir(mode, exist_ok=exist_ok)
        except OSError:
            # Not only EEXIST: a file system may be read-only, and the folder there.
            if not exist_ok or not await self.is_dir():
                raise

    async def rmdir(self):
        """Removes an empty folder (``pathlib.Path.rmdir``)."""
        await calls.rmdir(self._path)

    async def unlink(self, missing_ok=False):
        """Takes the name away (``pathlib.Path.unlink``)."""
        try:
            await calls.unlink(self._path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    async def rename(self, target):
        """Gives it another name; the path of that (``pathlib.Path.rename``)."""
        await calls.rename(self._path, _inner(target))
        return self.with_segments(target)

    async def replace(self, target):
        """The same (``pathlib.Path.replace``)."""
        await calls.replace(self._path, _inner(target))
        return self.with_segments(target)

    async def symlink_to(self, target, target_is_directory=False):
        """Makes it a symbolic link (``pathlib.Path.symlink_to``)."""
        await calls.symlink(_inner(target), self._path, target_is_directory)

    async def hardlink_to(self, target):
        """Makes it a second name of a file (``pathlib.Path.hardlink_to``)."""
        await calls.link(_inner(target), self._path)

    async def touch(self, mode=0o666, exist_ok=True):
        """Makes an empty file, or sets the times of one (``pathlib.Path.touch``). In the executor."""
        await _in_thread(self._path.touch, mode, exist_ok, steady=True)

    async def chmod(self, mode, *, follow_symlinks=True):
        """Permissions (``pathlib.Path.chmod``). In the executor."""
        await calls.chmod(self._path, mode, follow_symlinks=follow_symlinks)

    async def lchmod(self, mode):
        """Those of a symbolic link, which Linux does not have (``pathlib.Path.lchmod``). In the executor."""
        await calls.chmod(self._path, mode, follow_symlinks=False)

    # Content.

    def open(self, mode="r", buffering=-1, encoding=None, errors=None, newline=None):
        """Opens the file (``ioring.open``): ``await`` it, or use it with ``async with``."""
        return files.open(self._path, mode, buffering, encoding, errors, newline)

    async def read_bytes(self):
        """All bytes of the file (``pathlib.Path.read_bytes``): at once when it is small and cached."""
        return await contents.read_bytes(self._path)

    async def read_text(self, encoding=None, errors=None, newline=None):
        """The text of the file (``pathlib.Path.read_text``)."""
        return await contents.read_text(self._path, encoding, errors, newline)

    async def write_bytes(self, data, *, atomic=False):
        """Makes a file of bytes (``pathlib.Path.write_bytes``).

        With ``atomic`` whoever opens it finds the old content or the new, also after a crash.
        """
        return await contents.write_bytes(self._path, data, atomic=atomic)

    async def write_text(self, data, encoding=None, errors=None, newline=None, *, atomic=False):
        """Makes a file of text (``pathlib.Path.write_text``); ``atomic`` as for ``write_bytes``."""
        return await contents.write_text(self._path, data, encoding, errors, newline, atomic=atomic)


os.PathLike.register(Path)
