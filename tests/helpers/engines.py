"""The engines that work for files: functions that run a coroutine on each of them, and files to try."""

import asyncio
import contextlib
import importlib
import os
import subprocess

import pytest

import ioring
import needed
from ioring.files import engine
from rings import WAIT_S, wait_until


def run_here(main):
    return ioring.run(asyncio.wait_for(main, WAIT_S))


def run_direct(main):
    """On a loop with a file table."""
    with asyncio.Runner(loop_factory=lambda: ioring.Loop(direct_descriptors=True)) as runner:
        return runner.run(asyncio.wait_for(main, WAIT_S))


def run_beside(main):
    """On asyncio's own loop, with a ring on its side."""
    return asyncio.run(asyncio.wait_for(main, WAIT_S))


def run_in_threads(main):
    """As where there is no ring."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "RingSide", engine.ThreadSide)
        return asyncio.run(asyncio.wait_for(main, WAIT_S))


def run_on_uvloop(main):
    uvloop = importlib.import_module("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(main, WAIT_S))


ENGINES = {"loop": run_here, "direct": run_direct, "side": run_beside, "threads": run_in_threads}
ENGINES_AND_UVLOOP = {**ENGINES, "uvloop": run_on_uvloop}


def uncached(path):
    """Takes a file out of the page cache, so that reading it has to wait."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def mounted(kind, where, *options, source="none"):
    """Mounts something, for root; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run(
        [needed.program("mount"), "-t", kind, *options, source, where], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        unmount(where)


def unmount(where):
    """The kernel may have files of a ring that is closed for a moment longer."""

    def unmounted():
        done = subprocess.run(["umount", where], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "busy" in done.stderr, done.stderr
        return done.returncode == 0

    wait_until(unmounted)


def result_of(function, *arguments, **options):
    """What a call returned, or what it raised, so that two can be compared."""
    try:
        return function(*arguments, **options)
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        return failure(error)


async def result_of_async(function, *arguments, **options):
    try:
        return await function(*arguments, **options)
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        return failure(error)


def failure(error):
    if isinstance(error, OSError):
        return type(error), error.errno, error.filename, error.filename2
    return (type(error),)


def snapshot(folder):
    """Everything under a folder: kinds, modes, contents, numbers of links."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(root, name)
            status = os.lstat(path)
            content = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif name in files:
                with open(path, "rb") as file:
                    content = file.read()
            links = status.st_nlink if name in files else 0
            found[os.path.relpath(path, folder)] = (status.st_mode, links, content)
    return found
