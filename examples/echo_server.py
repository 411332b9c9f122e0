"""A small echo server: multishot accept and receive, direct descriptors, one buffer ring for all connections.

    python examples/echo_server.py [--port 7777] [--slots 1024]

Try it with `nc 127.0.0.1 7777`; Ctrl-C ends it. --slots is the most clients at a time; further ones have to wait.
"""

import argparse
import contextlib
import errno
import socket

import ioring

BACKLOG = 64
FLAGS = ioring.SetupFlags.SINGLE_ISSUER | ioring.SetupFlags.DEFER_TASKRUN
BUFFERS, BUFFER_SIZE, GROUP = 256, 4096, 0
PENDING_MAX = 256 * 1024  # bytes that wait for one slow reader; above, nothing more is received from it


class Connection:
    """One client. What keeps it alive are its requests: each has one of the methods as user_data."""

    def __init__(self, server: "EchoServer", slot: int) -> None:
        self.server, self.ring = server, server.ring
        self.direct = ioring.Direct(slot)
        self.receiving: ioring.Sqe | None = None
        self.ended = False  # nothing more will come: the client closed its side, or there was an error
        self.pending = bytearray()
        self.sending = bytearray()  # one send at a time: two could be interleaved

    def proceed(self) -> None:
        if self.pending and not self.sending:
            self.sending, self.pending = self.pending, bytearray()
            sqe = self.ring.get_sqe()
            sqe.prep_send(self.direct, self.sending, flags=socket.MSG_WAITALL)
            sqe.user_data = self.sent
        enough = self.ended or len(self.pending) > PENDING_MAX
        if self.receiving and enough:
            self.ring.get_sqe().prep_cancel(self.receiving)
        elif not self.receiving and not enough:
            self.receiving = self.ring.get_sqe()
            self.receiving.prep_recv_multishot(self.direct)
            self.receiving.buffer_group = GROUP
            self.receiving.user_data = self.received
        elif self.ended and not self.sending:
            sqe = self.ring.get_sqe()
            sqe.prep_close_direct(self.direct)
            sqe.user_data = self.server.closed

    def received(self, cqe: ioring.Cqe) -> None:
        self.receiving = self.receiving if cqe.more else None
        if cqe.res > 0:
            self.pending += self.server.buffers.view(cqe)
            self.server.buffers.recycle(cqe)
        elif cqe.res not in (-errno.ECANCELED, -errno.ENOBUFS):  # after these, the rest is still in the socket
            self.ended = True
        self.proceed()

    def sent(self, cqe: ioring.Cqe) -> None:
        self.pending[:0] = self.sending[max(cqe.res, 0) :]
        self.sending = bytearray()
        if cqe.res < 0:
            self.ended, self.pending = True, bytearray()
        self.proceed()


class EchoServer:
    def __init__(self, listener: socket.socket, ring: ioring.Ring, slots: int) -> None:
        self.listener, self.ring, self.free = listener, ring, slots
        self.accepting: ioring.Sqe | None = None
        ring.register_files_sparse(slots)
        self.buffers = ring.setup_buf_ring(BUFFERS, BUFFER_SIZE, GROUP)

    # A multishot accept takes everybody who waits before the program sees the first of them, and turns away whom it
    # finds no slot for. So it runs while more slots are free than clients can be waiting; below, one at a time.
    def accept(self) -> None:
        if self.accepting is None and self.free:
            sqe = self.accepting = self.ring.get_sqe()
            prepare = sqe.prep_multishot_accept_direct if self.free > 2 * BACKLOG else sqe.prep_accept_direct
            prepare(self.listener)
            sqe.user_data = self.accepted

    def accepted(self, cqe: ioring.Cqe) -> None:
        if cqe.res not in (-errno.ECANCELED, -errno.ECONNABORTED):
            Connection(self, cqe.result()).proceed()
            self.free -= 1
        if not cqe.more:
            self.accepting = None
        elif self.free <= 2 * BACKLOG:
            self.ring.get_sqe().prep_cancel(self.accepting)

    def closed(self, cqe: ioring.Cqe) -> None:
        cqe.result()
        self.free += 1

    def run(self) -> None:
        while True:
            self.accept()
            self.ring.submit_and_wait(1)
            for cqe in self.ring.completions():
                if cqe.user_data is not None:  # None: what a cancellation says of itself
                    cqe.user_data(cqe)


def main() -> None:
    parser = argparse.ArgumentParser(description="Echo what clients send.")
    parser.add_argument("--port", type=int, default=7777, help="0 for any that is free (%(default)s)")
    parser.add_argument("--slots", type=int, default=1024, help="clients at a time (%(default)s)")
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", options.port), backlog=BACKLOG)
    # With these flags the kernel accepts only while this thread waits; the queue holds all that one turn submits.
    with listener, ioring.Ring(4096, flags=FLAGS) as ring, contextlib.suppress(KeyboardInterrupt):
        print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        EchoServer(listener, ring, options.slots).run()


if __name__ == "__main__":
    main()
