cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._flow_control cimport FlowControl
from ioring.loop.context_call cimport ioring_call_method


# How far the input of a stream or a pipe is.
cdef enum:
    INPUT_NEW = 0       # connection_made() was not called yet
    INPUT_OPEN = 1
    INPUT_END_HELD = 2  # it has ended, and the protocol is told when it got what is held
    INPUT_OVER = 3      # it has ended, and the protocol was told


cdef class Filter:
    cdef int feed(self, bytes data) except -1
    cdef int end(self) except -1


cdef class Transport(FlowControl):
    # The descriptor, or the slot in the ring's file table; -1 when it is closed.
    cdef int fd
    cdef bint direct

    # The object that owns the descriptor: a socket, a pipe's file. None until somebody asks for one.
    cdef object file
    cdef dict extra

    cdef object protocol
    cdef object context
    cdef object server

    # 0 while the connection is there. 1 once connection_lost() is scheduled, and 1 more for each write since; see count_lost().
    cdef unsigned lost
    cdef bint closing       # close() or abort() was called
    cdef bint disconnected  # connection_lost() was called
    cdef bint paused        # pause_reading() was called
    cdef bint cancelling    # the receive that is in flight is being cancelled

    cdef object __weakref__

    cdef int set_up(self, LoopCore loop, int fd, object protocol, object context, dict extra, object server) except -1
    cdef int tell_waiter(self, object waiter) except -1
    cdef int target(self, sqe_p sqe) noexcept
    cdef int failed(self, str message) except -1
    cdef int fatal(self, object exception, str message) except -1
    cdef int break_off(self, object exception) except -1
    cdef int try_output(self) except -1
    cdef int schedule_lost(self, object exception) except -1
    cdef int submit_now(self) except -1
    cdef int stop_receiving(self) except -1
    cdef int release_descriptor(self) except -1
    cdef int let_go(self) except -1
    cdef int free_slot(self, int slot) except -1
    cdef object load_extra(self, str name)
