"""loop.sendfile() and loop.sock_sendfile(), by os.sendfile()."""

import asyncio
import contextlib
import errno
import io
import os
import sys
from typing import Any

from ioring.loop._readiness import Watching
from ioring.loop.asyncio_private import BaseEventLoop

SEND_MAX = 1 << 30
"""Most bytes in one call of os.sendfile()."""


class Sendfile(Watching, BaseEventLoop):
    """A loop that sends files. asyncio's own methods call these, and fall back to reading and writing."""

    async def _sendfile_native(self, transport: Any, file: Any, offset: int, count: int | None) -> int:
        empty = transport._make_empty_waiter()
        reading = transport.is_reading()
        transport.pause_reading()
        try:
            await empty
            return await self.sock_sendfile(transport._socket_object(), file, offset, count, fallback=False)
        finally:
            transport._reset_empty_waiter()
            if reading:
                transport.resume_reading()

    async def _sock_sendfile_native(self, sock: Any, file: Any, offset: int, count: int | None) -> int:
        try:
            fd = file.fileno()
            size = os.fstat(fd).st_size
        except (AttributeError, io.UnsupportedOperation, OSError):
            raise asyncio.SendfileNotAvailableError("not a regular file") from None
        left = count if count else sys.maxsize
        sent = 0
        usable = True
        try:
            # Files of /proc and devices have no size, and are sent when it is said how much.
            while left > 0 and (size or count):
                try:
                    done = os.sendfile(sock.fileno(), fd, offset, min(left, SEND_MAX))
                except BlockingIOError:
                    await self._until_writable(sock.fileno())
                    continue
                except OSError as error:
                    if sent == 0 and error.errno in (errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK):
                        usable = False
                        raise asyncio.SendfileNotAvailableError("os.sendfile() cannot send this file") from None
                    raise
                if done == 0:
                    break
                sent += done
                offset += done
                left -= done
        finally:
            # As asyncio leaves it, also when nothing was sent. The program may have closed the file meanwhile.
            if usable:
                with contextlib.suppress(OSError):
                    os.lseek(fd, offset, os.SEEK_SET)
        return sent
