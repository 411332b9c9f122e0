cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._core cimport LoopCore, LoopOp
from ioring.loop._tls_records cimport Records
from ioring.loop.context_call cimport ioring_run_method
from ioring.loop._stream_transport cimport Stream
from ioring.loop._transport cimport *


cdef enum:
    TLS_NEW = 0        # there is no connection below yet
    TLS_HANDSHAKE = 1
    TLS_OPEN = 2
    TLS_FLUSHING = 3   # closing: what was written before is being sent
    TLS_SHUTDOWN = 4   # close_notify is sent, and the other side's is awaited
    TLS_OVER = 5       # the connection below is closed, or will be as soon as it has sent everything


@cython.final
cdef class TlsProtocol(Filter):
    # The transport below; `stream` too when it is a Stream. `context` is None when that one enters it by itself.
    cdef object transport
    cdef Stream stream
    cdef object context

    # The application. `filter` when it is TLS once more.
    cdef TlsTransport app_transport
    cdef object protocol
    cdef Filter filter
    cdef bint buffered
    cdef bint made         # connection_made() was called
    cdef bint starting     # start_tls() has not returned yet
    cdef bint told_end     # eof_received() was called
    cdef object waiter

    # The cipher machine, and the bytes on their way in and out of it.
    cdef object sslcontext
    cdef object sslobj
    cdef object incoming
    cdef object outgoing
    cdef dict extra
    cdef int state
    cdef bint established  # the handshake succeeded
    cdef bint ended        # the connection below will bring no more
    cdef object failure    # what connection_lost() is to be told, if nothing else is

    cdef Records records  # those in `incoming`

    # Written and not encrypted yet: the piece that is next, how much of it is done, and the rest.
    cdef bytes piece
    cdef Py_ssize_t done
    cdef list backlog
    cdef Py_ssize_t size
    cdef size_t high
    cdef size_t low
    cdef unsigned lost_writes

    cdef bint reading_paused   # by the application
    cdef bint below_paused     # reading, by us
    cdef bint writing_paused   # by the transport below
    cdef bint app_paused       # writing, by us

    cdef double handshake_timeout
    cdef double shutdown_timeout
    cdef object timer

    cdef object __weakref__

    cdef int set_app_protocol(self, object protocol) except -1
    cdef object call(self, object name, object argument)
    cdef int wake(self, object exception) except -1
    cdef int stop_timer(self) except -1
    cdef int fatal(self, object exception, str message) except -1
    cdef int failed(self, str message) except -1
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

    cdef int write(self, bytes data) except -1
    cdef int next_piece(self) except -1
    cdef int encrypt(self) except -1
    cdef int pass_on(self) except -1
    cdef int check_high(self) except -1
    cdef int check_low(self) except -1

    cdef int start_shutdown(self) except -1
    cdef int shut_down(self) except -1
    cdef int discard(self) except -1
    cdef int feed_while_closing(self) except -1
    cdef int finish(self) except -1
    cdef int drop_output(self) except -1
    cdef int abort(self, object exception) except -1


@cython.final
cdef class TlsTransport:
    cdef TlsProtocol tls
    cdef LoopCore loop
    cdef object __weakref__
