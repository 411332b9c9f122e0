"""TLS over any transport, by the standard library's ssl module: the handshake, receiving, and the shutdown.

A TlsProtocol is the protocol of the transport below. The application gets a TlsTransport (``_tls_transport``), which
also sends. Between the two is an ssl.SSLObject with two memory buffers. What was received is decrypted at once, all of
it.

read() of an SSLObject is called only while the memory buffer holds a whole record (``_tls_records``): called in vain it
raises an exception, and that is slow. A record without data (a key update, a session ticket) makes the count of records
too high, and then an exception corrects it.
"""

import asyncio
import ssl
import sys

import cython
from cython.cimports.cpython.bytes import PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF
from cython.cimports.ioring.loop._handles import reraise

from ioring.loop.asyncio_private import SSL_HANDSHAKE_TIMEOUT, SSL_SHUTDOWN_TIMEOUT, force_close

AGAIN = (ssl.SSLWantReadError, ssl.SSLSyscallError)
"""What an SSLObject raises when it needs more records from the other side."""

CONNECTION_MADE = "connection_made"
DATA_RECEIVED = "data_received"
EOF_RECEIVED = "eof_received"
GET_BUFFER = "get_buffer"
BUFFER_UPDATED = "buffer_updated"


def _timeout(name, value, default):
    if value is None:
        return default
    if value <= 0:
        raise ValueError(f"{name} should be a positive number, got {value}")
    return value


def _default_context(server_side, server_hostname):
    if server_side:
        raise ValueError("Server side SSL needs a valid SSLContext")
    context = ssl.create_default_context()
    if not server_hostname:
        context.check_hostname = False
    return context


class TlsProtocol(Filter):
    """Stands between a transport and an application's protocol; made by ``make_tls()``.

    The arguments are those of asyncio's own, and the transport that the application gets.
    """

    def __init__(
        self,
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
    ):
        self.handshake_timeout = _timeout("ssl_handshake_timeout", ssl_handshake_timeout, SSL_HANDSHAKE_TIMEOUT)
        self.shutdown_timeout = _timeout("ssl_shutdown_timeout", ssl_shutdown_timeout, SSL_SHUTDOWN_TIMEOUT)
        if not sslcontext:
            sslcontext = _default_context(server_side, server_hostname)
        self.loop = loop
        self.sslcontext = sslcontext
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.records = Records.__new__(Records)
        self.sslobj = sslcontext.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_side,
            server_hostname=None if server_side else server_hostname or None,
        )
        self.waiter = waiter
        self.made = not call_connection_made
        self.set_app_protocol(app_protocol)
        self.output = output

    @property
    def __class__(self):
        return asyncio.Protocol

    # What packages look at, by asyncio's names.

    @property
    def _app_transport(self):
        return self.output

    @property
    def _sslcontext(self):
        return self.sslcontext

    @property
    def _app_reading_paused(self):
        return self.reading_paused

    def set_app_protocol(self, protocol):
        self.protocol = protocol
        self.filter = cython.cast(Filter, protocol) if isinstance(protocol, Filter) else None
        self.buffered = self.filter is None and isinstance(protocol, asyncio.BufferedProtocol)
        return 0

    def call(self, name, argument):
        """As of a transport: see FlowControl."""
        return ioring_call_method(self.context, self.protocol, name, argument)

    def tell_waiter(self, exception):
        """Sets the result of the future that waits for the handshake."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            if exception is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(exception)
        return 0

    def stop_timer(self):
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        return 0

    # What the transport below calls.

    def connection_made(self, transport):
        """The transport below is open: the handshake begins."""
        self.transport = transport
        if isinstance(transport, Stream):
            self.stream = transport
            self.context = self.stream.context
        else:
            below = getattr(transport, "_ssl_protocol", None)
            if isinstance(below, TlsProtocol):  # TLS over TLS
                self.context = cython.cast(TlsProtocol, below).context
        if self.state != TLS_NEW:  # closed meanwhile
            transport.abort()
            return
        self.state = TLS_HANDSHAKE
        self.timer = self.loop.call_later(self.handshake_timeout, self._handshake_timed_out)
        self.handshake()

    def connection_lost(self, exception):
        """The transport below is closed."""
        self.state = TLS_OVER
        self.stop_timer()
        self.drop_output()
        if self.failure is not None:
            exception, self.failure = self.failure, None
        try:
            if self.made:
                self.protocol.connection_lost(exception)
        finally:
            if exception is None and not self.established:
                exception = ConnectionAbortedError("the connection was closed during the TLS handshake")
            self.tell_waiter(exception)
            # Breaks the reference cycles, so that all is freed without the garbage collector.
            self.output = None
            self.protocol = None
            self.filter = None

    def data_received(self, data):
        """Bytes from a transport that is not compiled."""
        self.feed(bytes(data))

    def eof_received(self):
        """The end of the input from a transport that is not compiled."""
        return bool(self.end())

    def feed(self, data):
        if self.state == TLS_OVER:
            return 0
        self.incoming.write(data)
        self.records.add(data)
        if self.state == TLS_OPEN:
            return self.read()
        if self.state == TLS_HANDSHAKE:
            return self.handshake()
        if self.state != TLS_NEW:
            return self.feed_while_closing()
        return 0

    def feed_while_closing(self):
        ended: cython.bint = self.discard()
        self.pass_on()
        if ended:
            self.tell_end()
        if self.state == TLS_FLUSHING:
            return self.send_soon()
        if ended and self.state == TLS_SHUTDOWN:
            return self.finish()
        return 0

    def end(self):
        self.ended = True
        if self.state == TLS_HANDSHAKE:
            error = ConnectionResetError("the connection was closed by the other side during the TLS handshake")
            self._handshake_failed(error)
            return 0
        if self.state == TLS_OPEN:
            if not self.starting:
                self._resume()
        elif self.state == TLS_FLUSHING or self.state == TLS_SHUTDOWN:
            self.tell_end()
            if self.state == TLS_SHUTDOWN:
                self.finish()
        return self.state != TLS_OVER

    def pause_writing(self):
        """The transport below has enough to send."""
        self.writing_paused = True

    def resume_writing(self):
        """The transport below takes more."""
        self.writing_paused = False
        self.send_soon()

    # The handshake.

    def handshake(self):
        try:
            self.sslobj.do_handshake()
        except AGAIN:
            return self.pass_on()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            self._handshake_failed(exception)
            return 0
        return self.handshake_done()

    def _handshake_failed(self, exception):
        try:
            if isinstance(exception, ssl.CertificateError):
                self.fatal(exception, "SSL handshake failed on verifying the certificate")
            else:
                self.fatal(exception, "SSL handshake failed")
        finally:
            self.tell_waiter(exception)

    def _handshake_timed_out(self):
        if self.state == TLS_HANDSHAKE:
            self.fatal(
                ConnectionAbortedError(
                    f"SSL handshake is taking longer than {self.handshake_timeout} seconds: aborting the connection"
                ),
                "SSL handshake failed",
            )

    def handshake_done(self):
        self.stop_timer()
        self.pass_on()
        self.established = True
        self.state = TLS_OPEN
        if not self.made:
            self.made = True
            try:
                self.call(CONNECTION_MADE, self.output)
            except (SystemExit, KeyboardInterrupt):
                self.tell_waiter(None)  # the loop may run again
                self.loop.schedule(self._resume, (), None)
                raise
            except BaseException:
                return self.failed("Fatal error: protocol.connection_made() call failed.")
        elif self.waiter is not None:
            # start_tls() has to return before the first data comes: the application learns from it where to answer.
            self.starting = True
        self.tell_waiter(None)
        if self.starting:
            self.loop.schedule(self._resume, (), None)
        self.send_soon()
        return self.read() if self.state == TLS_OPEN else 0

    # Receiving.

    def took(self, got, wanted):
        """A read() has returned ``got`` of ``wanted`` bytes."""
        if got != wanted or not self.sslobj.pending():  # otherwise there is more of the same record
            self.records.drop_one()
        return 0

    def read(self):
        """Decrypts all whole records and gives the data to the protocol."""
        chunk: bytes
        first: bytes = None
        rest: list = None
        wanted: cython.Py_ssize_t
        closed: cython.bint = False
        again: cython.bint = False
        exception = None
        if self.reading_paused:
            return self.pause_below()
        if self.starting:
            return 0
        if self.buffered:
            return self.read_buffered()
        try:
            while self.records.whole > 0:
                wanted = min(self.records.unread, RECORD_MAX)
                chunk = self.sslobj.read(wanted)
                if PyBytes_GET_SIZE(chunk) == 0:
                    closed = True
                    break
                self.took(PyBytes_GET_SIZE(chunk), wanted)
                if first is None:
                    first = chunk
                elif rest is None:
                    rest = [first, chunk]
                else:
                    rest.append(chunk)
        except AGAIN:
            again = True
        except Exception as error:
            exception = error
        if first is not None:
            self.deliver(first if rest is None else b"".join(rest))
        if closed or again or exception is not None:
            return self.after_reading(closed, again, exception)
        return 0

    def deliver(self, data):
        if self.filter is not None:
            it: Filter = self.filter  # a reference of its own: set_protocol() may be called meanwhile
            return it.feed(data)
        result = ioring_run_method(self.context, self.protocol, DATA_RECEIVED, data)
        if result != cython.NULL:
            Py_DECREF(cython.cast(object, result))
            return 0
        try:
            reraise()
        except BaseException:
            return self.failed("Fatal error on SSL protocol")

    def read_buffered(self):
        """The same for a BufferedProtocol, into as many buffers as it takes."""
        got: cython.Py_ssize_t
        hint: cython.Py_ssize_t
        while self.records.whole > 0 and self.state == TLS_OPEN:
            if self.reading_paused:
                return self.pause_below()
            if not self.buffered:  # set_protocol() was called
                return self.read()
            hint = self.records.unread
            try:
                buffer = self.call(GET_BUFFER, hint)
                got = self.fill_buffer(buffer)
                if got > 0:
                    self.call(BUFFER_UPDATED, got)
            except BaseException:
                return self.failed("Fatal error on SSL protocol")
        return 0

    def fill_buffer(self, buffer):
        """Decrypts into a buffer as much as there is and fits. Returns how much that was."""
        wanted: cython.Py_ssize_t
        got: cython.Py_ssize_t = 1
        filled: cython.Py_ssize_t = 0
        again: cython.bint = False
        exception = None
        view = memoryview(buffer).cast("B")
        size: cython.Py_ssize_t = len(view)
        try:
            if size == 0:
                raise RuntimeError("get_buffer() returned an empty buffer")
            while self.records.whole > 0 and filled < size:
                wanted = size - filled
                if filled:
                    with view[filled:] as part:
                        got = self.sslobj.read(wanted, part)
                else:
                    got = self.sslobj.read(wanted, view)
                if got == 0:
                    break
                self.took(got, wanted)
                filled += got
        except AGAIN:
            again = True
        except ssl.SSLError as error:
            exception = error
        finally:
            view.release()
        # After data, an end or an error is not looked at: the next read() meets it again.
        if again or (filled == 0 and (got == 0 or exception is not None)):
            self.after_reading(got == 0, again, exception)
        return filled

    def after_reading(self, closed, again, exception):
        """read() has not returned data: the other side has ended (``closed``), AGAIN was raised, or an error."""
        self.records.drop_all()
        if exception is not None:
            if self.state == TLS_OPEN:
                self.fatal(exception, "Fatal error on SSL protocol")
            return 0
        if closed:
            return self.end_of_input() if self.state == TLS_OPEN else 0
        # The record without data may have caused an answer, or it was one that sending waits for.
        self.pass_on()
        return self.send_soon()

    def end_of_input(self):
        """The other side sends no more: it has said so, or the connection below has ended."""
        try:
            self.tell_end()
        finally:  # also after SystemExit or KeyboardInterrupt: the loop may run again
            self.start_shutdown()
        return 0

    def tell_end(self):
        if self.told_end or self.state == TLS_OVER:
            return 0
        self.told_end = True
        try:
            keep_open = self.call(EOF_RECEIVED, None)
        except BaseException:
            return self.failed("Error calling eof_received()")
        if keep_open:
            self.loop._warn("returning true from eof_received() has no effect when using ssl")
        return 0

    def pause_below(self):
        if not self.below_paused:
            self.below_paused = True
            self.transport.pause_reading()
        return 0

    def resume_below(self):
        if self.below_paused:
            self.below_paused = False
            self.transport.resume_reading()
        return 0

    def resume(self):
        """Reading goes on in the next turn."""
        if self.reading_paused:
            self.reading_paused = False
            self.loop.schedule(self._resume, (), None)  # it enters the connection's context itself
        return 0

    def _resume(self):
        """Delivers what is there, and then the end, if that has come too."""
        self.starting = False
        if self.reading_paused:
            return
        if self.state == TLS_OPEN and self.records.whole > 0:
            self.read()
        if self.reading_paused or self.state != TLS_OPEN:
            return
        if self.ended:
            self.end_of_input()
        else:
            self.resume_below()

    # Sending.

    def send_soon(self):
        """What was written, if anything, is encrypted before the next wait."""
        if self.output is not None and self.output.size:
            self.loop.enqueue(self.output)
        return 0

    def pass_on(self):
        """Gives the transport below what is encrypted."""
        data: bytes = self.outgoing.read()
        if PyBytes_GET_SIZE(data):
            if self.stream is not None:
                if not self.stream.lost:  # otherwise one write of many records would count as many lost writes
                    self.stream.write_bytes(data)
            elif self.transport is not None:
                self.transport.write(data)
        return 0

    # Closing.

    def start_shutdown(self):
        """Closes once everything written is sent."""
        if self.state == TLS_NEW or self.state == TLS_HANDSHAKE or self.loop._closed:
            return self.abort(None)
        if self.state != TLS_OPEN:
            return 0
        self.state = TLS_FLUSHING
        self.timer = self.loop.call_later(self.shutdown_timeout, self._shutdown_timed_out)
        if self.output.size == 0:
            return self.shut_down()
        # The other side may not read before what it sends is read.
        self.resume_below()
        return self.send_soon()

    def _shutdown_timed_out(self):
        self.abort(TimeoutError("SSL shutdown timed out"))

    def shut_down(self):
        """Everything is sent: sends close_notify, and waits for the other side's."""
        if self.ended:
            return self.finish()
        self.discard()
        self.state = TLS_SHUTDOWN
        try:
            self.sslobj.unwrap()
        except AGAIN:
            self.pass_on()
            return self.resume_below()
        except ssl.SSLError:
            pass  # data, for example: close_notify is sent all the same
        self.pass_on()
        return self.finish()

    def discard(self):
        """Drops what arrives while the connection is closing. Returns whether the other side has ended."""
        try:
            while self.sslobj.read(RECORD_MAX):
                pass
        except AGAIN:
            return False
        except ssl.SSLError:
            pass  # nothing can be read after it: as good as the end
        return True

    def finish(self):
        """Closes the transport below, which still sends what was passed on to it."""
        self.state = TLS_OVER
        self.transport.close()
        return 0

    def drop_output(self):
        """Drops what was written and is not encrypted yet."""
        return 0 if self.output is None else self.output.drop_output()

    def abort(self, exception):
        if exception is None and self.state == TLS_OPEN and self.output is not None and not self.loop._closed:
            self.output.prepare()  # tried once, as asyncio's own transports have done by now
        self.state = TLS_OVER
        self.drop_output()
        if self.transport is not None:
            force_close(self.transport, exception)
        return 0

    def failed(self, message):
        """The current exception ends the connection, unless it is one that ends the program."""
        exception = sys.exc_info()[1]
        if isinstance(exception, (SystemExit, KeyboardInterrupt)):
            self.loop.schedule(self._resume, (), None)  # the loop may run again: with the rest of the data
            raise exception
        return self.fatal(exception, message)

    def fatal(self, exception, message):
        self.state = TLS_OVER
        if isinstance(exception, ssl.SSLError) and self.outgoing.pending:
            # The alert that tells the other side why is sent first.
            self.failure = exception
            self.pass_on()
            self.stop_timer()
            self.timer = self.loop.call_later(self.shutdown_timeout, self._shutdown_timed_out)
            self.transport.close()
        else:
            force_close(self.transport, exception)
        if isinstance(exception, OSError):
            self.loop._debug_failure(self, message, exception)
        elif not isinstance(exception, asyncio.CancelledError):
            self.report(message, exception, self.transport)
        return 0

    def report(self, message, exception, transport):
        """Tells the loop's exception handler."""
        self.loop.call_exception_handler(
            {"message": message, "exception": exception, "transport": transport, "protocol": self}
        )
        return 0

    # Extra information.

    def extra_info(self, name, default):
        if name == "sslcontext":
            return self.sslcontext
        if self.established:
            if name == "ssl_object":
                return self.sslobj
            if name in ("peercert", "cipher", "compression"):
                if self.extra is None:
                    self.extra = {}
                if name not in self.extra:
                    self.extra[name] = getattr(self.sslobj, "getpeercert" if name == "peercert" else name)()
                return self.extra[name]
        return default if self.transport is None else self.transport.get_extra_info(name, default)
