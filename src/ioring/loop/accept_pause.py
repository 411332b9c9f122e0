"""What is done when connections cannot be accepted: a pause, and a report to the loop's exception handler.

The same for listening sockets of ioring's loop (``_acceptor``) and for those of an HTTP server on asyncio's own.
"""

import errno
import socket
from typing import Any

from ioring.loop.asyncio_private import TransportSocket

PAUSE_S = 1.0
"""How long connections wait after one could not be accepted, as in asyncio."""

CANNOT_ACCEPT = "socket.accept() out of system resource"
"""What is reported when descriptors or memory have run out: asyncio's own words."""

EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""The errors that mean so."""


def report(error: OSError, listener: socket.socket) -> dict[str, Any]:
    """What the exception handler is told of an error of ``accept``."""
    return {
        "message": CANNOT_ACCEPT if error.errno in EXHAUSTED else "socket.accept() failed",
        "exception": error,
        "socket": TransportSocket(listener),
    }
