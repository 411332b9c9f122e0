# assertions.h as Cython sees it. Conditions are expressions of C: what involves Python is evaluated in releases too.

cdef extern from "assertions.h" nogil:
    const bint IORING_ASSERTIONS
    void ioring_assert(bint condition) noexcept
