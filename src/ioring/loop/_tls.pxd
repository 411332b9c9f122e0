cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._flow_control cimport FlowControl
from ioring.loop._tls_records cimport Records
from ioring.loop.context_call cimport ioring_call_method, ioring_run_method
from ioring.loop._stream_transport cimport Stream
from ioring.loop._transport cimport *


cdef enum:
    # Most data in one record, in bytes.
    RECORD_MAX = 16384


# TlsProtocol.state
cdef enum:
    TLS_NEW = 0        # there is no transport below yet
    TLS_HANDSHAKE = 1
    TLS_OPEN = 2
    TLS_FLUSHING = 3   # closing: what was written before is being sent
    TLS_SHUTDOWN = 4   # close_notify is sent, and the other side's is awaited
    TLS_OVER = 5       # the transport below is closed, or will be as soon as it has sent everything


@cython.final
cdef class TlsProtocol(Filter):
    cdef LoopCore loop

    # The transport below; `stream` is the same if it is a Stream. The context that the application's protocol runs in is
    # None if the transport below is not one of ours, and calls this protocol in it.
    cdef object transport
    cdef Stream stream
    cdef object context

    # What the application has: the TlsTransport and a protocol, which is a `filter` too if it is a compiled one (TLS over
    # TLS), and `buffered` if it is a BufferedProtocol.
    cdef FlowControl output
    cdef object protocol
    cdef Filter filter
    cdef bint buffered
    cdef bint made         # connection_made() was called
    cdef bint starting     # start_tls() has not returned yet
    cdef bint told_end     # eof_received() was called
    cdef object waiter     # the future that waits for the handshake

    # The ssl.SSLObject, and its memory buffers.
    cdef object sslcontext
    cdef object sslobj
    cdef object incoming
    cdef object outgoing
    cdef dict extra
    cdef int state
    cdef bint established  # the handshake succeeded
    cdef bint ended        # the transport below has reached the end of its input
    cdef object failure    # the exception for connection_lost(), if the transport below has none

    cdef Records records   # those in `incoming`

    cdef bint reading_paused   # the application has called pause_reading()
    cdef bint below_paused     # this has called pause_reading() of the transport below
    cdef bint writing_paused   # the transport below has called pause_writing()

    cdef double handshake_timeout
    cdef double shutdown_timeout
    cdef object timer

    cdef object __weakref__

    cdef int set_app_protocol(self, object protocol) except -1
    cdef object call(self, object name, object argument)
    cdef int tell_waiter(self, object exception) except -1
    cdef int stop_timer(self) except -1
    cdef int fatal(self, object exception, str message) except -1
    cdef int failed(self, str message) except -1
    cdef int report(self, str message, object exception, object transport) except -1
    cdef object extra_info(self, object name, object default)

    cdef int handshake(self) except -1
    cdef int handshake_done(self) except -1

    cdef int read(self) except -1
    cdef int read_buffered(self) except -1
    cdef Py_ssize_t fill_buffer(self, object buffer) except -1
    cdef int took(self, Py_ssize_t got, Py_ssize_t wanted) except -1
    cdef int deliver(self, object data) except -1
    cdef int after_reading(self, bint closed, bint again, object exception) except -1
    cdef int end_of_input(self) except -1
    cdef int tell_end(self) except -1
    cdef int resume(self) except -1
    cdef int pause_below(self) except -1
    cdef int resume_below(self) except -1

    cdef int send_soon(self) except -1
    cdef int pass_on(self) except -1

    cdef int start_shutdown(self) except -1
    cdef int shut_down(self) except -1
    cdef int discard(self) except -1
    cdef int feed_while_closing(self) except -1
    cdef int finish(self) except -1
    cdef int drop_output(self) except -1
    cdef int abort(self, object exception) except -1
