"""Text files: an encoding and line endings over a BufferedFile, with the results of io.TextIOWrapper.

What is read of them is in _text_decoding.py. The order of operations and unwritten bytes are the BufferedFile's.
"""

import codecs
import io

import cython
from cython.cimports.cpython.unicode import PyUnicode_GET_LENGTH

from ioring.files._text_position import pack, place_behind, unpack

CHUNK_MIN = cython.declare(cython.Py_ssize_t, 8192)
"""The size of the first piece that is decoded, in bytes."""

STATELESS = ("ascii", "utf-8", "iso8859-1")

KEEP = object()


class TextFile(Decoding):
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

    # Reading.

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

    def readline(self, size=-1):
        """A line, or ``size`` characters of it (``io.TextIOBase.readline``)."""
        return new_line(self, -1 if size is None else size, False)

    async def _readline_in_turn(self, size):
        limit: cython.Py_ssize_t = size
        self.check_readable()
        file = self.file
        if not file.take_turn():
            await file._next_turn()
        try:
            self.begin()
            try:
                return await self._line(limit)
            except BaseException as error:
                self.undo(error)
                raise
            finally:
                self.end()
        finally:
            file.leave()

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
            except BaseException as error:
                self.undo(error)
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
        return new_writing(self, text)

    async def _write_in_turn(self, text):
        self.check_writable()
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        file = self.file
        if not file.take_turn():
            await file._next_turn()
        try:
            if file.unwritten and file.unwritten_size + len(text) > file.buffer_size:
                await file._flush()
            state = None if self.encoder is None else self.encoder.getstate()
            data = self.encode(text)
            self.accept(data)
            ended = self._line_buffering and ("\n" in text or "\r" in text)
            if ended or file.unwritten_size >= file.buffer_size:
                try:
                    await file._flush()
                except Exception:
                    # The call has failed, as that of a binary file: see ReadAhead.take_back. What the encoder writes
                    # once, at the beginning, comes again.
                    if file.take_back(len(data)) and state is not None:
                        self.encoder.setstate(state)
                    raise
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
