cimport cython
from ioring.files._buffered cimport BufferedFile
from ioring.files._fast_path cimport Quick
from ioring.files._text_decoding cimport *

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


cdef class TextFile(Decoding):
    cdef object _mode
    cdef bint _line_buffering

    # The encoding, and the line endings.
    cdef str _encoding
    cdef object newline
    cdef bint stateless  # each character is encoded by itself
    cdef str written_end  # what a line feed becomes
    cdef object encoder
    cdef bint started  # what is written is not at the beginning of the file, so there is no byte order mark

    cdef TextLine spare
    cdef object __weakref__

    cdef int check_writable(self) except -1
    cdef object encode(self, object text)
    cdef int accept(self, object data) except -1
    cdef object write_at_once(self, object text)


cdef TextLine new_line(TextFile file, Py_ssize_t limit, bint iterating)
