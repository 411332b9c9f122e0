"""What stands in for uvicorn while its tests run: its protocols, server and test client, with our server behind them.

uvicorn's tests of HTTP feed a protocol through a transport that is none, and turn a loop that is none. `Connected` has
the names that they use; behind it is a server in a thread, and a client's socket that is connected to it. An
application waits until a test turns the loop (`run_one`), as it would there, so that what a test does before that does
come before.
"""

import asyncio
import collections
import contextlib
import functools
import queue
import re
import socket
import time

import httpx

from http_servers import WAIT_S, Running, end_of_response
from ioring.http.app_loader import asgi3, interface_of, load
from ioring.http.configuration import Configuration
from ioring.http.server import Server

GRACE_S = 0.2
"""After so long without an end a connection counts as open, when the server's loop has turned meanwhile."""

STOP_GRACE_S = 4.0
"""The same while the server stops: it waits for what may be on its way already."""

TURNS = 3

make_loop = None
"""Makes a loop of the kind in question."""

SCALE = 2
"""So many times as fast a connection without requests is closed."""

TICK_S = 0.6
"""How exactly it is, and a little more."""

made = []
"""The connections of the test that runs."""

ran = collections.Counter()
"""How many servers a test has had, so that one that has none is no proof."""

SAME = {
    "root_path": "root_path",
    "limit_concurrency": "limit_concurrency",
    "limit_max_requests": "limit_max_requests",
    "timeout_keep_alive": "timeout_keep_alive",
    "server_header": "server_header",
    "date_header": "date_header",
    "ws_max_size": "ws_max_size",
    "ws_ping_interval": "ws_ping_interval",
    "ws_ping_timeout": "ws_ping_timeout",
    "ws_per_message_deflate": "ws_deflate",
    "ssl_keyfile": "ssl_keyfile",
    "ssl_certfile": "ssl_certfile",
    "ssl_keyfile_password": "ssl_keyfile_password",
    "ssl_ca_certs": "ssl_ca_certs",
    "h11_max_incomplete_event_size": "limit_head",
    "lifespan": "lifespan",
}
"""uvicorn's options, by our names."""

IGNORED = {"log_config", "access_log", "log_level", "ws", "http", "loop", "port", "app"}
"""Options about logging and implementations, of which there are none here."""


def options_of(given):
    """Our options for uvicorn's; None is no limit there. A test with another option has to be left out."""
    options = {}
    for name, value in given.items():
        if name not in IGNORED:
            options[SAME[name]] = 0 if value is None else value
    return options


# A protocol with a transport.


class Connected:
    """In the place of a protocol that is connected to a transport; parameters of the tests' own function."""

    def __init__(self, app, http_protocol_cls, lifespan=None, **options):
        made.append(self)
        ran["servers"] += 1
        self.lifespan = lifespan
        self.app = asgi3(app) if interface_of(app) == "asgi" else app
        self.may_run = asyncio.Semaphore(0)
        self.ended = queue.SimpleQueue()
        self.untold = False  # something was sent, and nobody has waited for what comes of it
        options = {"limit_head": 0, "timeout_keep_alive": 5, **options_of(options)}
        options["timeout_keep_alive"] /= SCALE
        options["lifespan"] = "off" if lifespan is None else "on"
        self.server = Running(self.application, make_loop, **options)
        self.server.__enter__()
        self.transport = Transport(self)
        self.loop = self

    async def application(self, scope, receive, send):
        if scope["type"] == "lifespan":
            scope["state"].update(self.lifespan.state)
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return None
        self.scope = scope
        await self.may_run.acquire()
        try:
            return await self.app(scope, receive, send)
        finally:
            self.ended.put(None)

    # The protocol.

    def data_received(self, data):
        self.transport.send(data)
        self.untold = True

    def eof_received(self):
        with contextlib.suppress(OSError):
            self.transport.socket.shutdown(socket.SHUT_WR)

    def connection_lost(self, exception):
        self.transport.socket.close()
        self.transport.ended = self.transport.left = True

    def shutdown(self):
        if self.untold:  # what the server has not read is no request yet
            deadline = time.monotonic() + WAIT_S
            while not self.server.server.service.active:
                assert time.monotonic() < deadline
                time.sleep(0.001)
        self.transport.patience_s = STOP_GRACE_S
        self.server.loop.call_soon_threadsafe(self.server.server.stop)

    # The loop.

    async def run_one(self):
        """Lets one call of the application run, and takes its response."""
        self.untold = False
        self.server.loop.call_soon_threadsafe(self.may_run.release)
        deadline = time.monotonic() + WAIT_S
        while (
            self.transport.left or not self.transport.ended
        ):  # else the server has refused what came, and nothing runs
            try:
                self.ended.get(timeout=0.05)
                break
            except queue.Empty:
                assert time.monotonic() < deadline, "nothing ran"
                self.transport.receive(0.0)
        self.transport.take_one()

    def run_later(self, with_delay):
        time.sleep(max(0.0, self.transport.answered + with_delay / SCALE + TICK_S - time.monotonic()))

    def turn(self):
        """The server has seen all that had happened to it before."""
        for _ in range(TURNS):
            with contextlib.suppress(RuntimeError):  # it has stopped, and its loop is closed
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.server.loop).result(WAIT_S)

    def close(self):
        for _ in range(10):
            with contextlib.suppress(RuntimeError):
                self.server.loop.call_soon_threadsafe(self.may_run.release)
        self.transport.socket.close()
        self.server.__exit__()


class Transport:
    """The client's side; shows what came, one response for each turn of the loop."""

    def __init__(self, protocol):
        self.protocol = protocol
        self.patience_s = GRACE_S
        self.socket = protocol.server.connect()
        self.received, self.shown = b"", b""
        self.heads = collections.deque()  # for each request whether it asks for a head alone
        self.ended = False
        self.left = False  # the client has closed it
        self.answered = time.monotonic()

    def send(self, data):
        self.heads.extend(match[1] == b"HEAD" for match in re.finditer(rb"(?:^|\n)([A-Z]+) \S+ HTTP/1\.", data))
        try:
            self.socket.sendall(data)
        except OSError:  # the server has had enough; what it said before can still be read
            pass

    def receive(self, timeout_s):
        """Takes what is there; False when nothing came in that time or will come any more."""
        if self.ended:
            return False
        self.socket.settimeout(timeout_s)
        try:
            part = self.socket.recv(1 << 16)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError:
            part = b""
        self.received += part
        self.ended = not part
        return bool(part)

    def take_one(self):
        """Shows one response more, and waits for it; less when the connection ends."""
        deadline = time.monotonic() + WAIT_S
        head = self.heads.popleft() if self.heads else False
        while (end := end_of_response(self.received, head)) is None and not self.ended:
            self.receive(max(0.0, deadline - time.monotonic()))
            assert time.monotonic() < deadline, f"no response, but {self.received!r}"
        end = len(self.received) if end is None else end
        self.shown += self.received[:end]
        self.received = self.received[end:]
        self.answered = time.monotonic()

    @property
    def buffer(self):
        if self.protocol.untold:
            self.protocol.untold = False
            self.take_one()
        return self.shown

    def clear_buffer(self):
        self.shown = b""

    def is_closing(self):
        self.protocol.turn()
        deadline = time.monotonic() + self.patience_s
        while not self.ended and (left := deadline - time.monotonic()) > 0:
            self.receive(left)
        return self.ended


# A server in the test's own loop.


class Served:
    """In the place of uvicorn's Server, in the loop of the test, with which the application may share objects."""

    def __init__(self, app, port, **options):
        self.configuration = Configuration(target=app, **options)
        self.port = port
        self.task = None

    async def start(self):
        ran["servers"] += 1
        self.server = Server(self.configuration, load(self.configuration))
        assert isinstance(asyncio.get_running_loop(), getattr(make_loop, "func", make_loop))
        await self.server.start([socket.create_server(("127.0.0.1", self.port), backlog=128)])
        self.task = asyncio.create_task(self.server.serve())

    async def shutdown(self):
        if not self.task.done():
            self.server.stop()
        await self.task


@contextlib.asynccontextmanager
async def run_server(config, sockets=None):
    """In the place of the tests' own function. The options are those that the test has given (`keep_options`)."""
    server = Served(without_empty_reasons(config.given["app"]), config.port, **options_of(config.given))
    await server.start()
    try:
        yield server
    finally:
        await server.shutdown()


def without_empty_reasons(app):
    """The application, told of connections that ended without a close frame as uvicorn tells it: ASGI leaves both."""
    if interface_of(app) != "asgi":
        return app
    app = asgi3(app)

    async def application(scope, receive, send):
        async def told():
            message = await receive()
            if message["type"] == "websocket.disconnect" and message["code"] in (1006, 1012) and not message["reason"]:
                del message["reason"]
            return message

        await app(scope, told if scope["type"] == "websocket" else receive, send)

    return application


def keep_options(kind):
    """Makes uvicorn's Config remember what it was given, without its defaults."""
    begin = kind.__init__

    @functools.wraps(begin)
    def __init__(self, app, **options):
        self.given = {"app": app, **options}
        begin(self, app, **options)

    kind.__init__ = __init__


# A proxy in front.

PORT = 123
"""The tests' client has this port; ours has one that the kernel chose, which is shown as this."""


@contextlib.asynccontextmanager
async def proxied_client(app, trusted_hosts, client=("127.0.0.1", PORT)):
    """In the place of the tests' function: a client of a server that trusts such proxies."""
    assert client == ("127.0.0.1", PORT)
    trusted = trusted_hosts if isinstance(trusted_hosts, str) else ",".join(trusted_hosts)

    async def with_port(scope, receive, send):
        if scope["client"] == peer:
            scope["client"] = client
        await app(scope, receive, send)

    with contextlib.closing(socket.socket()) as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    server = Served(with_port, port, lifespan="off", forwarded_allow_ips=trusted)
    await server.start()
    peer = None

    async def connected(event, info):
        nonlocal peer
        if event == "connection.connect_tcp.complete":
            peer = info["return_value"].get_extra_info("socket").getsockname()

    async def traced(request):
        request.extensions["trace"] = connected

    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, event_hooks={"request": [traced]}
        ) as session:
            yield session
    finally:
        await server.shutdown()
