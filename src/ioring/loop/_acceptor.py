"""Listening sockets: one multishot accept each, for as long as the server serves.

That is for a socket that this process has for itself. One that other processes have, too, gets a poll, and accept4(2)
when a connection is there (``own_listeners`` says why). Accepted so are at first one connection in a turn, since others
may be as idle. In a turn that follows directly, because more connections are there, it is one more each time: whoever
is busy, and has long turns, must get as many as come. These connections have ordinary descriptors.

With direct descriptors the kernel drops a connection for which the ring's file table has no free slot. So all multishot
accepts are cancelled while there are still slots for the connections that may be accepted before the cancellation takes
effect. From then on connections are accepted one by one, each with a slot reserved for it; when there is none, clients
wait in the listening queue.
"""

import cython
from cython.cimports.cpython.contextvars import PyContext_Copy, PyContext_CopyCurrent
from cython.cimports.cpython.ref import Py_DECREF
from cython.cimports.ioring.loop._handles import reraise
from cython.cimports.ioring.loop.socket_api import (
    F_GETFL,
    F_SETFL,
    O_NONBLOCK,
    POLLIN,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    accept4,
    fcntl,
)
from cython.cimports.libc.errno import EAGAIN, ECONNABORTED, EINTR, errno
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
    """Accepts the connections of one listening socket; of one that is ``shared``, as far as others do not."""

    def __init__(self, loop, sock, factory, wrap, server, backlog, context, shared):
        self.loop = loop
        self.sock = sock
        self.fd = sock.fileno()
        self.factory = factory
        self.wrap = wrap
        self.server = server
        self.context = PyContext_CopyCurrent() if context is None else context
        self.backlog = min(max(backlog, 0), BACKLOG_MAX)
        self.shared = shared
        self.batch = 1
        if not shared:
            self.spare = self.backlog
            self.loop.slots_spare += self.spare
        self.loop.enqueue(self)

    def __repr__(self):
        return f"<Acceptor of {self.sock!r}>"

    def prepare(self):
        sqe: sqe_p
        single: cython.bint = False
        if self.stopped or self.leaving or self.table != cython.NULL:
            return 0
        self.polling = self.shared
        if self.shared:
            self.marks &= ~MARK_DESCRIPTOR
            self.single = self.ending = False
            sqe = self.loop.launch(self)
            sqe.opcode = URING_OP_POLL_ADD
            sqe.fd = self.fd
            sqe.op_flags = POLLIN
            return 0
        if self.loop._direct and not self.plenty():
            single = True
            self.end_others()
            if self.loop.multishots or self.loop.slots_used + self.loop.slots_promised >= self.loop.slots:
                self.loop.call_later(FULL_RETRY_SECONDS, self._again)
                return 0
        if not self.loop._direct:
            self.marks |= MARK_DESCRIPTOR
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
            if acceptor.table == cython.NULL or acceptor.ending or acceptor.polling:
                continue
            if full or not acceptor.single:
                acceptor.ending = True
                self.loop.cancel(acceptor)
        return 0

    def _again(self):
        if not self.stopped and not self.leaving:
            self.loop.enqueue(self)

    def share(self):
        """From now on other processes have the socket, too."""
        if not self.shared:
            self.shared = True
            self.loop.slots_spare -= self.spare
            self.spare = 0
            if self.table != cython.NULL:
                self.loop.cancel(self)

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
            self.loop.slots_spare -= self.spare
            self.spare = 0
        if self.table != cython.NULL:
            self.loop.cancel(self)
            # Now, so that the kernel gives the socket up: a closed server refuses connections.
            self.loop._settle()

    def complete(self, res, flags):
        if self.polling:
            return self.polled(res)
        if self.loop._direct and res >= 0:
            self.loop.slots_used += 1
        if flags & URING_CQE_F_MORE == 0:
            self.ceased(res)
        elif self.loop._direct and not self.plenty():
            self.end_others()
        if res >= 0:
            if self.stopped:
                self.drop(res, self.loop._direct)
            else:
                self.accepted(res, self.loop._direct)
        return 0

    def polled(self, res):
        """A connection is there, or the poll has ended without one."""
        if self.stopped or self.leaving:
            return 0
        if res < 0:
            return self.ceased(res)
        try:
            res = self.accept_batch()
        except BaseException:  # SystemExit or KeyboardInterrupt: the loop may run again
            self.loop.enqueue(self)
            raise
        return 0 if self.stopped or self.leaving else self.ceased(res)

    def accept_batch(self):
        """Accepts what one turn may of a shared socket. Returns 0, or an error as the kernel does."""
        fd: cython.int
        count: cython.uint = 0
        turn: cython.ulong = self.loop.counts.turns
        self.batch = min(self.batch + 1, max(self.backlog, 1)) if turn == self.turn + 1 else 1
        self.turn = turn
        while count < self.batch and not (self.stopped or self.leaving or self.loop._closed):
            # The program may have closed it meanwhile. And whoever has it may have made it wait in accept4().
            if self.sock.fileno() != self.fd:
                self.stop()
                return 0
            if count == 0:
                status: cython.int = fcntl(self.fd, F_GETFL)
                if status >= 0 and status & O_NONBLOCK == 0:
                    fcntl(self.fd, F_SETFL, status | O_NONBLOCK)
            count += 1
            fd = accept4(self.fd, cython.NULL, cython.NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)
            if fd >= 0:
                self.accepted(fd, False)
            elif errno not in (ECONNABORTED, EINTR):
                return -errno
        return 0

    def ceased(self, res):
        """The accept has ended: another one follows in the next turn, or after a pause."""
        if self.single:
            self.loop.slots_promised -= 1
        elif self.loop._direct and not self.polling:
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
        if not self.single and not self.polling:
            self.loop.counts.rearmed += 1
        return self.loop.enqueue(self)

    def drop(self, fd, direct):
        """Closes a connection that is not served."""
        if direct:
            self.loop._free_slot(fd)
        else:
            close(fd)
        return 0

    def accepted(self, fd, direct):
        """Makes the protocol and the transport of a connection."""
        stream: Stream
        context = PyContext_Copy(self.context)
        try:
            protocol = context.run(self.factory)
            if self.wrap is not None:
                self.wrap(fd, direct, protocol, context, self.server)
                return 0
            stream = open_stream(self.loop, fd, direct, protocol, context, None, self.server)
            stream.note_peer()
        except (SystemExit, KeyboardInterrupt):
            self.drop(fd, direct)
            raise
        except BaseException as exception:
            self.drop(fd, direct)
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
