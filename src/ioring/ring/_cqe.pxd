cimport cython
from libc.stdint cimport int16_t
from ioring.ring.uring cimport *


@cython.final
cdef class Additional:
    # What few completions have: a CQE32's further words; the buffer ring that received, and where
    # the bytes are.
    cdef tuple extra
    cdef object source
    cdef list segments


@cython.final
cdef class Cqe:
    cdef int32_t number
    cdef readonly uint32_t flags
    cdef object user_data  # this and res stand behind flags: that is how their offsets are found
    cdef object res
    cdef int16_t opcode
    cdef bint descriptor
    cdef bint pipe
    cdef int ends[2]
    cdef Additional additional


cdef Cqe new_cqe()
