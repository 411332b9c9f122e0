cimport cython
from ioring.ring.uring cimport *
from ioring.ring._buffer_ring cimport BufferRing
from ioring.loop._engine cimport EngineOp


@cython.final
cdef class Rations:
    cdef BufferRing buffers
    cdef object line       # a deque of EngineOp
    cdef bint scarce       # the rules hold
    cdef unsigned calm     # for how many turns in a row buffers have sufficed
    cdef unsigned large    # how many receives of this turn have brought much,
    cdef unsigned much     # which is so many bytes
    cdef unsigned reserve  # buffers that the line leaves to others,
    cdef unsigned spare    # and receives that may still be submitted for them in this turn

    cdef int starved(self) noexcept
    cdef bint received(self, int32_t res) noexcept
    cdef bint spared(self) noexcept
    cdef int serve(self) except -1
