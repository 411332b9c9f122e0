cimport cython
from ioring.files._requests cimport *
from ioring.files._cached_lookup cimport statx_t, in_memory, open_known, stat_known, stat_result_of
from ioring.files._cached_lookup cimport ioring_statx, IORING_STATX_WANTED, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW


@cython.final
cdef class Stat(FileOp):
    cdef bytes name
    cdef int flags
    cdef bint brief  # the mode is all that is wanted; 0 when there is no such file
    cdef statx_t found


@cython.final
cdef class ReadSmall(FileOp):
    # Either data or, of what is too large or not cached in full, fd.
    cdef bytes name
    cdef statx_t found
    cdef bytes data

    cdef int64_t size_now(self)


@cython.final
cdef class Part(Transfer):
    cdef bytes data
    cdef bint never_at_once


@cython.final
cdef class Work(FileOp):
    cdef object function
    cdef object value
    cdef object failure
