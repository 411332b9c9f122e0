"""``aiofiles`` without threads: ``import ioring.aiofiles as aiofiles``.

The modules, names, parameters and results are those of aiofiles 25.1. ``loop`` and ``executor`` are accepted, and mean
something only where a call goes through an executor. docs/guides/from-aiofiles.md says what is different.
"""

from ioring.aiofiles import tempfile
from ioring.aiofiles.threadpool import open, stderr, stderr_bytes, stdin, stdin_bytes, stdout, stdout_bytes

__all__ = [
    "open",
    "stderr",
    "stderr_bytes",
    "stdin",
    "stdin_bytes",
    "stdout",
    "stdout_bytes",
    "tempfile",
]
