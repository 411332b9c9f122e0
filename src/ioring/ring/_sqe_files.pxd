from ioring.ring._sqe_base cimport *


cdef class FileSqe(Entry):
    cdef int put_transfer(self, int opcode, object fd, object buf, object nbytes, object offset, object buf_index, bint into) except -1
    cdef int put_vector(self, int opcode, object fd, object iovecs, object offset, object flags, object buf_index, bint into) except -1
    cdef int put_open(self, object dfd, object path, object flags, object mode, object file_index, bint direct) except -1
    cdef int put_openhow(self, object dfd, object path, object how, object file_index, bint direct) except -1
    cdef int put_two_paths(self, int opcode, object olddfd, object oldpath, object newdfd, object newpath, object flags) except -1
    cdef int put_advice(self, object buf, object nbytes, object advice, bint wide) except -1
    cdef object plain_descriptor(self, object fd)
    cdef int put_xattr(self, int opcode, object fd, object name, object value, object path, object flags, object nbytes) except -1
