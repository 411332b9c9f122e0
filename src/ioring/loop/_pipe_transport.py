"""Pipes, and whatever else connect_read_pipe and connect_write_pipe take: sockets, terminals.

Reading is one request after another, into the buffers that the loop's transports share; writing is one request at a
time, with everything that was written until then. With a file for which the kernel cannot wait (a non-blocking
terminal) a request fails with EAGAIN; then a poll waits first.
"""

import collections
import os
import stat

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF
from cython.cimports.ioring.loop._handles import reraise
from cython.cimports.ioring.loop.socket_api import POLLERR, POLLIN, POLLOUT
from cython.cimports.libc.errno import EAGAIN, EINTR, EIO, ENOBUFS

from ioring.loop.asyncio_private import PipeReadTransport, PipeWriteTransport
from ioring.ring.errors import os_error

WRITE_MAX = cython.declare(cython.size_t, 1 << 20)
"""Most bytes in one request, so that the write buffer's size shows how far a slow reader has come."""

DATA_RECEIVED = "data_received"


def _check_kind(file, way):
    mode = os.fstat(file.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
        raise ValueError(
            f"Pipe transport is {'only ' if way == 'write' else ''}for pipes/sockets"
            + ("/character devices" if way == "write" else " and character devices only.")
        )
    os.set_blocking(file.fileno(), False)
    return mode


def read_pipe(loop, file, protocol, waiter, extra):
    """A transport that reads from a file object, which it owns from now on."""
    mode = _check_kind(file, "read")
    pipe: ReadPipe = PipeReader.__new__(PipeReader)
    pipe.set_up(loop, file.fileno(), protocol, None, {**(extra or {}), "pipe": file}, None)
    pipe.file = file
    pipe.named = stat.S_ISFIFO(mode)
    pipe.loop.schedule(protocol.connection_made, (pipe,), pipe.context)
    pipe.loop.schedule(pipe._start, (), pipe.context)
    pipe.tell_waiter(waiter)
    return pipe


def write_pipe(loop, file, protocol, waiter, extra):
    """A transport that writes to a file object, which it owns from now on."""
    mode = _check_kind(file, "write")
    pipe: WritePipe = PipeWriter.__new__(PipeWriter)
    pipe.set_up(loop, file.fileno(), protocol, None, {**(extra or {}), "pipe": file}, None)
    pipe.file = file
    pipe.pending = []
    pipe.watched = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    pipe.loop.schedule(protocol.connection_made, (pipe,), pipe.context)
    if pipe.watched:
        pipe.loop.schedule(pipe._watch, (), pipe.context)
    pipe.tell_waiter(waiter)
    return pipe


class ReadPipe(Transport):
    """The transport of a pipe's reading end (``asyncio.ReadTransport``)."""

    @property
    def __class__(self):
        return PipeReadTransport

    def _start(self):
        if not self.closing:
            self.input = INPUT_OPEN
            # A FIFO that had no writer yet is at its end for a read, while a poll waits for a writer.
            self.start_read(self.named)

    def may_read(self):
        return not self.paused and not self.closing and self.input == INPUT_OPEN and self.table == cython.NULL

    def start_read(self, poll):
        if self.lined or not self.may_read():
            return 0
        if poll or not self.loop.rations.scarce or (not self.bulk and self.loop.rations.spared()):
            return self.launch_read(poll)
        self.lined = True
        self.loop.rations.line.append(self)
        return 0

    def retry(self):
        """Its turn in the line of those that wait for buffers has come."""
        self.lined = False
        return self.launch_read(False) if self.may_read() else 0

    def launch_read(self, poll):
        sqe: sqe_p = self.loop.launch(self)
        sqe.fd = self.fd
        self.polling = poll
        self.cancelling = False
        if poll:
            sqe.opcode = URING_OP_POLL_ADD
            sqe.op_flags = POLLIN
        else:
            sqe.opcode = URING_OP_READ
            sqe.flags = URING_SQE_BUFFER_SELECT
            sqe.off = cython.cast(uint64_t, -1)
            sqe.len = self.loop.buffers.buffer_size
        return 0

    def complete(self, res, flags):
        data: bytes = None
        if flags & URING_CQE_F_BUFFER:
            data = self.loop.take(flags >> URING_CQE_BUFFER_SHIFT, max(res, 0))
        if self.lost or self.closing or self.input != INPUT_OPEN:
            return 0
        if self.polling and res > 0:
            self.polling = False
            return self.start_read(False)
        if res > 0:
            self.bulk = self.loop.rations.scarce and self.loop.rations.received(res)
            if self.paused or self.held is not None:
                if self.held is None:
                    self.held = collections.deque()
                self.held.append(data)
                return 0
            try:
                self.deliver(data)
            finally:  # also after SystemExit or KeyboardInterrupt: the loop may run again
                self.start_read(False)
            return 0
        if res == -EAGAIN:
            return self.start_read(True)
        if res in (-ENOBUFS, -EINTR, -ECANCELED):
            if res == -ENOBUFS:
                self.loop.counts.starved += 1
                self.loop.rations.starved()
                self.bulk = True
            return self.start_read(res == -ECANCELED and self.polling)
        if self.paused or self.held is not None:
            self.input = INPUT_END_HELD
            self.end = res
            return 0
        self.input = INPUT_OVER
        return self.ended(res)

    def deliver(self, data):
        result = ioring_run_method(self.context, self.protocol, DATA_RECEIVED, data)
        if result != cython.NULL:
            Py_DECREF(cython.cast(object, result))
            return 0
        try:
            reraise()
        except BaseException:
            self.failed("data_received()")
        return 0

    def ended(self, res):
        if res < 0 and res != -EIO:  # EIO: the other end of a pseudo-terminal was closed
            return self.fatal(os_error(res, "read"), "Fatal read error on pipe transport")
        if res < 0:
            return self.break_off(os_error(res, "read"))
        self.closing = True
        self.loop.schedule(self.protocol.eof_received, (), self.context)
        return self.schedule_lost(None)

    def _resume(self):
        try:
            while self.held and not (self.paused or self.closing or self.lost):
                self.deliver(self.held.popleft())
        except BaseException:
            self.loop.schedule(self._resume, (), None)
            raise
        if self.held:
            return
        self.held = None
        if self.input == INPUT_END_HELD and not (self.paused or self.closing or self.lost):
            self.input = INPUT_OVER
            self.ended(self.end)
            return
        self.start_read(False)

    def is_reading(self):
        """Whether the protocol gets what arrives."""
        return not self.closing and not self.paused

    def pause_reading(self):
        """The protocol gets no data until ``resume_reading`` (``transport.pause_reading``)."""
        if not self.closing:
            self.paused = True

    def resume_reading(self):
        """The protocol gets data again (``transport.resume_reading``)."""
        if self.closing or not self.paused:
            return
        self.paused = False
        self.loop.schedule(self._resume, (), None)  # it enters the transport's context itself


class PipeWrite(LoopOp):
    """The one write of a pipe that is in flight."""

    def start(self, poll):
        sqe: sqe_p = self.loop.launch(self)
        sqe.fd = self.pipe.fd
        self.polling = poll
        if poll:
            sqe.opcode = URING_OP_POLL_ADD
            sqe.op_flags = POLLOUT
        else:
            sqe.opcode = URING_OP_WRITE
            sqe.addr = cython.cast(cython.size_t, PyBytes_AS_STRING(self.data)) + self.sent
            sqe.len = min(cython.cast(cython.size_t, PyBytes_GET_SIZE(self.data)) - self.sent, WRITE_MAX)
            sqe.off = cython.cast(uint64_t, -1)
        return 0

    def complete(self, res, flags):
        return self.pipe.was_written(self, res)


class WritePipe(Transport):
    """The transport of a pipe's writing end (``asyncio.WriteTransport``).

    As an operation it is a poll, which completes when the reading end is closed.
    """

    @property
    def __class__(self):
        return PipeWriteTransport

    def _watch(self):
        sqe: sqe_p
        if self.closing or self.table != cython.NULL:
            return
        sqe = self.loop.launch(self)
        sqe.opcode = URING_OP_POLL_ADD
        sqe.fd = self.fd
        sqe.op_flags = POLLERR

    def complete(self, res, flags):
        if self.lost or self.fd < 0:
            return 0
        if res == -ECANCELED:
            self._watch()
            return 0
        # The reading end is closed.
        if self.size:
            return self.break_off(BrokenPipeError())
        return self.break_off(None)

    def write(self, data):
        """Writes bytes; they are copied unless they are ``bytes`` (``transport.write``)."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if type(data) is not bytes:
            data = bytes(data)
        if not data:
            return
        if self.lost or self.closing:
            if self.lost:
                self.lost = self.count_lost(self.lost, "pipe closed by peer or os.write(pipe, data) raised exception.")
            return
        self.size += len(data)
        self.pending.append(data)
        if self.writing is None:
            self.loop.enqueue(self)
        self.check_high()
        if self.loop._thread_id is None:
            # No turn will take the completion, for which the next write waits: it is taken here if it is there.
            self.submit_now()
            if self.writing is not None:
                self.loop.ring.reap_one(self.writing)

    def writelines(self, list_of_data):
        """Writes several pieces as if they were one (``transport.writelines``)."""
        self.write(b"".join(list_of_data))

    def prepare(self):
        if self.pending and self.writing is None and not self.lost:
            self.start_write()
        return 0

    def start_write(self):
        write: PipeWrite = PipeWrite.__new__(PipeWrite)
        write.loop = self.loop
        write.pipe = self
        write.data = self.pending[0] if len(self.pending) == 1 else b"".join(self.pending)
        self.pending.clear()
        self.writing = write
        return write.start(False)

    def was_written(self, write, res):
        if self.lost:
            self.writing = None
            return 0
        if write.polling and res > 0:
            return write.start(False)
        if res == -EAGAIN:
            return write.start(True)
        if res == -EINTR or res == -ECANCELED:  # -ECANCELED: the thread that submitted it has ended
            return write.start(False)
        if res < 0:
            self.writing = None
            self.size = 0
            self.pending.clear()
            return self.fatal(os_error(res, "write"), "Fatal write error on pipe transport")
        write.sent += res
        self.size -= res
        if write.sent < cython.cast(cython.size_t, PyBytes_GET_SIZE(write.data)):
            write.start(False)
            return self.check_low()
        self.writing = None
        try:
            self.check_low()
        finally:  # also after SystemExit or KeyboardInterrupt: the loop may run again
            self.write_on()
        return 0

    def write_on(self):
        """The write has ended: writes what was written meanwhile, or closes."""
        if self.lost:
            return 0
        if self.pending:
            if self.writing is None:
                self.start_write()
        elif self.closing:
            self.schedule_lost(None)
        return 0

    def is_reading(self):
        """Not supported, like the next two methods: the transport only writes.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    def pause_reading(self):
        raise NotImplementedError

    def resume_reading(self):
        raise NotImplementedError

    def can_write_eof(self):
        """True."""
        return True

    def write_eof(self):
        """Closes the pipe once everything written is sent (``transport.write_eof``)."""
        self.close()

    def close(self):
        """Closes the transport once everything written is sent (``transport.close``)."""
        if self.loop._closed:
            self.abort()
            return
        if self.closing:
            return
        self.closing = True
        if self.size == 0:
            self.stop_receiving()
            self.schedule_lost(None)

    def drop_output(self):
        self.pending.clear()
        self.size = 0
        if self.writing is not None:
            self.loop.cancel(self.writing)
        return 0


class PipeReader(ReadPipe):
    """A reading end. Not an extension type, so that programs can replace its attributes, as with asyncio's."""


class PipeWriter(WritePipe):
    """A writing end, for the same reason."""
