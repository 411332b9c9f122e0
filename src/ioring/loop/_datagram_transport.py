"""Datagram sockets.

Receiving is one multishot request, into buffers that are large enough for any datagram and that the datagram sockets of
a loop share. What one turn sends is submitted as one batch, and the next batch waits until that is sent. Within a batch
datagrams may overtake each other, as they may on any network. Those of Unix sockets keep their order: they are sent one
by one.
"""

import collections
import socket
import sys

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF
from cython.cimports.ioring.loop._handles import reraise
from cython.cimports.ioring.loop.socket_api import AF_INET, MSG_DONTWAIT, MSG_NOSIGNAL, POLLOUT
from cython.cimports.ioring.ring.freelist import ioring_freelist_install, ioring_freelist_new
from cython.cimports.libc.errno import EAGAIN, EINTR, ENOBUFS, ENOMEM
from cython.cimports.libc.string import memcpy, memset

from ioring.loop.asyncio_private import DatagramTransport, TransportSocket
from ioring.ring.errors import os_error
from ioring.ring.sockaddr import decode, encode

RETRY_SECONDS = cython.declare(cython.double, 0.002)
"""How long a datagram waits before it is sent again: a Unix socket's queue was full, or the kernel had no memory."""

NAME_SIZE = cython.declare(cython.uint, 112)
"""Room for an address, in bytes. The longest, of a Unix socket, has 110."""

# What the socket module makes of names that are none.
NAMES = {
    (socket.AF_INET, ""): "0.0.0.0",
    (socket.AF_INET, "<broadcast>"): "255.255.255.255",
    (socket.AF_INET6, ""): "::",
}

HEADER_BYTES = cython.declare(cython.uint, 8)
"""What a datagram counts in the write buffer besides its length, as in asyncio."""

IN_FLIGHT_MAX = cython.declare(cython.uint, 1024)
"""Most datagrams in flight at once: when there is no room for the first, none of the others has any."""

NAMES_MAX = cython.declare(cython.Py_ssize_t, 4096)
"""How many addresses a transport remembers in each direction."""

SENDS_EMPTY = sys.version_info >= (3, 13)
"""Whether empty datagrams are sent, as asyncio does since Python 3.13."""

DATAGRAM_RECEIVED = "datagram_received"


class SendDatagram(LoopOp):
    """One datagram that is being sent."""

    def parks(self):
        return STAYS

    def complete(self, res, flags):
        return self.transport.was_sent(self, res)


class Writable(LoopOp):
    """A poll that waits until there is room to send."""

    def complete(self, res, flags):
        self.transport.blocked = False
        if self.transport.lost:
            return 0
        return self.transport.prepare()


class Datagram(Transport):
    """The transport of a datagram socket (``asyncio.DatagramTransport``)."""

    @property
    def __class__(self):
        return DatagramTransport

    def _start(self):
        if not self.closing:
            self.reading = True
            self.start_receive()

    # Receiving.

    def receives_into(self):
        return self.buffers

    def start_receive(self):
        sqe: sqe_p
        if self.paused or self.closing or not self.reading or self.table != cython.NULL or self.held is not None:
            return 0
        memset(cython.address(self.header), 0, cython.sizeof(msghdr_t))
        self.header.msg_namelen = NAME_SIZE
        sqe = self.loop.launch(self)
        sqe.opcode = URING_OP_RECVMSG
        sqe.fd = self.fd
        sqe.flags = URING_SQE_BUFFER_SELECT
        sqe.ioprio = URING_RECV_MULTISHOT
        sqe.buf_index = self.buffers.group
        sqe.addr = cython.cast(cython.size_t, cython.address(self.header))
        sqe.len = 1
        self.cancelling = False
        return 0

    def complete(self, res, flags):
        bid: cython.uint
        out: cython.pointer(uring_recvmsg_out)
        place: cython.p_char
        data: bytes = None
        if flags & URING_CQE_F_BUFFER:
            bid = flags >> URING_CQE_BUFFER_SHIFT
            self.buffers.hand_out(bid)
            place = self.buffers.buffers + cython.cast(cython.size_t, bid) * self.buffers.buffer_size
            out = cython.cast(cython.pointer(uring_recvmsg_out), place)
            place += cython.sizeof(uring_recvmsg_out)
            address = None
            if res >= cython.cast(cython.int, cython.sizeof(uring_recvmsg_out) + NAME_SIZE):
                address = self.address_of(cython.cast(cython.pointer(cython.uchar), place), min(out.namelen, NAME_SIZE))
                data = PyBytes_FromStringAndSize(place + NAME_SIZE, res - cython.sizeof(uring_recvmsg_out) - NAME_SIZE)
            self.buffers.put(bid)
            self.buffers.show(1)
        if data is not None and not self.lost and not self.closing:
            if self.paused or self.held is not None:
                if self.held is None:
                    self.held = collections.deque()
                self.held.append((data, address))
                if not self.cancelling and self.table != cython.NULL:
                    self.cancelling = True
                    self.loop.cancel(self)
            elif flags & URING_CQE_F_MORE:
                self.deliver(data, address)
            else:
                try:
                    self.deliver(data, address)
                finally:  # also after SystemExit or KeyboardInterrupt: the loop may run again
                    self.start_receive()
                return 0
        if flags & URING_CQE_F_MORE or self.lost or self.closing or not self.reading:
            return 0
        self.loop.counts.rearmed += 1
        if res == -ENOBUFS:
            self.loop.counts.starved += 1
        elif res < 0 and res not in (-ECANCELED, -EINTR, -EAGAIN):
            try:
                self.report_error(res, "recvmsg")
            finally:  # also after SystemExit or KeyboardInterrupt: the loop may run again
                self.start_receive()
            return 0
        return self.start_receive()

    def deliver(self, data, address):
        result = ioring_run_method2(self.context, self.protocol, DATAGRAM_RECEIVED, data, address)
        if result != cython.NULL:
            Py_DECREF(cython.cast(object, result))
            return 0
        try:
            reraise()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            self.loop.call_exception_handler(
                {
                    "message": "Exception in callback datagram_received()",
                    "exception": exception,
                    "transport": self,
                    "protocol": self.protocol,
                }
            )
        return 0

    def report_error(self, res, operation):
        """Tells the protocol of an error; the transport stays open."""
        try:
            self.call("error_received", os_error(res, operation))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            self.loop.call_exception_handler(
                {
                    "message": "Exception in callback error_received()",
                    "exception": exception,
                    "transport": self,
                    "protocol": self.protocol,
                }
            )
        return 0

    def address_of(self, name, length):
        """Python's form of an address. IPv4 addresses are remembered by their 8 bytes."""
        key: uint64_t
        if length >= 8 and cython.cast(cython.pointer(uint16_t), name)[0] == AF_INET:
            memcpy(cython.address(key), name, 8)
            address = self.addresses.get(key)
            if address is None:
                if len(self.addresses) >= NAMES_MAX:
                    self.addresses.clear()
                address = decode(PyBytes_FromStringAndSize(cython.cast(cython.p_char, name), length))
                self.addresses[key] = address
            return address
        if length == 0:
            return None
        return decode(PyBytes_FromStringAndSize(cython.cast(cython.p_char, name), length))

    def is_reading(self):
        """Whether the protocol gets what arrives."""
        return not self.closing and not self.paused

    def pause_reading(self):
        """The protocol gets no datagrams until ``resume_reading``."""
        if not self.closing:
            self.paused = True

    def resume_reading(self):
        """The protocol gets datagrams again."""
        if self.closing or not self.paused:
            return
        self.paused = False
        self.loop.schedule(self._resume, (), None)  # it enters the transport's context itself

    def _resume(self):
        try:
            while self.held and not (self.paused or self.closing or self.lost):
                data, address = self.held.popleft()
                self.deliver(data, address)
        except BaseException:  # SystemExit or KeyboardInterrupt: the loop may run again
            self.loop.schedule(self._resume, (), None)
            raise
        if not self.held:
            self.held = None
            self.start_receive()

    # Sending.

    def name_of(self, address):
        """The struct sockaddr of an address."""
        name: bytes = self.names.get(address)
        if name is None:
            try:
                name = encode(address, self.file.family)
            except ValueError:
                if not isinstance(address, tuple) or len(address) < 2:
                    raise
                if isinstance(address[1], int) and not 0 <= address[1] <= 65535:
                    raise OverflowError(f"port must be 0-65535, not {address[1]}") from None
                # A host's name: it is looked up here, each time, as by a socket's own sendto().
                host = NAMES.get((self.file.family, address[0]), address[0])
                found = socket.getaddrinfo(host, address[1], family=self.file.family, type=socket.SOCK_DGRAM)
                return encode(found[0][4])
            if len(self.names) >= NAMES_MAX:
                self.names.clear()
            self.names[address] = name
        return name

    def sendto(self, data, addr=None):
        """Sends one datagram (``transport.sendto``).

        Parameters:
            data: bytes-like; copied unless they are ``bytes``.
            addr: the receiver; ``None`` on a connected socket.

        Raises:
            TypeError: ``data`` is not bytes-like.
            ValueError: another address than the one that the socket is connected to; or none, and it is not.
            OverflowError: the port is not one.
        """
        send: SendDatagram
        name: bytes = None
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
            data = bytes(data)
        if not data and not SENDS_EMPTY:
            return
        if self.address is not None and addr is not None and addr != self.address:
            raise ValueError(f"Invalid address: must be None or {self.address}")
        if self.lost:
            if self.address is not None:
                self.lost = self.count_lost(self.lost, "socket.send() raised exception.")
            return
        if not self.connected:
            if addr is None:
                addr = self.address
            if addr is None:
                raise ValueError("the socket is not connected: sendto() needs an address")
            try:
                name = self.name_of(addr)
            except OSError as error:  # the host's name cannot be resolved
                self.protocol.error_received(error)
                return
        send = cython.cast(SendDatagram, ioring_freelist_new())
        send.loop = self.loop
        send.transport = self
        send.data = data
        send.name = name
        self.waiting.append(send)
        self.size += PyBytes_GET_SIZE(send.data) + HEADER_BYTES
        if self.sending == 0:
            self.loop.enqueue(self)
        if self.size > self.high:
            self.check_high()
        self.submit_now()

    def prepare(self):
        """Submits the datagrams that wait, if none is in flight."""
        if self.sending or self.lost or self.blocked:
            return 0
        self.returned = 0
        while self.waiting and self.sending < IN_FLIGHT_MAX:
            self.submit(cython.cast(SendDatagram, self.waiting.popleft()))
            if self.ordered:
                break
        return 0

    def submit(self, send):
        sqe: sqe_p = self.loop.launch(send)
        sqe.opcode = URING_OP_SEND
        sqe.fd = self.fd
        sqe.addr = cython.cast(cython.size_t, PyBytes_AS_STRING(send.data))
        sqe.len = PyBytes_GET_SIZE(send.data)
        # MSG_DONTWAIT: otherwise a Unix datagram that has to wait, and that the kernel retries, arrives empty (6.18).
        sqe.op_flags = MSG_NOSIGNAL | MSG_DONTWAIT
        if send.name is not None:
            sqe.off = cython.cast(cython.size_t, PyBytes_AS_STRING(send.name))
            sqe.file_index = PyBytes_GET_SIZE(send.name)  # addr_len, in its low half
        self.sending += 1
        return 0

    def was_sent(self, send, res):
        self.sending -= 1
        if self.lost:
            return 0
        self.size -= PyBytes_GET_SIZE(send.data) + HEADER_BYTES
        if res < 0 and res != -ECANCELED:
            if res in (-EAGAIN, -EINTR, -ENOMEM):
                self.waiting.insert(self.returned, send)  # in the order in which they were submitted
                self.returned += 1
                self.size += PyBytes_GET_SIZE(send.data) + HEADER_BYTES
                self.block(res)
                return 0
            else:
                try:
                    self.report_error(res, "send")
                finally:  # also after SystemExit or KeyboardInterrupt: the loop may run again
                    self.send_on()
                return 0
        return self.send_on()

    def send_on(self):
        """A datagram was sent, or cannot be sent: sends the next ones."""
        if self.lost:
            return 0
        if self.sending == 0 and self.waiting:
            self.prepare()
        if self.size == 0 and self.closing:
            try:
                self.check_low()
            finally:
                if not self.lost and self.size == 0:
                    self.schedule_lost(None)
            return 0
        return self.check_low()

    def block(self, res):
        """There was no room to send: waits until there is."""
        sqe: sqe_p
        if self.blocked:
            return 0
        self.blocked = True
        if res != -EAGAIN or (self.ordered and not self.connected):
            # A poll does not help: an unconnected Unix socket is writable whether its receiver's queue is full or not.
            self.loop.call_later(RETRY_SECONDS, self._unblock)
            return 0
        self.writable = Writable.__new__(Writable)
        self.writable.loop = self.loop
        self.writable.transport = self
        sqe = self.loop.launch(self.writable)
        sqe.opcode = URING_OP_POLL_ADD
        sqe.fd = self.fd
        sqe.op_flags = POLLOUT
        return 0

    def _unblock(self):
        self.blocked = False
        if not self.lost:
            self.prepare()

    def try_output(self):
        if self.sending == 0 and not self.blocked:
            while self.waiting:  # all of them, also of a Unix socket: none is kept for a second attempt
                self.submit(cython.cast(SendDatagram, self.waiting.popleft()))
        return 0

    def drop_output(self):
        if self.writable is not None:
            self.loop.cancel(self.writable)
        self.waiting.clear()
        self.size = 0
        return 0

    @property
    def _sock(self):
        return self.file

    def load_extra(self, name):
        if name == "socket":
            value = TransportSocket(self.file)
        elif name in ("sockname", "peername"):
            try:
                value = self.file.getsockname() if name == "sockname" else self.file.getpeername()
            except OSError:
                value = None
        else:
            return None
        self._extra[name] = value
        return value


def datagram_transport(loop, sock, protocol, address, waiter, extra, buffers):
    """A transport for a socket object, which it owns from now on."""
    it: Datagram = Datagram.__new__(Datagram)
    it.buffers = buffers
    it.waiting = collections.deque()
    it.names = {}
    it.addresses = {}
    it.set_up(loop, sock.fileno(), protocol, None, extra, None)
    it.file = sock
    it.loop.own(it.fd, it)
    it.address = address
    for name in ("socket", "sockname", "peername"):
        if name not in it._extra:
            it.load_extra(name)
    it.connected = it._extra.get("peername") is not None
    it.ordered = sock.family == socket.AF_UNIX
    it.loop.schedule(protocol.connection_made, (it,), it.context)
    it.loop.schedule(it._start, (), it.context)
    it.tell_waiter(waiter)
    return it


ioring_freelist_install(SendDatagram.__new__(SendDatagram))
