cimport cython
from libc.stdint cimport int16_t
from ioring._core.uring cimport *


@cython.final
@cython.freelist(256)
cdef class Cqe:
    cdef readonly int32_t res
    cdef readonly uint32_t flags
    cdef readonly object user_data
    cdef readonly tuple extra

    # Where the bytes are, when a buffer ring gave the buffer.
    cdef object source
    cdef list segments
    cdef int16_t opcode
    cdef bint descriptor


cdef Cqe new_cqe(int32_t res, uint32_t flags, object user_data, int16_t opcode)
