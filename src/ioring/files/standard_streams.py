"""The standard streams, read and written without threads."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ioring.files._buffered import BufferedFile
from ioring.files._text import TextFile
from ioring.files.opening import FileSpec, find_positions, new_file

_T = TypeVar("_T", str, bytes)


class Stream:
    """What ``sys.stdin``, ``sys.stdout`` or ``sys.stderr`` is, at the time of each call.

    It reads and writes the descriptor itself. What was printed before is written first, and what is written here is not
    kept in a buffer. A stream without a descriptor, as within tests, is called in the loop's executor.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.blocking: Any = None
        self.binary: BufferedFile | None = None
        self.text: TextFile | None = None

    def look(self) -> Any:
        """The blocking file that the stream is now. When it is another one than before, its asynchronous files are made
        anew."""
        blocking = getattr(sys, self.name)
        if blocking is not self.blocking:
            self.blocking = blocking
            self.binary = self.text = None
            raw = getattr(getattr(blocking, "buffer", None), "raw", None)
            if isinstance(blocking, io.TextIOWrapper) and isinstance(raw, io.FileIO):
                # Other programs may read and write here too, and Python itself: it gives what there is, as a pipe does.
                readable, writable = raw.readable(), raw.writable()
                positions = find_positions(raw.fileno(), readable, writable, False)._replace(seekable=False)
                # A call that writes is over when its bytes are written, and when it fails none of them are kept.
                size = 1 if writable else io.DEFAULT_BUFFER_SIZE
                spec = FileSpec(raw.mode, readable, writable, *positions, False, size)
                self.binary = new_file(BufferedFile, None, raw.fileno(), raw.name, spec)
                newline = None if readable else "\n"
                self.text = TextFile(self.binary, blocking.encoding, blocking.errors, newline)
        return blocking


class Standard(Generic[_T]):
    """One of the standard streams, as text or as bytes."""

    def __init__(self, stream: Stream, binary: bool) -> None:
        self._stream = stream
        self._binary = binary

    @property
    def _file(self) -> Any:
        """The blocking file that it stands for."""
        blocking = self._stream.look()
        return blocking.buffer if self._binary else blocking

    def __repr__(self) -> str:
        return f"<ioring sys.{self._stream.name}{'.buffer' if self._binary else ''}>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        line: _T = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def __getattr__(self, name: str) -> Any:
        # Everything that does not wait: encoding, name, fileno(), ...
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._file, name)

    async def _call(self, name: str, *arguments: Any) -> Any:
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
        ours: Any = stream.binary if self._binary else stream.text
        if name == "writelines":
            (lines,) = arguments
            await ours.write((b"" if self._binary else "").join(lines))
            return None
        result = await getattr(ours, name)(*arguments)
        if name == "close":
            blocking.close()
        return result

    def _call_blocking(self, blocking: Any, name: str, arguments: tuple[Any, ...]) -> Any:
        if self._binary and name in WRITING and not blocking.closed:
            self._stream.blocking.flush()
        return getattr(blocking, name)(*arguments)

    if TYPE_CHECKING:  # they are made below

        async def close(self) -> None: ...
        async def flush(self) -> None: ...
        async def read(self, size: int | None = ..., /) -> _T: ...
        async def readline(self, size: int = ..., /) -> _T: ...
        async def readlines(self, hint: int = ..., /) -> list[_T]: ...
        async def write(self, data: _T, /) -> int: ...
        async def writelines(self, lines: Iterable[_T], /) -> None: ...
        async def isatty(self) -> bool: ...


WAITING = ("close", "flush", "read", "read1", "peek", "readinto", "readline", "readlines", "write", "writelines")
WRITING = ("close", "flush", "write", "writelines", "truncate", "seek", "tell")
"""What depends on whether all that was printed before has been written."""


def _awaited(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def method(self: Standard[Any], *arguments: Any) -> Any:
        return await self._call(name, *arguments)

    method.__name__ = name
    method.__qualname__ = f"Standard.{name}"
    return method


for _name in (*WAITING, "isatty", "seek", "seekable", "tell", "truncate", "writable"):
    setattr(Standard, _name, _awaited(_name))

_stdin, _stdout, _stderr = Stream("stdin"), Stream("stdout"), Stream("stderr")
stdin: Standard[str] = Standard(_stdin, False)
stdout: Standard[str] = Standard(_stdout, False)
stderr: Standard[str] = Standard(_stderr, False)
stdin_bytes: Standard[bytes] = Standard(_stdin, True)
stdout_bytes: Standard[bytes] = Standard(_stdout, True)
stderr_bytes: Standard[bytes] = Standard(_stderr, True)
