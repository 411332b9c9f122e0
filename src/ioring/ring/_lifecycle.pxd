cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.ring._buffer_ring cimport BufferRing
from ioring.ring._cqe cimport Cqe

cdef extern from "Python.h":
    int Py_AddPendingCall(int (*function)(void *) except -1, void *argument)


cdef class Lifecycle(OpTable):
    # The process's count of forks when the ring was opened: another one means that this is a forked child.
    cdef unsigned long forks
    cdef int owner_tid

    # Indices of completed Ops, oldest first: a circular queue with room for every index.
    cdef unsigned *spent
    cdef unsigned spent_mask
    cdef unsigned spent_head
    cdef unsigned spent_tail

    # Completions taken from the kernel's queue that the program has not got yet, the newest first.
    cdef list backlog

    # Buffer rings by group id, and those that were unregistered while a request might still write into them.
    cdef dict buffer_rings
    cdef list retired

    # Set by Registrations: the views of registered buffers (None for an empty place), or None without any; and whether
    # the program itself called register_ring_fd().
    cdef public object _fixed_buffers
    cdef public bint _fd_asked

    cdef int adopt(self) except -1
    cdef void leave_registered_fd(self) noexcept
    cdef int refuse(self) except -1
    cdef bint idle(self) except -1
    @cython.final
    cdef inline int own(self) except -1:
        # The same as check(), which is virtual: for the methods that are called all the time.
        if self.state == STATE_OPEN and self.owner == uring_thread_self() and self.u.fd >= 0:
            return 0
        return self.refuse()
    cdef void retire_op(self, Op op) noexcept
    cdef void end_op(self, Op op) noexcept
    cdef int orphan(self) except -1
    cdef int quiesce(self, double seconds) except -1
    cdef int discard(self) except -1
    cdef int shut(self, double seconds) except -1
    cdef int end_requests(self, double seconds) except -1
    cdef void abandon(self) noexcept


cdef double monotonic_seconds() noexcept
cdef int release_orphans(void *unused) except -1
cdef int drop_unseen(object unseen) except -1
cdef int close_ends(int *ends) except -1
