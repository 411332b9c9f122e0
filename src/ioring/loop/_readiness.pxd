cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._handles cimport Handle
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._sock_calls cimport SocketCalls


@cython.final
cdef class Poll(LoopOp):
    cdef Watching watching
    cdef int fd
    cdef unsigned events
    cdef Handle handle

    cdef int end(self) except -1


cdef class Watching(SocketCalls):
    # Poll by descriptor, for each direction.
    cdef dict readers
    cdef dict writers

    cdef int watch(self, dict polls, int fd, unsigned events, object callback, tuple args) except -1
    cdef bint unwatch(self, dict polls, int fd) except -1
