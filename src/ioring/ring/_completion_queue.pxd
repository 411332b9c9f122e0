cimport cython
from ioring.ring.uring cimport *

from ioring.ring._buffer_ring cimport BufferRing
from ioring.ring._cqe cimport Additional, Cqe, new_cqe
from ioring.ring._sqe cimport Sqe
from ioring.ring._submission_queue cimport *


cdef class CompletionQueue(SubmissionQueue):
    # What completions mean.
    @cython.final
    cdef Cqe pop(self)
    @cython.final
    cdef bint dispatch(self, Cqe cqe, uint64_t token, int32_t res, uint32_t flags) except -1
    @cython.final
    cdef bint foreign(self, Cqe cqe, uint64_t token) except -1
    @cython.final
    cdef int receive(self, Cqe cqe, unsigned group, bint bundle) except -1
    @cython.final
    cdef int handed_out(self, tuple key) except -1
    @cython.final
    cdef int drop_retired(self) except -1

    # Waiting for them.
    @cython.final
    cdef int flush_completions(self) except -1
    @cython.final
    cdef int put_back(self, list collected) except -1
    @cython.final
    cdef int collect(self, unsigned n, list collected, int64_t deadline) except -1


@cython.final
cdef class Completions:
    cdef CompletionQueue ring
    cdef unsigned left
