# freelist.h as Cython sees it: for the one module that uses it.

cdef extern from "freelist.h":
    void ioring_freelist_install(object type)
