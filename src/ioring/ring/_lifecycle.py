"""The life of a ring: how it is opened, which thread owns it, and how it is closed.

A ring belongs to one thread: the one that made it, or, when it was made with R_DISABLED, the one that enabled it.
Every method checks this first. In a forked child the ring cannot be used, and its descriptor is closed.

Closing cancels the requests in flight and reaps their completions before the memory is unmapped. Memory of requests
that do not end in time, or that cannot be reaped because the last reference to the ring was dropped in another thread,
is never freed: the kernel may still write to it.
"""

import warnings

import cython
from cython.cimports.cpython.ref import Py_INCREF
from cython.cimports.ioring.ring.fork_guard import (
    uring_close,
    uring_enlist,
    uring_forks,
    uring_thread_is_alive,
    uring_watch_forks,
)
from cython.cimports.libc.errno import EAGAIN, EBUSY, EINTR, ETIME
from cython.cimports.libc.stdlib import free
from cython.cimports.libc.string import memset
from cython.cimports.posix.time import CLOCK_MONOTONIC, clock_gettime, timespec
from cython.cimports.posix.unistd import close as close_descriptor
from cython.cimports.posix.unistd import dup, getpid, usleep

from ioring.ring.errors import ForkedRing, RingClosed, RingError, WrongThread, os_error

CLOSE_SECONDS = 10.0
"""How long close() waits for requests that cannot be cancelled: the disk reads of a dead NFS server, say."""

# A ring may outlive the globals of its module, at the interpreter's end; these stay.
warn = cython.declare(object, warnings.warn)
LOST = cython.declare(str, "{} requests of a ring did not end: their memory will never be freed")

ORPHANS = cython.declare(list, [])
"""Rings that were closed in another thread than their own while their descriptor was registered with that one
(IORING_REGISTER_RING_FDS): (thread id, duplicate of the descriptor, registered index, count of forks). The registration
keeps the ring alive in the kernel, and only its own thread can take it back: see release_orphans."""

uring_watch_forks()


class Lifecycle(OpTable):
    """Opens, owns and closes a ring. How it is used is in the classes above."""

    def __cinit__(self):
        self.backlog = []
        self.buffer_rings = {}
        self.retired = []

    def __init__(self, entries, flags, cq_entries, sq_thread_cpu, sq_thread_idle, wq_fd):
        parameters: uring_params
        error: cython.int
        if self.state != STATE_NEW:
            raise RingError("a ring is opened once: make another Ring")
        memset(cython.address(parameters), 0, cython.sizeof(uring_params))
        parameters.flags = flags
        parameters.cq_entries = cq_entries
        parameters.sq_thread_cpu = sq_thread_cpu
        parameters.sq_thread_idle = sq_thread_idle
        parameters.wq_fd = wq_fd
        error = uring_open(cython.address(self.u), entries, cython.address(parameters))
        if error < 0:
            raise os_error(error, "io_uring_setup")
        error = uring_usable(cython.address(self.u))
        if error < 0:
            uring_close(cython.address(self.u))
            raise os_error(error, "io_uring_enter or io_uring_register")
        uring_enlist(cython.address(self.u))
        self.state = STATE_OPEN
        self.adopt()
        if ORPHANS:
            release_orphans(cython.NULL)

    # The thread that owns it.

    def adopt(self):
        """Makes this thread the owner."""
        ioring_assert(self.state == STATE_OPEN)
        self.owner = uring_thread_self()
        self.owner_tid = uring_gettid()
        self.forks = uring_forks

    def check(self):
        """Raises unless the ring is open and belongs to this thread."""
        # The child of a fork finds every descriptor -1.
        if self.state == STATE_OPEN and self.owner == uring_thread_self() and self.u.fd >= 0:
            return 0
        return self.refuse()

    def refuse(self):
        """Raises the exception that says why the ring cannot be used."""
        if self.state == STATE_OPEN and self.forks != uring_forks:
            raise ForkedRing("the ring belongs to the parent process: make a new one in the child")
        if self.state == STATE_NEW:
            raise RingClosed("the ring was never opened")
        if self.state != STATE_OPEN:
            raise RingClosed("the ring is closed")
        raise WrongThread(
            "the ring belongs to another thread: use it there, or send it a message by ioring.send_msg_ring()"
        )

    def fileno(self):
        """The ring's descriptor; readable for ``select`` and ``poll`` when completions are there.

        Raises:
            RingClosed: the ring is closed.
        """
        if self.state != STATE_OPEN or self.forks != uring_forks:
            self.refuse()
        return self.u.fd

    @property
    def closed(self):
        """Whether the ring is closed, or belongs to the parent of this process."""
        return self.state != STATE_OPEN or self.forks != uring_forks

    def _check(self):
        self.check()

    def _enabled(self):
        """Notes that a ring made with R_DISABLED was enabled: it belongs to this thread from now on."""
        self.u.setup_flags &= ~cython.cast(cython.uint, URING_SETUP_R_DISABLED)
        self._move_here()

    def _move_here(self):
        """Makes the ring this thread's. The kernel allows it for rings without SINGLE_ISSUER."""
        if self.owner_tid != uring_gettid() and self.u.enter_flags & URING_ENTER_REGISTERED_RING:
            self.orphan()  # the index is another thread's
            self.leave_registered_fd()
        self.adopt()

    def idle(self):
        """Whether the kernel is done with every request, so that nothing is left but completions in the queue."""
        place: cqe_p
        ahead: cython.uint
        ended: cython.uint = 0
        for ahead in range(uring_cq_ready(cython.address(self.u)) if self.in_flight else 0):
            place = uring_cqe_at(cython.address(self.u), ahead)
            if place.flags & URING_CQE_F_MORE == 0 and self.find(place.user_data) is not None:
                ended += 1
        return ended == self.in_flight

    def _open_anew(self):
        """Makes an idle ring this thread's by opening it once more, since the kernel keeps one thread to it.

        Its completions go along. The registrations do not. Nobody may be using it: not even waiting for the kernel.
        """
        parameters: uring_params
        fresh: uring
        error: cython.int
        ioring_assert(self.state == STATE_OPEN and self.idle())
        memset(cython.address(parameters), 0, cython.sizeof(uring_params))
        parameters.flags = self.u.setup_flags
        parameters.cq_entries = self.u.cq_entries
        error = uring_open(cython.address(fresh), self.u.sq_entries, cython.address(parameters))
        if error < 0:
            raise os_error(error, "io_uring_setup")
        if uring_cq_hand_over(cython.address(self.u), cython.address(fresh)) < 0:
            uring_close(cython.address(fresh))
            raise MemoryError
        if self.u.enter_flags & URING_ENTER_REGISTERED_RING and uring_thread_is_alive(self.owner_tid):
            self.orphan()
        uring_close(cython.address(self.u))
        self.u = fresh
        uring_enlist(cython.address(self.u))
        self.adopt()

    def _adopt_disabled(self):
        """Makes the thread that is about to enable a disabled ring its owner, so that it may call register."""
        if self.state == STATE_OPEN and self.forks == uring_forks and self.u.setup_flags & URING_SETUP_R_DISABLED:
            self.owner = uring_thread_self()
        else:
            self.check()

    def _use_registered_fd(self, index):
        """Makes io_uring_enter use a registered index, or the descriptor again when the index is negative."""
        number: cython.int = index
        self.check()
        if number < 0:
            self.leave_registered_fd()
        else:
            self.u.enter_fd = number
            self.u.enter_flags |= URING_ENTER_REGISTERED_RING

    def leave_registered_fd(self):
        self.u.enter_fd = self.u.fd
        self.u.enter_flags &= ~cython.cast(cython.uint, URING_ENTER_REGISTERED_RING)

    @property
    def _registered_fd(self):
        return self.u.enter_fd if self.u.enter_flags & URING_ENTER_REGISTERED_RING else -1

    # The end: of a request, and of the ring.

    def retire_op(self, op):
        """Frees what a completed request held, and lets its Op be used again. The caller has already uncounted it.

        Dropping references may run arbitrary code. The caller holds a reference to the Op, so that such code does not
        get it from get_sqe().
        """
        ioring_assert(op.table == cython.NULL)
        if self.state == STATE_OPEN:
            ioring_assert(self.spent_tail - self.spent_head <= self.spent_mask)
            self.spent[self.spent_tail & self.spent_mask] = op.index
            self.spent_tail += 1
        if op.marks & MARK_HELD:
            op.release()
        op.marks = 0
        op.user_data = None

    def end_op(self, op):
        """Ends a request of a ring that is being closed."""
        ioring_assert(self.state == STATE_CLOSING)
        ioring_assert(op.table == cython.cast(cython.p_void, self))
        ioring_assert(self.in_flight > 0)
        op.table = cython.NULL
        self.in_flight -= 1
        self.retire_op(op)

    def close(self):
        """Cancels what is in flight, waits until the kernel is done with it, and closes the ring.

        Corresponds to ``io_uring_queue_exit``, which does not wait. Completions that nobody took are lost; the
        descriptors that they brought are closed, and so is the ring's own file table. A second call does nothing.
        May be called in another thread once the ring's own has ended. Requests that do not end within 10 seconds
        are given up with a ``ResourceWarning``; their memory is never freed.

        Raises:
            WrongThread: the ring's thread is alive, and not this one.
        """
        attempt: cython.int = 0
        lost: cython.uint
        if self.state == STATE_OPEN and self.forks == uring_forks and self.owner != uring_thread_self():
            # Thread.join() comes back a little before the kernel's thread is gone.
            while uring_thread_is_alive(self.owner_tid):
                attempt += 1
                if attempt > 100:
                    self.refuse()
                with cython.nogil:
                    usleep(1000)
        lost = self.shut(CLOSE_SECONDS)
        if lost:
            warn(LOST.format(lost), ResourceWarning, stacklevel=2)

    def shut(self, seconds):
        """Closes the ring in any case. Returns the number of requests that did not end within ``seconds``.

        An exception on the way is raised when the ring is closed.
        """
        op: Op
        ring: BufferRing
        lost: cython.uint = 0
        failure: object = None
        if self.state != STATE_OPEN:
            return 0
        ioring_assert(self.count_in_flight() == self.in_flight)
        self.state = STATE_CLOSING
        if self.forks == uring_forks:
            try:
                self.end_requests(seconds)
            except BaseException as error:
                failure = error
            lost = self.in_flight
            ioring_assert(self.count_in_flight() == lost)
            if lost:
                self.abandon()
            else:
                # The kernel would do it later, in a worker. Peers of direct sockets shall see the stream's end now.
                uring_sys_register(self.u.fd, URING_UNREGISTER_FILES, cython.NULL, 0)
                if self._fixed_buffers is not None:
                    uring_sys_register(self.u.fd, URING_UNREGISTER_BUFFERS, cython.NULL, 0)
            for unseen in self.backlog:
                drop_unseen(unseen)
        uring_close(cython.address(self.u))
        self.state = STATE_CLOSED
        self.files = 0
        self.in_flight = 0
        self.spent_head = self.spent_tail
        # Dropping references may run arbitrary code, which finds a closed ring.
        ops, self.ops = self.ops, []
        for candidate in ops:
            op = candidate
            op.table = cython.NULL
        groups, self.buffer_rings = self.buffer_rings, {}
        for buffers in groups.values():
            ring = buffers
            ring.detach()
        self.backlog, self.retired, self.provided, self._fixed_buffers = [], [], {}, None
        if lost == 0:
            for candidate in ops:
                op = candidate
                op.release()
        if failure is not None:
            raise failure
        return lost

    def end_requests(self, seconds):
        """Cancels everything and reaps it. What is still in flight afterwards could not be ended."""
        # uring_thread_self() is an address, which a later thread may have got too; its registered rings are others.
        if self.owner != uring_thread_self() or self.owner_tid != uring_gettid():
            if self.u.enter_flags & URING_ENTER_REGISTERED_RING and uring_thread_is_alive(self.owner_tid):
                self.orphan()
            self.leave_registered_fd()
        elif self.u.enter_flags & URING_ENTER_REGISTERED_RING:
            uring_unregister_ring_fd(cython.address(self.u))
        self.quiesce(seconds)
        return self.discard()

    def abandon(self):
        """Keeps all memory that the kernel may still write to, also beyond the interpreter's end.

        So it is no list that holds it, which would go with its module, but references that nobody gives up.
        """
        Py_INCREF(self.ops)
        Py_INCREF(self.buffer_rings)
        Py_INCREF(self.retired)
        Py_INCREF(self.provided)
        Py_INCREF(self._fixed_buffers)

    def orphan(self):
        """Has the ring's own thread take back the registration of the descriptor: see ORPHANS.

        The main thread does it as soon as the interpreter lets it, another one when it opens its next ring.
        """
        fd: cython.int = dup(self.u.fd)
        if fd >= 0:
            ORPHANS.append((self.owner_tid, fd, self.u.enter_fd, self.forks))
            if self.owner_tid == getpid():
                Py_AddPendingCall(release_orphans, cython.NULL)
        return 0

    def quiesce(self, seconds):
        """Cancels everything and reaps until nothing is in flight, for ``seconds`` at most."""
        op: Op
        place: sqe_p
        code: cython.int
        limit: uint64_t
        flags: cython.uint = URING_ENTER_GETEVENTS
        if self.u.setup_flags & URING_SETUP_SQPOLL:
            flags |= URING_ENTER_SQ_WAKEUP
            self.u.sq_tail = self.u.sq_published
        else:
            uring_retract(cython.address(self.u))
        limit = self.u.sq_tail
        self.discard()  # first: completions may be of a ring that was opened before this one
        for candidate in list(self.ops):
            op = candidate
            if op.table != cython.NULL and op.position >= limit:
                self.end_op(op)
        deadline: cython.double = monotonic_seconds() + seconds
        while True:
            self.discard()
            if self.in_flight == 0 or monotonic_seconds() > deadline:
                return 0
            # Twice, because neither finds all: an entry waits behind an IO_DRAIN, and the registration does not see the
            # kernel workers of an SQPOLL thread. Restrictions may forbid one of the two.
            with cython.nogil:
                uring_cancel_all(cython.address(self.u), 1_000_000)
            place = uring_get_sqe(cython.address(self.u))
            if place != cython.NULL:
                place.opcode = URING_OP_ASYNC_CANCEL
                place.fd = -1
                place.op_flags = URING_CANCEL_ALL | URING_CANCEL_ANY
                uring_publish(cython.address(self.u))
            # The cancellation's own completion is one; wait for one more.
            with cython.nogil:
                code = uring_enter(cython.address(self.u), uring_sq_ready(cython.address(self.u)), 2, flags, 20_000_000)
            if code < 0 and code not in (-EINTR, -ETIME, -EAGAIN, -EBUSY):
                return 0  # another thread's ring, or one that was never enabled

    def discard(self):
        """Drops all completions in the queue. Descriptors that they brought are closed."""
        ends: cython.int[2]
        place: cqe_p
        token: uint64_t
        res: int32_t
        flags: uint32_t
        op: Op
        while True:
            place = uring_peek_cqe(cython.address(self.u))
            if place == cython.NULL:
                return 0
            token = place.user_data
            res = place.res
            flags = place.flags
            uring_cq_advance(cython.address(self.u), 1)
            op = self.find(token)
            if op is not None:
                if res >= 0 and op.marks & MARK_DESCRIPTOR:
                    if op.pipe_ends(ends):
                        close_ends(ends)
                    else:
                        close_descriptor(res)
                if flags & URING_CQE_F_MORE == 0:
                    op.ended_with(res)
                    self.end_op(op)

    def __enter__(self):
        if self.state != STATE_OPEN or self.forks != uring_forks:
            self.refuse()
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __del__(self):
        # Runs before the garbage collector clears anything, so that the requests' memory is whole until here.
        inherited: cython.bint = self.forks != uring_forks
        lost: cython.uint
        if self.state == STATE_OPEN:
            lost = self.shut(2.0)
            if lost:
                warn(LOST.format(lost), ResourceWarning, stacklevel=1)
            if not inherited:
                warn("a Ring was not closed", ResourceWarning, source=self, stacklevel=1)

    def __dealloc__(self):
        op: Op
        if self.state == STATE_OPEN:  # only when a subclass overrides __del__
            if self.in_flight and self.ops is not None:
                self.abandon()
                for candidate in self.ops:
                    op = candidate
                    op.table = cython.NULL
            uring_close(cython.address(self.u))
        ioring_assert(self.u.fd < 0)
        free(self.spent)


def monotonic_seconds():
    """What time.monotonic() gives, also at the interpreter's end, when there are no modules any more."""
    clock: timespec
    clock_gettime(CLOCK_MONOTONIC, cython.address(clock))
    return clock.tv_sec + clock.tv_nsec * 1e-9


def release_orphans(unused):
    """Takes back this thread's registrations of closed rings: see ORPHANS. A pending call of the main thread, too."""
    tid: cython.int = uring_gettid()
    for orphan in list(ORPHANS):
        owner, fd, index, forks = orphan
        if owner != tid and forks == uring_forks and uring_thread_is_alive(owner):
            continue
        ORPHANS.remove(orphan)
        if owner == tid and forks == uring_forks:
            uring_unregister_ring_index(fd, index)
        close_descriptor(fd)
    return 0


def drop_unseen(unseen):
    """Closes the descriptors that a completion brought which the program will not get."""
    cqe: Cqe = unseen
    if cqe.pipe:
        close_ends(cqe.ends)
    elif cqe.descriptor:
        close_descriptor(cqe.number)
    return 0


def close_ends(ends):
    """Closes both ends of a pipe."""
    close_descriptor(ends[0])
    close_descriptor(ends[1])
    return 0
