# member.h as Cython sees it.

cdef extern from "member.h":
    int ioring_add_member(object type, const char *name, Py_ssize_t offset, bint readonly, const char *doc) except -1
    int ioring_own_method(object type, object descriptor) except -1
