"""The head of a response: its status line and its header section, written into memory of the Service."""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.string import memcpy


class ResponseHead:
    """The status and the headers of a response, and what of its request decides how they are sent."""

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

    def announced(self):
        """The content-length that ``start`` was given; -1 when it was given none, or something that is not a number."""
        for name, value in self.response_headers:
            if name.lower() == b"content-length":
                return int(value) if value.isdigit() else -1
        return -1

    def add_header(self, name, value):
        """One more header for the response, before its body begins."""
        self.response_headers = [*self.response_headers, (name, value)]

    def compose_head(self, size, joined, final):
        """Writes the head into the service's `scratch`, and returns its length.

        Parameters:
            size: of the content that is there already.
            joined: bytes for which room is left behind the head.
            final: whether that content is all of it.
        """
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
        self.bodyless = self.method == "HEAD" or self.status == 204 or self.status == 205 or self.status == 304
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
                    if self.status == 205:
                        continue  # there is no content, which is said below
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
            pass  # a content-length is not needed, and 0 would be wrong
        elif self.status == 205:
            self.left = 0
            used = put(service, used, b"content-length: 0\r\n")
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
        if service.extras is not None:
            used = self.put_extras(used)
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

    def put_extras(self, used):
        """Adds what each response gets that has none of that name."""
        given: set = {name.lower() for name, _ in self.response_headers}
        for name, line in self.service.extras:
            if name not in given:
                used = put(self.service, used, line)
        return used


def put(service, used, line):
    """Adds a line to what is in `scratch`, and returns how many bytes are in it now."""
    size: cython.Py_ssize_t = PyBytes_GET_SIZE(line)
    service.reserve(used + size + 512)
    memcpy(service.scratch + used, PyBytes_AS_STRING(line), size)
    return used + size
