cimport cython
from ioring._core.uring cimport *
from ioring._core.op cimport *
from ioring._core.ring cimport RingCore
from ioring._core.sqe cimport Sqe


cdef class Driver(RingCore):
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
