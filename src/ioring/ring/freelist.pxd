# freelist.h as Cython sees it: for the one module that uses it.

cdef extern from "freelist.h":
    object ioring_freelist_new()
    int ioring_freelist_install(object specimen) except -1
