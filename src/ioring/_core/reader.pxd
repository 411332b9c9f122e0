cimport cython
from ioring._core.awaitable cimport *
from ioring._core.loop cimport LoopCore
from ioring._core.stream cimport Stream
from ioring._core.transport cimport Filter


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
