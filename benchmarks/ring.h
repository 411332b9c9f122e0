// io_uring on the bare system calls, as much of it as these programs need.
//
// A ring belongs to the one thread that made it. The memory of ring and buffers lives until the process ends: these
// are programs that run once. No library stands between a benchmark and the kernel, so what is measured is the
// kernel.
#ifndef BENCHMARKS_RING_H
#define BENCHMARKS_RING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// Newer than the kernel headers of some distributions (6.6).
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

struct ring {
    int fd;                       // the descriptor, or its registered index once ring_register_fd was called
    unsigned enter_flags;         // added to every enter
    unsigned setup_flags;         // what the kernel granted
    struct io_uring_sqe *sqes;
    unsigned *sq_head, *sq_tail;
    unsigned sq_mask, sq_entries;
    unsigned sq_next;             // tail of what is prepared; published by ring_enter
    struct io_uring_cqe *cqes;
    unsigned *cq_head, *cq_tail;
    unsigned cq_mask;
};

static inline void die(const char *what, int error)
{
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

static inline void ring_register(const struct ring *ring, unsigned opcode, const void *argument, unsigned count)
{
    if (syscall(SYS_io_uring_register, ring->fd, opcode, argument, count) < 0)
        die("io_uring_register", errno);
}

// Returns 0, or a negative errno. cq_entries 0 leaves the size of the completion queue to the kernel.
static inline int ring_setup(struct ring *ring, unsigned entries, unsigned cq_entries, unsigned flags)
{
    struct io_uring_params params;
    memset(&params, 0, sizeof params);
    params.flags = flags | IORING_SETUP_CLAMP | (cq_entries ? IORING_SETUP_CQSIZE : 0);
    params.cq_entries = cq_entries;
    int fd = (int)syscall(SYS_io_uring_setup, entries, &params);
    if (fd < 0)
        return -errno;
    size_t sq_size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    size_t cq_size = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    size_t size = sq_size > cq_size ? sq_size : cq_size;
    int protection = PROT_READ | PROT_WRITE, sharing = MAP_SHARED | MAP_POPULATE;
    unsigned char *queues = mmap(NULL, size, protection, sharing, fd, IORING_OFF_SQ_RING);
    ring->sqes = mmap(NULL, params.sq_entries * sizeof *ring->sqes, protection, sharing, fd, IORING_OFF_SQES);
    if (queues == MAP_FAILED || ring->sqes == MAP_FAILED)
        die("mmap of the ring", errno);
    ring->fd = fd;
    ring->enter_flags = 0;
    ring->setup_flags = params.flags;
    ring->sq_head = (unsigned *)(queues + params.sq_off.head);
    ring->sq_tail = (unsigned *)(queues + params.sq_off.tail);
    ring->sq_mask = params.sq_entries - 1;
    ring->sq_entries = params.sq_entries;
    ring->sq_next = *ring->sq_tail;
    ring->cqes = (struct io_uring_cqe *)(queues + params.cq_off.cqes);
    ring->cq_head = (unsigned *)(queues + params.cq_off.head);
    ring->cq_tail = (unsigned *)(queues + params.cq_off.tail);
    ring->cq_mask = params.cq_entries - 1;
    if (!(params.flags & IORING_SETUP_NO_SQARRAY)) {
        unsigned *array = (unsigned *)(queues + params.sq_off.array);
        for (unsigned i = 0; i < params.sq_entries; i++)
            array[i] = i;
    }
    return 0;
}

// The best setup for one thread that owns its ring, stepping down on kernels that refuse a flag.
static inline void ring_setup_fast(struct ring *ring, unsigned entries, unsigned cq_entries)
{
    static const unsigned ladder[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_NO_SQARRAY,
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
    };
    int error = -EINVAL;
    for (size_t i = 0; i < sizeof ladder / sizeof *ladder && error == -EINVAL; i++)
        error = ring_setup(ring, entries, cq_entries, ladder[i]);
    if (error)
        die("io_uring_setup", -error);
}

// Saves the kernel the look-up of the descriptor at every enter. No ring_register after it.
static inline void ring_register_fd(struct ring *ring)
{
    struct io_uring_rsrc_update update = {.offset = -1U, .data = (uint64_t)ring->fd};
    ring_register(ring, IORING_REGISTER_RING_FDS, &update, 1);
    ring->fd = (int)update.offset;
    ring->enter_flags = IORING_ENTER_REGISTERED_RING;
}

static inline void ring_register_sparse_files(const struct ring *ring, unsigned count)
{
    struct io_uring_rsrc_register files = {.nr = count, .flags = IORING_RSRC_REGISTER_SPARSE};
    ring_register(ring, IORING_REGISTER_FILES2, &files, sizeof files);
}

// Submits what is prepared and waits until `wait` completions are there or `timeout` (may be NULL) has passed.
// Returns what the kernel returned: the number submitted, or a negative errno.
static inline int ring_enter(struct ring *ring, unsigned wait, const struct __kernel_timespec *timeout)
{
    struct io_uring_getevents_arg argument = {.ts = (uint64_t)(uintptr_t)timeout};
    unsigned flags = ring->enter_flags | (wait ? IORING_ENTER_GETEVENTS : 0);
    unsigned submit = ring->sq_next - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);
    __atomic_store_n(ring->sq_tail, ring->sq_next, __ATOMIC_RELEASE);
    long result = timeout ? syscall(SYS_io_uring_enter, ring->fd, submit, wait, flags | IORING_ENTER_EXT_ARG, &argument,
                                    sizeof argument)
                          : syscall(SYS_io_uring_enter, ring->fd, submit, wait, flags, NULL, 0);
    return result < 0 ? -errno : (int)result;
}

// For loops that run until they are told to stop: what only interrupts a wait is no error.
static inline void ring_turn(struct ring *ring, const struct __kernel_timespec *timeout)
{
    int result = ring_enter(ring, 1, timeout);
    // EBUSY: completions overflowed and must be taken before more is submitted, which the caller does next.
    if (result < 0 && result != -EINTR && result != -ETIME && result != -EBUSY && result != -EAGAIN)
        die("io_uring_enter", -result);
}

// Takes what has completed and submits what is prepared, without waiting.
static inline void ring_poll(struct ring *ring)
{
    unsigned submit = ring->sq_next - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);
    __atomic_store_n(ring->sq_tail, ring->sq_next, __ATOMIC_RELEASE);
    // GETEVENTS: with DEFER_TASKRUN nothing completes outside of such a call.
    long result = syscall(SYS_io_uring_enter, ring->fd, submit, 0, ring->enter_flags | IORING_ENTER_GETEVENTS, NULL, 0);
    if (result < 0 && errno != EINTR && errno != EBUSY && errno != EAGAIN)
        die("io_uring_enter", errno);
}

// A zeroed entry. A full queue is submitted first, so this cannot fail.
static inline struct io_uring_sqe *ring_sqe(struct ring *ring)
{
    while (ring->sq_next - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE) == ring->sq_entries) {
        int result = ring_enter(ring, 0, NULL);
        if (result < 0 && result != -EINTR && result != -EBUSY && result != -EAGAIN)
            die("io_uring_enter", -result);
    }
    struct io_uring_sqe *sqe = &ring->sqes[ring->sq_next++ & ring->sq_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

static inline unsigned ring_ready(const struct ring *ring)
{
    return __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) - *ring->cq_head;
}

struct completion {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
};

// Takes the oldest completion by copy, so that its place is free before it is acted upon.
static inline struct completion ring_take(struct ring *ring)
{
    unsigned head = *ring->cq_head;
    const struct io_uring_cqe *cqe = &ring->cqes[head & ring->cq_mask];
    struct completion completion = {cqe->user_data, cqe->res, cqe->flags};
    __atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
    return completion;
}

// A buffer ring: the kernel picks a buffer when data is there; whoever is done with one puts it back.
struct buffers {
    struct io_uring_buf_ring *ring;
    unsigned char *memory;
    unsigned count, size, stride;
    uint16_t group, tail;         // tail: of what was put; published by buffers_publish
};

static inline unsigned char *buffers_at(const struct buffers *buffers, unsigned id)
{
    return buffers->memory + (size_t)id * buffers->stride;
}

static inline void buffers_put(struct buffers *buffers, unsigned id)
{
    struct io_uring_buf *entry = &buffers->ring->bufs[buffers->tail++ & (buffers->count - 1)];
    entry->addr = (uint64_t)(uintptr_t)buffers_at(buffers, id);
    entry->len = buffers->size;
    entry->bid = (uint16_t)id;    // the field after it is the tail of the whole ring: left alone
}

static inline void buffers_publish(struct buffers *buffers)
{
    __atomic_store_n(&buffers->ring->tail, buffers->tail, __ATOMIC_RELEASE);
}

// count: a power of two, at most 32768.
static inline void buffers_setup(struct buffers *buffers, const struct ring *ring, uint16_t group, unsigned count,
                                 unsigned size)
{
    int protection = PROT_READ | PROT_WRITE, sharing = MAP_PRIVATE | MAP_ANONYMOUS;
    // One cache line more than the size: otherwise all buffers begin in the same set of the first-level cache.
    unsigned stride = (size + 63) / 64 * 64 + 64;
    void *entries = mmap(NULL, count * sizeof(struct io_uring_buf), protection, sharing, -1, 0);
    unsigned char *memory = mmap(NULL, (size_t)count * stride, protection, sharing, -1, 0);
    if (entries == MAP_FAILED || memory == MAP_FAILED)
        die("mmap of the buffers", errno);
    *buffers = (struct buffers){entries, memory, count, size, stride, group, 0};
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)entries, .ring_entries = count, .bgid = group};
    ring_register(ring, IORING_REGISTER_PBUF_RING, &registration, 1);
    for (unsigned id = 0; id < count; id++)
        buffers_put(buffers, id);
    buffers_publish(buffers);
}

static inline unsigned power_of_two_from(unsigned least)
{
    unsigned power = 1;
    while (power < least)
        power *= 2;
    return power;
}

#endif
