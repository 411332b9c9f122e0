cimport cython
from libc.stdint cimport int64_t
from ioring.files._requests cimport *
from ioring.files._copy cimport Copying
from ioring.files._fast_path cimport Quick

cdef class BufferedFile


cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object it)

@cython.final
cdef class ReadBytes(Quick):
    cdef BufferedFile file
    cdef Py_ssize_t size


@cython.final
cdef class ReadLine(Quick):
    cdef BufferedFile file
    cdef Py_ssize_t size
    cdef bint iterating


@cython.final
cdef class WriteBytes(Quick):
    cdef BufferedFile file
    cdef object data


cdef class BufferedFile(Copying):
    cdef ReadLine spare

    cdef bytes line(self, Py_ssize_t limit)
    cdef object read_at_once(self, Py_ssize_t size)
    cdef object line_at_once(self, Py_ssize_t limit)
    cdef object write_at_once(self, object data)


cdef ReadLine new_line(BufferedFile file, Py_ssize_t size, bint iterating)
