from libc.stdint cimport int64_t
from ioring.files._requests cimport *
from ioring.files._turns cimport Turns

cdef extern from "own_positions.h":
    struct ioring_own_position:
        int *fd
        int64_t *position
        bint *tracked
        bint *busy
        bint *sharing

    void ioring_keep_position(ioring_own_position *it)
    void ioring_drop_position(ioring_own_position *it)
    void ioring_share_position(ioring_own_position *it)
    void ioring_share_positions()


cdef enum:
    CHUNK_MAX = 1048576  # read() goes by steps of this

    # How much is read ahead; it grows when a file is read in sequence.
    WINDOW_MIN = 8192
    WINDOW_MAX = 262144


cdef class ReadAhead(Turns):
    cdef readonly object name
    cdef int fd
    cdef bint can_seek
    cdef bint instant

    # Where the next bytes are read or written, if we keep count; else the descriptor's own position is used.
    cdef bint tracked
    cdef int64_t position
    cdef ioring_own_position entry  # in the list of those that a fork() shares

    # Whether a request at the descriptor's own position has to be a system call, which locks it.
    cdef bint locking

    # Received and not read yet; written and not handed over yet.
    cdef bytes ahead
    cdef Py_ssize_t ahead_at
    cdef list unwritten
    cdef Py_ssize_t unwritten_size
    cdef Py_ssize_t buffer_size
    cdef Py_ssize_t window  # how much is read ahead next

    cdef int track(self) except -1
    cdef int share(self) except -1
    cdef int wrote(self, Py_ssize_t count) except -1
    cdef bint take_back(self, Py_ssize_t size) except -1
    cdef int keep(self, bytes data) except -1
    cdef bytes taken(self, Py_ssize_t size)
    cdef Py_ssize_t available(self) noexcept
    cdef int put_back(self, list parts) except -1
    cdef int forget_ahead(self) except -1
    cdef int64_t place(self) noexcept
    cdef FileOp fetch(self, Py_ssize_t size, bint partial)
    cdef FileOp fetch_part(self, int64_t offset, bytes data, Py_ssize_t start, Py_ssize_t size)
    cdef FileOp push(self, object data)
    cdef int advanced(self, Py_ssize_t count) except -1
