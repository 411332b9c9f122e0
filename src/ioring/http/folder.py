"""A folder whose files are served, and what is found in it.

The kernel keeps paths inside (``openat2`` with RESOLVE_BENEATH): whatever a name, a symbolic link or somebody who moves
things about meanwhile makes of a path, nothing outside of the folder can be opened. A ``Folder`` owns the descriptor
that all paths begin at.

With ``cached`` a lookup only uses what the kernel has in memory; BlockingIOError says that it has to be repeated
without, in a thread.
"""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Sequence

from ioring.files._cached_lookup import open_beneath
from ioring.http._response_cache import Answer
from ioring.http.conditional import http_date
from ioring.http.directory_index import entries_of, page_of
from ioring.http.media_types import type_of
from ioring.http.sendfile import File

CONTENT_MAX = 65536
"""Files up to this size are kept in memory, and sent from there."""

SIBLINGS = {b"br": b".br", b"zstd": b".zst", b"gzip": b".gz"}
"""Endings of the files that are the same, compressed."""

WELL_KNOWN = b".well-known"
"""Begins with a dot and is public all the same (RFC 8615)."""

INDEX, MISSING = b"index.html", b"404.html"
TRIES = 16

Identity = tuple[int, int, int, int, int]

RECENT_NS = 50_000_000
"""A file that was changed so shortly before it was read may change again without a later time: clocks of file systems
are coarse."""

ABSENT = frozenset(
    (
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EXDEV,
        errno.ENXIO,
        errno.ENODEV,
        errno.EILSEQ,
        errno.EINVAL,
    )
)
"""What is not there, must not be read, or leads out of the folder: for a client there is no difference."""


class Redirect:
    """The path is a folder's, without the slash at its end."""


class Page:
    """A listing."""

    def __init__(self, body: bytes) -> None:
        self.body = body


class Variant:
    """One form of a file: as it is, or compressed."""

    def __init__(self, file: File, content: bytes | None, headers: list[tuple[bytes, bytes]], etag: bytes) -> None:
        self.size = file.status.st_size if content is None else len(content)
        self.file = file if content is None else None
        self.content = content
        self.headers = headers  # without the length
        self.etag = etag
        self.modified = int(file.status.st_mtime_ns // 1_000_000_000)
        self.answer: Answer | None = None


class Found:
    """A file, its compressed forms, and by what it is known to be the same later."""

    def __init__(
        self,
        plain: Variant,
        others: dict[bytes, Variant],
        seen: list[tuple[bytes, Identity | None]],
        recent: bool,
    ) -> None:
        self.plain = plain
        self.others = others  # by name of the encoding
        self.seen = seen  # pairs of a name and an identity
        self.recent = recent

    def variants(self) -> list[Variant]:
        return [self.plain, *self.others.values()]


class Instead:
    """There is nothing at the path: a file that is shown for that, and the status."""

    def __init__(self, found: Found, status: int) -> None:
        self.found = found
        self.status = status


class Folder:
    """Finds files.

    Parameters:
        path: of the folder.
        listing: whether folders without index.html are shown.
        cache_max_age: seconds for which clients may keep a file; None: nothing is said of it.
        hidden: whether there are names that begin with a dot.
        spa: whether index.html is answered where there is nothing, to paths whose last name has no dot.
        follow_links: whether symbolic links may lead out of the folder.
        more: headers for files that have none of that name.

    Raises:
        OSError: there is no such folder.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        listing: bool = False,
        cache_max_age: int | None = None,
        hidden: bool = False,
        spa: bool = False,
        follow_links: bool = False,
        more: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.listing = listing
        self.hidden = hidden
        self.spa = spa
        self.follow_links = follow_links
        self.more = list(more)
        self._root: File | None = self._open_root()
        self.headers: list[tuple[bytes, bytes]] = []
        if cache_max_age is not None:
            value = b"public, max-age=%d" % cache_max_age if cache_max_age else b"no-cache"
            self.headers.append((b"cache-control", value))

    @property
    def root(self) -> File:
        """What all paths begin at, until `close`."""
        if self._root is None:
            raise OSError(errno.EBADF, "the folder is not served any more", self.path)
        return self._root

    def _open_root(self) -> File:
        descriptor = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return File(descriptor)

    def close(self) -> None:
        """Lets go of the folder, as soon as nobody looks into it any more."""
        self._root = None

    def moved(self) -> bool:
        """Whether there is another folder at the path now, as after a deployment; it is used from then on."""
        try:
            now = os.stat(self.path)
            if (now.st_dev, now.st_ino) == (self.root.status.st_dev, self.root.status.st_ino):
                return False
            self._root = self._open_root()
        except OSError:
            return False  # it may come back
        return True

    # Paths.

    def find(self, path: bytes, cached: bool) -> Found | Page | Redirect | None:
        """What there is at a path: a Found, a Page, a Redirect, or None.

        Parameters:
            path: percent-decoded bytes, empty or with a slash at the beginning; resolved.

        Raises:
            BlockingIOError: with ``cached``: it is not known without waiting.
            OSError: it cannot be found out.
        """
        if not path:
            return Redirect()
        segments = path.split(b"/")
        if b"\0" in path or segments.pop(0):
            return None
        is_folder = not segments[-1]
        if is_folder:
            segments.pop()
        # resolved() has taken them away. An empty one would let `//host` be redirected to.
        if any(segment in (b"", b".", b"..") for segment in segments):
            return None
        if not self.hidden and any(is_hidden(segment) for segment in segments):
            return None
        root = self.root
        name = b"/".join(segments)
        if not is_folder:
            status = self.look(root, name, cached)
            if status is not None and stat.S_ISDIR(status.st_mode):
                return Redirect()
            return self.file(root, name, status, cached)
        index = b"/".join([*segments, b"index.html"])
        found = self.file(root, index, self.look(root, index, cached), cached)
        if found is not None or not self.listing:
            return found
        return self.page(root, path, name or b".", cached)

    def instead(self, path: bytes, cached: bool) -> "Instead | None":
        """What is answered for a path at which there is nothing; None: nothing but that.

        Raises: as `find`.
        """
        root = self.root
        if self.spa and b"." not in path.rpartition(b"/")[2]:
            found = self.file(root, INDEX, self.look(root, INDEX, cached), cached)
            if found is not None:
                return Instead(found, 200)
        found = self.file(root, MISSING, self.look(root, MISSING, cached), cached)
        return None if found is None else Instead(found, 404)

    def open(self, root: File, name: bytes, flags: int, cached: bool) -> int | None:
        """A descriptor; None when there is nothing that may be opened."""
        for _ in range(TRIES):
            descriptor: int = open_beneath(root.descriptor, name, flags, cached, self.follow_links)
            if descriptor >= 0:
                return descriptor
            if descriptor != -errno.EAGAIN or cached:
                break
        if -descriptor in ABSENT:
            return None
        raise OSError(-descriptor, os.strerror(-descriptor), os.path.join(self.path, os.fsdecode(name)))

    def look(self, root: File, name: bytes, cached: bool) -> os.stat_result | None:
        """The attributes of what a name leads to, without opening it; or None."""
        descriptor = self.open(root, name, os.O_PATH, cached)
        if descriptor is None:
            return None
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def page(self, root: File, path: bytes, name: bytes, cached: bool) -> Page | None:
        if cached:
            raise BlockingIOError
        descriptor = self.open(root, name, os.O_RDONLY | os.O_DIRECTORY, False)
        if descriptor is None:
            return None
        folder = File(descriptor)
        entries, more = entries_of(
            folder.descriptor, self.hidden, lambda entry: self.look_quietly(root, name + b"/" + entry)
        )
        return Page(page_of(path, entries, more))

    def look_quietly(self, root: File, name: bytes) -> os.stat_result | None:
        try:
            return self.look(root, name, False)
        except OSError:
            return None

    # Files.

    def file(self, root: File, name: bytes, status: os.stat_result | None, cached: bool) -> Found | None:
        """A Found for a name whose attributes are known; None unless it is an ordinary file."""
        if status is None or not stat.S_ISREG(status.st_mode):
            return None
        seen: list[tuple[bytes, Identity | None]] = []
        plain = self.opened(root, name, cached)
        if plain is None:
            return None
        file, content = plain
        seen.append((name, identity(file.status)))
        others = {}
        for coding, ending in SIBLINGS.items():
            beside = self.look(root, name + ending, cached)
            opened = None
            if beside is not None and stat.S_ISREG(beside.st_mode):
                opened = self.opened(root, name + ending, cached)
            seen.append((name + ending, None if opened is None else identity(opened[0].status)))
            if opened is not None:
                others[coding] = opened
        kind = type_of(name)
        varies = bool(others)
        variants = {coding: self.variant(*each, kind, coding, True) for coding, each in others.items()}
        recent = any(is_recent(one.status) for one, _ in (plain, *others.values()))
        return Found(self.variant(file, content, kind, None, varies), variants, seen, recent)

    def variant(self, file: File, content: bytes | None, kind: bytes, coding: bytes | None, varies: bool) -> Variant:
        status = file.status
        # Hashed: of the inode nobody is told, which is the concern of the file system alone.
        told = b"%x-%x-%x" % (status.st_mtime_ns, status.st_size, status.st_ino)
        etag = b'"%b"' % hashlib.blake2b(told, digest_size=12).hexdigest().encode()
        headers = [
            (b"content-type", kind),
            (b"etag", etag),
            (b"last-modified", http_date(status.st_mtime_ns // 1_000_000_000)),
            (b"accept-ranges", b"bytes"),
            *self.headers,
        ]
        if self.more:
            given = {name for name, _ in headers}
            headers += [pair for pair in self.more if pair[0] not in given]
        if coding is not None:
            headers.append((b"content-encoding", coding))
        if varies:
            headers.append((b"vary", b"accept-encoding"))
        return Variant(file, content, headers, etag)

    def opened(self, root: File, name: bytes, cached: bool) -> tuple[File, bytes | None] | None:
        """A File, and its content if it is small; None unless it is an ordinary file."""
        # It was one a moment ago. Should it be a FIFO now, nothing waits for its other end.
        descriptor = self.open(root, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, cached)
        if descriptor is None:
            return None
        file = File(descriptor)
        for _ in range(3):
            if not stat.S_ISREG(file.status.st_mode):
                return None
            if file.status.st_size > CONTENT_MAX:
                break
            content = read(descriptor, file.status.st_size, cached)
            now = os.fstat(descriptor)
            if content is not None and identity(now) == identity(file.status):
                return file, content
            file.status = now
        return file, None  # a large one, or one that is written just now

    def unchanged(self, found: Found, cached: bool) -> bool:
        """Whether a file is still what it was."""
        if found.recent:
            return False
        root = self.root
        for name, known in found.seen:
            status = self.look(root, name, cached)
            if status is not None and not stat.S_ISREG(status.st_mode):
                status = None
            if (None if status is None else identity(status)) != known:
                return False
        return True


def resolved(path: bytes) -> bytes:
    """A decoded path without empty, ``.`` and ``..`` segments (RFC 3986, section 5.2.4); ``..`` ends at the root."""
    if not path.startswith(b"/") or (b"//" not in path and b"/." not in path):
        return path
    segments = path.split(b"/")
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    if kept and segments[-1] in (b"", b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def is_hidden(name: bytes) -> bool:
    return name.startswith(b".") and name != WELL_KNOWN


def identity(status: os.stat_result) -> Identity:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def is_recent(status: os.stat_result) -> bool:
    """Whether a file was changed just now, by the clock that the kernel stamps files with."""
    return time.time_ns() - status.st_ctime_ns < RECENT_NS


def read(descriptor: int, size: int, cached: bool) -> bytes | None:
    """The content of a file of a known size; None when it has another."""
    if cached:
        data = bytearray(size + 1)
        try:
            count = os.preadv(descriptor, [data], 0, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise BlockingIOError from None  # some file systems do not know that
            raise
        if count < size:
            raise BlockingIOError  # the rest is on the disk, or there is none
        return bytes(data[:size]) if count == size else None
    parts = []
    at = 0
    while at <= size:
        part = os.pread(descriptor, size + 1 - at, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return b"".join(parts) if at == size else None
