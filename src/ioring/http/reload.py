"""Watches files for ``--reload``, in a process of its own, so that the one that forks has no threads."""

import fnmatch
import os
import signal

from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError

INCLUDED = ("*.py",)
PARENT_CHECK_MS = 1000


def check(configuration: Configuration) -> None:
    """
    Raises:
        ConfigurationError: watchfiles is not there, or a folder.
    """
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise ConfigurationError("reload needs watchfiles: pip install watchfiles") from None
    for folder in configuration.reload_dir:
        if not os.path.isdir(folder):
            raise ConfigurationError(f"reload_dir: {folder}: no such folder")


def watch(configuration: Configuration, pipe: int) -> None:
    """Writes the name of a file that has changed, and a zero byte, into a pipe; returns when the parent is gone."""
    import watchfiles

    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = os.getppid()
    included = configuration.reload_include or INCLUDED

    class Included(watchfiles.DefaultFilter):
        def __call__(self, change: watchfiles.Change, path: str) -> bool:
            name = os.path.basename(path)
            return super().__call__(change, path) and any(fnmatch.fnmatch(name, glob) for glob in included)

    folders = configuration.reload_dir or (configuration.app_dir or ".",)
    if os.getppid() != parent:
        return
    for changes in watchfiles.watch(
        *folders,
        watch_filter=Included(),
        debounce=200,
        step=50,
        rust_timeout=PARENT_CHECK_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
    ):
        if os.getppid() != parent:
            return
        if changes:
            path = min(path for _, path in changes)
            os.write(pipe, os.fsencode(os.path.relpath(path)) + b"\0")
