# cython: boundscheck=False, nonecheck=False
"""What operations need of a loop: its ring, the queue of those to be submitted, and how much a turn may still read.

``ioring.Loop`` is an engine that also runs callbacks, and does its work in each of its turns (_core.py). Another loop
has an engine at its side for files, and calls it (ioring.files.engine).
"""

import collections

import cython
from cython.cimports.posix.unistd import getpid


class EngineOp(Op):
    """An operation that an engine launches. It knows its engine by a name of its own."""

    def prepare(self):
        """Fills in its SQE. Called before the next wait, once for each time that it was enqueued."""
        return 0

    def retry(self):
        """Called in a later turn, once for each time that it was deferred."""
        return 0

    def parks(self):
        """What becomes of its request between two runs of a loop: STAYS, TAKEN_BACK or FORGOTTEN."""
        return STAYS


class Engine:
    """The part of a loop that operations know. Heirs give the hooks, and ``create_future``.

    ``_thread_id`` is None as long as no turn will come by itself: what is enqueued then is followed by
    ``_submit_soon``.
    """

    def __cinit__(self):
        self.queue = []
        self.deferred = collections.deque()

    # Hooks. Here they stand for an engine that works for another loop, of which it knows nothing.

    def _rest(self):
        """Operations wait for the next turn: the other loop is to call _replenish() in it."""

    def _in_thread(self, call, done):
        """Makes a blocking call in the loop's executor; ``done`` gets the future of its result, in the loop."""
        self.run_in_executor(None, call).add_done_callback(done)

    def alone(self):
        """Whether the next turn would have nothing else to do, so that a read that has reached its limit may go on now.

        To be asked when immediate_left is used up.
        """
        return False

    # Opening and closing.

    def _set_ring(self, ring):
        self.ring = ring

    def _forget(self):
        """The loop is closed: drops everything that waits to be submitted."""
        self.queue.clear()
        self.deferred.clear()

    @property
    def _ring(self):
        return self.ring

    # What operations use.

    def launch(self, op):
        """An SQE for an operation. The ring holds the operation until its final completion."""
        self.counts.submissions += 1
        return self.ring.launch(op)

    def cancel(self, op):
        """Asks the kernel to cancel an operation; its final completion still comes."""
        sqe: sqe_p
        if op.table != cython.NULL:
            sqe = self.ring.send_off()
            sqe.opcode = URING_OP_ASYNC_CANCEL
            sqe.fd = -1
            sqe.addr = op.token
        return 0

    def nudge(self):
        """Submits at once what is prepared, if the loop does not run: so a descriptor that is closed is closed."""
        if self._thread_id is None:
            self._settle()
        return 0

    def enqueue(self, op):
        """Has op.prepare() called before the next wait."""
        if not op.queued:
            op.queued = True
            self.queue.append(op)
        return 0

    def defer(self, op):
        """Has op.retry() called in a later turn, one in which there is something left of IMMEDIATE_MAX."""
        self.deferred.append(op)
        self._rest()
        return 0

    def replenish(self):
        """Begins a turn: the deferred operations come first, in order."""
        op: EngineOp
        self.immediate_left = IMMEDIATE_MAX
        while self.deferred and self.immediate_left > IMMEDIATE_MAX - DEFERRED_SHARE:
            op = self.deferred.popleft()
            op.retry()
        return 0

    def _replenish(self):
        """A turn has begun of the other loop that this engine works for."""
        self.replenish()
        if self.deferred:
            self._rest()

    def _reap(self):
        """Calls complete() of the operations whose completions have arrived."""
        self.counts.completions += self.ring.reap()

    def _submit_soon(self):
        """An operation was enqueued while the loop does not run."""
        self._settle()

    def _owns_ring(self):
        return not self._closed and self.ring.owner == uring_thread_self()

    def _at_home(self):
        """Whether this is the ring's thread, and not a later one whose pthread_t is the same number."""
        return self._owns_ring() and self.ring.owner_tid == uring_gettid()

    def _settle(self):
        """Submits what is prepared, without waiting."""
        if self._owns_ring() and self.ring.u.setup_flags & URING_SETUP_R_DISABLED == 0:
            self.prepare_queue()
            self.bring_in()

    def bring_in(self):
        """Submits what is prepared, and has the kernel say what it has done: of much it says a part with each call."""
        before: cython.uint
        while True:
            before = uring_cq_ready(cython.address(self.ring.u))
            self.ring.exchange(0, 0)
            if not uring_cq_needs_enter(cython.address(self.ring.u)):
                return 0
            if uring_cq_ready(cython.address(self.ring.u)) == before:
                return 0
            if uring_cq_queued(cython.address(self.ring.u)) > self.ring.u.cq_entries // 2:
                uring_cq_set_aside(cython.address(self.ring.u))

    def _park(self):
        """A run is over: submits what is prepared, and takes back what waits in the kernel.

        Its completions say so in the next run, and it begins again there. The kernel lets only this thread use the
        ring; once nothing is in flight, the next run may be in another one, which opens a ring of its own.
        """
        op: EngineOp
        place: cython.Py_ssize_t = 0
        if not self._owns_ring() or self.ring.u.setup_flags & URING_SETUP_R_DISABLED:
            return None
        if self.ring.u.setup_flags & URING_SETUP_SINGLE_ISSUER == 0:
            return self._settle()  # the next thread may use it as it is
        self.parking = True
        try:
            self.prepare_queue()
            while place < len(self.ring.ops) and self.ring.u.fd >= 0:
                candidate = self.ring.ops[place]
                place += 1
                if isinstance(candidate, EngineOp):
                    op = candidate
                    if op.table != cython.NULL and op.parks() == TAKEN_BACK:
                        self.cancel(op)
            self.bring_in()
            if self.ring.u.enter_flags & URING_ENTER_REGISTERED_RING and self.ring.owner_tid != getpid():
                # No other thread could do that. The main thread is asked to, when it comes to that.
                uring_unregister_ring_fd(cython.address(self.ring.u))
        finally:
            self.parking = False

    def forget_polls(self):
        """In another thread than the ring's: what is FORGOTTEN is over. Returns whether nothing else is in flight."""
        op: EngineOp
        if self.parking:
            return False
        for candidate in list(self.ring.ops):
            if isinstance(candidate, EngineOp):
                op = candidate
                if op.table != cython.NULL and op.parks() == FORGOTTEN:
                    self.ring.tell(op, -ECANCELED, 0)
        return self.ring.idle()

    def prepare_queue(self):
        """Calls prepare() of the operations in the queue, and of those that are enqueued meanwhile."""
        op: EngineOp
        place: cython.Py_ssize_t = 0
        if self.preparing:
            return 0  # a finalizer has written something: the call that goes on below prepares that, too
        self.preparing = True
        self.unsent = 0
        try:
            while place < len(self.queue):
                op = cython.cast(EngineOp, self.queue[place])
                ioring_assert(op.queued)
                place += 1
                op.queued = False
                op.prepare()
        finally:
            self.preparing = False
            del self.queue[:place]
        return 0
