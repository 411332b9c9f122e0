cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop.context_call cimport ioring_run_method
from ioring.loop._transport cimport *


cdef class ReadPipe(Transport):
    cdef bint named       # a FIFO, which may have had no writer yet
    cdef bint polling     # the request in flight is a poll that waits until something can be read
    cdef bint lined       # waits for a buffer (_rations.py); see _stream_transport.pxd for this and the next
    cdef bint bulk
    cdef int input        # INPUT_*
    cdef int end          # how the input has ended, a result of 0 or less
    cdef object held      # received while reading was paused: a deque of bytes, or None

    cdef bint may_read(self) noexcept
    cdef int start_read(self, bint poll) except -1
    cdef int launch_read(self, bint poll) except -1
    cdef int deliver(self, bytes data) except -1
    cdef int ended(self, int res) except -1


@cython.final
cdef class PipeWrite(LoopOp):
    cdef WritePipe pipe
    cdef bytes data
    cdef size_t sent
    cdef bint polling

    cdef int start(self, bint poll) except -1


cdef class WritePipe(Transport):
    cdef bint watched     # a poll can tell when the reading end is closed
    cdef list pending     # written and not being sent yet
    cdef PipeWrite writing

    cdef int was_written(self, PipeWrite write, int32_t res) except -1
    cdef int write_on(self) except -1
    cdef int start_write(self) except -1
