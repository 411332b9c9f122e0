cimport cython
from cpython.object cimport PyObject
from ioring.loop._awaitable cimport exception_of
from ioring.http._exchange cimport Exchange, path_of, queued, wake
from ioring.loop._handles cimport reraise
from ioring.http._service cimport Service

cdef extern from "awaitable.h":
    void ioring_awaitable_install(object cls, object (*step)(object, int *))

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(object iterator, object value, PyObject **result)


cdef class Step:
    cdef object step(self, int *finished)
    cdef object run(self)


cdef class AsgiExchange(Exchange):
    cdef Run work
    cdef object waiters       # a future, or a list of them, while the application waits for a message
    cdef bint told_end        # it was given the last of the request's body

    cpdef dict scope(self)
    cdef object message(self)
    cdef object send_path(self, object path)
    cdef int send_hint(self, object links) except -1


@cython.final
cdef class Run(Step):
    cdef AsgiExchange exchange
    cdef object coroutine
    cdef object task

    cdef int ended(self, object exception) except -1


@cython.final
cdef class Receive(Step):
    cdef AsgiExchange exchange
    cdef object future


@cython.final
cdef class Drained(Step):
    cdef object future


@cython.final
cdef class Ready(Step):
    pass


cdef object advance(object it, int *finished)
cdef bytes bytes_of(object data)
