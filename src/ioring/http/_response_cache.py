"""Responses that are ready: those of files that were asked for before.

A file that was requested a moment ago is answered with one look into a dictionary and one write. Whether it is still
the same is found out by the owner of the dictionary, when the answer is no longer valid.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE

WHOLE_MAX = cython.declare(cython.Py_ssize_t, 16384)
"""Content of up to this many bytes is kept behind its head, to be sent with it in one write."""

CHOICES_MAX = cython.declare(cython.Py_ssize_t, 32)
"""Values of accept-encoding that are remembered for a file; beyond, all are forgotten. Clients can send any value."""

CHOICE_MAX = cython.declare(cython.Py_ssize_t, 256)
"""Longer values of accept-encoding are not remembered: no browser sends them."""

CHOICE_OVERHEAD = cython.declare(cython.Py_ssize_t, 192)
"""Memory that a value of accept-encoding takes beside its bytes."""

OVERHEAD = cython.declare(cython.Py_ssize_t, 3072)
"""Memory that an answer takes beside its content."""


class Answer:
    """The response for a path. ``size`` is the memory that it takes, with its path and its choices."""

    def __init__(self, found, head, body, valid_until, size, choices=None):
        self.found = found
        self.size = OVERHEAD + size
        self.head = head
        self.body = body
        self.valid_until = valid_until
        self.choices = choices
        self.used = True

    def send(self, exchange):
        service: Service = exchange.service
        body: bytes = self.body
        size: cython.Py_ssize_t = PyBytes_GET_SIZE(body)
        exchange.status = 200
        exchange.started = True
        exchange.sent = size
        exchange.foresee()
        if service.stopping:
            exchange.keep_alive = False
        if exchange.keep_alive and exchange.http11:
            if self.standard is not service.standard:
                self.standard = service.standard
                self.whole = self.head + self.standard + b"\r\n"
                if size <= WHOLE_MAX:
                    self.whole += body
            exchange.connection.write(self.whole)
        else:
            line: bytes = b"connection: keep-alive\r\n" if exchange.keep_alive else b"connection: close\r\n"
            exchange.connection.write(
                b"%b%b%b\r\n%b" % (self.head, line, service.standard, body if size <= WHOLE_MAX else b"")
            )
        if size > WHOLE_MAX:
            exchange.connection.write(body)
        return exchange.finish()


class Answers:
    """Answers by path. To be called with an Exchange.

    A path is looked for as it stands in the request; who fills this decides which of its spellings that finds.

    Args:
        otherwise: called with an Exchange and its path when there is nothing ready for it.
        count_max: how many there may be.
        held_max: how many bytes they may take.

    When there are too many, those go first that were not used since the last time, and then the oldest.
    """

    def __init__(self, otherwise, count_max, held_max):
        self.otherwise = otherwise
        self.count_max = count_max
        self.held_max = held_max
        self.by_path = {}

    def __call__(self, exchange: Exchange):
        path: bytes = exchange.target
        at: cython.Py_ssize_t = path.find(b"?")
        answer: Answer
        if at >= 0:
            path = path[:at]
        answer = self.by_path.get(path)
        if answer is not None and exchange.service.now < answer.valid_until and exchange.method == "GET":
            answer = self.chosen(exchange, answer)
            if answer is not None:
                answer.send(exchange)
                return
        self.otherwise(exchange, path)

    def chosen(self, exchange, answer):
        """The Answer for the headers of the request, if there is one."""
        accepted = None
        name: bytes
        kind: cython.int
        answer.used = True
        for pair in exchange.headers:
            name = cython.cast(tuple, pair)[0]
            kind = ioring_http_selects(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
            if kind == IORING_HTTP_PLAIN:
                continue
            if kind == IORING_HTTP_CONDITION:
                return None
            if accepted is not None:
                return None
            accepted = cython.cast(tuple, pair)[1]
        if answer.choices is not None:
            answer = answer.choices.get(accepted)
        return None if answer is None or answer.head is None else answer

    def get(self, path):
        """The Answer for a path, which may be out of date; or None."""
        return self.by_path.get(path)

    def put(self, path: bytes, answer: Answer):
        """Remembers one, and forgets others when there are too many."""
        self.forget(path)
        self.by_path[path] = answer
        answer.path = path
        self.count(answer, PyBytes_GET_SIZE(path))

    def remember(self, answer: Answer, accepted, chosen):
        """Remembers which Answer is for a value of accept-encoding, or for requests without one (None)."""
        value: bytes = accepted
        size: cython.Py_ssize_t = 0 if value is None else PyBytes_GET_SIZE(value)
        # Without a path it has been forgotten, and nobody would find it.
        if size > CHOICE_MAX or answer.path is None or value in answer.choices:
            return
        if len(answer.choices) >= CHOICES_MAX:
            answer.choices.clear()
            answer.size -= answer.choices_size
            self.held -= answer.choices_size
            answer.choices_size = 0
        answer.choices[value] = chosen
        size += CHOICE_OVERHEAD
        answer.choices_size += size
        self.held -= answer.size
        self.count(answer, size)

    def count(self, answer, more):
        """An answer takes ``more`` bytes more; forgets others if all take too much."""
        answer.size += more
        self.held += answer.size
        spared: cython.Py_ssize_t = 0
        while len(self.by_path) > 1 and (len(self.by_path) > self.count_max or self.held > self.held_max):
            oldest: bytes = next(iter(self.by_path))
            kept: Answer = self.by_path[oldest]
            if kept is answer or (kept.used and spared < 16):
                spared += 1
                kept.used = False
                self.by_path[oldest] = self.by_path.pop(oldest)
            else:
                self.forget(oldest)
        return 0

    def drop(self, path):
        """Forgets one."""
        self.forget(path)

    def forget(self, path):
        answer: Answer = self.by_path.pop(path, None)
        if answer is not None:
            self.held -= answer.size
            answer.size -= PyBytes_GET_SIZE(path)
            answer.path = None
        return 0

    def clear(self):
        """Forgets all."""
        for path in list(self.by_path):
            self.forget(path)
