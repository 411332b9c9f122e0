cimport cython
from ioring.loop._awaitable cimport *

cdef extern from "pread.h":
    object ioring_send(object coroutine, int *finished)


cdef class Quick(Awaitable):
    cdef object coroutine
    cdef bint begun

    cdef object at_once(self)
    cdef object slowly(self)
    cdef int check(self, object value) except -1
