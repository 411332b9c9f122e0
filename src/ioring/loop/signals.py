"""Signals: they end the loop's wait, and callbacks for them run in the loop."""

import asyncio
import contextlib
import contextvars
import inspect
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVarTuple

from ioring.loop._readiness import Watching
from ioring.loop._wakeups import SignalNumbers, watch_signals
from ioring.loop.asyncio_private import BaseEventLoop

_Ts = TypeVarTuple("_Ts")


class Signals(Watching, BaseEventLoop):
    """A loop with signal handlers."""

    def __init__(self) -> None:
        super().__init__()
        self._signal_handlers: dict[int, tuple[Callable[..., Any], tuple[Any, ...], contextvars.Context]] = {}
        # The interpreter writes numbers of signals to the second, and the loop receives them from the first.
        self._signal_sockets: tuple[socket.socket, socket.socket] | None = None
        self._signal_numbers: SignalNumbers | None = None

    def _watch_signals(self) -> int | None:
        """Lets every signal end the loop's wait, if this is the main thread.

        Returns the wakeup descriptor that was set before, or None. Who has set it is told of signals as well.
        """
        if threading.current_thread() is not threading.main_thread():
            return None
        if self._signal_sockets is None:
            self._signal_sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if self._signal_numbers is None:
            self._signal_numbers = watch_signals(self, self._signal_sockets[0].fileno())
        own = self._signal_sockets[1].fileno()
        try:
            before = signal.set_wakeup_fd(own, warn_on_full_buffer=False)
        except ValueError:  # the main thread of another interpreter
            return None
        if before == own:
            before = -1
        self._signal_numbers.pass_on_to(before)
        return before

    def _unwatch_signals(self, before: int | None) -> None:
        """Restores the wakeup descriptor. It is None, too, if an interrupt has kept it from being known."""
        if self._signal_sockets is not None and threading.current_thread() is threading.main_thread():
            with contextlib.suppress(ValueError):
                now = signal.set_wakeup_fd(-1 if before is None else before, warn_on_full_buffer=False)
                if now != self._signal_sockets[1].fileno():  # somebody has set it, or unset it, while the loop ran
                    signal.set_wakeup_fd(now, warn_on_full_buffer=False)

    def _close_signals(self) -> None:
        """Closes the sockets, and makes sure that the interpreter does not write to them any more."""
        if self._signal_sockets is None:
            return
        if threading.current_thread() is threading.main_thread():
            with contextlib.suppress(ValueError):
                before = signal.set_wakeup_fd(-1)
                if before not in (-1, self._signal_sockets[1].fileno()):
                    signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        for sock in self._signal_sockets:
            sock.close()
        self._signal_sockets = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """What the interpreter calls, between two instructions of the program, in the main thread."""
        handler = self._signal_handlers.get(number)
        if handler is not None and not self._closed:
            callback, args, context = handler
            self.call_soon_threadsafe(callback, *args, context=context)

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Calls the callback in the loop when the signal arrives (``loop.add_signal_handler``).

        It runs in a copy of the context in which this is called.

        Raises:
            TypeError: the callback is a coroutine, or ``sig`` is not an int.
            ValueError: there is no such signal.
            RuntimeError: it cannot be caught, or this is not the main thread.
        """
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        _check_signal(sig)
        self._check_closed()
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("signal handlers can be added in the main thread only")
        try:
            signal.signal(sig, self._on_signal)
            signal.siginterrupt(sig, False)
        except (OSError, ValueError) as error:
            raise RuntimeError(f"sig {sig} cannot be caught") from error
        self._signal_handlers[sig] = (callback, args, contextvars.copy_context())

    def remove_signal_handler(self, sig: int) -> bool:
        """Restores the default action of a signal. Whether there was a handler (``loop.remove_signal_handler``)."""
        _check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        return True

    def _remove_signal_handlers(self) -> None:
        for number in list(self._signal_handlers):
            self.remove_signal_handler(number)


def _check_signal(sig: object) -> None:
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")
