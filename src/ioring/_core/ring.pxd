cimport cython
from ioring._core.uring cimport *

cdef extern from "Python.h":
    int Py_AddPendingCall(int (*function)(void *) except -1, void *argument)

from ioring._core.op cimport *
from ioring._core.buffers cimport BufferRing
from ioring._core.cqe cimport Additional, Cqe, new_cqe
from ioring._core.sqe cimport Sqe


cdef class RingCore(OpTable):
    # Whose it is. `forks` is compared with the process's count of forks.
    cdef unsigned long owner
    cdef unsigned long forks
    cdef int owner_tid

    # Indices of Ops that are done, oldest first: a circular queue with room for every index.
    cdef unsigned *spent
    cdef unsigned spent_mask
    cdef unsigned spent_head
    cdef unsigned spent_tail

    # Completions taken from the queue and not shown yet, the newest first.
    cdef list backlog

    # Groups by id, and those that were unregistered while a request might still write into them.
    cdef dict buffer_rings
    cdef list retired
    cdef public object _fixed_buffers
    cdef public bint _fd_asked

    @cython.final
    cdef int own(self) except -1
    @cython.final
    cdef int adopt(self) except -1
    @cython.final
    cdef void leave_registered_fd(self) noexcept
    @cython.final
    cdef int refuse(self) except -1
    @cython.final
    cdef sqe_p make_room(self) except NULL
    @cython.final
    cdef int handed_out(self, tuple key) except -1
    @cython.final
    cdef int drop_retired(self) except -1
    @cython.final
    cdef int flush_completions(self) except -1
    @cython.final
    cdef sqe_p arm(self, Op op) except NULL
    @cython.final
    cdef int reap(self) except -1
    @cython.final
    cdef int turn(self) except -1
    @cython.final
    cdef Sqe take_sqe(self)
    @cython.final
    cdef int grow_spent(self) except -1
    @cython.final
    cdef void retire_op(self, Op op) noexcept
    @cython.final
    cdef void end_op(self, Op op) noexcept
    @cython.final
    cdef int receive(self, Cqe cqe, unsigned group, bint bundle) except -1
    @cython.final
    cdef Cqe pop(self)
    @cython.final
    cdef bint dispatch(self, Cqe cqe, uint64_t token, int32_t res, uint32_t flags) except -1
    @cython.final
    cdef bint foreign(self, Cqe cqe, uint64_t token) except -1
    @cython.final
    cdef int strip_skips(self) except -1
    @cython.final
    cdef int flush(self) except -1
    @cython.final
    cdef int enter(self, unsigned submit, unsigned wait, unsigned flags, int64_t timeout_ns) except? -1
    @cython.final
    cdef int enter_and_wait(self, unsigned wanted, int64_t deadline) except -1
    @cython.final
    cdef int put_back(self, list collected) except -1
    @cython.final
    cdef int collect(self, unsigned n, list collected, int64_t deadline) except -1
    @cython.final
    cdef int orphan(self) except -1
    @cython.final
    cdef int quiesce(self, double seconds) except -1
    @cython.final
    cdef int discard(self) except -1
    @cython.final
    cdef int shut(self, double seconds) except -1


@cython.final
cdef class Completions:
    cdef RingCore ring
    cdef unsigned left


cdef int drop_unseen(object unseen) except -1
cdef int close_unseen(int number, tuple pipe) except -1
cdef int release_orphans(void *unused) except -1
