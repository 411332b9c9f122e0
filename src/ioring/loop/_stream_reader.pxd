cimport cython
from ioring.loop._awaitable cimport *
from ioring.loop._core cimport LoopCore
from ioring.loop._stream_transport cimport Stream
from ioring.loop._transport cimport Filter


@cython.final
cdef class Feed(Filter):
    cdef Stream stream
    cdef object reader_ref  # weak: a reader that nobody has any more closes its connection
    cdef Read waiting

    # Whether the reader is known to have an empty buffer, no end, no exception, nobody else who waits, and not to pause.
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


@cython.final
cdef class Ready(Awaitable):
    pass
