cimport cython
from ioring.http._response_head cimport ResponseHead
from ioring.http._service cimport Service, reason


cdef enum:
    # Bytes of content that are received though the response is complete, so that the connection can be used again. A
    # connection with more than that is closed.
    DISCARDED_MAX = 1048576


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


cdef class Exchange(ResponseHead):
    cdef readonly Channel connection  # None once it is over

    # The request.
    cdef readonly bytes target
    cdef readonly list headers  # of pairs of bytes, the names in lower case
    cdef readonly bint expects_continue
    cdef readonly long long content_length  # -1: none was given
    cdef bint has_body
    cdef int refusal            # the status to refuse it with when its turn comes; 0: it is not refused
    cdef readonly bint begun    # the application was called
    cdef object probe           # the function of the service's `probes` that answers; None: it is not one of these
    cdef readonly double began  # when the head was complete, on the loop's clock; see `timed` of the service

    # Its content, as far as it has come and was not taken yet.
    cdef object parts  # None, bytes, or a list of them
    cdef readonly Py_ssize_t held
    cdef readonly long long body_size  # of all that came
    cdef readonly bint complete
    cdef readonly bint disconnected
    cdef public object arrival  # called when there is more, or the end of it, or the client has gone; or None

    # The response; see ResponseHead, too.
    cdef readonly bint finished
    cdef readonly object client  # the connection's, once the exchange is over
    cdef readonly unsigned long long sent

    cdef int begin(self) except -1
    cdef int hand_to(self, object function) except -1
    cdef int answer_probe(self) except -1
    cdef int arrived(self) except -1
    cdef int feed(self, bytes data) except -1
    cdef bytes take_body(self)
    cdef int foresee(self) except -1
    cdef int compose(self, bytes body, bint final) except -1
    cdef int respond(self, bytes body, bint more) except -1
    cdef int framed(self, bytes body, bint more) except -1
    cdef int finish(self) except -1
    cdef int lost(self) except -1
    cdef int fail(self, int status) except -1
    cdef int invite(self) except -1


cdef object too_long()
