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
    cdef unsigned spare  # how much of the loop's slots_spare is for it
    cdef bint shared     # other processes may have the socket
    cdef bint polling    # what is in flight, or was last, is the poll of a shared socket
    cdef unsigned batch  # how many connections of a shared socket the last turn was to accept,
    cdef unsigned long turn  # and which turn that was
    cdef bint single    # the accept in flight is for one connection, and a slot is reserved for it
    cdef bint ending    # the accept in flight is being cancelled, because slots run out

    cdef bint plenty(self) noexcept
    cdef int end_others(self) except -1
    cdef int ceased(self, int res) except -1
    cdef int polled(self, int res) except -1
    cdef int accept_batch(self) except 1
    cdef int accepted(self, int fd, bint direct) except -1
    cdef int drop(self, int fd, bint direct) except -1
