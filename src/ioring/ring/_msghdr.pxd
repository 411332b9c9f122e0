cimport cython
from libc.stdint cimport uint64_t

cdef extern from "sys/socket.h" nogil:
    struct msghdr:
        void *msg_name
        unsigned msg_namelen
        void *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags

@cython.final
cdef class MsgHdr:
    cdef msghdr header
    cdef list views
    cdef bytes iovecs
    cdef bytearray name
    cdef bytearray ancillary
    cdef readonly bint writable
    cdef readonly unsigned name_size
    cdef readonly unsigned control_size

    cdef void reset(self) noexcept
