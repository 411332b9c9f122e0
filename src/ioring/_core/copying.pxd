from libc.stdint cimport int64_t
from ioring._core.fileops cimport *
from ioring._core.file cimport CHUNK_MAX, File


cdef class Copying(File):
    pass
