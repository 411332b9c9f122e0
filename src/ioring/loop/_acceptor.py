"""Listening sockets: one multishot accept each, for as long as the server serves.

With direct descriptors the kernel drops a connection for which the ring's file table has no free slot. So all multishot
accepts are cancelled while there are still slots for the connections that may be accepted before the cancellation takes
effect. From then on connections are accepted one by one, each with a slot reserved for it; when there is none, clients
wait in the listening queue.
"""

import cython
from cython.cimports.cpython.contextvars import PyContext_Copy, PyContext_CopyCurrent
from cython.cimports.cpython.ref import Py_DECREF
from cython.cimports.ioring.loop._handles import reraise
from cython.cimports.ioring.loop.socket_api import SOCK_CLOEXEC, SOCK_NONBLOCK
from cython.cimports.libc.errno import EAGAIN, ECONNABORTED, EINTR
from cython.cimports.posix.unistd import close

from ioring.loop.accept_pause import PAUSE_S, report
from ioring.ring.errors import os_error

FULL_RETRY_SECONDS = cython.declare(cython.double, 0.05)
"""How long accepting pauses when the file table is full."""

SLOTS_SPARE = cython.declare(cython.uint, 256)
"""Slots for the connections that arrive before a cancellation takes effect, besides those in the listening queues."""

BACKLOG_MAX = cython.declare(cython.uint, 4096)
"""The kernel's usual limit (net.core.somaxconn)."""

CONNECTION_MADE = "connection_made"


class Acceptor(LoopOp):
    """Accepts the connections of one listening socket."""

    def __init__(self, loop, sock, factory, wrap, server, backlog, context):
        self.loop = loop
        self.sock = sock
        self.fd = sock.fileno()
        self.factory = factory
        self.wrap = wrap
        self.server = server
        self.context = PyContext_CopyCurrent() if context is None else context
        self.backlog = min(max(backlog, 0), BACKLOG_MAX)
        self.loop.slots_spare += self.backlog
        if not self.loop._direct:
            self.marks = MARK_DESCRIPTOR
        self.loop.enqueue(self)

    def prepare(self):
        sqe: sqe_p
        single: cython.bint = False
        if self.stopped or self.leaving or self.table != cython.NULL:
            return 0
        if self.loop._direct and not self.plenty():
            single = True
            self.end_others()
            if self.loop.multishots or self.loop.slots_used + self.loop.slots_promised >= self.loop.slots:
                self.loop.call_later(FULL_RETRY_SECONDS, self._again)
                return 0
        sqe = self.loop.launch(self)
        sqe.opcode = URING_OP_ACCEPT
        sqe.fd = self.fd
        sqe.ioprio = 0 if single else URING_ACCEPT_MULTISHOT
        if self.loop._direct:
            sqe.file_index = URING_FILE_INDEX_ALLOC
            sqe.op_flags = SOCK_NONBLOCK
            if single:
                self.loop.slots_promised += 1
            else:
                self.loop.multishots += 1
        else:
            sqe.op_flags = SOCK_CLOEXEC | SOCK_NONBLOCK
        self.single = single
        self.ending = False
        return 0

    def plenty(self):
        """Whether there are slots for all connections that multishot accepts may bring."""
        return self.loop.slots_used + self.loop.slots_promised + self.loop.slots_spare + SLOTS_SPARE <= self.loop.slots

    def end_others(self):
        """Cancels the multishot accepts of all listening sockets, which could take the last slots.

        When no slot is left, it also cancels the single accepts that slots are reserved for: so the sockets take turns.
        """
        acceptor: Acceptor
        full: cython.bint = self.loop.slots_used + self.loop.slots_promised >= self.loop.slots
        for candidate in self.loop._acceptors.values():
            acceptor = candidate
            if acceptor.table != cython.NULL and not acceptor.ending and (full or not acceptor.single):
                acceptor.ending = True
                self.loop.cancel(acceptor)
        return 0

    def _again(self):
        if not self.stopped and not self.leaving:
            self.loop.enqueue(self)

    def leave(self):
        """Accepts no more, because others go on with the socket. Returns whether nothing is in flight any more.

        Connections that the kernel has already accepted are still served, while stop() would close them. So this is to
        be called again, until it returns true, before stop().
        """
        if not self.leaving:
            self.leaving = True
            if self.table != cython.NULL:
                self.loop.cancel(self)
        return self.table == cython.NULL

    def stop(self):
        """Accepts no more. The socket may be closed afterwards."""
        if not self.stopped:
            self.stopped = True
            self.loop.slots_spare -= self.backlog
        if self.table != cython.NULL:
            self.loop.cancel(self)
            # Now, so that the kernel gives the socket up: a closed server refuses connections.
            self.loop._settle()

    def complete(self, res, flags):
        if self.loop._direct and res >= 0:
            self.loop.slots_used += 1
        if flags & URING_CQE_F_MORE == 0:
            self.ceased(res)
        elif self.loop._direct and not self.plenty():
            self.end_others()
        if res >= 0:
            if self.stopped:
                self.drop(res)
            else:
                self.accepted(res)
        return 0

    def ceased(self, res):
        """The accept has ended: another one follows in the next turn, or after a pause."""
        if self.single:
            self.loop.slots_promised -= 1
        elif self.loop._direct:
            self.loop.multishots -= 1
        if self.stopped or self.leaving:
            return 0
        if res < 0 and res not in (-ECANCELED, -ECONNABORTED, -EINTR, -EAGAIN):
            self.loop.call_later(PAUSE_S, self._again)
            self.loop.call_exception_handler(report(os_error(res, "accept"), self.sock))
            return 0
        if self.single and self.ending:
            self.loop.call_later(FULL_RETRY_SECONDS, self._again)  # it is another socket's turn
            return 0
        if not self.single:
            self.loop.counts.rearmed += 1
        return self.loop.enqueue(self)

    def drop(self, fd):
        """Closes a connection that is not served."""
        if self.loop._direct:
            self.loop._free_slot(fd)
        else:
            close(fd)
        return 0

    def accepted(self, fd):
        """Makes the protocol and the transport of a connection."""
        stream: Stream
        context = PyContext_Copy(self.context)
        try:
            protocol = context.run(self.factory)
            if self.wrap is not None:
                self.wrap(fd, self.loop._direct, protocol, context, self.server)
                return 0
            stream = open_stream(self.loop, fd, self.loop._direct, protocol, context, None, self.server)
            stream.note_peer()
        except (SystemExit, KeyboardInterrupt):
            self.drop(fd)
            raise
        except BaseException as exception:
            self.drop(fd)
            self.loop.call_exception_handler(
                {"message": "Error on transport creation for incoming connection", "exception": exception}
            )
            return 0
        result = ioring_run_method(context, protocol, CONNECTION_MADE, stream)
        if result != cython.NULL:
            Py_DECREF(cython.cast(object, result))
        else:
            try:
                reraise()
            except (SystemExit, KeyboardInterrupt):
                self.loop.schedule(stream._start, (), context)  # the loop may run again
                raise
            except BaseException as exception:
                self.loop.call_exception_handler(
                    {
                        "message": "Exception in callback connection_made()",
                        "exception": exception,
                        "transport": stream,
                        "protocol": protocol,
                    }
                )
        return stream.start()
