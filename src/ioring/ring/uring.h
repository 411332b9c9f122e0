/* The kernel's io_uring interface: structures, constants, ring memory and the three system calls.
 *
 * Written down here rather than taken from <linux/io_uring.h>, because a distribution's headers are usually
 * older than the kernel that runs. Names are prefixed so that both can be included in one file; a test compares
 * every value below with an installed liburing's header.
 *
 * struct uring owns one ring: its descriptor and its mappings. Nothing in it is thread-safe; the Python object
 * above it lets only one thread in.
 */
#ifndef IORING_URING_H
#define IORING_URING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "assertions.h"

/* ---- structures ------------------------------------------------------------------------------------------ */

struct uring_sqe {
    uint8_t opcode;
    uint8_t flags;          /* IOSQE_* */
    uint16_t ioprio;        /* also: accept, send and receive flags */
    int32_t fd;
    uint64_t off;           /* or addr2, or cmd_op in the low half */
    uint64_t addr;          /* or splice_off_in, or level (low half) and optname (high half) */
    uint32_t len;
    uint32_t op_flags;      /* rw_flags, msg_flags, timeout_flags, ... : one field, many names */
    uint64_t user_data;
    uint16_t buf_index;     /* or buf_group */
    uint16_t personality;
    uint32_t file_index;    /* or splice_fd_in, optlen, addr_len in the low half */
    uint64_t addr3;         /* or optval; the first of the command bytes of a 128-byte SQE */
    uint64_t pad2;
};

struct uring_cqe {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
};

struct uring_sq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
    uint64_t user_addr;
};

struct uring_cq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
    uint64_t user_addr;
};

struct uring_params {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, resv[3];
    struct uring_sq_offsets sq_off;
    struct uring_cq_offsets cq_off;
};

struct uring_timespec {
    int64_t tv_sec;
    int64_t tv_nsec;
};

struct uring_getevents_arg {
    uint64_t sigmask;
    uint32_t sigmask_sz;
    uint32_t min_wait_usec;
    uint64_t ts;
};

struct uring_buf {
    uint64_t addr;
    uint32_t len;
    uint16_t bid;
    uint16_t resv;          /* in the first entry: the ring's tail */
};

struct uring_recvmsg_out {
    uint32_t namelen, controllen, payloadlen, flags;
};

#define URING_ASSERT_LAYOUT(what, field, at) \
    _Static_assert(offsetof(struct what, field) == (at), #what "." #field)
_Static_assert(sizeof(struct uring_sqe) == 64, "sqe");
URING_ASSERT_LAYOUT(uring_sqe, fd, 4);
URING_ASSERT_LAYOUT(uring_sqe, off, 8);
URING_ASSERT_LAYOUT(uring_sqe, addr, 16);
URING_ASSERT_LAYOUT(uring_sqe, len, 24);
URING_ASSERT_LAYOUT(uring_sqe, op_flags, 28);
URING_ASSERT_LAYOUT(uring_sqe, user_data, 32);
URING_ASSERT_LAYOUT(uring_sqe, buf_index, 40);
URING_ASSERT_LAYOUT(uring_sqe, personality, 42);
URING_ASSERT_LAYOUT(uring_sqe, file_index, 44);
URING_ASSERT_LAYOUT(uring_sqe, addr3, 48);
_Static_assert(sizeof(struct uring_cqe) == 16, "cqe");
URING_ASSERT_LAYOUT(uring_cqe, res, 8);
URING_ASSERT_LAYOUT(uring_cqe, flags, 12);
_Static_assert(sizeof(struct uring_sq_offsets) == 40, "sq_offsets");
_Static_assert(sizeof(struct uring_cq_offsets) == 40, "cq_offsets");
_Static_assert(sizeof(struct uring_params) == 120, "params");
URING_ASSERT_LAYOUT(uring_params, features, 20);
URING_ASSERT_LAYOUT(uring_params, sq_off, 40);
URING_ASSERT_LAYOUT(uring_params, cq_off, 80);
_Static_assert(sizeof(struct uring_timespec) == 16, "timespec");
_Static_assert(sizeof(struct uring_getevents_arg) == 24, "getevents_arg");
_Static_assert(sizeof(struct uring_buf) == 16, "buf");
URING_ASSERT_LAYOUT(uring_buf, resv, 14);
_Static_assert(sizeof(struct uring_recvmsg_out) == 16, "recvmsg_out");

/* ---- constants that the compiled code uses; Python has all of them in constants.py ------------------------ */

enum uring_op {
    URING_OP_NOP, URING_OP_READV, URING_OP_WRITEV, URING_OP_FSYNC, URING_OP_READ_FIXED, URING_OP_WRITE_FIXED,
    URING_OP_POLL_ADD, URING_OP_POLL_REMOVE, URING_OP_SYNC_FILE_RANGE, URING_OP_SENDMSG, URING_OP_RECVMSG,
    URING_OP_TIMEOUT, URING_OP_TIMEOUT_REMOVE, URING_OP_ACCEPT, URING_OP_ASYNC_CANCEL, URING_OP_LINK_TIMEOUT,
    URING_OP_CONNECT, URING_OP_FALLOCATE, URING_OP_OPENAT, URING_OP_CLOSE, URING_OP_FILES_UPDATE, URING_OP_STATX,
    URING_OP_READ, URING_OP_WRITE, URING_OP_FADVISE, URING_OP_MADVISE, URING_OP_SEND, URING_OP_RECV,
    URING_OP_OPENAT2, URING_OP_EPOLL_CTL, URING_OP_SPLICE, URING_OP_PROVIDE_BUFFERS, URING_OP_REMOVE_BUFFERS,
    URING_OP_TEE, URING_OP_SHUTDOWN, URING_OP_RENAMEAT, URING_OP_UNLINKAT, URING_OP_MKDIRAT, URING_OP_SYMLINKAT,
    URING_OP_LINKAT, URING_OP_MSG_RING, URING_OP_FSETXATTR, URING_OP_SETXATTR, URING_OP_FGETXATTR,
    URING_OP_GETXATTR, URING_OP_SOCKET, URING_OP_URING_CMD, URING_OP_SEND_ZC, URING_OP_SENDMSG_ZC,
    URING_OP_READ_MULTISHOT, URING_OP_WAITID, URING_OP_FUTEX_WAIT, URING_OP_FUTEX_WAKE, URING_OP_FUTEX_WAITV,
    URING_OP_FIXED_FD_INSTALL, URING_OP_FTRUNCATE, URING_OP_BIND, URING_OP_LISTEN, URING_OP_RECV_ZC,
    URING_OP_EPOLL_WAIT, URING_OP_READV_FIXED, URING_OP_WRITEV_FIXED, URING_OP_PIPE,
};

enum {
    URING_SQE_FIXED_FILE = 1u << 0, URING_SQE_IO_DRAIN = 1u << 1, URING_SQE_IO_LINK = 1u << 2,
    URING_SQE_IO_HARDLINK = 1u << 3, URING_SQE_ASYNC = 1u << 4, URING_SQE_BUFFER_SELECT = 1u << 5,
    URING_SQE_CQE_SKIP_SUCCESS = 1u << 6,
};

enum {
    URING_SETUP_IOPOLL = 1u << 0, URING_SETUP_SQPOLL = 1u << 1, URING_SETUP_R_DISABLED = 1u << 6,
    URING_SETUP_TASKRUN_FLAG = 1u << 9, URING_SETUP_SQE128 = 1u << 10, URING_SETUP_CQE32 = 1u << 11,
    URING_SETUP_SINGLE_ISSUER = 1u << 12, URING_SETUP_DEFER_TASKRUN = 1u << 13,
    URING_SETUP_NO_SQARRAY = 1u << 16,
};

enum {
    URING_CQE_F_BUFFER = 1u << 0, URING_CQE_F_MORE = 1u << 1, URING_CQE_F_SOCK_NONEMPTY = 1u << 2,
    URING_CQE_F_NOTIF = 1u << 3, URING_CQE_F_BUF_MORE = 1u << 4, URING_CQE_BUFFER_SHIFT = 16,
};

enum { URING_SQ_NEED_WAKEUP = 1u << 0, URING_SQ_CQ_OVERFLOW = 1u << 1, URING_SQ_TASKRUN = 1u << 2 };

enum {
    URING_ENTER_GETEVENTS = 1u << 0, URING_ENTER_SQ_WAKEUP = 1u << 1, URING_ENTER_SQ_WAIT = 1u << 2,
    URING_ENTER_EXT_ARG = 1u << 3, URING_ENTER_REGISTERED_RING = 1u << 4, URING_ENTER_NO_IOWAIT = 1u << 7,
};

enum { URING_FEAT_SINGLE_MMAP = 1u << 0, URING_FEAT_NO_IOWAIT = 1u << 17 };

enum { URING_ACCEPT_MULTISHOT = 1u << 0 };
enum { URING_RECV_MULTISHOT = 1u << 1, URING_RECVSEND_FIXED_BUF = 1u << 2, URING_RECVSEND_BUNDLE = 1u << 4 };
enum { URING_POLL_ADD_MULTI = 1u << 0, URING_POLL_UPDATE_USER_DATA = 1u << 2 };
enum { URING_TIMEOUT_UPDATE = 1u << 1 };
enum { URING_CANCEL_ALL = 1u << 0, URING_CANCEL_FD = 1u << 1, URING_CANCEL_ANY = 1u << 2,
       URING_CANCEL_FD_FIXED = 1u << 3, URING_CANCEL_OP = 1u << 5 };
enum { URING_MSG_SEND_FD = 1, URING_MSG_RING_FLAGS_PASS = 1u << 1 };
enum { URING_UNREGISTER_BUFFERS = 1, URING_UNREGISTER_FILES = 3, URING_REGISTER_SEND_MSG_RING = 31 };
enum { URING_BLOCK_CMD_DISCARD = (0x12 << 8) | 0 }; /* _IO(0x12, 0) */
#define URING_FILE_INDEX_ALLOC 0xffffffffu
#define URING_SPLICE_F_FD_IN_FIXED 0x80000000u

#define URING_OFF_SQ_RING 0ULL
#define URING_OFF_CQ_RING 0x8000000ULL
#define URING_OFF_SQES 0x10000000ULL

/* Operations that only arm something, or copy no more than their length: short enough to be issued under the GIL. */
static inline int uring_op_is_light(int op)
{
    const uint64_t light = 1ull << URING_OP_NOP | 1ull << URING_OP_POLL_ADD | 1ull << URING_OP_POLL_REMOVE |
                           1ull << URING_OP_TIMEOUT | 1ull << URING_OP_TIMEOUT_REMOVE | 1ull << URING_OP_ACCEPT |
                           1ull << URING_OP_ASYNC_CANCEL | 1ull << URING_OP_LINK_TIMEOUT | 1ull << URING_OP_CLOSE |
                           1ull << URING_OP_READ | 1ull << URING_OP_WRITE | 1ull << URING_OP_SEND |
                           1ull << URING_OP_RECV | 1ull << URING_OP_MSG_RING;
    return (light >> op & 1) != 0;
}

/* ---- memory order ------------------------------------------------------------------------------------------ */

#define uring_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define uring_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define uring_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* ---- system calls: 425 to 427 on every architecture but alpha and mips ------------------------------------- */

#if defined(__alpha__) || defined(__mips__)
#error "ioring does not know the system call numbers of this architecture"
#endif

static inline int uring_sys_setup(unsigned entries, struct uring_params *p)
{
    long r = syscall(425, entries, p);
    return r < 0 ? -errno : (int)r;
}

static inline int uring_sys_enter(int fd, unsigned submit, unsigned wait, unsigned flags, void *arg, size_t size)
{
#if defined(__x86_64__)
    /* The one call that is made all the time: without libc's wrapper, its shuffling of registers and errno. */
    register void *r8 __asm__("r8") = arg;
    register size_t r9 __asm__("r9") = size;
    register unsigned long r10 __asm__("r10") = flags;
    long r;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(426L), "D"((long)fd), "S"((unsigned long)submit), "d"((unsigned long)wait), "r"(r10),
                       "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return (int)r;
#else
    long r = syscall(426, fd, submit, wait, flags, arg, size);
    return r < 0 ? -errno : (int)r;
#endif
}

static inline int uring_sys_register(int fd, unsigned op, void *arg, unsigned n)
{
    long r = syscall(427, fd, op, arg, n);
    return r < 0 ? -errno : (int)r;
}

/* ---- one ring ---------------------------------------------------------------------------------------------- */

struct uring {
    int fd;                 /* -1: not open */
    int enter_fd;           /* fd, or the index that REGISTER_RING_FDS gave */
    unsigned enter_flags;   /* 0 or ENTER_REGISTERED_RING, and NO_IOWAIT where the kernel has it */
    unsigned setup_flags, features;
    unsigned sq_entries, cq_entries, sq_mask, cq_mask;
    unsigned sqe_shift, cqe_shift;
    /* Counted in 64 bits so that a stale Sqe can never be taken for one that is being prepared. */
    uint64_t sq_tail;       /* entries handed out so far */
    uint64_t sq_published;  /* of these, shown to the kernel */
    unsigned *sq_khead, *sq_ktail, *sq_kflags, *sq_array;
    unsigned *cq_khead, *cq_ktail;
    struct uring_sqe *sqes;
    struct uring_cqe *cqes;
    struct uring_cqe *aside;           /* completions that stand before those in the queue: uring_cq_set_aside */
    unsigned aside_first, aside_left;
    void *ring_memory, *cq_memory, *sqes_memory;
    size_t ring_size, cq_size, sqes_size;
    struct uring *next, *previous; /* all open rings of the process, for the child of a fork */
};

static inline void uring_unmap(struct uring *u)
{
    if (u->sqes_memory)
        munmap(u->sqes_memory, u->sqes_size);
    if (u->cq_memory && u->cq_memory != u->ring_memory)
        munmap(u->cq_memory, u->cq_size);
    if (u->ring_memory)
        munmap(u->ring_memory, u->ring_size);
    u->sqes_memory = u->cq_memory = u->ring_memory = NULL;
    free(u->aside);
    u->aside = NULL;
    u->aside_first = u->aside_left = 0;
}

static inline void *uring_map(int fd, size_t size, uint64_t offset)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)offset);
    if (p == MAP_FAILED)
        return NULL;
    /* A forked child must never touch the parent's queues. */
    madvise(p, size, MADV_DONTFORK);
    return p;
}

/* Whether the other two system calls are there: a seccomp profile may forbid them alone. 0, or a negative errno. */
static inline int uring_usable(struct uring *u)
{
    int code = uring_sys_enter(u->fd, 0, 0, 0, NULL, _NSIG / 8);
    if (code != -EPERM && code != -ENOSYS && code != -EACCES)
        code = uring_sys_register(u->fd, 0x7FFF, NULL, 0); /* no such operation: EINVAL where the call is allowed */
    return code == -EPERM || code == -ENOSYS || code == -EACCES ? code : 0;
}

/* Opens a ring as described by *p. 0, or a negative errno with nothing left open. */
static inline int uring_open(struct uring *u, unsigned entries, struct uring_params *p)
{
    int fd, error;
    char *sq, *cq;
    unsigned i;

    memset(u, 0, sizeof(*u));
    u->fd = -1;
    fd = uring_sys_setup(entries, p);
    if (fd < 0)
        return fd;
    u->setup_flags = p->flags;
    u->features = p->features;
    u->sq_entries = p->sq_entries;
    u->cq_entries = p->cq_entries;
    u->sq_mask = p->sq_entries - 1;
    u->cq_mask = p->cq_entries - 1;
    u->sqe_shift = (p->flags & URING_SETUP_SQE128) ? 1 : 0;
    u->cqe_shift = (p->flags & URING_SETUP_CQE32) ? 1 : 0;
    u->ring_size = p->sq_off.array + ((p->flags & URING_SETUP_NO_SQARRAY) ? 0 : p->sq_entries * sizeof(unsigned));
    u->cq_size = p->cq_off.cqes + ((size_t)p->cq_entries << u->cqe_shift) * sizeof(struct uring_cqe);
    u->sqes_size = ((size_t)p->sq_entries << u->sqe_shift) * sizeof(struct uring_sqe);
    if (p->features & URING_FEAT_SINGLE_MMAP) {
        if (u->cq_size > u->ring_size)
            u->ring_size = u->cq_size;
        u->cq_size = u->ring_size;
    }
    u->ring_memory = uring_map(fd, u->ring_size, URING_OFF_SQ_RING);
    if (u->ring_memory)
        u->cq_memory = (p->features & URING_FEAT_SINGLE_MMAP) ? u->ring_memory
                                                              : uring_map(fd, u->cq_size, URING_OFF_CQ_RING);
    if (u->cq_memory)
        u->sqes_memory = uring_map(fd, u->sqes_size, URING_OFF_SQES);
    if (!u->sqes_memory) {
        error = -errno;
        uring_unmap(u);
        close(fd);
        return error;
    }
    sq = (char *)u->ring_memory;
    cq = (char *)u->cq_memory;
    u->sq_khead = (unsigned *)(sq + p->sq_off.head);
    u->sq_ktail = (unsigned *)(sq + p->sq_off.tail);
    u->sq_kflags = (unsigned *)(sq + p->sq_off.flags);
    u->cq_khead = (unsigned *)(cq + p->cq_off.head);
    u->cq_ktail = (unsigned *)(cq + p->cq_off.tail);
    u->sqes = (struct uring_sqe *)u->sqes_memory;
    u->cqes = (struct uring_cqe *)(cq + p->cq_off.cqes);
    if (!(p->flags & URING_SETUP_NO_SQARRAY)) {
        u->sq_array = (unsigned *)(sq + p->sq_off.array);
        for (i = 0; i < p->sq_entries; i++)
            u->sq_array[i] = i; /* entry i always stands at place i */
    }
    u->fd = u->enter_fd = fd;
    if (p->features & URING_FEAT_NO_IOWAIT)
        u->enter_flags = URING_ENTER_NO_IOWAIT;
    return 0;
}

/* Entries that the kernel has not taken yet: prepared, or published and not consumed. */
static inline unsigned uring_sq_ready(const struct uring *u)
{
    return (unsigned)u->sq_tail - uring_load_acquire(u->sq_khead);
}

/* The next free SQE with all of its bytes zero, or NULL when the queue is full. */
static inline struct uring_sqe *uring_get_sqe(struct uring *u)
{
    struct uring_sqe *sqe;

    ioring_assert(u->fd >= 0);
    ioring_assert(uring_sq_ready(u) <= u->sq_entries);
    if (uring_sq_ready(u) >= u->sq_entries)
        return NULL;
    sqe = &u->sqes[(size_t)((unsigned)u->sq_tail & u->sq_mask) << u->sqe_shift];
    memset(sqe, 0, sizeof(*sqe));
    if (u->sqe_shift)
        memset(sqe + 1, 0, sizeof(*sqe));
    u->sq_tail++;
    return sqe;
}

/* Shows the kernel everything prepared. How many entries it has not taken yet. */
static inline unsigned uring_publish(struct uring *u)
{
    ioring_assert(u->sq_published <= u->sq_tail);
    u->sq_published = u->sq_tail;
    uring_store_release(u->sq_ktail, (unsigned)u->sq_tail);
    return uring_sq_ready(u);
}

/* For a ring without SQPOLL: takes back what the kernel has not consumed. */
static inline void uring_retract(struct uring *u)
{
    unsigned unconsumed = uring_sq_ready(u);
    u->sq_tail -= unconsumed;
    u->sq_published = u->sq_tail;
    uring_store_release(u->sq_ktail, (unsigned)u->sq_tail);
}

static inline int uring_sq_needs_wakeup(const struct uring *u)
{
    /* The tail's store must not pass the load of the flag: the only full fence that io_uring needs. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return (uring_load_relaxed(u->sq_kflags) & URING_SQ_NEED_WAKEUP) != 0;
}

/* Completions in the queue itself, without those that were set aside. */
static inline unsigned uring_cq_queued(const struct uring *u)
{
    return uring_load_acquire(u->cq_ktail) - *u->cq_khead;
}

static inline unsigned uring_cq_ready(const struct uring *u)
{
    return u->aside_left + uring_cq_queued(u);
}

/* The completion that so many others stand before; it must be there. */
static inline struct uring_cqe *uring_cqe_at(const struct uring *u, unsigned ahead)
{
    ioring_assert(ahead < uring_cq_ready(u));
    if (ahead < u->aside_left)
        return &u->aside[(size_t)(u->aside_first + ahead) << u->cqe_shift];
    return &u->cqes[(size_t)((*u->cq_khead + ahead - u->aside_left) & u->cq_mask) << u->cqe_shift];
}

static inline struct uring_cqe *uring_peek_cqe(const struct uring *u)
{
    unsigned head = *u->cq_khead;
    ioring_assert(uring_cq_queued(u) <= u->cq_entries);
    if (__builtin_expect(u->aside_left != 0, 0))
        return uring_cqe_at(u, 0);
    if (uring_load_acquire(u->cq_ktail) == head)
        return NULL;
    return &u->cqes[(size_t)(head & u->cq_mask) << u->cqe_shift];
}

/* The pointers to what it takes are not valid any more. */
static inline void uring_cq_advance(struct uring *u, unsigned n)
{
    unsigned set_aside = n < u->aside_left ? n : u->aside_left;
    ioring_assert(n <= uring_cq_ready(u));
    if (__builtin_expect(set_aside != 0, 0)) {
        u->aside_first += set_aside;
        u->aside_left -= set_aside;
        n -= set_aside;
        if (u->aside_left == 0) {
            free(u->aside);
            u->aside = NULL;
        }
    }
    uring_store_release(u->cq_khead, *u->cq_khead + n);
}

/* Empties the queue, so that the kernel can bring in those that found no room. What was in it is still the next to be
 * taken. -ENOMEM: nothing has changed.
 */
static inline int uring_cq_set_aside(struct uring *u)
{
    unsigned left = u->aside_left, count = uring_cq_queued(u), i;
    size_t size = sizeof(struct uring_cqe) << u->cqe_shift;
    char *to = malloc((left + count + 1) * size);
    if (!to)
        return -ENOMEM;
    for (i = 0; i < left + count; i++)
        memcpy(to + i * size, uring_cqe_at(u, i), size);
    free(u->aside);
    u->aside = (struct uring_cqe *)to;
    u->aside_first = 0;
    u->aside_left = left + count;
    uring_store_release(u->cq_khead, *u->cq_khead + count);
    return 0;
}

/* Hands the completions that are there over to another ring, which is fresh and has the same flags. -ENOMEM: nothing has
 * changed.
 */
static inline int uring_cq_hand_over(struct uring *from, struct uring *to)
{
    ioring_assert(to->aside == NULL && to->cqe_shift == from->cqe_shift);
    if (uring_cq_ready(from) == 0)
        return 0;
    if (uring_cq_set_aside(from) < 0)
        return -ENOMEM;
    to->aside = from->aside;
    to->aside_first = from->aside_first;
    to->aside_left = from->aside_left;
    from->aside = NULL;
    from->aside_first = from->aside_left = 0;
    return 0;
}

/* Whether completions may be there that only an enter brings into the queue. */
static inline int uring_cq_needs_enter(const struct uring *u)
{
    unsigned mask = URING_SQ_CQ_OVERFLOW | URING_SQ_TASKRUN;
    if (u->setup_flags & URING_SETUP_IOPOLL)
        return 1;
    /* Without TASKRUN_FLAG a DEFER_TASKRUN ring does not tell. */
    if ((u->setup_flags & (URING_SETUP_DEFER_TASKRUN | URING_SETUP_TASKRUN_FLAG)) == URING_SETUP_DEFER_TASKRUN)
        return 1;
    return (uring_load_relaxed(u->sq_kflags) & mask) != 0;
}

/* One io_uring_enter. timeout_ns < 0 waits without limit; the limit counts only when wait > 0. */
static inline int uring_enter(struct uring *u, unsigned submit, unsigned wait, unsigned flags, int64_t timeout_ns)
{
    struct uring_timespec ts;
    struct uring_getevents_arg arg;

    flags |= u->enter_flags;
    wait = wait > u->aside_left ? wait - u->aside_left : 0;
    if (!(flags & URING_ENTER_GETEVENTS) || wait == 0 || timeout_ns < 0)
        return uring_sys_enter(u->enter_fd, submit, wait, flags, NULL, _NSIG / 8);
    memset(&arg, 0, sizeof(arg));
    ts.tv_sec = timeout_ns / 1000000000;
    ts.tv_nsec = timeout_ns % 1000000000;
    arg.sigmask_sz = _NSIG / 8;
    arg.ts = (uint64_t)(uintptr_t)&ts;
    return uring_sys_enter(u->enter_fd, submit, wait, flags | URING_ENTER_EXT_ARG, &arg, sizeof(arg));
}

/* Submits and does nothing else. */
static inline int uring_submit(struct uring *u, unsigned count)
{
    return uring_sys_enter(u->enter_fd, count, 0, u->enter_flags, NULL, _NSIG / 8);
}

/* Cancels every request and waits for so long until they are stopped; their completions are yet to be reaped. Unlike
 * an ASYNC_CANCEL in the queue it does not have to wait behind an IOSQE_IO_DRAIN. Kernel 6.0.
 */
static inline int uring_cancel_all(struct uring *u, int64_t timeout_ns)
{
    struct {
        uint64_t addr;
        int32_t fd;
        uint32_t flags;
        struct uring_timespec timeout;
        uint8_t opcode, pad[7];
        uint64_t pad2[3];
    } cancel;
    memset(&cancel, 0, sizeof(cancel));
    cancel.fd = -1;
    cancel.flags = URING_CANCEL_ALL | URING_CANCEL_ANY;
    cancel.timeout.tv_sec = timeout_ns / 1000000000;
    cancel.timeout.tv_nsec = timeout_ns % 1000000000;
    return uring_sys_register(u->fd, 24, &cancel, 1);
}

/* Ends the wait of whoever waits for this ring's completions, by a completion that belongs to no request. May be called
 * in any thread, without a ring of its own. Kernel 6.13.
 */
static inline int uring_send_wakeup(int fd)
{
    struct uring_sqe sqe;
    memset(&sqe, 0, sizeof(sqe));
    sqe.opcode = URING_OP_MSG_RING;
    sqe.fd = fd;
    return uring_sys_register(-1, URING_REGISTER_SEND_MSG_RING, &sqe, 1);
}

/* Undo REGISTER_RING_FDS, which is to be done by the thread that registered. */
static inline void uring_unregister_ring_index(int fd, int index)
{
    struct { uint32_t offset, resv; uint64_t data; } update = { (uint32_t)index, 0, 0 };
    uring_sys_register(fd, 21, &update, 1);
}

static inline void uring_unregister_ring_fd(struct uring *u)
{
    uring_unregister_ring_index(u->fd, u->enter_fd);
    u->enter_fd = u->fd;
    u->enter_flags &= ~(unsigned)URING_ENTER_REGISTERED_RING;
}

/* ---- threads ----------------------------------------------------------------------------------------------- */

static inline unsigned long uring_thread_self(void)
{
    /* What pthread_self() gives, without the call. */
    return (unsigned long)__builtin_thread_pointer();
}

static inline int uring_gettid(void)
{
    return (int)syscall(SYS_gettid);
}

#endif
