"""Files, links and whole folders copied and moved: ``Path.copy`` and ``Path.move``, as pathlib has them from 3.14 on.

Names are made and taken away by requests. What the ring has no operation for goes to the loop's executor: the names in
a folder, content, attributes. Each such call is over before a cancellation goes on.
"""

from __future__ import annotations

import errno
import os
import pathlib
import shutil
import stat
from functools import partial

from ioring.files import os_calls as calls
from ioring.files._path_requests import work
from ioring.files.copyfile import copy_content
from ioring.files.engine import running
from ioring.files.path_info import mode_of


async def copy(source: pathlib.Path, target: pathlib.Path, follow_symlinks: bool, preserve_metadata: bool) -> None:
    """Copies what is at a path.

    Raises:
        OSError: EINVAL: both are the same, or the target is in the source; EEXIST: a folder or a link would be made
            where something is already; and what the file system says.
    """
    if target == source:
        raise _error("the source and the target are the same path", source, target)
    if source in target.parents:
        raise _error("the target is in the source", source, target)
    left = [(source, target)]
    folders = []
    while left:
        source, target = left.pop()
        mode = await mode_of(source, follow_symlinks)
        if stat.S_ISLNK(mode):
            await calls.symlink(await calls.readlink(source), target)
        elif stat.S_ISDIR(mode):
            names = await calls.listdir(source)
            await calls.mkdir(target)
            left += [(source / name, target / name) for name in names]
            folders.append((source, target))
            continue
        else:
            await _refuse_same(source, target)
            await copy_content(source, target)
        if preserve_metadata:
            await _copy_attributes(source, target, follow_symlinks)
    if preserve_metadata:
        # Behind what is in them, which changes their times, and may not be made where they cannot be written to.
        for source, target in reversed(folders):
            await _copy_attributes(source, target, follow_symlinks)


async def move(source: pathlib.Path, target: pathlib.Path) -> None:
    """Gives it another name; copies it to another file system, with its attributes, and removes it here.

    Raises:
        OSError: EINVAL: both are the same; and what the file system says.
    """
    await _refuse_same(source, target)
    try:
        await calls.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    await copy(source, target, follow_symlinks=False, preserve_metadata=True)
    if stat.S_ISDIR(await mode_of(source, False)):
        await work(running(), partial(shutil.rmtree, source), True)
    else:
        await calls.unlink(source)


async def _refuse_same(source: pathlib.Path, target: pathlib.Path) -> None:
    try:
        same = await calls.path.samefile(source, target)
    except OSError:  # one of them is not there
        return
    if same:
        raise _error("the source and the target are the same file", source, target)


async def _copy_attributes(source: pathlib.Path, target: pathlib.Path, follow_symlinks: bool) -> None:
    await work(running(), partial(shutil.copystat, source, target, follow_symlinks=follow_symlinks), True)


def _error(text: str, source: pathlib.Path, target: pathlib.Path) -> OSError:
    return OSError(errno.EINVAL, text, os.fspath(source), None, os.fspath(target))
