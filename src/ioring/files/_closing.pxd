from libc.stdint cimport int64_t
from ioring.files._read_ahead cimport ReadAhead
from ioring.files._requests cimport *


cdef class Closing(ReadAhead):
    cdef bint closefd
    cdef object blocking  # the file that the descriptor belongs to, if that is another
    cdef bint can_read
    cdef bint can_write

    cdef object __weakref__

    cdef int give_up_descriptor(self) except -2
    cdef bint write_on(self) except -1
    cdef int give_up(self, object error) except -1
    cdef int write_blocking(self) except -1
    cdef object blocking_file(self, int fd, bint closefd)
