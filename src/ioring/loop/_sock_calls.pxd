from ioring.loop._leftovers cimport Leftovers
from ioring.loop._sock_requests cimport *


cdef class SocketCalls(Leftovers):
    pass


cdef int _check(SocketCalls loop, object sock) except -1
cdef Request _set_up(Request request, SocketCalls loop, object sock)
cdef Py_ssize_t _size(Py_ssize_t size, str name) except -1
