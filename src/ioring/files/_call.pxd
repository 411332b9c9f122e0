cimport cython
from ioring.files._requests cimport *


@cython.final
cdef class Call(FileOp):
    # Anything else: the entry, the names that it points to, and what does the same in a thread.
    cdef uring_sqe entry
    cdef bytes first
    cdef bytes second
    cdef object fallback
    cdef object value
    cdef bint makes_descriptor

    cdef size_t hold(self, bytes name) except 0


cdef Call new_call(Engine core, uint8_t opcode, int fd, object path, object fallback)
