"""What every transport has: a protocol, flow control, extra information, and an end.

A transport is itself the operation that receives. While that is in flight the ring holds it, so it lives as long as
something can still arrive. Its descriptor is closed once: after connection_lost(), or when the transport is dropped.
"""

import sys
import warnings

import cython
from cython.cimports.cpython.contextvars import PyContext_CopyCurrent
from cython.cimports.cpython.ref import Py_DECREF
from cython.cimports.ioring.loop._handles import reraise
from cython.cimports.posix.unistd import close

HIGH_WATER = cython.declare(cython.size_t, 65536)
"""asyncio's default: a protocol is paused when more than so many bytes wait to be sent."""

LOST_WRITES_MAX = cython.declare(cython.uint, 5)
"""So many writes to a lost connection are dropped in silence, as asyncio does."""


class Filter:
    """A protocol in compiled code, such as TLS: told of what arrives directly, and outside the transport's context.

    It answers for its exceptions itself.
    """

    def feed(self, data):
        """Bytes have come: what data_received() is to others."""
        raise NotImplementedError

    def end(self):
        """The other side sends no more: eof_received(). Whether the transport stays open."""
        raise NotImplementedError


class Transport:
    """The part that is common to streams, datagrams and pipes."""

    def __cinit__(self):
        self.fd = -1
        self.high = HIGH_WATER
        self.low = HIGH_WATER // 4

    def __init__(self):
        raise TypeError("a transport comes from a loop: create_connection(), create_server(), connect_read_pipe(), ...")

    def set_up(self, loop, fd, protocol, context, extra, server):
        """The transport has a descriptor of its own from now on."""
        self.loop = loop
        self.context = PyContext_CopyCurrent() if context is None else context
        self.extra = extra
        self.server = server
        self.set_protocol(protocol)
        if server is not None:
            if loop._server_has_clients:
                server._attach(self)
            else:
                server._attach()
        self.fd = fd  # the caller's until nothing can fail any more
        return 0

    def tell_waiter(self, waiter):
        """Whoever waits for the transport to be open may go on, after what is scheduled so far."""
        if waiter is not None:
            self.loop.schedule(_open, (waiter,), self.context)
        return 0

    def detach(self, server):
        if self.loop._server_has_clients:
            server._detach(self)
        else:
            server._detach()
        return 0

    def target(self, sqe):
        """Makes a request one for this descriptor."""
        sqe.fd = self.fd
        if self.direct:
            sqe.flags |= URING_SQE_FIXED_FILE
        return 0

    @property
    def __class__(self):
        return self.loop._classes[type(self).__name__]

    # The protocol.

    def set_protocol(self, protocol):
        """Hands all further events to another protocol."""
        self.protocol = protocol

    def get_protocol(self):
        """The protocol that events go to."""
        return self.protocol

    def call(self, name, argument):
        """protocol.name(argument), or protocol.name() when that is None, in the transport's context."""
        result = ioring_run_method(self.context, self.protocol, name, argument)
        if result == cython.NULL:
            reraise()
        value = cython.cast(object, result)
        Py_DECREF(value)
        return value

    def failed(self, message):
        """A method of the protocol raised, and the exception is the current one: the connection ends with it."""
        exception = sys.exc_info()[1]
        if isinstance(exception, (SystemExit, KeyboardInterrupt)):
            raise exception
        return self.fatal(exception, f"Fatal error: protocol.{message} call failed.")

    def fatal(self, exception, message):
        """Ends the connection because of an exception."""
        try:
            if isinstance(exception, OSError):
                self.loop._debug_failure(self, message, exception)
            else:
                self.loop.call_exception_handler(
                    {"message": message, "exception": exception, "transport": self, "protocol": self.protocol}
                )
        finally:  # also when the handler ends the loop
            self.break_off(exception)
        return 0

    # Extra information.

    def get_extra_info(self, name, default=None):
        """What is known of the connection (``transport.get_extra_info``).

        Sockets: ``socket``, ``sockname``, ``peername``; pipes: ``pipe``. What costs a system call is found out when it
        is asked for the first time.
        """
        if self.extra is not None and name in self.extra:
            return self.extra[name]
        value = self.load_extra(name)
        return default if value is None else value

    def load_extra(self, name):
        return None

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

    # Flow control.

    def get_write_buffer_size(self):
        """Bytes that were written and that the kernel did not take yet."""
        return self.size

    def get_write_buffer_limits(self):
        """The low and the high water mark, in bytes."""
        return (self.low, self.high)

    def set_write_buffer_limits(self, high=None, low=None):
        """Sets the marks of ``pause_writing`` and ``resume_writing``, in bytes.

        Parameters:
            high: more than this pauses the protocol; 65536, or four times ``low``, when it is not given.
            low: so much or less lets it go on; a quarter of ``high`` when it is not given.

        Raises:
            ValueError: not high >= low >= 0.
        """
        if high is None:
            high = 65536 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high = high
        self.low = low
        self.check_high()

    def check_high(self):
        if self.size <= self.high or self.protocol_paused:
            return 0
        return self.pause_protocol()

    def pause_protocol(self):
        self.protocol_paused = True
        try:
            self.protocol.pause_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            self.loop.call_exception_handler(
                {
                    "message": "protocol.pause_writing() failed",
                    "exception": exception,
                    "transport": self,
                    "protocol": self.protocol,
                }
            )
        return 0

    def check_low(self):
        if not self.protocol_paused or self.size > self.low:
            return 0
        self.protocol_paused = False
        try:
            self.call("resume_writing", None)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            self.loop.call_exception_handler(
                {
                    "message": "protocol.resume_writing() failed",
                    "exception": exception,
                    "transport": self,
                    "protocol": self.protocol,
                }
            )
        return 0

    @property
    def _protocol_paused(self):
        return self.protocol_paused

    def submit_now(self):
        """While the loop does not run there is no turn that ends: what was written is sent at once."""
        if self.loop._thread_id is None:
            self.loop._settle()
        return 0

    # The end.

    def is_closing(self):
        """Whether the transport is closed or closing."""
        return self.closing

    def stop_receiving(self):
        """Nothing more is wanted from the other side."""
        return self.loop.cancel(self)

    def drop_output(self):
        """Forgets what was written and is not with the kernel yet, and cancels what is."""
        return 0

    def close(self):
        """Closes the transport once everything written is sent (``transport.close``)."""
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
        self.break_off(exception)

    def break_off(self, exception):
        if self.lost:
            return 0
        self.drop_output()
        if not self.closing:
            self.closing = True
            self.stop_receiving()
        return self.schedule_lost(exception)

    def schedule_lost(self, exception):
        self.lost += 1
        return self.loop.schedule(self._connection_lost, (exception,), self.context)

    def _connection_lost(self, exception):
        try:
            if self.protocol is not None:
                self.protocol.connection_lost(exception)
        finally:
            self.disconnected = True
            self.release_descriptor()
            server, self.server = self.server, None
            if server is not None:
                self.detach(server)

    def release_descriptor(self):
        """Gives the descriptor back: to the file that owns it, or to the kernel."""
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

    def free_slot(self, slot):
        """Gives a direct descriptor back, once no request can mean it any more."""
        self.loop._free_slot(slot)
        return 0

    def __del__(self):
        if self.fd < 0 or self.loop is None:
            return
        warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=1)
        file, self.file = self.file, None
        if file is not None:
            file.close()
        elif not self.direct:
            close(self.fd)
        elif not self.loop._closed:  # maybe in another thread
            self.loop.call_soon_threadsafe(self.loop._free_slot, self.fd)
        self.fd = -1
        if self.server is not None:
            self.detach(self.server)
            self.server = None

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


def _open(waiter):
    if not waiter.cancelled():
        waiter.set_result(None)
