"""WSGI applications (PEP 3333), on each kind of loop."""

import contextlib
import io
import os
import queue
import socket
import sys
import threading
import urllib.parse
from wsgiref.validate import validator

import pytest

import ioring
from http_servers import GET, LAST, QUEUES_MAX, WAIT_S, Running, body_of, read_all, read_response
from ioring._core import environ as environ_module
from ioring.http import Configuration, ConfigurationError

SERVING = {"kind": "wsgi", "threads": 4}


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def post(body, headers=b""):
    return (
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n%b\r\n" % (len(body), headers) + body
    )


def chunked(*pieces):
    return b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""]
    )


def answering(function):
    """An application that answers with what a function of the environ returns."""

    def application(environ, start_response):
        body = function(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    return application


def test_hello(serving):
    with serving(hello) as server, server.connect() as client:
        for _ in range(3):
            client.sendall(GET)
            status, headers, body = read_response(client)
            assert (status, body) == (200, b"hello")
            assert headers[b"content-length"] == b"5"
            assert headers[b"Content-Type"] == b"text/plain"
    assert server.complaints == []


def test_environ(serving):
    seen = []

    def look(environ):
        seen.append({name: value for name, value in environ.items() if type(value) is str})
        assert environ["wsgi.version"] == (1, 0)
        assert environ["wsgi.multithread"] is True
        assert environ["wsgi.run_once"] is False
        assert environ["wsgi.errors"] is sys.stderr
        return b""

    with serving(answering(look), root_path="/prefix") as server, server.connect() as client:
        client.sendall(
            b"POST /caf%C3%A9%2Fa?q=%20&r HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n"
            b"Content-Type: text/x\r\nX-Some: 1\r\nX-Some: 2\r\nCookie: a=1\r\nCookie: b=2\r\nX_Some: forged\r\n"
            b"Proxy: forged\r\nX-Latin: \xe9\r\n\r\nok"
        )
        assert read_all(client).startswith(b"HTTP/1.1 200")
        name = client.getsockname()
    assert server.complaints == []
    [environ] = seen
    assert environ["REQUEST_METHOD"] == "POST"
    assert environ["SCRIPT_NAME"] == "/prefix"
    assert environ["PATH_INFO"] == urllib.parse.unquote_to_bytes("/caf%C3%A9%2Fa").decode("latin-1")
    assert environ["QUERY_STRING"] == "q=%20&r"
    assert environ["REQUEST_URI"] == "/caf%C3%A9%2Fa?q=%20&r"
    assert environ["CONTENT_TYPE"] == "text/x"
    assert environ["CONTENT_LENGTH"] == "2"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("127.0.0.1", str(server.address[1]))
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("127.0.0.1", str(name[1]))
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["HTTP_X_SOME"] == "1,2"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["HTTP_X_LATIN"] == "\xe9"
    assert environ["HTTP_HOST"] == "a"
    assert "HTTP_PROXY" not in environ
    assert "HTTP_CONTENT_LENGTH" not in environ


def test_long_names_are_not_remembered(serving):
    environ_module.KEYS.clear()
    name = b"x" * 60_000
    with serving(hello) as server, server.connect() as client:
        for number in range(3):
            client.sendall(GET.replace(b"Host", b"Short-%d: 1\r\n%b-%d: 1\r\nHost" % (number, name, number)))
            assert read_response(client)[0] == 200
    assert {b"short-0", b"short-1", b"short-2"} <= environ_module.KEYS.keys()
    assert max(map(len, environ_module.KEYS)) <= 64


def test_long_names_and_statuses_of_applications_are_not_remembered(serving):
    def application(environ, start_response):
        start_response("200 " + "x" * 100, [("X" * 100, "1")])
        return []

    with serving(application) as server:
        assert b"\r\n" + b"X" * 100 + b": 1\r\n" in server.talk(LAST)
    for known in (environ_module.STATUSES, environ_module.FIELDS):
        assert max(map(len, known), default=0) <= 64


@pytest.mark.parametrize(
    ("target", "path"), [(b"http://h/a/b?q", "/a/b"), (b"http://h", "/"), (b"//a", "//a"), (b"/%", "/%")]
)
def test_paths(serving, target, path):
    with serving(answering(lambda environ: environ["PATH_INFO"].encode("latin-1"))) as server:
        said = server.talk(LAST.replace(b" / ", b" " + target + b" "))
    assert body_of(said) == path.encode("latin-1")


READS = {
    "read": lambda body: body.read(),
    "read(size)": lambda body: b"".join(iter(lambda: body.read(1000), b"")),
    "readline": lambda body: b"".join(iter(body.readline, b"")),
    "readline(size)": lambda body: b"".join(iter(lambda: body.readline(10), b"")),
    "readlines": lambda body: b"".join(body.readlines()),
    "iteration": b"".join,
}


@pytest.mark.parametrize("way", READS)
@pytest.mark.parametrize("size", [0, 9, 300_000])
def test_bodies_are_read(serving, way, size):
    body = (b"a line of the body\n" * (size // 19 + 1))[:size]
    with serving(answering(lambda environ: READS[way](environ["wsgi.input"]))) as server:
        assert body_of(server.talk(post(body))) == body
        half = len(body) // 2
        if body:
            assert (
                body_of(server.talk(chunked(body[:half] or b"a", body[half:]))) == (body[:half] or b"a") + body[half:]
            )
    assert server.complaints == []


def test_validated_body(serving):
    """wsgiref's validator lets nothing through that is not in the specification."""
    with serving(validator(answering(lambda environ: environ["wsgi.input"].read(200_000)))) as server:
        assert body_of(server.talk(post(b"x" * 200_000))) == b"x" * 200_000
    assert server.complaints == []


def test_body_that_comes_piece_by_piece(serving):
    """A read waits for what the client has not sent yet; and is told when there will not be more."""
    pieces, errors = queue.Queue(), queue.Queue()

    def application(environ, start_response):
        start_response("200 OK", [])
        try:
            while piece := environ["wsgi.input"].read(70_000):
                pieces.put(len(piece))
        except OSError as error:
            errors.put(error)
            raise
        return [b"done"]

    with serving(application) as server:
        with server.connect() as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 140000\r\n\r\n" + b"x" * 70_000)
            assert pieces.get(timeout=WAIT_S) == 70_000
            client.sendall(b"x" * 70_000)
            assert pieces.get(timeout=WAIT_S) == 70_000
            assert read_response(client)[2] == b"done"
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 140000\r\n\r\n" + b"x" * 70_000)
            assert pieces.get(timeout=WAIT_S) == 70_000
        assert "client has gone" in str(errors.get(timeout=WAIT_S))
    assert server.complaints == []


def test_body_is_not_received_before_it_is_read(serving):
    reads, reading = threading.Event(), threading.Event()

    def application(environ, start_response):
        reading.set()
        assert reads.wait(WAIT_S)
        start_response("200 OK", [])
        return [b"%d" % len(environ["wsgi.input"].read())]

    size = 64 << 20
    assert size > QUEUES_MAX
    with serving(application) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        sender = threading.Thread(target=client.sendall, args=(b"x" * size,))
        sender.start()
        assert reading.wait(WAIT_S)
        [connection] = server.server.service.connections
        server.until(lambda: not connection.transport.is_reading())
        received = connection.current.body_size
        assert 0 < received == connection.current.held < 1 << 20
        assert sender.is_alive()
        assert server.until(lambda: connection.current.body_size) == received
        reads.set()
        assert read_response(client)[2] == b"%d" % size
        sender.join(WAIT_S)
        assert not sender.is_alive()


def test_expect_100_continue(serving):
    with serving(answering(lambda environ: environ["wsgi.input"].read())) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ok")
        assert read_response(client)[2] == b"ok"
    assert server.complaints == []


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        (b"Content-Length: 100", b"x"),
        (b"Content-Length: 100000", b"x" * 65_536),
        (b"Content-Length: 10\r\nExpect: 100-continue", b"x"),
        (b"Transfer-Encoding: chunked", b"1\r\nx\r\n"),
    ],
)
def test_bodies_that_come_slowly_hold_no_threads(serving, headers, part):
    reads = answering(lambda environ: environ["wsgi.input"].read())
    with serving(reads, threads=2) as server, contextlib.ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(server.connect())
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n" + part)
        server.until(
            lambda: (
                [each.current.body_size for each in server.server.service.connections if each.current]
                == [part.count(b"x")] * 4
            )
        )
        assert body_of(server.talk(post(b"quick"))) == b"quick"
    assert server.complaints == []


class Iterable:
    """Pieces of a body, and whether it was closed."""

    def __init__(self, pieces):
        self.pieces = pieces
        self.closed = threading.Event()

    def __iter__(self):
        yield from self.pieces

    def close(self):
        self.closed.set()


@pytest.mark.parametrize("pieces", [[], [b""], [b"one"], [b"", b"one", b"", b"two"], [b"x" * 100_000] * 3])
def test_iterables(serving, pieces):
    results = []

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        results.append(Iterable(pieces))
        return results[-1]

    with serving(validator(application)) as server:
        assert body_of(server.talk(LAST)) == b"".join(pieces)
        head = server.talk(LAST.replace(b"GET", b"HEAD"))
        assert head.startswith(b"HTTP/1.1 200")
        assert head.endswith(b"\r\n\r\n")
        assert head.count(b"\r\n\r\n") == 1
    assert server.complaints == []
    assert all(result.closed.is_set() for result in results)


def test_lists_have_a_length(serving):
    def application(environ, start_response):
        start_response("200 OK", [])
        return [b"one", b"", b"two"]

    with serving(application) as server:
        said = server.talk(LAST)
        assert b"content-length: 6\r\n" in said
        assert body_of(said) == b"onetwo"
        said = server.talk(LAST.replace(b"GET", b"HEAD"))
    assert b"content-length: 6\r\n" in said
    assert said.endswith(b"\r\n\r\n")


def test_write(serving):
    def application(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"one ")
        write(b"two ")
        return [b"three"]

    with serving(validator(application)) as server:
        assert body_of(server.talk(LAST)) == b"one two three"
    assert server.complaints == []


def test_head_may_change_until_the_body_begins(serving):
    def generator(environ, start_response):
        start_response("200 OK", [])
        try:
            raise ValueError("early")
        except ValueError:
            start_response("503 Service Unavailable", [("x-error", "1")], sys.exc_info())
        yield b""
        yield b"sorry"

    with serving(generator) as server:
        said = server.talk(LAST)
    assert said.startswith(b"HTTP/1.1 503")
    assert b"x-error: 1" in said
    assert body_of(said) == b"sorry"
    assert server.complaints == []


def test_error_behind_the_head_is_raised_again(serving):
    def generator(environ, start_response):
        start_response("200 OK", [("Content-Length", "100")])
        yield b"some"
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Internal Server Error", [], sys.exc_info())

    with serving(generator) as server:
        said = server.talk(GET)
    assert not said.startswith(b"HTTP/1.1 200") or said.endswith(b"some")  # cut off, and so the client sees
    [(_, exception)] = server.complaints
    assert str(exception) == "late"


@pytest.mark.parametrize("what", [(), (ValueError,), 7, [1, 2, 3]])
def test_what_is_no_exception(serving, what):
    def generator(environ, start_response):
        start_response("200 OK", [("Content-Length", "100")])
        yield b"some"
        start_response("500 Internal Server Error", [], what)

    with serving(generator) as server:
        server.talk(GET)
        assert len(server.complaints) == 1
        server.talk(GET)  # which it still does


def raises(environ, start_response):
    raise ValueError("broken")


def raises_later(environ, start_response):
    start_response("200 OK", [])
    yield b""
    raise ValueError("broken")


def no_start(environ, start_response):
    return [b"body"]


def no_start_generator(environ, start_response):
    yield b""


def starts_twice(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return []


def says(status, headers):
    def application(environ, start_response):
        start_response(status, headers)
        return [b"body"]

    return application


def returns(result):
    def application(environ, start_response):
        start_response("200 OK", [])
        return result() if callable(result) else result

    return application


@pytest.mark.parametrize(
    ("application", "message"),
    [
        (raises, "broken"),
        (raises_later, "broken"),
        (no_start, "before its call of start_response"),
        (no_start_generator, "before its call of start_response"),
        (starts_twice, "start_response was called already"),
        (says("200", [("Connection", "close")]), "decides about the connection"),
        (says("200", [("Transfer-Encoding", "chunked")]), "decides about the connection"),
        (says("OK", []), "no status"),
        (says("100 Continue", []), "no status of a response"),
        (says(200, []), "status is a str"),
        (says("200 OK", [("a", 1)]), "str"),
        (says("200 OK", [(None, "")]), "str, not None"),
        (says("200 OK", [("a", "b\r\nc: d")]), "no value may have"),
        (says("200 OK", [("a b", "c")]), "cannot be the name"),
        (says("200 OK", [("a", "\u0100")]), "latin-1"),
        (says("200 OK", [("Content-Length", "x")]), "no length"),
        (says("200 OK", [("Content-Length", "2")]), "longer than its content-length"),
        (returns(["text"]), "bytes, not str"),
        (returns(["text", "text"]), "str"),
        (returns(lambda: iter(["text"])), "bytes, not str"),
        (returns(None), "None"),
    ],
)
def test_mistakes_of_applications(serving, application, message):
    with serving(application) as server:
        said = server.talk(GET)
    assert said.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert said.count(b"HTTP/1.1") == 1
    [(text, exception)] = server.complaints
    assert "GET /: the application raised an exception" in text
    assert message in str(exception)
    assert server.server.service.failures == 1


def test_response_that_is_too_short_is_cut_off(serving):
    with serving(says("200 OK", [("Content-Length", "10")])) as server:
        assert len(body_of(server.talk(GET))) < 10
    assert "6 bytes before" in str(server.complaints[0][1])


def test_error_in_close_is_told(serving):
    class Broken(Iterable):
        def close(self):
            raise ValueError("closing")

    with serving(returns(Broken([b"body"]))) as server:
        assert body_of(server.talk(LAST)) == b"body"
    [(text, exception)] = server.complaints
    assert "behind its response" in text
    assert str(exception) == "closing"


def test_client_that_goes_ends_the_iterable(serving):
    def endless():
        while True:
            yield b"x" * 10_000

    result = Iterable(endless())
    with serving(returns(result)) as server:
        with server.connect() as client:
            client.sendall(GET)
            assert client.recv(10)
        assert result.closed.wait(WAIT_S)
    assert server.complaints == []


def test_slow_client_holds_the_application_back(serving):
    made = []
    size, count = 100_000, 1000
    assert size * count > QUEUES_MAX

    def pieces():
        for number in range(count):
            made.append(number)
            yield b"x" * size

    with serving(returns(pieces())) as server, server.connect() as client:
        client.sendall(LAST)
        said = client.recv(1)
        [connection] = server.server.service.connections
        transport = connection.transport
        _, high = transport.get_write_buffer_limits()
        waiting = server.until(lambda: connection.writing_paused and transport.get_write_buffer_size())
        assert high < waiting < high + 3 * size  # one piece that goes over it, and one that was made meanwhile
        assert len(made) < count
        said += read_all(client)
    assert len(made) == count
    assert said.count(b"x") == size * count
    assert server.complaints == []


def test_requests_wait_for_threads(serving):
    """Two threads: of four requests two are at work; the others are answered when these are."""
    working, go = threading.Semaphore(0), threading.Semaphore(0)
    most, now, lock = [0], [0], threading.Lock()

    def application(environ, start_response):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        working.release()
        assert go.acquire(timeout=WAIT_S)
        with lock:
            now[0] -= 1
        start_response("200 OK", [])
        return [b"ok"]

    with serving(application, threads=2) as server:
        clients = [server.connect() for _ in range(4)]
        for client in clients:
            client.sendall(LAST)
        for _ in range(2):
            assert working.acquire(timeout=WAIT_S)
        assert now == [2]
        for _ in clients:
            go.release()
        for client in clients:
            assert body_of(read_all(client)) == b"ok"
            client.close()
    assert most == [2]


def test_limit_concurrency(serving):
    working, go = threading.Event(), threading.Event()

    def application(environ, start_response):
        working.set()
        assert go.wait(WAIT_S)
        return hello(environ, start_response)

    with serving(application, limit_concurrency=1) as server, server.connect() as client:
        client.sendall(LAST)
        assert working.wait(WAIT_S)
        assert server.talk(LAST).startswith(b"HTTP/1.1 503")
        go.set()
        assert read_all(client).startswith(b"HTTP/1.1 200")


def test_many_requests_at_once(serving):
    with serving(answering(lambda environ: environ["PATH_INFO"].encode())) as server:
        clients = [server.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            client.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % (number * 10 + n) for n in range(10)))
            client.sendall(LAST)
        for number, client in enumerate(clients):
            said = read_all(client)
            at = [said.index(b"\r\n\r\n/%d" % (number * 10 + n)) for n in range(10)]
            assert at == sorted(at)
            client.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_answer_does_not_wait_for_the_call_behind_it(serving, threads):
    """Requests that come together are run by one thread, which tells of their responses together; not for ever."""
    stalled, together, waits, go = (threading.Event() for _ in range(4))

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/waits":
            waits.set()
            assert go.wait(WAIT_S)
        return hello(environ, start_response)

    def stall():
        stalled.set()
        assert together.wait(WAIT_S)

    with serving(application, threads=threads) as server, server.connect() as first, server.connect() as second:
        for client in (first, second):
            client.sendall(GET)
            assert read_response(client)
        server.loop.call_soon_threadsafe(stall)
        assert stalled.wait(WAIT_S)
        first.sendall(LAST)
        second.sendall(LAST.replace(b" / ", b" /waits "))
        together.set()
        assert body_of(read_all(first)) == b"hello"
        assert waits.wait(WAIT_S)
        go.set()
        assert body_of(read_all(second)) == b"hello"


def test_answer_does_not_wait_for_close(serving):
    go = threading.Event()

    class Body:
        def __iter__(self):
            return iter([b"hello"])

        def close(self):
            assert go.wait(WAIT_S)

    def application(environ, start_response):
        start_response("200 OK", [])
        return Body()

    with serving(application, threads=1) as server, server.connect() as client:
        client.sendall(LAST)
        assert body_of(read_all(client)) == b"hello"
        go.set()


def test_stopping_waits_for_threads(serving):
    working, go = threading.Event(), threading.Event()

    def application(environ, start_response):
        working.set()
        assert go.wait(WAIT_S)
        return hello(environ, start_response)

    with serving(application) as server, server.connect() as client:
        client.sendall(GET)
        assert working.wait(WAIT_S)
        server.loop.call_soon_threadsafe(server.server.stop)
        server.loop.call_soon_threadsafe(go.set)
        assert body_of(read_all(client)) == b"hello"


@pytest.mark.parametrize("size", [0, 10, 300_000, 3_000_000])
def test_file_wrapper(serving, tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    opened = []

    def application(environ, start_response):
        opened.append(open(path, "rb"))  # noqa: SIM115
        opened[-1].seek(min(5, size))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](opened[-1])

    with serving(application) as server, server.connect() as client:
        client.sendall(GET.replace(b"GET", b"HEAD"))
        client.sendall(GET)
        client.sendall(LAST)
        said = read_all(client)
    want = path.read_bytes()[5:]
    assert said.startswith(b"HTTP/1.1 200")
    responses = said.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [body_of(each) for each in responses[1:]] == [want, want]
    assert responses[0].endswith(b"\r\n\r\n")
    if size > 65536:
        assert all(b"content-length: %d\r\n" % len(want) in each for each in responses)
    assert server.complaints == []
    assert [each.closed for each in opened] == [True] * 3


def test_file_wrapper_of_what_is_no_file(serving):
    def application(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 200_000), 1000)

    with serving(application) as server:
        assert body_of(server.talk(LAST)) == b"x" * 200_000
    assert server.complaints == []


def test_client_that_goes_while_a_file_is_sent(serving, tmp_path):
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    file = open(path, "rb")  # noqa: SIM115
    closed = threading.Event()

    class Wrapped:
        fileno, tell, seek = file.fileno, file.tell, file.seek
        read, readinto = file.read, file.readinto

        def close(self):
            closed.set()

    def application(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](Wrapped())

    with file, serving(application) as server:
        with server.connect() as client:
            client.sendall(GET)
            assert client.recv(10)
        assert closed.wait(WAIT_S)
        assert not file.closed
    assert server.complaints == []


def test_flask(serving):
    flask = pytest.importorskip("flask", reason="flask is not installed")
    app = flask.Flask(__name__)

    @app.route("/<name>", methods=["GET", "POST"])
    def index(name):
        return f"hello {name}, {flask.request.form.get('field')}"

    with serving(app) as server:
        assert body_of(server.talk(LAST.replace(b" / ", b" /caf%C3%A9 "))).decode() == "hello café, None"
        form = post(b"field=value", b"Content-Type: application/x-www-form-urlencoded\r\n").replace(b" / ", b" /you ")
        assert body_of(server.talk(form)) == b"hello you, value"
        assert server.talk(LAST).startswith(b"HTTP/1.1 404")
    assert server.complaints == []


@pytest.fixture(scope="module")
def django_application():
    django = pytest.importorskip("django", reason="django is not installed")
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import path

    def index(request):
        return HttpResponse(f"hello {request.GET.get('name')} {request.body.decode()}")

    def stream(request):
        return StreamingHttpResponse(b"%d " % number for number in range(5))

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"], SECRET_KEY="of a test", ROOT_URLCONF=(path("", index), path("s", stream))
        )
        django.setup()
    return get_wsgi_application()


def test_django(serving, django_application):
    with serving(django_application) as server:
        assert body_of(server.talk(LAST.replace(b" / ", b" /?name=you "))) == b"hello you "
        assert body_of(server.talk(post(b"body"))) == b"hello None body"
        assert body_of(server.talk(LAST.replace(b" / ", b" /s "))) == b"0 1 2 3 4 "
    assert server.complaints == []


def test_unix_socket_has_a_name(tmp_path):
    """Neither SERVER_NAME nor SERVER_PORT may be empty."""

    class Unix(Running):
        def connect(self):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(WAIT_S)
            client.connect(str(tmp_path / "s"))
            return client

        def listener(self):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            return listener

    names = answering(lambda environ: f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}".encode())
    with Unix(validator(names), ioring.Loop, kind="wsgi", threads=1) as server:
        assert body_of(server.talk(LAST)) == b"localhost:80"
    assert server.complaints == []


def test_number_of_threads():
    with pytest.raises(ConfigurationError, match="threads: -1 is negative"):
        Configuration(threads=-1)
