cimport cython
from ioring.http._service cimport *

cdef extern from "http.h":
    enum:
        IORING_HTTP_OTHER
        IORING_HTTP_DATE
        IORING_HTTP_SERVER
        IORING_HTTP_CONNECTION
        IORING_HTTP_CONTENT_LENGTH
        IORING_HTTP_TRANSFER_ENCODING
    int ioring_http_known(const char *name, Py_ssize_t length) noexcept
    Py_ssize_t ioring_http_field(
        char *to, const char *name, Py_ssize_t name_length, const char *value, Py_ssize_t value_length
    ) noexcept
    long long ioring_http_number(const char *digits, Py_ssize_t length) noexcept
    bint ioring_http_lists(const char *list, Py_ssize_t length, const char *item) noexcept


# What an exchange asks of its connection.
cdef class Channel:
    cdef readonly object client     # (host, port), or None
    cdef readonly object server
    cdef readonly str scheme
    cdef readonly bint trusted      # the peer is a proxy whose headers count
    cdef readonly bint writing_paused

    cdef int write(self, bytes data) except -1
    cdef int over(self, Exchange exchange) except -1
    cdef int pause_reading(self) except -1
    cdef int resume_reading(self) except -1
    cdef int abort(self) except -1
    cpdef object drain(self)


cdef class Exchange:
    cdef readonly Channel connection  # None once it is over
    cdef readonly Service service

    # The request.
    cdef readonly str method
    cdef readonly bytes target
    cdef readonly list headers  # of pairs of bytes, the names in lower case
    cdef readonly bint http11
    cdef readonly bint keep_alive
    cdef readonly bint expects_continue
    cdef readonly long long content_length  # -1: none was given
    cdef bint has_body
    cdef readonly bint begun  # the application has it
    cdef readonly double began  # when the head was there, of the loop's clock: coarse

    # What has come of its body and was not taken yet.
    cdef object parts  # None, bytes, or a list of them
    cdef readonly Py_ssize_t held
    cdef readonly long long body_size  # of all that came
    cdef readonly bint complete
    cdef readonly bint disconnected
    cdef public object arrival  # called when there is more, or the end; None: nobody waits

    # The response.
    cdef readonly int status     # 0: there is none yet
    cdef public bytes line       # of its status, when its reason is not the usual one
    cdef object response_headers
    cdef readonly bint started   # its head is on the way
    cdef readonly bint finished
    cdef bint dropped            # not by the application: what it still says is not heard
    cdef readonly object client  # the connection's, once it is over
    cdef readonly bint bodyless  # HEAD, 204, 304
    cdef bint chunked
    cdef readonly long long left # of the length that was announced; -1: none was
    cdef readonly unsigned long long sent

    cdef int begin(self) except -1
    cdef int hand_to(self, object function) except -1
    cdef int arrived(self) except -1
    cdef int feed(self, bytes data) except -1
    cdef bytes take_body(self)
    cdef int start_response(self, int status, object headers) except -1
    cdef Py_ssize_t compose_head(self, Py_ssize_t size, Py_ssize_t joined, bint final) except -1
    cdef int compose(self, bytes body, bint final, bint first) except -1
    cdef int respond(self, bytes body, bint more) except -1
    cdef int framed(self, bytes body, bint more) except -1
    cdef int finish(self) except -1
    cdef int lost(self) except -1
    cdef int fail(self, int status) except -1
    cdef int invite(self) except -1


cdef object queued(object waiters, object future)
cdef int wake(object waiters) except -1
cdef object too_long()
cdef Py_ssize_t put(Service service, Py_ssize_t used, bytes line) except -1
