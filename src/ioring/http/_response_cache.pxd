cimport cython
from ioring.http._exchange cimport Exchange
from ioring.http._service cimport Service

cdef extern from "http.h":
    enum:
        IORING_HTTP_PLAIN
        IORING_HTTP_CONDITION
    int ioring_http_selects(const char *name, Py_ssize_t length) noexcept


@cython.final
cdef class Answer:
    cdef readonly object found      # what it is made from, for those who want another answer
    cdef readonly bytes head        # the status and the headers; None: there is none that is ready
    cdef readonly bytes body
    cdef readonly Py_ssize_t size
    cdef Py_ssize_t choices_size
    cdef bytes path                 # by which it is found; None: it was forgotten, or is one of another's choices
    cdef readonly dict choices      # an Answer by value of accept-encoding, or None when that does not matter
    cdef public double valid_until  # of the loop's clock
    cdef public bint used           # since somebody looked

    # All of it with the lines that were standard then; without the body when that is large.
    cdef bytes standard
    cdef bytes whole

    cdef int send(self, Exchange exchange) except -1


@cython.final
cdef class Answers:
    cdef readonly dict by_path
    cdef readonly object otherwise
    cdef readonly Py_ssize_t held  # bytes
    cdef readonly Py_ssize_t count_max
    cdef readonly Py_ssize_t held_max

    cdef Answer chosen(self, Exchange exchange, Answer answer)
    cdef int count(self, Answer answer, Py_ssize_t more) except -1
    cdef int forget(self, bytes path) except -1
