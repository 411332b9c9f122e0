cimport cython
from ioring.loop._core cimport LoopCore, LoopOp


cdef enum:
    # So many writes to a lost connection are dropped in silence; the next one is logged, and then none. (asyncio logs
    # each further one, and a client that leaves can have a program write any number of them.)
    LOST_WRITES_MAX = 5


cdef class FlowControl(LoopOp):
    # The write buffer: how many bytes were written and not sent yet, and the limits on that.
    cdef size_t size
    cdef size_t high
    cdef size_t low
    cdef size_t high_default
    cdef bint protocol_paused  # pause_writing() was called, and resume_writing() was not yet

    cdef int drop_output(self) except -1
    cdef unsigned count_lost(self, unsigned lost, str message) except 0
    cdef int limit(self, size_t high) noexcept
    cdef int check_high(self) except -1
    cdef int pause_protocol(self) except -1
    cdef int check_low(self) except -1
    cdef object call(self, object name, object argument)
    cdef int report(self, str message, object exception) except -1
