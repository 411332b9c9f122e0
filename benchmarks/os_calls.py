"""What calls of the os module cost in a coroutine: at once in the loop's thread, as a request of the ring, in a thread.

    python -m benchmarks.os_calls [--calls N] [FOLDER...]

Names and attributes are in the kernel's caches. Each row is a call, on new names where it makes or removes them;
microseconds per call, the best of seven rounds, with one task and with 64. ioring.os chose by this table; the column
"ioring.os" is what came of it.
"""

import argparse
import asyncio
import os
import resource
import shutil
import tempfile
import time

import ioring
from ioring.files._operations import (
    AT_FDCWD,
    AT_REMOVEDIR,
    ftruncate,
    linkat,
    mkdirat,
    openat,
    renameat,
    symlinkat,
    unlinkat,
)
from ioring.files._path_requests import stat
from ioring.files.engine import running

ROUNDS = 7

name = os.fsencode


def statx(engine, path):
    """By a request only as far as the kernel does not have the answer in its caches."""
    return stat(engine, path, AT_FDCWD, name(path), True)


def rename(engine, old, new):
    return renameat(engine, AT_FDCWD, name(old), AT_FDCWD, name(new))


def unlink(engine, path, flags=0):
    return unlinkat(engine, AT_FDCWD, name(path), flags)


def mkdir(engine, path):
    return mkdirat(engine, AT_FDCWD, name(path), 0o777)


def symlink(engine, target, path):
    return symlinkat(engine, name(target), AT_FDCWD, name(path))


def link(engine, old, new):
    return linkat(engine, AT_FDCWD, name(old), AT_FDCWD, name(new), 0)


def create(path):
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)


async def ring_create(engine, path):
    os.close(await openat(engine, AT_FDCWD, name(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


async def ring_open(engine, path):
    os.close(await openat(engine, AT_FDCWD, name(path), os.O_RDONLY, 0))


def plain_open(path):
    os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))


OPENED = {}


def keep_open(path):
    OPENED[path] = os.open(path, os.O_WRONLY | os.O_CLOEXEC)


def ring_ftruncate(engine, fd, size):
    return ftruncate(engine, fd, size)


async def ring_truncate(engine, path, size):
    fd = await openat(engine, AT_FDCWD, name(path), os.O_WRONLY, 0)
    await ring_ftruncate(engine, fd, size)
    os.close(fd)


# What is done, in this order, to each of the names: the call, the request, the function of ioring.os; each is given
# the path and another that does not exist.
CALLS = [
    ("open(O_CREAT), close", lambda p, q: os.close(create(p)), lambda e, p, q: ring_create(e, p), None),
    ("open, close", lambda p, q: plain_open(p), lambda e, p, q: ring_open(e, p), None),
    ("stat", lambda p, q: os.stat(p), lambda e, p, q: statx(e, p), "stat"),
    ("stat, missing", lambda p, q: exists(q), lambda e, p, q: missing(statx(e, q)), "path.exists"),
    ("access", lambda p, q: os.access(p, os.R_OK), None, "access"),
    ("chmod", lambda p, q: os.chmod(p, 0o600), None, "chmod"),
    ("utime", lambda p, q: os.utime(p), None, "utime"),
    ("statvfs", lambda p, q: os.statvfs(p), None, "statvfs"),
    ("link", os.link, link, "link"),
    ("unlink", lambda p, q: os.unlink(q), lambda e, p, q: unlink(e, q), "unlink"),
    ("symlink", os.symlink, symlink, "symlink"),
    ("readlink", lambda p, q: os.readlink(q), None, "readlink"),
    ("unlink, a symlink", lambda p, q: os.unlink(q), lambda e, p, q: unlink(e, q), "unlink"),
    ("rename", os.rename, rename, "rename"),
    ("rename, back", lambda p, q: os.rename(q, p), lambda e, p, q: rename(e, q, p), "rename"),
    ("truncate", lambda p, q: os.truncate(p, 100), lambda e, p, q: ring_truncate(e, p, 100), "truncate"),
    ("open, kept", lambda p, q: keep_open(p), None, None),
    (
        "truncate, a descriptor",
        lambda p, q: os.truncate(OPENED[p], 50),
        lambda e, p, q: ring_ftruncate(e, OPENED[p], 50),
        "truncate",
    ),
    ("close, kept", lambda p, q: os.close(OPENED.pop(p)), None, None),
    ("mkdir", lambda p, q: os.mkdir(q), lambda e, p, q: mkdir(e, q), "mkdir"),
    ("rmdir", lambda p, q: os.rmdir(q), lambda e, p, q: unlink(e, q, AT_REMOVEDIR), "rmdir"),
    ("unlink, the last", lambda p, q: os.unlink(p), lambda e, p, q: unlink(e, p), "unlink"),
]
WITH_SECOND = {"link", "symlink", "rename"}
ON_SECOND = {"stat, missing", "unlink", "readlink", "unlink, a symlink", "mkdir", "rmdir"}


def exists(path):
    try:
        os.stat(path)
    except FileNotFoundError:
        pass


async def missing(request):
    try:
        await request
    except FileNotFoundError:
        pass


def by_library(row, names):
    """The function of ioring.os for a row, on one pair of names."""
    function = ioring.os
    for part in names.split("."):
        function = getattr(function, part)
    more = {"access": (os.R_OK,), "chmod": (0o600,), "truncate": (100,)}.get(row, ())
    if row == "truncate, a descriptor":
        return lambda p, q: function(OPENED[p], 50)
    if row == "rename, back":
        return lambda p, q: function(q, p)
    if row in WITH_SECOND:
        return function
    if row in ON_SECOND:
        return lambda p, q: function(q)
    return lambda p, q: function(p, *more)


async def spread(tasks, work, items):
    """Works on the items in so many tasks; microseconds for each."""

    async def worker():
        for item in iterator:
            await work(*item)

    iterator = iter(items)
    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(tasks)))
    return (time.perf_counter() - began) * 1e6 / len(items)


async def measure(folder, calls):
    """Row by row: {(row, column, tasks): [microseconds]}."""
    engine = running()
    loop = asyncio.get_running_loop()
    times = {}
    for _ in range(ROUNDS):
        for tasks in (1, 64):
            for column in ("at once", "ring", "thread", "ioring.os"):
                home = tempfile.mkdtemp(dir=folder)
                pairs = [(f"{home}/{number}", f"{home}/{number}.other") for number in range(calls)]
                for row, plain, request, library in CALLS:

                    async def at_once(p, q, plain=plain):
                        plain(p, q)

                    async def in_thread(p, q, plain=plain):
                        await loop.run_in_executor(None, plain, p, q)

                    async def by_ring(p, q, request=request):
                        await request(engine, p, q)

                    work = {"at once": at_once, "ring": by_ring if request else None, "thread": in_thread}.get(column)
                    if column == "ioring.os":
                        work = by_library(row, library) if library and hasattr(ioring, "os") else None
                    if work is None:
                        for p, q in pairs:
                            plain(p, q)
                    else:
                        times.setdefault((row, column, tasks), []).append(await spread(tasks, work, pairs))
                shutil.rmtree(home)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", default=["/dev/shm", "."])
    parser.add_argument("--calls", type=int, default=1000)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the files that are kept open
    for folder in options.folders:
        times = ioring.run(measure(folder, options.calls))
        columns = ["at once", "ring", "thread", "ioring.os"]
        print(f"\n{folder}: microseconds per call, one task / 64 tasks\n")
        print("| call |" + "".join(f" {column} |" for column in columns))
        print("|---|" + "---|" * len(columns))
        for row, *_ in CALLS:
            cells = []
            for column in columns:
                values = [min(times.get((row, column, tasks), [0])) for tasks in (1, 64)]
                cells.append(" / ".join(f"{value:.1f}" for value in values) if values[0] else "-")
            print(f"| {row} |" + "".join(f" {cell} |" for cell in cells))


if __name__ == "__main__":
    main()
