"""Text files: an encoding and line endings over a BufferedFile, with the results of io.TextIOWrapper.

Bytes are decoded in pieces. `origin` keeps what the current piece was decoded from: the decoder's state and the bytes.
Positions are computed from that, although characters are not all of one size; see _text_position.py.

The order of operations and unwritten bytes are the BufferedFile's. A read that is cancelled joins the pieces that it
took into one again, and the position is where it was.
"""

import codecs
import io

import cython
from cython.cimports.cpython.unicode import PyUnicode_FindChar, PyUnicode_GET_LENGTH, PyUnicode_Substring

from ioring.files._text_position import pack, place_behind, unpack

CHUNK_MIN = cython.declare(cython.Py_ssize_t, 8192)
CHUNK_MAX = cython.declare(cython.Py_ssize_t, 32768)
"""The sizes of pieces, in bytes: the first, and what they grow to when a file is read in sequence."""

STATELESS = ("ascii", "utf-8", "iso8859-1")

ANY_END = cython.declare(cython.int, 0)
LF_END = cython.declare(cython.int, 1)
CR_END = cython.declare(cython.int, 2)
CRLF_END = cython.declare(cython.int, 3)

KEEP = object()


def find(text, character, start, end):
    place: cython.Py_ssize_t = PyUnicode_FindChar(text, character, start, end, 1)
    return place


class TextLine(Quick):
    """``await file.readline(limit)``, and what ``async for`` awaits."""

    def at_once(self):
        return self.file.line_at_once(self.limit)

    def slowly(self):
        return self.file._readline(self.limit)

    def check(self, value):
        file, self.file = self.file, None
        if file.spare is None:
            file.spare = self
        if self.iterating and not value:
            raise StopAsyncIteration
        return 0


class TextWrite(Quick):
    """``await file.write(text)``."""

    def at_once(self):
        return self.file.write_at_once(self.text)

    def slowly(self):
        return self.file._write(self.text)


class TextFile:
    """A text file (``io.TextIOWrapper``), over a ``BufferedFile``."""

    def __init__(self, buffer, encoding=None, errors=None, newline=None, line_buffering=False, *, mode=None):
        if not isinstance(buffer, BufferedFile):
            raise TypeError(f"a BufferedFile is needed, not {type(buffer).__name__}")
        self._configure(encoding, errors, newline)
        self.file = buffer
        self._line_buffering = line_buffering
        self._mode = buffer.mode if mode is None else mode
        self.telling = self.file.can_seek
        self.chunk = CHUNK_MIN
        self.decoded = ""
        if self.file.can_seek and self.file.can_write and self.file._tell() != 0:
            self.started = True  # no byte order mark

    def _configure(self, encoding, errors, newline):
        # io.TextIOWrapper checks the names, and finds out the default encoding.
        model = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, newline=newline)
        codec = codecs.lookup(model.encoding)
        self._encoding = model.encoding
        self._errors = model.errors
        self.codec = codec
        self.stateless = codec.name in STATELESS
        self.newline = newline
        self.universal = not newline
        self.translating = newline is None
        self.ends = {None: LF_END, "": ANY_END, "\n": LF_END, "\r": CR_END, "\r\n": CRLF_END}[newline]
        self.written_end = newline if newline in ("\r", "\r\n") else None
        self.decoder = None
        self.encoder = None
        self.started = False

    # What the BufferedFile answers.

    @property
    def buffer(self):
        """The ``BufferedFile`` below (``io.TextIOWrapper.buffer``)."""
        return self.file

    @property
    def closed(self):
        """Whether the file was closed."""
        return self.below().closed

    @property
    def name(self):
        """The path or the descriptor that it was opened with."""
        return self.below().name

    @property
    def mode(self):
        """The mode that it was opened with."""
        return self._mode

    @property
    def encoding(self):
        """The name of the encoding."""
        return self._encoding

    @property
    def errors(self):
        """How errors of decoding and encoding are handled: ``"strict"`` or the like."""
        return self._errors

    @property
    def newlines(self):
        """The line endings seen so far (``io.TextIOBase.newlines``)."""
        return getattr(self.decoder, "newlines", None)

    @property
    def line_buffering(self):
        """Whether the buffer is flushed at the end of each line."""
        return bool(self._line_buffering)

    @property
    def write_through(self):
        """False: what is written may stay in the buffer (``io.TextIOWrapper.write_through``)."""
        return False

    def below(self):
        """The BufferedFile, if it was not detached."""
        if self.file is None:
            raise ValueError("underlying buffer has been detached")
        return self.file

    def fileno(self):
        """The descriptor (``io.IOBase.fileno``)."""
        return self.below().fileno()

    def readable(self):
        """Whether it was opened for reading (``io.IOBase.readable``)."""
        return self.below().readable()

    def writable(self):
        """Awaited: whether it was opened for writing (``io.IOBase.writable``)."""
        return self.below().writable()

    def seekable(self):
        """Awaited: whether the file has positions (``io.IOBase.seekable``)."""
        return self.below().seekable()

    def isatty(self):
        """Awaited: whether it is a terminal (``io.IOBase.isatty``)."""
        return self.below().isatty()

    def __repr__(self):
        name = "" if self.file is None else f" name={self.file.name!r}"
        return f"<ioring.{type(self).__name__}{name} mode={self._mode!r} encoding={self._encoding!r}>"

    def __aiter__(self):
        self.below().check_open()
        return self

    def __anext__(self):
        return new_line(self, -1, True)

    async def __aenter__(self):
        self.below().check_open()
        return self

    async def __aexit__(self, *exception):
        await self.close()

    async def close(self):
        """Flushes and closes (``io.IOBase.close``)."""
        await self.below().close()

    async def flush(self):
        """Hands everything written to the kernel (``io.IOBase.flush``)."""
        await self.below().flush()

    def detach(self):
        """A blocking ``io.BufferedReader`` or the like for the descriptor, which is its own from now on.

        What is written and not flushed is written now, and this blocks. The position is the buffer's, which is behind
        what was decoded (``io.TextIOWrapper.detach``).
        """
        file = self.below()
        raw = file.detach()
        self.file = None
        kind = (io.BufferedRandom if file.can_write else io.BufferedReader) if file.can_read else io.BufferedWriter
        return kind(raw)

    def check_readable(self):
        self.below().check_open()
        if not self.file.can_read:
            raise io.UnsupportedOperation("not readable")
        if self.decoder is None:
            decoder = self.codec.incrementaldecoder(self._errors)
            if self.universal:
                decoder = io.IncrementalNewlineDecoder(decoder, self.translating)
            self.decoder = decoder
            self.below()  # making a codec runs arbitrary code
        return 0

    def check_writable(self):
        self.below().check_open()
        if not self.file.can_write:
            raise io.UnsupportedOperation("not writable")
        if self.encoder is None and not self.stateless:
            self.encoder = self.codec.incrementalencoder(self._errors)
            if self.started:
                self.encoder.setstate(0)
            self.below()
        return 0

    # Decoding.

    def forget(self):
        """Drops what is decoded and not read yet."""
        self.decoded = ""
        self.decoded_at = 0
        self.origin = None
        return 0

    def left(self):
        """How many characters are decoded and not read yet."""
        return PyUnicode_GET_LENGTH(self.decoded) - self.decoded_at

    def taken(self, size):
        """Up to so many of the characters that are decoded."""
        start: cython.Py_ssize_t = self.decoded_at
        end: cython.Py_ssize_t = min(start + size, PyUnicode_GET_LENGTH(self.decoded))
        self.decoded_at = end
        if start == 0 and end == PyUnicode_GET_LENGTH(self.decoded):
            return self.decoded
        return PyUnicode_Substring(self.decoded, start, end)

    def decode(self, data):
        """Decodes the next piece, which is empty at the end of the file. Whether there was anything."""
        text: str
        origin: tuple = None
        if self.telling:
            before, flags = self.decoder.getstate()
            origin = (flags, before + data)
        text = self.decoder.decode(data, not data)
        if self.trail is not None:
            self.trail.append((text, data, origin))
        self.decoded = text
        self.decoded_at = 0
        self.origin = origin
        return len(data) > 0 or PyUnicode_GET_LENGTH(text) > 0

    def decode_ahead(self):
        """Decodes what is read ahead. Whether there was anything."""
        if not self.file.available():
            return False
        data = self.file.taken(self.chunk)
        if self.chunk < CHUNK_MAX:
            self.chunk *= 2
        self.decode(data)
        return True

    async def _more(self):
        """Reads and decodes the next piece. Whether there was more."""
        if self.file.unwritten:
            await self.file._flush()
        if not self.file.available() and not await self.file._fill():
            return self.decode(b"")
        return self.decode_ahead()

    def begin(self):
        """Begins an operation that may have to be undone."""
        self.trail = []
        self.saved = (self.decoded, self.decoded_at, self.origin)
        return 0

    def undo(self):
        """Makes one piece of everything that was decoded since begin()."""
        text, place, origin = self.saved
        if self.trail:
            if origin is None:
                flags, data = self.trail[0][2] or (0, b"")
                text, place = text[place:], 0
                data += b"".join([piece for _, piece, _ in self.trail[1:]])
            else:
                flags, data = origin
                data += b"".join([piece for _, piece, _ in self.trail])
            text += "".join([piece for piece, _, _ in self.trail])
            origin = (flags, data) if self.telling else None
        self.decoded, self.decoded_at, self.origin = text, place, origin
        return 0

    def end(self):
        """Ends an operation that can be undone."""
        self.trail = None
        self.saved = None
        return 0

    async def read(self, size=-1):
        """``size`` characters, fewer only at the end; when negative all up to it (``io.TextIOBase.read``)."""
        want: cython.Py_ssize_t = -1 if size is None else size
        self.check_readable()
        file = self.file
        if not file.take_turn():
            await file._next_turn()
        try:
            if 0 <= want <= self.left() and not file.unwritten:
                return self.taken(want)
            if want < 0:
                data = await file._read(-1)
                first = self.taken(self.left())
                text = self.decoder.decode(data, True)
                self.forget()
                return first + text if first else text
            return await self._read(want)
        finally:
            file.leave()

    async def _read(self, size):
        want: cython.Py_ssize_t = size
        self.begin()
        try:
            parts = [self.taken(want)]
            want -= len(parts[0])
            while want > 0 and await self._more():
                parts.append(self.taken(want))
                want -= len(parts[len(parts) - 1])
        except UnicodeError:
            raise
        except BaseException:
            self.undo()
            raise
        finally:
            self.end()
        return "".join(parts)

    def line_end(self):
        """The place behind the end of the next line, -1 if that is not decoded yet."""
        place: cython.Py_ssize_t
        other: cython.Py_ssize_t
        size: cython.Py_ssize_t = PyUnicode_GET_LENGTH(self.decoded)
        start: cython.Py_ssize_t = self.decoded_at
        if self.ends == LF_END:
            return find(self.decoded, 10, start, size) + 1 or -1
        if self.ends == CR_END:
            return find(self.decoded, 13, start, size) + 1 or -1
        if self.ends == ANY_END:
            place = find(self.decoded, 10, start, size)
            other = find(self.decoded, 13, start, size if place < 0 else place)
            if other < 0:
                return place + 1 if place >= 0 else -1
            return other + 2 if other + 1 == place else other + 1
        while True:
            place = find(self.decoded, 10, start, size)
            if place <= self.decoded_at:
                if place < 0:
                    return -1
            elif self.decoded[place - 1] == "\r":
                return place + 1
            start = place + 1

    def line_at_once(self, limit):
        """The next line, or None when it cannot be had without waiting."""
        if self.file is None or self.file.shut or self.decoder is None or self.file.busy or limit >= 0:
            return None
        if self.left() == 0:
            if not self.file.available():
                return None
            self.decode_ahead()
        return self.line_decoded()

    def line_decoded(self):
        """The next line, or None when its end is not decoded yet."""
        start: cython.Py_ssize_t
        end: cython.Py_ssize_t = self.line_end()
        if end < 0:
            return None
        start, self.decoded_at = self.decoded_at, end
        return PyUnicode_Substring(self.decoded, start, end)

    def readline(self, size=-1):
        """A line, or ``size`` characters of it (``io.TextIOBase.readline``)."""
        return new_line(self, -1 if size is None else size, False)

    async def _readline(self, size):
        limit: cython.Py_ssize_t = size
        self.check_readable()
        file = self.file
        if not file.take_turn():
            await file._next_turn()
        try:
            self.begin()
            try:
                return await self._line(limit)
            except UnicodeError:
                raise
            except BaseException:
                self.undo()
                raise
            finally:
                self.end()
        finally:
            file.leave()

    async def _line(self, size):
        end: cython.Py_ssize_t
        limit: cython.Py_ssize_t = size
        text: str = ""
        parts = []
        while True:
            if self.left() == 0:
                if await self._more():
                    continue
                self.forget()
                break
            if self.ends == CRLF_END and text.endswith("\r") and self.decoded[self.decoded_at] == "\n":
                end = self.decoded_at + 1  # the CR was at the end of the last piece
            else:
                end = self.line_end()
            complete = end >= 0
            end = end - self.decoded_at if complete else self.left()
            if 0 <= limit <= end:
                end = limit
                complete = True
            if end:
                text = self.taken(end)
                parts.append(text)
                if limit > 0:
                    limit -= end
            if complete:
                break
        return text if len(parts) == 1 else "".join(parts)

    async def readlines(self, hint=-1):
        """The lines, as long as they are no more than ``hint`` characters (``io.IOBase.readlines``)."""
        limit: cython.Py_ssize_t = -1 if hint is None else hint
        size: cython.Py_ssize_t = 0
        line: str
        lines = []
        self.check_readable()
        file = self.file
        if not file.take_turn():
            await file._next_turn()
        try:
            self.begin()
            try:
                while not 0 < limit < size:
                    line = self.line_decoded()
                    if line is None:
                        line = await self._line(-1)
                        if not line:
                            break
                    lines.append(line)
                    size += PyUnicode_GET_LENGTH(line)
                return lines
            except UnicodeError:
                raise
            except BaseException:
                self.undo()
                raise
            finally:
                self.end()
        finally:
            file.leave()

    # Encoding.

    def encode(self, text):
        if self.written_end is not None and "\n" in text:
            text = text.replace("\n", self.written_end)
        if self.stateless:
            return text.encode(self._encoding, self._errors)
        return self.encoder.encode(text)

    def accept(self, data):
        """Appends encoded text to what is unwritten."""
        self.forget()
        if self.decoder is not None:
            self.decoder.reset()
        self.file.forget_ahead()
        if data:
            self.file.unwritten.append(data)
            self.file.unwritten_size += len(data)
        return 0

    def write_at_once(self, text):
        """Writes into the buffer. How many characters, or None when that is not possible without waiting."""
        if type(text) is not str or not self.stateless or self._line_buffering:
            return None
        if self.file is None or self.file.shut or not self.file.can_write or self.file.busy:
            return None
        data = self.encode(text)
        if self.below().shut or self.file.busy:  # the handler of errors may have run arbitrary code
            return None
        if self.file.unwritten_size + len(data) >= self.file.buffer_size:
            return None
        self.accept(data)
        return len(text)

    def write(self, text):
        """Writes text, through the buffer; how many characters (``io.TextIOBase.write``)."""
        it: TextWrite = TextWrite.__new__(TextWrite)
        it.file = self
        it.text = text
        return it

    async def _write(self, text):
        self.check_writable()
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        file = self.file
        if not file.take_turn():
            await file._next_turn()
        try:
            if file.unwritten and file.unwritten_size + len(text) > file.buffer_size:
                await file._flush()
            self.accept(self.encode(text))
            ended = self._line_buffering and ("\n" in text or "\r" in text)
            if ended or file.unwritten_size >= file.buffer_size:
                await file._flush()
            return len(text)
        finally:
            file.leave()

    async def writelines(self, lines):
        """Writes them one after the other (``io.IOBase.writelines``)."""
        self.below().check_open()
        for line in lines:
            await self.write(line)

    async def truncate(self, size=None):
        """Makes the file ``size`` bytes long, or end at the buffer's position (``io.TextIOWrapper.truncate``)."""
        return await self.below().truncate(size)

    async def reconfigure(self, *, encoding=None, errors=None, newline=KEEP, line_buffering=None):
        """Changes how text is encoded (``io.TextIOWrapper.reconfigure``); flushes before.

        Raises:
            io.UnsupportedOperation: something was read, and the encoding or the newline is to change.
        """
        self.below().check_open()
        changes = encoding is not None or errors is not None or newline is not KEEP
        if changes and self.decoder is not None and self.origin is not None:
            raise io.UnsupportedOperation("not possible to set the encoding or newline of stream after the first read")
        await self.flush()
        if changes:
            if errors is None:
                errors = self._errors if encoding is None else "strict"
            self._configure(encoding or self._encoding, errors, self.newline if newline is KEEP else newline)
            self.started = bool(self.file.can_seek and self.file._tell() != 0)
        if line_buffering is not None:
            self._line_buffering = line_buffering

    # Positions.

    async def tell(self):
        """The position, as a number for ``seek`` and nothing else (``io.TextIOBase.tell``)."""
        self.below().check_open()
        if not self.telling:
            raise io.UnsupportedOperation("underlying stream is not seekable")
        file = self.file
        if not file.take_turn():
            await file._next_turn()
        try:
            await file._flush()
            return self._tell()
        finally:
            file.leave()

    def _tell(self):
        place = self.file._tell()
        if self.decoder is None or self.origin is None:
            return place
        flags, data = self.origin
        place -= len(data)
        if self.decoded_at == 0:
            return pack(place, flags, 0, 0, False)
        state = self.decoder.getstate()
        try:
            return place_behind(self.decoder, place, flags, data, self.decoded_at, PyUnicode_GET_LENGTH(self.decoded))
        finally:
            self.decoder.setstate(state)

    async def seek(self, cookie, whence=0):
        """Goes to where ``tell`` gave ``cookie``, to the beginning or to the end (``io.TextIOBase.seek``).

        Raises:
            io.UnsupportedOperation: the file has no positions, or ``cookie`` is not 0 and ``whence`` is not either.
        """
        self.below().check_open()
        if not self.telling:
            raise io.UnsupportedOperation("underlying stream is not seekable")
        if whence not in (0, 1, 2):
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        if whence and cookie != 0:
            raise io.UnsupportedOperation(f"can't do nonzero {'cur' if whence == 1 else 'end'}-relative seeks")
        if cookie < 0:
            raise ValueError(f"negative seek position {cookie!r}")
        file = self.file
        if not file.take_turn():
            await file._next_turn()
        try:
            if whence == 2:
                place = await file._seek(0, 2)
                self.forget()
                if self.decoder is not None:
                    self.decoder.reset()
                self._encode_from(place == 0)
                return place
            await file._flush()
            await self._seek(self._tell() if whence else cookie)
            return self._tell() if whence else cookie
        finally:
            file.leave()

    def _encode_from(self, beginning):
        self.encoder = None
        self.started = not beginning
        if not self.stateless and self.file.can_write:
            self.check_writable()

    async def _seek(self, cookie):
        text: str
        place, flags, fed, count, end = unpack(cookie)
        before = self.file._tell()
        await self.file._seek(place, 0)
        data = b""
        if count:
            self.check_readable()
            try:
                data = await self.file._read(fed)
            except BaseException:
                await self.file._seek(before, 0)  # does not wait: nothing is unwritten
                raise
        self.forget()
        if self.decoder is not None:
            if flags or count or place:
                self.decoder.setstate((b"", flags))
            else:
                self.decoder.reset()
        self._encode_from(place == 0 and flags == 0)
        self.origin = (flags, data) if self.decoder is not None else None
        if count:
            text = self.decoder.decode(data, end)
            if len(text) < count:
                raise OSError("can't restore logical file position")
            self.decoded = text
            self.decoded_at = count


def new_line(file, limit, iterating):
    it: TextLine = file.spare
    if it is None or Py_REFCNT(it) != 2:  # the file's, and ours
        it = TextLine.__new__(TextLine)
    else:
        it.begun = it.finished = False
        it.coroutine = None
    file.spare = None
    it.file = file
    it.limit = limit
    it.iterating = iterating
    return it
