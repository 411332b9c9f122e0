"""The echo server: the shortest complete user of the ring.

One multishot accept puts connections into the ring's file table. Each has one multishot receive, which takes its
memory from a buffer ring common to all, and at most one send in flight, straight from the buffer that was received.
The buffer goes back to the ring when its bytes are sent, so that memory is bounded: a peer that does not read holds
the buffers it was sent, and when none are left, receiving stops until some are.

A connection in the table's last free slots would be dropped by the kernel. So the table has more slots than the server
serves, and accepting is cancelled when that many are in use; what the kernel accepts before the cancellation reaches it
finds a slot, and is served.
"""

import cython
from cython.cimports.ioring.loop.socket_api import MSG_NOSIGNAL, MSG_WAITALL
from cython.cimports.libc.errno import EMFILE, ENFILE, ENOBUFS, ENOMEM


class Accept(Op):
    def complete(self, res, flags):
        return self.echo.was_accepted(res, flags)


class Cancel(Op):
    def complete(self, res, flags):
        return 0


class Pause(Op):
    def complete(self, res, flags):
        return self.echo.start_accept()


class Signals(Op):
    """Numbers of signals, written by the interpreter to its wakeup descriptor.

    One that came while completions were handled would otherwise be looked at behind the next wait.
    """

    def complete(self, res, flags):
        return self.echo.watch_signals() if res > 0 else 0


class Receive(Op):
    def complete(self, res, flags):
        return self.connection.received(res, flags)


class Send(Op):
    def complete(self, res, flags):
        return self.connection.was_sent(res)


class Close(Op):
    def complete(self, res, flags):
        return self.connection.echo.was_closed()


class Connection:
    """What happens in one slot; used again for the slot's next connection."""

    def __cinit__(self, echo, slot):
        self.echo = echo
        self.slot = slot
        self.backlog = []
        self.receive = Receive.__new__(Receive)
        self.send = Send.__new__(Send)
        self.closing = Close.__new__(Close)
        self.receive.connection = self.send.connection = self.closing.connection = self
        self.receive.marks = MARK_SELECT
        for op in (self.receive, self.send, self.closing):
            self.echo.ring.place(op)

    def open(self):
        self.ended = False
        self.sending = 0
        return self.start_receive()

    def start_receive(self):
        sqe: sqe_p = self.echo.ring.arm(self.receive)
        sqe.opcode = URING_OP_RECV
        sqe.fd = self.slot
        sqe.flags = URING_SQE_FIXED_FILE | URING_SQE_BUFFER_SELECT
        sqe.ioprio = URING_RECV_MULTISHOT
        sqe.buf_index = 0
        self.receiving = True
        return 0

    def start_send(self):
        """Sends what is left of the oldest buffer."""
        sqe: sqe_p
        bid: cython.uint
        buffers: BufferRing = self.echo.buffers
        bid, self.length = self.backlog[0]
        sqe = self.echo.ring.arm(self.send)
        sqe.opcode = URING_OP_SEND
        sqe.fd = self.slot
        sqe.flags = URING_SQE_FIXED_FILE
        sqe.addr = cython.cast(cython.size_t, buffers.buffers + cython.cast(cython.size_t, bid) * buffers.buffer_size)
        sqe.addr += self.sent
        sqe.len = self.length - self.sent
        sqe.op_flags = MSG_NOSIGNAL | MSG_WAITALL
        self.sending = 1
        return 0

    def received(self, res, flags):
        bid: cython.uint = flags >> URING_CQE_BUFFER_SHIFT
        if flags & URING_CQE_F_BUFFER:
            self.echo.buffers.take(bid, res, False, False)
        if flags & URING_CQE_F_MORE == 0:
            self.receiving = False
        if res > 0 and not self.ended:
            self.echo.messages += 1
            self.echo.octets += res
            self.backlog.append((bid, res))
            if IORING_ASSERTIONS:
                ioring_assert(cython.cast(cython.uint, len(self.backlog)) <= self.echo.buffers.entries)
            if not self.sending:
                self.sent = 0
                self.start_send()
        elif flags & URING_CQE_F_BUFFER:
            self.echo.give_back(bid)
        if self.receiving or self.ended:
            return self.close_if_done()
        if res == -ENOBUFS:
            # The bytes wait in the socket until a buffer is free.
            self.echo.starved.append(self)
            return self.echo.feed()
        if res > 0:  # a multishot may end for reasons of the kernel's own
            return self.start_receive()
        if res < 0:
            return self.give_up()
        self.ended = True
        return self.close_if_done()

    def was_sent(self, res):
        self.sending = 0
        if res < 0:
            return self.give_up()
        self.sent += res
        if self.sent < self.length and res > 0:
            return self.start_send()
        bid, _ = self.backlog.pop(0)
        self.echo.give_back(bid)
        self.sent = 0
        if self.backlog:
            self.start_send()
        if self.echo.starved:
            self.echo.feed()
        return self.close_if_done()

    def give_up(self):
        """The connection is broken: nothing more is sent, and what was received goes back to the ring."""
        self.ended = True
        while len(self.backlog) > self.sending:
            bid, _ = self.backlog.pop()
            self.echo.give_back(bid)
        if self.echo.starved:
            self.echo.feed()
        return self.close_if_done()

    def close_if_done(self):
        sqe: sqe_p
        if not self.ended or self.receiving or self.sending or self.backlog or self.closing.table != cython.NULL:
            return 0
        sqe = self.echo.ring.arm(self.closing)
        sqe.opcode = URING_OP_CLOSE
        sqe.file_index = self.slot + 1
        return 0


class Echo:
    """An echo server on a ring that is made and registered for it.

    Parameters:
        ring: with a file table, and ``buffers`` registered as group 0.
        buffers: the ``BufferRing``.
        listener: the listening socket's descriptor.
        slots: accepting stops when so many connections are open.
        wakeup: the socket to which ``signal.set_wakeup_fd`` makes the interpreter write, or rather its other end.

    Attributes:
        used, accepted: connections that are open, and all that were accepted.
        messages, octets: what was received; sent back or on its way.
        refused: accepts that failed.
    """

    def __cinit__(self, ring, buffers, listener, slots, wakeup):
        self.ring = ring
        self.buffers = buffers
        self.listener = listener
        self.slots = slots
        self.wakeup = wakeup
        self.connections = []
        self.starved = []
        self.accept = Accept.__new__(Accept)
        self.cancel = Cancel.__new__(Cancel)
        self.pausing = Pause.__new__(Pause)
        self.signals = Signals.__new__(Signals)
        self.accept.echo = self.pausing.echo = self.signals.echo = self
        self.ring.place(self.accept)
        self.ring.place(self.cancel)
        self.ring.place(self.pausing)
        self.ring.place(self.signals)

    def run(self):
        """Serves until an exception ends it: KeyboardInterrupt, or what a signal's handler raises."""
        self.watch_signals()
        self.start_accept()
        while True:
            self.ring.turn()

    def watch_signals(self):
        sqe: sqe_p = self.ring.arm(self.signals)
        sqe.opcode = URING_OP_RECV
        sqe.fd = self.wakeup
        sqe.addr = cython.cast(cython.size_t, cython.address(self.signals.numbers[0]))
        sqe.len = 64
        return 0

    def start_accept(self):
        sqe: sqe_p
        if self.accept.table != cython.NULL or self.used >= self.slots:
            return 0
        sqe = self.ring.arm(self.accept)
        sqe.opcode = URING_OP_ACCEPT
        sqe.fd = self.listener
        sqe.ioprio = URING_ACCEPT_MULTISHOT
        sqe.file_index = URING_FILE_INDEX_ALLOC
        return 0

    def stop_accept(self):
        sqe: sqe_p
        if self.accept.table == cython.NULL or self.cancel.table != cython.NULL:
            return 0
        sqe = self.ring.arm(self.cancel)
        sqe.opcode = URING_OP_ASYNC_CANCEL
        sqe.fd = -1
        sqe.addr = self.accept.token
        return 0

    def was_accepted(self, res, flags):
        connection: Connection
        if res >= 0:
            self.used += 1
            self.accepted += 1
            while len(self.connections) <= res:
                self.connections.append(None)
            if self.connections[res] is None:
                self.connections[res] = Connection(self, res)
            connection = self.connections[res]
            connection.open()
        elif res != -ECANCELED:
            self.refused += 1
        if self.used >= self.slots:
            return self.stop_accept()
        if flags & URING_CQE_F_MORE == 0:
            if res in (-EMFILE, -ENFILE, -ENOMEM, -ENOBUFS):
                return self.pause()
            return self.start_accept()
        return 0

    def pause(self):
        """A limit of the system was met: accepts again in a while. Clients wait in the listening queue."""
        sqe: sqe_p
        if self.pausing.table != cython.NULL:
            return 0
        self.pausing.seconds.tv_nsec = 100_000_000
        sqe = self.ring.arm(self.pausing)
        sqe.opcode = URING_OP_TIMEOUT
        sqe.fd = -1
        sqe.addr = cython.cast(cython.size_t, cython.address(self.pausing.seconds))
        sqe.len = 1
        return 0

    def give_back(self, bid):
        """A buffer's bytes are sent, or not wanted: the kernel may fill it again."""
        self.buffers.put(bid)
        self.buffers.show(1)

    def was_closed(self):
        self.used -= 1
        if self.pausing.table != cython.NULL:
            return 0
        return self.start_accept()

    def feed(self):
        """Connections that ran out of buffers go on, as far as there are any."""
        connection: Connection
        while self.starved and self.buffers.available:
            connection = self.starved.pop(0)
            if not connection.ended:
                connection.start_receive()
        return 0
