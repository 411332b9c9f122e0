cimport cython
from ioring.ring._request cimport *
from ioring.loop._engine cimport EngineOp

cdef extern from "awaitable.h":
    void ioring_awaitable_install(object cls, object (*step)(object, int *))


# States of an awaitable that waits for the kernel.
cdef enum:
    FRESH = 0      # not awaited yet
    WAITING = 1
    DONE = 2       # the result is there
    ABANDONED = 3  # nobody waits for it any more, or the result was returned
    DEFERRED = 4   # it waits for another turn


cdef class Awaitable(EngineOp):
    # Whether the last step has returned the result.
    cdef bint finished

    cdef object step(self)
    cdef int leave(self) except -1
    cdef object run(self)


@cython.final
cdef class Ready(Awaitable):
    pass


cdef inline object until(object future):
    """What step() returns to wait for a future: by this mark asyncio's tasks know that it was awaited."""
    future._asyncio_future_blocking = True
    return future


cdef Ready ready()
cdef object advance(object it, int *finished)
cdef object shown_as(object it, str owner, str method, object name)
cdef object exception_of(object kind, object value)
