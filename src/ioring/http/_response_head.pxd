cimport cython
from ioring.http._service cimport Service, status_line

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


cdef class ResponseHead:
    cdef readonly Service service

    # Of the request.
    cdef readonly str method
    cdef readonly bint http11
    cdef readonly bint keep_alive  # the connection is used for another request after this one

    # What the response was given.
    cdef readonly int status       # 0: none yet
    cdef public bytes line         # its status line, when the reason phrase is not the usual one; or None
    cdef object response_headers
    cdef bint dropped              # the application is not listened to any more

    # How it is sent.
    cdef readonly bint started     # the head has been composed
    cdef readonly bint bodyless    # it has no content: HEAD, 204, 304
    cdef bint chunked
    cdef readonly long long left   # bytes of content-length that are still to be sent; -1: no content-length was given

    cdef int start_response(self, int status, object headers) except -1
    cdef Py_ssize_t put_extras(self, Py_ssize_t used) except -1
    cdef Py_ssize_t compose_head(self, Py_ssize_t size, Py_ssize_t joined, bint final) except -1


cdef Py_ssize_t put(Service service, Py_ssize_t used, bytes line) except -1
