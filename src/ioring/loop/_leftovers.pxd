cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._awaitable cimport *
from ioring.loop._core cimport LoopCore
from ioring.loop._engine cimport STAYS, TAKEN_BACK


cdef class Leftovers(LoopCore)


cdef class SocketRequest(Awaitable):
    cdef Leftovers loop
    cdef object sock
    cdef int state
    cdef bint again  # it is being cancelled, to begin once more

    cdef int begin(self) except -1
    cdef int begin_again(self) except -1
    cdef int fail(self, object exception) except -1
    cdef bint takes_leftovers(self) noexcept


@cython.final
cdef class Heir(SocketRequest):
    cdef object stream


cdef class Leftovers(LoopCore):
    # What abandoned requests received, by socket.
    cdef object _leftovers

    # Sockets with requests that were abandoned and have not ended yet: a list of None for each of these, and of the
    # requests that wait for their end.
    cdef dict _abandoned

    cdef int abandon(self, object sock) except -1
    cdef bint wait_for_abandoned(self, SocketRequest request) except -1
    cdef int was_abandoned(self, object sock) except -1
    cdef object take_leftover(self, object sock, Py_ssize_t limit)
    cdef int keep(self, object sock, object item) except -1
    cdef int keep_data(self, object sock, bytes data) except -1
