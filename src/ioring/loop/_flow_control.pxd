cimport cython
from ioring.loop._core cimport LoopCore, LoopOp


cdef enum:
    # So many writes to a lost connection are dropped in silence; each further one is logged. As in asyncio.
    LOST_WRITES_MAX = 5


cdef class FlowControl(LoopOp):
    # The write buffer: how many bytes were written and not sent yet, and the limits on that.
    cdef size_t size
    cdef size_t high
    cdef size_t low
    cdef size_t high_default
    cdef bint protocol_paused  # pause_writing() was called, and resume_writing() was not yet

    cdef int drop_output(self) except -1
    cdef int limit(self, size_t high) noexcept
    cdef int check_high(self) except -1
    cdef int pause_protocol(self) except -1
    cdef int check_low(self) except -1
    cdef object call(self, object name, object argument)
    cdef int report(self, str message, object exception) except -1
