"""The threads of a WSGI application, and what of WSGI is used now and then: long bodies, files."""

import asyncio
import contextlib
import io
import math
import os
import stat
import sys
import threading

from ioring.http._wsgi_gateway import Gateway

SMALL_FILE = 65536
"""A file of up to so many bytes is read and sent like any body."""

PIECE = 262144
"""So much of a file is sent under one time-out."""


class Threads:
    """Runs a WSGI application in threads of this process.

    Parameters:
        application: the WSGI application.
        count: how many threads; 0: four more than there are CPUs, at most 32.
        loop: the event loop of the server.
        root_path: SCRIPT_NAME.
        several: whether other processes run the application, too.
    """

    def __init__(self, application, count, loop, root_path="", several=False):
        gateway = self.gateway = Gateway(application, loop)
        gateway.base = {
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
        gateway.stream = lambda call: io.BufferedReader(Body(call), 65536)
        gateway.wrapper = FileWrapper
        gateway.send_file = send_file
        gateway.start_file = self._start_file
        self._loop = loop
        self._files = set()
        self._ended = asyncio.Event()
        self._left = count or min(32, 4 + len(os.sched_getaffinity(0)))
        self._threads = [
            threading.Thread(target=self._run, name=f"wsgi-{number}", daemon=True) for number in range(self._left)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self):
        self.gateway.work()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server did not wait for this thread
            self._loop.call_soon_threadsafe(self._one_ended)

    def _one_ended(self):
        self._left -= 1
        if self._left == 0:
            self._ended.set()

    async def close(self, within):
        """Returns when all threads have ended; whether they have within so many seconds.

        One that has not goes on until the process ends.
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

    def abandon(self):
        """Nobody waits for the applications any longer."""
        self.gateway.abandon()
        self._ended.set()

    # Files.

    def _start_file(self, call, file, offset, count):
        task = self._loop.create_task(self._send_file(call, file, offset, count))
        self._files.add(task)
        task.add_done_callback(self._files.discard)

    async def _send_file(self, call, file, offset, count):
        exchange = call.exchange
        connection = exchange.connection
        try:
            if connection is None:
                return  # the client has gone before this began
            headers = call.headers
            lengths = [value for name, value in headers if name.lower() == b"content-length"]
            if not lengths:
                headers = [*headers, (b"content-length", b"%d" % count)]
            elif lengths[0].isdigit():
                count = min(count, int(lengths[0]))
            exchange.start(call.status, headers)
            exchange.line = call.line
            if exchange.method == "HEAD" or call.status in (204, 304):
                count = 0
            exchange.write(b"", more=count > 0)
            timeout = exchange.service.write_timeout
            timeout = None if math.isinf(timeout) else timeout
            left = count
            while left:
                transport = connection.transport
                if transport is None or transport.is_closing():
                    cut_off(exchange, connection)
                    return
                sent = await asyncio.wait_for(self._loop.sendfile(transport, file, offset, min(left, PIECE)), timeout)
                if not sent:
                    break  # the file was cut off meanwhile
                call.passed(sent)
                offset += sent
                left -= sent
            if count:
                exchange.write(b"")
        except ConnectionError:
            cut_off(exchange, connection)  # the client has gone, and nobody minds
        except (OSError, RuntimeError, ValueError) as error:
            transport = connection.transport
            if transport is None or transport.is_closing():
                cut_off(exchange, connection)
            elif exchange.connection is not None:
                exchange.service.trouble(
                    exchange, f"a file cannot be sent: {error or 'the client takes nothing'}", None
                )
                exchange.refuse(500)
        finally:
            call.file_sent()


def cut_off(exchange, connection):
    """Ends a response whose client has gone.

    The connection is told of that a little later. Until then the thread may say that its part is done, which must not
    count as a response that is too short.
    """
    if exchange.connection is not None:
        exchange.refuse(500)
    connection.abandon()


class Body(io.RawIOBase):
    """A request's body, while it comes."""

    def __init__(self, call):
        self._call = call
        self._rest = memoryview(b"")
        self._ended = False

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self._rest and not self._ended:
            self._rest = memoryview(self._call.more())
            self._ended = not self._rest
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class FileWrapper:
    """``wsgi.file_wrapper``: an iterable of a file's blocks; of a real file the kernel sends them."""

    def __init__(self, filelike, blksize=8192):
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self.blksize)
        if not data:
            raise StopIteration
        return data


def send_file(call, wrapper):
    """Sends a wrapper's file without reading it, in the thread; whether that can be done."""
    file = wrapper.filelike
    try:
        status = os.fstat(file.fileno())
        offset = file.tell()
    except (AttributeError, OSError, ValueError):
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_size - offset <= SMALL_FILE:
        return False
    if not hasattr(file, "readinto") or not hasattr(file, "seek"):  # loops that cannot send files read them
        return False
    call.hand_file(file, offset, status.st_size - offset)
    return True
