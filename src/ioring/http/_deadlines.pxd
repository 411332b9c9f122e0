cimport cython
from ioring.http._exchange cimport Channel, Exchange
from ioring.http._service cimport Service

# What a connection receives next.
cdef enum:
    IDLE = 0  # the next request
    HEAD = 1  # the rest of a request's head
    BODY = 2  # the rest of a request's content
    DEAF = 3  # nothing: what is received is dropped

cdef enum:
    # Seconds for which a connection whose last response is sent drops what the client still sends: while it does, at most.
    LINGER_MAX_S = 30


cdef class TimedConnection(Channel):
    cdef readonly Service service
    cdef readonly object transport  # None once it is closed
    cdef int state
    cdef bint fresh                 # nothing was received yet
    cdef readonly Exchange current  # the one that is being answered
    cdef bint reading_paused

    cdef readonly double deadline   # when expire() is called
    cdef double patience            # seconds for which the client may send none of the content
    cdef double waits_since         # since when it has sent none: when some came last, or when reading was resumed
    cdef double lingers_until       # 0, or until when at most it drops what the client sends behind the last response
    cdef Py_ssize_t unsent          # bytes that were written and not sent when takes_something() looked last

    cdef int expect(self, int state) except -1
    cdef int set_deadline(self) except -1
    cdef int content_came(self, Py_ssize_t size) except -1
    cdef int dropped(self) except -1
    cdef bint takes_something(self) except -1
    cdef int bad(self, int status, str message, object exception) except -1
    cdef int close(self) except -1
    cdef int leave(self) except -1
