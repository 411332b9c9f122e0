"""What the connections of an HTTP server share."""

import email.utils
import http
import math
import sys
import time

import cython
from cython.cimports.libc.stdlib import free, realloc

REASONS = {int(status): status.phrase for status in http.HTTPStatus}
STATUS_LINES: dict = {}


class Service:
    """What all connections of a server need: the application, limits, time-outs, counts, the time.

    An heir says what its server does, by the methods from `access_log` on.

    Parameters:
        application: an ASGI application; with ``asgi=False`` a function that is called with each Exchange.
        loop: the event loop.
    """

    def __cinit__(self):
        self.head_max = 65536
        self.head_timeout = self.body_timeout = self.idle_timeout = self.write_timeout = math.inf
        self.server_header = self.date_header = True
        self.root_path = ""
        self.second = -1
        self.due = math.inf

    def __init__(self, application, loop, *, asgi=True):
        self.application = application
        self.asgi = asgi
        self.loop = loop
        self.connections = set()
        self.unread = set()
        self.statuses = [0] * 6
        self.server_line = b"server: ioring\r\n"
        self.extras = None
        self.headers_max = sys.maxsize
        self.now = loop.time()
        self.set_date()
        # Asked for once: they are called for every request.
        self.log_access = self.access_log()
        self.find_mount = self.mount_finder()
        self.apply_forwarded = self.forwarding()

    def __dealloc__(self):
        free(self.scratch)

    def reserve(self, size):
        """Makes `scratch` at least this many bytes large."""
        if size > self.room:
            size = max(size, 2 * self.room, 4096)
            memory = cython.declare(cython.p_char, cython.cast(cython.p_char, realloc(self.scratch, size)))
            if memory == cython.NULL:
                raise MemoryError
            self.scratch = memory
            self.room = size
        return 0

    def add_to_responses(self, pairs):
        """Each response gets these fields, pairs of bytes, if it has none of that name; to be called once."""
        for name, value in pairs:
            line = b"%b: %b\r\n" % (name, value)
            if name == b"server":
                self.server_line = line
            else:
                self.extras = [*(self.extras or ()), (name, line)]

    def set_date(self):
        """Makes the lines that all responses have; to be called after `server_header` or `date_header` was set, too."""
        self.second = int(time.time())
        self.date_line = b""
        if self.date_header:
            self.date_line = f"date: {email.utils.formatdate(self.second, usegmt=True)}\r\n".encode()
        self.standard = self.date_line + (self.server_line if self.server_header else b"")

    def tick(self):
        """Sets the time, and closes connections that took too long or whose client has gone; twice a second or so.

        When this is called late, `due` being past, the loop was blocked: meanwhile nothing was received or sent, of
        which no client can be blamed. So deadlines are moved on by as much. Those that have passed all the same wait
        for the next call, until when what has come is received.
        """
        before: cython.double = self.now
        late: cython.double
        self.now = self.loop.time()
        late = self.now - self.due
        if int(time.time()) != self.second:
            self.set_date()
        if late > self.due - before:
            overdue = [each for each in self.connections if each.deadline <= before]
            for connection in list(self.connections):
                connection.delay(late)
        else:
            overdue = [each for each in self.connections if each.deadline <= self.now]
        for connection in overdue:
            connection.expire()
        for connection in list(self.unread):
            connection.look()

    # What an heir says.

    def access_log(self):
        """The function that is called with each Exchange that is over; None: there is no log of them."""

    def mount_finder(self):
        """The function that is called with the target of each request, and returns the function to answer it or None.

        What it returns is called with the Exchange in place of the application. None: there are no such functions.
        """

    def forwarding(self):
        """The function that changes an ASGI scope to what a trusted proxy says of the client; None: none is trusted."""

    def trusts(self, client):
        """Whether a client is a trusted proxy; (host, port), or None on a Unix socket. Not called without one."""
        return False

    def open_websocket(self, connection, exchange, rest):
        """Takes over a connection for a WebSocket; called when `websockets` is set.

        Parameters:
            connection: the Connection, which receives nothing any more.
            exchange: the request for the WebSocket.
            rest: bytes that were received behind the request.
        """
        raise NotImplementedError

    def send_file(self, exchange, path):
        """Sends a file as the content of a response; returns a future that is done when it is sent."""
        raise NotImplementedError

    def exhausted(self):
        """`requests_max` requests have begun."""

    def trouble(self, who, message, exception):
        """Something went wrong.

        Parameters:
            who: the Connection, WebSocket or Exchange that it happened to.
            message: one line.
            exception: what was raised, or None.
        """


def reason(status):
    return REASONS.get(status, "")


def status_line(status):
    line = STATUS_LINES.get(status)
    if line is None:
        if not 100 <= status <= 999:
            raise ValueError(f"{status} is no status: 100 to 999")
        line = STATUS_LINES[status] = f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\n".encode()
    return line
