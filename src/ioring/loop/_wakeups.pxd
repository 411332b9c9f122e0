cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._engine cimport FORGOTTEN


@cython.final
cdef class EventfdRead(LoopOp):
    cdef int fd
    cdef uint64_t count


@cython.final
cdef class SignalNumbers(LoopOp):
    cdef int fd
    cdef int others
