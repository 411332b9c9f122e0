"""Stream sockets: what is received, and the socket itself. Sending is in ``_writable_transport``.

Receiving is one multishot request for the life of the connection, into buffers that all connections share. (A request
for each receive where the kernel has the fault that ``kernel_bugs`` looks for.) The data are copied out of the buffer
at once, so a slow protocol never leaves others without buffers. How they reach the protocol is the stream's mode:

- ``RECEIVE_BYTES``: data_received(bytes).
- ``RECEIVE_FILTER``: the same for a compiled protocol (``Filter``), which is called directly.
- ``RECEIVE_COPY``: a BufferedProtocol. The data are copied from the shared buffer into the protocol's own.
- ``RECEIVE_POLL``: a BufferedProtocol that gets much at a time, so that the copy would cost more than a system call.
  The request is a poll; when it says that data have arrived, recv(2) puts them where the protocol wants them. A receive
  request cannot do that: the protocol is asked for its buffer when the data are there, because it may use one buffer
  for several connections in turn.

When more arrives than there are buffers for, receives are rationed: see ``_rations``.

Pausing does not cancel the receive. Only if data arrive while reading is paused, they are held, and the receive is
cancelled. So no more is held than what one turn can bring.
"""

import asyncio
import collections

import cython
from cython.cimports.cpython.buffer import PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF
from cython.cimports.ioring.loop._handles import reraise
from cython.cimports.ioring.loop.socket_api import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    MSG_DONTWAIT,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLPRI,
    POLLRDHUP,
    getpeername,
    recv,
)
from cython.cimports.libc.errno import EAGAIN, EINTR, ENOBUFS, errno
from cython.cimports.libc.string import memcpy
from cython.cimports.posix.unistd import close

from ioring.loop.asyncio_private import SENDFILE_NATIVE, SocketTransport, TransportSocket
from ioring.ring.errors import os_error
from ioring.ring.sockaddr import decode

POLL_ADD_MULTI = cython.declare(cython.uint, 1)
"""IORING_POLL_ADD_MULTI: the poll stays until it is cancelled."""

POLL_EVENTS = cython.declare(cython.int, POLLIN | POLLPRI | POLLRDHUP)

POLL_MORE = cython.declare(cython.int, POLLPRI | POLLERR | POLLHUP | POLLRDHUP)
"""After these events a recv(2) that does not fill the buffer was not the last: an end or an error may follow.

So may more data after POLLPRI, because recv(2) stops at urgent data."""

POLL_FROM = cython.declare(cython.int, 32768)
"""A BufferedProtocol that has received this many bytes at once is polled for from then on (RECEIVE_POLL)."""

SMALL_MAX = cython.declare(cython.Py_ssize_t, 4096)
SMALL_IN_A_ROW = cython.declare(cython.uint, 16)
"""After this many receives of less than SMALL_MAX bytes it is not polled for any more (RECEIVE_COPY)."""

ROUNDS_MAX = cython.declare(cython.int, 16)
"""How often in a row one connection calls recv(2) before it lets other callbacks run. Once while buffers are scarce."""

DATA_RECEIVED = "data_received"
BUFFER_UPDATED = "buffer_updated"
GET_BUFFER = "get_buffer"


class Install(LoopOp):
    """Makes an ordinary descriptor for a direct one."""

    def parks(self):
        return STAYS

    def complete(self, res, flags):
        self.result = res
        if self.abandoned and res >= 0:
            close(res)
        return 0


class Stream(Output):
    """The transport of a stream socket (``asyncio.Transport``)."""

    @property
    def __class__(self):
        return SocketTransport

    # By these names asyncio asks whether start_tls() and sendfile() are possible, and programs for the socket.

    _start_tls_compatible = True
    _sendfile_compatible = SENDFILE_NATIVE

    @property
    def _sock(self):
        return self._socket_object() if self.fd >= 0 else None

    # The protocol.

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
        if self.filter is not None:
            self.mode = RECEIVE_FILTER
        elif isinstance(protocol, asyncio.BufferedProtocol):
            self.mode = RECEIVE_COPY
        else:
            self.mode = RECEIVE_BYTES
        self.stop_polling()
        if self.protocol_paused and another:
            # resume_writing() will be called on the new protocol, so pause_writing() has to be called on it before.
            self.pause_protocol()

    # Receiving.

    def start(self):
        """connection_made() was called: receives from now on."""
        if self.closing:
            return 0
        self.input = INPUT_OPEN
        return self.start_receive() if self.held is None else self.deliver_held()

    def _start(self):
        self.start()

    def _expect(self):
        """An abandoned request may have received data from the socket. Until that is known, nothing is delivered."""
        self.expecting = True
        self.held = collections.deque()

    def _inherit(self, pieces):
        """What the abandoned request has received: the protocol gets it first."""
        self.expecting = False
        if self.lost or self.closing:
            return
        if pieces:
            self.held = collections.deque(pieces)
        if self.input == INPUT_OPEN:
            self.loop.schedule(self._resume, (), None)

    def may_receive(self):
        return (
            not self.paused
            and not self.closing
            and self.input == INPUT_OPEN
            and self.table == cython.NULL
            and self.held is None
        )

    def start_receive(self):
        """Receives, unless there is a reason not to: at once, or when there are buffers."""
        if self.lined or not self.may_receive():
            return 0
        if not self.loop.rations.scarce or self.mode == RECEIVE_POLL:
            return self.launch_receive(False)
        if not self.bulk and self.loop.rations.spared():
            return self.launch_receive(True)
        self.lined = True
        self.loop.rations.line.append(self)
        return 0

    def retry(self):
        """Its turn in the line of those that wait for buffers has come."""
        self.lined = False
        return self.launch_receive(True) if self.may_receive() else 0

    def launch_receive(self, once):
        sqe: sqe_p = self.loop.launch(self)
        sqe.fd = self.fd
        self.cancelling = False
        self.polling = self.mode == RECEIVE_POLL
        if self.polling:
            sqe.opcode = URING_OP_POLL_ADD
            sqe.len = POLL_ADD_MULTI
            sqe.op_flags = POLL_EVENTS
            return 0
        sqe.opcode = URING_OP_RECV
        sqe.flags = URING_SQE_BUFFER_SELECT
        if self.direct:
            sqe.flags |= URING_SQE_FIXED_FILE
        sqe.ioprio = 0 if once or self.loop._receive_once else URING_RECV_MULTISHOT
        return 0

    def rationed(self, res, flags):
        """Something was received while buffers are scarce. A multishot receive ends if it takes several of them."""
        turn: cython.ulong = self.loop.counts.turns
        again: cython.bint = flags & URING_CQE_F_MORE and self.received_in == turn
        self.received_in = turn
        self.bulk = self.loop.rations.received(res) or again
        if self.bulk and flags & URING_CQE_F_MORE and not self.cancelling:
            self.cancelling = True
            self.loop.cancel(self)
        return 0

    def complete(self, res, flags):
        bid: cython.uint = flags >> URING_CQE_BUFFER_SHIFT
        data: bytes = None
        if self.polling:
            return self.polled(res, flags)
        if self.loop.rations.scarce and res > 0:
            self.rationed(res, flags)
        if flags & URING_CQE_F_BUFFER:
            if (
                self.mode >= RECEIVE_COPY
                and res > 0
                and not (self.lost or self.closing or self.paused or self.held is not None)
            ):
                self.deliver_copy(bid, res, flags)
            else:
                # Also when the connection is closing and the data are dropped: the buffer has to go back.
                data = self.loop.take(bid, max(res, 0))
        if res > 0 and data is not None and not self.lost and not self.closing:
            if self.paused or self.held is not None:
                self.hold(data, False)
            elif flags & URING_CQE_F_MORE:
                self.deliver(data)
            else:
                try:
                    self.deliver(data)
                finally:  # also after SystemExit or KeyboardInterrupt: the loop may run again
                    self.ceased(res)
                return 0
        try:
            if self.loop.unsent > UNSENT_MAX:
                self.loop.send_early()
        finally:  # also when resume_writing() of another protocol raises one of them
            if flags & URING_CQE_F_MORE == 0:
                self.ceased(res)
        return 0

    def deliver_copy(self, bid, res, flags):
        """RECEIVE_COPY: delivers what is in a receive buffer, and gives the buffer back."""
        try:
            self.copy(self.loop.buffers.buffers + cython.cast(cython.size_t, bid) * self.loop.buffers.buffer_size, res)
        except BaseException:  # SystemExit or KeyboardInterrupt: the loop may run again
            if flags & URING_CQE_F_MORE == 0:
                self.ceased(res)
            raise
        finally:
            self.loop.give_back(bid)
        # recv(2) needs an ordinary descriptor.
        if res >= POLL_FROM and self.mode == RECEIVE_COPY and not self.direct:
            self.mode = RECEIVE_POLL
            self.local = self._socket_object().family == AF_UNIX
            self.loop.cancel(self)
        return 0

    def ceased(self, res):
        """The request that receives has ended: another one follows, or the input has ended."""
        if self.lost or self.closing or self.input != INPUT_OPEN:
            return 0
        if res > 0 or res == -ENOBUFS or res == -ECANCELED or res == -EINTR or res == -EAGAIN:
            if res == -ENOBUFS:
                self.loop.counts.starved += 1
                self.loop.rations.starved()
                self.bulk = True  # and so waits for its turn
            self.loop.counts.rearmed += 1
            return self.start_receive()
        if self.paused or self.held is not None:
            return self.hold_end(res)
        self.input = INPUT_OVER
        return self.ended(res)

    def hold(self, data, first):
        """Keeps data while reading is paused, and lets what follows wait in the socket."""
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

    def hold_end(self, res):
        """Keeps the end of the input, a result of 0 or less, until the protocol can be told of it."""
        self.input = INPUT_END_HELD
        self.end = res
        return 0

    def deliver(self, data):
        """Gives data to the protocol, whatever the mode."""
        if self.filter is not None:
            try:
                it: Filter = self.filter  # which the protocol may replace
                return it.feed(data)
            except BaseException:
                return self.failed("data_received()")
        if self.mode >= RECEIVE_COPY:
            return self.copy(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        result = ioring_run_method(self.context, self.protocol, DATA_RECEIVED, data)
        if result != cython.NULL:
            Py_DECREF(cython.cast(object, result))
            return 0
        try:
            reraise()
        except BaseException:
            self.failed("data_received()")
        return 0

    def copy(self, source, whole):
        """Copies data into the buffers of a BufferedProtocol, as many as it takes."""
        view: Py_buffer
        length: cython.Py_ssize_t
        done: cython.Py_ssize_t = 0
        while done < whole:
            if self.paused or self.closing or self.lost:
                if self.paused and not self.closing:
                    self.hold(PyBytes_FromStringAndSize(source + done, whole - done), True)
                return 0
            if self.mode < RECEIVE_COPY:  # set_protocol() was called
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
        """RECEIVE_POLL: data or the end have arrived, or the poll was cancelled."""
        try:
            if res > 0 and not self.again:
                self.receive_now(self.local or res & POLL_MORE)
        finally:  # also after SystemExit or KeyboardInterrupt: the loop may run again
            if flags & URING_CQE_F_MORE == 0:
                self.ceased(min(res, 1))
        if self.loop.unsent > UNSENT_MAX:
            self.loop.send_early()
        return 0

    def receive_now(self, to_the_end):
        """Calls recv(2) into the protocol's own buffer until nothing is left.

        When a buffer is not filled, those data were the last, and the poll reports what arrives later. It does not
        report again what has already arrived but recv(2) did not reach: the end; and on a Unix socket what follows
        descriptors or credentials that were sent along. Then, with ``to_the_end``, recv(2) is called until it fails.
        """
        view: Py_buffer
        length: cython.Py_ssize_t
        room: cython.Py_ssize_t = 0
        code: cython.int
        rounds: cython.int = 0
        while self.input == INPUT_OPEN and self.mode >= RECEIVE_COPY and not (self.paused or self.closing or self.lost):
            rounds += 1
            # One piece a turn when others wait for theirs: they may be those who go on like this, too.
            if rounds > ROUNDS_MAX or (rounds > 1 and (self.loop.rations.scarce or self.loop.head != self.loop.tail)):
                return self.receive_later()
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
                self.receive_later()  # the loop may run again
                raise
            except BaseException:
                return self.failed("get_buffer()")
            if length <= 0:
                if length < 0 and (code == EAGAIN or code == EINTR):
                    return 0
                self.input = INPUT_OVER
                self.loop.cancel(self)
                return self.ended(0 if length == 0 else -code)
            try:
                self.call(BUFFER_UPDATED, length)
            except (SystemExit, KeyboardInterrupt):
                self.receive_later()
                raise
            except BaseException:
                return self.failed("buffer_updated()")
            self.small = self.small + 1 if length < SMALL_MAX else 0
            if self.small == SMALL_IN_A_ROW:
                if self.mode == RECEIVE_POLL:
                    self.mode = RECEIVE_COPY
                return self.stop_polling()
            if length < room and not to_the_end:
                return 0
        return 0

    def stop_polling(self):
        """Cancels the poll, if there is one: what follows is received by a request."""
        self.small = 0
        if self.polling and self.table != cython.NULL and not self.cancelling:
            self.cancelling = True
            self.loop.cancel(self)
        return 0

    def receive_later(self):
        """Goes on in the next turn, once: the poll may report more data meanwhile, and so may resume_reading()."""
        if not self.again:
            self.again = True
            self.loop.schedule(self._receive_again, (), None)
        return 0

    def _receive_again(self):
        self.again = False
        if self.polling:
            self.receive_now(True)

    def deliver_later(self, source, length):
        """The protocol has raised SystemExit or KeyboardInterrupt: keeps the rest, for the loop may run again."""
        if length:
            self.hold(PyBytes_FromStringAndSize(source, length), True)
            self.loop.schedule(self._resume, (), None)
        return 0

    def deliver_held(self):
        """Reading goes on, first with what arrived while it was paused."""
        if self.expecting:
            return 0
        try:
            while self.held and not (self.paused or self.closing or self.lost):
                self.deliver(self.held.popleft())
        except BaseException:  # SystemExit or KeyboardInterrupt: the loop may run again
            self.loop.schedule(self._resume, (), None)
            raise
        if self.held:
            return 0
        self.held = None
        if self.input == INPUT_END_HELD and not (self.paused or self.closing or self.lost):
            self.input = INPUT_OVER
            return self.ended(self.end)
        if self.polling and self.table != cython.NULL:
            return 0 if self.again else self.receive_now(True)
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
            # The loop may run again: eof_received() is called again then, as in asyncio.
            self.hold_end(res)
            self.loop.schedule(self._resume, (), None)
            raise
        except BaseException:
            return self.failed("eof_received()")
        if not keep_open:
            self.close()
        return 0

    def is_reading(self):
        """Whether the protocol gets what arrives."""
        return not self.closing and not self.paused

    def pause_reading(self):
        """The protocol gets no data until ``resume_reading`` (``transport.pause_reading``)."""
        if not self.closing and not self.paused:
            self.paused = True

    def resume_reading(self):
        """The protocol gets data again (``transport.resume_reading``)."""
        if self.closing or not self.paused:
            return
        self.paused = False
        if self.held is not None or self.input == INPUT_END_HELD or self.polling:
            self.loop.schedule(self._resume, (), None)  # it enters the transport's context itself
        else:
            self.start_receive()

    def _connection_lost(self, exception):
        Transport._connection_lost(self, exception)
        waiter = self.empty_waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionError("Connection is closed by peer"))
        # Breaks the reference cycles, so that the protocol is freed without the garbage collector.
        self.filter = None
        self.held = None

    # Extra information.

    def load_extra(self, name):
        if name == "socket":
            if self.fd < 0:
                return None
            value = TransportSocket(self._socket_object())
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
        """Asks for the peer's address while the kernel knows it: it does not once the connection was reset.

        Of a direct descriptor the address cannot be asked for without making an ordinary one.
        """
        name: sockaddr_storage
        size: cython.uint = cython.sizeof(sockaddr_storage)
        if self.direct:
            return 0
        if getpeername(self.fd, cython.cast(cython.pointer(sockaddr), cython.address(name)), cython.address(size)):
            return 0
        # The addresses of other families are left to the socket module.
        if name.ss_family == AF_INET or name.ss_family == AF_INET6 or name.ss_family == AF_UNIX:
            self.peer = PyBytes_FromStringAndSize(
                cython.cast(cython.p_char, cython.address(name)), min(size, cython.sizeof(sockaddr_storage))
            )
        return 0

    def _socket_object(self):
        """The socket that owns the descriptor, made when it is first asked for."""
        if self.file is None:
            self.file = self.loop._socket_of(self.descriptor(), self.server)
            self.loop.own(self.file.fileno(), self)
        return self.file

    def descriptor(self):
        """An ordinary descriptor of the connection. For a direct one the kernel makes one, besides the direct one."""
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
            self.loop.ring.reap_one(op)
        except BaseException:  # a signal's handler has raised: nobody takes the descriptor
            op.abandoned = True
            raise
        op.abandoned = op.result == -ECANCELED  # it may still be under way, and then nobody takes the descriptor
        if op.result < 0:
            raise os_error(op.result, "fixed_fd_install")
        return op.result


def open_stream(loop, fd, direct, protocol, context, extra, server):
    stream: Stream = Stream.__new__(Stream)
    stream.direct = direct
    stream.set_up(loop, fd, protocol, context, extra, server)
    return stream


def stream_of_socket(loop, sock, protocol, waiter, extra, server, context):
    """A transport for a socket object, which it owns from now on. connection_made() is called in the next turn."""
    stream: Stream = open_stream(loop, sock.fileno(), False, protocol, context, extra, server)
    stream.file = sock
    stream.loop.own(stream.fd, stream)
    for name in ("sockname", "peername"):
        if name not in stream._extra:
            stream.load_extra(name)
    return _begin(stream, waiter)


def stream_of_descriptor(loop, fd, direct, protocol, context, server):
    """A transport for an accepted connection. connection_made() is called in the next turn."""
    stream: Stream = open_stream(loop, fd, direct, protocol, context, None, server)
    stream.note_peer()
    return _begin(stream, None)


def _begin(stream, waiter):
    it: Stream = stream
    it.loop.schedule(it.protocol.connection_made, (it,), it.context)
    it.loop.schedule(it._start, (), it.context)
    it.tell_waiter(waiter)
    return it
