"""A request and its response."""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.libc.string import memcpy

JOIN_MAX = cython.declare(cython.Py_ssize_t, 16384)
"""Content of up to this many bytes is copied behind the head: one write is cheaper than two."""

HELD_MAX = cython.declare(cython.Py_ssize_t, 65536)
"""While more bytes of a request's content than this wait to be read by the application, nothing is received."""

PROBE_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Channel:
    """What an exchange needs of its connection. An heir gives all of these methods."""

    def write(self, data):
        """Sends bytes, now or when those before them are sent."""
        raise NotImplementedError

    def over(self, exchange):
        """All of the exchange's response has been written."""
        raise NotImplementedError

    def pause_reading(self):
        """Receives nothing until `resume_reading`."""
        raise NotImplementedError

    def resume_reading(self):
        raise NotImplementedError

    def abort(self):
        """Closes the connection at once; what was not sent is lost."""
        raise NotImplementedError

    def drain(self):
        """A future that is done when more may be written; None when more may be written now."""
        raise NotImplementedError


class Exchange(ResponseHead):
    """One request and its response. A connection makes it; applications that are not ASGI are called with it."""

    def begin(self):
        """Has the application answer: the head of the request is there, and all earlier responses are written."""
        return self.hand_to(self.service.application)

    def hand_to(self, function):
        """Has a function answer, which is called with the exchange."""
        self.begun = True
        self.service.active += 1
        function(self)
        return 0

    def answer_probe(self):
        """Says how the server is; the application is not asked, and nothing of it is counted or logged."""
        self.status, body = self.probe()
        self.response_headers = PROBE_HEADERS
        self.compose(body, True)
        return self.finish()

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
        """The content of the request that was received since the last call, as bytes."""
        self.invite()
        return self.take_body()

    def invite(self):
        """The application wants the content: a client that sent ``Expect: 100-continue`` is told to send it."""
        if self.expects_continue and not self.complete and not self.started and self.connection is not None:
            self.expects_continue = False
            if self.body_size == 0:
                self.connection.write(CONTINUE)
        return 0

    # The response.

    def start(self, status, headers):
        """Sets the response's status and headers (pairs of bytes), which are sent with the first of the content.

        Raises:
            RuntimeError: the response has begun already.
        """
        self.start_response(status, headers)

    def write(self, data, more=False):
        """Sends a part of the response's content, as bytes; without ``more`` it is the last.

        Raises:
            RuntimeError: it is more, or the last and less, than the content-length says; or the response is complete.
            ValueError: a header has a name or a value that HTTP does not allow.
        """
        self.respond(data, more)

    def open_body(self):
        """The head, as bytes, for callers that send head and content themselves; it must have a content-length.

        They call ``close_body`` when all of it is sent.
        """
        if self.started or self.connection is None:
            raise RuntimeError("the response has begun already")
        self.foresee()
        used: cython.Py_ssize_t = self.compose_head(0, 0, False)
        return PyBytes_FromStringAndSize(self.service.scratch, used)

    def close_body(self, sent):
        """The response has been sent, with so many bytes of content."""
        if self.connection is not None and not self.finished:
            self.left = 0
            self.sent += sent
            self.finish()

    def switched(self):
        """The response was 101 (Switching Protocols), sent by somebody else: the protocol is another now."""
        self.status = 101
        self.service.statuses[1] += 1
        if self.service.log_access is not None:
            self.service.log_access(self)

    def refuse(self, status):
        """Answers with an error of the server's own if no response has begun, and closes the connection."""
        self.fail(status)

    def foresee(self):
        """Finds out, before the head, whether the connection will be closed, which the head is to say then.

        It will when content is left that was not asked for, or too much of it.
        """
        if not self.complete and (self.expects_continue or self.content_length - self.body_size > DISCARDED_MAX):
            self.keep_alive = False
        return 0

    def compose(self, body, final):
        """Sends the head, with the first part of the content behind it."""
        service: Service = self.service
        self.foresee()
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
            self.compose(body, not more)
        else:
            self.framed(body, more)
        if not more:
            if self.left > 0 and not self.bodyless:
                raise RuntimeError(f"the response ends {self.left} bytes before its content-length")
            self.finish()
        return 0

    def framed(self, body, more):
        """Sends a part of the content, as a chunk if the response is chunked."""
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
        if self.probe is None:
            self.service.statuses[min(self.status // 100, 5)] += 1
            self.service.sent += self.sent
            if self.service.log_access is not None:
                self.service.log_access(self)
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
        if self.begun and self.service.log_access is not None:
            self.service.log_access(self)
        self.client = self.connection.client
        self.connection = None
        if self.begun:
            self.service.active -= 1
        return self.arrived()

    def fail(self, status):
        """Answers with an error of the server's own, and closes the connection.

        A response that has begun ends there: what was given of it is sent, which may say what went wrong, but not the
        end that its framing asks for.
        """
        if self.finished or self.connection is None:
            return 0
        self.keep_alive = False
        self.dropped = True
        if self.started:
            return self.finish()
        self.status = status
        self.line = None
        self.service.refused += 1
        self.response_headers = [(b"content-type", b"text/plain; charset=utf-8")]
        text: str = reason(status)
        self.compose(text.encode(), True)
        return self.finish()

    def __repr__(self):
        return f"<ioring.http.Exchange {self.method} {self.target.decode('latin-1')!r} status={self.status}>"


def too_long():
    return RuntimeError("the response is longer than its content-length")
