"""The threads of a WSGI application, and what of WSGI is used now and then: long content, files."""

import asyncio
import contextlib
import io
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ioring.http._wsgi_gateway import Call, Gateway
from ioring.http.open_file_cache import with_room
from ioring.http.sendfile import File, Sending, length_of

SMALL_FILE = 65536
"""A file of up to this many bytes is read and sent like any other content."""


class ThreadGateway(Gateway):
    """The gateway, with what of WSGI is used now and then: content that is read while it comes, and files."""

    def open_body(self, call: Call) -> io.BufferedReader:
        return io.BufferedReader(Body(call), 65536)

    def send_file(self, call: Call, result: Any) -> bool:
        file = result.filelike
        try:
            status = os.fstat(file.fileno())
            offset = file.tell()
        except (AttributeError, OSError, ValueError):
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_size - offset <= SMALL_FILE:
            return False
        call.hand_file(file, offset, status.st_size - offset)
        return True

    def start_file(self, call: Call, file: Any, offset: int, count: int) -> None:
        exchange = call.exchange
        try:
            # A descriptor of its own: the application may close its file as soon as nobody waits for the response.
            descriptor = with_room(self.loop, os.dup, file.fileno())
            part = File(descriptor)
            exchange.start(call.status, call.headers)
            exchange.line = call.line
            size = length_of(exchange, count, "the file")
            Sending(exchange, part, [(offset, size)], call.file_sent).start()
        except (OSError, RuntimeError, ValueError) as error:
            exchange.service.trouble(exchange, f"a file cannot be sent: {error}", None)
            exchange.refuse(500)
            call.file_sent()


class Threads:
    """Runs a WSGI application in threads of this process.

    Parameters:
        application: the WSGI application.
        count: how many threads; 0: four more than there are CPUs, at most 32.
        loop: the event loop of the server.
        root_path: SCRIPT_NAME.
        several: whether other processes run the application, too.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        count: int,
        loop: asyncio.AbstractEventLoop,
        root_path: str = "",
        several: bool = False,
    ) -> None:
        base = {
            "SCRIPT_NAME": root_path,
            "SERVER_SOFTWARE": "ioring",
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": several,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
        }
        self.gateway = ThreadGateway(application, loop, base, FileWrapper)
        self._loop = loop
        self._ended = asyncio.Event()
        self._left = count or min(32, 4 + len(os.sched_getaffinity(0)))
        self._threads = [
            threading.Thread(target=self._run, name=f"wsgi-{number}", daemon=True) for number in range(self._left)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        self.gateway.work()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server did not wait for this thread
            self._loop.call_soon_threadsafe(self._one_ended)

    def _one_ended(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._ended.set()

    async def close(self, within: float | None) -> bool:
        """Waits until all threads have ended, for ``within`` seconds at most; returns whether they have.

        A thread that has not goes on until the process ends.
        """
        self.gateway.close()
        try:
            await asyncio.wait_for(self._ended.wait(), within)
        except TimeoutError:
            self.gateway.abandon()
            return False
        for thread in self._threads:
            thread.join()
        return True

    def abandon(self) -> None:
        """Nobody waits for the applications any longer."""
        self.gateway.abandon()
        self._ended.set()


class Body(io.RawIOBase):
    """The content of a request, while it is received."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._rest = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest and not self._ended:
            self._rest = memoryview(self._call.more())
            self._ended = not self._rest
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class FileWrapper:
    """``wsgi.file_wrapper``: an iterable of a file's blocks; real files are sent by the kernel."""

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data: bytes = self.filelike.read(self.blksize)
        if not data:
            raise StopIteration
        return data
