"""``Path.info``: what kind of file a path leads to, asked for once."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from ioring.files import os_calls as calls

if TYPE_CHECKING:
    import pathlib


class PathInfo:
    """What is known of the kind of a file (``pathlib.types.PathInfo``).

    Each method is awaited, and asks the file system once: later changes are not seen. An error of any kind means no.
    """

    __slots__ = ("_modes", "_path")

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._modes: dict[bool, int] = {}

    def __repr__(self) -> str:
        return f"<ioring.{type(self).__name__} of {str(self._path)!r}>"

    async def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is there."""
        return await self._mode(follow_symlinks) != 0

    async def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(await self._mode(follow_symlinks))

    async def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is an ordinary file."""
        return stat.S_ISREG(await self._mode(follow_symlinks))

    async def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(await self._mode(False))

    async def _mode(self, follow_symlinks: bool) -> int:
        follow = bool(follow_symlinks)
        mode = self._modes.get(follow)
        if mode is None:
            try:
                mode = (await calls.stat(self._path, follow_symlinks=follow)).st_mode
            except (OSError, ValueError):
                mode = 0
            self._modes[follow] = mode
        return mode
