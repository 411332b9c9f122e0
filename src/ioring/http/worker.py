"""A server with the process for itself: its loop, its signals, and its word with a supervisor."""

import asyncio
import contextlib
import errno
import faulthandler
import json
import os
import signal
import socket
import ssl
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from ioring.http.app_loader import Application
from ioring.http.configuration import Configuration
from ioring.http.log import Log
from ioring.http.open_file_cache import given_up
from ioring.http.scoreboard import Statistics
from ioring.http.server import Server
from ioring.loop.accept_pause import CANNOT_ACCEPT
from ioring.loop.runners import new_event_loop
from ioring.ring.errors import RingUnavailable

STOPPING = (signal.SIGINT, signal.SIGTERM)

QUIET_S = 1.0
"""For this long the same message is not logged again."""

DRAINS, LISTENS = b"d", b"l"
"""All that a supervisor ever says to a worker; behind the second there are listening sockets."""

DESCRIPTORS_MAX = 253  # SCM_MAX_FD

BEAT_S = 1.0
"""A worker shows at least this often that its loop turns, when `worker_timeout` is set; see beat_interval()."""


class Worker:
    """Serves until a signal ends it.

    SIGTERM and SIGINT stop it when its requests are done, a second one stops it at once, and a third one does what the
    signal does to any process, in case that the application keeps the loop from turning. With `drain` there is one more
    before, which begins to drain. SIGHUP reads certificates again. Under a supervisor only SIGTERM counts: Ctrl-C
    reaches all processes of a terminal, and the supervisor passes it on.

    Parameters:
        configuration, application, listeners: what to serve and where.
        log: a ``Log``.
        statistics, row: where to count.
        banner: called when it serves.
        channel: a socket to the supervisor, or None. Lines of JSON go there; its end means that there is no
            supervisor any more.
        tls: what was read of the certificates already.
    """

    def __init__(
        self,
        configuration: Configuration,
        application: Application,
        listeners: Sequence[socket.socket],
        log: Log,
        statistics: Statistics,
        row: int | None,
        banner: Callable[[], None] | None = None,
        channel: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.configuration = configuration
        self.listeners = listeners
        self.log = log
        self.banner = banner
        self.channel = channel
        self.statistics = statistics
        self.row = row
        self.server = Server(configuration, application, log, statistics, row, tls)
        if channel is not None:
            self.server.on_exhausted = self._exhausted
            self.server.drain_s = 0.0  # the supervisor says when
        self._stops = 0
        self._serving = False
        self._cancelled = False  # it was told to stop before it served
        self._task: asyncio.Task[None]
        self._loop: asyncio.AbstractEventLoop
        self._tasks: set[asyncio.Task[None]] = set()
        self._beats = 0
        self._quiet_until = 0.0
        self._had_terminal = channel is None and has_terminal()

    def run(self) -> None:
        """
        Raises:
            ConfigurationError: the application did not start.
            RingUnavailable: no ring can be had.
        """
        try:
            with asyncio.Runner(loop_factory=self._make_loop) as runner:
                runner.run(self._main())
        finally:
            self.statistics.beat(self.row, 0)
            self.log.loop = None
            self.log.flush()

    def _make_loop(self) -> asyncio.AbstractEventLoop:
        try:
            return new_event_loop()
        except RingUnavailable as error:
            if self.configuration.fallback != "asyncio":
                raise
            self.log.warning(f"serving on asyncio's own loop: {error.strerror}")
            return asyncio.SelectorEventLoop()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_exception)
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        numbers = [*STOPPING, signal.SIGHUP]
        if self.log.reopens:
            numbers.append(signal.SIGUSR1)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            self.log.reopen()  # from now on this process is told
            try:
                await self.server.start(self.listeners)
            except asyncio.CancelledError:
                if not self._stops:
                    raise
                return  # it was told to stop before it had begun
            self._serving = True
            if self.channel is not None:
                self._loop.add_reader(self.channel, self._on_channel)
                if self.configuration.worker_timeout:
                    if not faulthandler.is_enabled():
                        faulthandler.enable(2)  # so that SIGABRT shows where it stands still
                    self._beat()
                if self.configuration.worker_lifetime:
                    self.server.expires(self._loop)
                self.tell(ready=True)
            if self.banner is not None:
                self.banner()
            if self._cancelled:  # and the application went on all the same
                self.server.stop()
            await self.server.serve()
        finally:
            if self.channel is not None:
                self._loop.remove_reader(self.channel)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _beat(self) -> None:
        """The loop turns; until the process has no use for it any more."""
        self._beats += 1
        self.statistics.beat(self.row, self._beats)
        self._loop.call_later(beat_interval(self.configuration.worker_timeout), self._beat)

    def tell(self, **message: object) -> None:
        """A line for the supervisor."""
        assert self.channel is not None
        with contextlib.suppress(OSError):
            self.channel.sendall(json.dumps(message).encode() + b"\n")

    def _exhausted(self, why: str) -> None:
        """The supervisor starts another, and stops this one when that serves."""
        self.tell(exhausted=why)

    def _on_channel(self) -> None:
        """The supervisor says that the server drains, or passes sockets on; the end of it is that it is gone."""
        assert self.channel is not None
        data = b""
        descriptors: list[int] = []
        with contextlib.suppress(OSError):
            data, descriptors, *_ = socket.recv_fds(self.channel, 64, DESCRIPTORS_MAX, socket.MSG_CMSG_CLOEXEC)
        if DRAINS in data:
            self.server.draining = True
        if descriptors:
            more = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            task = self._loop.create_task(self.server.listen_also(more))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if not data:
            self._loop.remove_reader(self.channel)
            self._stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Between two steps of the program, and also while the loop does not turn."""
        if self.channel is not None and number not in (signal.SIGTERM, signal.SIGUSR1):
            return
        if number in STOPPING:
            self._stops += 1
            if self._stops > (3 if self.server.drain_s else 2):
                self.log.flush()
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
        self._loop.call_soon_threadsafe(self._told, number)

    def _told(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self.log.reopen()
        elif number != signal.SIGHUP or (self._had_terminal and not has_terminal()):
            self._stop()
        elif self._serving:
            self.server.reload()

    def _stop(self) -> None:
        if self._serving:
            self.server.stop()
        else:
            self._cancelled = True
            self._task.cancel()

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio would log."""
        exception = context.get("exception")
        if context.get("message") == CANNOT_ACCEPT and isinstance(exception, OSError):
            return self._cannot_accept(loop, exception)
        details = [
            f"{name}: {value!r}" for name, value in sorted(context.items()) if name not in ("message", "exception")
        ]
        message = "; ".join([context.get("message", "unhandled exception"), *details])
        if self.server.repetitions.count(context.get("message", ""), exception, loop.time()):
            self.log.error(message, exception)
        return None

    def _cannot_accept(self, loop: asyncio.AbstractEventLoop, error: OSError) -> None:
        """Connections wait, and are accepted a second later. Loops say so once for each that could wait."""
        given_up(loop, error)
        now = loop.time()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            hint = "; raise the limit of open files (ulimit -n)" if error.errno == errno.EMFILE else ""
            self.log.error(f"connections cannot be accepted and wait: {error.strerror}{hint}")


def tell_drain(channel: socket.socket) -> None:
    """To be called by the supervisor: the worker is not ready any more, and serves on."""
    with contextlib.suppress(OSError):
        channel.sendall(DRAINS)


def tell_listeners(channel: socket.socket, listeners: Sequence[socket.socket]) -> None:
    """To be called by the supervisor: the worker accepts on these sockets, too."""
    with contextlib.suppress(OSError):
        for start in range(0, len(listeners), DESCRIPTORS_MAX):
            part = listeners[start : start + DESCRIPTORS_MAX]
            socket.send_fds(channel, [LISTENS], [each.fileno() for each in part])


def beat_interval(timeout: float) -> float:
    """Seconds between two beats of a worker that may be silent for so long."""
    return min(BEAT_S, timeout / 4)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal: when that goes away, SIGHUP means the end."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
