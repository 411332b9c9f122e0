cimport cython
from ioring.http._asgi cimport AsgiExchange
from ioring.http._exchange cimport Channel, Exchange, queued, wake
from ioring.http._service cimport Service
from ioring.loop._stream_transport cimport Stream

cdef extern from "http.h":
    enum:
        IORING_HTTP_OTHER
        IORING_HTTP_HOST
        IORING_HTTP_EXPECT
        IORING_HTTP_UPGRADE
        IORING_HTTP_CONTENT_LENGTH
        IORING_HTTP_TRANSFER_ENCODING
    int ioring_http_known(const char *name, Py_ssize_t length) noexcept
    long long ioring_http_number(const char *digits, Py_ssize_t length) noexcept
    bint ioring_http_lists(const char *list, Py_ssize_t length, const char *item) noexcept
    object ioring_http_lower(object name)
    bint ioring_http_is_11(
        const char *data, Py_ssize_t length, const char *method, Py_ssize_t method_length, const char *target,
        Py_ssize_t target_length
    ) noexcept

cdef extern from "poll.h" nogil:
    enum:
        POLLERR
        POLLHUP
        POLLRDHUP
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int timeout)

# What a connection waits for.
cdef enum:
    IDLE = 0  # the next request
    HEAD = 1  # the rest of a head
    BODY = 2  # the rest of a body
    DEAF = 3  # nothing: what comes is dropped


cdef class Connection(Channel):
    cdef object __weakref__
    cdef readonly Service service
    cdef readonly object transport  # None once it is gone
    cdef Stream stream              # the transport, when it is one of ours
    cdef object parser
    cdef int state
    cdef bint fresh                 # nothing was received yet

    # Of the request that is being received.
    cdef bytes target
    cdef list headers
    cdef Py_ssize_t head_size
    cdef Py_ssize_t overhead        # bytes in bodies that are none of them: sizes of chunks, trailers
    cdef bint shared                # it began in bytes that belong to another, too
    cdef bytes first                # what it began with, while that is looked at
    cdef unsigned hosts
    cdef bint expects_continue
    cdef bint encoded               # it has a header transfer-encoding
    cdef long long content_length
    cdef bytes upgrade
    cdef int refusal                # the status to answer a request with that could not be understood

    # Requests whose head is there: the one that is answered, the one whose body comes, those in between.
    cdef readonly Exchange current
    cdef Exchange receiving
    cdef object queue               # a deque, or None
    cdef bint upgrading
    cdef bint body_follows          # though it wanted another protocol, and the parser looks no further
    cdef bint advancing             # advance() is at work
    cdef bint held_back             # the current one waits until the client has taken what was sent before, or a turn

    cdef bint reading_paused
    cdef object writers             # a future, or a list of them, while somebody waits until more may be written
    cdef bint ended                 # the peer sends no more
    cdef readonly double deadline   # when to give up waiting
    cdef Py_ssize_t unsent          # how much was written and not sent, when that was looked at last
    cdef double patience            # for so many seconds the client may let the body wait
    cdef double waits_since         # when it began to do so: the last of it came, or it might go on

    cdef int expect(self, int state) except -1
    cdef bint takes_something(self) except -1
    cdef int consume(self, bytes data) except -1
    cdef int dispatch(self) except -1
    cdef int begin(self, Exchange exchange) except -1
    cdef int next(self) except -1
    cdef int advance(self) except -1
    cdef int bad(self, int status, str message, object exception) except -1
    cdef int answer_bad(self) except -1
    cdef int wake_writers(self) except -1
    cdef int close(self) except -1
    cdef int linger(self) except -1
    cdef int set_deadline(self) except -1
    cdef int give_over(self, bytes rest) except -1
    cdef int receive_body(self, bytes rest) except -1


cdef object address_of(object name)
