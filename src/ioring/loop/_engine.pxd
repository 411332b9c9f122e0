cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.ring._dispatcher cimport Driver


cdef enum:
    # When a turn has written more than this, in bytes, it submits before it is over: less than what glibc's allocator
    # keeps for itself (131072).
    UNSENT_MAX = 98304

    # How much one turn may read by plain system calls instead of requests to the ring, in bytes: about 20 microseconds.
    # Reads beyond it are deferred to the next turn, so that other callbacks are not kept waiting.
    IMMEDIATE_MAX = 65536

    # How much of that the deferred reads may use at the beginning of a turn, in bytes. Each of them has already cost a
    # Future. The rest is for the reads that their tasks do next, which then need none.
    DEFERRED_SHARE = 16384


# What becomes of a request when a run of the loop is over: see Engine._park.
cdef enum:
    STAYS = 0       # with the kernel. The next run must then be in the same thread.
    TAKEN_BACK = 1  # it is cancelled. In the next run the operation finds ECANCELED, and begins again.
    FORGOTTEN = 2   # with the kernel. A run in another thread begins again without it: a poll, which alters nothing.


cdef class EngineOp(Op):
    cdef bint queued  # whether it is in Engine.queue

    cdef int prepare(self) except -1
    cdef int retry(self) except -1
    cdef int parks(self) except -1


cdef struct EngineStatistics:
    unsigned long turns
    unsigned long enters
    unsigned long waits
    unsigned long submissions
    unsigned long completions
    unsigned long rearmed
    unsigned long starved


@cython.no_gc_clear
cdef class Engine:
    cdef Driver ring
    cdef EngineStatistics counts

    # Bytes that were written and not submitted yet.
    cdef size_t unsent

    # How much this turn may still read by plain system calls, in bytes.
    cdef int64_t immediate_left

    # Operations that wait for a turn in which something is left of that: a deque.
    cdef object deferred

    # Operations whose prepare() is to be called before the next wait.
    cdef list queue
    cdef bint preparing  # that is being done
    cdef bint parking  # see _park

    # Attributes that asyncio.BaseEventLoop keeps under these names.
    cdef public bint _closed
    cdef public object _thread_id

    cdef sqe_p launch(self, EngineOp op) except NULL
    cdef int cancel(self, Op op) except -1
    cdef int nudge(self) except -1
    cdef int enqueue(self, EngineOp op) except -1
    cdef bint alone(self) except -1
    cdef int defer(self, EngineOp op) except -1
    cdef int replenish(self) except -1
    cdef int prepare_queue(self) except -1
    cdef int bring_in(self) except -1
    cdef bint forget_polls(self) except -1
