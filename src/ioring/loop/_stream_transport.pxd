cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._core cimport UNSENT_MAX, LoopCore, LoopOp
from ioring.loop.context_call cimport ioring_run_method
from ioring.loop._writable_transport cimport Output
from ioring.loop._transport cimport *

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    struct sockaddr_storage:
        unsigned short ss_family
    int getpeername(int fd, sockaddr *name, unsigned *size)


cdef extern from "sys/socket.h":
    Py_ssize_t recv(int fd, void *buffer, size_t length, int flags)


@cython.final
cdef class Install(LoopOp):
    cdef int result
    cdef bint abandoned


@cython.final
cdef class Stream(Output):
    cdef bint buffered    # the protocol is a BufferedProtocol
    cdef Filter filter    # the protocol, when it is one
    cdef bint bulk        # it is one, and gets much at a time
    cdef bint local       # then, whether this is a Unix socket
    cdef unsigned small   # how often in a row it then did not
    cdef bint polling     # the request in flight is a poll
    cdef bint reading     # connection_made() was called, and the end was not seen yet

    # Received while reading was paused, or before the socket was this transport's; and the end, if that came too: a result of 0 or less.
    cdef object held  # a deque, or None
    cdef bint end_held
    cdef int end
    cdef bint expecting   # more of it may come

    cdef bytes peer       # a struct sockaddr, or None

    cdef int note_peer(self) except -1
    cdef int start_receive(self) except -1
    cdef int ceased(self, int32_t res) except -1
    cdef int hold(self, bytes data, bint first) except -1
    cdef int deliver(self, bytes data) except -1
    cdef int deliver_buffered(self, const char *source, Py_ssize_t whole) except -1
    cdef int polled(self, int32_t res, uint32_t flags) except -1
    cdef int receive_now(self, bint to_the_end) except -1
    cdef int stop_polling(self) except -1
    cdef int deliver_held(self) except -1
    cdef int deliver_later(self, const char *source, Py_ssize_t length) except -1
    cdef int ended(self, int res) except -1
    cdef int descriptor(self) except -1


cdef Stream open_stream(LoopCore loop, int fd, bint direct, object protocol, object context, dict extra, object server)
