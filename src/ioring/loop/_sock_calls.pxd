cimport cython
from posix.uio cimport iovec
from ioring.ring.uring cimport *
from ioring.ring._msghdr cimport msghdr as msghdr_t
from ioring.ring._request cimport *
from ioring.loop._awaitable cimport *
from ioring.loop._core cimport LoopCore

cdef extern from "<sys/socket.h>" nogil:
    ssize_t send_now "send"(int fd, const void *data, size_t size, int flags)
    ssize_t send_message_now "sendmsg"(int fd, const msghdr_t *message, int flags)


cdef class SocketCalls(LoopCore)


cdef class Request(Awaitable):
    cdef SocketCalls calls
    cdef object sock
    cdef int fd
    cdef int state
    cdef int32_t result
    cdef object future
    cdef bint again  # it is cancelled to begin once more
    cdef object value

    cdef int begin(self) except -1
    cdef int end(self, int32_t result) except -1
    cdef int fail(self, object exception) except -1
    cdef int restart(self, int32_t res, uint32_t flags) except -1
    cdef int begin_again(self) except -1
    cdef int fill(self, sqe_p sqe) except -1
    cdef int took(self, int32_t res, uint32_t flags) except -1
    cdef bint from_leftovers(self) except -1
    cdef int drop(self) except -1
    cdef object outcome(self)
    cdef str call(self)
    cdef object error(self)


@cython.final
cdef class Receive(Request):
    cdef unsigned length
    cdef bytes room  # for what may be larger than the loop's buffers, or None


cdef class IntoBuffer(Request):
    cdef Py_buffer view
    cdef bint held


@cython.final
cdef class ReceiveInto(IntoBuffer):
    pass


@cython.final
cdef class SendAll(IntoBuffer):
    cdef size_t sent


cdef class Message(IntoBuffer):
    cdef msghdr_t header
    cdef iovec part
    cdef unsigned char name[128]

    cdef int lay_out(self) except -1


@cython.final
cdef class ReceiveFrom(Message):
    cdef bytearray room
    cdef bint into


@cython.final
cdef class SendTo(Message):
    pass


@cython.final
cdef class Accept(Request):
    cdef unsigned char name[128]
    cdef unsigned name_size


@cython.final
cdef class Connect(Request):
    cdef bytes name


@cython.final
cdef class Heir(Request):
    pass


cdef class SocketCalls(LoopCore):
    # What abandoned requests received, by socket.
    cdef object _leftovers

    # Sockets with requests that are cancelled and did not end yet: None for each, and the requests that wait for that.
    cdef dict _abandoned

    cdef int abandon(self, object sock) except -1
    cdef bint wait_for_abandoned(self, Request request) except -1
    cdef int was_abandoned(self, object sock) except -1
    cdef object take_leftover(self, object sock, Py_ssize_t limit)
    cdef int leave(self, object sock, object item) except -1
    cdef int leave_data(self, object sock, bytes data) except -1

cdef int _check(SocketCalls loop, object sock) except -1
cdef Request _set_up(Request request, SocketCalls loop, object sock)
cdef IntoBuffer _hold(IntoBuffer request, object data, bint writable)
cdef Py_ssize_t _size(Py_ssize_t size, str name) except -1
