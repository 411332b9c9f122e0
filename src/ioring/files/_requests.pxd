cimport cython
from posix.uio cimport iovec
from ioring.files._fast_path cimport QuickFile
from ioring.files._memory cimport *
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._awaitable cimport *
from ioring.loop._engine cimport Engine

cdef extern from "pread.h":
    int64_t ioring_read_now(int fd, void *buffer, size_t size, int64_t offset) nogil
    int64_t ioring_read_blocking(int fd, void *buffer, size_t size, int64_t offset) nogil
    int64_t ioring_write_blocking(int fd, const void *buffer, size_t size, int64_t offset) nogil

cdef enum:
    CALL_COST = 1024  # what an attempt costs besides its bytes, in bytes


cdef class Owner(QuickFile):
    cdef int abandoned(self, FileOp op) except -1
    cdef int caught_up(self, FileOp op, int64_t res) except -1
    cdef int admit(self) except -1
    cdef int borrowed(self) except -1
    cdef int returned(self, Engine core) except -1


cdef class FileOp(Awaitable):
    cdef Engine core
    cdef Owner owner  # the file, if this has its turn
    cdef Owner lender  # the file, if this needs no turn: it stays open as long as the request uses its descriptor
    cdef bint borrowing  # whether the lender was told
    cdef object path  # what an OSError names
    cdef int fd
    cdef int state
    cdef bint threaded  # a thread does it, also where there is a ring
    cdef int64_t result
    cdef object failure  # what a thread has raised, if it is no OSError
    cdef object future

    # Whether a cancellation has to wait for the request's end, and the cancellation that waits.
    cdef bint steady
    cdef object cancellation

    cdef bint attempt(self) except -1
    cdef int64_t cost(self) noexcept
    cdef bint at_once(self, int64_t cost) except -1
    cdef int begin(self) except -1
    cdef int fill(self, sqe_p sqe) except -1
    cdef bint more(self, int64_t res) except -1
    cdef bint cancellable(self) noexcept
    cdef object complete_with(self, int64_t res)
    cdef object end(self, int64_t res)
    cdef object outcome(self)
    cdef object error(self)
    cdef int start(self) except -1
    cdef int start_thread(self) except -1
    cdef object finish(self)
    cdef int drop(self) except -1
    cdef int borrow_file(self) except -1
    cdef int return_file(self) except -1


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
