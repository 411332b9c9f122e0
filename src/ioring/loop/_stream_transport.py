"""Stream sockets.

Receiving is one multishot request for the life of the connection, into buffers that all connections share. (One after
the other where the kernel gets that wrong.) The bytes are copied out at once, so a slow protocol never starves others
of buffers. Sending: see output.py.

A BufferedProtocol that gets much at a time is served otherwise: a copy of 64 KiB costs more than a system call. There
the kernel tells when something has come, and recv(2) puts it where the protocol wants it. It cannot be a request: the
buffer has to be asked for when the bytes are there, because it may serve several connections in turn.

Pausing does not cancel the receive: only when something arrives while reading is paused, it is held, and the receive
is cancelled. So no more is held than one turn can bring.
"""

import asyncio
import collections

import cython
from cython.cimports.cpython.buffer import PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF
from cython.cimports.ioring.loop._handles import reraise
from cython.cimports.ioring.loop._stream_transport import recv
from cython.cimports.libc.errno import EAGAIN, EINTR, ENOBUFS, errno
from cython.cimports.libc.string import memcpy
from cython.cimports.posix.unistd import close

from ioring.ring.errors import os_error
from ioring.ring.sockaddr import decode

POLL_ADD_MULTI = cython.declare(cython.uint, 1)
POLLIN_RDHUP = cython.declare(cython.uint, 0x2003)  # and POLLPRI
POLL_ENDS = cython.declare(cython.int, 0x201A)
"""POLLRDHUP, POLLHUP, POLLERR; and POLLPRI: recv(2) ends at urgent data, whatever stands behind."""

BULK_MIN = cython.declare(cython.int, 32768)
"""A BufferedProtocol that got so much at once is polled for."""

SMALL_MAX = cython.declare(cython.Py_ssize_t, 4096)
SMALL_IN_A_ROW = cython.declare(cython.uint, 16)
"""After so many receives of less than that, it is not any more."""

ROUNDS_MAX = cython.declare(cython.int, 16)
"""How often one connection receives before others do."""

AF_UNIX = cython.declare(cython.int, 1)
AF_INET = cython.declare(cython.int, 2)
AF_INET6 = cython.declare(cython.int, 10)

DATA_RECEIVED = "data_received"
BUFFER_UPDATED = "buffer_updated"
GET_BUFFER = "get_buffer"


class Install:
    """An ordinary descriptor for a direct one."""

    def complete(self, res, flags):
        self.result = res
        if self.abandoned and res >= 0:
            close(res)
        return 0


class Stream:
    """The transport of a stream socket (``asyncio.Transport``)."""

    _start_tls_compatible = True

    @property
    def _sock(self):
        return self._socket_object() if self.fd >= 0 else None

    @property
    def _sendfile_compatible(self):
        return self.loop._sendfile_mode

    def set_protocol(self, protocol):
        """Hands all further events to another protocol."""
        another: cython.bint = protocol is not self.protocol
        self.protocol = protocol
        if isinstance(protocol, Filter):
            self.filter = cython.cast(Filter, protocol)
        elif type(protocol) is asyncio.StreamReaderProtocol:
            self.filter = self.loop._adopt_reader(protocol, self)
        else:
            self.filter = None
        self.buffered = self.filter is None and isinstance(protocol, asyncio.BufferedProtocol)
        self.bulk = False
        self.stop_polling()
        if self.protocol_paused and another:
            # It will be told to go on, so it has to know that it may not.
            self.pause_protocol()

    # Receiving.

    def _start(self):
        """connection_made() was called."""
        if not self.closing:
            self.reading = True
            if self.held is None:
                self.start_receive()
            else:
                self.deliver_held()

    def _expect(self):
        """Something may have been received from the socket already. It is not known yet, and goes before the rest."""
        self.expecting = True
        self.held = collections.deque()

    def _inherit(self, pieces):
        """That was received: the protocol gets it first."""
        self.expecting = False
        if self.lost or self.closing:
            return
        if pieces:
            self.held = collections.deque(pieces)
        if self.reading:
            self.loop.schedule(self._resume, (), None)

    def start_receive(self):
        sqe: sqe_p
        if self.paused or self.closing or not self.reading or self.table != cython.NULL or self.held is not None:
            return 0
        sqe = self.loop.launch(self)
        sqe.fd = self.fd
        self.cancelling = False
        self.polling = self.bulk and self.buffered
        if self.polling:
            sqe.opcode = URING_OP_POLL_ADD
            sqe.len = POLL_ADD_MULTI
            sqe.op_flags = POLLIN_RDHUP
            return 0
        sqe.opcode = URING_OP_RECV
        sqe.flags = URING_SQE_BUFFER_SELECT
        if self.direct:
            sqe.flags |= URING_SQE_FIXED_FILE
        sqe.ioprio = 0 if self.loop._receive_once else URING_RECV_MULTISHOT
        return 0

    def complete(self, res, flags):
        bid: cython.uint = flags >> URING_CQE_BUFFER_SHIFT
        data: bytes = None
        if self.polling:
            return self.polled(res, flags)
        if flags & URING_CQE_F_BUFFER:
            if self.buffered and res > 0 and not (self.lost or self.closing or self.paused or self.held is not None):
                try:
                    self.deliver_buffered(
                        self.loop.buffers.buffers + cython.cast(cython.size_t, bid) * self.loop.buffers.buffer_size, res
                    )
                except BaseException:  # the protocol ends the loop, which may run again
                    if flags & URING_CQE_F_MORE == 0:
                        self.ceased(res)
                    raise
                finally:
                    self.loop.give_back(bid)
                if res >= BULK_MIN and self.buffered and not self.direct and not self.bulk:
                    self.bulk = True
                    self.local = self._socket_object().family == AF_UNIX
                    self.loop.cancel(self)
            else:
                # Also when nobody wants the bytes any more: the buffer has to go back.
                data = self.loop.take(bid, max(res, 0))
        if res > 0 and data is not None and not self.lost and not self.closing:
            if self.paused or self.held is not None:
                self.hold(data, False)
            elif flags & URING_CQE_F_MORE:
                self.deliver(data)
            else:
                try:
                    self.deliver(data)
                finally:  # also when the protocol ends the loop, which may run again
                    self.ceased(res)
                return 0
        try:
            if self.loop.unsent > UNSENT_MAX:
                self.loop.send_early()
        finally:  # also when another protocol, which may write again, ends the loop
            if flags & URING_CQE_F_MORE == 0:
                self.ceased(res)
        return 0

    def ceased(self, res):
        """The multishot has ended."""
        if self.lost or self.closing or not self.reading:
            return 0
        if res > 0 or res == -ENOBUFS or res == -ECANCELED or res == -EINTR or res == -EAGAIN:
            if res == -ENOBUFS:
                self.loop.counts.starved += 1
            self.loop.counts.rearmed += 1
            # By the next wait all buffers of this turn are back.
            return self.start_receive()
        self.reading = False
        if self.paused or self.held is not None:
            self.end_held = True
            self.end = res
            return 0
        return self.ended(res)

    def hold(self, data, first):
        """Reading is paused: keeps what has come, and lets the rest wait in the socket."""
        if self.held is None:
            self.held = collections.deque()
        if first:
            self.held.appendleft(data)
        else:
            self.held.append(data)
        if self.table != cython.NULL and not self.cancelling:
            self.cancelling = True
            self.loop.cancel(self)
        return 0

    def deliver(self, data):
        if self.filter is not None:
            try:
                it: Filter = self.filter  # which the protocol may replace
                return it.feed(data)
            except BaseException:
                return self.failed("data_received()")
        if self.buffered:
            return self.deliver_buffered(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        result = ioring_run_method(self.context, self.protocol, DATA_RECEIVED, data)
        if result != cython.NULL:
            Py_DECREF(cython.cast(object, result))
            return 0
        try:
            reraise()
        except BaseException:
            self.failed("data_received()")
        return 0

    def deliver_buffered(self, source, whole):
        """Copies into the protocol's own buffer, as often as it takes."""
        view: Py_buffer
        length: cython.Py_ssize_t
        done: cython.Py_ssize_t = 0
        while done < whole:
            if self.paused or self.closing or self.lost:
                if self.paused and not self.closing:
                    self.hold(PyBytes_FromStringAndSize(source + done, whole - done), True)
                return 0
            if not self.buffered:  # another protocol since
                return self.deliver(PyBytes_FromStringAndSize(source + done, whole - done))
            try:
                buffer = self.call(GET_BUFFER, whole - done)
                PyObject_GetBuffer(buffer, cython.address(view), PyBUF_WRITABLE)
                length = min(view.len, whole - done)
                memcpy(view.buf, source + done, length)
                PyBuffer_Release(cython.address(view))
                if length == 0:
                    raise RuntimeError("get_buffer() returned an empty buffer")
            except (SystemExit, KeyboardInterrupt):
                self.deliver_later(source + done, whole - done)
                raise
            except BaseException:
                return self.failed("get_buffer()")
            done += length
            try:
                self.call(BUFFER_UPDATED, length)
            except (SystemExit, KeyboardInterrupt):
                self.deliver_later(source + done, whole - done)
                raise
            except BaseException:
                return self.failed("buffer_updated()")
        return 0

    def polled(self, res, flags):
        """Something has come, or the end, or the poll has ended."""
        try:
            if res > 0:
                self.receive_now(self.local or res & POLL_ENDS)
        finally:  # also when the protocol ends the loop, which may run again
            if flags & URING_CQE_F_MORE == 0:
                self.ceased(min(res, 1))
        if self.loop.unsent > UNSENT_MAX:
            self.loop.send_early()
        return 0

    def receive_now(self, to_the_end):
        """Receives into the protocol's own buffer, until nothing is left.

        A piece that does not fill the buffer was the last: what comes next is told of. But not the end that stands
        behind it already; nor, on a Unix socket, what stands behind descriptors or credentials that were sent along.
        """
        view: Py_buffer
        length: cython.Py_ssize_t
        room: cython.Py_ssize_t = 0
        code: cython.int
        rounds: cython.int = 0
        while self.reading and self.buffered and not (self.paused or self.closing or self.lost):
            rounds += 1
            if rounds > ROUNDS_MAX:  # others want their turn too
                self.loop.schedule(self._receive_again, (), None)
                return 0
            try:
                buffer = self.call(GET_BUFFER, -1)
                PyObject_GetBuffer(buffer, cython.address(view), PyBUF_WRITABLE)
                room = view.len
                length = recv(self.fd, view.buf, room, MSG_DONTWAIT)
                code = errno
                PyBuffer_Release(cython.address(view))
                if room == 0:
                    raise RuntimeError("get_buffer() returned an empty buffer")
            except (SystemExit, KeyboardInterrupt):
                self.loop.schedule(self._receive_again, (), None)  # the loop may run again
                raise
            except BaseException:
                return self.failed("get_buffer()")
            if length <= 0:
                if length < 0 and (code == EAGAIN or code == EINTR):
                    return 0
                self.reading = False
                self.loop.cancel(self)
                return self.ended(0 if length == 0 else -code)
            try:
                self.call(BUFFER_UPDATED, length)
            except (SystemExit, KeyboardInterrupt):
                self.loop.schedule(self._receive_again, (), None)
                raise
            except BaseException:
                return self.failed("buffer_updated()")
            self.small = self.small + 1 if length < SMALL_MAX else 0
            if self.small == SMALL_IN_A_ROW:
                self.bulk = False
                return self.stop_polling()
            if length < room and not to_the_end:
                return 0
        return 0

    def stop_polling(self):
        """What comes next is received by the kernel."""
        self.small = 0
        if self.polling and self.table != cython.NULL and not self.cancelling:
            self.cancelling = True
            self.loop.cancel(self)
        return 0

    def _receive_again(self):
        if self.polling:
            self.receive_now(True)

    def deliver_later(self, source, length):
        """The protocol ends the loop, which may run again: what the protocol did not get is kept."""
        if length:
            self.hold(PyBytes_FromStringAndSize(source, length), True)
            self.loop.schedule(self._resume, (), None)
        return 0

    def deliver_held(self):
        """Reading goes on: first with what has come while it was paused."""
        if self.expecting:
            return 0
        try:
            while self.held and not (self.paused or self.closing or self.lost):
                self.deliver(self.held.popleft())
        except BaseException:  # the protocol ends the loop, which may run again
            self.loop.schedule(self._resume, (), None)
            raise
        if self.held:
            return 0
        self.held = None
        if self.end_held and not (self.paused or self.closing or self.lost):
            self.end_held = False
            return self.ended(self.end)
        if self.polling and self.table != cython.NULL:
            return self.receive_now(True)
        return self.start_receive()

    def _resume(self):
        self.deliver_held()

    def ended(self, res):
        """The other side will send no more, or the connection is broken."""
        if res < 0:
            return self.fatal(os_error(res, "recv"), "Fatal read error on socket transport")
        try:
            if self.filter is not None:
                it: Filter = self.filter
                keep_open = it.end()
            else:
                keep_open = self.call("eof_received", None)
        except (SystemExit, KeyboardInterrupt):
            # The loop may run again: it is told again then, as asyncio does.
            self.end_held = True
            self.end = res
            self.loop.schedule(self._resume, (), None)
            raise
        except BaseException:
            return self.failed("eof_received()")
        if not keep_open:
            self.close()
        return 0

    def is_reading(self):
        """Whether the protocol is told of what arrives."""
        return not self.closing and not self.paused

    def pause_reading(self):
        """Stops telling the protocol of what arrives (``transport.pause_reading``)."""
        if not self.closing and not self.paused:
            self.paused = True

    def resume_reading(self):
        """Goes on after ``pause_reading``."""
        if self.closing or not self.paused:
            return
        self.paused = False
        if self.held is not None or self.end_held or self.polling:
            self.loop.schedule(self._resume, (), None)  # it enters the transport's context itself
        else:
            self.start_receive()

    def _connection_lost(self, exception):
        Transport._connection_lost(self, exception)
        waiter = self.empty_waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionError("Connection is closed by peer"))
        # Nothing will come any more: let the protocol, and what hangs on it, go without the garbage collector.
        self.protocol = None
        self.filter = None
        self.held = None

    # Extra information.

    def load_extra(self, name):
        if name == "socket":
            if self.fd < 0:
                return None
            value = self.loop._transport_socket(self._socket_object())
        elif name == "peername" and self.peer is not None:
            value = decode(self.peer)
        elif name in ("sockname", "peername"):
            sock = self.get_extra_info("socket")
            if sock is None:
                return None
            try:
                value = sock.getsockname() if name == "sockname" else sock.getpeername()
            except OSError:
                value = None
        else:
            return None
        self._extra[name] = value
        return value

    def note_peer(self):
        """Asks who the other side is: nobody knows it any more when that has reset the connection.

        Of a direct descriptor it cannot be asked without making an ordinary one.
        """
        name: sockaddr_storage
        size: cython.uint = cython.sizeof(sockaddr_storage)
        if self.direct:
            return 0
        if getpeername(self.fd, cython.cast(cython.pointer(sockaddr), cython.address(name)), cython.address(size)):
            return 0
        # For other families only the socket module knows Python's form.
        if name.ss_family == AF_INET or name.ss_family == AF_INET6 or name.ss_family == AF_UNIX:
            self.peer = PyBytes_FromStringAndSize(
                cython.cast(cython.p_char, cython.address(name)), min(size, cython.sizeof(sockaddr_storage))
            )
        return 0

    def _socket_object(self):
        """The socket that owns the descriptor, made when it is asked for first."""
        if self.file is None:
            self.file = self.loop._socket_of(self.descriptor(), self.server)
            self.loop.own(self.file.fileno(), self)
        return self.file

    def descriptor(self):
        """An ordinary descriptor of the connection; of a direct one the kernel makes a second, ordinary one."""
        op: Install
        sqe: sqe_p
        if not self.direct:
            return self.fd
        op = Install.__new__(Install)
        op.loop = self.loop
        op.result = -ECANCELED
        op.marks = MARK_DESCRIPTOR
        sqe = self.loop.launch(op)
        sqe.opcode = URING_OP_FIXED_FD_INSTALL
        sqe.fd = self.fd
        sqe.flags = URING_SQE_FIXED_FILE
        try:
            self.loop.ring.exchange(0, 0)
        except BaseException:  # a signal's handler: nobody takes the descriptor
            op.abandoned = True
            raise
        self.loop.ring.reap_one(op)
        if op.result < 0:
            raise os_error(op.result, "fixed_fd_install")
        return op.result


def open_stream(loop, fd, direct, protocol, context, extra, server):
    stream: Stream = Stream.__new__(Stream)
    stream.direct = direct
    stream.set_up(loop, fd, protocol, context, extra, server)
    return stream


def stream_of_socket(loop, sock, protocol, waiter, extra, server):
    """A transport for a socket object, which it owns from now on. Its protocol is told at the next turn."""
    stream: Stream = open_stream(loop, sock.fileno(), False, protocol, None, extra, server)
    stream.file = sock
    stream.loop.own(stream.fd, stream)
    for name in ("sockname", "peername"):
        if name not in stream._extra:
            stream.load_extra(name)
    return _begin(stream, waiter)


def stream_of_descriptor(loop, fd, direct, protocol, context, server):
    """A transport for an accepted connection. Its protocol is told at the next turn."""
    stream: Stream = open_stream(loop, fd, direct, protocol, context, None, server)
    stream.note_peer()
    return _begin(stream, None)


def _begin(stream, waiter):
    it: Stream = stream
    it.loop.schedule(it.protocol.connection_made, (it,), it.context)
    it.loop.schedule(it._start, (), it.context)
    it.tell_waiter(waiter)
    return it
