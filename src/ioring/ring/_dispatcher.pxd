cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.ring._core cimport RingCore
from ioring.ring._sqe cimport Sqe


cdef class Driver(RingCore):
    cdef bint timed  # Op.complete_timed() is called instead of complete()

    @cython.final
    cdef sqe_p arm(self, Op op) except NULL
    @cython.final
    cdef sqe_p launch(self, Op op) except NULL
    @cython.final
    cdef sqe_p send_off(self) except NULL
    @cython.final
    cdef int reap(self) except -1
    @cython.final
    cdef int tell(self, Op op, int32_t res, uint32_t flags) except -1
    @cython.final
    cdef int exchange_early(self) except -1
    @cython.final
    cdef int reap_one(self, Op op) except -1
    @cython.final
    cdef int exchange(self, unsigned wait, int64_t timeout_ns) except -1
    @cython.final
    cdef int turn(self) except -1
