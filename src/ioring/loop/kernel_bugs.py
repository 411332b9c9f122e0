"""What some kernels get wrong, found by trying it once."""

import errno
import functools
import socket
import struct

from ioring.ring._buffer_ring import BufferRing
from ioring.ring.constants import SetupFlags
from ioring.ring.ring import Ring

_DEFERRED = SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN
_WAIT_S = 0.05
"""What happened to a socket of this machine is known at once; so long it may take on one that is busy."""

_RESET = struct.pack("ii", 1, 0)


def multishot_misses_ends():
    """Whether a multishot receive may stay silent about an end that comes right behind data.

    The kernel counts both as one event when they come before it looks. It takes the data, and is not told again of an
    end: of Unix sockets since 6.17, of resets of TCP connections for longer. Mended in Linux 7.0 (a68ed2df, "io_uring/
    poll: fix multishot recv missing EOF on wakeup race"), and in kernels that are maintained.
    """
    try:
        return _found()
    except OSError:
        return True  # it cannot be tried now, and to take it for true costs speed alone


def _try():
    return _misses(*socket.socketpair()) or _misses(*_connection())


_found = functools.cache(_try)


def _connection():
    """Both ends of a TCP connection, the second of which resets it when it is closed; two None where there is none."""
    there = socket.socket()
    there.settimeout(_WAIT_S)
    try:
        with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
            listener.settimeout(_WAIT_S)
            there.connect(listener.getsockname())
            here, _ = listener.accept()
    except OSError as error:
        there.close()
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
            raise
        return None, None  # no network here
    there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return here, there


def _misses(here, there):
    if here is None:
        return False
    with here, there, Ring(4, flags=_DEFERRED) as ring:
        ring.register_buf_ring(BufferRing(2, 64), 0)
        sqe = ring.get_sqe()
        sqe.prep_recv_multishot(here)
        sqe.buffer_group = 0
        ring.submit()
        there.send(b"data")
        there.close()
        heard = False
        try:
            while ring.wait_cqe(_WAIT_S).more:
                heard = True
        except TimeoutError:
            return heard
        return False
