cimport cython
from ioring.ring.request_token cimport *
from ioring.ring.uring cimport *


cdef class OpTable


cdef class Op:
    # The ring that it is in flight on: a borrowed reference, NULL while it is not in flight.
    cdef void *table
    cdef uint64_t position
    cdef readonly uint64_t token
    cdef object user_data  # must follow token, from whose offset its own is computed
    cdef unsigned index

    # What the ring has to do at a completion: MARK_* below.
    cdef uint8_t marks
    cdef uint8_t opcode
    cdef uint16_t buffer_group_id

    cdef int completed(self, OpTable table, int32_t res, uint32_t flags) except -1
    cdef int complete(self, int32_t res, uint32_t flags) except -1
    cdef int complete_timed(self, int32_t res, uint32_t flags) except -1
    cdef bint pipe_ends(self, int *ends) noexcept
    cdef int ended_with(self, int32_t res) except -1
    cdef void release(self) noexcept


cdef class OpTable:
    cdef uring u
    cdef int state
    cdef unsigned files

    # The thread that owns it.
    cdef unsigned long owner

    # Every Op of this ring by index: in flight, or completed and waiting to be used again.
    cdef list ops
    cdef uint64_t generation
    cdef readonly unsigned in_flight

    # Whether a prepared request may take the kernel long: then the next submission gives up the GIL.
    cdef bint heavy

    # Whether an SQE ever asked for CQE_SKIP_SUCCESS; memory given by prep_provide_buffers, by group and id.
    cdef bint skipping
    cdef dict provided

    # Stands in the table at indices that no Op has. Never in flight.
    cdef Op vacant

    cdef int check(self) except -1
    cdef int place(self, Op op) except -1
    cdef Op find(self, uint64_t token)
    cdef uint64_t token_of(self, object target) except? 0

    # For assertions.
    @cython.final
    cdef bint holds(self, Op op) noexcept
    @cython.final
    cdef bint is_free(self, unsigned index) noexcept
    @cython.final
    cdef unsigned count_in_flight(self) noexcept


cdef enum:
    MARK_HOOK = 1          # completed() wants every completion
    MARK_SKIP = 2          # the program does not get completions that succeeded: IOSQE_CQE_SKIP_SUCCESS
    MARK_SELECT = 4        # a buffer of a group may be in use
    MARK_BUNDLE = 8        # one completion may span several buffers
    MARK_DESCRIPTOR = 16   # a result >= 0 is a new descriptor of the process
    MARK_HELD = 32         # release() has something to free
    MARK_LAUNCHED = 64     # has an index only while it is in flight: Driver.launch
    MARK_EARLY = 128       # may complete ahead of earlier completions: Driver.exchange_early

cdef enum:
    STATE_NEW = 0
    STATE_OPEN = 1
    STATE_CLOSING = 2
    STATE_CLOSED = 3


cdef bint are_equal(object one, object other) except -1
