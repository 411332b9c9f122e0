"""What the connections of an HTTP server share: the application, limits, counts, the time."""

import email.utils
import http
import math
import time

import cython
from cython.cimports.libc.stdlib import free, realloc

REASONS = {int(status): status.phrase for status in http.HTTPStatus}
STATUS_LINES: dict = {}


class Service:
    """One server's: an application and how it is to be served.

    Args:
        application: an ASGI application; with ``asgi=False`` a function that is called with each Exchange.
        loop: the event loop.
    """

    def __cinit__(self):
        self.head_max = 65536
        self.head_timeout = self.body_timeout = self.idle_timeout = self.write_timeout = math.inf
        self.server_header = self.date_header = True
        self.root_path = ""
        self.second = -1

    def __init__(self, application, loop, *, asgi=True):
        self.application = application
        self.asgi = asgi
        self.loop = loop
        self.connections = set()
        self.unread = set()
        self.statuses = [0] * 6
        self.server_line = b"server: ioring\r\n"
        self.now = loop.time()
        self.set_date()

    def __dealloc__(self):
        free(self.scratch)

    def reserve(self, size):
        """Room for so many bytes in `scratch`."""
        if size > self.room:
            size = max(size, 2 * self.room, 4096)
            memory = cython.declare(cython.p_char, cython.cast(cython.p_char, realloc(self.scratch, size)))
            if memory == cython.NULL:
                raise MemoryError
            self.scratch = memory
            self.room = size
        return 0

    def set_date(self):
        """The lines for responses: to be called after changes of what they say, too."""
        self.second = int(time.time())
        self.date_line = b""
        if self.date_header:
            self.date_line = f"date: {email.utils.formatdate(self.second, usegmt=True)}\r\n".encode()
        self.standard = self.date_line + (self.server_line if self.server_header else b"")

    def tick(self):
        """Sets the time, and ends what has taken too long or whose client is gone. To be called about once a second."""
        self.now = self.loop.time()
        if int(time.time()) != self.second:
            self.set_date()
        for connection in [each for each in self.connections if each.deadline <= self.now]:
            connection.expire()
        for connection in list(self.unread):
            connection.look()

    def told(self, who, message, exception):
        if self.trouble is not None:
            self.trouble(who, message, exception)
        return 0


def reason(status):
    return REASONS.get(status, "")


def status_line(status):
    line = STATUS_LINES.get(status)
    if line is None:
        if not 100 <= status <= 999:
            raise ValueError(f"{status} is no status: 100 to 999")
        line = STATUS_LINES[status] = f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\n".encode()
    return line
