from libc.stdint cimport int64_t
from ioring.files._requests cimport FileOp, Owner
from ioring.loop._engine cimport Engine


cdef class Turns(Owner):
    cdef Engine core
    cdef object host  # the loop that core works for
    cdef object find_engine

    cdef bint shut  # closed
    cdef bint closing  # what is under way goes on, and nothing new begins
    cdef bint deserted  # closing, and nobody waits for that
    cdef bint detached

    # Whether an operation with the position is under way, those that wait for their turn, and a request that nobody
    # waits for any more but that has to end first.
    cdef bint busy
    cdef object waiting
    cdef FileOp straggler

    # Somebody else has got the descriptor meanwhile: its own position is that of the file when the turn is over.
    cdef bint sharing

    # How many requests that need no turn use the descriptor, and a future of the one who waits for their end.
    cdef Py_ssize_t lent
    cdef object idle

    cdef int check_open(self) except -1
    cdef int settle_core(self) except -1
    cdef bint take_turn(self) noexcept
    cdef int leave(self) except -1
    cdef int share_position(self) except -1
    cdef int go_on_closing(self) except -1
