"""The fast path of asyncio's streams: StreamReader.read() and StreamWriter.drain().

A StreamReader that asyncio made for a connection of this loop is turned into one of the class below, which differs in
how it reads: when a task waits in read() and the buffer is empty, what arrives is given to the task as it is, without
passing through the buffer. Everything else is asyncio's.

This needs private names of asyncio's streams. They stand here and not in ``asyncio_private``, because read() and
drain() are called per message; tests/loop/test_asyncio_names.py checks them too.
"""

import asyncio
import weakref

from cython.cimports.cpython.bytes import PyBytes_GET_SIZE
from cython.cimports.cpython.exc import PyErr_WarnEx


class Feed(Filter):
    """Stands between a stream and the reader of its protocol."""

    def feed(self, data):
        read: Read = self.waiting
        if read is not None and PyBytes_GET_SIZE(data) <= read.limit and not read.future.done():
            self.waiting = None
            read.data = data
            read.future.set_result(None)
            return 0
        reader = self.reader_ref()
        if reader is not None:
            reader.feed_data(data)
        return 0

    def end(self):
        return bool(self.stream.call("eof_received", None))


class Read(Awaitable):
    """What read() returns."""

    def __dealloc__(self):
        if self.state == FRESH and self.feed is not None:
            PyErr_WarnEx(RuntimeWarning, b"coroutine 'StreamReader.read' was never awaited", 1)

    def __getattr__(self, name):
        return shown_as(self, "StreamReader", "read", name)

    def step(self):
        if self.state == FRESH:
            return self.begin()
        if self.state == DONE:
            raise RuntimeError("cannot reuse already awaited coroutine")
        self.state = DONE
        if self.feed.waiting is self:
            self.feed.waiting = None
        if self.data is None:
            self.future.result()  # raises if the connection was lost
            return self.taken()
        self.finished = True
        return self.data

    def begin(self):
        feed = self.feed
        reader = self.reader
        if not feed.quiet:
            self.state = DONE
            if reader._exception is not None:
                raise reader._exception
            if reader._buffer or reader._eof:
                return self.taken()
            if reader._waiter is not None:
                raise RuntimeError("read() called while another coroutine is already waiting for incoming data")
            if reader._paused:
                reader._paused = False
                reader._transport.resume_reading()
            feed.quiet = True
        if feed.waiting is not None:
            self.state = DONE
            raise RuntimeError("read() called while another coroutine is already waiting for incoming data")
        self.future = feed.stream.loop.create_future()
        self.state = WAITING
        feed.waiting = self
        return until(self.future)

    def taken(self):
        """The result: what is in the buffer, up to the limit."""
        buffer: bytearray = self.reader._buffer
        if len(buffer) <= self.limit:
            data = bytes(buffer)
            buffer.clear()
        else:
            data = bytes(buffer[: self.limit])
            del buffer[: self.limit]
        if self.reader._paused:
            self.reader._maybe_resume_transport()
        self.finished = True
        return data

    def leave(self):
        """Nobody waits any more: data that read() has been given already go back into the buffer."""
        if self.state == WAITING:
            if self.data is not None:
                self.feed.quiet = False
                self.reader._buffer[:0] = self.data
            if self.feed.waiting is self:
                self.feed.waiting = None
        self.state = DONE
        return 0


class StreamReader(asyncio.StreamReader):
    """asyncio's, of a connection of this loop."""

    _feed = None

    def read(self, n=-1):
        """Reads up to ``n`` bytes, or, when that is negative, all until the end (``StreamReader.read``)."""
        it: Read
        feed = self._feed
        if feed is None or n <= 0:
            return asyncio.StreamReader.read(self, n)
        it = Read.__new__(Read)
        it.feed = feed
        it.reader = self
        it.limit = n
        return it

    def feed_data(self, data):
        """Puts bytes into the buffer (``StreamReader.feed_data``)."""
        self._disturb()
        asyncio.StreamReader.feed_data(self, data)

    def feed_eof(self):
        """Marks the end (``StreamReader.feed_eof``)."""
        self._disturb()
        asyncio.StreamReader.feed_eof(self)

    def set_exception(self, exc):
        """Whoever reads gets this exception (``StreamReader.set_exception``)."""
        feed: Feed = self._disturb()
        read: Read
        asyncio.StreamReader.set_exception(self, exc)
        if feed is not None:
            feed.broken = True
            read = feed.waiting
            if read is not None and not read.future.done():
                read.future.set_exception(exc)

    def _disturb(self):
        feed: Feed = self._feed
        if feed is not None:
            feed.quiet = False
        return feed

    def _wakeup_waiter(self):
        feed: Feed = self._feed
        read: Read
        asyncio.StreamReader._wakeup_waiter(self)
        if feed is not None:
            read = feed.waiting
            if read is not None and not read.future.done():
                read.future.set_result(None)

    def _wait_for_data(self, func_name):
        feed: Feed = self._disturb()
        if feed is not None and feed.waiting is not None:
            raise RuntimeError(f"{func_name}() called while another coroutine is already waiting for incoming data")
        return asyncio.StreamReader._wait_for_data(self, func_name)


class StreamWriter(asyncio.StreamWriter):
    """asyncio's, of a connection of this loop."""

    _feed = None

    def write(self, data):
        """Sends bytes (``StreamWriter.write``)."""
        feed: Feed = self._feed
        if type(data) is bytes and feed is not None and feed.stream.filter is feed and feed.stream.takes_bytes():
            feed.stream.write_bytes(data)
        else:
            self._transport.write(data)

    def drain(self):
        """Waits until there is room for more to be written (``StreamWriter.drain``)."""
        feed: Feed = self._feed
        if (
            feed is not None
            and feed.stream.filter is feed
            and not (feed.broken or feed.stream.protocol_paused or feed.stream.closing or feed.stream.lost)
        ):
            return ready()
        return asyncio.StreamWriter.drain(self)


class StreamReaderProtocol(asyncio.StreamReaderProtocol):
    """asyncio's, of a connection of this loop."""

    def connection_made(self, transport):
        callback = self._client_connected_cb
        if callback is not None:

            def connected(reader, writer):
                if type(writer) is asyncio.StreamWriter:
                    writer.__class__ = StreamWriter
                    writer._feed = reader._feed if type(reader) is StreamReader else None
                return callback(reader, writer)

            self._client_connected_cb = connected
        asyncio.StreamReaderProtocol.connection_made(self, transport)
        self._client_connected_cb = callback


def taken_from_reader(protocol):
    """The bytes that the reader of a StreamReaderProtocol holds, which it then holds no more."""
    reader = protocol._stream_reader
    if reader is None:
        return b""
    data = bytes(reader._buffer)
    reader._buffer.clear()
    return data


def adopt(protocol, stream):
    """A Feed for the reader of a StreamReaderProtocol; None when the reader is not asyncio's own."""
    feed: Feed
    reader = protocol._stream_reader
    if type(reader) is not asyncio.StreamReader:
        return None
    reader.__class__ = StreamReader
    protocol.__class__ = StreamReaderProtocol
    feed = Feed.__new__(Feed)
    feed.stream = stream
    feed.reader_ref = weakref.ref(reader)
    reader._feed = feed
    return feed
