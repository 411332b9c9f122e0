cimport cython
from ioring.ring.uring cimport *
from ioring.ring._buffer_ring cimport BufferRing
from ioring.ring._msghdr cimport msghdr as msghdr_t
from ioring.ring._request cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._engine cimport STAYS
from ioring.loop.context_call cimport ioring_run_method2
from ioring.loop._transport cimport *


@cython.final
cdef class SendDatagram(LoopOp):
    cdef Datagram transport
    cdef bytes data
    cdef bytes name   # the receiver's struct sockaddr, or None on a connected socket


@cython.final
cdef class Writable(LoopOp):
    cdef Datagram transport


@cython.final
cdef class Datagram(Transport):
    cdef object address      # the only one that may be sent to, or None
    cdef bint connected
    cdef bint ordered        # a Unix socket: its datagrams are sent one at a time, to keep their order
    cdef bint reading
    cdef object held         # a deque of what came while reading was paused, or None
    cdef BufferRing buffers
    cdef msghdr_t header

    # Datagrams that wait for those in flight: a deque of SendDatagram. And how many are in flight.
    cdef object waiting
    cdef unsigned sending

    # There is no room to send: a poll waits until there is (`writable`), or a timer runs.
    cdef bint blocked
    cdef Py_ssize_t returned  # how many at the beginning of `waiting` were submitted and could not be sent
    cdef Writable writable

    # Addresses that were used lately: a struct sockaddr by Python's form, and the other way round.
    cdef dict names
    cdef dict addresses

    cdef int start_receive(self) except -1
    cdef int deliver(self, bytes data, object address) except -1
    cdef object address_of(self, unsigned char *name, unsigned length)
    cdef bytes name_of(self, object address)
    cdef int submit(self, SendDatagram send) except -1
    cdef int block(self, int32_t res) except -1
    cdef int was_sent(self, SendDatagram send, int32_t res) except -1
    cdef int send_on(self) except -1
    cdef int report_error(self, int32_t res, str operation) except -1
