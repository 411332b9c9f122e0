cimport cython
from ioring.http._exchange cimport path_of


@cython.final
cdef class Mounts:
    cdef readonly list places  # of a prefix, the same with what may follow it, and a function
