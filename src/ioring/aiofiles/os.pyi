import os
from asyncio import AbstractEventLoop
from concurrent.futures import Executor
from typing import Any

from _typeshed import StrOrBytesPath as _Path
from _typeshed import StrPath

from ioring.aiofiles import ospath as path
from ioring.aiofiles.base import wrap as wrap

__all__ = [
    "access",
    "getcwd",
    "link",
    "listdir",
    "makedirs",
    "mkdir",
    "path",
    "readlink",
    "remove",
    "removedirs",
    "rename",
    "renames",
    "replace",
    "rmdir",
    "scandir",
    "sendfile",
    "stat",
    "statvfs",
    "symlink",
    "unlink",
    "wrap",
]

async def access(
    path: _Path,
    mode: int,
    *,
    dir_fd: int | None = None,
    effective_ids: bool = False,
    follow_symlinks: bool = True,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> bool: ...
async def getcwd(*, loop: AbstractEventLoop | None = None, executor: Executor | None = None) -> str: ...
async def link(
    src: _Path,
    dst: _Path,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    follow_symlinks: bool = True,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> None: ...
async def listdir(
    path: StrPath | int | None = None, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> list[str]: ...
async def makedirs(
    name: _Path,
    mode: int = 0o777,
    exist_ok: bool = False,
    *,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> None: ...
async def mkdir(
    path: _Path,
    mode: int = 0o777,
    *,
    dir_fd: int | None = None,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> None: ...
async def readlink(
    path: StrPath, *, dir_fd: int | None = None, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> str: ...
async def remove(
    path: _Path, *, dir_fd: int | None = None, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> None: ...
async def removedirs(
    name: _Path, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> None: ...
async def rename(
    src: _Path,
    dst: _Path,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> None: ...
async def renames(
    old: _Path, new: _Path, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> None: ...
async def replace(
    src: _Path,
    dst: _Path,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> None: ...
async def rmdir(
    path: _Path, *, dir_fd: int | None = None, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> None: ...
async def scandir(
    path: StrPath | int | None = None, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> Any: ...
async def sendfile(
    out_fd: int,
    in_fd: int,
    offset: int | None,
    count: int,
    *,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> int: ...
async def stat(
    path: _Path | int,
    *,
    dir_fd: int | None = None,
    follow_symlinks: bool = True,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> os.stat_result: ...
async def statvfs(
    path: _Path | int, *, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> os.statvfs_result: ...
async def symlink(
    src: _Path,
    dst: _Path,
    target_is_directory: bool = False,
    *,
    dir_fd: int | None = None,
    loop: AbstractEventLoop | None = None,
    executor: Executor | None = None,
) -> None: ...
async def unlink(
    path: _Path, *, dir_fd: int | None = None, loop: AbstractEventLoop | None = None, executor: Executor | None = None
) -> None: ...
