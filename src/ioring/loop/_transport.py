"""What every transport on a descriptor has: a protocol, extra information, and the way it is closed.

A transport is itself the operation that receives. While that is in flight the ring holds it, so it lives as long as
something can still arrive. Its descriptor is closed once: after connection_lost(), or by the garbage collector.
"""

import sys
import warnings

import cython
from cython.cimports.cpython.contextvars import PyContext_CopyCurrent
from cython.cimports.posix.unistd import close

from ioring.loop.asyncio_private import attach
from ioring.loop.asyncio_private import detach as _detach

# A transport may outlive the globals of its module, at the interpreter's end; these stay.
warn = cython.declare(object, warnings.warn)
detach = cython.declare(object, _detach)

HIGH_LIMIT = cython.declare(cython.size_t, 65536)
"""asyncio's default for the write buffer, in bytes."""


class Filter:
    """A compiled protocol, such as TLS. A Stream calls it directly, and outside the transport's context.

    It handles the exceptions of the application's protocol itself.
    """

    def feed(self, data):
        """data_received() of other protocols."""
        raise NotImplementedError

    def end(self):
        """eof_received() of other protocols: returns whether the transport stays open."""
        raise NotImplementedError


class Transport(FlowControl):
    """The part that is common to streams, datagrams and pipes."""

    def __cinit__(self):
        self.fd = -1
        self.limit(HIGH_LIMIT)

    def __init__(self):
        raise TypeError("a transport comes from a loop: create_connection(), create_server(), connect_read_pipe(), ...")

    def set_up(self, loop, fd, protocol, context, extra, server):
        """Gives the transport its descriptor, and the rest of what it needs."""
        self.loop = loop
        self.context = PyContext_CopyCurrent() if context is None else context
        self.extra = extra
        self.server = server
        self.set_protocol(protocol)
        if server is not None:
            attach(server, self)
        self.fd = fd  # last: until nothing can fail any more, the caller closes it
        return 0

    def tell_waiter(self, waiter):
        """Sets the result of the future that waits for the transport, after what is scheduled so far."""
        if waiter is not None:
            self.loop.schedule(_set_result, (waiter,), self.context)
        return 0

    def target(self, sqe):
        """Directs a request to this descriptor."""
        sqe.fd = self.fd
        if self.direct:
            sqe.flags |= URING_SQE_FIXED_FILE
        return 0

    # The protocol.

    def set_protocol(self, protocol):
        """Hands all further events to another protocol."""
        self.protocol = protocol

    def get_protocol(self):
        """The protocol that events go to."""
        return self.protocol

    def call(self, name, argument):
        return ioring_call_method(self.context, self.protocol, name, argument)

    def failed(self, message):
        """A method of the protocol has raised the current exception, which ends the connection."""
        exception = sys.exc_info()[1]
        if isinstance(exception, (SystemExit, KeyboardInterrupt)):
            raise exception
        return self.fatal(exception, f"Fatal error: protocol.{message} call failed.")

    def fatal(self, exception, message):
        """Breaks the connection off because of an exception."""
        try:
            if isinstance(exception, OSError):
                self.loop._debug_failure(self, message, exception)
            else:
                self.loop.call_exception_handler(
                    {"message": message, "exception": exception, "transport": self, "protocol": self.protocol}
                )
        finally:  # also when the handler raises SystemExit or KeyboardInterrupt
            self.break_off(exception)
        return 0

    # Extra information.

    def get_extra_info(self, name, default=None):
        """Information about the connection (``transport.get_extra_info``).

        Sockets: ``socket``, ``sockname``, ``peername``; pipes: ``pipe``. What takes a system call is looked up when it
        is asked for the first time.
        """
        if self.extra is not None and name in self.extra:
            return self.extra[name]
        value = self.load_extra(name)
        return default if value is None else value

    def load_extra(self, name):
        """Looks up what get_extra_info() was not asked for yet; heirs know how. None if there is no such thing."""
        return

    # Private attributes of asyncio's transports that programs look at all the same.

    @property
    def _extra(self):
        if self.extra is None:
            self.extra = {}
        return self.extra

    @property
    def _loop(self):
        return self.loop

    @property
    def _protocol(self):
        return self.protocol

    @property
    def _paused(self):
        return self.paused

    @property
    def _closing(self):
        return self.closing

    def submit_now(self):
        """While the loop does not run no turn will submit what was written: it is submitted here."""
        if self.loop._thread_id is None:
            self.loop._settle()
        return 0

    # Closing.

    def is_closing(self):
        """Whether the transport is closed or closing."""
        return self.closing

    def stop_receiving(self):
        """Cancels the receive that is in flight."""
        return self.loop.cancel(self)

    def close(self):
        """Closes the transport once everything written is sent (``transport.close``)."""
        if self.loop._closed:
            self.abort()  # nothing will be sent any more
            return
        if self.closing:
            return
        self.closing = True
        self.stop_receiving()
        if self.size == 0:
            self.schedule_lost(None)

    def abort(self):
        """Closes the transport at once; what was not sent yet is lost (``transport.abort``)."""
        self.break_off(None)

    def _force_close(self, exception):
        """abort() with an exception for connection_lost(), by the name that asyncio has for it."""
        self.break_off(exception)

    def break_off(self, exception):
        """Closes the transport at once; connection_lost() is called with the exception, or None."""
        if self.lost and not self.loop._closed:
            return 0
        if self.fd >= 0 and not self.loop._closed:
            self.try_output()
        self.drop_output()
        if not self.closing:
            self.closing = True
            self.stop_receiving()
        return self.schedule_lost(exception)

    def try_output(self):
        """Submits what waits for the turn's end: asyncio's own transports have tried to send it by now."""
        return self.prepare()

    def schedule_lost(self, exception):
        self.lost += 1
        if self.loop._closed:  # nothing that is scheduled will run
            return self.let_go()
        return self.loop.schedule(self._connection_lost, (exception,), self.context)

    def _connection_lost(self, exception):
        try:
            if self.protocol is not None:
                self.protocol.connection_lost(exception)
        finally:
            self.disconnected = True
            self.protocol = None  # which usually has the transport, too
            self.release_descriptor()
            server, self.server = self.server, None
            if server is not None:
                detach(server, self)

    def release_descriptor(self):
        """Closes the descriptor, or the file object that owns it."""
        sqe: sqe_p
        fd: cython.int = self.fd
        file, self.file = self.file, None
        self.fd = -1
        if fd < 0:
            return 0
        if file is not None and self.loop.owners:
            self.loop.owners.pop(file.fileno(), None)
        self.loop.cancel(self)
        if self.direct:
            self.free_slot(fd)
        if file is not None:
            file.close()
        elif not self.direct:
            sqe = self.loop.ring.send_off()
            sqe.opcode = URING_OP_CLOSE
            sqe.fd = fd
        return self.loop.nudge()

    def let_go(self):
        """Closes the descriptor without the loop, which is closed, or of another thread. A closed loop has no slots."""
        fd: cython.int = self.fd
        file, self.file = self.file, None
        self.fd = -1
        if fd < 0:
            return 0
        if file is not None:
            file.close()
        elif not self.direct:
            close(fd)
        elif not self.loop._closed:
            self.loop.call_soon_threadsafe(self.loop._free_slot, fd)
        server, self.server = self.server, None
        if server is not None and sys is not None:  # None: the interpreter ends, and asyncio's modules are gone
            try:
                detach(server, self)
            except RuntimeError:  # somebody waits for the server, on the closed loop
                if not self.loop._closed:
                    raise
        return 0

    def free_slot(self, slot):
        """Closes a direct descriptor, once no request in flight can refer to it any more."""
        self.loop._free_slot(slot)
        return 0

    def __del__(self):
        if self.fd < 0 or self.loop is None:
            return
        warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=1)
        self.let_go()  # threadsafe: the garbage collector runs in any thread

    def __repr__(self):
        parts = [type(self).__name__]
        if self.disconnected:
            parts.append("closed")
        else:
            parts.append("closing" if self.closing else "open")
        parts.append(f"{'slot' if self.direct else 'fd'}={self.fd}")
        if self.loop is not None and not self.loop._closed:
            parts.append(f"receiving={self.table != cython.NULL}")
            parts.append(f"write_buffer_size={self.size}")
        return f"<{' '.join(parts)}>"


def _set_result(waiter):
    if not waiter.cancelled():
        waiter.set_result(None)
