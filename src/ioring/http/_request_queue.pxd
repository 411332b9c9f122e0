cimport cython
from ioring.http._deadlines cimport DEAF, LINGER_MAX_S, TimedConnection
from ioring.http._exchange cimport Exchange


cdef class QueueingConnection(TimedConnection):
    # Requests whose head is complete, besides `current`: the one whose content is received, and those that wait.
    cdef Exchange receiving
    cdef object queue               # a deque, or None
    cdef bint upgrading             # the parser has met a request for a WebSocket
    cdef bint advancing             # advance() is at work
    cdef bint held_back             # `current` has not begun: earlier responses are not sent, or others have their turn
    cdef bint ended                 # the client sends no more

    cdef int add(self, Exchange exchange) except -1
    cdef int put_in_queue(self, Exchange exchange) except -1
    cdef int dispatch(self) except -1
    cdef int begin(self, Exchange exchange) except -1
    cdef int next(self) except -1
    cdef int advance(self) except -1
    cdef int linger(self) except -1
