"""``Path.info``: what kind of file a path leads to, asked for once."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from ioring.files import os_calls as calls

if TYPE_CHECKING:
    import pathlib


class Kind:
    """Questions after the kind of a file, of which an heir knows the mode."""

    __slots__ = ()

    async def _mode(self, follow_symlinks: bool = True) -> int:
        """The mode (``st_mode``); 0 when nothing is there."""
        raise NotImplementedError

    async def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is there (``pathlib.Path.exists``)."""
        return await self._mode(follow_symlinks) != 0

    async def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder (``pathlib.Path.is_dir``)."""
        return stat.S_ISDIR(await self._mode(follow_symlinks))

    async def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is an ordinary file (``pathlib.Path.is_file``)."""
        return stat.S_ISREG(await self._mode(follow_symlinks))

    async def is_symlink(self) -> bool:
        """Whether it is a symbolic link (``pathlib.Path.is_symlink``)."""
        return stat.S_ISLNK(await self._mode(False))


async def mode_of(path: pathlib.Path, follow_symlinks: bool) -> int:
    """The mode of a file; 0 when it is not there, or may not be looked at: opening it says why."""
    try:
        return (await calls.stat(path, follow_symlinks=follow_symlinks)).st_mode
    except (OSError, ValueError):
        return 0


class PathInfo(Kind):
    """What is known of the kind of a file (``pathlib.types.PathInfo``).

    Each method is awaited, and asks the file system once: later changes are not seen. An error of any kind means no.
    """

    __slots__ = ("_modes", "_path")

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._modes: dict[bool, int] = {}

    def __repr__(self) -> str:
        return f"<ioring.{type(self).__name__} of {str(self._path)!r}>"

    async def _mode(self, follow_symlinks: bool = True) -> int:
        follow = bool(follow_symlinks)
        mode = self._modes.get(follow)
        if mode is None:
            mode = self._modes[follow] = await mode_of(self._path, follow)
        return mode
