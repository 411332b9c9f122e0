/* What can be had of a file at once, from the page cache; -EAGAIN where it would have to wait.
 */
#ifndef IORING_FILEIO_H
#define IORING_FILEIO_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

/* preadv2 from the page cache alone. An offset of -1 is the descriptor's own position. */
static inline int64_t ioring_read_now(int fd, void *buffer, size_t size, int64_t offset)
{
    struct iovec part = {buffer, size};
    ssize_t n = preadv2(fd, &part, 1, offset, RWF_NOWAIT);
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
