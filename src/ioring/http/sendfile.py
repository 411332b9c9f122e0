"""Sending of files: from the page cache into the socket, without passing through this process.

A ``Sending`` owns the file, and a descriptor of its own for the client's socket; both are closed when it is over, which
the exchange tells it. What is received meanwhile goes its usual way.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Sequence

from ioring.http._exchange import Exchange
from ioring.http.open_file_cache import with_room

SLICE = 1 << 20
"""Bytes that are sent without a break; then other connections have their turn."""

COPIED = 1 << 17
"""Bytes that are read at a time where the kernel cannot send the file by itself: on TLS connections."""

GONE = {
    *(errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, errno.ETIMEDOUT),
    *(errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN),
}
"""Errors that say that the client or the network has gone: the file is not to blame."""


class File:
    """An open file, closed with the last reference to it."""

    __slots__ = ("descriptor", "status")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.status = os.fstat(descriptor)

    def __del__(self) -> None:
        os.close(self.descriptor)


Part = bytes | tuple[int, int]


class Sending:
    """Sends the body of a response that has been started with a content-length.

    Parameters:
        exchange: the Exchange.
        file: a ``File``.
        parts: what the body consists of: bytes, and pairs of an offset in the file and a size.
        done: called without arguments when it is over, however that was; or None.
    """

    def __init__(
        self, exchange: Exchange, file: File, parts: Sequence[Part], done: Callable[[], object] | None = None
    ) -> None:
        self.exchange: Exchange | None = exchange
        self.connection = exchange.connection
        self.file: File | None = file
        self.parts = list(parts)
        self.done = done
        self.loop = exchange.service.loop
        self.socket = -1
        self.sent = -1  # of the body: the head is not part of it
        self.waiting = False
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """
        Raises:
            OSError: there is no descriptor left; nothing has been sent yet.
        """
        exchange, connection = self.exchange, self.connection
        assert exchange is not None
        transport = connection.transport
        kernel_sends = connection.scheme != "https"
        if kernel_sends:
            self.socket = with_room(self.loop, duplicate, transport)
        try:
            head = exchange.open_body()
        except BaseException:
            self.end()
            raise
        exchange.arrival = self.arrived
        self.sent = -len(head)
        self.parts = [head, *self.parts] if not exchange.bodyless else [head]
        if not kernel_sends:
            self.task = self.loop.create_task(self.copy())
        elif self.socket < 0 or transport.is_closing():
            pass  # the client has gone, which the exchange is told in a moment
        elif transport.get_write_buffer_size():
            # Earlier responses are not with the kernel yet.
            transport.set_write_buffer_limits(high=0)
            future = connection.drain()
            if future is None:
                self.begin()
            else:
                future.add_done_callback(self.begin)
        else:
            self.begin()

    def begin(self, _: object = None) -> None:
        """All responses before this one are with the kernel: sends head and file."""
        if self.connection is None:
            return
        transport = self.connection.transport
        if transport is None:
            return
        transport.set_write_buffer_limits()
        self.go_on()

    def go_on(self) -> None:
        if self.file is None:
            return None  # it is over
        left = SLICE
        rest: Part
        while self.parts and left > 0 and self.socket >= 0:
            part = self.parts[0]
            try:
                if isinstance(part, bytes):
                    done = os.write(self.socket, part)
                    rest = part[done:]
                    over = not rest
                else:
                    offset, size = part
                    done = os.sendfile(self.socket, self.file.descriptor, offset, min(size, left)) if size else 0
                    if done == 0 and size:
                        return self.fail(f"the file ended {size} bytes too early: it is shorter than it was")
                    rest = (offset + done, size - done)
                    over = size == done
            except InterruptedError:
                continue
            except BlockingIOError:
                return self.wait()
            except OSError as error:
                return self.fail(None if error.errno in GONE else f"the file cannot be sent: {error.strerror}")
            self.sent += done
            left -= done
            if over:
                self.parts.pop(0)
            else:
                self.parts[0] = rest
        if self.socket < 0:
            return None
        if self.parts:
            self.settle()
            self.loop.call_soon(self.go_on)
            return None
        return self.finish()

    def wait(self) -> None:
        """Goes on when the socket takes more; until then the connection's `write_timeout` runs."""
        if not self.waiting:
            try:
                self.loop.add_writer(self.socket, self.go_on)
            except OSError as error:
                return self.fail(f"the file cannot be sent: {error.strerror}")
            self.waiting = True
        self.connection.pause_writing()
        return None

    def settle(self) -> None:
        if self.waiting:
            self.waiting = False
            self.loop.remove_writer(self.socket)
            self.connection.resume_writing()

    async def copy(self) -> None:
        """Reads the file in threads and writes it, where the kernel cannot send it by itself."""
        file = self.file  # a thread reads it, also while the client leaves
        assert file is not None
        try:
            for part in self.parts:
                if self.connection is None:
                    return None
                if isinstance(part, bytes):
                    await self.write(part)
                    continue
                offset, size = part
                while size and self.connection is not None:
                    data = await self.loop.run_in_executor(None, os.pread, file.descriptor, min(size, COPIED), offset)
                    if not data:
                        return self.fail(f"the file ended {size} bytes too early: it is shorter than it was")
                    await self.write(data)
                    offset += len(data)
                    size -= len(data)
            return self.finish()
        except OSError as error:
            return self.fail(None if error.errno in GONE else f"the file cannot be sent: {error.strerror}")

    async def write(self, data: bytes) -> None:
        connection = self.connection
        if connection is None or connection.transport is None or connection.transport.is_closing():
            return
        connection.transport.write(data)
        self.sent += len(data)
        future = connection.drain()
        if future is not None:
            await future

    def arrived(self) -> None:
        """More of the request was received, which nobody reads; or the client has gone."""
        if self.exchange is not None and self.exchange.finished:
            self.end()
        elif self.exchange is not None:
            self.exchange.take()

    def fail(self, message: str | None) -> None:
        """The response cannot be completed: closes the connection at once."""
        exchange, connection = self.exchange, self.connection
        if exchange is None:
            return
        if message is not None:
            exchange.service.trouble(exchange, message, None)
        self.end()
        # The connection is told of its end a little later. What the application says until then does not count, so
        # that it is not blamed for a response that is too short.
        exchange.refuse(503)
        connection.abandon()

    def finish(self) -> None:
        exchange, sent = self.exchange, self.sent
        self.end()
        if exchange is not None:
            exchange.arrival = None
            exchange.close_body(sent)

    def end(self) -> None:
        if self.socket >= 0:
            if self.connection.transport is not None:
                self.settle()
            elif self.waiting:
                self.loop.remove_writer(self.socket)
            os.close(self.socket)
            self.socket = -1
        self.file = self.exchange = self.connection = None
        if self.done is not None:
            done, self.done = self.done, None
            done()


def duplicate(transport: asyncio.Transport) -> int:
    """A descriptor of our own for a client's socket; -1 when that is closed already."""
    sock = transport.get_extra_info("socket")
    descriptor = -1 if sock is None else sock.fileno()
    return descriptor if descriptor < 0 else os.dup(descriptor)


def send_path(exchange: Exchange, path: str | os.PathLike[str]) -> asyncio.Future[None]:
    """The file of a ``http.response.pathsend``; a future that is done when it is sent.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no ordinary file, or shorter than the length that was announced.
    """
    # What else a name may be is not waited for: for a FIFO that is its other end.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = with_room(exchange.service.loop, os.open, path, flags)
    file = File(descriptor)
    if not stat.S_ISREG(file.status.st_mode):
        raise ValueError(f"{os.fsdecode(path)} is no ordinary file")
    size = length_of(exchange, file.status.st_size, os.fsdecode(path))
    return sent(exchange, file, [(0, size)])


def sent(exchange: Exchange, file: File, parts: Sequence[Part]) -> asyncio.Future[None]:
    """Begins to send; returns a future that is done when it is over, however that was.

    Raises:
        OSError: there is no descriptor left; nothing has been sent yet.
    """
    future: asyncio.Future[None] = exchange.service.loop.create_future()

    def done() -> None:
        if not future.done():
            future.set_result(None)

    Sending(exchange, file, parts, done).start()
    return future


def length_of(exchange: Exchange, size: int, name: str) -> int:
    """How many bytes of a file are sent: the content-length that the response has, or all, and then it is added.

    Raises:
        ValueError: the content-length is larger than the file.
    """
    announced = exchange.announced()
    if announced < 0:
        exchange.add_header(b"content-length", b"%d" % size)
        return size
    if announced > size:
        raise ValueError(f"{name} has {size} bytes, fewer than the content-length {announced}")
    return announced
