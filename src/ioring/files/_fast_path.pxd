cimport cython
from ioring.loop._awaitable cimport *

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object it)

cdef extern from "pread.h":
    object ioring_send(object coroutine, int *finished)


cdef class Quick(Awaitable):
    cdef object coroutine
    cdef bint begun

    cdef object at_once(self)
    cdef object slowly(self)
    cdef int check(self, object value) except -1


cdef class QuickFile


@cython.final
cdef class Line(Quick):
    cdef QuickFile file
    cdef Py_ssize_t limit
    cdef bint iterating


@cython.final
cdef class Writing(Quick):
    cdef QuickFile file
    cdef object data


cdef class QuickFile:
    cdef Line spare  # one that is over, for the next line

    cdef object line_at_once(self, Py_ssize_t limit)
    cdef object write_at_once(self, object data)


cdef Line new_line(QuickFile file, Py_ssize_t limit, bint iterating)
cdef Writing new_writing(QuickFile file, object data)
