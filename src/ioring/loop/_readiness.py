# cython: boundscheck=False, nonecheck=False
"""add_reader() and add_writer(): callbacks for when a descriptor is ready.

The kernel's epoll keeps what is watched, as it does for asyncio's own loop, and the ring waits for the epoll. A request
of the ring for each descriptor would keep the file open after the program has closed it.
"""

import cython
from cython.cimports.ioring.loop._handles import new_handle
from cython.cimports.ioring.loop.socket_api import (
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    POLLIN,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait,
)
from cython.cimports.libc.errno import EEXIST, ENOENT, errno
from cython.cimports.posix.unistd import close

from ioring.ring.errors import os_error


class Watch:
    """A descriptor that is watched, in one direction or both."""

    def events(self):
        return (EPOLLIN if self.reader is not None else 0) | (EPOLLOUT if self.writer is not None else 0)

    def exchange(self, event, handle):
        """Has another handle for one direction, or None. Returns the one that it had."""
        if event == EPOLLIN:
            before, self.reader = self.reader, handle
        else:
            before, self.writer = self.writer, handle
        return before

    def end(self):
        """It is watched no longer."""
        reader: Handle = self.exchange(EPOLLIN, None)
        writer: Handle = self.exchange(EPOLLOUT, None)
        if reader is not None:
            reader.cancel()
        if writer is not None:
            writer.cancel()
        return 0


class Readiness(LoopOp):
    """Waits until one of the watched descriptors is ready: once, and again after the callbacks have run."""

    def parks(self):
        return FORGOTTEN

    def prepare(self):
        sqe: sqe_p
        if self.table != cython.NULL or not self.watching.watches:
            return 0
        sqe = self.loop.launch(self)
        sqe.opcode = URING_OP_POLL_ADD
        sqe.fd = self.watching.epoll
        sqe.op_flags = POLLIN
        return 0

    def complete(self, res, flags):
        if self.watching.readiness is not self:  # the loop was closed
            return 0
        # Cancelled: nothing was watched any more, or the thread that submitted it has ended.
        if res < 0 and res != -ECANCELED:
            self.loop.call_exception_handler(
                {"message": "Polling the watched descriptors failed", "exception": os_error(res, "poll_add")}
            )
            return 0
        try:
            if res > 0:
                self.watching.dispatch()
        finally:
            self.loop.enqueue(self)  # not before: it would find ready what the callbacks are only about to take
        return 0


def number_of(file):
    """The descriptor of a file object, or an int itself; -1: the object is closed."""
    if isinstance(file, int):
        return file
    try:
        return int(file.fileno())
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"Invalid file object: {file!r}") from None


class Watching(SocketCalls):
    """A loop with add_reader() and add_writer()."""

    def __cinit__(self):
        self.watches = {}
        self.epoll = -1

    def control(self, operation, watch, events):
        """epoll_ctl(). Returns 0, or a negative errno."""
        event: epoll_event
        event.events = events
        # A number may mean another file by the time the event is taken.
        event.data.u64 = cython.cast(uint64_t, watch.generation) << 32 | cython.cast(cython.uint, watch.fd)
        if epoll_ctl(self.epoll, operation, watch.fd, cython.address(event)) < 0:
            return -errno
        return 0

    def watch(self, file, event):
        """Has epoll watch a descriptor for an event, besides those it is watched for."""
        watch: Watch
        code: cython.int = -ENOENT
        fd: cython.int
        self._check_closed()
        fd = number_of(file)
        if fd < 0:
            raise ValueError(f"Invalid file descriptor: {fd}")
        watch = self.watches.get(fd)
        if watch is not None:
            code = self.control(EPOLL_CTL_MOD, watch, watch.events() | event)
            if code < 0:  # the file that had this number was closed
                del self.watches[fd]
                watch.end()
        if code == -ENOENT:
            self.generation += 1
            watch = Watch.__new__(Watch)
            watch.fd = fd
            watch.generation = self.generation
            code = self.control(EPOLL_CTL_ADD, watch, event)
            if code == -EEXIST:  # it was removed when its number was closed, and has it again
                code = self.control(EPOLL_CTL_MOD, watch, event)
        if code < 0:
            raise os_error(code, "epoll_ctl")
        watch.file = file
        self.watches[fd] = watch
        self.enqueue(self.readiness)
        return watch

    def find(self, file):
        """The Watch of a descriptor, or of an object that may be closed meanwhile; or None."""
        watch: Watch
        fd: cython.int
        if self._closed:
            return None
        fd = number_of(file)
        if fd >= 0:
            return self.watches.get(fd)
        if isinstance(file, int):
            raise ValueError(f"Invalid file descriptor: {fd}")
        for watch in self.watches.values():
            if watch.file is file:
                return watch
        raise ValueError(f"Invalid file descriptor: {fd}")

    def unwatch(self, watch):
        """Has epoll watch for less, or for nothing any more. The file may be closed: then nothing is left to do."""
        events: cython.uint = watch.events()
        if events:
            self.control(EPOLL_CTL_MOD, watch, events)
        else:
            del self.watches[watch.fd]
            self.control(EPOLL_CTL_DEL, watch, 0)
            if not self.watches:
                self.cancel(self.readiness)
        return 0

    def dispatch(self):
        """Calls those that wait for what is ready.

        After the callbacks that are ready already, which may still remove one: asyncio has them in this order.
        """
        batch: epoll_event[BATCH]
        watch: Watch
        events: cython.uint
        generation: cython.uint
        place: cython.int
        later: cython.bint = self.head != self.tail
        count: cython.int = epoll_wait(self.epoll, batch, BATCH, 0)
        for place in range(count):
            watch = self.watches.get(cython.cast(cython.int, batch[place].data.u64 & 0xFFFFFFFF))
            generation = cython.cast(cython.uint, batch[place].data.u64 >> 32)
            if watch is None or watch.generation != generation:
                # A callback has removed it just now, or the file lives on under another number.
                if self.stale == generation:
                    self.renew()
                    return 0
                self.stale = generation
                continue
            events = batch[place].events
            if events & ~EPOLLOUT and watch.reader is not None:
                self.call(watch, EPOLLIN, watch.reader, later)
            if self.epoll < 0:  # the callback has forked, and this is the child
                return 0
            if events & ~EPOLLIN and watch.writer is not None:
                self.call(watch, EPOLLOUT, watch.writer, later)
            if self.epoll < 0:
                return 0
        return 0

    def call(self, watch, event, handle, later):
        if not handle._cancelled:
            return self.push(handle) if later else self.run_one(handle)
        watch.exchange(event, None)
        return self.unwatch(watch)

    def renew(self):
        """A new epoll. The old one tells again and again of a file that cannot be named any more.

        That is one whose descriptor was closed while another descriptor of the same file was open.
        """
        watch: Watch
        before: cython.int = self.epoll
        epoll: cython.int = epoll_create1(EPOLL_CLOEXEC)
        if epoll < 0:
            raise os_error(-errno, "epoll_create1")
        self.epoll = epoll
        close(before)
        gone: list = []
        for watch in self.watches.values():
            if self.control(EPOLL_CTL_ADD, watch, watch.events()) < 0:
                gone.append(watch)
        for watch in gone:
            self.watches.pop(watch.fd, None)
            watch.end()
        return 0

    def _check_free(self, file):
        """Raises RuntimeError if a transport uses the descriptor. A closed one is for others to refuse."""
        fd: cython.int = number_of(file)
        if fd >= 0:
            self.check_free(fd)

    def add(self, file, event, callback, args):
        before: Handle
        handle: Handle = new_handle(callback, args, None, self)
        if self._debug:
            handle._source_traceback = self._traceback()
        before = self.watch(file, event).exchange(event, handle)
        if before is not None:
            before.cancel()
        return 0

    def remove(self, file, event):
        handle: Handle
        watch: Watch = self.find(file)
        if watch is None or watch.events() & event == 0:
            return False
        handle = watch.exchange(event, None)
        self.unwatch(watch)
        handle.cancel()
        return True

    def _add_reader(self, fd, callback, *args):
        self.add(fd, EPOLLIN, callback, args)

    def _remove_reader(self, fd):
        return self.remove(fd, EPOLLIN)

    def _add_writer(self, fd, callback, *args):
        self.add(fd, EPOLLOUT, callback, args)

    def _remove_writer(self, fd):
        return self.remove(fd, EPOLLOUT)

    def _open_epoll(self):
        """With the loop, as asyncio does: nobody is surprised later by a descriptor more."""
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise os_error(-errno, "epoll_create1")
        self.readiness = Readiness.__new__(Readiness)
        self.readiness.loop = self.readiness.watching = self

    def _close_epoll(self):
        fd: cython.int = self.epoll
        self.epoll = -1
        if fd >= 0:
            close(fd)

    def _forget(self):
        self.readiness = None
        SocketCalls._forget(self)
        self.watches.clear()
