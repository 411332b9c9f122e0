cimport cython
from libc.stdint cimport int64_t


@cython.final
cdef class Flat:
    cdef Py_buffer view
    cdef bint held


cdef int64_t whole(object value, str name) except? -1
cdef int take_writable(object buffer, Py_buffer *view) except -1
