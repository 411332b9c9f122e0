"""Forks and supervises worker processes: several, or one that is restarted when files change.

The supervisor owns the listening sockets for as long as it lives, so that replacing a worker refuses no connection:
they wait in the socket's queue until the next worker accepts them. It has no threads and no ring, and does not import
the application: each worker does that, so that a restart sees new code.
"""

import collections
import contextlib
import json
import os
import select
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Collection
from types import FrameType
from typing import NoReturn

from ioring.http import reload as watcher
from ioring.http.app_loader import Application, load
from ioring.http.child_process import run_child
from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError
from ioring.http.listeners import close_listeners
from ioring.http.log import Log
from ioring.http.notices import HOW_TO_END, WAITS_S, counted
from ioring.http.process import Identity
from ioring.http.scoreboard import Statistics
from ioring.http.tls_context import context_of, renew
from ioring.http.worker import Worker, beat_interval, tell_drain, tell_listeners
from ioring.http.worker_slots import Child, Place, Slot, State, ended
from ioring.ring.errors import RingUnavailable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCHLD)
MORE_MAX = 64
"""As many workers can be added by SIGTTIN."""

STABLE_S = 10.0
"""A worker that died later than this is started again at once: it did not die because of how it was started."""

BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""How long after a worker's death the next is started, by how many have died early one after the other."""

FORCED_S = 1.0
"""How long after the second signal to stop a worker is killed."""

RELOAD_GRACE_S = 2.0
"""How long requests may take to end when files have changed."""


class Supervisor:
    """Keeps as many workers as there should be.

    Parameters:
        configuration, log, statistics: of all.
        application: None: each worker imports it; otherwise it stays the same as long as the supervisor lives.
        listeners: for each worker a list.
        banner: called when all serve.
        tls: what was read of the certificates.
        identity: who the workers become. The supervisor itself stays root's: it can read new certificates.
    """

    def __init__(
        self,
        configuration: Configuration,
        application: Application | None,
        listeners: list[list[socket.socket]],
        log: Log,
        statistics: Statistics,
        banner: Callable[[], None],
        tls: ssl.SSLContext | None = None,
        identity: Identity | None = None,
    ) -> None:
        self.configuration = configuration
        self.application = application
        self.listeners = listeners
        self.log = log
        self.statistics = statistics
        self.banner = banner
        self.tls = tls
        self.identity = identity
        self.first = len(listeners)  # so many workers there were first; those that are added share their sockets
        self.spare: list[list[socket.socket]] = []  # of those that were removed: all others accept on them, too
        self.slots = [Slot(number, each) for number, each in enumerate(listeners)]
        self.children: dict[int, Child] = {}
        self.error: Exception | None = None  # why it ends
        self.stops = 0
        self.drained_at: float | None = None  # when all workers are told to stop; None: it does not drain
        self.served = False  # all have served at the same time, once
        self.rolling: Child | None = None  # the child that a rolling restart waits for
        self.roll: collections.deque[Slot] = collections.deque()
        self.watcher: int | None = None  # the process that watches files, and the pipe from it
        self.changes: int | None = None
        self.wakeup = socket.socketpair()
        self.signals = [*SIGNALS, signal.SIGUSR1] if log.reopens else SIGNALS
        self.tell_at: float | None = time.monotonic() + WAITS_S  # when it says what it waits for
        self.look_at: float | None = None  # when the workers' loops are looked after
        if configuration.worker_timeout:
            self.look_at = time.monotonic()

    def run(self) -> None:
        """Returns when it was told to stop and all workers have.

        Raises:
            ConfigurationError: the workers cannot start.
        """
        for end in self.wakeup:
            end.setblocking(False)
        handlers = {number: signal.signal(number, self._nothing) for number in self.signals}
        descriptor = signal.set_wakeup_fd(self.wakeup[1].fileno(), warn_on_full_buffer=False)
        try:
            if self.configuration.reload:
                self._start_watcher()
            for slot in self.slots:
                self._start(slot)
            while self.children or not self.stops:
                self._turn()
        finally:
            self._kill_all()
            signal.set_wakeup_fd(descriptor)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            for end in self.wakeup:
                end.close()
        if self.error is not None:
            raise self.error

    def _nothing(self, number: int, frame: FrameType | None) -> None:
        """What counts is the byte in the wakeup socket."""

    # Waiting.

    def _turn(self) -> None:
        poll = select.poll()
        poll.register(self.wakeup[0], select.POLLIN)
        if self.changes is not None:
            poll.register(self.changes, select.POLLIN)
        channels = {}
        for child in self.children.values():
            if child.channel is not None:
                poll.register(child.channel, select.POLLIN)
                channels[child.channel.fileno()] = child
        for fd, _ in poll.poll(self._patience()):
            if fd == self.wakeup[0].fileno():
                self._on_signals()
            elif fd == self.changes:
                self._on_changes()
            else:
                self._on_message(channels[fd])
        self._on_time()

    def _patience(self) -> float | None:
        """Milliseconds until something has to be done; None: never."""
        moments = [slot.retry_at for slot in self.slots if slot.retry_at is not None]
        moments += [child.patience[0][0] for child in self.children.values() if child.patience]
        moments += [each for each in (self.look_at, self.drained_at, self.tell_at) if each is not None]
        if not moments:
            return None
        return max(0, min(moments) - time.monotonic()) * 1000 + 1

    def _on_time(self) -> None:
        now = time.monotonic()
        if self.look_at is not None and self.look_at <= now:
            self._look(now)
        if self.drained_at is not None and self.drained_at <= now:
            self._stop_all()
        if self.tell_at is not None and self.tell_at <= now:
            self.tell_at = None
            self._tell()
        for child in self.children.values():
            while child.patience and child.patience[0][0] <= now:
                _, number = child.patience.pop(0)
                os.kill(child.pid, number)
        for slot in self.slots:
            if slot.retry_at is not None and slot.retry_at <= now:
                slot.retry_at = None
                if not self.stops and slot.replacement is None:
                    self._start(slot, again=True)

    def _tell(self) -> None:
        """Says what it waits for."""
        if self.stops == 1 and self.error is None:
            self.log.info(f"waits for {counted(len(self.children), 'worker')} to end; {HOW_TO_END}")
        elif not self.stops and not self.served:
            starting = sum(child.state is State.STARTING for child in self.children.values())
            self.log.info(f"waits for {counted(starting, 'worker')} to import and start the application")

    def _look(self, now: float) -> None:
        """Kills workers whose loop does not turn."""
        timeout = self.configuration.worker_timeout
        # This process was late, too, as when the machine was suspended: that is not the workers' fault.
        paused = self.look_at is not None and now - self.look_at > timeout / 2
        self.look_at = now + beat_interval(timeout)
        for child in self.children.values():
            beat = self.statistics.beat_of(child.row)
            if beat != child.beat or not beat or paused:
                child.beat, child.heard = beat, now
            elif now - child.heard > timeout and not child.hung:
                child.hung = True
                self.log.error(f"{child.name} is killed: its loop has not turned for {timeout:g} s (worker_timeout)")
                self._kill(child, signal.SIGABRT)
                child.patience = [(now + FORCED_S, signal.SIGKILL)]

    def _on_signals(self) -> None:
        numbers: list[int] = []
        with contextlib.suppress(BlockingIOError):
            while data := self.wakeup[0].recv(4096):
                numbers += data
        for number in dict.fromkeys(numbers):
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._restart_all()
            elif number == signal.SIGUSR1:
                self.log.reopen()
                for child in self.children.values():
                    self._kill(child, signal.SIGUSR1)
            elif number in (signal.SIGTTIN, signal.SIGTTOU):
                for _ in range(numbers.count(number)):
                    self._change_number(1 if number == signal.SIGTTIN else -1)
            else:
                for _ in range(numbers.count(number)):
                    self._stop_all()

    def _on_message(self, child: Child) -> bool:
        """Reads messages of a worker; returns whether there were any."""
        if child.channel is None:
            return False
        try:
            data = child.channel.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            child.channel.close()
            child.channel = None
            return False
        *lines, child.received = (child.received + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "ready" in message:
                self._on_ready(child)
            elif "exhausted" in message:
                self._on_exhausted(child, message["exhausted"])
            else:
                child.failure = message["failed"]
                child.unavailable = message["errno"]
        return True

    # Workers.

    def _start(self, slot: Slot, again: bool = False) -> Child:
        """Forks a worker: the slot's own process, or its replacement."""
        row = self.statistics.take(slot.number, again)
        here, there = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.log.flush()
        # No signal is lost, and none for the child is taken for one for this process.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, self.signals)
        pid = os.fork()
        if pid == 0:
            here.close()
            self._be_child(blocked, lambda: self._work(slot, row, there))
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        there.close()
        here.setblocking(False)
        child = self.children[pid] = Child(pid, slot, row, here)
        if self.drained_at is not None:
            tell_drain(here)
        if slot.child is None:
            slot.child = child
        else:
            slot.replacement = child
        return child

    def _be_child(self, blocked: Collection[int], work: Callable[[], int | None]) -> NoReturn:
        """Never returns."""

        def first() -> None:
            for end in self.wakeup:
                end.close()
            for other in self.children.values():
                if other.channel is not None:
                    other.channel.close()
            if self.changes is not None:
                os.close(self.changes)

        run_child(blocked, first, work)

    def _work(self, slot: Slot, row: int | None, channel: socket.socket) -> int:
        """What a worker's process does; returns its exit code."""
        for each in self.listeners:
            for listener in each:
                if listener not in slot.listeners:
                    listener.close()

        def failed(message: str, number: int | None = None) -> int:
            channel.sendall(json.dumps({"failed": message, "errno": number}).encode() + b"\n")
            return 1

        try:
            tls = self.tls if self.configuration.preload else context_of(self.configuration)
            if self.identity is not None and not self.configuration.preload:
                self.identity.take()
            application = self.application or load(self.configuration)
            Worker(
                self.configuration, application, slot.listeners, self.log, self.statistics, row, None, channel, tls
            ).run()
        except ConfigurationError as error:
            return failed(str(error))
        except RingUnavailable as error:
            return failed(str(error.strerror), error.errno)
        return 0

    def _on_ready(self, child: Child) -> None:
        if child.state is State.STOPPING:
            return  # it was told to stop before it had started
        child.state = State.SERVING
        self.log.debug(f"{child.name} serves")
        slot = child.slot
        if slot.replacement is child:
            slot.replacement = None
            old, slot.child = slot.child, child
            if old is not None:
                self._stop(old)
        if not self.served and all(slot.child is not None and slot.child.state is State.SERVING for slot in self.slots):
            self.served = True
            self.tell_at = None
            self.banner()
        self._continue_roll()

    def _on_exhausted(self, child: Child, why: str) -> None:
        """The worker has worked long enough, or has too much memory: it is replaced."""
        slot = child.slot
        if not self.stops and slot.child is child and slot.replacement is None:
            self.log.info(f"{child.name} is replaced: {why}")
            self._start(slot, again=True)

    def _stop(self, child: Child, *later: tuple[float, signal.Signals]) -> None:
        """Tells a worker to stop; ``later``: signals that it gets if it has not ended after so many seconds."""
        now = time.monotonic()
        if child.state is not State.STOPPING:
            child.state = State.STOPPING
            self._kill(child, signal.SIGTERM)
        child.patience = [(now + delay, number) for delay, number in later]

    def _kill(self, child: Child, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)

    def _stop_all(self) -> None:
        """Ctrl-C or SIGTERM, or the end of draining; the second time at once."""
        if self.configuration.drain and self.served and self.drained_at is None and not self.stops:
            self._drain()
            return
        self.drained_at = None
        self.stops += 1
        if self.stops == 1:
            self.tell_at = time.monotonic() + WAITS_S
            self._stop_watcher()
            # So that new connections are refused, instead of waiting for workers that will not come.
            close_listeners(self.listeners)
            for child in list(self.children.values()):
                self._stop(child)
        else:
            for child in self.children.values():
                self._kill(child, signal.SIGTERM)
                child.patience = [(time.monotonic() + FORCED_S, signal.SIGKILL)]

    def _drain(self) -> None:
        """All is as before, but for what `--readyz` says."""
        drain = self.configuration.drain
        self.drained_at = time.monotonic() + drain
        self.log.info(f"drains: it stops in {drain:g} s, and is not ready any more")
        for child in self.children.values():
            if child.channel is not None:
                tell_drain(child.channel)

    def _kill_all(self) -> None:
        """Kills all workers that are left, so that none outlives the supervisor."""
        self._stop_watcher()
        for child in list(self.children.values()):
            self._kill(child, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            self._forget(child)

    def _forget(self, child: Child) -> None:
        del self.children[child.pid]
        self.statistics.give_back(child.row)
        if child.channel is not None:
            child.channel.close()
            child.channel = None

    # Deaths.

    def _reap(self) -> None:
        for child in list(self.children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                while self._on_message(child):  # what it sent before it died
                    pass
                self._forget(child)
                self._on_death(child, os.waitstatus_to_exitcode(status))
        if self.watcher is not None and os.waitpid(self.watcher, os.WNOHANG)[0]:
            self.watcher = None
            if not self.stops:
                self.log.error("files are not watched any more: the process that did has ended")

    def _on_death(self, child: Child, code: int) -> None:
        """A process has ended, and another is started if one is missing."""
        place = child.slot.leave(child)
        if child is self.rolling:
            self.rolling = None
        how = child.failure or ended(code)
        self.log.debug(f"{child.name} {how}")
        if self.stops or child.slot.removed:
            self._continue_roll()  # it is to end
        elif child.state is State.STARTING and not self.served and not self.configuration.reload:
            self._give_up(child, how)
        elif place is Place.REPLACEMENT:
            self.log.error(f"{child.name} did not start, and what it was to replace goes on: {how}")
            self.roll.clear()
            self._later(child)
        elif child.state is State.STOPPING:
            self._on_stopped(child, code, how)
        elif child.slot.child is not None:
            self.log.error(f"{child.name} {how}; its replacement starts already")
            self._continue_roll()
        elif self.configuration.reload:
            self.log.error(f"{how}; waiting for a change")
        else:
            wait = self._later(child)
            after = f"in {wait:.1f} s" if wait > 0 else "now"
            self.log.error(f"{child.name} {'did not start: ' if child.failure else ''}{how}; the next starts {after}")
            self._on_time()

    def _give_up(self, child: Child, how: str) -> None:
        """A worker could not start, and none has served yet: that is an error of whoever starts the server."""
        if child.unavailable:
            self.error = RingUnavailable(child.unavailable, how)
        else:
            self.error = ConfigurationError(how if child.failure else f"{child.name} {how} while it started")
        self._stop_all()

    def _on_stopped(self, child: Child, code: int, how: str) -> None:
        """A worker that was told to stop has ended: another serves already, or is started now (``--reload``)."""
        slot = child.slot
        if code not in (0, -signal.SIGTERM) and not self.configuration.reload:
            self.log.error(f"{child.name} {how} while it stopped")
        if slot.child is None and slot.retry_at is None:
            self._start(slot, again=True)
        self._continue_roll()

    def _later(self, child: Child) -> float:
        """Decides when a worker that died is started again, and returns in how many seconds.

        It takes longer and longer while they die early. A replacement is not tried again while the slot's own process
        goes on.
        """
        slot = child.slot
        now = time.monotonic()
        if now - child.began > STABLE_S:
            slot.deaths = 0
        wait = BACK_OFF_S[min(slot.deaths, len(BACK_OFF_S) - 1)]
        slot.deaths += 1
        slot.retry_at = now + wait if slot.child is None else None
        return wait

    # Restarts.

    def _restart_all(self) -> None:
        """SIGHUP: every worker is replaced, one after the other."""
        if self.stops or self.drained_at is not None:
            return
        if self.configuration.reload:
            self._restart_for("SIGHUP")
            return
        self.log.info("SIGHUP: workers are replaced, one after the other")
        if self.configuration.preload:
            self.log.info("the application stays what it is, since --preload has imported it: restart for new code")
            if self.tls is not None:
                renew(self.tls, self.configuration, self.log)
        self.roll = collections.deque(self.slots)
        self._continue_roll()

    def _continue_roll(self) -> None:
        if self.rolling is not None and self.rolling.state is State.STARTING:
            return
        if self.rolling is not None and not self.roll:
            self.log.info("all workers are replaced")
        self.rolling = None
        while self.roll and not self.stops:
            slot = self.roll[0]
            if slot.removed:
                self.roll.popleft()
                continue
            if slot.replacement is not None:
                return  # with what was there before; another follows it
            self.roll.popleft()
            slot.retry_at = None
            self.rolling = self._start(slot, again=True)
            return

    # Their number.

    def _change_number(self, by: int) -> None:
        """SIGTTIN and SIGTTOU: one more, or one less."""
        count = len(self.slots) + by
        if self.stops or self.drained_at is not None or not self.served:
            return
        if self.configuration.reload or not 1 <= count <= self.statistics.room:
            least, most = (1, 1) if self.configuration.reload else (1, self.statistics.room)
            self.log.warning(f"the number of workers stays {len(self.slots)}: it can be {least} to {most}")
            return
        if by > 0:
            self._add()
        else:
            self._remove(self.slots.pop())
        self.log.info(f"{signal.Signals(signal.SIGTTIN if by > 0 else signal.SIGTTOU).name}: workers are {count} now")

    def _add(self) -> None:
        number = len(self.slots)
        slot = Slot(number, self.spare.pop() if self.spare else list(self.slots[number % self.first].listeners))
        self.slots.append(slot)
        self.statistics.widen(len(self.slots))
        self._start(slot)

    def _remove(self, slot: Slot) -> None:
        """Its sockets stay open, and all others accept on them: the kernel goes on giving them connections."""
        slot.removed = True
        slot.retry_at = None
        if slot.number < self.first:
            self.spare.append(slot.listeners)
            for other in self.slots:
                more = [each for each in slot.listeners if each not in other.listeners]
                other.listeners += more
                for child in (other.child, other.replacement):
                    if more and child is not None and child.channel is not None:
                        tell_listeners(child.channel, more)
        for child in (slot.child, slot.replacement):
            if child is not None:
                self._stop(child)

    # Files that change.

    def _start_watcher(self) -> None:
        self.changes, pipe = os.pipe()
        os.set_blocking(self.changes, False)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, self.signals)
        pid = os.fork()
        if pid == 0:
            for each in self.listeners:
                for listener in each:
                    listener.close()
            self._be_child(blocked, lambda: self._watch(pipe))
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(pipe)
        self.watcher = pid

    def _watch(self, pipe: int) -> None:
        if self.identity is not None:
            self.identity.take()
        watcher.watch(self.configuration, pipe)

    def _stop_watcher(self) -> None:
        if self.watcher is not None:
            os.kill(self.watcher, signal.SIGKILL)
            os.waitpid(self.watcher, 0)
            self.watcher = None
        if self.changes is not None:
            os.close(self.changes)
            self.changes = None

    def _on_changes(self) -> None:
        assert self.changes is not None
        data = os.read(self.changes, 65536)
        if not data:
            os.close(self.changes)
            self.changes = None
        elif not self.stops:
            self._restart_for(os.fsdecode(data.split(b"\0")[0]))

    def _restart_for(self, what: str) -> None:
        self.log.info(f"{what} has changed: the application starts anew" if what != "SIGHUP" else "SIGHUP: anew")
        [slot] = self.slots
        if slot.child is None:
            self._start(slot, again=True)
        else:
            self._stop(slot.child, (RELOAD_GRACE_S, signal.SIGTERM), (RELOAD_GRACE_S + FORCED_S, signal.SIGKILL))
