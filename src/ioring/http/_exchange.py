"""A request and its response."""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.libc.string import memcpy

JOIN_MAX = cython.declare(cython.Py_ssize_t, 16384)
"""Up to so many bytes a body is copied behind its head, which is cheaper than sending two pieces."""

HELD_MAX = cython.declare(cython.Py_ssize_t, 65536)
"""When so much of a body waits to be taken, nothing more is received."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Channel:
    """A connection, as its exchanges see it."""

    def write(self, data):
        raise NotImplementedError

    def over(self, exchange):
        """The response is on the way."""
        raise NotImplementedError

    def pause_reading(self):
        raise NotImplementedError

    def resume_reading(self):
        raise NotImplementedError

    def abort(self):
        raise NotImplementedError

    def drain(self):
        """A future that is done when more may be written; None when that is so now."""
        raise NotImplementedError


class Exchange:
    """One request, and what is answered. Made by a connection; what is not ASGI is called with it."""

    def begin(self):
        """The head is there, and all earlier responses are sent."""
        return self.hand_to(self.service.application)

    def hand_to(self, function):
        """Lets a function answer that is called with the exchange."""
        self.begun = True
        self.service.active += 1
        function(self)
        return 0

    # The request's body.

    def feed(self, data):
        size: cython.Py_ssize_t = PyBytes_GET_SIZE(data)
        self.body_size += size
        if self.finished:
            return 0
        if self.parts is None:
            self.parts = data
        elif isinstance(self.parts, list):
            cython.cast(list, self.parts).append(data)
        else:
            self.parts = [self.parts, data]
        self.held += size
        if self.held > HELD_MAX:
            self.connection.pause_reading()
        return self.arrived()

    def arrived(self):
        arrival = self.arrival
        if arrival is not None:
            arrival()
        return 0

    def take_body(self):
        parts = self.parts
        self.parts = None
        if self.held > HELD_MAX and self.connection is not None:
            self.connection.resume_reading()
        self.held = 0
        if parts is None:
            return b""
        if isinstance(parts, list):
            return b"".join(parts)
        return parts

    def take(self):
        """What has come of the request's body since the last call, as bytes."""
        self.invite()
        return self.take_body()

    def invite(self):
        """Somebody wants the body: a client that waits for a word before it sends it is given that."""
        if self.expects_continue and not self.complete and not self.started and self.connection is not None:
            self.expects_continue = False
            if self.body_size == 0:
                self.connection.write(CONTINUE)
        return 0

    def wants_body(self):
        """Tells a client that waits with the body (``Expect: 100-continue``) to send it."""
        self.invite()

    # The response.

    def start(self, status, headers):
        """The response's status and headers (pairs of bytes); they are sent with the first of the body.

        Raises:
            RuntimeError: the response has begun already.
        """
        self.start_response(status, headers)

    def write(self, data, more=False):
        """A piece of the response's body, as bytes; without ``more`` it is the last.

        Raises:
            RuntimeError: there is more, or less, than the length that was announced; or nothing may come any more.
            ValueError: a header is none.
        """
        self.respond(data, more)

    def announced(self):
        """The content-length that ``start`` was given; -1 without one, or when it is none."""
        for name, value in self.response_headers:
            if name.lower() == b"content-length":
                return int(value) if value.isdigit() else -1
        return -1

    def add_header(self, name, value):
        """One more header for the response, before its body begins."""
        self.response_headers = [*self.response_headers, (name, value)]

    def open_body(self):
        """The head, as bytes, for who sends the response past ``write``; a content-length must have been given.

        ``close_body`` is to be called when all of it is sent.
        """
        if self.started or self.connection is None:
            raise RuntimeError("the response has begun already")
        used: cython.Py_ssize_t = self.compose_head(0, 0, False)
        return PyBytes_FromStringAndSize(self.service.scratch, used)

    def close_body(self, sent):
        """The response has been sent, with so many bytes of a body."""
        if self.connection is not None and not self.finished:
            self.left = 0
            self.sent += sent
            self.finish()

    def switched(self):
        """Somebody has answered with 101: the connection speaks another protocol now."""
        self.status = 101
        self.service.statuses[1] += 1
        if self.service.access is not None:
            self.service.access(self)

    def refuse(self, status):
        """Answers with an error of the server's own, if that is possible yet; the connection is closed."""
        self.fail(status)

    def start_response(self, status, headers):
        if self.dropped:
            return 0
        if self.status:
            raise RuntimeError(f"a response with status {self.status} has begun already: {status} is too late")
        if not 100 <= status <= 999:
            raise ValueError(f"{status} is no status: 200 to 999")
        if status < 200:
            raise ValueError(f"{status} is no status of a final response: 200 to 999")
        self.response_headers = headers
        self.status = status
        return 0

    def compose_head(self, size, joined, final):
        """Puts the head into `scratch`, where there is room for so much of a body; how long it is."""
        service: Service = self.service
        name: bytes
        value: bytes
        line: bytes = status_line(self.status) if self.line is None else self.line
        used: cython.Py_ssize_t = PyBytes_GET_SIZE(line)
        written: cython.Py_ssize_t
        known: cython.int
        number: cython.longlong
        dated: cython.bint = False
        named: cython.bint = False
        closes: cython.bint = False
        keeps: cython.bint = False
        self.bodyless = self.method == "HEAD" or self.status == 204 or self.status == 304
        self.left = -1
        service.reserve(used + 512 + joined)
        memcpy(service.scratch, PyBytes_AS_STRING(line), used)
        for pair in self.response_headers:
            name, value = pair
            if name is None or value is None:
                raise TypeError("names and values of headers are bytes, not None")
            service.reserve(used + PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + 512 + joined)
            known = ioring_http_known(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
            if known != IORING_HTTP_OTHER:
                if known == IORING_HTTP_CONTENT_LENGTH:
                    number = ioring_http_number(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
                    if number < 0:
                        raise ValueError(f"{value!r} is no length (header content-length of the response)")
                    if self.status == 204:
                        continue  # RFC 9110, 8.6; with 304 it may stand
                    if self.left >= 0:
                        if number != self.left:
                            raise ValueError("the response has two different lengths (header content-length)")
                        continue
                    self.left = number
                elif known == IORING_HTTP_TRANSFER_ENCODING:
                    continue  # it is the server that frames
                elif known == IORING_HTTP_CONNECTION:
                    closes |= ioring_http_lists(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), b"close")
                    keeps = True
                elif known == IORING_HTTP_DATE:
                    dated = True
                elif known == IORING_HTTP_SERVER:
                    named = True
            written = ioring_http_field(
                service.scratch + used,
                PyBytes_AS_STRING(name),
                PyBytes_GET_SIZE(name),
                PyBytes_AS_STRING(value),
                PyBytes_GET_SIZE(value),
            )
            if written < 0:
                if written == -1:
                    raise ValueError(f"{name!r} cannot be the name of a header")
                raise ValueError(f"header {name.decode('latin-1')}: {value!r} has a byte that no value may have")
            used += written
        if self.status == 204 or self.status == 304 or (self.method == "HEAD" and size == 0):
            pass  # no length has to be told, and 0 would be wrong
        elif self.left < 0:
            if final:
                self.left = size
                used = put(service, used, b"content-length: %d\r\n" % size)
            elif self.http11:
                self.chunked = True
                used = put(service, used, b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False
        if closes or service.stopping:
            self.keep_alive = False
        if not keeps:
            if not self.keep_alive:
                used = put(service, used, b"connection: close\r\n")
            elif not self.http11:
                used = put(service, used, b"connection: keep-alive\r\n")
        elif not closes and not self.keep_alive and self.http11:
            used = put(service, used, b"connection: close\r\n")
        if dated or named:
            if not dated:
                used = put(service, used, service.date_line)
            if not named and service.server_header:
                used = put(service, used, service.server_line)
        else:
            used = put(service, used, service.standard)
        used = put(service, used, b"\r\n")
        self.started = True
        self.response_headers = None
        return used

    def compose(self, body, final, first):
        """Sends the head with the first of the body behind it."""
        service: Service = self.service
        size: cython.Py_ssize_t = PyBytes_GET_SIZE(body)
        joined: cython.Py_ssize_t = size if size <= JOIN_MAX else 0
        used: cython.Py_ssize_t = self.compose_head(size, joined, final)
        if self.bodyless or size == 0 or self.chunked or joined == 0:
            self.connection.write(PyBytes_FromStringAndSize(service.scratch, used))
            return self.framed(body, not final)
        if self.left >= 0:
            self.left -= size
            if self.left < 0:
                self.started = False
                raise too_long()
        service.reserve(used + size)
        memcpy(service.scratch + used, PyBytes_AS_STRING(body), size)
        self.sent += size
        self.connection.write(PyBytes_FromStringAndSize(service.scratch, used + size))
        return 0

    def respond(self, body, more):
        if self.dropped:
            return 0
        if self.status == 0:
            raise RuntimeError("the response's body comes before its start")
        if self.finished:
            raise RuntimeError("the response is complete already: nothing can follow")
        if not self.started:
            self.compose(body, not more, True)
        else:
            self.framed(body, more)
        if not more:
            if self.left > 0 and not self.bodyless:
                raise RuntimeError(f"the response ends {self.left} bytes before its content-length")
            self.finish()
        return 0

    def framed(self, body, more):
        """A piece of the body behind the head."""
        size: cython.Py_ssize_t = PyBytes_GET_SIZE(body)
        if self.bodyless:
            return 0
        if self.left >= 0:
            if size > self.left:
                raise too_long()
            self.left -= size
        self.sent += size
        if not self.chunked:
            if size:
                self.connection.write(body)
            return 0
        if size > JOIN_MAX:
            self.connection.write(b"%x\r\n" % size)
            self.connection.write(body)
            self.connection.write(b"\r\n" if more else b"\r\n0\r\n\r\n")
        elif size:
            self.connection.write(b"%x\r\n%b%b" % (size, body, b"\r\n" if more else b"\r\n0\r\n\r\n"))
        elif not more:
            self.connection.write(b"0\r\n\r\n")
        return 0

    def finish(self):
        connection = self.connection
        self.finished = True
        self.parts = None
        if self.begun:
            self.service.active -= 1
        self.service.statuses[min(self.status // 100, 5)] += 1
        self.service.sent += self.sent
        if self.service.access is not None:
            self.service.access(self)
        self.arrived()
        if connection is not None:
            self.client = connection.client
            connection.over(self)
        self.connection = None
        return 0

    def lost(self):
        """The connection is gone."""
        if self.finished:
            return 0
        self.dropped = self.disconnected = self.finished = True
        if self.begun and self.service.access is not None:
            self.service.access(self)
        self.client = self.connection.client
        self.connection = None
        if self.begun:
            self.service.active -= 1
        return self.arrived()

    def fail(self, status):
        """The server's own answer; the connection is closed behind it, at once when a response has begun already."""
        if self.finished or self.connection is None:
            return 0
        self.keep_alive = False
        self.dropped = True
        if self.started:
            return self.connection.abort()
        self.status = status
        self.line = None
        self.service.refused += 1
        self.response_headers = [(b"content-type", b"text/plain; charset=utf-8")]
        text: str = reason(status)
        self.compose(text.encode(), True, True)
        return self.finish()

    def __repr__(self):
        return f"<ioring.http.Exchange {self.method} {self.target.decode('latin-1')!r} status={self.status}>"


def queued(waiters, future):
    """One more who waits: ``None``, a future, or a list of them becomes the like.

    Each has a future of its own, for who cancels one cancels its future. Those that did not wait to the end go here.
    """
    if waiters is None:
        return future
    waiting: list = [each for each in waiters if not each.done()] if isinstance(waiters, list) else [waiters]
    waiting.append(future)
    return waiting


def wake(waiters):
    """All go on."""
    if isinstance(waiters, list):
        for future in cython.cast(list, waiters):
            if not future.done():
                future.set_result(None)
    elif waiters is not None and not waiters.done():
        waiters.set_result(None)
    return 0


def too_long():
    return RuntimeError("the response is longer than its content-length")


def put(service, used, line):
    """Adds a line to what is in `scratch`; how much that is now."""
    size: cython.Py_ssize_t = PyBytes_GET_SIZE(line)
    service.reserve(used + size + 512)
    memcpy(service.scratch + used, PyBytes_AS_STRING(line), size)
    return used + size
