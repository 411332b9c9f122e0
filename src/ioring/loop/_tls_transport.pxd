cimport cython
from ioring.ring.uring cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._flow_control cimport FlowControl
from ioring.loop._tls cimport *
from ioring.loop.context_call cimport ioring_call_method


@cython.final
cdef class TlsTransport(FlowControl):
    cdef TlsProtocol tls

    # Written and not encrypted yet: the piece that is next, how much of it is encrypted, and what follows it.
    cdef bytes piece
    cdef Py_ssize_t done
    cdef object backlog  # a deque

    cdef unsigned lost_writes  # after close() or abort()

    cdef object __weakref__

    cdef int next_piece(self) except -1
    cdef int encrypt(self) except -1
