"""The standard streams, read and written without threads."""

import asyncio
import io
import sys
from functools import partial

from ioring.files._buffered import BufferedFile
from ioring.files._text import TextFile
from ioring.files.opening import FileSpec, new_file


class Stream:
    """What ``sys.stdin``, ``sys.stdout`` or ``sys.stderr`` is, at the time of each call.

    It uses the descriptor; what was printed before is written first, and what is written here is not kept in a buffer.
    What has no descriptor, as within tests, is called in the loop's executor.
    """

    def __init__(self, name):
        self.name = name
        self.blocking = None
        self.binary = None
        self.text = None

    def look(self):
        """The blocking file; what belongs to it is made anew when it is another one."""
        blocking = getattr(sys, self.name)
        if blocking is not self.blocking:
            self.blocking = blocking
            self.binary = self.text = None
            raw = getattr(getattr(blocking, "buffer", None), "raw", None)
            if isinstance(blocking, io.TextIOWrapper) and isinstance(raw, io.FileIO):
                # Others read and write here too: the position is the descriptor's own.
                readable, writable = raw.readable(), raw.writable()
                spec = FileSpec(raw.mode, readable, writable, False, True, False, io.DEFAULT_BUFFER_SIZE)
                self.binary = new_file(BufferedFile, None, raw.fileno(), raw.name, spec)
                newline = None if readable else "\n"
                self.text = TextFile(self.binary, blocking.encoding, blocking.errors, newline)
        return blocking


class Standard:
    """One of the standard streams, as text or as bytes."""

    def __init__(self, stream, binary):
        self._stream = stream
        self._binary = binary

    @property
    def _file(self):
        """The blocking file that it stands for."""
        blocking = self._stream.look()
        return blocking.buffer if self._binary else blocking

    def __repr__(self):
        return f"<ioring sys.{self._stream.name}{'.buffer' if self._binary else ''}>"

    def __aiter__(self):
        return self

    async def __anext__(self):
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def __getattr__(self, name):
        # Everything that does not wait: encoding, name, fileno(), ...
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._file, name)

    async def _call(self, name, *arguments):
        blocking = self._file
        stream = self._stream
        if stream.binary is None or blocking.closed:
            call = partial(self._call_blocking, blocking, name, arguments)
            return await asyncio.get_running_loop().run_in_executor(None, call)
        # The text layer has a buffer of its own, above that of the bytes: what was printed may be in either.
        if stream.blocking.writable():
            stream.blocking.flush()
        if name not in WAITING:
            return getattr(blocking, name)(*arguments)
        ours = stream.binary if self._binary else stream.text
        result = await getattr(ours, name)(*arguments)
        if name in ("write", "writelines"):
            await ours.flush()
        elif name == "close":
            blocking.close()
        return result

    def _call_blocking(self, blocking, name, arguments):
        if self._binary and name in WRITING and not blocking.closed:
            self._stream.blocking.flush()
        return getattr(blocking, name)(*arguments)


WAITING = ("close", "flush", "read", "read1", "peek", "readinto", "readline", "readlines", "write", "writelines")
WRITING = ("close", "flush", "write", "writelines", "truncate", "seek", "tell")
"""What depends on whether all that was printed before has been written."""


def _awaited(name):
    async def method(self, *arguments):
        return await self._call(name, *arguments)

    method.__name__ = name
    method.__qualname__ = f"Standard.{name}"
    return method


for _name in (*WAITING, "isatty", "seek", "seekable", "tell", "truncate", "writable"):
    setattr(Standard, _name, _awaited(_name))

_stdin, _stdout, _stderr = Stream("stdin"), Stream("stdout"), Stream("stderr")
stdin = Standard(_stdin, False)
stdout = Standard(_stdout, False)
stderr = Standard(_stderr, False)
stdin_bytes = Standard(_stdin, True)
stdout_bytes = Standard(_stdout, True)
stderr_bytes = Standard(_stderr, True)
