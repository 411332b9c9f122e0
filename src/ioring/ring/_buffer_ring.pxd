cimport cython
from ioring.ring.uring cimport *
from ioring.ring._cqe cimport Cqe


# Who has a buffer.
cdef enum:
    BY_PROGRAM = 0   # a completion handed it out
    ADDED = 1        # put into the ring, and not shown to the kernel yet
    BY_KERNEL = 2


@cython.final
cdef class BufferRing:
    cdef readonly unsigned entries
    cdef readonly unsigned buffer_size
    cdef readonly bint incremental
    cdef readonly object group

    # One mapping: the entries that the kernel reads, then the buffers. Memoryviews keep it alive.
    cdef object memory
    cdef Py_buffer exported
    cdef buf_p ring
    cdef char *buffers
    cdef size_t offset

    # Which buffer each entry names, which entry names each buffer, who has it, how much of it is used up, and how many
    # of its bytes were added.
    # Tails are counted from the ring's first entry, modulo 65536 like the kernel's.
    cdef uint16_t tail
    cdef uint16_t added
    cdef uint16_t *order
    cdef uint16_t *position
    cdef uint8_t *holder
    cdef uint32_t *consumed
    cdef uint32_t *length
    cdef readonly unsigned available

    cdef int attach(self, object group) except -1
    cdef void detach(self) noexcept
    cdef void put(self, unsigned bid) noexcept
    cdef void put_part(self, unsigned bid, unsigned length) noexcept
    cdef void show(self, unsigned count) noexcept
    cdef list take(self, unsigned bid, int32_t res, bint bundle, bint more)
    cdef void hand_out(self, unsigned bid) noexcept
    cdef int check_bid(self, object bid) except -1
    cdef int check_held(self, object bid) except -1
    cdef list segments_of(self, Cqe cqe)
