"""``aiofiles.os``: functions of the ``os`` module."""

from ioring.aiofiles import _functions
from ioring.aiofiles import ospath as path
from ioring.aiofiles.base import wrap

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

access = _functions.of_os("access")
getcwd = _functions.of_os("getcwd")
link = _functions.of_os("link")
listdir = _functions.of_os("listdir")
makedirs = _functions.of_os("makedirs")
mkdir = _functions.of_os("mkdir")
readlink = _functions.of_os("readlink")
remove = _functions.of_os("remove")
removedirs = _functions.of_os("removedirs")
rename = _functions.of_os("rename")
renames = _functions.of_os("renames")
replace = _functions.of_os("replace")
rmdir = _functions.of_os("rmdir")
scandir = _functions.of_os("scandir")
sendfile = _functions.of_os("sendfile")
stat = _functions.of_os("stat")
statvfs = _functions.of_os("statvfs")
symlink = _functions.of_os("symlink")
unlink = _functions.of_os("unlink")
