from libc.stdint cimport int64_t
from ioring.files._requests cimport *
from ioring.files._base cimport CHUNK_MAX, File


cdef class Copying(File):
    pass
