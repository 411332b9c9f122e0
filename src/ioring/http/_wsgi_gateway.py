"""WSGI (PEP 3333): the loop hands requests to threads, and the threads hand responses back to the loop.

Both are done in batches, because waking a thread costs more than a small request. The loop wakes one thread, which runs
the application until no requests are left, and then wakes the loop once for all of their responses before it sleeps. So
one thread runs all requests of a turn of the loop when the application does not block.

While requests wait for a thread the loop looks after them every millisecond. When none was taken since it looked last,
the application blocks: from then on a thread that takes a request wakes another thread, and each response is handed
back at once.
"""

import io

import cython
from cython.cimports.ioring.http._wsgi_environ import environ, field_of, status_of
from cython.cimports.ioring.http.thread_gate import ioring_gate_pass, ioring_gate_unlock, ioring_gate_wake
from cython.cimports.ioring.loop._core import LoopCore
from cython.cimports.ioring.ring.uring import URING_OP_FUTEX_WAKE, sqe_p, uring_send_wakeup

from ioring.http.errors import ClientDisconnected

PRIVATE_U32 = cython.declare(cython.int, 0x82)
"""FUTEX2_SIZE_U32 | FUTEX2_PRIVATE: the kind of futex that a gate is."""

PATIENCE_S = cython.declare(cython.double, 0.001)
"""The loop looks this often after requests that wait for a thread and responses that it was not told of."""

WAITING_CALLS = cython.declare(cython.ulong, 1000)
"""An application that was found blocking is taken to block for this many more requests."""

WHOLE_MAX = cython.declare(cython.Py_ssize_t, 65536)
"""A thread gets a request when all of its content was received, or more bytes of it than this."""

UNSENT_MAX = cython.declare(cython.Py_ssize_t, 65536)
"""While more bytes of a response than this wait to be sent, its thread waits."""


class Gateway:
    """Between an HTTP server's loop and the threads that run a WSGI application.

    An heir gives `open_body`, `send_file` and `start_file`.

    Parameters:
        application: the WSGI application.
        loop: the event loop.
        base: what is the same in the environ of every request.
        wrapper: the class that is ``wsgi.file_wrapper``.
    """

    def __init__(self, application, loop, base, wrapper):
        self.application = application
        self.loop = loop
        self.base = base
        self.wrapper = wrapper
        self.core = loop if isinstance(loop, LoopCore) else None
        self.idle = []
        self.workers = []
        self.done = []

    # What an heir gives.

    def open_body(self, call):
        """The file from which a Call reads the request's content while it is received."""
        raise NotImplementedError

    def send_file(self, call, result):
        """Sends a `wrapper` object that an application returned, if it wraps a file that can be sent without reading.

        Called in the Call's thread. Returns whether it was sent.
        """
        raise NotImplementedError

    def start_file(self, call, file, offset, count):
        """Begins to send a part of a file as the content of a Call's response; calls `call.file_sent` at its end."""
        raise NotImplementedError

    # Requests and threads.

    def begin(self, exchange: Exchange):
        """A request is there. In the loop's thread, like all methods that do not say otherwise."""
        self.begin_with(exchange, None)

    def begin_with(self, exchange: Exchange, handed):
        """The same; ``handed``: the HandedSocket of a request for a WebSocket, or None."""
        call: Call = Call.__new__(Call)
        call.gateway = self
        call.exchange = exchange
        call.channel = exchange.connection
        call.handed = handed
        exchange.arrival = call.arrived
        if exchange.complete:
            self.submit(call)
        else:
            exchange.invite()  # no thread is to wait for it

    def submit(self, call):
        worker: Worker = None
        watch: cython.bint
        call.submitted = True
        call.input = io.BytesIO(call.exchange.take_body()) if call.exchange.complete else self.open_body(call)
        with self.lock:
            if self.last is None:
                self.first = call
            else:
                self.last.next = call
            self.last = call
            self.queued += 1
            watch = self.waits and self.taken - self.found_waiting > WAITING_CALLS
            if watch:
                self.waits = False
            if self.waits or self.active == 0:
                worker = self.next_worker()
            # One that was woken for this call alone needs no looking after.
            watch = watch or (not self.waits and (worker is None or self.queued > 1))
        if worker is not None:
            worker.open_later()
        if watch:
            self.watch()
        return 0

    def next_worker(self):
        """The thread to be woken for the requests that wait, if one is idle. The lock is held."""
        if self.waking or not self.idle:
            return None
        self.waking = True
        self.active += 1
        return self.idle.pop()

    def watch(self):
        """Has look() called soon."""
        if not self.watched:
            self.watched = True
            self.seen = self.taken
            self.loop.call_later(PATIENCE_S, self.look)
        return 0

    def look(self):
        """Takes responses that the loop was not told of, and finds out whether the application blocks."""
        worker: Worker = None
        self.watched = False
        with self.lock:
            if self.queued and self.taken == self.seen:
                self.waits = True
                self.found_waiting = self.taken
                worker = self.next_worker()
        if worker is not None:
            worker.open_later()
        if self.queued and not self.waits:
            self.watch()
        if self.done:
            self.deliver()

    def work(self):
        """What a thread does, until close()."""
        call: Call
        other: Worker
        worker: Worker = Worker.__new__(Worker)
        worker.loop = self.core
        tell: cython.bint
        woken: cython.bint = False
        ends: cython.bint = False
        with self.lock:
            self.workers.append(worker)
            self.active += 1
        while True:
            call = other = None
            tell = False
            with self.lock:
                if woken:
                    self.waking = False
                if self.first is not None:
                    call = self.first
                    self.first = call.next
                    if self.first is None:
                        self.last = None
                    self.queued -= 1
                    self.taken += 1
                    worker.call = call
                    if self.waits and self.queued:
                        other = self.next_worker()
                else:
                    self.active -= 1
                    ends = self.closing
                    if not ends:
                        self.idle.append(worker)
                    if self.done and not self.told:
                        self.told = tell = True
            if other is not None:
                other.open()
            if ends:
                if tell:
                    self.tell()
                return
            if call is None:
                self.rest(worker, tell)
                woken = True
            else:
                woken = False
                call.next = None
                call.run(worker)
                worker.call = None

    def rest(self, worker, tell):
        """The thread waits for its gate; with ``tell`` it first tells the loop of its responses."""
        code: cython.int
        fd: cython.int = -1
        if tell:
            if self.core is None:
                self.tell()
            else:
                try:
                    fd = self.core.announce(self.deliver, ())
                except RuntimeError:
                    pass  # the loop is closed
        if fd >= 0:
            # The loop's thread wants the GIL as soon as it is woken.
            with cython.nogil:
                code = uring_send_wakeup(fd)
            if code < 0:
                self.core.wake()
        worker.wait()
        return 0

    def close(self):
        """Threads end when there are no more requests."""
        worker: Worker
        with self.lock:
            self.closing = True
            workers = self.idle
            self.idle = []
            self.active += len(workers)
        for worker in workers:
            worker.open()

    def abandon(self):
        """Nobody waits for the responses any more."""
        worker: Worker
        call: Call
        with self.lock:
            call = self.first
            self.first = self.last = None
            self.queued = 0
            workers = list(self.workers)
        while call is not None:  # one by one: the last reference to the first would end them all, each within the other
            following: Call = call.next
            if call.handed is not None:
                call.handed.leave()
            call.next = None
            call = following
        for worker in workers:
            call = worker.call
            if call is not None:
                call.lost = True
                call.wake()

    def tell(self):
        """Has deliver() called. In a thread."""
        try:
            self.loop.call_soon_threadsafe(self.deliver)
        except RuntimeError:
            pass  # the loop is closed: the server did not wait for this thread
        return 0

    def deliver(self):
        """Does what threads have asked for."""
        call: Call
        with self.lock:
            calls = self.done
            self.done = []
            self.told = False
        for call in calls:
            call.deliver()


class Worker(LoopOp):
    """A thread, as others wake it."""

    def parks(self):
        return STAYS

    def open(self):
        """The thread goes on."""
        if ioring_gate_unlock(cython.address(self.gate)):
            ioring_gate_wake(cython.address(self.gate))
        return 0

    def open_later(self):
        """The same at the end of the loop's turn, by a request to the kernel: the loop gives up the GIL for that."""
        if self.loop is None or self.table != cython.NULL:
            return self.open()
        return self.loop.enqueue(self)

    def prepare(self):
        if ioring_gate_unlock(cython.address(self.gate)):
            sqe: sqe_p = self.loop.launch(self)
            sqe.opcode = URING_OP_FUTEX_WAKE
            sqe.fd = PRIVATE_U32
            sqe.addr = cython.cast(cython.size_t, cython.address(self.gate))
            sqe.off = 1
            sqe.addr3 = 0xFFFFFFFF  # the mask: whoever waits there
        return 0

    def complete(self, res, flags):
        if res < 0:  # kernels before 6.7 do not know the operation
            ioring_gate_wake(cython.address(self.gate))
        return 0

    def wait(self):
        """Until it is woken. In its thread."""
        gate: cython.pointer[cython.uint] = cython.address(self.gate)
        with cython.nogil:
            ioring_gate_pass(gate)
        return 0


class Call:
    """One request, of which a thread runs the application."""

    # In the thread.

    def run(self, worker):
        gateway = self.gateway
        self.worker = worker
        result = error = None
        if not self.lost:
            try:
                request = environ(self.exchange, self.channel, gateway.base, self.input)
                if self.handed is not None:
                    request["gunicorn.socket"] = self.handed.socket
                result = gateway.application(request, self.start_response)
                del request
                self.iterate(result)
            except BaseException as raised:
                error = raised
            try:
                close = getattr(result, "close", None)
                if close is not None:
                    self.post(True)  # the client need not wait for that
                    close()
            except BaseException as raised:
                error = error or raised
        if self.handed is not None:
            self.handed.leave()
            if isinstance(error, StopIteration):  # so packages say that the socket was used
                error = None
        if error is not None and not (self.lost and isinstance(error, ClientDisconnected)):
            self.error = error
            self.post(False)
        elif not self.ended:
            self.ended = True
            self.post(False)
        self.input = None
        return 0

    def start_response(self, status, headers, exc_info=None):
        """What the application is given to say status and headers with."""
        name: str
        value: str
        if exc_info is not None:
            try:
                if self.head_sent:
                    _, error, traceback = exc_info
                    raise error.with_traceback(traceback)
            finally:
                exc_info = None
        elif self.status:
            raise RuntimeError("start_response was called already; only with exc_info it may be called again")
        if type(status) is not str:
            raise TypeError(f"the status is a str such as '200 OK', not {status!r}")
        fields: list = []
        for pair in headers:
            name, value = pair
            if name is None or value is None:
                raise TypeError("names and values of headers are str, not None")
            fields.append((field_of(name), value.encode("latin-1")))
        self.status, self.line = status_of(status)
        self.headers = fields
        return self.write

    def write(self, data):
        """What start_response returns: sends a piece of the body. Applications that can do without it return all."""
        if type(data) is not bytes:
            raise TypeError(f"the body of a response is bytes, not {type(data).__name__}")
        if self.lost:
            raise ClientDisconnected("the client has gone")
        if data:
            self.put(data, False)

    def iterate(self, result):
        """Sends the iterable that the application returned."""
        piece: bytes
        if type(result) is list or type(result) is tuple:
            body = result[0] if len(result) == 1 else b"".join(result)
            if type(body) is not bytes:
                raise TypeError(f"the body of a response is bytes, not {type(body).__name__}")
            return self.put(body, True)
        if (
            isinstance(result, self.gateway.wrapper)
            and self.status
            and not self.head_sent
            and self.gateway.send_file(self, result)
        ):
            return 0
        bodyless: cython.bint = self.exchange.method == "HEAD"
        for data in result:
            if self.lost:
                return 0
            if type(data) is not bytes:
                raise TypeError(f"the body of a response is bytes, not {type(data).__name__}")
            piece = data
            if piece:
                self.put(piece, False)
                if bodyless:
                    break
        return self.put(b"", True)

    def put(self, data, last):
        """Sends a part of the content; waits while more than UNSENT_MAX bytes are not sent."""
        if self.handed is not None and self.handed.is_taken():
            return 0
        if self.status == 0:
            raise RuntimeError("the application's body comes before its call of start_response")
        with self.gateway.lock:
            self.head_sent = True
            if self.out is None:
                self.out = [data]
            elif data:
                self.out.append(data)
            self.ended = last
            self.unsent += len(data)
        self.post(not last)
        if last or self.unsent <= UNSENT_MAX:
            return 0
        while True:
            with self.gateway.lock:
                if self.unsent <= UNSENT_MAX or self.lost:
                    return 0
                self.waiting = True
            self.worker.wait()

    def more(self):
        """Waits for the next bytes of the request's content, and returns them; none at its end.

        Raises:
            ClientDisconnected: the client has gone.
        """
        with self.gateway.lock:
            self.given = None
            self.wanting = True
        self.post(True)
        while True:
            with self.gateway.lock:
                given = self.given
                if given is not None:
                    self.given = None
                    return given
                if self.lost:
                    raise ClientDisconnected("the client has gone before the end of the request's body")
                self.waiting = True
            self.worker.wait()

    def hand_file(self, file, offset, count):
        """Has the loop send a part of a file as the content of the response, and waits for that."""
        with self.gateway.lock:
            self.head_sent = True
            self.file = (file, offset, count)
        self.post(True)
        while True:
            with self.gateway.lock:
                if self.file is None or self.lost:
                    self.ended = True
                    return
                self.waiting = True
            self.worker.wait()

    def post(self, at_once):
        """Has the loop look at this call: at once, or when the thread has no more requests."""
        gateway = self.gateway
        tell: cython.bint = False
        with gateway.lock:
            if not self.posted:
                self.posted = True
                gateway.done.append(self)
            if not gateway.told and (at_once or gateway.waits):
                gateway.told = tell = True
        if tell:
            gateway.tell()
        return 0

    # In the loop's thread.

    def wake(self):
        """Has the thread look again at what it waits for."""
        wakes: cython.bint
        with self.gateway.lock:
            wakes = self.waiting
            self.waiting = False
        if wakes:
            self.worker.open()
        return 0

    def arrived(self):
        """More of the request's content was received, or its end, or the client has gone."""
        exchange = self.exchange
        if exchange.finished:
            exchange.arrival = None
            self.lost = True
            self.wake()
        elif not self.submitted:
            if exchange.complete or exchange.held > WHOLE_MAX:
                self.gateway.submit(self)
        elif self.wanting:
            self.give()

    def give(self):
        """Gives the thread the content that was received."""
        exchange = self.exchange
        if exchange.finished:
            self.lost = True
            return self.wake()
        data = exchange.take()
        if data or exchange.complete:
            self.wanting = False
            self.given = data
            return self.wake()
        return 0

    def deliver(self):
        """Does what the thread asks for."""
        exchange = self.exchange
        size: cython.Py_ssize_t = 0
        number: cython.Py_ssize_t = 0
        count: cython.Py_ssize_t
        with self.gateway.lock:
            self.posted = False
            out = self.out
            self.out = None
            ended: cython.bint = self.ended
            error = self.error
            file = self.file
        if self.handed is not None:
            if ended or error is not None:
                self.handed.ended()
            if self.handed.is_taken():  # that is the response
                if error is not None:
                    self.report(error)
                return 0
        if error is not None and out is None:
            return self.failed(error)
        if exchange.finished:
            self.lost = True
            return self.wake()
        try:
            if out is not None:
                if exchange.status == 0:
                    exchange.start_response(self.status, self.headers)
                    exchange.line = self.line
                count = len(out)
                for data in out:
                    number += 1
                    size += len(data)
                    exchange.respond(data, not (ended and number == count))
            elif ended:
                exchange.respond(b"", False)
        except Exception as raised:
            return self.failed(raised)
        if error is not None:
            return self.failed(error)  # behind what there is of the response
        if ended:
            return 0
        if file is not None:
            self.start_file()
        if size:
            future = self.channel.drain() if exchange.connection is not None else None
            self.paused += size
            if future is None:
                self.drained(None)
            else:
                future.add_done_callback(self.drained)
        if self.wanting:
            self.give()
        return 0

    def start_file(self):
        self.gateway.start_file(self, *self.file)

    def drained(self, future):
        """Everything that was written is sent."""
        with self.gateway.lock:
            self.unsent -= self.paused
            self.paused = 0
        self.wake()

    def file_sent(self):
        """The file is sent, or cannot be: hand_file() returns."""
        with self.gateway.lock:
            self.file = None
        self.wake()

    def failed(self, error):
        """The application raised an exception, or its response is not one."""
        exchange = self.exchange
        self.lost = True
        self.report(error)
        exchange.fail(500)
        return self.wake()

    def report(self, error):
        exchange = self.exchange
        if not self.reported:
            self.reported = True
            exchange.service.failures += 1
            behind = " behind its response" if exchange.finished else ""
            exchange.service.trouble(exchange, f"the application raised an exception{behind}", error)
        return 0
