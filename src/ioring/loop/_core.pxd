cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.ring._buffer_ring cimport BufferRing
from ioring.loop._handles cimport Handle, TimerHandle, Timers
from ioring.loop.bytes_pool cimport ioring_pool
from ioring.loop._engine cimport FORGOTTEN, IMMEDIATE_MAX, STAYS, TAKEN_BACK, UNSENT_MAX, Engine, EngineOp
from ioring.loop._rations cimport Rations


cdef class LoopOp(EngineOp):
    cdef LoopCore loop

    cdef BufferRing receives_into(self)
    cdef int complete_timed(self, int32_t res, uint32_t flags) except -1


@cython.no_gc_clear
cdef class LoopCore(Engine):
    cdef BufferRing buffers
    cdef Rations rations

    # Pools of bytes objects for received data: of up to 16 KiB, and larger.
    cdef ioring_pool middling
    cdef ioring_pool large

    cdef readonly bint _direct
    cdef readonly bint _receive_once  # not multishot: see kernel_bugs.py

    # Slots of the ring's file table: all; those in use; those reserved for single accepts in flight; those that the
    # connections in the listening queues may need at once. And how many multishot accepts are in flight.
    cdef unsigned slots
    cdef unsigned slots_used
    cdef unsigned slots_promised
    cdef unsigned slots_spare
    cdef unsigned multishots

    # Listening sockets that serve: the Acceptor of each.
    cdef readonly dict _acceptors

    # Callbacks that are ready: a circular queue in a list.
    cdef list ready
    cdef Py_ssize_t head
    cdef Py_ssize_t tail
    cdef Py_ssize_t mask

    # Callbacks that wait for a time.
    cdef Timers timers

    # Weak references to transports, by descriptor, where programs know the descriptor.
    cdef dict owners

    # {"loop": self}: the arguments with which a Future is made.
    cdef dict future_arguments

    # Whether the thread waits in the kernel or is about to; whether another thread has woken it already; and what that
    # writes to: an eventfd, or -1 for a message to the ring.
    cdef bint sleeping
    cdef bint woken
    cdef int eventfd

    # Attributes that asyncio.BaseEventLoop keeps under these names.
    cdef public bint _debug
    cdef public bint _stopping
    cdef public object _task_factory
    cdef public object _current_handle

    # Debug mode: seconds of the completion that is being handled which callbacks have taken that were reported already.
    cdef double reported

    cdef int own(self, int fd, object transport) except -1
    cdef int check_free(self, int fd) except -1
    cdef int push(self, object item) except -1
    cdef int grow(self) except -1
    cdef int schedule(self, object callback, tuple args, object context) except -1
    cdef TimerHandle at(self, double when, object callback, tuple args, object context, str name)
    cdef int announce(self, object callback, tuple args) except -2
    cdef int wake(self) except -1
    cdef int turn(self) except -1
    cdef int expire(self, double now) except -1
    cdef int run_ready(self, Py_ssize_t count) except -1
    cdef int run_one(self, Handle handle) except -1
    cdef int run_in_debug(self, Handle handle) except -1
    cdef int send_early(self) except -1
    cdef bytes take(self, unsigned bid, unsigned length)
    cdef bytes copied(self, const char *source, unsigned length)
    cdef void give_back(self, unsigned bid) noexcept
