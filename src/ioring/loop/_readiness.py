"""add_reader() and add_writer(): callbacks for when a descriptor is ready.

io_uring's polls are edge-triggered or one-shot, asyncio's are level-triggered. So each poll is one-shot, and the next
one is submitted after the callback has run, before the next wait: if the descriptor is still ready, it completes at
once.
"""

import os
import select
import stat

import cython
from cython.cimports.ioring.loop._handles import new_handle
from cython.cimports.ioring.loop.socket_api import POLLIN, POLLOUT

from ioring.ring.errors import os_error


class Poll(LoopOp):
    """One direction of one descriptor, from add_reader() to remove_reader()."""

    def prepare(self):
        sqe: sqe_p
        if self.handle is None or self.table != cython.NULL:
            return 0
        sqe = self.loop.launch(self)
        sqe.opcode = URING_OP_POLL_ADD
        sqe.fd = self.fd
        sqe.op_flags = self.events
        return 0

    def complete(self, res, flags):
        handle: Handle = self.handle
        if handle is None:
            return 0
        if res == -ECANCELED:  # not by us: the thread that submitted it has ended
            return self.loop.enqueue(self)
        if res < 0:
            self.loop.call_exception_handler(
                {"message": f"Polling descriptor {self.fd} failed", "exception": os_error(res, "poll_add")}
            )
            return 0
        if handle._cancelled:
            self.watching.unwatch(self.watching.readers if self.events == POLLIN else self.watching.writers, self.fd)
            return 0
        self.loop.enqueue(self)
        return self.loop.run_one(handle)

    def end(self):
        handle, self.handle = self.handle, None
        if handle is not None:
            handle.cancel()
        return self.loop.cancel(self)


def descriptor_of(file):
    """The descriptor of a file object, or an int itself."""
    if isinstance(file, int):
        fd = file
    else:
        try:
            fd = int(file.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {file!r}") from None
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd


class Watching(SocketCalls):
    """A loop with add_reader() and add_writer()."""

    def __cinit__(self):
        self.readers = {}
        self.writers = {}

    def watch(self, polls, fd, events, callback, args):
        poll: Poll
        self._check_closed()
        before: Poll = polls.get(fd)
        if before is None:
            mode = os.fstat(fd).st_mode
            if not (stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)):
                # Raises PermissionError for what is always ready, such as a regular file.
                with select.epoll() as probe:
                    probe.register(fd)
        if before is not None:
            before.end()  # not used further: the number may be that of another file by now
        poll = Poll.__new__(Poll)
        poll.loop = poll.watching = self
        poll.fd = fd
        poll.events = events
        poll.handle = new_handle(callback, args, None, self)
        if self._debug:
            poll.handle._source_traceback = self._traceback()
        polls[fd] = poll
        return self.enqueue(poll)

    def unwatch(self, polls, fd):
        poll: Poll = polls.pop(fd, None)
        if poll is None:
            return False
        poll.end()
        self.nudge()
        return True

    def _check_free(self, fd):
        self.check_free(descriptor_of(fd))

    def _add_reader(self, fd, callback, *args):
        self.watch(self.readers, descriptor_of(fd), POLLIN, callback, args)

    def _remove_reader(self, fd):
        if self._closed:
            return False
        return self.unwatch(self.readers, descriptor_of(fd))

    def _add_writer(self, fd, callback, *args):
        self.watch(self.writers, descriptor_of(fd), POLLOUT, callback, args)

    def _remove_writer(self, fd):
        if self._closed:
            return False
        return self.unwatch(self.writers, descriptor_of(fd))

    def _forget(self):
        SocketCalls._forget(self)
        self.readers.clear()
        self.writers.clear()
