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
    cdef object wrap    # makes the transports of a TLS connection; None: the connection is plain
    cdef object server
    cdef object context
    cdef bint stopped
    cdef bint leaving   # others go on with the socket
    cdef unsigned backlog
    cdef bint single    # the accept in flight is for one connection, and a slot is reserved for it
    cdef bint ending    # the accept in flight is being cancelled, because slots run out

    cdef bint plenty(self) noexcept
    cdef int end_others(self) except -1
    cdef int ceased(self, int res) except -1
    cdef int accepted(self, int fd) except -1
    cdef int drop(self, int fd) except -1
