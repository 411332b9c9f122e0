"""Accepts connections on asyncio's own loop, in place of that loop's server, and where something comes before TLS.

asyncio's server does not get over a lack of descriptors. It tries once for each connection that its backlog may hold,
and starts a timer for each try that failed. Each timer listens again, and so fails as often again. When the server
stops, the timers that are left fail on a closed socket, and each of them logs a traceback.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine

from ioring.loop.accept_pause import PAUSE_S, report


class Acceptor:
    """Accepts on one listening socket until ``close``; has those methods of ``asyncio.Server`` that a server needs.

    Parameters:
        loop: the event loop.
        begin: begins with a connection that was accepted.
        listener: the listening socket. ``close`` closes it.
        backlog: how many connections are accepted in one turn of the loop at most.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        begin: Callable[[socket.socket], Coroutine[None, None, None]],
        listener: socket.socket,
        backlog: int,
    ) -> None:
        self._loop = loop
        self._begin = begin
        self._listener = listener
        self._backlog = backlog
        self._pause: asyncio.TimerHandle | None = None
        self._beginning: set[asyncio.Task[None]] = set()  # connections whose transports, or TLS, are not there yet
        listener.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(self._backlog):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._loop.remove_reader(self._listener)
                self._pause = self._loop.call_later(PAUSE_S, self._listen)
                self._loop.call_exception_handler(report(error, self._listener))
                return
            task = self._loop.create_task(self._begin(accepted))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    def leave(self) -> bool:
        """Accepts no more, without closing the socket. Returns whether nothing is under way any more.

        A connection is under way until its transport reads, and one with TLS until its handshake is over.
        """
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        return not self._beginning

    def close(self) -> None:
        self.leave()
        self._listener.close()

    async def wait_closed(self) -> None:
        """Nothing is left to wait for."""


async def take(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], asyncio.BaseProtocol],
    tls: ssl.SSLContext | None,
    handshake_timeout: float,
    accepted: socket.socket,
) -> None:
    """Begins a connection that was accepted; one whose TLS handshake fails ends without a word."""
    accepted.setblocking(False)
    try:
        await loop.connect_accepted_socket(
            factory, accepted, ssl=tls, ssl_handshake_timeout=None if tls is None else handshake_timeout
        )
    except OSError:  # of TLS, too
        accepted.close()
