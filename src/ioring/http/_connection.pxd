cimport cython
from ioring.http._asgi cimport AsgiExchange
from ioring.http._deadlines cimport BODY, DEAF, HEAD, IDLE
from ioring.http._exchange cimport DISCARDED_MAX, Exchange
from ioring.http._request_queue cimport QueueingConnection
from ioring.http._waiters cimport waiting, wake
from ioring.loop._stream_transport cimport Stream

cdef extern from "http.h":
    enum:
        IORING_HTTP_OTHER
        IORING_HTTP_HOST
        IORING_HTTP_EXPECT
        IORING_HTTP_CONNECTION
        IORING_HTTP_UPGRADE
        IORING_HTTP_CONTENT_LENGTH
        IORING_HTTP_TRANSFER_ENCODING
    int ioring_http_known(const char *name, Py_ssize_t length) noexcept
    long long ioring_http_number(const char *digits, Py_ssize_t length) noexcept
    bint ioring_http_lists(const char *list, Py_ssize_t length, const char *item) noexcept
    object ioring_http_lower(object name)
    bint ioring_http_is_host(const char *text, Py_ssize_t length) noexcept
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

cdef class Connection(QueueingConnection):
    cdef object __weakref__
    cdef Stream stream              # the transport, when it is one of ours
    cdef object parser
    cdef object origin              # (client, server, tls) that a load balancer has told, or None
    cdef bint surplus               # it is one more than there may be
    cdef object writers             # see waiting(): those who wait until more may be written

    # Of the request whose head is received.
    cdef bytes target
    cdef list headers
    cdef Py_ssize_t head_size
    cdef Py_ssize_t overhead        # bytes that are not content, such as chunk sizes and trailers
    cdef bint shared                # it began in bytes that belong to another request, too
    cdef bytes line                 # the bytes that its request line is in
    cdef Py_ssize_t line_at         # from where on
    cdef bint first                 # at the beginning of them
    cdef bytes data                 # what is parsed just now
    cdef unsigned hosts             # how many headers host it has
    cdef bint expects_continue
    cdef bint encoded               # it has a header transfer-encoding
    cdef long long content_length
    cdef bytes upgrade
    cdef bint tunnel                # it is a CONNECT: what follows is not HTTP
    cdef bint stopped               # a callback has stopped the parser
    cdef int refusal                # the status to answer it with when it is not understood; 0: none, just close
    cdef bint body_follows          # it has an Upgrade and content, and the parser stops behind its head

    cdef int consume(self, bytes data) except -1
    cdef int answer_bad(self) except -1
    cdef bint check_version(self) except -1
    cdef int to_origin_form(self, bytes method) except -1
    cdef int wake_writers(self) except -1
    cdef int give_over(self, bytes rest) except -1
    cdef int receive_body(self, bytes rest) except -1


cdef object address_of(object name)
