"""asyncio's private names: the loop uses those here, and no others.

Beside them ``_stream_reader`` has those of asyncio's streams, ``_awaitable`` the mark of a future that is awaited,
``Loop`` overrides the hooks that ``asyncio.BaseEventLoop`` has for its heirs, and transports have some attributes by
asyncio's names. tests/loop/test_asyncio_names.py checks that the running Python has each of those that are used, and
calls the hooks with no other parameters than ours have.
"""

import asyncio
import asyncio.base_events
import asyncio.base_subprocess
import asyncio.constants
import asyncio.events
import asyncio.format_helpers
import asyncio.futures
import asyncio.tasks
import asyncio.transports
import asyncio.trsock
import inspect
import socket
import subprocess
import sys
import traceback
import warnings
from typing import IO, TYPE_CHECKING, Any

TransportSocket = asyncio.trsock.TransportSocket

ThreadSafeHandle: type[asyncio.Handle] | None = getattr(asyncio.events, "_ThreadSafeHandle", None)
"""What call_soon_threadsafe() returns from Python 3.14 on."""

# Task and Future are looked up each time, as asyncio's own loop does: programs put classes of their own there.
TASKS: dict[str, Any] = asyncio.tasks.__dict__
FUTURES: dict[str, Any] = asyncio.futures.__dict__

# What isinstance() says of the compiled transports: they cannot inherit from asyncio's classes.


class SocketTransport(asyncio.transports._FlowControlMixin, asyncio.Transport):
    """A stream."""


class SSLTransport(SocketTransport):
    """A TLS connection, under a name like that of asyncio's own class, which programs look for."""


class PipeWriteTransport(asyncio.transports._FlowControlMixin, asyncio.WriteTransport):
    """A pipe's writing end. (asyncio's own is a Transport, which reads too.)"""


class DatagramTransport(asyncio.transports._FlowControlMixin, asyncio.DatagramTransport):
    """A datagram socket."""


PipeReadTransport = asyncio.ReadTransport

# What a transport's _sendfile_compatible is.
SENDFILE_NATIVE = asyncio.constants._SendfileMode.TRY_NATIVE
SENDFILE_FALLBACK = asyncio.constants._SendfileMode.FALLBACK

SSL_HANDSHAKE_TIMEOUT = asyncio.constants.SSL_HANDSHAKE_TIMEOUT
SSL_SHUTDOWN_TIMEOUT = asyncio.constants.SSL_SHUTDOWN_TIMEOUT

_Server: Any = asyncio.base_events.Server  # typeshed does not know the names below

SERVER_HAS_CLIENTS = "transport" in inspect.signature(_Server._attach).parameters
"""Whether a server keeps its transports (since Python 3.13), and not only their number."""


def attach(server: Any, transport: object) -> None:
    """A server has one connection more."""
    if SERVER_HAS_CLIENTS:
        server._attach(transport)
    else:
        server._attach()


def detach(server: Any, transport: object) -> None:
    """A server has one connection less."""
    if SERVER_HAS_CLIENTS:
        server._detach(transport)
    else:
        server._detach()


def accepted_socket(fd: int, server: Any) -> socket.socket:
    """A socket object that owns a descriptor which an accept for a server (or None) has returned."""
    if server is not None and server._sockets:
        listener = server._sockets[0]
        # With the flag the object knows without a system call that the descriptor does not block.
        return socket.socket(listener.family, listener.type | socket.SOCK_NONBLOCK, listener.proto, fileno=fd)
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def listeners_of(server: asyncio.Server) -> list[socket.socket]:
    """The socket objects that a server listens on; ``server.sockets`` has stand-ins for them."""
    return list(server._sockets or ())  # type: ignore[attr-defined, unused-ignore]


def can_start_tls(transport: Any) -> bool:
    """Whether a transport, of any loop, may get TLS on top of it."""
    return bool(getattr(transport, "_start_tls_compatible", False))


def force_close(transport: Any, exception: BaseException | None) -> None:
    """Closes a transport of any loop at once, with an exception for connection_lost()."""
    transport._force_close(exception)


def set_running_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Which loop runs in this thread."""
    asyncio.events._set_running_loop(loop)


def check_ssl_socket(sock: socket.socket) -> None:
    """Raises TypeError for an ssl.SSLSocket."""
    asyncio.base_events._check_ssl_socket(sock)  # type: ignore[attr-defined, unused-ignore]


def format_handle(handle: asyncio.Handle) -> str:
    """A handle as asyncio's debug mode shows it."""
    return asyncio.base_events._format_handle(handle)  # type: ignore[attr-defined, no-any-return, unused-ignore]


def log_warning(message: str, *arguments: object) -> None:
    """Logs a warning as asyncio's own loop does: by what its module has as logger at this time."""
    asyncio.base_events.logger.warning(message, *arguments)  # type: ignore[attr-defined, unused-ignore]


def stack_of(frame: Any) -> traceback.StackSummary:
    """The frames of a handle's _source_traceback."""
    return asyncio.format_helpers.extract_stack(frame)


def child_watcher() -> Any:
    """The child watcher that the program has set (Pythons before 3.14), or None.

    None also for the kinds that asyncio sets by itself. A watcher that reaps every child takes the exit status of ours
    from us, so it has to be used.
    """
    watcher = None
    if sys.version_info < (3, 14):
        watcher = getattr(asyncio.get_event_loop_policy(), "_watcher", None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if isinstance(watcher, (asyncio.ThreadedChildWatcher, asyncio.PidfdChildWatcher)):
                watcher = None
    return watcher


class SubprocessTransport(asyncio.base_subprocess.BaseSubprocessTransport):
    """One child. Its standard streams are pipes, so that it can open ``/dev/stdin`` and its like.

    (Those of asyncio's own loops are socket pairs, which cannot be opened.)
    """

    def _start(
        self,
        args: Any,
        shell: bool,
        stdin: int | IO[Any] | None,
        stdout: int | IO[Any] | None,
        stderr: int | IO[Any] | None,
        bufsize: int,
        **kwargs: Any,
    ) -> None:
        self._proc = subprocess.Popen(
            args,
            shell=shell,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            universal_newlines=False,
            bufsize=bufsize,
            **kwargs,
        )

    def exited(self, returncode: int) -> None:
        """The child has ended."""
        self._process_exited(returncode)

    async def wait(self) -> int:
        """Waits until the child has ended."""
        return await self._wait()


if TYPE_CHECKING:

    class BaseEventLoop(asyncio.BaseEventLoop):
        """What typeshed does not have of it."""

        _asyncgen_firstiter_hook: Any
        _asyncgen_finalizer_hook: Any
        _unix_server_sockets: dict[socket.socket, int]

        def _check_closed(self) -> None: ...
        def _check_running(self) -> None: ...
        def _set_coroutine_origin_tracking(self, enabled: bool) -> None: ...
        async def _create_connection_transport(self, sock: socket.socket, *args: Any, **kwargs: Any) -> Any: ...
        async def _ensure_resolved(
            self, address: Any, *, family: int = 0, type: int = ..., proto: int = 0, flags: int = 0, loop: Any
        ) -> list[tuple[int, int, int, str, Any]]: ...

else:
    BaseEventLoop = asyncio.BaseEventLoop

create_unix_connection: Any = asyncio.SelectorEventLoop.create_unix_connection
create_unix_server: Any = asyncio.SelectorEventLoop.create_unix_server
"""As Loop has them: they need only the hooks that every loop gives."""
