cimport cython
@cython.final
cdef class Direct:
    cdef readonly unsigned slot
