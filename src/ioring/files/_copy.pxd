from libc.stdint cimport int64_t
from ioring.files._requests cimport *
from ioring.files._base cimport File
from ioring.files._read_ahead cimport CHUNK_MAX


cdef class Copying(File):
    pass
