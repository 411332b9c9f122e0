cimport cython
from ioring.ring.uring cimport *

from ioring.ring._lifecycle cimport *
from ioring.ring._sqe cimport Sqe


cdef class SubmissionQueue(Lifecycle):
    # An Sqe, and an entry for it.
    @cython.final
    cdef Sqe take_sqe(self)
    @cython.final
    cdef int grow_spent(self) except -1
    @cython.final
    cdef sqe_p make_room(self) except NULL

    # To the kernel.
    @cython.final
    cdef int flush(self) except -1
    @cython.final
    cdef int strip_skips(self) except -1
    @cython.final
    cdef int enter_and_wait(self, unsigned wanted, int64_t deadline) except -1
    @cython.final
    cdef int enter(self, unsigned submit, unsigned wait, unsigned flags, int64_t timeout_ns) except? -1
    @cython.final
    cdef int entered(self, int code) except? -1
