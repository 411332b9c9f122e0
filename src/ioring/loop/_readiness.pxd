cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._handles cimport Handle
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._engine cimport FORGOTTEN
from ioring.loop._sock_calls cimport SocketCalls


cdef enum:
    BATCH = 64  # how many descriptors that are ready are asked for at once


@cython.final
cdef class Watch:
    cdef object file
    cdef int fd
    cdef unsigned generation
    cdef Handle reader
    cdef Handle writer

    cdef unsigned events(self)
    cdef Handle exchange(self, unsigned event, Handle handle)
    cdef int end(self) except -1


@cython.final
cdef class Readiness(LoopOp):
    cdef Watching watching


cdef class Watching(SocketCalls):
    # By the number of the descriptor.
    cdef dict watches
    cdef int epoll
    cdef Readiness readiness
    cdef unsigned generation
    cdef unsigned stale

    cdef int control(self, int operation, Watch watch, unsigned events)
    cdef Watch watch(self, object file, unsigned event)
    cdef Watch find(self, object file)
    cdef int unwatch(self, Watch watch) except -1
    cdef int add(self, object file, unsigned event, object callback, tuple args) except -1
    cdef bint remove(self, object file, unsigned event) except -1
    cdef int dispatch(self) except -1
    cdef int call(self, Watch watch, unsigned event, Handle handle, bint later) except -1
    cdef int renew(self) except -1
