"""The text that is decoded and not read yet, of a file.

Bytes are decoded in pieces. `origin` keeps what the current piece was decoded from: the decoder's state and the bytes.
Positions are computed from that, although characters are not all of one size; see _text_position.py.

A read that is cancelled joins the pieces that it took into one again, and the position is where it was.
"""

import io

import cython
from cython.cimports.cpython.unicode import PyUnicode_FindChar, PyUnicode_GET_LENGTH, PyUnicode_Substring

CHUNK_MAX = cython.declare(cython.Py_ssize_t, 32768)
"""What the pieces of a file that is read in sequence grow to, in bytes."""


def find(text, character, start, end):
    place: cython.Py_ssize_t = PyUnicode_FindChar(text, character, start, end, 1)
    return place


class Decoding(QuickFile):
    """A text file as far as it is read."""

    def below(self):
        """The BufferedFile, if it was not detached."""
        if self.file is None:
            raise ValueError("underlying buffer has been detached")
        return self.file

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

    # The current piece.

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

    # What can be undone.

    def begin(self):
        """Begins an operation that may have to be undone."""
        self.trail = []
        self.saved = (self.decoded, self.decoded_at, self.origin)
        return 0

    def undo(self, error):
        """Makes one piece of everything that was decoded since begin(), because the operation ended with an exception.

        What cannot be decoded is not put back: the next operation begins behind it.
        """
        if isinstance(error, UnicodeError):
            return 0
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

    # Reading, by whoever has the turn.

    async def _read(self, size):
        want: cython.Py_ssize_t = size
        self.begin()
        try:
            parts = [self.taken(want)]
            want -= len(parts[0])
            while want > 0 and await self._more():
                parts.append(self.taken(want))
                want -= len(parts[len(parts) - 1])
        except BaseException as error:
            self.undo(error)
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
