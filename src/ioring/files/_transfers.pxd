cimport cython
from posix.uio cimport iovec
from ioring.files._memory cimport *
from ioring.files._requests cimport *

cdef extern from "pread.h":
    int64_t ioring_read_now(int fd, void *buffer, size_t size, int64_t offset) nogil
    int64_t ioring_read_blocking(int fd, void *buffer, size_t size, int64_t offset) nogil
    int64_t ioring_write_blocking(int fd, const void *buffer, size_t size, int64_t offset) nogil

cdef enum:
    CALL_COST = 1024  # what an attempt costs besides its bytes, in bytes


cdef class Transfer(FileOp):
    # From or into memory at an offset, or at the descriptor's own position when that is negative.
    cdef int64_t offset
    cdef size_t size
    cdef size_t done
    cdef char *memory
    cdef bint instant  # whether an attempt at once makes sense
    cdef bint partial  # whether fewer bytes than asked for are enough, as from a pipe

    cdef bint writes(self) noexcept
    cdef int64_t place(self) noexcept
    cdef bint read_now(self) noexcept
    cdef bint goes_on(self) noexcept


@cython.final
cdef class Read(Transfer):
    cdef bytes data


cdef class IntoMemory(Transfer):
    cdef Py_buffer view
    cdef bint held

    cdef int let_go(self) except -1


@cython.final
cdef class ReadInto(IntoMemory):
    pass


@cython.final
cdef class Write(IntoMemory):
    cdef bint keep_going  # it goes on in the kernel when its task is cancelled


cdef class Vectored(FileOp):
    cdef int64_t offset
    cdef list views
    cdef iovec *parts
    cdef unsigned count
    cdef bint writing


cdef int set_part(iovec *part, object view, bint writing) except -1
cdef Read new_read(Engine core, object path, int fd, int64_t offset, size_t size)
cdef Write new_write(Engine core, object path, int fd, int64_t offset, object data)
