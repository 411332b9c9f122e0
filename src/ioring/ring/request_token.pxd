# request_token.h as Cython sees it.

from libc.stdint cimport uint64_t

cdef extern from "request_token.h" nogil:
    const uint64_t TOKEN_BIT "IORING_TOKEN_BIT"
    const unsigned TOKEN_INDEX_MAX "IORING_TOKEN_INDEX_MAX"
    uint64_t ioring_token(uint64_t generation, unsigned index)
    unsigned ioring_token_index(uint64_t token)
