cimport cython
from ioring.files._buffered cimport BufferedFile
from ioring.files._fast_path cimport QuickFile

# Where lines end.
cdef enum:
    ANY_END
    LF_END
    CR_END
    CRLF_END


cdef class Decoding(QuickFile):
    cdef BufferedFile file  # None once it is detached

    # The encoding, and the line endings.
    cdef object codec
    cdef str _errors
    cdef bint universal
    cdef bint translating
    cdef int ends
    cdef object decoder

    # The current piece: its characters, how many of them were read, and what it was decoded from, the decoder's state
    # and the bytes.
    cdef str decoded
    cdef Py_ssize_t decoded_at
    cdef tuple origin
    cdef Py_ssize_t chunk
    cdef bint telling

    # What the call that is under way has decoded, and the piece before it, so that it can be undone.
    cdef list trail
    cdef tuple saved

    cdef BufferedFile below(self)
    cdef int check_readable(self) except -1
    cdef int forget(self) except -1
    cdef Py_ssize_t left(self) noexcept
    cdef str taken(self, Py_ssize_t size)
    cdef bint decode(self, bytes data) except -1
    cdef bint decode_ahead(self) except -1
    cdef int begin(self) except -1
    cdef int undo(self, object error) except -1
    cdef int end(self) except -1
    cdef Py_ssize_t line_end(self) except -2
    cdef str line_decoded(self)


cdef Py_ssize_t find(str text, Py_UCS4 character, Py_ssize_t start, Py_ssize_t end) except -2
