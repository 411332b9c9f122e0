cimport cython
from ioring.loop._awaitable cimport *
from ioring.loop._core cimport LoopCore
from ioring.loop._stream_transport cimport Stream
from ioring.loop._transport cimport Filter


@cython.final
cdef class Feed(Filter):
    cdef Stream stream
    cdef object reader_ref  # weak, because asyncio closes the connection of a reader that is freed
    cdef Read waiting       # what a task waits in, or None

    # Whether read() may wait without asking the reader: its buffer is known to be empty, it has no end and no exception,
    # no other task waits, and the transport is not paused.
    cdef bint quiet
    cdef bint broken  # the reader has an exception


@cython.final
cdef class Read(Awaitable):
    cdef Feed feed
    cdef object reader
    cdef Py_ssize_t limit
    cdef int state
    cdef object future
    cdef bytes data

    cdef object begin(self)
    cdef object taken(self)
