"""``Loop``: asyncio's event loop on one ring.

The hot half is compiled (``_core/loop`` and what stands on it). Here is what happens once per connection, per signal,
per child, in plain Python, over the hooks that ``asyncio.BaseEventLoop`` has for subclasses. This is the one place
that uses private names of asyncio; ``tests/loop/test_asyncio_names.py`` checks that each Python has them.
"""

import asyncio
import asyncio.base_events
import asyncio.constants
import asyncio.coroutines
import asyncio.events
import asyncio.format_helpers
import asyncio.futures
import asyncio.transports
import asyncio.trsock
import contextlib
import errno
import inspect
import io
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import time
import weakref

from ioring._core.accept import Acceptor
from ioring._core.address import encode_for
from ioring._core.buffers import BufferRing
from ioring._core.constants import Op, RegisterOp, SetupFlags
from ioring._core.datagram import datagram_transport
from ioring._core.errors import ForkedRing, RingUnavailable
from ioring._core.pipe import read_pipe, write_pipe
from ioring._core.poll import Watching
from ioring._core.reader import adopt
from ioring._core.sock import bequeath, connect
from ioring._core.stream import stream_of_descriptor, stream_of_socket
from ioring._core.tls import TlsProtocol
from ioring.children import Children
from ioring.features import features
from ioring.quirks import multishot_misses_ends
from ioring.ring import Ring

logger = logging.getLogger("asyncio")

ENTRIES = 1024
ENTRIES_MIN = 32
COMPLETIONS = 8192
BUFFERS = 128
BUFFER_SIZE = 65536 + 64  # not a power of two: the beginnings of all buffers would share a few lines of the cache
SLOTS_MAX = 65536
BUFFER_GROUP = 0
RELEASE_SECONDS = 0.02  # the kernel gives the memory of a closed ring back a little later

# Buffers for datagrams, by whether the socket is a Unix one: group, number, size. Any datagram fits, behind 128 bytes
# of header and address; the kernel's limits are 64 KiB for UDP, and what asyncio receives at most for the others.
DATAGRAM_BUFFERS = {False: (1, 128, 65536 + 128 + 64), True: (2, 16, 262144 + 128 + 64)}

# From the one that serves best to the plainest; each kernel takes the first that it knows.
FLAGS = SetupFlags.SUBMIT_ALL | SetupFlags.CLAMP | SetupFlags.R_DISABLED
DEFERRED = FLAGS | SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN | SetupFlags.TASKRUN_FLAG
LADDER = (
    DEFERRED | SetupFlags.NO_SQARRAY,
    DEFERRED,
    FLAGS | SetupFlags.COOP_TASKRUN | SetupFlags.TASKRUN_FLAG,
    FLAGS,
)
ANY_THREAD = (FLAGS | SetupFlags.COOP_TASKRUN | SetupFlags.TASKRUN_FLAG, FLAGS)


def _open_ring(ladder):
    """A ring with the best flags that this kernel has, as large as memory limits allow, and its receive buffers."""
    entries, completions = ENTRIES, COMPLETIONS
    rungs = list(ladder)
    while True:
        try:
            ring = Ring(entries, flags=rungs[0], cq_entries=completions)
        except RingUnavailable as error:
            if error.errno == errno.EINVAL and len(rungs) > 1:
                rungs.pop(0)
                continue
            if error.errno != errno.ENOMEM or entries <= ENTRIES_MIN:
                raise
        else:
            try:
                buffers = BufferRing(BUFFERS, BUFFER_SIZE)
                ring.register_buf_ring(buffers, BUFFER_GROUP)
                return ring, buffers
            except BaseException as error:
                ring.close()
                if not isinstance(error, OSError) or error.errno != errno.ENOMEM:
                    raise
                if entries <= ENTRIES_MIN:
                    raise RingUnavailable(error.errno, error.strerror) from None
        time.sleep(RELEASE_SECONDS)
        entries, completions = entries // 2, completions // 2


def _register_buffers(ring, count, size, group):
    """Buffers for a group, even when memory is short because a ring was closed a moment ago."""
    buffers = BufferRing(count, size)
    attempts = 5
    while True:
        try:
            ring.register_buf_ring(buffers, group)
            return buffers
        except OSError as error:
            attempts -= 1
            if error.errno != errno.ENOMEM or not attempts:
                raise
        time.sleep(RELEASE_SECONDS)


class _SocketTransport(asyncio.transports._FlowControlMixin, asyncio.Transport):
    """What a stream is when isinstance() asks."""


class _SSLTransport(_SocketTransport):
    """What a TLS connection is, by the name that asyncio's own has something of."""


class _PipeWriteTransport(asyncio.transports._FlowControlMixin, asyncio.WriteTransport):
    """What a pipe's writing end is: asyncio's own is a Transport too."""


class _DatagramTransport(asyncio.transports._FlowControlMixin, asyncio.DatagramTransport):
    """The same of a datagram socket."""


# What the compiled transports are when isinstance() asks: they cannot inherit from asyncio's classes.
_CLASSES = {
    "Stream": _SocketTransport,
    "TlsTransport": _SSLTransport,
    "PipeReader": asyncio.ReadTransport,
    "PipeWriter": _PipeWriteTransport,
    "Datagram": _DatagramTransport,
}


_loops = weakref.WeakSet()


def _leave_to_parent():
    """In the child of a fork: all loops are the parent's."""
    for loop in list(_loops):
        loop._leave_to_parent()


os.register_at_fork(after_in_child=_leave_to_parent)


class Loop(Watching, Children, asyncio.BaseEventLoop):
    """An asyncio event loop whose sockets, pipes, timers and children run on one io_uring.

    Parameters:
        direct_descriptors: accepted connections live in the ring's own file table instead of the process's. That
            saves the kernel work, and the limit on open files does not count them; a descriptor is made when
            somebody asks for the transport's ``socket``. A kernel that cannot make one, before 6.8, has ordinary
            descriptors all the same.
        any_thread: let the loop run in one thread after another, with I/O in flight. By default it belongs to the
            first thread that runs it, which the kernel makes cheaper.

    Raises:
        RingUnavailable: no ring can be had here; the message says why and what to do.
    """

    def __init__(self, *, direct_descriptors=False, any_thread=False):
        self._forked = False
        super().__init__()
        self._closed = True  # until there is something to close
        self._server_has_clients = "transport" in inspect.signature(asyncio.base_events.Server._attach).parameters
        self._sendfile_mode = asyncio.constants._SendfileMode.TRY_NATIVE
        self._sendfile_fallback_mode = asyncio.constants._SendfileMode.FALLBACK
        self._classes = _CLASSES
        self._adopt_reader = adopt
        self._signal_handlers = {}
        self._signal_sockets = None
        self._unix_server_sockets = {}
        self._acceptors = {}
        self._children = {}
        self._any_thread = any_thread
        self._eventfd = -1
        self._start_ring(direct_descriptors)
        self._closed = False
        _loops.add(self)

    def _start_ring(self, direct):
        ring, buffers = _open_ring(ANY_THREAD if self._any_thread else LADDER)
        try:
            slots = 0
            # Without the operation nobody could get a connection's socket, nor its peer's name.
            if direct and Op.FIXED_FD_INSTALL.name in features().operations:
                slots = _slots()
                ring.register_files_sparse(slots)
            once = multishot_misses_ends()
            if RegisterOp.SEND_MSG_RING.name not in features().registrations:
                self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except BaseException:
            ring.close()
            raise
        self._open(ring, buffers, slots, self._eventfd, once)

    # Running.

    def run_forever(self):
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
            asyncio.events._set_running_loop(self)
            signals = self._watch_signals()
            self._spin()
        finally:
            self._stopping = False
            self._thread_id = None
            asyncio.events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*hooks)
            self._unwatch_signals(signals)
            if not self._closed:
                self._settle()

    def _take_ring(self):
        """The ring belongs to the thread that runs the loop first."""
        ring = self._ring
        if ring._flags & SetupFlags.R_DISABLED:
            ring.enable_rings()
            ring._ensure_workers()
            if not ring._flags & SetupFlags.SINGLE_ISSUER and ring._registered_fd >= 0:
                ring.unregister_ring_fd()  # a place of this thread's, and others are to use the ring
        elif not self._at_home():
            if not ring._flags & SetupFlags.SINGLE_ISSUER:
                ring._move_here()
                return
            raise RuntimeError(
                "the loop has run in another thread, to which its ring belongs: make it with "
                "Loop(any_thread=True), or make a new loop in each thread"
            )

    def close(self):
        """Closes the loop (``loop.close``). Operations in flight are cancelled and waited for.

        Raises:
            RuntimeError: the loop is running.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        super().close()
        if sys.is_finalizing():
            self._signal_handlers.clear()
        for number in list(self._signal_handlers):
            self.remove_signal_handler(number)
        self._acceptors.clear()
        self._forget()
        self._ring.close()
        self._close_descriptors()

    def _close_descriptors(self):
        self._forget_signals()
        if self._eventfd >= 0:
            os.close(self._eventfd)
            self._eventfd = -1
        self._forget_children()

    # In the child of a fork.

    def _leave_to_parent(self):
        """Lets go of what is the parent's: the ring is closed already, and signals of the child are its own."""
        if self._closed:
            return
        self._closed = self._forked = True
        for number in list(self._signal_handlers):
            self.remove_signal_handler(number)
        if self.is_running():
            self._thread_id = None
            asyncio.events._set_running_loop(None)
        self._close_descriptors()

    def _check_closed(self):
        if self._forked:
            raise ForkedRing(
                "the loop belongs to the parent process: make a new one in the child, by ioring.run() or its like"
            )
        super()._check_closed()

    # Debug mode.

    def set_debug(self, enabled):
        """Switches debug mode (``loop.set_debug``)."""
        self._debug = bool(enabled)
        if self.is_running():
            self.call_soon_threadsafe(self._set_coroutine_origin_tracking, self._debug)

    def _traceback(self):
        """Where the running program is: of a handle that is being made."""
        return asyncio.format_helpers.extract_stack(sys._getframe(1))

    def _ran(self, handle, seconds):
        if seconds >= self.slow_callback_duration:
            asyncio.base_events.logger.warning(
                "Executing %s took %.3f seconds", asyncio.base_events._format_handle(handle), seconds
            )

    def _debug_failure(self, transport, message, exception):
        if self._debug:
            logger.debug("%r: %s", transport, message, exc_info=exception)

    def _warn(self, message):
        logger.warning(message)

    # Servers and connections.

    def _start_serving(
        self,
        protocol_factory,
        sock,
        sslcontext=None,
        server=None,
        backlog=100,
        ssl_handshake_timeout=asyncio.constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout=asyncio.constants.SSL_SHUTDOWN_TIMEOUT,
    ):
        _set_nodelay(sock)  # accepted connections inherit it
        wrap = None
        if sslcontext is not None:

            def wrap(fd, direct, protocol, context, server):
                tls = TlsProtocol(
                    self,
                    protocol,
                    sslcontext,
                    None,
                    server_side=True,
                    ssl_handshake_timeout=ssl_handshake_timeout,
                    ssl_shutdown_timeout=ssl_shutdown_timeout,
                )
                stream_of_descriptor(self, fd, direct, tls, context, server)

        self._acceptors[sock] = Acceptor(self, sock, protocol_factory, wrap, server, backlog)

    def _leave_serving(self, sock):
        """Accepts no more from a listening socket that stays open. Whether nothing is under way any more."""
        acceptor = self._acceptors.get(sock)
        return acceptor is None or acceptor.leave()

    def _stop_serving(self, sock):
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

    def _cannot_accept(self, sock, error):
        """Accepting rests for a while."""
        self.call_exception_handler(
            {
                "message": "socket.accept() out of system resource",
                "exception": error,
                "socket": asyncio.trsock.TransportSocket(sock),
            }
        )

    def _make_socket_transport(self, sock, protocol, waiter=None, *, extra=None, server=None):
        self._check_free(sock)
        _set_nodelay(sock)
        stream = stream_of_socket(self, sock, protocol, waiter, extra, server)
        bequeath(self, sock, stream)
        return stream

    def _make_ssl_transport(
        self,
        rawsock,
        protocol,
        sslcontext,
        waiter=None,
        *,
        server_side=False,
        server_hostname=None,
        extra=None,
        server=None,
        ssl_handshake_timeout=asyncio.constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout=asyncio.constants.SSL_SHUTDOWN_TIMEOUT,
        call_connection_made=True,
    ):
        tls = TlsProtocol(
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
        self._make_socket_transport(rawsock, tls, extra=extra, server=server)
        return tls._app_transport

    async def start_tls(
        self,
        transport,
        protocol,
        sslcontext,
        *,
        server_side=False,
        server_hostname=None,
        ssl_handshake_timeout=None,
        ssl_shutdown_timeout=None,
    ):
        """Turns a connection into a TLS one (``loop.start_tls``). Returns the transport to be used from now on."""
        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        waiter = self.create_future()
        tls = TlsProtocol(
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
        # What arrives from now on is for TLS, which begins at the next turn.
        transport.pause_reading()
        transport.set_protocol(tls)
        steps = (self.call_soon(tls.connection_made, transport), self.call_soon(transport.resume_reading))
        try:
            await waiter
        except BaseException:
            transport.close()
            for step in steps:
                step.cancel()
            raise
        return tls._app_transport

    create_unix_connection = asyncio.SelectorEventLoop.create_unix_connection
    create_unix_server = asyncio.SelectorEventLoop.create_unix_server

    def _transport_socket(self, sock):
        return asyncio.trsock.TransportSocket(sock)

    def _socket_of(self, fd, server):
        """A socket object for a descriptor that came from accept."""
        if server is not None and server._sockets:
            listener = server._sockets[0]
            # The flag tells the object, without a system call, that the descriptor does not block.
            return socket.socket(listener.family, listener.type | socket.SOCK_NONBLOCK, listener.proto, fileno=fd)
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        return sock

    # Pipes and other descriptors.

    def _make_read_pipe_transport(self, pipe, protocol, waiter=None, extra=None):
        return read_pipe(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(self, pipe, protocol, waiter=None, extra=None):
        return write_pipe(self, pipe, protocol, waiter, extra)

    def add_reader(self, fd, callback, *args):
        """Calls the callback whenever something can be read from a descriptor (``loop.add_reader``)."""
        self._check_free(fd)
        self._add_reader(fd, callback, *args)

    def remove_reader(self, fd):
        """Undoes ``add_reader``. Whether there was one (``loop.remove_reader``)."""
        self._check_free(fd)
        return self._remove_reader(fd)

    def add_writer(self, fd, callback, *args):
        """Calls the callback whenever something can be written to a descriptor (``loop.add_writer``)."""
        self._check_free(fd)
        self._add_writer(fd, callback, *args)

    def remove_writer(self, fd):
        """Undoes ``add_writer``. Whether there was one (``loop.remove_writer``)."""
        self._check_free(fd)
        return self._remove_writer(fd)

    # Sockets.

    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None, extra=None):
        self._check_free(sock)
        unix = sock.family == socket.AF_UNIX
        group, count, size = DATAGRAM_BUFFERS[unix]
        buffers = self._ring._buffer_rings.get(group)
        if buffers is None:
            buffers = _register_buffers(self._ring, count, size, group)
        return datagram_transport(self, sock, protocol, address, waiter, extra, buffers)

    async def sock_connect(self, sock, address):
        """Connects a socket (``loop.sock_connect``); a host's name is looked up first."""
        asyncio.base_events._check_ssl_socket(sock)
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

    async def _connect_other(self, sock, address):
        """Connects to an address that only the socket module knows, or a socket that the kernel may not try again.

        It says of AF_VSOCK that a connection is under way already.
        """
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            self._check_free(sock)
            await self._until_writable(sock.fileno())
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, f"Connect call failed {address}")

    async def _by_module(self, sock, until_ready, method, *arguments):
        """A call of the socket's own, as often as it takes: for addresses that only the socket module knows."""
        while True:
            try:
                return getattr(sock, method)(*arguments)
            except (BlockingIOError, InterruptedError):
                self._check_free(sock)
                await until_ready(sock.fileno())

    async def _sock_sendfile_native(self, sock, file, offset, count):
        try:
            fd = file.fileno()
            size = os.fstat(fd).st_size
        except (AttributeError, io.UnsupportedOperation, OSError):
            raise asyncio.SendfileNotAvailableError("not a regular file") from None
        left = count if count else sys.maxsize
        sent = 0
        try:
            while left > 0 and size:
                try:
                    done = os.sendfile(sock.fileno(), fd, offset, min(left, 1 << 30))
                except BlockingIOError:
                    await self._until_writable(sock.fileno())
                    continue
                except OSError as error:
                    if sent == 0 and error.errno in (errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK):
                        raise asyncio.SendfileNotAvailableError("os.sendfile() cannot send this file") from None
                    raise
                if done == 0:
                    break
                sent += done
                offset += done
                left -= done
        finally:
            if sent:
                os.lseek(fd, offset, os.SEEK_SET)
        return sent

    async def _until_readable(self, fd):
        ready = self.create_future()
        self._add_reader(fd, _set_result, ready)
        try:
            await ready
        finally:
            self._remove_reader(fd)

    async def _until_writable(self, fd):
        ready = self.create_future()
        self._add_writer(fd, _set_result, ready)
        try:
            await ready
        finally:
            self._remove_writer(fd)

    async def _sendfile_native(self, transport, file, offset, count):
        reading = transport.is_reading()
        transport.pause_reading()
        await transport._make_empty_waiter()
        try:
            return await self.sock_sendfile(transport._socket_object(), file, offset, count, fallback=False)
        finally:
            transport._reset_empty_waiter()
            if reading:
                transport.resume_reading()

    # Signals.

    def _watch_signals(self):
        """Lets every signal end the wait, in the main thread. The wakeup descriptor to be restored, or None."""
        if threading.current_thread() is not threading.main_thread():
            return None
        if self._signal_sockets is None:
            self._signal_sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listen_to_signals(self._signal_sockets[0].fileno())
        own = self._signal_sockets[1].fileno()
        try:
            before = signal.set_wakeup_fd(own, warn_on_full_buffer=False)
        except ValueError:  # the main thread of another interpreter
            return None
        return -1 if before == own else before

    def _unwatch_signals(self, before):
        """Restores the wakeup descriptor; also when an interrupt has kept it from being known."""
        if self._signal_sockets is not None and threading.current_thread() is threading.main_thread():
            with contextlib.suppress(ValueError):
                signal.set_wakeup_fd(-1 if before is None else before, warn_on_full_buffer=False)

    def _forget_signals(self):
        """The interpreter must not write to descriptors that will soon be somebody else's."""
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

    def _on_signal(self, number, frame):
        """What the interpreter calls, between two steps of the program, in the main thread."""
        handler = self._signal_handlers.get(number)
        if handler is not None and not self._closed:
            callback, args = handler
            self.call_soon_threadsafe(callback, *args)

    def add_signal_handler(self, sig, callback, *args):
        """Calls the callback in the loop when the signal comes (``loop.add_signal_handler``).

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
        self._signal_handlers[sig] = (callback, args)

    def remove_signal_handler(self, sig):
        """Restores the default action of a signal. Whether there was a handler (``loop.remove_signal_handler``)."""
        _check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
        return True

    def __repr__(self):
        return f"<{type(self).__name__} running={self.is_running()} closed={self.is_closed()} debug={self.get_debug()}>"


def _slots():
    """Size of the file table: what the limit on open files allows."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return SLOTS_MAX if soft == resource.RLIM_INFINITY else max(min(soft, SLOTS_MAX), 1)


def _set_nodelay(sock):
    if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _set_result(future):
    if not future.done():
        future.set_result(None)


def _check_signal(sig):
    if not isinstance(sig, int):
        raise TypeError(f"sig must be an int, not {sig!r}")
    if sig not in signal.valid_signals():
        raise ValueError(f"invalid signal number {sig}")
