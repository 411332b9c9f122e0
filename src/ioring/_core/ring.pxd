cimport cython
from ioring._core.uring cimport *
from ioring._core.op cimport *
from ioring._core.buffers cimport BufferRing
from ioring._core.cqe cimport Cqe, new_cqe
from ioring._core.sqe cimport Sqe


cdef class RingCore(OpTable):
    # Whose it is. `forks` is compared with the process's count of forks.
    cdef unsigned long owner
    cdef unsigned long forks
    cdef int owner_tid

    # Completions taken from the queue and not shown yet, the newest first.
    cdef list backlog

    # Groups by id, and those that were unregistered while a request might still write into them.
    cdef dict buffer_rings
    cdef list retired
    cdef public object _fixed_buffers

    cdef int refuse(self) except -1
    cdef Cqe pop(self)
    cdef Cqe dispatch(self, uint64_t token, int32_t res, uint32_t flags)
    cdef int strip_skips(self) except -1
    cdef int flush(self) except -1
    cdef int enter(self, unsigned submit, unsigned wait, unsigned flags, int64_t timeout_ns) except? -1
    cdef int collect(self, unsigned n, list collected, int64_t deadline) except -1
    cdef int quiesce(self, double seconds) except -1
    cdef int discard(self) except -1
    cdef int shut(self, double seconds) except -1


@cython.final
cdef class Completions:
    cdef RingCore ring
    cdef unsigned left
