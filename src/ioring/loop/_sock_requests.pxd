cimport cython
from posix.uio cimport iovec
from ioring.ring.uring cimport *
from ioring.ring._msghdr cimport msghdr as msghdr_t
from ioring.ring._request cimport *
from ioring.loop._awaitable cimport *
from ioring.loop._engine cimport STAYS
from ioring.loop.socket_api cimport sockaddr
from ioring.loop._leftovers cimport SocketRequest


cdef class Request(SocketRequest):
    cdef int fd
    cdef int32_t result
    cdef object future  # of whoever waits
    cdef object value   # data, an address, an exception: what the kind of request needs

    cdef int submit(self) except -1
    cdef int end(self, int32_t result) except -1
    cdef int restart(self, int32_t res, uint32_t flags) except -1
    cdef int fill(self, sqe_p sqe) except -1
    cdef int took(self, int32_t res, uint32_t flags) except -1
    cdef bint from_leftovers(self) except -1
    cdef int drop(self) except -1
    cdef object outcome(self)
    cdef int let_go(self) except -1
    cdef str call(self)
    cdef object error(self)


@cython.final
cdef class Receive(Request):
    cdef unsigned length
    cdef bint lined  # waits for a buffer (_rations.py)
    cdef bytes room  # what is received into if it may be larger than the loop's buffers, or None


cdef class IntoBuffer(Request):
    cdef Py_buffer view
    cdef bint held

    @cython.final
    cdef int hold(self, object data, bint writable) except -1


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
    cdef bint polling  # the request in flight, or the last one, is a poll

    cdef int accept_now(self)


@cython.final
cdef class Connect(Request):
    cdef bytes name
