"""A connection of the HTTP server: requests in, one after the other, and their responses out in the same order.

It is an asyncio protocol, so that it also works on other loops. What arrives goes through llhttp (httptools), which
calls the on_* methods below.
"""

import collections
import math

import cython
import httptools
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE

OVERHEAD_MAX = cython.declare(cython.Py_ssize_t, 65536)
"""So many bytes of a body, besides 16 for each of its own, may be sizes of chunks, their extensions and trailers."""

DISCARDED_MAX = cython.declare(cython.Py_ssize_t, 1 << 20)
"""So much of a body that nobody wants is received for the sake of the next request; then the connection is closed."""

BODY_RATE = cython.declare(cython.double, 500.0)
"""So many bytes of a body a second are enough: each gives back what it may take to come."""

LINGER_S = cython.declare(cython.double, 2.0)
"""For so long bytes are dropped that come behind the last response."""

QUEUE_MAX = cython.declare(cython.int, 16)
"""When so many requests wait for their turn nothing more is received."""

TURN_MAX = cython.declare(cython.int, 64)
"""So many requests that waited are begun with one after the other; then other connections have their turn."""

GOODBYE_S = cython.declare(cython.double, 5.0)
"""So long a client may take to say that it closes too (TLS). Browsers never do on connections kept for later."""

FRESH_GRACE_S = cython.declare(cython.double, 1.0)
"""So long a server that stops waits for a request that is on its way: on a connection that was accepted, or used, just
before, or a part of its head.
"""

SENDS_NO_MORE = 1
GONE = 2

METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}


class Refused(Exception):
    """Raised in a callback of the parser to stop it; what to answer is in `refusal`."""


class Connection:
    """One client's connection (``asyncio.Protocol``).

    Parameters:
        service: its server's.
        server: the address that it came to, (host, port); ``None``: to be asked of the socket, which takes longer.
    """

    def __init__(self, service, server=None):
        self.service = service
        self.server = server
        self.fresh = True
        self.deadline = math.inf

    def connection_made(self, transport):
        self.transport = transport
        self.stream = transport if isinstance(transport, Stream) else None
        self.parser = httptools.HttpRequestParser(self)
        service = self.service
        service.connections.add(self)
        service.accepted += 1
        self.scheme = "https" if transport.get_extra_info("sslcontext") is not None else "http"
        name = transport.get_extra_info("peername")
        if name is None:
            # The client has reset the connection before it could be asked for. One on a Unix socket has a name, an
            # empty one: what has none must not be taken for it, because it may be trusted.
            self.state = DEAF
            transport.abort()
            return
        self.client = address_of(name)
        if self.server is None:
            self.server = address_of(transport.get_extra_info("sockname"))
        self.trusted = service.trusts is not None and service.trusts(self.client)
        self.expect(IDLE)
        if service.stopping:
            self.stop()

    def connection_lost(self, exception):
        service = self.service
        exchange: Exchange = self.current
        service.connections.discard(self)
        service.unread.discard(self)
        self.state = DEAF
        self.parser = None  # which has methods of this object
        self.transport = self.stream = None
        self.current = self.receiving = self.queue = None
        self.writing_paused = self.held_back = False
        self.deadline = math.inf
        self.wake_writers()
        if exchange is not None:
            exchange.lost()

    # Receiving.

    def data_received(self, data):
        self.service.received += len(data)
        self.consume(data if type(data) is bytes else bytes(data))

    def consume(self, data):
        size: cython.Py_ssize_t = PyBytes_GET_SIZE(data)
        if self.state == DEAF:
            return 0
        if self.state == IDLE:
            self.expect(HEAD)
            self.head_size = 0
            self.fresh = False
            self.first = data
        elif self.state != HEAD:
            self.overhead += size
            self.patience = min(
                self.service.body_timeout, self.patience - (self.service.now - self.waits_since) + size / BODY_RATE
            )
            self.waits_since = self.service.now
            self.set_deadline()
        self.shared = False
        try:
            try:
                self.parser.feed_data(data)
            finally:
                self.first = None
        except httptools.HttpParserUpgrade as upgrade:
            return self.give_over(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, Refused):
                raise
            return 0 if self.state == DEAF else self.answer_bad()
        except httptools.HttpParserError as error:
            return 0 if self.state == DEAF else self.bad(400, str(error), None)
        if self.state == HEAD:
            # What of the head is not complete is not in head_size: a line without an end would never be. Bytes that
            # end another request do not count, though they may bring the first of this head with them.
            if not self.shared:
                self.overhead += size
            if self.overhead > self.service.head_max:
                return self.bad(431, f"a head of more than {self.service.head_max} bytes", None)
        elif self.state == BODY and self.overhead > OVERHEAD_MAX + 16 * self.receiving.body_size:
            return self.bad(400, "more bytes of chunks and trailers than of the body", None)
        return 0

    def on_message_begin(self):
        if self.body_follows:
            return
        if self.state == DEAF:  # the request before it was the last, whatever else came with it
            raise Refused
        self.target = b""
        self.headers = []
        self.head_size = 0
        self.overhead = 0
        self.hosts = 0
        self.expects_continue = self.encoded = False
        self.content_length = -1
        self.upgrade = None
        if self.state != HEAD:  # a further request in the same bytes
            self.shared = True
            self.first = None
            self.expect(HEAD)

    def on_url(self, url: bytes):
        if self.body_follows:
            return
        self.target = self.target + url if self.target else url
        self.head_size += PyBytes_GET_SIZE(url)
        if self.head_size > self.service.head_max:
            self.refuse(414, f"a target of more than {self.service.head_max} bytes")

    def on_header(self, name: bytes, value: bytes):
        known: cython.int
        number: cython.longlong
        if self.receiving is not None:  # trailers: nobody asked for them
            return
        size: cython.Py_ssize_t = PyBytes_GET_SIZE(value)
        if size and (PyBytes_AS_STRING(value)[size - 1] == 32 or PyBytes_AS_STRING(value)[size - 1] == 9):
            value = value.rstrip(b" \t")  # llhttp leaves it out on the left alone
        self.head_size += PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + 4
        if self.head_size > self.service.head_max:
            self.refuse(431, f"a head of more than {self.service.head_max} bytes")
        name = ioring_http_lower(name)
        known = ioring_http_known(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        if known != IORING_HTTP_OTHER:
            if known == IORING_HTTP_HOST:
                self.hosts += 1
            elif known == IORING_HTTP_CONTENT_LENGTH:
                number = ioring_http_number(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
                if number < 0:
                    self.refuse(400, f"{value!r} is no length (header content-length)")
                self.content_length = number
            elif known == IORING_HTTP_EXPECT:
                if not ioring_http_lists(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), b"100-continue"):
                    self.refuse(417, f"{value!r} is expected (header expect)")
                self.expects_continue = True
            elif known == IORING_HTTP_TRANSFER_ENCODING:
                self.encoded = True
            elif known == IORING_HTTP_UPGRADE:
                self.upgrade = value
        self.headers.append((name, value))

    def on_headers_complete(self):
        exchange: Exchange
        if self.body_follows:
            self.body_follows = False
            return
        service = self.service
        parser = self.parser
        method: bytes = parser.get_method()
        if service.asgi:
            exchange = AsgiExchange.__new__(AsgiExchange)
        else:
            exchange = Exchange.__new__(Exchange)
        exchange.http11 = self.first is not None and ioring_http_is_11(
            PyBytes_AS_STRING(self.first),
            PyBytes_GET_SIZE(self.first),
            PyBytes_AS_STRING(method),
            PyBytes_GET_SIZE(method),
            PyBytes_AS_STRING(self.target),
            PyBytes_GET_SIZE(self.target),
        )
        if not exchange.http11:
            version = parser.get_http_version()  # which costs more than a look at the line
            exchange.http11 = version == "1.1"
            if not exchange.http11 and version != "1.0":
                self.refuse(505, f"version {version} of HTTP")
        if self.hosts != 1 and (exchange.http11 or self.hosts):
            self.refuse(400, "no header host" if self.hosts == 0 else "several headers host")
        if self.encoded and not exchange.http11:
            self.refuse(400, "a header transfer-encoding in a request of HTTP/1.0")
        if service.body_max and self.content_length > service.body_max:
            self.refuse(413, f"a body of {self.content_length} bytes, more than {service.body_max}")
        exchange.connection = self
        exchange.service = service
        exchange.method = METHODS.get(method) or method.decode("ascii")
        exchange.target = self.target
        exchange.headers = self.headers
        exchange.content_length = self.content_length
        exchange.has_body = self.content_length > 0 or self.encoded
        exchange.expects_continue = self.expects_continue and exchange.http11
        exchange.left = -1
        exchange.began = service.loop.time() if service.timed else service.now
        exchange.keep_alive = parser.should_keep_alive() and not service.stopping
        service.requests += 1
        if service.requests == service.requests_max and service.exhausted is not None:
            service.exhausted()
        if parser.should_upgrade():
            exchange.keep_alive = False
            self.upgrading = (
                self.upgrade is not None
                and self.current is None  # else it is answered in its turn, as if it had not asked
                and service.upgrade is not None
                and exchange.method == "GET"
                and not exchange.has_body
                and ioring_http_lists(PyBytes_AS_STRING(self.upgrade), PyBytes_GET_SIZE(self.upgrade), b"websocket")
            )
            # The parser takes what follows for another protocol. It is the body when nobody changes to one.
            self.body_follows = exchange.has_body and exchange.method != "CONNECT"
        self.receiving = exchange
        self.headers = None
        self.overhead = 0
        self.patience = service.body_timeout
        self.waits_since = service.now
        self.expect(BODY)
        if self.current is None:
            self.current = exchange
            self.dispatch()
        else:
            if self.queue is None:
                self.queue = collections.deque()
            self.queue.append(exchange)
            if len(self.queue) >= QUEUE_MAX:
                self.pause_reading()

    def on_body(self, body: bytes):
        exchange = self.receiving
        self.overhead -= PyBytes_GET_SIZE(body)
        if exchange is None:
            return
        exchange.feed(body)
        if self.service.body_max and exchange.body_size > self.service.body_max:
            self.refuse(413, f"a body of more than {self.service.body_max} bytes")
        if exchange.finished and exchange.body_size > DISCARDED_MAX:
            self.refuse(0, "")

    def on_message_complete(self):
        if self.body_follows:  # the parser leaves it out
            return
        exchange = self.receiving
        self.receiving = None
        self.expect(IDLE)
        if exchange is None:
            return
        exchange.complete = True
        if not exchange.finished:
            exchange.arrived()
        elif self.state != DEAF:
            self.next()

    def eof_received(self):
        exchange = self.current
        self.ended = True
        if exchange is None or self.stream is None:
            return False
        if not exchange.complete:
            return False  # what it sends will never be whole
        # It may have closed its side alone: what it asked for is sent, and then the rest is closed.
        exchange.disconnected = True
        if not self.queue:
            exchange.keep_alive = False
        exchange.arrived()
        return True

    def refuse(self, status, message):
        """Stops the parser."""
        self.refusal = status
        if status:
            self.service.told(self, message, None)
        raise Refused

    def bad(self, status, message, exception):
        """What came is no request."""
        self.refusal = status
        self.service.told(self, message, exception)
        return self.answer_bad()

    def answer_bad(self):
        exchange: Exchange
        self.state = DEAF
        if self.refusal == 0:
            return self.close()
        exchange = self.receiving
        if exchange is not None and exchange is not self.current:
            # It waits in the queue. Those before it are answered first, and it does not begin any more.
            exchange.status = -self.refusal
            return self.set_deadline()
        if exchange is None:
            exchange = Exchange.__new__(Exchange)
            exchange.connection = self
            exchange.service = self.service
            exchange.method = "-"
            exchange.target = b"-"
            exchange.headers = []
            exchange.http11 = exchange.has_body = True
            if self.headers is not None and self.target:  # what came of it was understood so far
                exchange.method = self.parser.get_method().decode("ascii")
                exchange.target = self.target
                exchange.headers = self.headers
                exchange.http11 = self.parser.get_http_version() != "1.0"
            exchange.began = self.service.loop.time() if self.service.timed else self.service.now
            exchange.left = -1
            exchange.status = -self.refusal
            if self.current is not None:
                if self.queue is None:
                    self.queue = collections.deque()
                self.queue.append(exchange)
                return self.set_deadline()
            self.current = exchange
            return self.dispatch()
        exchange.disconnected = True
        if exchange.started:
            return self.abort()
        exchange.status = 0
        exchange.fail(self.refusal)
        return 0

    # One after the other.

    def dispatch(self):
        """Begins with `current`."""
        exchange = self.current
        try:
            self.begin(exchange)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Not the application's fault, mostly. Nobody knows how far it came: nothing can follow on the connection.
            self.queue = None
            self.held_back = False
            self.state = DEAF
            self.service.failures += 1
            self.service.told(exchange, "the request cannot be answered", error)
            self.abort()
        return 0

    def begin(self, exchange):
        service = self.service
        if exchange.status < 0:
            status = -exchange.status
            exchange.status = 0
            return exchange.fail(status)
        if self.upgrading and exchange is self.receiving:
            return 0
        if self.writing_paused:
            # A client that asks for more and more and takes nothing would fill the memory with responses.
            self.held_back = True
            return 0
        if service.concurrency_max and service.active >= service.concurrency_max:
            service.told(exchange, f"{service.active} requests are worked on already", None)
            return exchange.fail(503)
        if service.mounts is not None:
            function = service.mounts(exchange.target)
            if function is not None:
                return exchange.hand_to(function)
        return exchange.begin()

    def over(self, exchange):
        if self.transport is None:
            return 0
        if not exchange.keep_alive or (exchange.expects_continue and not exchange.complete):
            if exchange.has_body and not exchange.complete:
                return self.linger()
            self.state = DEAF
            return self.close()
        if exchange.complete:
            return self.next()
        if self.reading_paused:
            self.resume_reading()
        return 0

    def next(self):
        """The current exchange is over, its request is whole."""
        self.current = None
        return 0 if self.advancing else self.advance()

    def advance(self):
        """Begins with the next request; with further ones as long as each is over at once.

        One after the other: not each within the end of the one before.
        """
        count: cython.int = 0
        self.advancing = True
        try:
            while self.current is None and self.queue:
                self.current = self.queue.popleft()
                if self.ended and self.current.status >= 0:
                    if not self.current.complete:  # and never will be
                        self.state = DEAF
                        return self.close()
                    self.current.disconnected = True
                    if not self.queue:
                        self.current.keep_alive = False
                if self.reading_paused and len(self.queue) < QUEUE_MAX:
                    self.resume_reading()
                if count == TURN_MAX:
                    self.held_back = True
                    self.service.loop.call_soon(self.go_on)
                    return 0
                count += 1
                self.dispatch()
        finally:
            self.advancing = False
        if self.current is not None or self.state == DEAF:
            return 0
        self.set_deadline()
        if self.service.stopping:
            self.stop()
        return 0

    def go_on(self):
        """Begins with the current exchange, if that had to wait."""
        if self.held_back:
            self.held_back = False
            if self.transport is not None and self.current is not None and not self.current.finished:
                self.dispatch()

    def give_over(self, rest):
        """The parser has met a request that wants another protocol."""
        exchange = self.current
        if self.body_follows:
            return self.receive_body(rest)
        if not self.upgrading or exchange is None:
            self.state = DEAF
            return 0
        self.upgrading = False
        self.state = DEAF
        self.deadline = math.inf
        self.parser = None
        self.current = None
        self.service.upgrade(self, exchange, rest)
        return 0

    def receive_body(self, rest):
        """A request that wanted another protocol goes on as one that did not: a parser of its own gets the body."""
        exchange: Exchange = self.receiving
        if self.state == DEAF or exchange is None:
            return 0
        self.parser = httptools.HttpRequestParser(self)
        if exchange.content_length >= 0:
            self.parser.feed_data(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % exchange.content_length)
        else:
            self.parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        return self.consume(rest) if rest else 0

    # Sending.

    def write(self, data):
        if self.stream is not None and self.stream.takes_bytes():
            return self.stream.write_bytes(data)
        if self.transport is not None:
            self.transport.write(data)
        return 0

    def pause_writing(self):
        self.writing_paused = True
        self.unsent = self.transport.get_write_buffer_size() if self.transport is not None else 0
        self.deadline = self.service.now + self.service.write_timeout

    def resume_writing(self):
        self.writing_paused = False
        self.waits_since = self.service.now
        self.set_deadline()
        self.wake_writers()
        self.go_on()

    def drain(self):
        if not self.writing_paused:
            return None
        future = self.service.loop.create_future()
        self.writers = queued(self.writers, future)
        return future

    def wake_writers(self):
        """More may be written, or nothing ever."""
        if self.writers is not None:
            writers, self.writers = self.writers, None
            wake(writers)
        return 0

    def pause_reading(self):
        if not self.reading_paused and self.transport is not None:
            self.reading_paused = True
            self.service.unread.add(self)
            self.transport.pause_reading()
            self.set_deadline()
        return 0

    def resume_reading(self):
        if self.reading_paused and self.transport is not None:
            self.reading_paused = False
            self.waits_since = self.service.now
            self.service.unread.discard(self)
            self.transport.resume_reading()
            self.set_deadline()
        return 0

    def look(self):
        """Finds out whether the client is still there, while nothing is received that would tell it."""
        exchange = self.current
        state = state_of_peer(self.transport)
        if state == GONE:
            self.abort()
        elif state == SENDS_NO_MORE and exchange is not None and exchange.complete and not exchange.disconnected:
            # It sends no more, but may still receive: what it asked for is answered. See eof_received().
            exchange.disconnected = True
            exchange.arrived()

    def close(self):
        self.unsent = self.transport.get_write_buffer_size() if self.transport is not None else 0
        self.deadline = self.service.now + self.service.write_timeout
        # asyncio's own transports for TLS do not stand being closed twice.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
        return 0

    def linger(self):
        """Closes behind a response to a request that is not whole.

        Closing at once would reset the connection, and the client, which still sends, might never see the response. So
        only this side is closed, and what comes is dropped for a while.
        """
        self.state = DEAF
        self.current = None
        if self.ended or not self.transport.can_write_eof():
            return self.close()
        self.resume_reading()
        self.transport.write_eof()
        return self.set_deadline()

    def abort(self):
        if self.transport is not None:
            self.transport.abort()
        return 0

    def stop(self):
        """The server stops: closes the connection when nothing is asked, else behind the response."""
        service = self.service
        if self.current is None:
            if self.state == DEAF:
                self.leave()
            elif self.state != IDLE or self.fresh:  # it was accepted this moment, or has sent a part of a request
                self.set_deadline()
            elif self.deadline < service.now + service.idle_timeout - FRESH_GRACE_S:
                self.leave()
            else:  # it was used this moment, and what it asks next may be on the way
                self.deadline = min(self.deadline, service.now + FRESH_GRACE_S)

    def leave(self):
        """Closes a connection on which nothing is asked."""
        self.state = DEAF
        self.close()
        if self.transport is not None and self.transport.get_write_buffer_size() == 0:
            self.deadline = self.service.now + GOODBYE_S
        return 0

    def abandon(self):
        """The server does not wait any longer."""
        self.state = DEAF
        self.abort()

    # Time-outs.

    def expect(self, state):
        if self.state == DEAF:
            return 0
        self.state = state
        return self.set_deadline()

    def set_deadline(self):
        service = self.service
        if self.writing_paused:
            pass  # whatever the client sends: it is to take something
        elif self.state == HEAD or (self.state == IDLE and self.fresh):
            timeout = service.head_timeout
            if service.stopping and self.current is None:
                timeout = min(timeout, FRESH_GRACE_S)
            self.deadline = service.now + timeout
        elif self.state == BODY and not self.reading_paused:
            self.deadline = service.now + self.patience
        elif self.state == IDLE and self.current is None:
            self.deadline = service.now + service.idle_timeout
        elif self.state == DEAF and (self.current is None or self.current.finished):
            closing = self.transport is None or self.transport.is_closing()
            self.unsent = -1  # a client that lets some of the response wait has more time than to linger
            self.deadline = service.now + (service.write_timeout if closing else LINGER_S)
        else:
            self.deadline = math.inf
        return 0

    def expire(self):
        """The deadline has passed."""
        self.deadline = math.inf
        if self.writing_paused or self.state == DEAF:
            if self.takes_something():
                self.deadline = self.service.now + self.service.write_timeout
                return
            if self.writing_paused:
                self.service.told(self, "the client takes nothing of the response", None)
            self.abort()
        elif self.state == HEAD and not (self.service.stopping and self.current is None):
            self.bad(408, "the head of a request took too long", None)
        elif self.state == BODY:
            self.bad(408, "the body of a request took too long", None)
        else:
            self.leave()

    def takes_something(self):
        """Whether the client has taken something of what was written since this was asked last."""
        if self.transport is None:
            return False
        before = self.unsent
        self.unsent = self.transport.get_write_buffer_size()
        return self.unsent > 0 and self.unsent != before

    def __repr__(self):
        return f"<ioring.http.Connection of {self.client}>"


def state_of_peer(transport):
    """What is known of the other side, though nothing is received: GONE, SENDS_NO_MORE, or 0."""
    one: pollfd
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None:
        return 0
    one.fd = sock.fileno()
    one.events = POLLRDHUP
    one.revents = 0
    poll(cython.address(one), 1, 0)
    if one.revents & (POLLERR | POLLHUP):
        return GONE
    return SENDS_NO_MORE if one.revents & POLLRDHUP else 0


def address_of(name):
    """The host and the port of a socket's name; None when it has none."""
    if isinstance(name, tuple) and len(name) >= 2:
        return (str(name[0]), int(name[1]))
    return None
