"""How a file ends: it is closed, detached from its descriptor, or forgotten by the program.

A close() that is cancelled goes on. What is unwritten is written by requests that nobody waits for, and the descriptor
is closed when nothing uses it any more.
"""

import asyncio
import errno
import io
import os
import warnings

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.errno import EINTR
from cython.cimports.libc.errno import errno as errno_now
from cython.cimports.libc.string import strerror
from cython.cimports.posix.unistd import close, pwrite, write

from ioring.files import _operations as operations

# A file may outlive the globals of its module, at the interpreter's end; this stays.
warn = cython.declare(object, warnings.warn)


class Closing(ReadAhead):
    """A file that can be closed."""

    def _belongs_to(self, blocking):
        """The descriptor is that of a blocking file, which is to be closed with this one."""
        self.blocking = blocking

    def _disown(self):
        """The file could not be made: the descriptor is the caller's again."""
        self.fd = -1
        self.shut = True

    async def close(self):
        """Flushes and closes (``io.IOBase.close``). Closing twice does nothing.

        Requests that are under way end before. When it is cancelled, closing goes on.

        Raises:
            OSError: something could not be written; the file is closed nevertheless.
        """
        if self.detached:
            raise ValueError("raw stream has been detached")
        if self.shut:
            return
        self.settle_core()
        try:
            if not self.take_turn():
                await self._wait_for_turn()
            try:
                if not self.shut:
                    self.closing = True
                    await self._close()
            finally:
                self.leave()
        except (asyncio.CancelledError, GeneratorExit):
            if not self.shut:
                self.closing = self.deserted = True
                if not self.busy:
                    self.go_on_closing()
            raise

    async def _close(self):
        if self.unwritten:
            try:
                await self._flush()
            except Exception:
                await self._close_descriptor()
                raise
        await self._close_descriptor()

    async def _close_descriptor(self):
        while self.lent:
            self.idle = self.host.create_future()
            await self.idle
        fd: cython.int = self.give_up_descriptor()
        if fd < 0:
            return
        if self.can_write:
            await operations.close(self.core, fd, self.name)
        else:
            os.close(fd)  # this does not wait: nothing was written

    def give_up_descriptor(self):
        """Marks the file as closed. The descriptor that is to be closed, or -1."""
        self.shut = True
        fd, self.fd = self.fd, -1
        self.unwritten = []
        self.unwritten_size = 0
        self.ahead = b""
        if self.blocking is not None:
            self.blocking.close()  # which has nothing to write
            return -1
        return fd if self.closefd else -1

    # What follows finishes a close() that was cancelled, when nobody has the turn. It runs outside of any task, since a
    # task could be cancelled again.

    def go_on_closing(self):
        if self.shut or self.lent:
            return 0
        if self.unwritten and self.write_on():
            return 0
        fd: cython.int = self.give_up_descriptor()
        if fd >= 0:
            os.close(fd)
        return 0

    def write_on(self):
        """Writes what is unwritten. Whether a request does that, so that the descriptor is still needed."""
        op: FileOp
        try:
            if not self.core._closed and not self.host.is_closed():
                self.unwritten = [b"".join(self.unwritten)]
                op = self.push(self.unwritten[0])
                op.state = ABANDONED
                op.start()
                self.straggler = op
                self.busy = True
                return True
        except RuntimeError:
            pass  # the executor is shut down already
        except Exception as error:
            self.give_up(error)
            return False
        try:
            if not self.can_seek:
                raise OSError(ECANCELED, os.strerror(ECANCELED), self.name)  # a pipe might block for ever
            self.write_blocking()
        except OSError as error:
            self.give_up(error)
        return False

    def caught_up(self, op, res):
        failed: cython.bint = res <= 0 and res != -ECANCELED and res != -EINTR
        if failed and self.straggler is op and self.deserted and self.unwritten:
            number = cython.cast(cython.int, -res) or errno.EIO
            self.give_up(OSError(number, os.strerror(number), self.name))
        return ReadAhead.caught_up(self, op, res)

    def give_up(self, error):
        """What is unwritten cannot be written. The loop's exception handler is told, since no task waits."""
        self.unwritten = []
        self.unwritten_size = 0
        message = f"{self!r} could not be written after its close() was cancelled"
        self.host.call_exception_handler({"message": message, "exception": error})
        return 0

    def write_blocking(self):
        """Writes what is unwritten by blocking calls."""
        data: bytes
        memory: cython.p_char
        size: cython.Py_ssize_t
        count: cython.Py_ssize_t
        code: cython.int
        fd: cython.int = self.fd
        while self.unwritten:
            data = b"".join(self.unwritten)
            self.unwritten = [data]
            memory = PyBytes_AS_STRING(data)
            size = PyBytes_GET_SIZE(data)
            with cython.nogil:
                count = pwrite(fd, memory, size, self.position) if self.tracked else write(fd, memory, size)
                code = errno_now
            if count >= 0:
                self.wrote(count)
            elif code != EINTR:
                raise OSError(code, strerror(code).decode())
        return 0

    def __del__(self):
        if self.shut or self.fd < 0 or self.find_engine is None:
            return
        if self.closefd and not self.deserted:
            warn(f"unclosed file {self!r}", ResourceWarning, source=self, stacklevel=1)
        try:
            if self.straggler is None:
                self.write_blocking()
        except OSError:
            pass
        fd: cython.int = self.fd
        self.fd = -1
        if self.closefd:
            with cython.nogil:
                close(fd)

    def fileno(self):
        """The descriptor (``io.IOBase.fileno``). Its position is that of the file, as far as the kernel has read or
        written it, and stays that from now on: whoever else has the descriptor moves it too."""
        if self.shut:
            raise ValueError("I/O operation on closed file")
        self.share()
        return self.fd

    @property
    def raw(self):
        """A blocking ``io.FileIO`` of the same descriptor, which does not close it and does not see the buffers."""
        return self.blocking_file(self.fileno(), False)

    def blocking_file(self, fd, closefd):
        mode = ("r+" if self.can_write else "r") if self.can_read else "w"
        raw = io.FileIO(fd, mode, closefd)
        raw.name = self.name
        return raw

    def detach(self):
        """A blocking ``io.FileIO`` for the descriptor, which is its own from now on (``io.BufferedIOBase.detach``).

        What is written and not flushed is written now, and this blocks.

        Raises:
            RuntimeError: an operation is under way.
        """
        self.check_open()
        if self.busy or self.lent:
            raise RuntimeError("an operation of the file is under way")
        self.write_blocking()
        self.forget_ahead()
        raw = self.blocking_file(self.fileno(), self.closefd)
        self.fd = -1
        self.shut = self.detached = True
        return raw
