cimport cython

cpdef object queued(object waiters, object future)
cpdef int wake(object waiters) except -1
