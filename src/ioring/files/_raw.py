"""Binary files without buffers."""

import cython

from ioring.files._memory import flat


class RawFile(Copying):
    """A binary file without buffers (``io.FileIO``)."""

    async def read(self, size=-1):
        """``size`` bytes; all up to the end when that is negative (``io.RawIOBase.read``).

        Fewer at the end, and from files without positions such as pipes: there it gives what has arrived.
        """
        if size is None or size < 0:
            return await self.readall()
        self.check_readable()
        if not self.take_turn():
            await self._next_turn()
        try:
            if self.available():  # a cancelled read has left them
                return self.taken(size)
            data = await self.fetch(size, not self.can_seek)
            self.advanced(len(data))
            return data
        finally:
            self.leave()

    async def readall(self):
        """All bytes up to the end (``io.RawIOBase.readall``)."""
        self.check_readable()
        if not self.take_turn():
            await self._next_turn()
        try:
            return await self._read(-1)
        finally:
            self.leave()

    async def readinto(self, buffer):
        """Reads into a writable buffer by one request; how many bytes (``io.RawIOBase.readinto``)."""
        view = flat(buffer, True)
        data = await self.read(len(view))
        view[: len(data)] = data
        return len(data)

    async def readline(self, size=-1):
        """A line, or ``size`` bytes of it (``io.IOBase.readline``). Byte by byte where there are no positions."""
        self.check_readable()
        limit: cython.Py_ssize_t = -1 if size is None else size
        if not self.take_turn():
            await self._next_turn()
        try:
            return await self._readline(limit)
        finally:
            self.forget_ahead()
            self.leave()

    async def _readline(self, size):
        """A line. What was read ahead behind it stays there."""
        limit: cython.Py_ssize_t = size
        parts = []
        try:
            while limit != 0:
                if not self.available():
                    piece = await self.fetch(self.window if self.tracked else 1, True)
                    if not piece:
                        break
                    self.advanced(len(piece))
                    self.keep(piece)
                end = self.ahead.find(b"\n", self.ahead_at)
                length: cython.Py_ssize_t = self.available() if end < 0 else end + 1 - self.ahead_at
                if 0 <= limit < length:
                    length = limit
                line = self.taken(length)
                parts.append(line)
                if limit > 0:
                    limit -= len(line)
                if line.endswith(b"\n"):
                    break
            return b"".join(parts)
        except BaseException:
            self.put_back(parts)
            raise

    def forget_ahead(self):
        # A cancelled request that the kernel still has will move the descriptor's own position. Its bytes then come
        # behind these, which have to stay.
        if self.tracked or self.straggler is None:
            return File.forget_ahead(self)
        return 0

    def caught_up(self, op, res):
        File.caught_up(self, op, res)
        # What a cancelled write has not written is not written later.
        self.unwritten = []
        self.unwritten_size = 0
        return 0

    async def write(self, data):
        """Writes; how many bytes, fewer where a disk was full before the end (``io.RawIOBase.write``)."""
        self.check_writable()
        if type(data) is not bytes:
            data = flat(data, False)
        if not self.take_turn():
            await self._next_turn()
        try:
            self.forget_ahead()
            self.unwritten = [data]
            self.unwritten_size = len(data)
            try:
                count = await self.push(data)
                self.wrote(count)
            finally:
                if self.straggler is None:
                    self.unwritten = []
                    self.unwritten_size = 0
            return count
        finally:
            self.leave()
