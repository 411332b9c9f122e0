cimport cython
from libc.stdint cimport int16_t
from ioring.ring.uring cimport *


@cython.final
cdef class Additional:
    # The further words of a CQE32; the buffer ring whose buffers were used, and where the bytes lie.
    cdef tuple extra
    cdef object source
    cdef list segments


@cython.final
cdef class Cqe:
    cdef int32_t number
    cdef readonly uint32_t flags
    cdef object user_data  # this and res must follow flags, from whose offset theirs are computed
    cdef object res
    cdef int16_t opcode
    cdef bint descriptor
    cdef bint pipe
    cdef int ends[2]
    cdef Additional additional


cdef Cqe new_cqe()
