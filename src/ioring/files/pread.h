/* What can be had of a file at once, from the page cache; -EAGAIN where it would have to wait.
 */
#ifndef IORING_FILEIO_H
#define IORING_FILEIO_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x8
#endif

/* preadv2 from the page cache alone. An offset of -1 is the descriptor's own position. musl has the function since 1.2.5
 * only; the system call takes the offset in two halves, of which the lower holds all on a 64-bit kernel.
 */
static inline int64_t ioring_read_now(int fd, void *buffer, size_t size, int64_t offset)
{
    struct iovec part = {buffer, size};
#ifdef __GLIBC__
    ssize_t n = preadv2(fd, &part, 1, offset, RWF_NOWAIT);
#else
    ssize_t n = syscall(SYS_preadv2, fd, &part, 1L, (long)offset, 0L, RWF_NOWAIT);
#endif
    return n < 0 ? -errno : n;
}

/* The blocking calls, for threads. They wait as a request does, also where the descriptor is O_NONBLOCK. */
static inline int64_t ioring_wait_blocking(int fd, short events)
{
    struct pollfd poller = {fd, events, 0};
    return poll(&poller, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

static inline int64_t ioring_read_blocking(int fd, void *buffer, size_t size, int64_t offset)
{
    for (;;) {
        ssize_t n = offset < 0 ? read(fd, buffer, size) : pread(fd, buffer, size, offset);
        int64_t code = n < 0 ? -errno : n;
        if (code != -EAGAIN || (code = ioring_wait_blocking(fd, POLLIN)) < 0)
            return code;
    }
}

static inline int64_t ioring_write_blocking(int fd, const void *buffer, size_t size, int64_t offset)
{
    for (;;) {
        ssize_t n = offset < 0 ? write(fd, buffer, size) : pwrite(fd, buffer, size, offset);
        int64_t code = n < 0 ? -errno : n;
        if (code != -EAGAIN || (code = ioring_wait_blocking(fd, POLLOUT)) < 0)
            return code;
    }
}

/* Goes on with a coroutine: what it yields, or, with *finished set, its result. */
static inline PyObject *ioring_send(PyObject *coroutine, int *finished)
{
    PyObject *value = NULL;

    *finished = PyIter_Send(coroutine, Py_None, &value) == PYGEN_RETURN;
    return value;
}

#endif
