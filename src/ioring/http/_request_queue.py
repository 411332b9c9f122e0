"""The requests of a connection are answered one after the other, in the order in which they came (pipelining)."""

import collections

import cython

QUEUE_MAX = cython.declare(cython.int, 16)
"""While this many requests wait for their turn, nothing is received."""

TURN_MAX = cython.declare(cython.int, 64)
"""Requests of one connection that are begun without a break; then other connections have their turn."""


class QueueingConnection(TimedConnection):
    """A connection that begins with a request when all before it are answered. An heir receives the requests."""

    def add(self, exchange):
        """The head of a request is complete."""
        if self.current is None:
            self.current = exchange
            return self.dispatch()
        self.put_in_queue(exchange)
        if len(self.queue) >= QUEUE_MAX:
            self.pause_reading()
        return 0

    def put_in_queue(self, exchange):
        if self.queue is None:
            self.queue = collections.deque()
        self.queue.append(exchange)
        return 0

    def dispatch(self):
        """Begins with the request that is `current` now."""
        exchange = self.current
        try:
            self.begin(exchange)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Mostly an error of the server. How much was sent is unknown: no response can follow on the connection.
            self.queue = None
            self.held_back = False
            self.state = DEAF
            self.service.failures += 1
            self.service.trouble(exchange, "the request cannot be answered", error)
            self.abort()
        return 0

    def begin(self, exchange):
        """Answers a request, or has the application do it, unless it has to wait."""
        service = self.service
        if exchange.refusal:
            return exchange.fail(exchange.refusal)
        if self.upgrading and exchange is self.receiving:
            return 0  # for a WebSocket; the parser hands it over in a moment
        if self.writing_paused:
            # A client that sends requests and receives nothing would fill the memory with responses.
            self.held_back = True
            return 0
        if exchange.probe is not None:
            return exchange.answer_probe()
        if service.concurrency_max and service.active >= service.concurrency_max:
            service.trouble(exchange, f"{service.active} requests are worked on already", None)
            return exchange.fail(503)
        if service.find_mount is not None:
            function = service.find_mount(exchange.target)
            if function is not None:
                return exchange.hand_to(function)
        return exchange.begin()

    def over(self, exchange):
        if self.transport is None:
            return 0
        if not exchange.keep_alive or (exchange.expects_continue and not exchange.complete):
            if (exchange.has_body and not exchange.complete) or self.queue:
                return self.linger()
            self.state = DEAF
            return self.close()
        if exchange.complete:
            return self.next()
        if self.reading_paused:
            self.resume_reading()
        return 0

    def next(self):
        """The current exchange is over, and all of its request was received."""
        self.current = None
        return 0 if self.advancing else self.advance()

    def advance(self):
        """Begins with the next request, and with further ones while each is answered at once.

        In a loop: if each began when the one before it ended, the stack would grow with every request.
        """
        count: cython.int = 0
        self.advancing = True
        try:
            while self.current is None and self.queue:
                self.current = self.queue.popleft()
                if self.ended and not self.current.refusal:
                    if not self.current.complete:  # its content will never come
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
        """Begins with the current request, if that had to wait."""
        if self.held_back:
            self.held_back = False
            if self.transport is not None and self.current is not None and not self.current.finished:
                self.dispatch()

    def linger(self):
        """Closes behind a response though the client sends more: content that nobody wants, or further requests.

        Closing at once would reset the connection, and the client, which still sends, might never see the response. So
        only the sending side is closed, where that is possible (TLS has no such thing), and what is received is dropped
        for a while (RFC 9112, section 9.6): see dropped().
        """
        self.state = DEAF
        self.current = self.queue = None
        if self.ended:
            return self.close()
        self.resume_reading()
        if self.transport.can_write_eof():
            try:
                self.transport.write_eof()
            except OSError:  # on asyncio's own loop: the client has gone
                return self.abort()
        self.lingers_until = self.service.now + LINGER_MAX_S
        return self.set_deadline()
