cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.ring._buffer_ring cimport BufferRing
from ioring.ring._dispatcher cimport Driver


@cython.final
cdef class Accept(Op):
    cdef Echo echo


@cython.final
cdef class Cancel(Op):
    pass


@cython.final
cdef class Pause(Op):
    cdef Echo echo
    cdef uring_timespec seconds


@cython.final
cdef class Signals(Op):
    cdef Echo echo
    cdef unsigned char numbers[64]


@cython.final
cdef class Receive(Op):
    cdef Connection connection


@cython.final
cdef class Send(Op):
    cdef Connection connection


@cython.final
cdef class Close(Op):
    cdef Connection connection


@cython.final
cdef class Connection:
    cdef Echo echo
    cdef unsigned slot
    cdef Receive receive
    cdef Send send
    cdef Close closing

    # Buffers received and not sent back yet, oldest first: (id, length). The first is the one being sent.
    cdef list backlog
    cdef unsigned sending
    cdef unsigned sent
    cdef unsigned length
    cdef bint receiving
    cdef bint ended

    cdef int open(self) except -1
    cdef int start_receive(self) except -1
    cdef int start_send(self) except -1
    cdef int received(self, int32_t res, uint32_t flags) except -1
    cdef int was_sent(self, int32_t res) except -1
    cdef int give_up(self) except -1
    cdef int close_if_done(self) except -1


@cython.final
cdef class Echo:
    cdef Driver ring
    cdef BufferRing buffers
    cdef int listener
    cdef unsigned slots
    cdef int wakeup

    cdef Accept accept
    cdef Cancel cancel
    cdef Pause pausing
    cdef Signals signals
    cdef list connections
    cdef list starved

    cdef readonly unsigned used
    cdef readonly unsigned long accepted
    cdef readonly unsigned long messages
    cdef readonly unsigned long octets
    cdef readonly unsigned long refused

    cdef int watch_signals(self) except -1
    cdef int start_accept(self) except -1
    cdef int stop_accept(self) except -1
    cdef int was_accepted(self, int32_t res, uint32_t flags) except -1
    cdef int was_closed(self) except -1
    cdef int pause(self) except -1
    cdef void give_back(self, unsigned bid) noexcept
    cdef int feed(self) except -1
