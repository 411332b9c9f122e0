"""Copying from one file to another.

Between regular files the kernel does it, in the loop's executor: there is no request for that. Everything else is read
and written by requests.
"""

import asyncio
import errno
import os

import cython

COPY_MAX = cython.declare(cython.Py_ssize_t, 16 << 20)
"""How many bytes the kernel copies at a time."""

_CANNOT_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM)


class Copying(File):
    """A file that can be copied from."""

    async def copy_to(self, other, offset=None, count=None, *, progress=None):
        """Copies bytes to where another file's position is, which moves (``os.copy_file_range``, ``os.sendfile``).

        Between regular files the kernel copies, by pieces, in the loop's executor: no request of a ring does that, and
        some file systems share the storage instead of copying. Everything else is read and written by requests.

        Parameters:
            other: a binary file that is open for writing.
            offset: where to begin; at the position when None, which moves then.
            count: how many bytes; up to the end when None.
            progress: called with the number of bytes copied so far, after each piece.

        Returns:
            How many bytes were copied: fewer than ``count`` when the file ends before.
        """
        place: int64_t
        done: int64_t = 0
        target: File
        if not isinstance(other, File):
            raise TypeError(
                "copy_to() wants a binary file of ioring.open() that is open for writing (of a text file its buffer), "
                f"not {type(other).__name__}"
            )
        target = other
        self.check_readable()
        target.check_writable()
        await self.flush()
        moving = offset is None
        if moving and not self.can_seek:
            return await self._copy_stream(target, count, progress)
        place = await self.tell() if moving else offset
        if place < 0 or (count is not None and count < 0):
            raise ValueError("offset and count must not be negative")
        by_kernel = self.can_seek and target.tracked and self.core is target.core
        try:
            while count is None or done < count:
                size = COPY_MAX if count is None else min(COPY_MAX, count - done)
                copied = -1
                cancellation = None
                if by_kernel:
                    copied, cancellation = await self._copy_piece(target, place + done, size)
                    by_kernel = copied >= 0
                if copied < 0 and cancellation is None:
                    data = await self.read_at(place + done, min(size, CHUNK_MAX))
                    copied, cancellation = await self._write_piece(target, data)
                done += max(copied, 0)
                if cancellation is not None:
                    raise cancellation
                if copied == 0:
                    break
                if progress is not None:
                    progress(done)
        finally:
            if moving and not self.shut and not self.closing:
                await self.seek(place + done)
        return done

    async def _copy_piece(self, other, place, size):
        """Lets the kernel copy. How many bytes, -1 when it cannot, and a cancellation that came meanwhile.

        This has the other file's turn until the end, and neither file is closed before.
        """
        target: File = other
        if not target.take_turn():
            await target._next_turn()
        try:
            await target._flush()
            target.forget_ahead()
            self.check_open()
            if not target.tracked:  # somebody else has got its descriptor meanwhile
                return -1, None
            source, sink, where = self.fd, target.fd, target.position
            future = self.host.run_in_executor(None, os.copy_file_range, source, sink, size, place, where)
            cancellation = None
            self.borrowed()
            try:
                while not future.done():
                    try:
                        await asyncio.wait([future])
                    except asyncio.CancelledError as error:
                        cancellation = error  # a thread cannot be stopped
            finally:
                self.returned(self.core)
            try:
                copied = future.result()
            except OSError as error:
                if error.errno not in _CANNOT_COPY:
                    raise OSError(error.errno, error.strerror, target.name) from None
                copied = -1
            else:
                target.advanced(copied)
            return copied, cancellation
        finally:
            target.leave()

    async def _write_piece(self, other, data):
        """Writes by a request. How many bytes, and a cancellation that came meanwhile."""
        target: File = other
        before = target._tell() if target.can_seek else 0
        try:
            await target.write(data)
        except asyncio.CancelledError as error:
            if not target.can_seek or target.shut:
                raise
            return min(max(target._tell() - before, 0), len(data)), error
        return len(data), None

    async def _copy_stream(self, other, count, progress):
        done: int64_t = 0
        while count is None or done < count:
            data = await self.read(CHUNK_MAX if count is None else min(CHUNK_MAX, count - done))
            if not data:
                break
            await other.write(data)
            done += len(data)
            if progress is not None:
                progress(done)
        return done
