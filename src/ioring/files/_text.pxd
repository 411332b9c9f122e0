cimport cython
from ioring.files._buffered cimport BufferedFile
from ioring.files._fast_path cimport Quick

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object it)


@cython.final
cdef class TextLine(Quick):
    cdef TextFile file
    cdef Py_ssize_t limit
    cdef bint iterating


@cython.final
cdef class TextWrite(Quick):
    cdef TextFile file
    cdef object text


cdef class TextFile:
    cdef BufferedFile file  # None once it is detached
    cdef object _mode
    cdef bint _line_buffering

    # The encoding, and the line endings.
    cdef object codec
    cdef str _encoding
    cdef str _errors
    cdef object newline
    cdef bint stateless  # each character is encoded by itself
    cdef bint universal
    cdef bint translating
    cdef int ends
    cdef str written_end  # what a line feed becomes
    cdef object decoder
    cdef object encoder
    cdef bint started  # what is written is not at the beginning of the file, so there is no byte order mark

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

    cdef TextLine spare
    cdef object __weakref__

    cdef BufferedFile below(self)
    cdef int check_readable(self) except -1
    cdef int check_writable(self) except -1
    cdef int forget(self) except -1
    cdef Py_ssize_t left(self) noexcept
    cdef str taken(self, Py_ssize_t size)
    cdef bint decode(self, bytes data) except -1
    cdef bint decode_ahead(self) except -1
    cdef int begin(self) except -1
    cdef int undo(self) except -1
    cdef int end(self) except -1
    cdef Py_ssize_t line_end(self) except -2
    cdef object line_at_once(self, Py_ssize_t limit)
    cdef str line_decoded(self)
    cdef object encode(self, object text)
    cdef int accept(self, object data) except -1
    cdef object write_at_once(self, object text)


cdef Py_ssize_t find(str text, Py_UCS4 character, Py_ssize_t start, Py_ssize_t end) except -2
cdef TextLine new_line(TextFile file, Py_ssize_t limit, bint iterating)
