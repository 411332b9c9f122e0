"""The files that measurements read: made before the first round of a workload, removed after the last.

They lie on a disk, in the folder of the compiled programs: memory is not where files are, and the kernel reads them
there in other ways. What is in those that are only counted says servers/pattern.py; one that is shorter than a block
has the number that is its name.
"""

import contextlib
import os
import tempfile
from dataclasses import dataclass

from .servers.pattern import BLOCK, content

MEMORY = ("tmpfs", "ramfs", "devtmpfs")
PIECE = 256  # blocks that are written at a time


@dataclass(frozen=True)
class Files:
    """How many of which size, and whether the page cache has them."""

    count: int
    size: int
    cached: bool = True


@dataclass(frozen=True)
class Written:
    """A file, named by its path in the folder: so many times the content."""

    path: str
    content: bytes
    times: int = 1


@dataclass(frozen=True)
class Contents:
    """Files that are said one by one."""

    files: tuple[Written, ...]


@contextlib.contextmanager
def made(files, parent):
    """The path of a folder with the files in it."""
    kind = file_system(parent)
    if kind in MEMORY:
        raise SystemExit(f"{parent} is on {kind}: name a folder on a disk with BENCHMARKS_BUILD=...")
    with tempfile.TemporaryDirectory(dir=parent, prefix="data-") as folder:
        if isinstance(files, Contents):
            for file in files.files:
                write(os.path.join(folder, file.path), file)
        else:
            for number in range(files.count):
                make(os.path.join(folder, str(number)), number, files)
        os.sync()  # what is still to be written would disturb the measurement
        yield folder


def write(path, written):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        for _ in range(written.times):
            file.write(written.content)


def make(path, number, files):
    with open(path, "wb") as file:
        if files.size < BLOCK:
            file.write(content(number)[: files.size])
            return
        blocks = files.size // BLOCK
        for first in range(0, blocks, PIECE):
            file.write(b"".join(content(block) for block in range(first, min(first + PIECE, blocks))))
        file.flush()
        os.fsync(file.fileno())
        if not files.cached:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def file_system(path):
    """The kind of file system that a path is on, as /proc/mounts calls it."""
    path = os.path.realpath(path)
    found = ("", "unknown")
    with open("/proc/mounts") as mounts:
        for line in mounts:
            _, where, kind, *_ = line.split()
            if len(where) >= len(found[0]) and (path + "/").startswith(where.rstrip("/") + "/"):
                found = (where, kind)
    return found[1]
