"""How long a connection waits: for a request, for its content, for a client that takes the response, for the end."""

import math

import cython

CONTENT_RATE = cython.declare(cython.double, 500.0)
"""Bytes of content per second that a client has to send at least (``--timeout-body``)."""

LINGER_S = cython.declare(cython.double, 2.0)
"""Seconds for which a client may send nothing while what it sends is dropped behind the last response."""

GOODBYE_S = cython.declare(cython.double, 5.0)
"""Seconds that a client has to close its side of a TLS connection. Browsers never close connections they keep."""

FRESH_GRACE_S = cython.declare(cython.double, 1.0)
"""Seconds that a stopping server waits for a request that may be on its way: on a connection that was accepted or used
just before, or that has received a part of a head.
"""


class TimedConnection(Channel):
    """A connection that is given up at its deadline. An heir knows the requests, and sets `state`."""

    def bad(self, status, message, exception):
        """Answers a request that cannot be understood, or that took too long, with an error."""
        raise NotImplementedError

    def expect(self, state):
        """The connection receives something else next; not when it drops everything already."""
        if self.state == DEAF:
            return 0
        self.state = state
        return self.set_deadline()

    def set_deadline(self):
        """Sets the deadline to what holds in the present state."""
        service = self.service
        if self.writing_paused:
            pass  # it stays: that the client sends something does not help, it has to take something
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
            self.unsent = -1  # counts as progress once: a client that is slow to take the response has longer
            self.deadline = service.now + (service.write_timeout if closing else LINGER_S)
        else:
            self.deadline = math.inf
        return 0

    def delay(self, seconds):
        """The server stood still for so long, which is not the client's fault."""
        self.deadline += seconds
        self.waits_since += seconds
        if self.lingers_until:
            self.lingers_until += seconds

    def expire(self):
        """The deadline has passed."""
        self.deadline = math.inf
        if self.writing_paused or self.state == DEAF:
            if self.takes_something():
                self.deadline = self.service.now + self.service.write_timeout
                return
            if self.writing_paused:
                self.service.trouble(self, "the client takes nothing of the response", None)
            elif self.lingers_until and self.transport is not None and not self.transport.is_closing():
                self.leave()
                return
            self.abort()
        elif self.state == HEAD and not (self.service.stopping and self.current is None):
            self.bad(408, "the head of a request took too long", None)
        elif self.state == BODY:
            self.bad(408, "the body of a request took too long", None)
        else:
            self.leave()

    def content_came(self, size):
        """This many bytes of a request's content were received.

        `patience` is a budget of seconds (``--timeout-body``): it is used up while none comes, and what comes adds
        the time that it may take at CONTENT_RATE, up to the original budget.
        """
        service = self.service
        self.patience = min(
            service.body_timeout, self.patience - (service.now - self.waits_since) + size / CONTENT_RATE
        )
        self.waits_since = service.now
        return self.set_deadline()

    def dropped(self):
        """Something was received that nobody wants. A client that still sends has time to find the response."""
        if self.lingers_until and not self.writing_paused:
            self.deadline = min(self.service.now + LINGER_S, self.lingers_until)
        return 0

    def takes_something(self):
        """Whether the client has received something since this was asked last, and there is more for it."""
        if self.transport is None:
            return False
        before = self.unsent
        self.unsent = self.transport.get_write_buffer_size()
        return self.unsent > 0 and self.unsent != before

    # Receiving less, and closing.

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

    def close(self):
        """Closes the connection when all that was written is sent."""
        self.unsent = self.transport.get_write_buffer_size() if self.transport is not None else 0
        self.deadline = self.service.now + self.service.write_timeout
        # asyncio's own TLS transports must not be closed twice.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
        return 0

    def abort(self):
        if self.transport is not None:
            self.transport.abort()
        return 0

    def stop(self):
        """The server stops: closes the connection when there is no request, or else after the response."""
        service = self.service
        if self.current is None:
            if self.lingers_until:
                self.lingers_until = min(self.lingers_until, service.now + LINGER_S)
                self.deadline = min(self.deadline, self.lingers_until)
            elif self.state == DEAF:
                self.leave()
            elif self.state != IDLE or self.fresh:  # just accepted, or with a part of a request
                self.set_deadline()
            elif self.deadline < service.now + service.idle_timeout - FRESH_GRACE_S:
                self.leave()
            else:  # just used: the next request may be on its way
                self.deadline = min(self.deadline, service.now + FRESH_GRACE_S)

    def leave(self):
        """Closes a connection that has no request."""
        self.state = DEAF
        self.close()
        if self.transport is not None and self.transport.get_write_buffer_size() == 0:
            self.deadline = self.service.now + GOODBYE_S
        return 0

    def abandon(self):
        """The server does not wait for the connection any longer."""
        self.state = DEAF
        self.abort()
