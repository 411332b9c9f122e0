from ioring.files._buffered cimport BufferedFile
from ioring.files._fast_path cimport new_line, new_writing
from ioring.files._text_decoding cimport *


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

    cdef object __weakref__

    cdef int check_writable(self) except -1
    cdef object encode(self, object text)
    cdef int accept(self, object data) except -1
