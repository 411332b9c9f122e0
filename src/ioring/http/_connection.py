"""A connection of the HTTP server: what it receives goes through a parser, and becomes requests.

It is an asyncio protocol, so that it works on any event loop. The parser is llhttp (httptools), which calls the methods
named on_*. Its base classes answer requests one after the other (_request_queue) and have the time-outs (_deadlines).
"""

import math

import cython
import httptools
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE

OVERHEAD_MAX = cython.declare(cython.Py_ssize_t, 65536)
"""Bytes of chunk sizes, chunk extensions and trailers that a request may have, besides 16 for each byte of content."""

SENDS_NO_MORE = 1
GONE = 2

METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}


class Refused(Exception):
    """Raised in a callback of the parser to stop it; `refusal` is the status to answer with."""


class Connection(QueueingConnection):
    """The connection of one client (an ``asyncio.Protocol``).

    Parameters:
        service: the Service of its server.
        server: the server's address, (host, port); None: the socket is asked for it, which takes longer.
        origin: of a connection that a load balancer passes on, what that says of its own: the client, the server, and
            whether it is encrypted.
    """

    def __init__(self, service, server=None, origin=None):
        self.service = service
        self.server = server
        self.origin = origin
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
            # The client has reset the connection already. On a Unix socket there is a name, an empty one: a connection
            # without a name must not be taken for one of those, which may be trusted.
            self.state = DEAF
            transport.abort()
            return
        self.client = address_of(name)
        if self.server is None:
            self.server = address_of(transport.get_extra_info("sockname"))
        if self.origin is not None:
            self.client, self.server, tls = self.origin
            if tls:
                self.scheme = "https"
        self.trusted = service.apply_forwarded is not None and service.trusts(self.client)
        self.expect(IDLE)
        if service.stopping:
            self.stop()
        elif service.connections_max and len(service.connections) - service.surplus > service.connections_max:
            self.surplus = True
            service.surplus += 1
            self.bad(503, f"more than {service.connections_max} connections", None)

    def connection_lost(self, exception):
        service = self.service
        exchange: Exchange = self.current
        service.connections.discard(self)
        service.unread.discard(self)
        if self.surplus:
            self.surplus = False
            service.surplus -= 1
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
            return self.dropped()
        if self.state == IDLE:
            self.expect(HEAD)
            self.head_size = 0
            self.fresh = False
            self.line = data
            self.line_at = 0
            self.first = True
        elif self.state != HEAD:
            self.overhead += size
            self.content_came(size)
        elif not self.headers:  # the end of the request line may not have come yet
            self.line += data
        self.shared = self.stopped = False
        rest: bytes = None
        fault: str = None
        try:
            self.data = data
            try:
                self.parser.feed_data(data)
            finally:
                self.data = None
                if self.state != HEAD:
                    self.line = None
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError:
            if not self.stopped:
                raise
        except httptools.HttpParserError as error:
            fault = str(error)
        # What follows is not done in the handlers: it may parse the rest, and what is raised in a handler is taken for
        # a consequence of what was handled.
        if rest is not None:
            return self.give_over(rest)
        if self.stopped:
            return 0 if self.state == DEAF else self.answer_bad()
        if fault is not None:
            return 0 if self.state == DEAF else self.bad(400, fault, None)
        if self.state == HEAD:
            # head_size counts complete lines alone, so that an endless one would not be noticed. All received bytes
            # count here, but for those that came together with the end of another request.
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
        if self.state == DEAF:  # nothing follows the request before this one
            self.stopped = True
            raise Refused
        self.target = b""
        self.headers = []
        self.head_size = 0
        self.overhead = 0
        self.hosts = 0
        self.expects_continue = self.encoded = False
        self.content_length = -1
        self.upgrade = None
        if self.state != HEAD:  # in the same bytes as the one before it
            self.shared = True
            self.first = False
            if self.line is not self.data:
                self.line = self.data
                self.line_at = 0
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
        exchange: Exchange = self.receiving
        if exchange is not None:  # of the trailer section, which is left out
            if ioring_http_known(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)) == IORING_HTTP_CONNECTION:
                # The parser obeys it, and takes no request that follows a "close".
                exchange.keep_alive = False
            return
        size: cython.Py_ssize_t = PyBytes_GET_SIZE(value)
        if size and (PyBytes_AS_STRING(value)[size - 1] == 32 or PyBytes_AS_STRING(value)[size - 1] == 9):
            value = value.rstrip(b" \t")  # llhttp strips the left side alone
        self.head_size += PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + 4
        if self.head_size > self.service.head_max:
            self.refuse(431, f"a head of more than {self.service.head_max} bytes")
        name = ioring_http_lower(name)
        known = ioring_http_known(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        if known != IORING_HTTP_OTHER:
            if known == IORING_HTTP_HOST:
                self.hosts += 1
                if not ioring_http_is_host(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
                    self.refuse(400, f"{value!r} is no host (header host)")
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
        if len(self.headers) > self.service.headers_max:
            self.refuse(431, f"more than {self.service.headers_max} headers")

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
        exchange.http11 = self.first and ioring_http_is_11(
            PyBytes_AS_STRING(self.line),
            PyBytes_GET_SIZE(self.line),
            PyBytes_AS_STRING(method),
            PyBytes_GET_SIZE(method),
            PyBytes_AS_STRING(self.target),
            PyBytes_GET_SIZE(self.target),
        )
        if exchange.http11:
            # The next request is looked for behind this one.
            self.line_at = PyBytes_GET_SIZE(method) + PyBytes_GET_SIZE(self.target) + 1
        else:
            exchange.http11 = self.check_version()
        if self.hosts != 1 and (exchange.http11 or self.hosts):
            self.refuse(400, "no header host" if self.hosts == 0 else "several headers host")
        if PyBytes_AS_STRING(self.target)[0] != 47 or self.target.find(b"#") >= 0:  # 47: /
            self.to_origin_form(method)
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
        exchange.expects_continue = self.expects_continue and exchange.http11 and exchange.has_body
        exchange.left = -1
        exchange.began = service.loop.time() if service.timed else service.now
        exchange.keep_alive = parser.should_keep_alive() and not service.stopping
        if service.probes is not None and (exchange.method == "GET" or exchange.method == "HEAD"):
            exchange.probe = service.probes.get(self.target.partition(b"?")[0])
        if exchange.probe is None:
            service.requests += 1
            if service.requests == service.requests_max:
                service.exhausted()
        if parser.should_upgrade():
            self.tunnel = exchange.method == "CONNECT"
            self.upgrading = (
                self.upgrade is not None
                and exchange.probe is None
                and self.current is None  # a pipelined request is answered as if it had no Upgrade
                and service.websockets
                and exchange.method == "GET"
                and not exchange.has_body
                and ioring_http_lists(PyBytes_AS_STRING(self.upgrade), PyBytes_GET_SIZE(self.upgrade), b"websocket")
            )
            # The parser takes what follows for another protocol. It is content when the protocol stays HTTP.
            self.body_follows = exchange.has_body and not self.tunnel
            if self.upgrading or self.tunnel:
                exchange.keep_alive = False
        self.receiving = exchange
        self.headers = None
        self.overhead = 0
        self.patience = service.body_timeout
        self.waits_since = service.now
        self.expect(BODY)
        self.add(exchange)

    def check_version(self):
        """Whether a request that does not begin as most do is one of HTTP/1.1; refuses what is not of HTTP/1.

        The parser takes RTSP and ICE, too, and does not say which of them it was.
        """
        line: bytes = self.line
        version = self.parser.get_http_version()  # slower than looking at the request line
        if version != "1.1" and version != "1.0":
            self.refuse(505, f"version {version} of HTTP")
        at: cython.Py_ssize_t = line.find(b" %b " % self.target, self.line_at)
        if at >= 0:
            at += PyBytes_GET_SIZE(self.target) + 2
            self.line_at = at
            if line[at : at + OVERHEAD_MAX].lstrip(b" ")[:5] != b"HTTP/":
                self.refuse(400, "the protocol is not HTTP")
        return version == "1.1"

    def to_origin_form(self, method):
        """Takes the host out of a target that is a whole URI, and a fragment away, which no target may have.

        The host of such a target is the one that counts (RFC 9112, section 3.2.2).
        """
        target: bytes = self.target.partition(b"#")[0]
        if not target.startswith(b"/") and target != b"*" and method != b"CONNECT":
            _, separator, rest = target.partition(b"://")
            size: cython.Py_ssize_t = len(rest)
            for mark in (b"/", b"?"):
                at = rest.find(mark)
                if 0 <= at < size:
                    size = at
            host: bytes = rest[:size]
            if not separator or size == 0 or not ioring_http_is_host(PyBytes_AS_STRING(host), size):
                self.refuse(400, f"{self.target!r} is no target")
            target = rest[size:]
            if not target.startswith(b"/"):
                target = b"/" + target
            self.headers = [(b"host", host), *[pair for pair in self.headers if pair[0] != b"host"]]
        self.target = target
        return 0

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
        if self.body_follows:  # the parser does not look at the content
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
            return False  # the rest of the request will never come
        # Only its sending side may be closed: it gets its response, and then the connection is closed.
        exchange.disconnected = True
        if not self.queue:
            exchange.keep_alive = False
        exchange.arrived()
        return True

    def refuse(self, status, message):
        """Stops the parser: the request is answered with an error; 0: the connection is closed."""
        self.refusal = status
        self.stopped = True
        if status:
            self.service.trouble(self, message, None)
        raise Refused

    def bad(self, status, message, exception):
        """What was received is not a request that can be answered."""
        self.refusal = status
        self.service.trouble(self, message, exception)
        return self.answer_bad()

    def answer_bad(self):
        """Answers with the error `refusal`, after all requests before this one; nothing more is received."""
        exchange: Exchange
        self.state = DEAF
        if self.refusal == 0:
            return self.linger()
        exchange = self.receiving
        if exchange is not None and exchange is not self.current:
            # It waits in the queue: those before it are answered first.
            exchange.refusal = self.refusal
            return self.set_deadline()
        if exchange is None:
            exchange = Exchange.__new__(Exchange)
            exchange.connection = self
            exchange.service = self.service
            exchange.method = "-"
            exchange.target = b"-"
            exchange.headers = []
            exchange.http11 = exchange.has_body = True
            if self.headers is not None and self.target:  # a part of it was understood
                exchange.method = self.parser.get_method().decode("ascii")
                exchange.target = self.target
                exchange.headers = self.headers
                exchange.http11 = self.parser.get_http_version() != "1.0"
            exchange.began = self.service.loop.time() if self.service.timed else self.service.now
            exchange.left = -1
            exchange.refusal = self.refusal
            if self.current is not None:
                self.put_in_queue(exchange)
                return self.set_deadline()
            self.current = exchange
            return self.dispatch()
        exchange.disconnected = True
        if exchange.started:
            return self.abort()
        exchange.status = 0
        exchange.fail(self.refusal)
        return 0

    def give_over(self, rest):
        """The parser has met a request with Upgrade, or a CONNECT; ``rest`` was received behind its head."""
        exchange = self.current
        if self.body_follows:
            return self.receive_body(rest)
        if not self.upgrading or exchange is None:
            if self.state == DEAF or self.tunnel:
                self.state = DEAF
                return 0
            self.parser = httptools.HttpRequestParser(self)  # the protocol stays HTTP
            return self.consume(rest) if rest else 0
        self.upgrading = False
        self.state = DEAF
        self.deadline = math.inf
        self.parser = None
        if self.service.asgi:  # else the request may be answered like any other
            self.current = None
        self.service.open_websocket(self, exchange, rest)
        return 0

    def receive_body(self, rest):
        """The protocol stays HTTP: another parser, which knows of no Upgrade, gets the content."""
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
        stream: Stream = self.stream
        if stream is not None and stream.takes_bytes():
            # Of a loss the connection is told a little later. What is written until then is dropped in silence.
            return 0 if stream.lost else stream.write_bytes(data)
        if self.transport is not None and not self.transport.is_closing():
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
        self.writers, future = waiting(self.writers, self.service.loop)
        return future

    def wake_writers(self):
        """Those who wait in drain() go on: more may be written, or the connection is closed."""
        if self.writers is not None:
            writers, self.writers = self.writers, None
            wake(writers)
        return 0

    def look(self):
        """Closes the connection when the client has gone, which nobody would notice while nothing is received."""
        exchange = self.current
        state = state_of_peer(self.transport)
        if state == GONE:
            self.abort()
        elif state == SENDS_NO_MORE and exchange is not None and exchange.complete and not exchange.disconnected:
            # It may still receive its response; see eof_received().
            exchange.disconnected = True
            exchange.arrived()

    def __repr__(self):
        return f"<ioring.http.Connection of {self.client}>"


def state_of_peer(transport):
    """What the kernel knows of the client: GONE, SENDS_NO_MORE (it has closed its sending side), or 0."""
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
    """The host and the port in the name of a socket; None for a Unix socket."""
    if isinstance(name, tuple) and len(name) >= 2:
        return (str(name[0]), int(name[1]))
    return None
