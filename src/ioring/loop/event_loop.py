"""``Loop``: asyncio's event loop on one ring.

What runs per message is compiled: ``_core`` and the modules above it. Here is what happens once per loop and per
connection, in plain Python, by means of the hooks that ``asyncio.BaseEventLoop`` has for its heirs. ``ring_setup``,
``signals``, ``subprocesses`` and ``sendfile`` have their share of it.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, Protocol, TypeVarTuple

from ioring.loop._acceptor import Acceptor
from ioring.loop._datagram_transport import datagram_transport
from ioring.loop._leftovers import bequeath
from ioring.loop._pipe_transport import read_pipe, write_pipe
from ioring.loop._sock_calls import connect
from ioring.loop._stream_reader import adopt, taken_from_reader
from ioring.loop._stream_transport import stream_of_descriptor, stream_of_socket
from ioring.loop._tls_transport import make_tls
from ioring.loop._wakeups import watch_eventfd
from ioring.loop.asyncio_private import (
    SSL_HANDSHAKE_TIMEOUT,
    SSL_SHUTDOWN_TIMEOUT,
    accepted_socket,
    can_start_tls,
    check_ssl_socket,
    create_unix_connection,
    create_unix_server,
    format_handle,
    listeners_of,
    log_warning,
    set_running_loop,
    stack_of,
)
from ioring.loop.kernel_bugs import multishot_misses_ends
from ioring.loop.own_listeners import is_own, note_own
from ioring.loop.ring_setup import (
    DATAGRAM_BUFFERS,
    FLAGS,
    FLAGS_ANY_THREAD,
    file_table_size,
    open_ring,
    register_buffers,
)
from ioring.loop.sendfile import Sendfile
from ioring.loop.signals import Signals
from ioring.loop.subprocesses import Subprocesses
from ioring.loop.thread_of_ring import ThreadOfRing
from ioring.ring.constants import Op, RegisterOp
from ioring.ring.errors import ForkedRing
from ioring.ring.probe import features
from ioring.ring.sockaddr import encode_for

logger = logging.getLogger("asyncio")

_Ts = TypeVarTuple("_Ts")


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


_loops: weakref.WeakSet["Loop"] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """In the child of a fork: all loops are the parent's."""
    for loop in list(_loops):
        loop._leave_to_parent()


def _share_listeners() -> None:
    """In the parent: the child has all listening sockets, too."""
    for loop in list(_loops):
        loop._share_listeners()


os.register_at_fork(after_in_child=_leave_to_parent, after_in_parent=_share_listeners)


class Loop(Subprocesses, Signals, Sendfile, ThreadOfRing):
    """An asyncio event loop whose sockets, pipes, timers and children run on one io_uring.

    Parameters:
        direct_descriptors: accepted connections live in the ring's own file table instead of the process's. That
            saves the kernel work, and the limit on open files does not count them; a descriptor is made when
            somebody asks for the transport's ``socket``. Those of a server that was given its socket (``sock=``), or
            whose process has forked, have ordinary descriptors, since other processes may have the listening socket,
            too. So have all on a kernel that cannot make a descriptor, before 6.8.
        any_thread: let the loop run in one thread after another whatever is in flight. By default its ring belongs
            to one thread, which the kernel makes cheaper, and a run in another one opens a ring anew. That takes
            about 0.3 ms, and is refused while files are being read or written, connections are being made, or direct
            descriptors are open.

    Raises:
        RingUnavailable: no ring can be had here; the message says why and what to do.
    """

    def __init__(self, *, direct_descriptors: bool = False, any_thread: bool = False) -> None:
        self._forked = False
        self._left: list[asyncio.Future[Any]] = []
        super().__init__()
        self._closed = True  # until there is something to close
        self._unix_server_sockets = {}
        self._any_thread = any_thread
        self._eventfd = -1
        self._start_ring(direct_descriptors)
        self._closed = False
        _loops.add(self)

    def _start_ring(self, direct: bool) -> None:
        ring, buffers = open_ring(FLAGS_ANY_THREAD if self._any_thread else FLAGS)
        try:
            slots = 0
            # Without this operation there would be no way to a connection's socket and its peer's address.
            if direct and Op.FIXED_FD_INSTALL.name in features().operations:
                slots = file_table_size()
                ring.register_files_sparse(slots)
            once = multishot_misses_ends()
            if RegisterOp.SEND_MSG_RING.name not in features().registrations:
                self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._open_epoll()
        except BaseException:
            if self._eventfd >= 0:
                os.close(self._eventfd)
            ring.close()
            raise
        self._open(ring, buffers, slots, self._eventfd, once)
        if self._eventfd >= 0:
            watch_eventfd(self, self._eventfd)

    # Running.

    def run_forever(self) -> None:
        """Runs until ``stop`` is called (``loop.run_forever``)."""
        self._check_closed()
        self._check_running()
        self._take_ring()
        self._set_coroutine_origin_tracking(self._debug)
        hooks = sys.get_asyncgen_hooks()
        signals = None
        try:
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
            set_running_loop(self)
            signals = self._watch_signals()
            self._spin()
        finally:
            self._stopping = False
            self._thread_id = None
            set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*hooks)
            self._unwatch_signals(signals)
            if not self._closed:
                self._park()

    def run_until_complete(self, future: Any) -> Any:
        """Runs until a future or a coroutine is done, and returns its result (``loop.run_until_complete``)."""
        if self._forked and asyncio.iscoroutine(future):
            future.close()  # nobody will await it
        try:
            return super().run_until_complete(future)
        except (SystemExit, KeyboardInterrupt):
            while self._left:
                self._left.pop().exception()  # its callbacks would have asked for it
            raise

    @property
    def _nest_patched(self) -> bool:
        """nest_asyncio looks for this before it replaces methods of the loop's class by some for asyncio's own loop.

        It refuses other loops with this error, which packages that use it expect.
        """
        if "nest_asyncio" in str(sys._getframe(1).f_globals.get("__name__")):
            raise ValueError(f"Can't patch loop of type {type(self)}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute '_nest_patched'")

    def close(self) -> None:
        """Closes the loop (``loop.close``). Operations in flight are cancelled and waited for.

        Raises:
            RuntimeError: the loop is running.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        self._leave_thread()
        super().close()
        if sys.is_finalizing():
            self._signal_handlers.clear()
        self._remove_signal_handlers()
        self._forget()
        self._ring.close()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        self._close_signals()
        self._close_epoll()
        if self._eventfd >= 0:
            os.close(self._eventfd)
            self._eventfd = -1
        self._close_pidfds()

    # In the child of a fork.

    def _leave_to_parent(self) -> None:
        """Gives up what is the parent's. The ring is closed already; the child's signals are its own."""
        if self._closed:
            return
        self._closed = self._forked = True
        self._remove_signal_handlers()
        if self.is_running():
            self._thread_id = None
            set_running_loop(None)
        self._close_descriptors()

    def _leaves(self, args: tuple[Any, ...]) -> bool:
        """A task of the child of a fork ends with sys.exit(), of which its callbacks are to be told.

        That must not fail: the error would take the place of SystemExit, and the exit code be another one.
        """
        if not self._forked or len(args) != 1 or not asyncio.isfuture(args[0]):
            return False
        if not isinstance(getattr(args[0], "_exception", None), (SystemExit, KeyboardInterrupt)):
            return False
        self._left.append(args[0])
        return True

    def _check_closed(self) -> None:
        if self._forked:
            # sys.exit() on its way out of asyncio.run(): nothing may take its place, and so its exit code.
            leaving = sys.exc_info()[1]
            if isinstance(leaving, (SystemExit, KeyboardInterrupt)):
                raise leaving
            raise ForkedRing(
                "the loop belongs to the parent process: make a new one in the child, by ioring.run() or its like"
            )
        super()._check_closed()

    # What it did, and debug mode.

    def statistics(self) -> dict[str, int]:
        """What the loop did so far, as a dict of numbers.

        - ``turns``: turns of the loop.
        - ``enters``, ``waits``: calls of ``io_uring_enter``, and those that were allowed to wait.
        - ``submissions``, ``completions``: requests handed to the kernel, and results that came back.
        - ``rearmed``: multishot requests that the kernel ended and that were armed again. Where a multishot receive
          could miss an end (before Linux 7.0), each receive.
        - ``starved``: receives that ended because no buffer was free.
        - ``in_flight``: requests that the kernel has now.
        - ``buffers``, ``buffers_free``: receive buffers, and how many the kernel has now.
        - ``slots``, ``slots_used``: places for direct descriptors, and how many are taken. 0 on a loop that uses
          ordinary descriptors.
        - ``ready``, ``timers``: callbacks whose turn has come, and those that wait for a time.
        """
        return super().statistics()

    def set_debug(self, enabled: bool) -> None:
        """Switches debug mode (``loop.set_debug``)."""
        self._debug = bool(enabled)
        if self.is_running():
            self.call_soon_threadsafe(self._set_coroutine_origin_tracking, self._debug)

    def _traceback(self) -> Any:
        return stack_of(sys._getframe(1))

    def _ran(self, handle: Any, seconds: float) -> None:
        if seconds >= self.slow_callback_duration:
            log_warning("Executing %s took %.3f seconds", format_handle(handle), seconds)

    def _completed(self, operation: Any, seconds: float) -> None:
        if seconds >= self.slow_callback_duration:
            protocol = getattr(operation, "_protocol", None)
            what = repr(operation) if protocol is None else f"callbacks of {protocol!r} on {operation!r}"
            log_warning("Executing %s took %.3f seconds", what, seconds)

    # Servers and connections.

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        start_serving: bool = True,
        **options: Any,
    ) -> asyncio.Server:
        """Serves on a host's addresses, or on a socket (``loop.create_server``, which has the other options, too).

        Parameters:
            sock: a listening socket, which is taken for one that other processes have, too. Then the connections
                spread over all that serve on it, and they have ordinary descriptors.
        """
        create: Any = super().create_server  # whose overloads take either a host or a socket
        server = await create(protocol_factory, host, port, sock=sock, start_serving=False, **options)
        return await self._begin_serving(server, sock is None, start_serving)

    async def create_unix_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: str | os.PathLike[str] | None = None,
        *,
        sock: socket.socket | None = None,
        start_serving: bool = True,
        **options: Any,
    ) -> asyncio.Server:
        """Serves on a Unix socket (``loop.create_unix_server``, which has the other options, too).

        Parameters:
            sock: as for ``create_server``.
        """
        server = await create_unix_server(self, protocol_factory, path, sock=sock, start_serving=False, **options)
        return await self._begin_serving(server, sock is None, start_serving)

    async def _begin_serving(self, server: asyncio.Server, own: bool, start: bool) -> asyncio.Server:
        if own:
            for listener in listeners_of(server):
                note_own(listener)
        if start:
            await server.start_serving()
        return server

    def _share_listeners(self) -> None:
        """After a fork. In the loop's thread it is done at once, whether or not the loop will ever run again."""
        if self._closed or not self._acceptors:
            return
        if self._at_home():
            for acceptor in self._acceptors.values():
                acceptor.share()
            if self._thread_id is None:
                self._settle()
        else:
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self.call_soon_threadsafe(self._share_listeners)

    def _start_serving(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: ssl.SSLContext | None = None,
        server: Any = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = SSL_SHUTDOWN_TIMEOUT,
        context: Context | None = None,  # this one and the next two: from Python 3.15
    ) -> None:
        _set_nodelay(sock)  # accepted connections inherit it
        wrap = None
        if sslcontext is not None:

            def wrap(fd: int, direct: bool, protocol: asyncio.BaseProtocol, context: Context, server: Any) -> None:
                tls = make_tls(
                    self,
                    protocol,
                    sslcontext,
                    None,
                    server_side=True,
                    ssl_handshake_timeout=ssl_handshake_timeout,
                    ssl_shutdown_timeout=ssl_shutdown_timeout,
                )
                stream_of_descriptor(self, fd, direct, tls, context, server)

        shared = not is_own(sock)
        self._acceptors[sock] = Acceptor(self, sock, protocol_factory, wrap, server, backlog, context, shared)

    def _leave_serving(self, sock: socket.socket) -> bool:
        """Accepts no more from a listening socket that stays open. Whether the kernel has none accepted any more."""
        acceptor = self._acceptors.get(sock)
        return acceptor is None or acceptor.leave()

    def _stop_serving(self, sock: socket.socket) -> None:
        acceptor = self._acceptors.pop(sock, None)
        if acceptor is not None:
            acceptor.stop()
        inode = self._unix_server_sockets.pop(sock, None)
        if inode is not None:
            path = sock.getsockname()
            try:
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                logger.error("Unable to clean up listening UNIX socket %r: %r", path, error)
        sock.close()

    async def _create_connection_transport(self, sock: socket.socket, *args: Any, **kwargs: Any) -> Any:
        # When this fails, asyncio closes the socket (from Python 3.14.8 on), which would be another transport's.
        # What is no socket is left to asyncio.
        if isinstance(sock, socket.socket):
            self._check_free(sock)
        return await super()._create_connection_transport(sock, *args, **kwargs)

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: Any,
        waiter: asyncio.Future[Any] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        context: Context | None = None,
    ) -> Any:
        self._check_free(sock)
        _set_nodelay(sock)
        stream = stream_of_socket(self, sock, protocol, waiter, extra, server, context)
        bequeath(self, sock, stream)
        return stream

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext | None,
        waiter: asyncio.Future[Any] | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = SSL_SHUTDOWN_TIMEOUT,
        call_connection_made: bool = True,
        context: Context | None = None,
    ) -> Any:
        tls = make_tls(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            call_connection_made=call_connection_made,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._make_socket_transport(rawsock, tls, extra=extra, server=server, context=context)
        return tls._app_transport

    async def start_tls(
        self,
        transport: Any,
        protocol: asyncio.BaseProtocol,
        sslcontext: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport | None:
        """Turns a connection into a TLS one (``loop.start_tls``). Returns the transport to be used from now on."""
        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
        if not can_start_tls(transport):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        waiter = self.create_future()
        tls = make_tls(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            call_connection_made=False,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        # What arrives from now on is for TLS, which begins in the next turn; and what a reader holds, since a client
        # may have begun already.
        transport.pause_reading()
        if server_side and isinstance(protocol, asyncio.StreamReaderProtocol):
            tls.data_received(taken_from_reader(protocol))
        transport.set_protocol(tls)
        steps = (self.call_soon(tls.connection_made, transport), self.call_soon(transport.resume_reading))
        try:
            await waiter
        except BaseException:
            transport.close()
            for step in steps:
                step.cancel()
            raise
        app_transport: asyncio.Transport = tls._app_transport
        return app_transport

    create_unix_connection = create_unix_connection

    def _socket_of(self, fd: int, server: Any) -> socket.socket:
        return accepted_socket(fd, server)

    def _adopt_reader(self, protocol: asyncio.StreamReaderProtocol, stream: Any) -> Any:
        return adopt(protocol, stream)

    # Pipes and other descriptors.

    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Any:
        return read_pipe(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Any:
        return write_pipe(self, pipe, protocol, waiter, extra)

    def add_reader(self, fd: int | _HasFileno, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Calls the callback whenever something can be read from a descriptor (``loop.add_reader``)."""
        self._check_free(fd)
        self._add_reader(fd, callback, *args)

    def remove_reader(self, fd: int | _HasFileno) -> bool:
        """Undoes ``add_reader``. Whether there was one (``loop.remove_reader``)."""
        self._check_free(fd)
        return self._remove_reader(fd)

    def add_writer(self, fd: int | _HasFileno, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Calls the callback whenever something can be written to a descriptor (``loop.add_writer``)."""
        self._check_free(fd)
        self._add_writer(fd, callback, *args)

    def remove_writer(self, fd: int | _HasFileno) -> bool:
        """Undoes ``add_writer``. Whether there was one (``loop.remove_writer``)."""
        self._check_free(fd)
        return self._remove_writer(fd)

    # Sockets.

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.DatagramProtocol,
        address: Any = None,
        waiter: asyncio.Future[Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Any:
        self._check_free(sock)
        unix = sock.family == socket.AF_UNIX
        group, count, size = DATAGRAM_BUFFERS[unix]
        buffers = self._ring._buffer_rings.get(group)
        if buffers is None:
            buffers = register_buffers(self._ring, count, size, group)
        return datagram_transport(self, sock, protocol, address, waiter, extra, buffers)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connects a socket (``loop.sock_connect``); a host's name is looked up first."""
        check_ssl_socket(sock)
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            found = await self._ensure_resolved(
                address, family=sock.family, type=sock.type, proto=sock.proto, loop=self
            )
            address = found[0][4]
        name = None
        if sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            name = encode_for(sock.family, address)
        if name is None:
            await self._connect_other(sock, address)
        else:
            await connect(self, sock, name, address)

    async def _connect_other(self, sock: socket.socket, address: Any) -> None:
        """Connects to an address that only the socket module can encode, or one that a request cannot connect to.

        A request for AF_VSOCK fails: the kernel tries it twice, and finds its own first attempt under way.
        """
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            self._check_free(sock)
            await self._until_writable(sock.fileno())
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, f"Connect call failed {address}")

    async def _by_module(
        self,
        sock: socket.socket,
        until_ready: Callable[[int], Awaitable[None]],
        method: str,
        *arguments: Any,
    ) -> Any:
        while True:
            try:
                return getattr(sock, method)(*arguments)
            except (BlockingIOError, InterruptedError):
                self._check_free(sock)
                await until_ready(sock.fileno())

    async def _until_readable(self, fd: int) -> None:
        ready = self.create_future()
        self._add_reader(fd, _set_result, ready)
        try:
            await ready
        finally:
            self._remove_reader(fd)

    async def _until_writable(self, fd: int) -> None:
        ready = self.create_future()
        self._add_writer(fd, _set_result, ready)
        try:
            await ready
        finally:
            self._remove_writer(fd)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} running={self.is_running()} closed={self.is_closed()} debug={self.get_debug()}>"


def _set_nodelay(sock: socket.socket) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _set_result(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
