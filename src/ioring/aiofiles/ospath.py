"""``aiofiles.ospath``: functions of the ``os.path`` module."""

from ioring.aiofiles import _functions
from ioring.aiofiles.base import wrap

__all__ = [
    "abspath",
    "exists",
    "getatime",
    "getctime",
    "getmtime",
    "getsize",
    "isdir",
    "isfile",
    "islink",
    "ismount",
    "samefile",
    "sameopenfile",
    "wrap",
]

abspath = _functions.of_path("abspath")
exists = _functions.of_path("exists")
getatime = _functions.of_path("getatime")
getctime = _functions.of_path("getctime")
getmtime = _functions.of_path("getmtime")
getsize = _functions.of_path("getsize")
isdir = _functions.of_path("isdir")
isfile = _functions.of_path("isfile")
islink = _functions.of_path("islink")
ismount = _functions.of_path("ismount")
samefile = _functions.of_path("samefile")
sameopenfile = _functions.of_path("sameopenfile")
