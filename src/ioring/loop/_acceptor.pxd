cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop.context_call cimport ioring_run_method
from ioring.loop._stream_transport cimport Stream, open_stream


@cython.final
cdef class Acceptor(LoopOp):
    cdef int fd
    cdef object sock
    cdef object factory
    cdef object wrap    # makes the transport of a TLS connection, or None
    cdef object server
    cdef object context
    cdef bint stopped
    cdef bint leaving   # others go on with the socket
    cdef unsigned backlog
    cdef bint single    # what is in flight accepts one connection, for which there is a slot
    cdef bint ending    # what is in flight is cancelled, because slots run out

    cdef bint plenty(self) noexcept
    cdef int end_others(self) except -1
    cdef int ceased(self, int res) except -1
    cdef int accepted(self, int fd) except -1
    cdef int drop(self, int fd) except -1
