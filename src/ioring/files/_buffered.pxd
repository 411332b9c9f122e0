cimport cython
from libc.stdint cimport int64_t
from ioring.files._requests cimport *
from ioring.files._base cimport own
from ioring.files._copy cimport Copying
from ioring.files._read_ahead cimport CHUNK_MAX
from ioring.files._fast_path cimport Quick, new_line, new_writing

cdef class BufferedFile


@cython.final
cdef class ReadBytes(Quick):
    cdef BufferedFile file
    cdef Py_ssize_t size


cdef class BufferedFile(Copying):
    cdef bytes line(self, Py_ssize_t limit)
    cdef object read_at_once(self, Py_ssize_t size)
