from ioring.aiofiles import tempfile as tempfile
from ioring.aiofiles.threadpool import open as open
from ioring.aiofiles.threadpool import stderr as stderr
from ioring.aiofiles.threadpool import stderr_bytes as stderr_bytes
from ioring.aiofiles.threadpool import stdin as stdin
from ioring.aiofiles.threadpool import stdin_bytes as stdin_bytes
from ioring.aiofiles.threadpool import stdout as stdout
from ioring.aiofiles.threadpool import stdout_bytes as stdout_bytes

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
