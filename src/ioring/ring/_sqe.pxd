cimport cython
from ioring.ring._sqe_sockets cimport *


@cython.final
cdef class Sqe(SocketSqe):
    # For the completion: a poll and its new user_data; memory that was given to a buffer group, or taken back.
    cdef object rewritten
    cdef tuple provided

    # Makes an Sqe 320 bytes with the collector's header. Python's allocator then puts each at the start of a cache
    # line, and what every request touches lies in the first two.
    cdef uint64_t padding[3]

    cdef int put_target(self, int opcode, object target, object flags) except -1
    cdef int put_poll(self, object fd, object poll_mask, bint multishot) except -1
    cdef int put_message_to(self, object fd, object nbytes, object data, object flags, object cqe_flags) except -1
    cdef int put_futex(self, int opcode, object futex, object val, object mask, object futex_flags, object flags) except -1
