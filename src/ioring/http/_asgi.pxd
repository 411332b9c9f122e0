cimport cython
from cpython.object cimport PyObject
from ioring.loop._awaitable cimport Awaitable, ready, until
from ioring.http._exchange cimport Exchange
from ioring.loop._handles cimport reraise
from ioring.http._service cimport Service
from ioring.http._waiters cimport waiting, wake

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(object iterator, object value, PyObject **result)

cdef extern from "http.h":
    bint ioring_http_lists(const char *list, Py_ssize_t length, const char *item) noexcept
    bint ioring_http_is_value(const char *value, Py_ssize_t length) noexcept


cdef class AsgiExchange(Exchange):
    cdef Run work
    cdef object waiters       # see waiting(): those who wait for a message
    cdef bint told_end        # it was given the last of the request's body
    cdef bint trailing        # the response is to have trailers
    cdef bint awaits_trailers # all of it but them was sent
    cdef list trailers        # their lines
    cdef int futile           # how many messages it has sent since the client has left

    cpdef dict scope(self)
    cdef object message(self)
    cdef object send_path(self, object path)
    cdef int respond_before_trailers(self, bytes body, bint more) except -1
    cdef int send_trailers(self, object headers, bint more) except -1
    cdef int send_hint(self, object links) except -1


@cython.final
cdef class Run(Awaitable):
    cdef AsgiExchange exchange
    cdef object coroutine
    cdef object task

    cdef int ended(self, object exception) except -1


@cython.final
cdef class Dropped(Awaitable):
    cdef bint passed


@cython.final
cdef class Receive(Awaitable):
    cdef AsgiExchange exchange


@cython.final
cdef class Drained(Awaitable):
    cdef object future


cdef bytes bytes_of(object data)
