"""Binary files with buffers.

Reading what is in the buffer needs no coroutine, nor does writing what fits into the buffer.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.string import memchr

from ioring.files._memory import flat
from ioring.files._requests import read_into


class ReadBytes(Quick):
    """``await file.read(size)``."""

    def at_once(self):
        return self.file.read_at_once(self.size)

    def slowly(self):
        return self.file._read_in_turn(self.size)


class BufferedFile(Copying):
    """A binary file with buffers (``io.BufferedReader``, ``BufferedWriter`` and ``BufferedRandom``)."""

    def read(self, size=-1):
        """``size`` bytes, fewer only at the end; when negative all up to it (``io.BufferedReader.read``)."""
        it: ReadBytes = ReadBytes.__new__(ReadBytes)
        it.file = self
        it.size = -1 if size is None else size
        return it

    def read_at_once(self, size):
        if self.shut or self.busy or self.unwritten or not self.can_read or size < 0 or size > self.available():
            return None
        return self.taken(size)

    async def _read_in_turn(self, size):
        self.check_readable()
        if size < -1:
            raise ValueError("read length must be non-negative or -1")
        if not self.take_turn():
            await self._next_turn()
        try:
            return await self._read(size)
        finally:
            self.leave()

    async def read1(self, size=-1):
        """Up to ``size`` bytes with one request at most (``io.BufferedReader.read1``)."""
        self.check_readable()
        if size is None or size < 0:
            size = self.buffer_size
        if not self.take_turn():
            await self._next_turn()
        try:
            if self.unwritten:
                await self._flush()
            if not self.available() and size:
                await self._fill()
            return self.taken(size)
        finally:
            self.leave()

    async def peek(self, size=0):
        """What is read ahead, without moving the position (``io.BufferedReader.peek``)."""
        self.check_readable()
        if not self.take_turn():
            await self._next_turn()
        try:
            if self.unwritten:
                await self._flush()
            if not self.available():
                await self._fill()
            return self.ahead[self.ahead_at :]
        finally:
            self.leave()

    async def readinto(self, buffer):
        """Fills a writable buffer, short only at the end; how many bytes (``io.BufferedReader.readinto``)."""
        view = flat(buffer, True)
        self.check_readable()
        if not self.take_turn():
            await self._next_turn()
        try:
            if self.unwritten:
                await self._flush()
            if self.tracked and len(view) >= self.available() + CHUNK_MAX:
                return await self._read_large_into(view)
            data = await self._read(len(view))
            view[: len(data)] = data
            return len(data)
        finally:
            self.leave()

    async def _read_large_into(self, view):
        """Straight into the program's memory. Until all of it is there, nothing has been read."""
        head = self.taken(self.available())
        begin: cython.Py_ssize_t = len(head)
        done: cython.Py_ssize_t = begin
        size: cython.Py_ssize_t = len(view)
        try:
            view[:begin] = head
            while done < size:
                piece = view[done : done + CHUNK_MAX]
                offset: int64_t = self.position + done - begin
                count = await own(self, read_into(self.core, self.name, self.fd, offset, piece, self.instant, False))
                if not count:
                    break
                done += count
        except BaseException:
            self.put_back([head])
            raise
        self.advanced(done - begin)
        return done

    async def readinto1(self, buffer):
        """Reads into a writable buffer with one request at most; how many bytes (``io.BufferedReader.readinto1``)."""
        view = flat(buffer, True)
        data = await self.read1(len(view))
        view[: len(data)] = data
        return len(data)

    def line(self, limit):
        """The next line, or ``limit`` bytes of it, if that is read ahead; else None."""
        left: cython.Py_ssize_t = self.available()
        start: cython.p_char = PyBytes_AS_STRING(self.ahead) + self.ahead_at
        end: cython.p_char = cython.cast(cython.p_char, memchr(start, 10, left))
        length: cython.Py_ssize_t = left + 1 if end == cython.NULL else end - start + 1
        if 0 <= limit <= left and limit < length:
            length = limit
        elif length > left:
            return None
        return self.taken(length)

    def line_ahead(self):
        return self.line(-1)

    def readline(self, size=-1):
        """A line, or ``size`` bytes of it (``io.IOBase.readline``)."""
        return new_line(self, -1 if size is None else size, False)

    def __anext__(self):
        return new_line(self, -1, True)

    def line_at_once(self, limit):
        if self.shut or self.busy or not self.available():
            return None
        return self.line(limit)

    async def _readline_in_turn(self, limit):
        self.check_readable()
        if not self.take_turn():
            await self._next_turn()
        try:
            if self.unwritten:
                await self._flush()
            return await self._readline(limit)
        finally:
            self.leave()

    async def _readline(self, size):
        limit: cython.Py_ssize_t = size
        parts = []
        try:
            while True:
                line = self.line(limit)
                if line is None:
                    line = self.taken(self.available())
                    parts.append(line)
                    if limit >= 0:
                        limit -= len(line)
                    if await self._fill():
                        continue
                elif not parts:
                    return line
                else:
                    parts.append(line)
                return b"".join(parts)
        except BaseException:
            self.put_back(parts)
            raise

    def write(self, data):
        """Writes bytes, through the buffer; how many (``io.BufferedWriter.write``).

        The buffer may be changed again as soon as the call is over.
        """
        return new_writing(self, data)

    def write_at_once(self, data):
        size: cython.Py_ssize_t
        if self.shut or self.busy or not self.can_write or type(data) is not bytes:
            return None
        size = PyBytes_GET_SIZE(data)
        if size == 0 or self.unwritten_size + size >= self.buffer_size:
            return None
        if self.available():
            self.forget_ahead()
        self.unwritten.append(data)
        self.unwritten_size += size
        return size

    async def _write_in_turn(self, data):
        self.check_writable()
        if type(data) is not bytes:
            data = flat(data, False).tobytes()  # copied before it waits: the program may change it meanwhile
        size: cython.Py_ssize_t = len(data)
        if not self.take_turn():
            await self._next_turn()
        try:
            self.forget_ahead()
            if size == 0:
                return 0
            if self.unwritten_size + size > self.buffer_size:
                await self._flush()
            self.unwritten.append(data)
            self.unwritten_size += size
            if self.unwritten_size >= self.buffer_size:
                try:
                    await self._flush()
                except Exception:
                    self.take_back(size)
                    raise
            return size
        finally:
            self.leave()
