cimport cython
from libc.stdint cimport int64_t
from ioring.files._closing cimport Closing
from ioring.files._read_ahead cimport WINDOW_MIN
from ioring.files._requests cimport *


cdef class File(Closing):
    cdef readonly str mode

    cdef int check_readable(self) except -1
    cdef int check_writable(self) except -1
    cdef bytes line_ahead(self)


cdef FileOp own(File file, object op)
cdef FileOp lend(File file, object op)
