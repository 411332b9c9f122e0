cimport cython


@cython.final
cdef class Mounts:
    cdef readonly list places  # of a prefix, the same with what may follow it, and a function
