"""ASGI: what an application is given, and what it does with it.

Applications run in tasks of their own, one for each request. What they await, receive() and send(), are objects that
cost no frame; a send() whose bytes find room does not wait at all.
"""

import asyncio
import re
import types
from urllib.parse import unquote_to_bytes

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF

from ioring.http.errors import ClientDisconnected
from ioring.loop.asyncio_private import TASKS as _TASKS
from ioring.loop.native import READ_BY_OTHERS as _READ_BY_OTHERS
from ioring.loop.native import original, wrapped

TASKS = cython.declare(dict, _TASKS)
CoroutineType = cython.declare(object, types.CoroutineType)
READ_BY_OTHERS = cython.declare(cython.bint, _READ_BY_OTHERS)

SPEC_VERSION = "2.3"
"""The version of ASGI's HTTP that is announced. From 2.4 on a send() fails when the client has left, and Starlette and
FastAPI rely on that alone: of a response that has nothing to send, such as server-sent events, they would never learn
that nobody waits for it. With 2.3 they listen."""

PATHSEND = {"opens_at_once": True}
"""What is said of ``http.response.pathsend``: the file is opened before send() returns something to be awaited."""

FUTILE_MAX = cython.declare(cython.int, 10_000)
"""So many messages an application may send after its client has left; they are dropped. Then send() fails, so that a
stream that listens to nothing has an end."""

TRAILER_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
NO_TRAILERS = frozenset(
    b"authorization cache-control connection content-encoding content-length content-range content-type cookie "
    b"expect host keep-alive max-forwards pragma range set-cookie te trailer transfer-encoding upgrade "
    b"www-authenticate".split()
)
"""What frames or routes a message, or has to be known before its content (RFC 9110, section 6.5.1)."""

CHAIN_MAX = cython.declare(cython.int, 16)
"""How far a chain of exceptions (their causes and contexts) is followed."""


class Drained(Awaitable):
    """Waits until the connection takes more."""

    def step(self):
        future = self.future
        if future is None or future.done():
            self.finished = True
            return None
        return until(future)


class Dropped(Awaitable):
    """Of a message that nobody gets: waits until others had their turn, so that who sends on and on blocks nobody."""

    def step(self):
        self.finished = self.passed
        self.passed = True
        return


class Receive(Awaitable):
    """What receive() returns."""

    def step(self):
        exchange = self.exchange
        message = exchange.message()
        self.finished = message is not None  # an application may await it again
        if self.finished:
            return message
        exchange.waiters, future = waiting(exchange.waiters, exchange.service.loop)
        return until(future)


class Run(Awaitable):
    """The application at work on one request: to its task, a coroutine (see loop/native.py)."""

    def step(self):
        result: cython.pointer(PyObject) = cython.NULL
        how: PySendResult
        try:
            how = PyIter_Send(self.coroutine, None, cython.address(result))
            if how == PYGEN_ERROR:
                reraise()
        except KeyboardInterrupt as error:
            self.ended(error)
            raise
        except BaseException as error:  # SystemExit too: it is not for an application to end the server
            self.ended(error)
            self.finished = True
            return None
        value = cython.cast(object, result)
        Py_DECREF(value)
        if how == PYGEN_NEXT:
            return value
        self.ended(None)
        self.finished = True
        return None

    def throw(self, kind, value=None, traceback=None):
        try:
            if isinstance(kind, BaseException):
                return self.coroutine.throw(kind)
            return self.coroutine.throw(kind, value, traceback)
        except StopIteration:
            self.ended(None)
            raise
        except (KeyboardInterrupt, asyncio.CancelledError) as error:
            self.ended(error)
            raise
        except BaseException as error:
            self.ended(error)
            raise StopIteration from None

    def close(self):
        self.coroutine.close()

    def ended(self, exception):
        """The application is done with the request."""
        exchange = self.exchange
        service = exchange.service
        self.task = None
        exchange.work = None
        if exchange.finished:
            if exception is None or isinstance(exception, asyncio.CancelledError):
                return 0
            if not exchange.dropped or not of_leaving(exception):
                service.failures += 1
                service.trouble(exchange, "the application raised an exception behind its response", exception)
            return 0
        if exchange.disconnected and (exception is None or isinstance(exception, asyncio.CancelledError)):
            # It was told that the client is leaving, and why should it answer then?
            if not exchange.started:
                exchange.status = 0
            return exchange.connection.abort()
        if isinstance(exception, asyncio.CancelledError):
            service.trouble(exchange, "the request was cancelled", None)
        elif exception is not None:
            service.failures += 1
            service.trouble(exchange, "the application raised an exception", exception)
        elif exchange.status == 0:
            service.failures += 1
            service.trouble(exchange, "the application returned without a response", None)
        else:
            service.failures += 1
            service.trouble(exchange, "the application returned before the end of its response", None)
        if not exchange.started:
            exchange.status = 0
        return exchange.fail(500)


class AsgiExchange(Exchange):
    """A request, answered by an ASGI application."""

    def begin(self):
        run: Run
        service = self.service
        self.begun = True
        service.active += 1
        run = Run.__new__(Run)
        run.exchange = self
        self.work = run
        try:
            run.coroutine = service.application(self.scope(), self.receive, self.send)
            if type(run.coroutine) is not CoroutineType and not hasattr(run.coroutine, "send"):
                run.coroutine = awaited(run.coroutine)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return run.ended(error)
        run.task = TASKS["Task"](wrapped(run) if READ_BY_OTHERS else run, loop=service.loop)
        return 0

    def scope(self):
        """What the application is told of the request."""
        connection = self.connection
        service = self.service
        target: bytes = self.target
        path: bytes = target
        query: bytes = b""
        at: cython.Py_ssize_t = target.find(b"?")
        if at >= 0:
            path = target[:at]
            query = target[at + 1 :]
        text: str
        if b"%" in path:
            text = unquote_to_bytes(path).decode("utf-8", "replace")
        else:
            text = path.decode("utf-8", "replace")
        scope: dict = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": SPEC_VERSION},
            "http_version": "1.1" if self.http11 else "1.0",
            "method": self.method,
            "scheme": connection.scheme,
            "path": service.root_path + text if service.root_path else text,
            "raw_path": path,
            "query_string": query,
            "root_path": service.root_path,
            "headers": self.headers,
            "client": connection.client,
            "server": connection.server,
            "extensions": {"http.response.early_hint": {}, "http.response.trailers": {}},
        }
        if service.pathsend:
            scope["extensions"]["http.response.pathsend"] = PATHSEND.copy()
        if service.state is not None:
            scope["state"] = service.state.copy()
        if connection.trusted:
            service.apply_forwarded(scope)
        return scope

    def arrived(self):
        if self.waiters is not None:
            waiters, self.waiters = self.waiters, None
            wake(waiters)
        return Exchange.arrived(self)

    def message(self):
        """The next that receive() gives; None while there is nothing."""
        body: bytes
        if not self.finished and (self.parts is not None or (self.complete and not self.told_end)):
            self.told_end = self.complete
            body = self.take_body()
            return {"type": "http.request", "body": body, "more_body": not self.complete}
        if self.finished or self.disconnected:
            return {"type": "http.disconnect"}
        self.invite()
        return None

    def receive(self):
        receive: Receive = Receive.__new__(Receive)
        receive.exchange = self
        return receive

    def send(self, message):
        drained: Drained
        kind: str = message["type"]
        if self.dropped and self.finished:
            self.futile += 1
            if self.futile > FUTILE_MAX:
                raise ClientDisconnected("nobody waits for the response any more: the client has gone")
            return Dropped.__new__(Dropped)
        if kind == "http.response.body":
            if self.trailing:
                self.respond_before_trailers(bytes_of(message.get("body", b"")), bool(message.get("more_body", False)))
            else:
                self.respond(bytes_of(message.get("body", b"")), bool(message.get("more_body", False)))
            if self.connection is not None and self.connection.writing_paused:
                drained = Drained.__new__(Drained)
                drained.future = self.connection.drain()
                return drained
        elif kind == "http.response.start":
            self.start_response(message["status"], message.get("headers", ()))
            if message.get("trailers"):
                self.trailing = True
        elif kind == "http.response.pathsend":
            return self.send_path(message["path"])
        elif kind == "http.response.early_hint":
            self.send_hint(message["links"])
        elif kind == "http.response.trailers":
            self.send_trailers(message.get("headers", ()), bool(message.get("more_trailers", False)))
        else:
            raise RuntimeError(f"{kind!r} is no message that an application may send for a request")
        return ready()

    def send_path(self, path):
        """A file is the rest of the response; who awaits this goes on when it is sent, or the client is gone."""
        drained: Drained
        if self.status == 0:
            raise RuntimeError("the response's body comes before its start")
        if self.started:
            raise RuntimeError("http.response.pathsend comes too late: it cannot follow a part of the body")
        drained = Drained.__new__(Drained)
        drained.future = self.service.send_file(self, path)
        return drained

    def respond_before_trailers(self, body, more):
        """The last of the content leaves the response open, unless there is no place for trailers behind it."""
        if self.dropped:
            return 0
        if self.awaits_trailers:
            raise RuntimeError("the response's body is complete already: its trailers can follow")
        self.respond(body, True)
        if more:
            return 0
        if self.chunked and not self.bodyless:
            self.awaits_trailers = True
            return 0
        return self.respond(b"", False)

    def send_trailers(self, headers, more):
        """The trailer section, in one piece or several. A client that has not asked for it (TE) gets an empty one."""
        name: bytes
        value: bytes
        if self.dropped:
            return 0
        if not self.trailing:
            raise RuntimeError("trailers have to be announced by the response's start: trailers=True")
        if self.finished:
            return 0  # there was no place for them
        if not self.awaits_trailers:
            raise RuntimeError("the response's trailers come before the end of its body")
        lines: list = []
        for name, value in headers:
            if TRAILER_NAME.fullmatch(name) is None or name.lower() in NO_TRAILERS:
                raise ValueError(f"{name!r} cannot be the name of a trailer")
            if not ioring_http_is_value(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
                raise ValueError(f"trailer {name.decode('latin-1')}: {value!r} has a byte that no value may have")
            lines.append(b"%b: %b\r\n" % (name, value))
        self.trailers = [*(self.trailers or ()), *lines]
        if more:
            return 0
        wanted: cython.bint = False
        for name, value in self.headers:
            if name == b"te" and ioring_http_lists(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), b"trailers"):
                wanted = True
        self.connection.write(b"0\r\n%b\r\n" % (b"".join(self.trailers) if wanted else b""))
        return self.finish()

    def send_hint(self, links):
        """103 Early Hints, which HTTP/1.0 does not know."""
        if self.started:
            raise RuntimeError("early hints come too late: the response has begun")
        value: bytes
        if self.connection is not None and self.http11:
            lines = [b"HTTP/1.1 103 Early Hints\r\n"]
            for link in links:
                value = bytes(link)
                if not ioring_http_is_value(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
                    raise ValueError(f"{link!r} is no link")
                lines.append(b"link: %b\r\n" % value)
            lines.append(b"\r\n")
            self.connection.write(b"".join(lines))
        return 0


async def awaited(awaitable):
    """For an application whose call gives something that can be awaited and is no coroutine."""
    await awaitable


def bytes_of(data):
    if type(data) is bytes:
        return data
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"the body of a response is bytes, not {type(data).__name__}")
    return bytes(data)


def of_leaving(exception):
    """Whether nothing has led to an exception but a client that has gone."""
    for _ in range(CHAIN_MAX):
        if isinstance(exception, BaseExceptionGroup):
            return all(of_leaving(each) for each in exception.exceptions)
        if exception is None:
            return False
        if isinstance(exception, ClientDisconnected):
            return True
        exception = exception.__cause__ or exception.__context__
    return False


def tasks_of(service):
    """The tasks in which applications work on requests of a service, also behind their responses."""
    run: Run
    found: list = []
    for task in asyncio.all_tasks(service.loop):
        coroutine = original(task.get_coro())
        if isinstance(coroutine, Run):
            run = coroutine
            if run.exchange.service is service:
                found.append(task)
    return found
