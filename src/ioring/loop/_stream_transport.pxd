cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._engine cimport STAYS, UNSENT_MAX
from ioring.loop.context_call cimport ioring_run_method
from ioring.loop._writable_transport cimport Output
from ioring.loop._transport cimport *

from ioring.loop.socket_api cimport sockaddr, sockaddr_storage


# How what is received reaches the protocol: see the .py.
cdef enum:
    RECEIVE_BYTES = 0
    RECEIVE_FILTER = 1
    RECEIVE_COPY = 2   # this and the next: a BufferedProtocol
    RECEIVE_POLL = 3


@cython.final
cdef class Install(LoopOp):
    cdef int result
    cdef bint abandoned


@cython.final
cdef class Stream(Output):
    cdef int mode         # RECEIVE_*
    cdef Filter filter    # RECEIVE_FILTER: the protocol
    cdef bint local       # RECEIVE_POLL: whether this is a Unix socket
    cdef unsigned small   # RECEIVE_POLL: how many receives in a row were small
    cdef bint again       # RECEIVE_POLL: recv(2) is called again in the next turn
    cdef bint polling     # the request in flight, or the last one, is a poll

    # The input: INPUT_*, and how it has ended, a result of 0 or less.
    cdef int input
    cdef int end

    # Received while reading was paused, or before the socket was this transport's: a deque of bytes, or None.
    cdef object held
    cdef bint expecting   # of the latter, more may come

    # While buffers are scarce (_rations.py): whether it waits for one; whether it found none, or received much, the last
    # time; and in which turn that was.
    cdef bint lined
    cdef bint bulk
    cdef unsigned long received_in

    cdef bytes peer       # a struct sockaddr, or None

    cdef int note_peer(self) except -1
    cdef int start(self) except -1
    cdef bint may_receive(self) noexcept
    cdef int start_receive(self) except -1
    cdef int launch_receive(self, bint once) except -1
    cdef int rationed(self, int32_t res, uint32_t flags) except -1
    cdef int ceased(self, int32_t res) except -1
    cdef int hold(self, bytes data, bint first) except -1
    cdef int hold_end(self, int res) except -1
    cdef int deliver(self, bytes data) except -1
    cdef int deliver_copy(self, unsigned bid, int32_t res, uint32_t flags) except -1
    cdef int copy(self, const char *source, Py_ssize_t whole) except -1
    cdef int polled(self, int32_t res, uint32_t flags) except -1
    cdef int receive_now(self, bint to_the_end) except -1
    cdef int receive_later(self) except -1
    cdef int stop_polling(self) except -1
    cdef int deliver_held(self) except -1
    cdef int deliver_later(self, const char *source, Py_ssize_t length) except -1
    cdef int ended(self, int res) except -1
    cdef int descriptor(self) except -1


cdef Stream open_stream(LoopCore loop, int fd, bint direct, object protocol, object context, dict extra, object server)
