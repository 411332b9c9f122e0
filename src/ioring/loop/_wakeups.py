"""What ends the loop's wait besides I/O and timers: another thread's eventfd, and signals.

Where the kernel can, other threads send the ring a message instead (``LoopCore.wake``), and nothing here is needed for
them.
"""

import cython
from cython.cimports.ioring.loop.socket_api import POLLIN
from cython.cimports.posix.unistd import read, write


class EventfdRead(LoopOp):
    """Reads from the eventfd that other threads write to, on kernels before 6.13.

    Only since then can a thread without a ring send a ring a message.
    """

    def prepare(self):
        sqe: sqe_p = self.loop.launch(self)
        sqe.opcode = URING_OP_READ
        sqe.fd = self.fd
        sqe.addr = cython.cast(cython.size_t, cython.address(self.count))
        sqe.len = 8
        sqe.off = cython.cast(uint64_t, -1)
        return 0

    def complete(self, res, flags):
        return self.loop.enqueue(self)  # also when it was cancelled because the thread that submitted it has ended


class SignalNumbers(LoopOp):
    """Takes the signal numbers that the interpreter writes to its wakeup descriptor.

    So a signal ends a wait that is just beginning, too. The interpreter itself calls the handlers, after the wait.
    """

    def parks(self):
        return FORGOTTEN  # it would be taken back, and begun again, with each run of the main thread

    def prepare(self):
        sqe: sqe_p = self.loop.launch(self)
        sqe.opcode = URING_OP_POLL_ADD
        sqe.fd = self.fd
        sqe.op_flags = POLLIN
        return 0

    def complete(self, res, flags):
        numbers: cython.uchar[256]
        count: cython.Py_ssize_t
        if res > 0:
            count = read(self.fd, cython.address(numbers[0]), cython.sizeof(numbers))
            if count == 0:
                return 0
            if count > 0 and self.others >= 0:
                write(self.others, cython.address(numbers[0]), count)  # what finds no room there was not to be read
        elif res != -ECANCELED:
            return 0
        return self.loop.enqueue(self)

    def pass_on_to(self, fd):
        """The numbers go to the wakeup descriptor, too, that somebody else has set. -1: there is none."""
        self.others = fd


def watch_eventfd(loop, fd):
    """The loop's wait ends when something is written to an eventfd, from now on."""
    op: EventfdRead = EventfdRead.__new__(EventfdRead)
    op.loop = loop
    op.fd = fd
    op.loop.enqueue(op)


def watch_signals(loop, fd):
    """The loop's wait ends when a signal's number is written to the other end of a socket, from now on."""
    op: SignalNumbers = SignalNumbers.__new__(SignalNumbers)
    op.loop = loop
    op.fd = fd
    op.others = -1
    op.loop.enqueue(op)
    return op
