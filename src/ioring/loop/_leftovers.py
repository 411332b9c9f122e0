"""What abandoned requests on a socket have received.

A task that waits in sock_recv() may be cancelled, by a time-out for example. Its request is cancelled then, and may
have received something before that. With asyncio's own loop nothing is lost, so here it is kept for the next request
for the same socket; and that one waits until it is known.
"""

import contextlib
import socket
import weakref

import cython


class SocketRequest(Awaitable):
    """An operation on a socket, as far as these leftovers are concerned."""

    def parks(self):
        return TAKEN_BACK if self.state == WAITING else STAYS

    # What the kinds of requests say.

    def begin(self):
        """Takes what is left by another request, or submits this one."""
        raise NotImplementedError

    def fail(self, exception):
        """The request could not begin: whoever waits for it gets the exception."""
        raise NotImplementedError

    def takes_leftovers(self):
        """Whether it asks for something that an abandoned request may have received."""
        return False

    def begin_again(self):
        try:
            self.begin()
        except Exception as exception:  # concerns whoever waits for this request, and not the loop
            self.fail(exception)
        return 0


class Heir(SocketRequest):
    """Not a request: stands for a stream that has the socket now."""

    def begin(self):
        self.state = ABANDONED
        self.stream._inherit([data for data, _ in self.loop._leftovers.pop(self.sock, ())])
        return 0

    def fail(self, exception):
        return self.stream._force_close(exception)


class Leftovers(LoopCore):
    """A loop that keeps what abandoned requests have received."""

    def __cinit__(self):
        self._leftovers = weakref.WeakKeyDictionary()
        self._abandoned = {}

    def abandon(self, sock):
        """A request for a socket is being cancelled, and may receive something all the same."""
        self._abandoned.setdefault(sock, []).append(None)
        return 0

    def wait_for_abandoned(self, request):
        """Whether a request has to wait until it is known what abandoned ones have received. It begins again then."""
        waiting = self._abandoned.get(request.sock)
        if waiting is None:
            return False
        waiting.append(request)
        return True

    def was_abandoned(self, sock):
        """An abandoned request has ended. If it was the last one of the socket, those that wait begin."""
        request: SocketRequest
        waiting = self._abandoned.get(sock)
        if waiting is None:
            return 0
        waiting.remove(None)
        if None not in waiting:
            del self._abandoned[sock]
            for request in waiting:
                if request.state == WAITING:
                    request.begin_again()
        return 0

    def keep(self, sock, item):
        """An abandoned request has received something, which the next request gets.

        The next one may be in flight already: it was submitted between cancel() of the task and the task's next step,
        in which the request was abandoned. It is cancelled then, and begins again with what is left.
        """
        request: SocketRequest
        self._leftovers.setdefault(sock, []).append(item)
        for op in [*self.ring.ops, *self.queue, *self.rations.line]:
            if not isinstance(op, SocketRequest):
                continue
            request = op
            if not request.takes_leftovers() or request.sock is not sock or request.state != WAITING:
                continue
            if request.table == cython.NULL:
                request.begin_again()
            elif not request.again:
                request.again = True
                self.cancel(request)
        return 0

    def keep_data(self, sock, data):
        """keep() for a request that does not know the address of the sender."""
        address = None
        if sock.type == socket.SOCK_STREAM:
            if not data:  # the end: the next request meets it again
                return 0
        elif sock.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                address = sock.getpeername()
        return self.keep(sock, (data, address))

    def take_leftover(self, sock, limit):
        """What an abandoned request for the socket has received, or None.

        It is (data, address), or a connection and its address if the limit is -1. Data of a stream beyond the limit
        remain for the next request; of a datagram they are lost, as always.
        """
        items = self._leftovers.get(sock)
        if not items:
            return None
        item = items.pop(0)
        if limit >= 0 and len(item[0]) > limit:
            data, address = item
            item = (data[:limit], address)
            if sock.type == socket.SOCK_STREAM:
                items.insert(0, (data[limit:], address))
        if not items:
            del self._leftovers[sock]
        return item


def bequeath(loop, sock, stream):
    """A stream has a socket from now on: it gets what abandoned requests have received, now or when that is known."""
    heir: Heir
    calls: Leftovers = loop
    if not calls._leftovers and not calls._abandoned:
        return
    heir = Heir.__new__(Heir)
    heir.loop = calls
    heir.sock = sock
    heir.stream = stream
    heir.state = WAITING
    if calls.wait_for_abandoned(heir):
        stream._expect()
    else:
        heir.begin()
