cimport cython


@cython.final
cdef class Records:
    cdef Py_ssize_t whole   # that can be decrypted
    cdef Py_ssize_t unread  # bytes, those of the last one included

    # What is known of the last one: how much of its header, its length, and how much of it is missing.
    cdef int fill
    cdef unsigned char header[5]
    cdef Py_ssize_t length
    cdef Py_ssize_t missing
    cdef bint strange  # not TLS: let the cipher machine say so

    cdef int add(self, bytes data) except -1
    cdef int drop_one(self) except -1
    cdef int drop_all(self) except -1
