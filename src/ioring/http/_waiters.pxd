cimport cython

cpdef tuple waiting(object waiters, object loop)
cpdef int wake(object waiters) except -1
