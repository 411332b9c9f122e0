cimport cython
from posix.uio cimport iovec
from ioring.ring.uring cimport *
from ioring.ring._msghdr cimport msghdr as msghdr_t
from ioring.ring._request cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._engine cimport STAYS
from ioring.loop._transport cimport *


@cython.final
cdef class Send(LoopOp):
    cdef Output stream

    # What is being sent: bytes or a list of them, and their size; how much of it is sent; and how much the last request
    # was to send.
    cdef object data
    cdef size_t whole
    cdef size_t sent
    cdef size_t length
    cdef bint cut  # the last request sent less than that
    cdef Py_ssize_t first  # of a list: the first chunk that is not sent whole
    cdef size_t before     # bytes in the chunks before that
    cdef msghdr_t header
    cdef iovec *parts

    cdef int start(self) except -1
    cdef int fill_parts(self, list chunks) except -1


@cython.final
cdef class Shutdown(LoopOp):
    cdef Output stream
    cdef int slot  # to be freed afterwards; -1: the stream still uses it


cdef class Output(Transport):
    cdef bint eof         # write_eof() was called

    cdef Send send
    cdef Shutdown shutdown  # in flight, or None

    # Written and not being sent yet: None, bytes, or a list of them.
    cdef object pending

    # While a file is being sent: the future that waits until everything written is sent.
    cdef object empty_waiter

    cdef bint takes_bytes(self) noexcept
    cdef int write_bytes(self, bytes data) except -1
    cdef Py_ssize_t try_send(self, bytes data) except -1
    cdef int start_send(self) except -1
    cdef int was_sent(self, Send send, int32_t res) except -1
    cdef int send_on(self) except -1
    cdef int output_done(self) except -1
    cdef int shut_down(self) except -1
