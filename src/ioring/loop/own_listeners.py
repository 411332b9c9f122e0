"""Which listening sockets are this process's alone.

The loop accepts in two ways. A request that waits for connections is the faster one, and right for a socket that nobody
else has. With a socket that several processes have it would be wrong: the kernel gives each connection to the one that
waits first, whether it is idle or computes, and to one that is being killed, too. So there the loop waits until a
connection is there, as all the others do, and then tries to get it.

A socket counts as one's own if the loop or the server has made it itself, if there was no fork since, and if programs
that are started do not inherit it. Of all others nobody knows who has them.
"""

import os
import socket
import weakref

_own: weakref.WeakSet[socket.socket] = weakref.WeakSet()

os.register_at_fork(before=_own.clear)  # the child has them all, too


def note_own(listener: socket.socket) -> None:
    """Notes that a listening socket was made a moment ago, in this process."""
    _own.add(listener)


def is_own(listener: socket.socket) -> bool:
    """Whether no other process can have a listening socket."""
    return listener in _own and not listener.get_inheritable()
