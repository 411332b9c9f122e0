from ioring.ring.uring cimport *
from ioring.ring._integers cimport integer, unsigned64
from ioring.ring._request cimport *


cdef class Entry(Op):
    # The entry in the queue, which may be written until it is submitted; and the copy that is being prepared.
    cdef sqe_p place
    cdef bint fresh
    cdef unsigned turn
    cdef uring_sqe sqe

    # Objects and memory that the kernel may use until the final completion.
    cdef object target
    cdef list kept
    cdef Py_buffer memory
    cdef bint holding
    cdef uring_timespec timespec
    cdef uint8_t fixed

    cdef unsigned begin(self) except 0
    cdef int end(self, int opcode, unsigned turn) except -1
    cdef void clear(self) noexcept
    cdef int note_flags(self) except -1
    cdef int put_flag(self, unsigned flag, bint on) except -1
    cdef bint has_flag(self, unsigned flag) except -1
    cdef int writable(self) except -1
    cdef int refuse(self) except -1
    cdef OpTable owner(self)
    cdef int keep(self, object thing) except -1
    cdef int descriptor(self, object fd) except -1
    cdef int directory(self, object dfd) except? -1
    cdef unsigned slot(self, object file_index) except? 0
    cdef uint64_t buffer(self, object buf, object nbytes, bint into) except? 1
    cdef uint64_t sized(self, object buf, Py_ssize_t size, bint into, str what) except? 1
    cdef uint64_t path(self, object path) except 0
    cdef uint64_t vector(self, object buffers, bint into) except 0
    cdef uint64_t duration(self, object seconds) except 0

cdef uint64_t file_offset(object value) except? 0
