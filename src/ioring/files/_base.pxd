cimport cython
from libc.stdint cimport int64_t
from ioring.files._requests cimport *
from ioring.loop._core cimport LoopCore

cdef enum:
    CHUNK_MAX = 1048576  # read() goes by steps of this


cdef class File(Owner):
    cdef LoopCore core
    cdef object host  # the loop that core works for
    cdef object find_engine
    cdef readonly object name
    cdef readonly str mode
    cdef int fd
    cdef bint shut  # closed
    cdef bint closing  # what is under way goes on, and nothing new begins
    cdef bint deserted  # closing, and nobody waits for that
    cdef bint detached
    cdef bint closefd
    cdef object blocking  # the file that the descriptor belongs to, if that is another
    cdef bint can_read
    cdef bint can_write
    cdef bint can_seek
    cdef bint instant

    # Where the next bytes are read or written, if we keep count; else the descriptor's own position is used.
    cdef bint tracked
    cdef int64_t position

    # Whether an operation with the position is under way, those that wait for their turn, and a request that nobody
    # waits for any more but that has to end first.
    cdef bint busy
    cdef object waiting
    cdef FileOp straggler

    # How many requests that need no turn use the descriptor, and a future of the one who waits for their end.
    cdef Py_ssize_t lent
    cdef object idle

    # Received and not read yet; written and not handed over yet.
    cdef bytes ahead
    cdef Py_ssize_t ahead_at
    cdef list unwritten
    cdef Py_ssize_t unwritten_size
    cdef Py_ssize_t buffer_size
    cdef Py_ssize_t window  # how much is read ahead; grows

    cdef object __weakref__

    cdef int check_open(self) except -1
    cdef int check_readable(self) except -1
    cdef int check_writable(self) except -1
    cdef int settle_core(self) except -1
    cdef object turn(self)
    cdef int leave_turn(self) except -1
    cdef int give_up_descriptor(self) except -2
    cdef int go_on_closing(self) except -1
    cdef bint write_on(self) except -1
    cdef int give_up(self, object error) except -1
    cdef int wrote(self, Py_ssize_t count) except -1
    cdef int keep(self, bytes data) except -1
    cdef bytes taken(self, Py_ssize_t size)
    cdef Py_ssize_t available(self) noexcept
    cdef bytes line_ahead(self)
    cdef int put_back(self, list parts) except -1
    cdef int forget_ahead(self) except -1
    cdef int64_t place(self) noexcept
    cdef int write_blocking(self) except -1
    cdef object blocking_file(self, int fd, bint closefd)
    cdef FileOp fetch(self, Py_ssize_t size, bint partial)
    cdef FileOp push(self, object data)
    cdef int advanced(self, Py_ssize_t count) except -1


cdef FileOp own(File file, object op)
cdef FileOp lend(File file, object op)
