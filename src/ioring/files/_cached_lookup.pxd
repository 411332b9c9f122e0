from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

cdef extern from "cached_lookup.h":
    ctypedef struct statx_time:
        int64_t sec
        uint32_t nsec

    ctypedef struct statx_t "struct ioring_statx":
        uint32_t mask, blksize
        uint32_t nlink, uid, gid
        uint16_t mode
        uint64_t ino, size, blocks
        statx_time atime, btime, ctime, mtime
        uint32_t rdev_major, rdev_minor, dev_major, dev_minor

    unsigned IORING_STATX_WANTED
    int ioring_statx(int folder, const char *path, int flags, statx_t *out) nogil
    int ioring_openat2(int folder, const char *path, uint64_t flags, uint64_t resolve) nogil
    int ioring_stat_now(int folder, const char *path, int flags, statx_t *out, int64_t *id) nogil
    uint64_t ioring_mount(const statx_t *found) nogil
    int ioring_is_final(int error) nogil
    uint64_t ioring_device "makedev" (unsigned major, unsigned minor) nogil
    enum:
        AT_EMPTY_PATH
        AT_SYMLINK_NOFOLLOW
        RESOLVE_CACHED
        RESOLVE_BENEATH
        RESOLVE_NO_MAGICLINKS


cdef int stat_known(int folder, const char *path, int flags, statx_t *out) except? -1
cdef int open_known(int folder, const char *path, int flags, statx_t *out) except? -1
cdef bint in_memory(const statx_t *found) except -1
cdef object stat_result_of(const statx_t *found)
cdef object nanoseconds(int64_t seconds, int64_t rest)
