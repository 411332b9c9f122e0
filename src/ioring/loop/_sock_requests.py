"""What the sock_* calls of a loop return: one request each.

A Request is the operation and, at the same time, the object that the caller awaits. It begins when it is awaited. When
the task that awaits it is cancelled, the operation is cancelled too; what it has received all the same goes to the next
request for the same socket (``_leftovers``).
"""

import os
import socket

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.cpython.exc import PyErr_WarnEx
from cython.cimports.ioring.loop.socket_api import (
    F_GETFL,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_WAITALL,
    O_NONBLOCK,
    POLLIN,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    accept4,
    fcntl,
    send,
    sendmsg,
)
from cython.cimports.libc.errno import (
    EAGAIN,
    EBADF,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EHOSTUNREACH,
    EINTR,
    ENOBUFS,
    ETIMEDOUT,
    errno,
)
from cython.cimports.libc.string import memcpy, memset
from cython.cimports.posix.unistd import close

from ioring.ring.errors import os_error
from ioring.ring.sockaddr import decode

FAILED = cython.declare(cython.int, -0x7FFFFFFF)
"""The result of a request that was not submitted because of an exception, which is its value. No errno is this."""

RETRY_SECONDS = cython.declare(cython.double, 0.002)
"""How long a datagram for which there is no room waits before it is sent again."""

LENGTH_MAX = cython.declare(cython.size_t, 1 << 30)
"""Most bytes in one request: its length has 32 bits."""


class Request(SocketRequest):
    """One operation on a socket, to be awaited once."""

    # What the kinds of requests say.

    def begin(self):
        """Ends at once if the result is there already; otherwise it is submitted at the end of the turn."""
        if self.loop._abandoned and self.loop.wait_for_abandoned(self):
            return 0
        if self.from_leftovers():
            return self.end(self.result)
        if self.loop._closed:
            self.loop._check_closed()  # raises: also in the child of a fork, whose loops are the parent's
        if self.loop.owners:
            self.loop.check_free(self.sock.fileno())
        return self.submit()

    def submit(self):
        """Has prepare() called, at the end of this turn or when there is room."""
        return self.loop.enqueue(self)

    def prepare(self):
        sqe: sqe_p
        if self.state != WAITING or self.table != cython.NULL:
            return 0
        # Asked for now, because since begin() the program may have closed the socket, and another have got the number.
        try:
            self.fd = self.sock.fileno()
        except Exception as exception:  # concerns whoever waits for this request, and not the loop
            return self.fail(exception)
        if self.fd < 0:
            return self.end(-EBADF)
        sqe = self.loop.launch(self)
        sqe.fd = self.fd
        return self.fill(sqe)

    def end(self, result):
        """The result is there. Whoever waits for it goes on."""
        self.result = result
        self.state = DONE
        if self.future is not None and not self.future.done():
            self.future.set_result(None)
        return 0

    def fail(self, exception):
        """The request cannot be submitted: whoever waits for it gets the exception."""
        self.value = exception
        return self.end(FAILED)

    def fill(self, sqe):
        """Fills in the SQE, but for the descriptor."""
        raise NotImplementedError

    def took(self, res, flags):
        """Keeps what it needs of a completion, successful or not. Returns 1 if the request goes on."""
        return 0

    def from_leftovers(self):
        """Whether this request has its result without being submitted, from an abandoned one or by a system call."""
        return False

    def drop(self):
        """The request was abandoned, and has succeeded all the same."""
        return 0

    def outcome(self):
        """The result of the await."""
        return self.result

    def let_go(self):
        """It is over: gives back what the caller has lent. A task that is kept keeps the request, too."""
        self.value = None
        return 0

    def call(self):
        """The name of the method that has returned this request."""
        raise NotImplementedError

    def error(self):
        """The exception for a result that is an error. It names the method of sockets that does the same."""
        if self.result == FAILED:
            return self.value
        if self.result == -EBADF:
            return OSError(EBADF, "Bad file descriptor: the socket is closed")
        return os_error(self.result, self.call()[5:])

    # The operation.

    def complete(self, res, flags):
        self.result = res
        if self.again and self.state == WAITING and (res >= 0 or res == -ECANCELED or res == -ENOBUFS):
            return self.restart(res, flags)
        if res == -ECANCELED and self.state == WAITING:  # not by us: the thread that submitted it has ended
            return self.loop.enqueue(self)
        if self.took(res, flags):
            return 0
        if self.state == ABANDONED:
            if res >= 0:
                self.drop()
            self.let_go()
            return self.loop.was_abandoned(self.sock)
        return self.end(res)

    def restart(self, res, flags):
        """Begins again, because an abandoned request has received something that comes before what this one has."""
        self.again = False
        if res >= 0:
            self.took(res, flags)
            self.drop()
        self.result = 0
        return self.begin_again()

    # The awaitable.

    def __dealloc__(self):
        if self.state == FRESH and self.loop is not None:
            PyErr_WarnEx(RuntimeWarning, f"coroutine 'Loop.{self.call()}' was never awaited".encode(), 1)

    def __getattr__(self, name):
        return shown_as(self, "Loop", self.call(), name)

    def step(self):
        if self.state == FRESH:
            self.state = WAITING
            try:
                self.begin()
            except BaseException:
                self.state = DONE
                self.result = -ECANCELED
                self.let_go()
                raise
        if self.state == WAITING:
            if self.future is None:
                self.future = self.loop.create_future()
            return until(self.future)
        if self.state == ABANDONED:
            raise RuntimeError("cannot reuse already awaited coroutine")
        self.state = ABANDONED
        self.future = None
        self.sock = None
        if self.result < 0:
            error = self.error()
            self.let_go()
            raise error
        self.finished = True
        result = self.outcome()
        self.let_go()
        return result

    def leave(self):
        if self.state == WAITING:
            self.state = ABANDONED
            self.future = None
            if self.table != cython.NULL and self.loop._owns_ring():
                self.loop.abandon(self.sock)
                self.loop.cancel(self)
        elif self.state == DONE and self.result >= 0:
            self.state = ABANDONED
            self.drop()
        self.state = ABANDONED
        # While it is in flight the kernel has what was lent.
        return self.let_go() if self.table == cython.NULL else 0


class Receive(Request):
    """sock_recv."""

    def call(self):
        return "sock_recv"

    def takes_leftovers(self):
        return True

    def submit(self):
        if self.room is not None or not self.loop.rations.scarce:
            return self.loop.enqueue(self)
        if not self.lined:
            self.lined = True
            self.loop.rations.line.append(self)
        return 0

    def retry(self):
        """Its turn in the line of those that wait for buffers has come."""
        self.lined = False
        return self.prepare()

    def fill(self, sqe):
        sqe.opcode = URING_OP_RECV
        sqe.len = self.length
        if self.room is None:
            sqe.flags = URING_SQE_BUFFER_SELECT
        else:
            sqe.addr = cython.cast(cython.size_t, PyBytes_AS_STRING(self.room))
        return 0

    def took(self, res, flags):
        if flags & URING_CQE_F_BUFFER:
            if self.loop.rations.scarce:
                self.loop.rations.received(res)
            self.value = self.loop.take(flags >> URING_CQE_BUFFER_SHIFT, max(res, 0))
        elif res > 0:
            self.value = self.room[:res]
        elif res == 0:
            self.value = b""
        if (res == -ENOBUFS or res == -EINTR) and self.state == WAITING:
            if res == -ENOBUFS:
                self.loop.counts.starved += 1
                self.loop.rations.starved()
            self.submit()
            return 1
        return 0

    def from_leftovers(self):
        if self.length == 0:
            self.value = b""
            return True
        if not self.loop._leftovers:
            return False
        found = self.loop.take_leftover(self.sock, self.length)
        if found is None:
            return False
        self.value, _ = found
        return True

    def drop(self):
        return self.loop.keep_data(self.sock, self.value) if self.length else 0

    def outcome(self):
        return self.value

    def let_go(self):
        ioring_assert(self.table == cython.NULL)
        self.room = None
        return Request.let_go(self)


class IntoBuffer(Request):
    """A request that uses memory of the caller's, which is held until the kernel is done with it."""

    def hold(self, data, writable):
        """Gets the memory."""
        try:
            PyObject_GetBuffer(data, cython.address(self.view), PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        except BufferError:
            if not writable:
                raise
            raise TypeError(f"a read-write bytes-like object is needed, not {type(data).__name__}") from None
        self.held = True
        return 0

    def let_go(self):
        ioring_assert(self.table == cython.NULL)
        Request.let_go(self)
        if self.held:
            self.held = False
            PyBuffer_Release(cython.address(self.view))
        return 0

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(cython.address(self.view))


class ReceiveInto(IntoBuffer):
    """sock_recv_into."""

    def call(self):
        return "sock_recv_into"

    def takes_leftovers(self):
        return True

    def fill(self, sqe):
        sqe.opcode = URING_OP_RECV
        sqe.addr = cython.cast(cython.size_t, self.view.buf)
        sqe.len = min(cython.cast(cython.size_t, self.view.len), LENGTH_MAX)
        return 0

    def from_leftovers(self):
        data: bytes
        if self.view.len == 0:
            return True
        if not self.loop._leftovers:
            return False
        found = self.loop.take_leftover(self.sock, self.view.len)
        if found is None:
            return False
        data, _ = found
        memcpy(self.view.buf, cython.cast(cython.p_char, data), len(data))
        self.result = len(data)
        return True

    def drop(self):
        data = PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.view.buf), self.result)
        return self.loop.keep_data(self.sock, data) if self.view.len else 0


class SendAll(IntoBuffer):
    """sock_sendall."""

    def call(self):
        return "sock_sendall"

    def fill(self, sqe):
        sqe.opcode = URING_OP_SEND
        sqe.addr = cython.cast(cython.size_t, self.view.buf) + self.sent
        sqe.len = min(cython.cast(cython.size_t, self.view.len) - self.sent, LENGTH_MAX)
        sqe.op_flags = MSG_NOSIGNAL | MSG_WAITALL
        return 0

    def from_leftovers(self):
        """Sends at once what there is room for, usually all: then the task goes on without a turn of the loop.

        Programs rely on that: they close the socket directly afterwards, or cancel the task that reads at the other
        end.
        """
        size: cython.size_t = self.view.len
        count: cython.Py_ssize_t
        if size == 0:
            return True
        count = send(self.sock.fileno(), self.view.buf, min(size, LENGTH_MAX), MSG_NOSIGNAL | MSG_DONTWAIT)
        if count > 0:
            self.sent = count
        return self.sent == size  # after an error, the request meets it again

    def took(self, res, flags):
        if res > 0:
            self.sent += res
            if self.sent < cython.cast(cython.size_t, self.view.len) and self.state == WAITING:
                self.loop.enqueue(self)
                return 1
        return 0

    def outcome(self):
        return None


class Message(IntoBuffer):
    """A request with a struct msghdr, for the address."""

    def lay_out(self):
        memset(cython.address(self.header), 0, cython.sizeof(msghdr_t))
        self.part.iov_base = self.view.buf
        self.part.iov_len = self.view.len
        self.header.msg_iov = cython.address(self.part)
        self.header.msg_iovlen = 1
        self.header.msg_name = cython.address(self.name[0])
        return 0


class ReceiveFrom(Message):
    """sock_recvfrom and sock_recvfrom_into."""

    def call(self):
        return "sock_recvfrom_into" if self.into else "sock_recvfrom"

    def takes_leftovers(self):
        return True

    def fill(self, sqe):
        self.lay_out()
        self.header.msg_namelen = 128
        sqe.opcode = URING_OP_RECVMSG
        sqe.addr = cython.cast(cython.size_t, cython.address(self.header))
        sqe.len = 1
        return 0

    def from_leftovers(self):
        if not self.loop._leftovers:
            return False
        data: bytes
        found = self.loop.take_leftover(self.sock, self.view.len)
        if found is None:
            return False
        data, self.value = found
        memcpy(self.view.buf, cython.cast(cython.p_char, data), len(data))
        self.result = len(data)
        return True

    def took(self, res, flags):
        if res >= 0:
            name = PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.name), self.header.msg_namelen)
            self.value = decode(name)
        return 0

    def drop(self):
        data = PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.view.buf), self.result)
        return self.loop.keep(self.sock, (data, self.value))

    def outcome(self):
        if self.into:
            return self.result, self.value
        return PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.view.buf), self.result), self.value

    def let_go(self):
        Message.let_go(self)
        self.room = None
        return 0


class SendTo(Message):
    """sock_sendto."""

    def call(self):
        return "sock_sendto"

    def lay_out(self):
        name: bytes = self.value
        Message.lay_out(self)
        memcpy(cython.address(self.name[0]), cython.cast(cython.p_char, name), len(name))
        self.header.msg_namelen = len(name)
        return 0

    def from_leftovers(self):
        """Sends at once if there is room, like SendAll."""
        self.lay_out()
        count: cython.Py_ssize_t = sendmsg(self.sock.fileno(), cython.address(self.header), MSG_NOSIGNAL | MSG_DONTWAIT)
        if count < 0:
            return False  # the request meets the error again
        self.result = count
        return True

    def fill(self, sqe):
        self.lay_out()
        sqe.opcode = URING_OP_SENDMSG
        sqe.addr = cython.cast(cython.size_t, cython.address(self.header))
        sqe.len = 1
        # MSG_DONTWAIT: see _datagram_transport.py. The kernel must not be the one that tries again.
        sqe.op_flags = MSG_NOSIGNAL | MSG_DONTWAIT
        return 0

    def took(self, res, flags):
        if res == -EAGAIN and self.state == WAITING:
            self.loop.call_later(RETRY_SECONDS, self._again)
            return 1
        return 0

    def _again(self):
        if self.state == WAITING:
            self.loop.enqueue(self)


class Accept(Request):
    """sock_accept: a poll, and accept4(2) when a connection is there.

    Other processes may accept on the same socket. A request that waits for a connection would get it even while this
    process computes, or is being killed. Only where accept4() would wait, because the socket is a blocking one, such a
    request has to do.
    """

    def call(self):
        return "sock_accept"

    def takes_leftovers(self):
        return True

    def fill(self, sqe):
        self.name_size = 128
        status: cython.int = fcntl(self.fd, F_GETFL)
        self.polling = status >= 0 and status & O_NONBLOCK != 0
        if self.polling:
            self.marks &= ~MARK_DESCRIPTOR
            sqe.opcode = URING_OP_POLL_ADD
            sqe.op_flags = POLLIN
            return 0
        self.marks |= MARK_DESCRIPTOR
        sqe.opcode = URING_OP_ACCEPT
        sqe.addr = cython.cast(cython.size_t, cython.address(self.name[0]))
        sqe.off = cython.cast(cython.size_t, cython.address(self.name_size))
        sqe.op_flags = SOCK_CLOEXEC | SOCK_NONBLOCK
        return 0

    def complete(self, res, flags):
        if self.polling and res >= 0:
            res = self.accept_now()
            if res == -EAGAIN or res == -ECONNABORTED or res == -EINTR:
                return self.loop.enqueue(self)
        return Request.complete(self, res, flags)

    def accept_now(self):
        """Accepts the connection that the poll has seen, if it is still wanted. Returns what the request would."""
        fd: cython.int
        if self.state != WAITING or self.again:
            return -ECANCELED
        try:
            if self.sock.fileno() != self.fd:
                return -EBADF
        except Exception:
            return -EBADF
        self.name_size = 128
        fd = accept4(
            self.fd,
            cython.cast(cython.pointer(sockaddr), cython.address(self.name[0])),
            cython.address(self.name_size),
            SOCK_CLOEXEC | SOCK_NONBLOCK,
        )
        return fd if fd >= 0 else -errno

    def from_leftovers(self):
        if not self.loop._leftovers:
            return False
        self.value = self.loop.take_leftover(self.sock, -1)
        return self.value is not None

    def drop(self):
        if self.sock is not None and self.loop._owns_ring():
            self.loop.keep(self.sock, self.outcome())
        else:
            close(self.result)
        return 0

    def took(self, res, flags):
        if res >= 0:
            name = PyBytes_FromStringAndSize(cython.cast(cython.p_char, self.name), min(self.name_size, 128))
            sock = self.sock
            connection = socket.socket(sock.family, sock.type | socket.SOCK_NONBLOCK, sock.proto, fileno=res)
            self.value = (connection, decode(name) if len(name) > 2 else "")
        return 0

    def outcome(self):
        return self.value


class Connect(Request):
    """sock_connect, to an address that is resolved."""

    def parks(self):
        return STAYS  # the kernel refuses a second connect() while the first goes on

    def call(self):
        return "sock_connect"

    def error(self):
        code: cython.int = -self.result
        if code == ECONNREFUSED or code == ETIMEDOUT or code == EHOSTUNREACH or code == ECONNRESET:
            if self.value is not None:
                return OSError(code, f"Connect call failed {self.value}")
        elif self.result == FAILED or code == EBADF:
            return Request.error(self)
        return OSError(code, os.strerror(code))

    def fill(self, sqe):
        sqe.opcode = URING_OP_CONNECT
        sqe.addr = cython.cast(cython.size_t, cython.cast(cython.p_char, self.name))
        sqe.off = len(self.name)
        return 0

    def begin(self):
        Request.begin(self)
        # At once: programs rely on it that the connection is begun when the task has made its first step.
        self.loop._settle()
        return 0

    def outcome(self):
        return None
