cimport cython
from ioring.files._requests cimport *
from ioring.files._cached_lookup cimport statx_t, in_memory, open_known, stat_known, stat_result_of
from ioring.files._cached_lookup cimport ioring_statx, IORING_STATX_WANTED, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW


@cython.final
cdef class Stat(FileOp):
    cdef bytes name
    cdef int flags
    cdef bint brief  # only the mode is wanted, and 0 for any error
    cdef statx_t found


@cython.final
cdef class ReadSmall(FileOp):
    # The result is `data`, or `fd` when the file is too large or not cached in full.
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
