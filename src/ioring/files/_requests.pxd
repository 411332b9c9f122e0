cimport cython
from ioring.ring.uring cimport *
from ioring.ring._request cimport *
from ioring.loop._awaitable cimport *
from ioring.loop._engine cimport Engine
from ioring.files._fast_path cimport QuickFile


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
    cdef int64_t result
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


@cython.final
cdef class Call(FileOp):
    # Anything else: the entry, the names that it points to, and what does the same in a thread.
    cdef uring_sqe entry
    cdef bytes first
    cdef bytes second
    cdef object fallback
    cdef object value
    cdef bint makes_descriptor
    cdef bint threaded  # no request of a ring does it

    cdef size_t hold(self, bytes name) except 0


cdef Call new_call(Engine core, uint8_t opcode, int fd, object path, object fallback)
