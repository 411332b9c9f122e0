"""A server in this process: listens, serves, and stops without dropping what it has begun."""

import asyncio
import contextlib
import functools
import ipaddress
import math
import os
import random
import socket
import ssl
import sys
import weakref
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ioring.http._asgi import tasks_of
from ioring.http._connection import Connection
from ioring.http._exchange import Exchange
from ioring.http._mounts import Mounts
from ioring.http._service import Service
from ioring.http.acceptor import Acceptor, take
from ioring.http.access_format import is_timed
from ioring.http.app_loader import Application
from ioring.http.asgi_types import Address, Scope
from ioring.http.configuration import Configuration, seconds
from ioring.http.extra_headers import pairs_of
from ioring.http.forwarded import Proxies
from ioring.http.lifespan import Lifespan
from ioring.http.log import Log
from ioring.http.notices import HOW_TO_END, told_later, what_is_left
from ioring.http.probes import probes_of
from ioring.http.proxy_protocol import HeaderReader, Origin, connection_of
from ioring.http.repetitions import Repetitions
from ioring.http.scoreboard import Statistics, resident
from ioring.http.sendfile import send_path
from ioring.http.startpage import StartPage
from ioring.http.static import Files, files_of, mounts_of
from ioring.http.tls_context import context_of, renew
from ioring.http.wsgi_threads import ThreadGateway, Threads

TICK_S = 0.5  # how exact time-outs are, unless they are shorter themselves
HANDSHAKE_GRACE_S = 1.0
"""How long a stopping server waits for TLS handshakes."""

NEVER_S = 1e9
"""A time-out that is none, where loops want one."""

TOLD_GRACE_S = 0.1
"""How long an application whose client was disconnected has to notice it before it is cancelled."""

CANCELLED_GRACE_S = 1.0
"""How long an application has to end when it is cancelled."""

SHOWN_MAX = 1000
"""Bytes of a request's target that are shown in the server's own lines, at most."""

MEMORY_AGAIN_S = 30.0
"""A worker that has too much memory asks this often to be replaced: a replacement may have failed to start."""

LEAVING_TURNS = 100
"""Turns of the loop that a stopping server waits at most for connections that were just accepted; it takes a few."""


class Server:
    """Serves one application on the running loop.

    Parameters:
        configuration: a ``Configuration``.
        application: what ``load`` gave for it.
        log: a ``Log``; without one, requests are not logged.
        statistics, row: the ``Statistics`` of all workers, and the row in it that is this server's.
        tls: what was read of the certificates already.
    """

    def __init__(
        self,
        configuration: Configuration,
        application: Application,
        log: Log | None = None,
        statistics: Statistics | None = None,
        row: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.configuration = configuration
        self.application = application
        self.log = log or Log(configuration.log_format, configuration.log_level)
        self.repetitions = Repetitions(lambda line: self._log(line, None))
        self.accesses = log.accesses if log is not None and configuration.access_log else None
        self.own_statistics = statistics is None
        self.statistics = Statistics() if statistics is None else statistics
        self.row = self.statistics.take(0) if statistics is None else row
        self.tls = tls or context_of(configuration)
        self.handshake_timeout = configuration.timeout_handshake or NEVER_S
        self.service: ServerService
        self.listeners: list[socket.socket] = []
        self._made: weakref.WeakSet[Connection] = weakref.WeakSet()  # also those in a TLS handshake
        self._servers: list[asyncio.Server | Acceptor] = []
        self._threads: Threads | None = None
        self._stop: asyncio.Event
        self._ticking: asyncio.TimerHandle
        self._lifespan: Lifespan | None = None
        self._files: list[Files] = []
        self._forced = False
        self._started = False
        self.drain_s = configuration.drain
        self.draining = False
        self._drain_end: asyncio.TimerHandle | None = None
        self.on_exhausted: Callable[[str], None] | None = None  # what to do at a limit of its life; None: stop
        self._memory_at = 0.0  # when its memory is looked at again

    async def start(self, listeners: Sequence[socket.socket]) -> None:
        """Starts the application and accepts connections on the listening sockets."""
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        configuration = self.configuration
        application = self.application
        service = self.service = self._make_service(loop)
        self._started = True
        if application.kind == "asgi" and configuration.lifespan != "off":
            self._lifespan = Lifespan(application.subject, configuration.lifespan == "on", self._log)
            with told_later(self._tell_starting):
                await self._lifespan.startup()
            self.log.debug("the application has started")
            service.state = self._lifespan.state
        for listener in listeners:
            self._servers.append(await self._accepts(loop, listener))
            self.listeners.append(listener)
        self._tick()

    async def listen_also(self, listeners: Sequence[socket.socket]) -> None:
        """Accepts connections on more sockets, which others may have, too."""
        loop = asyncio.get_running_loop()
        for listener in listeners:
            listener.setblocking(False)
            if self._stop.is_set():
                listener.close()
                continue
            server = await self._accepts(loop, listener)
            if self._stop.is_set():  # it has left the others already
                server.close()
            else:
                self._servers.append(server)
                self.listeners.append(listener)

    async def _accepts(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> asyncio.Server | Acceptor:
        factory: Callable[[], Any] = functools.partial(self._connection, address_of_all(listener))
        backlog = self.configuration.backlog
        if isinstance(loop, asyncio.SelectorEventLoop) or self.configuration.proxy_protocol:
            return Acceptor(loop, self._beginner(loop, factory), listener, backlog)
        timeout = None if self.tls is None else self.handshake_timeout
        return await loop.create_server(
            factory, sock=listener, backlog=backlog, ssl=self.tls, ssl_handshake_timeout=timeout
        )

    def _beginner(
        self, loop: asyncio.AbstractEventLoop, factory: Callable[..., Any]
    ) -> Callable[[socket.socket], Coroutine[None, None, None]]:
        """What begins with a connection that was accepted here."""
        if not self.configuration.proxy_protocol:
            return functools.partial(take, loop, factory, self.tls, self.handshake_timeout)

        async def begin(accepted: socket.socket, origin: Origin | None) -> None:
            await take(loop, lambda: factory(origin=origin), self.tls, self.handshake_timeout, accepted)

        def complain(peer: Address, message: str) -> None:
            self.complain(f"{peer[0]}:{peer[1]} " if peer else "", message, None)

        timeout = self.configuration.timeout_head or NEVER_S
        return HeaderReader(loop, begin, self.service.trusts, timeout, complain).take

    def _connection(self, address: Address = None, origin: Origin | None = None) -> Connection:
        connection = connection_of(self.service, address, origin)
        if self.tls is not None:
            self._made.add(connection)
        return connection

    def _make_service(self, loop: asyncio.AbstractEventLoop) -> "ServerService":
        configuration = self.configuration
        asgi = self.application.kind == "asgi"
        subject = self.application.subject
        self._files, mounts = mounts_of(configuration)
        if self.application.kind == "page":
            subject = StartPage(self.statistics, self.publish)
        elif self.application.kind == "folder":
            files = files_of(subject, configuration)
            self._files.append(files)
            subject = files.answers
        elif self.application.kind == "wsgi":
            several = configuration.workers > 1
            self._threads = Threads(subject, configuration.threads, loop, configuration.root_path, several)
            subject = self._threads.gateway.begin
        if configuration.metrics:
            from ioring.http.prometheus import with_metrics  # few servers show them, and the library takes memory

            subject = with_metrics(subject, asgi, configuration.metrics.encode(), self._exposition)
        service = ServerService(self, subject, loop, asgi, mounts, Proxies.of(configuration))
        exact = configuration.log_format == "json" or configuration.log_config
        service.timed = self.accesses is not None and bool(exact or is_timed(configuration.access_log_format))
        self.log.loop = loop
        if configuration.limit_max_requests:
            service.requests_max = configuration.limit_max_requests
            service.requests_max += random.randint(0, configuration.limit_max_requests_jitter)
        service.probes = probes_of(configuration, lambda: self.draining or self._stop.is_set())
        service.root_path = configuration.root_path
        service.pathsend = configuration.pathsend
        service.head_max = configuration.limit_head or sys.maxsize
        service.body_max = configuration.limit_body
        service.concurrency_max = configuration.limit_concurrency
        service.head_timeout = seconds(configuration.timeout_head)
        service.body_timeout = seconds(configuration.timeout_body)
        service.idle_timeout = seconds(configuration.timeout_keep_alive)
        service.write_timeout = seconds(configuration.timeout_write)
        service.server_header = configuration.server_header
        service.date_header = configuration.date_header
        service.headers_max = configuration.limit_headers or sys.maxsize
        service.connections_max = configuration.limit_connections
        service.add_to_responses(pairs_of(configuration.header))
        service.set_date()
        return service

    def _tick(self) -> None:
        service = self.service
        service.tick()
        self.repetitions.tick(service.now)
        self.publish()
        if self.configuration.limit_max_memory:
            self._look_at_memory(service.now)
        shortest = min(service.head_timeout, service.body_timeout, service.idle_timeout, service.write_timeout)
        interval = min(TICK_S, shortest / 4)
        service.due = asyncio.get_running_loop().time() + interval
        self._ticking = asyncio.get_running_loop().call_at(service.due, self._tick)

    @property
    def gateway(self) -> ThreadGateway:
        """Of a WSGI application."""
        assert self._threads is not None
        return self._threads.gateway

    def publish(self) -> None:
        """Writes what was done so far where other workers see it."""
        self.statistics.publish(self.row, self.service)

    def _exposition(self) -> bytes:
        from ioring.http.prometheus import exposition

        self.publish()
        return exposition(self.statistics)

    def exhausted(self) -> None:
        """There were as many requests as one worker is to have."""
        if self.on_exhausted is not None:
            self._has_done("it has worked on its number of requests")
        else:
            self._has_done(f"{self.service.requests_max} requests were worked on (limit_max_requests)")

    def _look_at_memory(self, now: float) -> None:
        memory, limit = resident(), self.configuration.limit_max_memory
        if memory > limit and now >= self._memory_at:
            self._memory_at = now + MEMORY_AGAIN_S
            self._has_done(f"it has {memory >> 20} MiB of memory, more than {limit >> 20} (limit_max_memory)")

    def expires(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on it has the time of `worker_lifetime`."""
        configuration = self.configuration
        lifetime = configuration.worker_lifetime + random.uniform(0, configuration.worker_lifetime_jitter)
        loop.call_later(lifetime, self._expired, loop)

    def _expired(self, loop: asyncio.AbstractEventLoop) -> None:
        self._has_done("its time is over (worker_lifetime)")
        self.expires(loop)  # until another has replaced it

    def _has_done(self, why: str) -> None:
        """This process is to be replaced, or else to end."""
        if self.on_exhausted is not None:
            self.on_exhausted(why)
        elif not self._stop.is_set() and not self.draining:
            self.log.info(f"stops: {why}")
            self.stop()

    def reload(self) -> None:
        """Reads the certificates again."""
        if self.tls is None:
            self.log.info("SIGHUP: there is nothing to be read again")
            return
        renew(self.tls, self.configuration, self.log)

    def stop(self) -> None:
        """Begins to stop, after the time of `drain`; a second call does not wait for that, or for requests."""
        if self.drain_s and not self.draining:
            self.draining = True
            self._drain_end = asyncio.get_running_loop().call_later(self.drain_s, self._stop.set)
            self.log.info(f"drains: it stops in {self.drain_s:g} s, and is not ready any more")
            return
        if self._drain_end is not None:
            self._drain_end.cancel()
        self._forced = self._stop.is_set()
        self._stop.set()
        if self._forced:
            for connection in list(self.service.connections):
                connection.abandon()
            if self._threads is not None:
                self._threads.abandon()

    async def serve(self) -> None:
        """Returns when the server was told to stop and has."""
        if self._lifespan is not None and self._lifespan.note is not None:
            self.log.info(self._lifespan.note)
        await self._stop.wait()
        service = self.service
        await self._leave()
        service.stopping = True
        for connection in list(service.connections):
            connection.stop()
        handshakes = asyncio.get_running_loop().time() + HANDSHAKE_GRACE_S
        deadline = asyncio.get_running_loop().time() + seconds(self.configuration.timeout_graceful_shutdown)
        with told_later(self._tell_stopping):
            await self._wait_for_requests(handshakes, deadline)
            await self._end_tasks()
            if self._threads is not None:
                left = max(deadline - asyncio.get_running_loop().time(), 0.1)
                if not await self._threads.close(None if math.isinf(left) else left):
                    self._log("some threads are left behind: the application took too long", None)
        self._ticking.cancel()
        for files in self._files:
            files.close()
        if self._lifespan is not None:
            with told_later(lambda: self._tell_waiting("the application's shutdown (its lifespan)")):
                await self._shut_down(self._lifespan)
            self.log.debug("the application has shut down")
        for server in self._servers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), 5)

        self.close()

    async def _wait_for_requests(self, handshakes: float, deadline: float) -> None:
        service = self.service
        while not self._forced:
            if (
                not service.connections
                and (len(self._made) == 0 or asyncio.get_running_loop().time() > handshakes)
                and not tasks_of(service)
            ):
                break
            if asyncio.get_running_loop().time() > deadline:
                if service.connections:
                    self._log(f"{len(service.connections)} connections are cut off: they took too long", None)
                for connection in list(service.connections):
                    connection.abandon()
                break
            await asyncio.sleep(0.02)

    async def _end_tasks(self) -> None:
        """Applications that still work on requests end before what they use is put away."""
        tasks = set(tasks_of(self.service))
        tasks |= {each.task for each in self.service.connections if getattr(each, "task", None)}  # of WebSockets
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=TOLD_GRACE_S)
        if tasks:
            if not self._forced:
                self._log(f"the application took too long for {len(tasks)} requests: they are cancelled", None)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CANCELLED_GRACE_S)

    def close(self) -> None:
        """What is told leaves; nothing more is counted."""
        self.repetitions.close()
        self.log.flush()
        if self._started:
            self.publish()
        if self.own_statistics:
            self.statistics.close()

    async def _leave(self) -> None:
        """Accepts no more and closes the listening sockets; what the kernel has accepted for them is served still."""
        loop = asyncio.get_running_loop()
        for _ in range(LEAVING_TURNS):
            left = [self._has_left(loop, *each) for each in zip(self._servers, self.listeners, strict=True)]
            if all(left):  # each of them was asked
                break
            await asyncio.sleep(0)
        # The kernel wakes one of those that wait for a connection, and that may have been this server in the moment
        # in which it did not wait any more: nobody else knows of what is in the queue now. The sockets are closed
        # before these connections begin: what came to a queue meanwhile would be reset.
        late = []
        begin = self._beginner(loop, self._connection)
        for listener in self.listeners:
            for _ in range(self.configuration.backlog + 1):  # so many the kernel keeps
                try:
                    accepted, _ = listener.accept()
                except ConnectionAbortedError:
                    continue
                except OSError:
                    break
                late.append(asyncio.ensure_future(begin(accepted)))
        for server in self._servers:
            server.close()
        if late:
            await asyncio.wait(late, timeout=HANDSHAKE_GRACE_S)

    def _has_left(
        self, loop: asyncio.AbstractEventLoop, server: asyncio.Server | Acceptor, listener: socket.socket
    ) -> bool:
        """Has a listening socket accept no more. Whether it does not, and each connection of it is known here."""
        if isinstance(server, Acceptor):
            return server.leave()
        leave: Callable[[socket.socket], bool] | None = getattr(loop, "_leave_serving", None)
        return leave is not None and leave(listener)  # other loops do not tell: they are given all the turns

    async def _shut_down(self, lifespan: Lifespan) -> None:
        """The application puts everything away; a second stop() does not wait for that either."""
        task = asyncio.ensure_future(lifespan.shutdown())
        while not task.done():
            await asyncio.wait([task], timeout=0.1)
            if self._forced:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                return
        task.result()

    # What is to be told.

    def _tell_waiting(self, what: str) -> None:
        """One of several says which it is; of what ends them all the supervisor tells."""
        if self.on_exhausted is not None:
            self.log.info(f"process {os.getpid()} waits for {what}")
        else:
            self.log.info(f"waits for {what}; {HOW_TO_END if self._stop.is_set() else 'Ctrl-C or SIGTERM ends it'}")

    def _tell_starting(self) -> None:
        if self.on_exhausted is None:  # else the supervisor says so, once for all
            self._tell_waiting("the application's start-up (its lifespan)")

    def _tell_stopping(self) -> None:
        service = self.service
        left = what_is_left(service.active, len(service.connections), len(tasks_of(service)))
        limit = self.configuration.timeout_graceful_shutdown
        if left and not self._forced:
            self._tell_waiting(left + (f", for {limit:g} s at most" if limit else ""))

    def complain(self, where: str, message: str, exception: BaseException | None) -> None:
        """Tells what a client has brought about, unless it was told often just now."""
        if self.repetitions.count(message, exception, self.service.loop.time()):
            self._log(f"{where}{message}", exception)

    def _log(self, message: str, exception: BaseException | None) -> None:
        if exception is None:
            self.log.warning(message)
        else:
            self.log.error(message, exception)


class ServerService(Service):
    """What the connections of a Server need."""

    def __init__(
        self,
        server: Server,
        application: Callable[..., Any],
        loop: asyncio.AbstractEventLoop,
        asgi: bool,
        mounts: Mounts | None,
        proxies: Proxies,
    ) -> None:
        self._server = server
        self._mounts = mounts
        self._proxies = proxies
        if proxies:
            server.log.proxies = proxies
        super().__init__(application, loop, asgi=asgi)
        self.websockets = asgi or server.application.kind == "wsgi"

    def access_log(self) -> Callable[[Exchange], object] | None:
        return self._server.accesses

    def mount_finder(self) -> Mounts | None:
        return self._mounts

    def forwarding(self) -> Callable[[Scope], object] | None:
        return self._proxies.apply if self._proxies else None

    def trusts(self, client: Address) -> bool:
        return self._proxies.trusts(client)

    def open_websocket(self, connection: Connection, exchange: Any, rest: bytes) -> None:
        if not self.asgi:
            from ioring.http.wsgi_sockets import HandedSocket

            HandedSocket(connection, exchange, rest, self._server.gateway)
            return
        # What speaks with WebSockets is loaded for the first of them: most servers never need it.
        from ioring.http.websocket import WebSocket

        WebSocket(connection, exchange, rest, self._server.configuration)

    def send_file(self, exchange: Exchange, path: str) -> asyncio.Future[None]:
        return send_path(exchange, path)

    def exhausted(self) -> None:
        self._server.exhausted()

    def trouble(self, who: Any, message: str, exception: BaseException | None) -> None:
        connection = getattr(who, "connection", who)
        client = getattr(who if connection is None else connection, "client", None)
        where = f"{client[0]}:{client[1]} " if client else ""
        request = f"{who.method} {who.target[:SHOWN_MAX].decode('latin-1')}: " if hasattr(who, "target") else ""
        self._server.complain(where + request, message, exception)


def address_of_all(listener: socket.socket) -> Address:
    """The address that all connections of a listening socket have on this side; None when they have several."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port, *_ = listener.getsockname()
    return None if ipaddress.ip_address(host.partition("%")[0]).is_unspecified else (host, port)
