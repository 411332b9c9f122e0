# bytes_pool.h as Cython sees it.

cdef extern from "bytes_pool.h":
    struct ioring_pool:
        Py_ssize_t capacity

    bytes ioring_pool_bytes(ioring_pool *pool, const char *source, Py_ssize_t size)
    void ioring_pool_clear(ioring_pool *pool)
