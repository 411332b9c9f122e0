"""TLS over any transport, by the standard library's ssl module.

A TlsProtocol is the protocol of the transport below, and TlsTransport is what the application gets. Between the two is
an ssl.SSLObject with two memory buffers. What was received is decrypted at once and in one go; what was written is
encrypted before the next wait, all that one turn wrote together, and only as long as the transport below takes it: the
rest waits unencrypted and counts as the write buffer.

An SSLObject is asked only for as many records as are there (``_tls_records``). One that holds no data (a key update, a
session ticket) makes the count too high, and then an exception corrects it.
"""

import asyncio
import ssl
import sys

import cython
from cython.cimports.cpython.bytes import PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF
from cython.cimports.ioring.loop._handles import reraise

HANDSHAKE_TIMEOUT = 60.0
SHUTDOWN_TIMEOUT = 30.0
"""asyncio's defaults, in seconds."""

RECORD_MAX = cython.declare(cython.Py_ssize_t, 16384)
"""More data is not in one record."""

JOIN_MAX = cython.declare(cython.Py_ssize_t, 65536)
"""Several writes of so many bytes altogether are encrypted as one."""

HIGH_WATER = cython.declare(cython.size_t, 512 * 1024)
"""asyncio's default for TLS: a protocol is paused when more than so many bytes wait to be encrypted."""

AGAIN = (ssl.SSLWantReadError, ssl.SSLSyscallError)

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


class TlsProtocol:
    """Stands between a transport and an application's protocol. The arguments are those of asyncio's own."""

    def __init__(
        self,
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
        self.handshake_timeout = _timeout("ssl_handshake_timeout", ssl_handshake_timeout, HANDSHAKE_TIMEOUT)
        self.shutdown_timeout = _timeout("ssl_shutdown_timeout", ssl_shutdown_timeout, SHUTDOWN_TIMEOUT)
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
        self.high = HIGH_WATER
        self.low = HIGH_WATER // 4
        self.backlog = []
        self.set_app_protocol(app_protocol)
        self.app_transport = TlsTransport.__new__(TlsTransport)
        self.app_transport.tls = self
        self.app_transport.loop = loop

    @property
    def __class__(self):
        return asyncio.Protocol

    @property
    def _app_transport(self):
        return self.app_transport

    def set_app_protocol(self, protocol):
        self.protocol = protocol
        self.filter = cython.cast(Filter, protocol) if isinstance(protocol, Filter) else None
        self.buffered = self.filter is None and isinstance(protocol, asyncio.BufferedProtocol)
        return 0

    def call(self, name, argument):
        """protocol.name(argument), or protocol.name() when that is None, in the connection's context."""
        if self.context is None:
            method = getattr(self.protocol, name)
            return method() if argument is None else method(argument)
        result = ioring_run_method(self.context, self.protocol, name, argument)
        if result == cython.NULL:
            reraise()
        value = cython.cast(object, result)
        Py_DECREF(value)
        return value

    def wake(self, exception):
        """Whoever waits for the handshake learns how it went."""
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
        """The connection below is there: the handshake begins."""
        self.transport = transport
        if isinstance(transport, Stream):
            self.stream = transport
            self.context = self.stream.context
        elif isinstance(transport, TlsTransport):
            self.context = cython.cast(TlsTransport, transport).tls.context
        if self.state != TLS_NEW:  # closed meanwhile
            transport.abort()
            return
        self.state = TLS_HANDSHAKE
        self.timer = self.loop.call_later(self.handshake_timeout, self._handshake_timed_out)
        self.handshake()

    def connection_lost(self, exception):
        """The connection below is closed."""
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
            self.wake(exception)
            # Let everything go without the garbage collector.
            self.app_transport = None
            self.protocol = None
            self.filter = None

    def data_received(self, data):
        """Bytes from a transport that is not compiled."""
        self.feed(bytes(data))

    def eof_received(self):
        """The end of input from a transport that is not compiled."""
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
            return self.loop.enqueue(self)
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
        self.loop.enqueue(self)

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
            self.wake(exception)

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
                self.call(CONNECTION_MADE, self.app_transport)
            except (SystemExit, KeyboardInterrupt):
                self.wake(None)  # the loop may run again
                self.loop.schedule(self._resume, (), None)
                raise
            except BaseException:
                return self.failed("Fatal error: protocol.connection_made() call failed.")
        elif self.waiter is not None:
            # start_tls() has to return before the first data comes: the application learns from it where to answer.
            self.starting = True
        self.wake(None)
        if self.starting:
            self.loop.schedule(self._resume, (), None)
        if self.size:
            self.loop.enqueue(self)
        return self.read() if self.state == TLS_OPEN else 0

    # Receiving.

    def took(self, got, wanted):
        """So many bytes were read of those that were asked for."""
        if got != wanted or not self.sslobj.pending():  # else more of the same record is there
            self.records.drop_one()
        return 0

    def read(self):
        """Gives the protocol all that has come."""
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
            it: Filter = self.filter  # which the protocol may replace
            return it.feed(data)
        if self.context is not None:
            result = ioring_run_method(self.context, self.protocol, DATA_RECEIVED, data)
            if result != cython.NULL:
                Py_DECREF(cython.cast(object, result))
                return 0
            try:
                reraise()
            except BaseException:
                return self.failed("Fatal error on SSL protocol")
        try:
            self.protocol.data_received(data)
        except BaseException:
            return self.failed("Fatal error on SSL protocol")
        return 0

    def read_buffered(self):
        """The same into the protocol's own buffer, as often as it takes."""
        got: cython.Py_ssize_t
        hint: cython.Py_ssize_t
        while self.records.whole > 0 and self.state == TLS_OPEN:
            if self.reading_paused:
                return self.pause_below()
            if not self.buffered:  # another protocol since
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
        """Decrypts as much into a buffer as there is and fits. How much that was."""
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
        # The end or an error that comes behind data is met again after it.
        if again or (filled == 0 and (got == 0 or exception is not None)):
            self.after_reading(got == 0, again, exception)
        return filled

    def after_reading(self, closed, again, exception):
        """Reading ended with something else than data."""
        self.records.drop_all()
        if exception is not None:
            if self.state == TLS_OPEN:
                self.fatal(exception, "Fatal error on SSL protocol")
            return 0
        if closed:
            return self.end_of_input() if self.state == TLS_OPEN else 0
        # A record without data may want an answer, or an answer that writing waits for.
        self.pass_on()
        if self.size:
            self.loop.enqueue(self)
        return 0

    def end_of_input(self):
        """The other side said that it sends no more, or has gone without saying so."""
        try:
            self.tell_end()
        finally:  # also when the protocol ends the loop, which may run again
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
        """Reading goes on at the next turn."""
        if self.reading_paused:
            self.reading_paused = False
            self.loop.schedule(self._resume, (), None)  # it enters the connection's context itself
        return 0

    def _resume(self):
        """Delivers what is there, and then the end, if that came too."""
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

    def write(self, data):
        if self.state >= TLS_FLUSHING:
            if self.lost_writes >= LOG_THRESHOLD:
                self.loop._warn("SSL connection is closed")
            self.lost_writes += 1
            return 0
        self.backlog.append(data)
        self.size += PyBytes_GET_SIZE(data)
        if self.state == TLS_OPEN and not self.writing_paused:
            self.loop.enqueue(self)
        if cython.cast(cython.size_t, self.size) > self.high:
            return self.check_high()
        return 0

    def prepare(self):
        """What was written is encrypted now."""
        if self.state == TLS_OPEN or self.state == TLS_FLUSHING:
            self.encrypt()
        return 0

    def next_piece(self):
        """Takes what is encrypted next: one large write, or several small ones."""
        place: cython.Py_ssize_t = 0
        length: cython.Py_ssize_t = 0
        chunk: bytes
        self.done = 0
        if len(self.backlog) == 1:
            self.piece = self.backlog.pop()
            return 0
        if self.size <= JOIN_MAX:
            self.piece = b"".join(self.backlog)
            self.backlog.clear()
            return 0
        while length < RECORD_MAX and place < len(self.backlog):
            chunk = self.backlog[place]
            length += PyBytes_GET_SIZE(chunk)
            place += 1
        self.piece = self.backlog[0] if place == 1 else b"".join(self.backlog[:place])
        del self.backlog[:place]
        return 0

    def encrypt(self):
        """Encrypts and passes on record by record, as long as the transport below takes more."""
        count: cython.Py_ssize_t = 0
        length: cython.Py_ssize_t
        try:
            while self.size and not self.writing_paused and self.state != TLS_OVER:
                if self.piece is None:
                    self.next_piece()
                length = PyBytes_GET_SIZE(self.piece)
                if self.done == 0 and length <= RECORD_MAX:
                    count = self.sslobj.write(self.piece)
                else:
                    with memoryview(self.piece)[self.done : self.done + RECORD_MAX] as part:
                        count = self.sslobj.write(part)
                self.done += count
                self.size -= count
                if self.done == length:
                    self.piece = None
                self.pass_on()
        except AGAIN:
            self.pass_on()  # a handshake goes on first, and then reading calls again
        except BaseException:
            return self.failed("Fatal error on SSL protocol")
        try:
            if self.app_paused:
                self.check_low()
        finally:  # also when the protocol ends the loop, which may run again
            if self.state == TLS_FLUSHING and self.size == 0:
                self.shut_down()
        return 0

    def pass_on(self):
        """Gives the transport below what is encrypted."""
        data: bytes = self.outgoing.read()
        if PyBytes_GET_SIZE(data):
            if self.stream is not None:
                if not self.stream.lost:  # else a single write, of many records, would be warned of many times
                    self.stream.write_bytes(data)
            elif self.transport is not None:
                self.transport.write(data)
        return 0

    def check_high(self):
        if cython.cast(cython.size_t, self.size) <= self.high or self.app_paused:
            return 0
        self.app_paused = True
        try:
            self.protocol.pause_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            self._complain("protocol.pause_writing() failed", exception, self.app_transport)
        return 0

    def check_low(self):
        if not self.app_paused or cython.cast(cython.size_t, self.size) > self.low:
            return 0
        self.app_paused = False
        try:
            self.protocol.resume_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            self._complain("protocol.resume_writing() failed", exception, self.app_transport)
        return 0

    # The end.

    def start_shutdown(self):
        """Closes once what was written is sent."""
        if self.state == TLS_NEW or self.state == TLS_HANDSHAKE:
            return self.abort(None)
        if self.state != TLS_OPEN:
            return 0
        self.state = TLS_FLUSHING
        self.timer = self.loop.call_later(self.shutdown_timeout, self._shutdown_timed_out)
        if self.size == 0:
            return self.shut_down()
        # The other side may not read before somebody reads what it sends.
        self.resume_below()
        return self.loop.enqueue(self)

    def _shutdown_timed_out(self):
        self.abort(TimeoutError("SSL shutdown timed out"))

    def shut_down(self):
        """Everything is sent: says so, and waits until the other side does."""
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
            pass  # not what TLS expects here, but close_notify is sent
        self.pass_on()
        return self.finish()

    def discard(self):
        """What comes while closing is for nobody; only its end matters, and whether that came is the answer."""
        try:
            while self.sslobj.read(RECORD_MAX):
                pass
        except AGAIN:
            return False
        except ssl.SSLError:
            pass  # without a way back: as good as the end
        return True

    def finish(self):
        """Closes the connection below, which sends what it still has."""
        self.state = TLS_OVER
        self.transport.close()
        return 0

    def drop_output(self):
        self.piece = None
        self.backlog = []
        self.size = 0
        return 0

    def abort(self, exception):
        self.state = TLS_OVER
        self.drop_output()
        if self.transport is not None:
            self.transport._force_close(exception)
        return 0

    def failed(self, message):
        """The exception that is the current one ends the connection, if it does not end the program."""
        exception = sys.exc_info()[1]
        if isinstance(exception, (SystemExit, KeyboardInterrupt)):
            self.loop.schedule(self._resume, (), None)  # the loop may run again, with what the protocol did not get
            raise exception
        return self.fatal(exception, message)

    def fatal(self, exception, message):
        self.state = TLS_OVER
        if isinstance(exception, ssl.SSLError) and self.outgoing.pending:
            # Let the other side know why.
            self.failure = exception
            self.pass_on()
            self.stop_timer()
            self.timer = self.loop.call_later(self.shutdown_timeout, self._shutdown_timed_out)
            self.transport.close()
        else:
            self.transport._force_close(exception)
        if isinstance(exception, OSError):
            self.loop._debug_failure(self, message, exception)
        elif not isinstance(exception, asyncio.CancelledError):
            self._complain(message, exception, self.transport)
        return 0

    def _complain(self, message, exception, transport):
        self.loop.call_exception_handler(
            {"message": message, "exception": exception, "transport": transport, "protocol": self}
        )

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


class TlsTransport:
    """The transport of a TLS connection (``asyncio.Transport``)."""

    _start_tls_compatible = True

    def __init__(self):
        raise TypeError("a transport comes from a loop: create_connection(), create_server(), start_tls(), ...")

    @property
    def __class__(self):
        return self.loop._classes["TlsTransport"]

    @property
    def _sendfile_compatible(self):
        return self.loop._sendfile_fallback_mode

    @property
    def _protocol_paused(self):
        return self.tls.app_paused

    @property
    def _loop(self):
        return self.loop

    @property
    def _ssl_protocol(self):
        return self.tls

    def set_protocol(self, protocol):
        """Hands all further events to another protocol."""
        self.tls.set_app_protocol(protocol)

    def get_protocol(self):
        """The protocol that events go to."""
        return self.tls.protocol

    def get_extra_info(self, name, default=None):
        """What is known of the connection (``transport.get_extra_info``).

        ``sslcontext``; after the handshake ``ssl_object``, ``peercert``, ``cipher``, ``compression``; and whatever the
        transport below knows.
        """
        return self.tls.extra_info(name, default)

    # Receiving.

    def is_reading(self):
        """Whether the protocol is told of what arrives."""
        return self.tls.state < TLS_FLUSHING and not self.tls.reading_paused

    def pause_reading(self):
        """Stops telling the protocol of what arrives (``transport.pause_reading``)."""
        self.tls.reading_paused = True

    def resume_reading(self):
        """Goes on after ``pause_reading``."""
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
        if data:
            self.tls.write(data)

    def writelines(self, list_of_data):
        """Sends several pieces as if they were one (``transport.writelines``)."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self):
        """False: TLS cannot end one direction only."""
        return False

    def write_eof(self):
        """Not to be had with TLS.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    def get_write_buffer_size(self):
        """Bytes that were written and are not encrypted yet."""
        return self.tls.size

    def get_write_buffer_limits(self):
        """The low and the high water mark, in bytes."""
        return (self.tls.low, self.tls.high)

    def set_write_buffer_limits(self, high=None, low=None):
        """Sets the marks of ``pause_writing`` and ``resume_writing``, in bytes.

        Parameters:
            high: more than this pauses the protocol; 524288, or four times ``low``, when it is not given.
            low: so much or less lets it go on; a quarter of ``high`` when it is not given.

        Raises:
            ValueError: not high >= low >= 0.
        """
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.tls.high = high
        self.tls.low = low
        self.tls.check_high()
        self.tls.check_low()

    # The end.

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
        self.tls.abort(exception)

    def __repr__(self):
        state = "closing" if self.is_closing() else "open" if self.tls.established else "handshake"
        return f"<TlsTransport {state} over {self.tls.transport!r}>"
