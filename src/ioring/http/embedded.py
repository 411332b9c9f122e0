"""A server inside of a program: on a loop that runs already, or in a thread of its own.

`ioring.http.server` serves; here is what a program needs around it: sockets, a beginning, an end. Signals are the
program's concern.
"""

import asyncio
import contextlib
import socket
import threading
from types import TracebackType
from typing import Self, Unpack

import ioring
from ioring.http.app_loader import load
from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError
from ioring.http.forwarded import Proxies
from ioring.http.listeners import close_listeners, listeners_of, url_of
from ioring.http.logs import log_of
from ioring.http.options import Options
from ioring.http.server import Server as LoopServer
from ioring.loop.runners import new_event_loop
from ioring.ring.errors import RingUnavailable

PROCESSES = ("reload", "worker_timeout", "worker_lifetime", "preload")
PROGRAMS = ("user", "group", "umask", "chdir", "pidfile")
"""Options that are the program's own concern here."""


class Server:
    """An HTTP server as a part of a program. It serves once, in this process.

    On a running loop, any asyncio loop, as an asynchronous context manager or by `serve`:

        async with ioring.Server(app, port=0) as server:
            print(server.url)

    In a thread of its own, on a loop of its own, as a context manager:

        with ioring.Server(app, port=0) as server:
            print(server.url)

    Signals are not handled: `stop` ends it. Leaving a context ends it, too: its requests are answered first, or cut off
    when an exception leaves.

    Parameters:
        target: an ASGI or a WSGI application, its name as ``"module:name"``, or a folder's path; ``None``: a page
            about the server.
        options: those of ``ioring.serve``, but for several processes.

    Raises:
        ConfigurationError: an option is none, or is for several processes.
    """

    def __init__(self, target: object = None, **options: Unpack[Options]) -> None:
        self.configuration = Configuration.of_program(target, options)
        if self.configuration.workers != 1:
            raise ConfigurationError("workers: a Server is in one process; ioring.serve() has several")
        for name in PROCESSES:
            if getattr(self.configuration, name):
                raise ConfigurationError(f"{name}: a Server does not restart its process; ioring.serve() does")
        for name in PROGRAMS:
            if getattr(self.configuration, name):
                raise ConfigurationError(f"{name}: is for the program to do, not for a Server in it")
        self._listeners: list[socket.socket] = []
        self._urls: list[str] = []
        self._port: int | None = None
        self._server: LoopServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._began = False
        self._stops = 0
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    # What is served where.

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets; none before it has started and when it has ended."""
        return tuple(self._listeners)

    @property
    def port(self) -> int:
        """The TCP port that it listens on: with ``port=0`` the one that was free.

        Raises:
            RuntimeError: it has not started, or listens on a Unix socket.
        """
        if self._port is None:
            raise RuntimeError("the server has no port: it has not started, or listens on a Unix socket")
        return self._port

    @property
    def url(self) -> str:
        """How a client calls it, such as ``http://127.0.0.1:8000``.

        Raises:
            RuntimeError: it has not started.
        """
        if not self._urls:
            raise RuntimeError("the server has no URL: it has not started")
        return self._urls[0]

    # On a loop.

    async def start(self) -> None:
        """Returns when the application has started and connections are accepted.

        Raises:
            ConfigurationError: it is not possible.
            RuntimeError: it was started before.
        """
        if self._began:
            raise RuntimeError("a Server serves once: make another")
        self._began = True
        configuration = self.configuration
        application = load(configuration)
        listeners = listeners_of(configuration)
        log = None
        try:
            log = log_of(configuration, Proxies.of(configuration))
            server = LoopServer(configuration, application, log)
            try:
                await server.start(listeners[0])
            except BaseException:
                server.close()
                raise
            for listener in listeners[0]:
                self._urls.append(url_of(listener, "http" if server.tls is None else "https"))
                if listener.family != socket.AF_UNIX and self._port is None:
                    self._port = listener.getsockname()[1]
        except BaseException:
            close_listeners(listeners)
            if log is not None:
                log.close()
            raise
        self._listeners = listeners[0]
        for url in self._urls:
            server.log.info(f"serves {application.name} on {url} (ioring {ioring.__version__})")
        loop = asyncio.get_running_loop()
        self._serving = loop.create_task(self._serve(server), name="ioring.Server")
        with self._lock:
            self._loop, self._server = loop, server
            stops = self._stops
        for _ in range(min(stops, 2)):
            server.stop()

    async def _serve(self, server: LoopServer) -> None:
        try:
            await server.serve()
        finally:
            listeners, self._listeners = self._listeners, []
            close_listeners([listeners])
            server.log.close()

    async def serve(self) -> None:
        """Serves until `stop` is called, and returns when that is done. Starts, if that was not done already.

        When the task that waits here is cancelled, the server ends at once.

        Raises: as `start`.
        """
        if self._serving is None:
            await self.start()
        assert self._serving is not None
        try:
            await asyncio.shield(self._serving)
        except asyncio.CancelledError:
            await self._end_at_once()
            raise

    async def _end_at_once(self) -> None:
        if self._serving is not None and self._server is not None:
            while not self._serving.done():
                self._server.stop()
                self._server.stop()
                await asyncio.wait([self._serving])

    def stop(self) -> None:
        """Begins to stop: nothing is accepted any more, and requests are answered. A second call cuts them off.

        May be called in any thread, at any time.
        """
        with self._lock:
            self._stops += 1
            loop, server = self._loop, self._server
        if loop is not None and server is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
                loop.call_soon_threadsafe(self._stop_soon, server)

    def _stop_soon(self, server: LoopServer) -> None:
        if self._serving is not None and not self._serving.done():
            server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            await self._end_at_once()
        else:
            self.stop()
        await self.serve()

    # In a thread.

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="ioring.Server")
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        self.stop()
        if error is not None:
            self.stop()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._make_loop) as runner:
                runner.run(self._main())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        await self.start()
        self._ready.set()
        await self.serve()

    def _make_loop(self) -> asyncio.AbstractEventLoop:
        try:
            return new_event_loop()
        except RingUnavailable:
            if self.configuration.fallback != "asyncio":
                raise
            return asyncio.SelectorEventLoop()

    def __repr__(self) -> str:
        where = self._urls[0] if self._urls else "not started"
        return f"<ioring.Server of {self.configuration.target!r}, {where}>"
