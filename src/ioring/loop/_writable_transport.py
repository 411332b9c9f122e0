"""How stream sockets send.

One request at a time is in flight, with everything that was written until then: two at once could mix their bytes. What
is being sent belongs to the Send until its completion, whatever becomes of the transport.
"""

import socket

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.ioring.loop.socket_api import MSG_DONTWAIT, MSG_NOSIGNAL, MSG_WAITALL, SHUT_WR, send
from cython.cimports.ioring.ring.freelist import ioring_freelist_install, ioring_freelist_new
from cython.cimports.libc.errno import EAGAIN, ECONNRESET, EINTR, ENOBUFS, ENOMEM, EPIPE
from cython.cimports.libc.stdlib import free, malloc
from cython.cimports.libc.string import memset

from ioring.ring.errors import os_error

AT_ONCE_MIN = cython.declare(cython.size_t, 32768)
"""A write of this many bytes or more is sent by send(2) at once, while the data are in the processor's cache."""

JOIN_MAX = cython.declare(cython.size_t, 4096)
"""Several writes of at most this many bytes together are joined: that is cheaper than an iovec for each."""

SEND_MAX = cython.declare(cython.size_t, 1 << 20)
"""Most bytes in one request, so that the write buffer's size shows how far a slow peer has come."""

PARTS_MAX = cython.declare(cython.int, 1024)
"""Most parts in one request, the kernel's limit (IOV_MAX)."""

RETRY_SECONDS = cython.declare(cython.double, 0.02)
"""How long a send waits before it is tried again, when the kernel had no memory for it."""


class Send(LoopOp):
    """The one send of a stream that is in flight."""

    def start(self):
        sqe: sqe_p
        chunk: bytes
        left: cython.size_t
        if isinstance(self.data, bytes):
            chunk = self.data
            left = cython.cast(cython.size_t, PyBytes_GET_SIZE(chunk)) - self.sent
            self.length = min(left, SEND_MAX)
            sqe = self.loop.launch(self)
            sqe.opcode = URING_OP_SEND
            sqe.addr = cython.cast(cython.size_t, PyBytes_AS_STRING(chunk)) + self.sent
            sqe.len = self.length
        else:
            self.fill_parts(self.data)
            sqe = self.loop.launch(self)
            sqe.opcode = URING_OP_SENDMSG
            sqe.addr = cython.cast(cython.size_t, cython.address(self.header))
            sqe.len = 1
        sqe.op_flags = MSG_NOSIGNAL | MSG_WAITALL
        self.stream.target(sqe)
        return 0

    def fill_parts(self, chunks):
        """Describes the next SEND_MAX bytes of a list, after those that are sent."""
        chunk: bytes
        size: cython.size_t
        place: cython.Py_ssize_t
        count: cython.int = 0
        skip: cython.size_t
        while True:  # passes over what is sent, for good: a list may have a million chunks
            size = PyBytes_GET_SIZE(cython.cast(bytes, chunks[self.first]))
            if self.sent - self.before < size:
                break
            self.before += size
            self.first += 1
        skip = self.sent - self.before
        if self.parts == cython.NULL:
            self.parts = cython.cast(cython.pointer(iovec), malloc(min(len(chunks), PARTS_MAX) * cython.sizeof(iovec)))
            if self.parts == cython.NULL:
                raise MemoryError
        self.length = 0
        for place in range(self.first, len(chunks)):
            chunk = chunks[place]
            size = PyBytes_GET_SIZE(chunk)
            self.parts[count].iov_base = PyBytes_AS_STRING(chunk) + skip
            self.parts[count].iov_len = min(size - skip, SEND_MAX - self.length)
            self.length += self.parts[count].iov_len
            skip = 0
            count += 1
            if count == PARTS_MAX or self.length >= SEND_MAX:
                break
        memset(cython.address(self.header), 0, cython.sizeof(msghdr_t))
        self.header.msg_iov = self.parts
        self.header.msg_iovlen = count
        return 0

    def complete(self, res, flags):
        return self.stream.was_sent(self, res)

    def __repr__(self):
        return f"<Send of {self.stream!r}>"

    def __dealloc__(self):
        free(self.parts)


class Shutdown(LoopOp):
    """shutdown(2) of a direct descriptor, which no system call can reach.

    One of the kernel's worker threads does it, and looks the slot up only then. So the slot is not freed before: the
    connection that got it next would be shut down.
    """

    def parks(self):
        return STAYS

    def complete(self, res, flags):
        self.stream.shutdown = None
        if self.slot >= 0:
            self.loop._free_slot(self.slot)
        return 0


class Output(Transport):
    """The sending half of a stream socket's transport."""

    def write(self, data):
        """Sends bytes; they are copied unless they are ``bytes`` (``transport.write``).

        Raises:
            TypeError: ``data`` is not bytes-like.
            RuntimeError: after ``write_eof``, or while a file is being sent.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
            data = bytes(data)
        if self.eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        self.write_bytes(data)

    def writelines(self, list_of_data):
        """Sends several pieces as if they were one (``transport.writelines``)."""
        if self.eof:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to writelines; sendfile is in progress")
        self.write_bytes(b"".join(list_of_data))

    def takes_bytes(self):
        """Whether write_bytes() may be called, without the checks of write()."""
        return not self.eof and self.empty_waiter is None

    def write_bytes(self, data):
        size: cython.size_t = PyBytes_GET_SIZE(data)
        if size == 0:
            return 0
        if self.lost or self.closing:
            if self.lost:
                self.lost = self.count_lost(self.lost, "socket.send() raised exception.")
            return 0
        if size >= AT_ONCE_MIN and self.pending is None and self.send is None and not self.direct:
            if self.try_send(data) == cython.cast(cython.Py_ssize_t, size):
                return 0
            if self.send is not None:
                if self.size > self.high:
                    self.check_high()
                return self.submit_now()
        self.size += size
        self.loop.unsent += size
        if self.pending is None:
            self.pending = data
            if self.send is None:
                self.loop.enqueue(self)
        elif isinstance(self.pending, list):
            cython.cast(list, self.pending).append(data)
        else:
            self.pending = [self.pending, data]
        if self.size > self.high:
            self.check_high()
        return self.submit_now()

    def try_send(self, data):
        """Sends at once what the socket has room for, and the rest by a request. Returns how much was sent."""
        it: Send
        done: cython.Py_ssize_t = send(
            self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL
        )
        if done <= 0:
            return 0  # after an error, too: the request will meet it again
        if done < PyBytes_GET_SIZE(data):
            self.size += PyBytes_GET_SIZE(data) - done
            it = cython.cast(Send, ioring_freelist_new())
            it.loop = self.loop
            it.stream = self
            it.marks = MARK_EARLY
            it.data = data
            it.whole = PyBytes_GET_SIZE(data)
            it.sent = done
            self.send = it
            it.start()
        return done

    def prepare(self):
        if self.pending is not None and self.send is None and not self.lost:
            self.start_send()
        return 0

    def start_send(self):
        """Sends everything that is pending."""
        total: cython.size_t = self.size
        send: Send = cython.cast(Send, ioring_freelist_new())
        send.loop = self.loop
        send.stream = self
        send.marks = MARK_EARLY
        if isinstance(self.pending, list) and total <= JOIN_MAX:
            send.data = b"".join(self.pending)
        else:
            send.data = self.pending
        send.whole = total
        self.pending = None
        self.send = send
        return send.start()

    def was_sent(self, send, res):
        if self.lost:
            self.send = None
            return 0
        if res < 0:
            if res == -EPIPE and send.cut:
                res = -ECONNRESET  # the request before was cut short by it, and a socket reports it only once
            if res == -ECANCELED:  # not by us: the thread that submitted it has ended
                return send.start()
            if res in (-ENOBUFS, -ENOMEM, -EAGAIN, -EINTR):
                self.loop.call_later(RETRY_SECONDS, self._retry, send)
                return 0
            self.send = None
            self.size = 0
            self.pending = None
            error = os_error(res, "send")
            if self.empty_waiter is not None and not self.empty_waiter.done():
                self.empty_waiter.set_exception(error)
            return self.fatal(error, "Fatal write error on socket transport")
        send.sent += res
        self.size -= res
        if send.sent < send.whole:
            send.cut = cython.cast(cython.size_t, res) < send.length
            send.start()
            return self.check_low()
        self.send = None
        if self.protocol_paused:
            try:
                self.check_low()
            finally:  # also after SystemExit or KeyboardInterrupt: the loop may run again
                self.send_on()
            return 0
        return self.send_on()

    def send_on(self):
        """The send has ended: sends what was written meanwhile, or does what waited for the end."""
        if self.pending is not None:
            if self.send is None and not self.lost:
                self.start_send()
            return 0
        if self.closing or self.eof or self.empty_waiter is not None:
            return self.output_done()
        return 0

    def _retry(self, send):
        if not self.lost:
            cython.cast(Send, send).start()

    def output_done(self):
        """Everything written is sent: does what waits for that."""
        if self.size or self.send is not None:
            return 0
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_result(None)
        if self.closing:
            if not self.lost:
                self.schedule_lost(None)
        elif self.eof:
            self.shut_down()
        return 0

    def can_write_eof(self):
        """True."""
        return True

    def write_eof(self):
        """Ends the output once everything written is sent; input goes on (``transport.write_eof``)."""
        if self.closing or self.eof:
            return
        self.eof = True
        if self.size == 0:
            self.shut_down()

    def shut_down(self):
        op: Shutdown
        sqe: sqe_p
        if not self.direct:
            try:
                self.get_extra_info("socket").shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the other side has gone meanwhile
            return 0
        op = Shutdown.__new__(Shutdown)
        op.loop = self.loop
        op.stream = self
        op.slot = -1
        sqe = self.loop.launch(op)
        self.shutdown = op
        sqe.opcode = URING_OP_SHUTDOWN
        sqe.len = SHUT_WR
        return self.target(sqe)

    def free_slot(self, slot):
        if self.shutdown is not None:
            self.shutdown.slot = slot
            return 0
        return Transport.free_slot(self, slot)

    def get_write_buffer_size(self):
        """Bytes that were written and that the socket has not taken.

        With direct descriptors what was written in this turn of the loop counts in any case: it leaves at its end.
        """
        data: bytes
        if self.pending is None or self.send is not None or self.direct or self.protocol_paused:
            return self.size
        if self.lost or self.closing or self.eof or self.empty_waiter is not None:
            return self.size
        data = b"".join(self.pending) if isinstance(self.pending, list) else self.pending
        self.pending = None
        self.size = 0
        if self.try_send(data) == 0:
            self.pending = data
            self.size = PyBytes_GET_SIZE(data)
        return self.size

    def drop_output(self):
        self.pending = None
        self.size = 0
        if self.send is not None:
            self.loop.cancel(self.send)
        return 0

    def _make_empty_waiter(self):
        if self.empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self.empty_waiter = self.loop.create_future()
        if self.size == 0:
            self.empty_waiter.set_result(None)
        return self.empty_waiter

    def _reset_empty_waiter(self):
        self.empty_waiter = None


ioring_freelist_install(Send.__new__(Send))
