cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop.context_call cimport ioring_run_method


cdef enum:
    LOG_THRESHOLD = 5  # so many writes to a lost connection are dropped in silence


cdef class Filter(LoopOp):
    cdef int feed(self, bytes data) except -1
    cdef int end(self) except -1


cdef class Transport(LoopOp):
    # The descriptor, or the slot in the ring's file table; -1 when it was given up.
    cdef int fd
    cdef bint direct

    # Whatever object owns the descriptor: a socket, a pipe's file. None while nobody asked for one.
    cdef object file
    cdef dict extra

    cdef object protocol
    cdef object context
    cdef object server

    # How often write() was called in vain, plus 1: nonzero once connection_lost() is on its way.
    cdef unsigned lost
    cdef bint closing
    cdef bint paused
    cdef bint protocol_paused
    cdef bint disconnected  # connection_lost() was called
    cdef bint cancelling  # the kernel is asked to end what is in flight

    # Bytes that were written and not sent yet.
    cdef size_t size
    cdef size_t high
    cdef size_t low

    cdef object __weakref__

    cdef int set_up(self, LoopCore loop, int fd, object protocol, object context, dict extra, object server) except -1
    cdef int tell_waiter(self, object waiter) except -1
    cdef int detach(self, object server) except -1
    cdef int target(self, sqe_p sqe) noexcept
    cdef object call(self, object name, object argument)
    cdef int failed(self, str message) except -1
    cdef int fatal(self, object exception, str message) except -1
    cdef int break_off(self, object exception) except -1
    cdef int schedule_lost(self, object exception) except -1
    cdef int check_high(self) except -1
    cdef int pause_protocol(self) except -1
    cdef int check_low(self) except -1
    cdef int submit_now(self) except -1
    cdef int stop_receiving(self) except -1
    cdef int drop_output(self) except -1
    cdef int release_descriptor(self) except -1
    cdef int free_slot(self, int slot) except -1
    cdef object load_extra(self, str name)
