"""The transport of a TLS connection: what the application has of it, and how what it writes is sent.

What is written in one turn is encrypted together, before the loop's next wait, and only as long as the transport below
takes it. The rest waits unencrypted: that is the write buffer.
"""

import collections

import cython
from cython.cimports.cpython.bytes import PyBytes_GET_SIZE

from ioring.loop._tls import AGAIN
from ioring.loop.asyncio_private import SENDFILE_FALLBACK, SSLTransport

HIGH_LIMIT = cython.declare(cython.size_t, 512 * 1024)
"""asyncio's default for the write buffer of TLS, in bytes."""

JOIN_MAX = cython.declare(cython.size_t, 65536)
"""Several writes of at most this many bytes together are joined before they are encrypted."""


class TlsTransport(FlowControl):
    """The transport of a TLS connection (``asyncio.Transport``)."""

    def __cinit__(self):
        self.limit(HIGH_LIMIT)
        self.backlog = collections.deque()

    def __init__(self):
        raise TypeError("a transport comes from a loop: create_connection(), create_server(), start_tls(), ...")

    @property
    def __class__(self):
        return SSLTransport

    # By these names asyncio asks whether start_tls() and sendfile() are possible, and programs for the rest.

    _start_tls_compatible = True
    _sendfile_compatible = SENDFILE_FALLBACK

    @property
    def _loop(self):
        return self.loop

    @property
    def _ssl_protocol(self):
        return self.tls

    # The protocol.

    def set_protocol(self, protocol):
        """Hands all further events to another protocol."""
        self.tls.set_app_protocol(protocol)

    def get_protocol(self):
        """The protocol that events go to."""
        return self.tls.protocol

    def call(self, name, argument):
        # In the context of whoever has written or taken bytes, which may be the connection's already.
        return ioring_call_method(None, self.tls.protocol, name, argument)

    def report(self, message, exception):
        return self.tls.report(message, exception, self)

    def get_extra_info(self, name, default=None):
        """Information about the connection (``transport.get_extra_info``).

        ``sslcontext``; after the handshake ``ssl_object``, ``peercert``, ``cipher``, ``compression``; and whatever the
        transport below knows.
        """
        return self.tls.extra_info(name, default)

    # Receiving.

    def is_reading(self):
        """Whether the protocol gets what arrives."""
        return self.tls.state < TLS_FLUSHING and not self.tls.reading_paused

    def pause_reading(self):
        """The protocol gets no data until ``resume_reading`` (``transport.pause_reading``)."""
        self.tls.reading_paused = True

    def resume_reading(self):
        """The protocol gets data again (``transport.resume_reading``)."""
        self.tls.resume()

    # Sending.

    def write(self, data):
        """Sends bytes; they are copied unless they are ``bytes`` (``transport.write``).

        Raises:
            TypeError: ``data`` is not bytes-like.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"data: expecting a bytes-like instance, got {type(data).__name__}")
            data = bytes(data)
        if not data:
            return
        if self.tls.state >= TLS_FLUSHING:
            self.lost_writes = self.count_lost(self.lost_writes, "SSL connection is closed")
            return
        self.backlog.append(data)
        self.size += PyBytes_GET_SIZE(data)
        if self.tls.state == TLS_OPEN and not self.tls.writing_paused:
            self.loop.enqueue(self)
        if self.size > self.high:
            self.check_high()

    def writelines(self, list_of_data):
        """Sends several pieces as if they were one (``transport.writelines``)."""
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self):
        """Bytes that were written and that the transport below has not taken."""
        if self.size and self.tls.state == TLS_OPEN and not self.protocol_paused:
            self.encrypt()
        return self.size

    def can_write_eof(self):
        """False: TLS cannot end one direction only."""
        return False

    def write_eof(self):
        """Not supported by TLS.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    def set_write_buffer_limits(self, high=None, low=None):
        """As of other transports; and the protocol is resumed, if the new limits allow that.

        asyncio's TLS transports do that too, and its others do not.
        """
        FlowControl.set_write_buffer_limits(self, high, low)
        self.check_low()

    def prepare(self):
        """What was written is encrypted now."""
        if self.tls.state == TLS_OPEN or self.tls.state == TLS_FLUSHING:
            self.encrypt()
        return 0

    def next_piece(self):
        """Takes what is to be encrypted next: one large write, or several small ones."""
        self.done = 0
        if len(self.backlog) > 1 and self.size <= JOIN_MAX:
            self.piece = b"".join(self.backlog)
            self.backlog.clear()
            return 0
        self.piece = self.backlog.popleft()
        length: cython.Py_ssize_t = PyBytes_GET_SIZE(self.piece)
        if length < RECORD_MAX and self.backlog:
            chunks: list = [self.piece]
            while length < RECORD_MAX and self.backlog:
                chunks.append(self.backlog.popleft())
                length += len(chunks[-1])
            self.piece = b"".join(chunks)
        return 0

    def encrypt(self):
        """Encrypts and passes on one record after the other, as long as the transport below takes more."""
        count: cython.Py_ssize_t = 0
        length: cython.Py_ssize_t
        try:
            while self.size and not self.tls.writing_paused and self.tls.state != TLS_OVER:
                if self.piece is None:
                    self.next_piece()
                length = PyBytes_GET_SIZE(self.piece)
                if self.done == 0 and length <= RECORD_MAX:
                    count = self.tls.sslobj.write(self.piece)
                else:
                    with memoryview(self.piece)[self.done : self.done + RECORD_MAX] as part:
                        count = self.tls.sslobj.write(part)
                if self.tls.state == TLS_OVER:  # a callback of the program's, called by that, has closed the connection
                    return 0
                self.done += count
                self.size -= count
                if self.done == length:
                    self.piece = None
                self.tls.pass_on()
        except AGAIN:
            self.tls.pass_on()  # a handshake has to go on first; when it has, reading calls send_soon()
        except BaseException:
            return self.tls.failed("Fatal error on SSL protocol")
        try:
            self.check_low()
        finally:  # also after SystemExit or KeyboardInterrupt: the loop may run again
            if self.tls.state == TLS_FLUSHING and self.size == 0:
                self.tls.shut_down()
        return 0

    def drop_output(self):
        self.piece = None
        self.backlog.clear()
        self.size = 0
        return 0

    # Closing.

    def is_closing(self):
        """Whether the transport is closed or closing."""
        return self.tls.state >= TLS_FLUSHING

    def close(self):
        """Closes the connection once everything written is sent and the other side agreed (``transport.close``)."""
        self.tls.start_shutdown()

    def abort(self):
        """Closes the connection at once; what was not sent yet is lost (``transport.abort``)."""
        self.tls.abort(None)

    def _force_close(self, exception):
        """abort() with an exception for connection_lost(), by the name that asyncio has for it."""
        self.tls.abort(exception)

    def __repr__(self):
        state = "closing" if self.is_closing() else "open" if self.tls.established else "handshake"
        return f"<TlsTransport {state} over {self.tls.transport!r}>"


def make_tls(
    loop,
    app_protocol,
    sslcontext,
    waiter=None,
    server_side=False,
    server_hostname=None,
    call_connection_made=True,
    ssl_handshake_timeout=None,
    ssl_shutdown_timeout=None,
):
    """A TlsProtocol for a transport that does not encrypt. The arguments are those of asyncio's SSLProtocol."""
    output: TlsTransport = TlsTransport.__new__(TlsTransport)
    output.loop = loop
    output.tls = TlsProtocol(
        output,
        loop,
        app_protocol,
        sslcontext,
        waiter,
        server_side,
        server_hostname,
        call_connection_made,
        ssl_handshake_timeout,
        ssl_shutdown_timeout,
    )
    return output.tls
