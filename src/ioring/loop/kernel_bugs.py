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
"""How long to wait for data and an end on a socket of this machine: they come at once, unless it is busy."""

_RESET = struct.pack("ii", 1, 0)


def multishot_misses_ends() -> bool:
    """Whether a multishot receive may fail to report an end that comes directly after data.

    The kernel counts both as one event if they come before it looks. It takes the data, and is not told of the end
    again: with Unix sockets since 6.17, with resets of TCP connections for longer. Fixed in Linux 7.0 (a68ed2df,
    "io_uring/poll: fix multishot recv missing EOF on wakeup race"), and in kernels that are maintained.
    """
    try:
        return _found()
    except OSError:
        return True  # it cannot be tried now, and to assume it is only slower


def _try() -> bool:
    return _misses(*socket.socketpair()) or _misses(*_connection())


_found = functools.cache(_try)


def _connection() -> tuple[socket.socket, socket.socket] | tuple[None, None]:
    """Both ends of a TCP connection, of which the second resets it when it is closed; None twice without a network."""
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
        return None, None
    there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return here, there


def _misses(here: socket.socket | None, there: socket.socket | None) -> bool:
    if here is None or there is None:
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
