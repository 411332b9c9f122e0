/* Makes the running kernel answer like an older one: what came later is refused as that kernel would refuse it.
 *
 *   cc -shared -fPIC -O2 -o old_kernel.so old_kernel.c
 *   OLD_KERNEL=6.1 LD_PRELOAD=$PWD/old_kernel.so program
 *
 * A seccomp filter turns the three system calls of io_uring into SIGSYS, for the program and for all that it starts. The
 * handler refuses, or makes the call itself with a mark that the filter lets through. So the program runs as it was
 * built, whichever way it makes its system calls; and a child that was started without this library dies by SIGSYS
 * instead of using what it should not have.
 *
 * A request in the queue that the old kernel would refuse is overwritten before io_uring_enter, in such a way that the
 * kernel refuses it itself: so links, drains and partial submissions go on as they would. The queue is found by looking
 * at mmap.
 *
 * What this cannot do: a ring with SQPOLL is read by a thread of the kernel, so its requests stay as they are; only its
 * setup and registrations are those of the old kernel. What a kernel merely did otherwise, its bugs for example, is not
 * here either; nor is the release that uname() tells, since nobody should decide by it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __x86_64__
#error "only for x86-64"
#endif

enum { SETUP = 425, ENTER = 426, REGISTER = 427 };
enum { MARK = 0x6f6c646b }; /* in the upper half of the first argument, which the kernel ignores */

#define VERSION(major, minor) ((major) << 8 | (minor))
static unsigned kernel;
#define SINCE(major, minor) (kernel >= VERSION(major, minor))

static long call(long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e,
                 unsigned long f)
{
    long result;
    register unsigned long r10 __asm__("r10") = d;
    register unsigned long r8 __asm__("r8") = e;
    register unsigned long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* io_uring's own, past the filter. */
static long pass(long number, unsigned first, unsigned long b, unsigned long c, unsigned long d, unsigned long e,
                 unsigned long f)
{
    return call(number, (unsigned long)MARK << 32 | first, b, c, d, e, f);
}

static void die(const char *why)
{
    fprintf(stderr, "old_kernel: %s\n", why);
    abort();
}

/* ---- which kernel has what ---------------------------------------------------------------------------------- */

struct since {
    unsigned version, last;
};

static unsigned last_of(const struct since *table)
{
    unsigned last = 0;
    for (; table->version; table++)
        if (kernel >= table->version)
            last = table->last;
    return last;
}

/* The highest number of an operation, of a registration, and the highest bit of the flags, by kernel. */
static const struct since operations[] = {
    {VERSION(6, 1), 48}, {VERSION(6, 7), 53}, {VERSION(6, 8), 54}, {VERSION(6, 9), 55}, {VERSION(6, 11), 57},
    {VERSION(6, 15), 61}, {VERSION(6, 17), 62}, {VERSION(6, 19), 64}, {0, 0},
};
static const struct since registrations[] = {
    {VERSION(6, 1), 25}, {VERSION(6, 8), 26}, {VERSION(6, 9), 28}, {VERSION(6, 12), 30}, {VERSION(6, 13), 34}, {0, 0},
};
static const struct since setup_flags[] = {
    {VERSION(6, 1), 13}, {VERSION(6, 5), 15}, {VERSION(6, 6), 16}, {VERSION(6, 13), 17}, {VERSION(6, 18), 18},
    {VERSION(6, 19), 19}, {0, 0},
};
static const struct since feature_bits[] = {
    {VERSION(6, 1), 12}, {VERSION(6, 3), 13}, {VERSION(6, 10), 14}, {VERSION(6, 12), 15}, {VERSION(6, 14), 16},
    {VERSION(6, 15), 17}, {0, 0},
};
static const struct since enter_flags[] = {
    {VERSION(6, 1), 4}, {VERSION(6, 12), 5}, {VERSION(6, 13), 6}, {VERSION(6, 15), 7}, {0, 0},
};

static int beyond(unsigned flags, const struct since *table)
{
    return (flags & ~((2u << last_of(table)) - 1)) != 0;
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

struct sqe {
    uint8_t opcode, flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t off, addr;
    uint32_t len, op_flags;
    uint64_t user_data;
    uint16_t buf_index, personality;
    uint32_t file_index;
    uint64_t rest[2];
};
_Static_assert(sizeof(struct sqe) == 64, "sqe");

enum {
    NOP = 0, READV = 1, WRITEV = 2, FSYNC = 3, READ_FIXED = 4, WRITE_FIXED = 5, SENDMSG = 9, RECVMSG = 10,
    TIMEOUT = 11, ACCEPT = 13, ASYNC_CANCEL = 14, READ = 22, WRITE = 23, FADVISE = 24, MADVISE = 25, SEND = 26,
    RECV = 27, MSG_RING = 40, URING_CMD = 46, SEND_ZC = 47, SENDMSG_ZC = 48, NO_OPERATION = 255,
};
enum { BUFFER_SELECT = 1 << 5 };
enum { MULTISHOT = 1 << 1, FIXED_BUF = 1 << 2, REPORT_USAGE = 1 << 3, BUNDLE = 1 << 4, VECTORIZED = 1 << 5 };
enum { DISCARD = 0x12 << 8, NO_COMMAND = 0x7fff, NO_RWF = 1 << 30 };

/* Whether this command was unknown. Whose it is, the number alone does not tell: sockets and block devices are assumed. */
static int unknown_command(unsigned command)
{
    if (command <= 3)
        return !SINCE(6, 7);
    if (command == 4)
        return !SINCE(6, 17);
    if (command == 5)
        return !SINCE(6, 19);
    return command == DISCARD && !SINCE(6, 12);
}

/* Whether the old kernel answers EINVAL. Where it answers something else, the request is changed so that this one does
 * so too.
 */
static int refused(struct sqe *sqe)
{
    unsigned flags = sqe->op_flags;

    if (sqe->opcode > last_of(operations))
        return 1;
    switch (sqe->opcode) {
    case NOP:
        if (!SINCE(6, 10))
            sqe->op_flags = 0; /* nobody looked at it */
        return SINCE(6, 10) && !SINCE(6, 13) && (flags & ~1u);
    case READV: case WRITEV: case READ_FIXED: case WRITE_FIXED: case READ: case WRITE:
        if ((!SINCE(6, 9) && flags & 0x20) || (!SINCE(6, 11) && flags & 0x40) || (!SINCE(6, 14) && flags & 0x80))
            sqe->op_flags |= NO_RWF; /* EOPNOTSUPP */
        return 0;
    case TIMEOUT:
        return !SINCE(6, 4) && flags & 1 << 6;
    case ACCEPT:
        return !SINCE(6, 10) && sqe->ioprio & ~1;
    case ASYNC_CANCEL:
        return !SINCE(6, 6) && flags & (1 << 4 | 1 << 5);
    case FADVISE:
        return !SINCE(6, 11) && sqe->addr;
    case MADVISE:
        return !SINCE(6, 11) && sqe->off;
    case MSG_RING:
        return !SINCE(6, 3) && flags & 1 << 1;
    case SEND: case SENDMSG:
        if (!SINCE(6, 10) && sqe->flags & BUFFER_SELECT) {
            sqe->opcode = FSYNC; /* which has no buffers to select, as sending had none: EOPNOTSUPP */
            return 0;
        }
        return (!SINCE(6, 10) && sqe->ioprio & BUNDLE) || (!SINCE(6, 17) && sqe->ioprio & VECTORIZED);
    case RECV:
        if (!SINCE(6, 17) && ((sqe->ioprio & MULTISHOT && sqe->len) || sqe->file_index))
            return 1;
        return !SINCE(6, 10) && sqe->ioprio & BUNDLE;
    case RECVMSG:
        return !SINCE(6, 10) && sqe->ioprio & BUNDLE;
    case SEND_ZC: case SENDMSG_ZC:
        if (!SINCE(6, 15) && sqe->opcode == SENDMSG_ZC && sqe->ioprio & FIXED_BUF)
            return 1;
        return (!SINCE(6, 2) && sqe->ioprio & REPORT_USAGE) || (!SINCE(6, 17) && sqe->ioprio & VECTORIZED);
    case URING_CMD:
        if (unknown_command((unsigned)sqe->off))
            sqe->off = NO_COMMAND; /* EOPNOTSUPP of a socket */
        return 0;
    }
    return 0;
}

/* ---- rings --------------------------------------------------------------------------------------------------- */

struct params {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, resv[3];
    struct { uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, resv; uint64_t user; } sq_off;
    struct { uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv; uint64_t user; } cq_off;
};

enum { SQPOLL = 1 << 1, SQE128 = 1 << 10, NO_SQARRAY = 1 << 16 };

/* By descriptor. A ring belongs to one thread at a time, and so does its place here. */
enum { RINGS_MAX = 1 << 16 };
static struct ring {
    char *queue;      /* NULL: not mapped, or not a ring */
    struct sqe *sqes;
    uint32_t flags, entries, head, tail, array;
} rings[RINGS_MAX];
static int rings_end; /* no ring had this descriptor or a higher one */

/* Which ring stands at an index of this thread's table of rings, plus one. */
enum { INDICES_MAX = 16 };
static __thread int indices[INDICES_MAX] __attribute__((tls_model("initial-exec")));

static struct ring *ring_of(int fd, int is_index)
{
    if (is_index)
        fd = fd >= 0 && fd < INDICES_MAX ? indices[fd] - 1 : -1;
    return fd >= 0 && fd < RINGS_MAX && rings[fd].queue && rings[fd].sqes ? &rings[fd] : NULL;
}

static void overwrite(struct ring *ring, unsigned count)
{
    unsigned head = *(unsigned *)(ring->queue + ring->head), mask = ring->entries - 1, place;
    unsigned *array = (unsigned *)(ring->queue + ring->array);
    struct sqe *sqe;

    /* The thread that submits has written the tail itself. */
    if (count > *(unsigned *)(ring->queue + ring->tail) - head)
        count = *(unsigned *)(ring->queue + ring->tail) - head;
    for (; count && count <= ring->entries; count--, head++) {
        place = ring->flags & NO_SQARRAY ? head & mask : array[head & mask];
        if (place > mask)
            continue; /* the kernel drops it */
        sqe = ring->sqes + ((size_t)place << !!(ring->flags & SQE128));
        if (refused(sqe))
            sqe->opcode = NO_OPERATION;
    }
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    long address = call(SYS_mmap, (unsigned long)at, size, (unsigned)protection, (unsigned)flags, (unsigned long)(long)fd,
                        (unsigned long)offset);
    if (address < 0 && address >= -4095) {
        errno = (int)-address;
        return MAP_FAILED;
    }
    if (fd >= 0 && fd < RINGS_MAX && rings[fd].entries) {
        if (offset == 0)
            rings[fd].queue = (char *)address;
        else if (offset == 0x10000000)
            rings[fd].sqes = (struct sqe *)address;
    }
    return (void *)address;
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return mmap(at, size, protection, flags, fd, offset);
}

int munmap(void *at, size_t size)
{
    long result;
    int fd;

    for (fd = 0; fd < rings_end && at; fd++)
        if (rings[fd].queue == at || (void *)rings[fd].sqes == at)
            memset(&rings[fd], 0, sizeof rings[fd]);
    result = call(SYS_munmap, (unsigned long)at, size, 0, 0, 0, 0);
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return 0;
}

/* ---- the system calls ---------------------------------------------------------------------------------------- */

static long setup(unsigned entries, struct params *params)
{
    long fd;

    if (beyond(params->flags, setup_flags))
        return -EINVAL;
    fd = pass(SETUP, entries, (unsigned long)params, 0, 0, 0, 0);
    if (fd < 0)
        return fd;
    if (fd >= RINGS_MAX)
        die("too many descriptors");
    if (fd >= rings_end)
        rings_end = (int)fd + 1;
    params->features &= (2u << last_of(feature_bits)) - 1;
    memset(&rings[fd], 0, sizeof rings[fd]);
    rings[fd].flags = params->flags;
    rings[fd].entries = params->sq_entries;
    rings[fd].head = params->sq_off.head;
    rings[fd].tail = params->sq_off.tail;
    rings[fd].array = params->sq_off.array;
    return fd;
}

struct wait {
    uint64_t mask;
    uint32_t mask_size, least_usec;
    uint64_t timeout;
};

static long enter(int fd, unsigned submit, unsigned least, unsigned flags, struct wait *wait, size_t size)
{
    struct ring *ring = ring_of(fd, (flags & 1 << 4) != 0);

    if (beyond(flags, enter_flags))
        return -EINVAL;
    if (flags & 1 << 3 && !SINCE(6, 12) && size == sizeof *wait && wait->least_usec)
        return -EINVAL;
    if (ring && submit && !(ring->flags & SQPOLL))
        overwrite(ring, submit);
    return pass(ENTER, (unsigned)fd, submit, least, flags, (unsigned long)wait, size);
}

struct probe {
    uint8_t last, count;
    uint16_t resv;
    uint32_t resv2[3];
    struct { uint8_t op, resv; uint16_t flags; uint32_t resv2; } ops[];
};
struct buffer_ring {
    uint64_t address;
    uint32_t entries;
    uint16_t group, flags;
};
struct clone {
    uint32_t source, flags, source_offset, offset, count;
};
struct cancel {
    uint64_t addr;
    int32_t fd;
    uint32_t flags;
};
struct index {
    uint32_t offset, resv;
    uint64_t fd;
};

enum { PROBE = 8, RING_FDS = 20, UNREGISTER_RING_FDS = 21, PBUF_RING = 22, SYNC_CANCEL = 24, CLONE_BUFFERS = 30 };
#define BY_INDEX (1u << 31)

static long registration(int fd, unsigned op, void *argument, unsigned count)
{
    unsigned number = op & ~BY_INDEX, i;
    struct probe *probe = argument;
    struct index *index = argument;
    struct clone *clone = argument;
    long result;

    if ((op & BY_INDEX && !SINCE(6, 3)) || number > last_of(registrations))
        return -EINVAL;
    if (fd == -1 && !SINCE(6, 13))
        return -EBADF;
    if (argument && count) {
        if (number == PBUF_RING && ((struct buffer_ring *)argument)->flags & (SINCE(6, 12) ? 0 : SINCE(6, 4) ? ~1 : ~0))
            return -EINVAL;
        if (number == SYNC_CANCEL && !SINCE(6, 6) && ((struct cancel *)argument)->flags & (1 << 4 | 1 << 5))
            return -EINVAL;
        if (number == CLONE_BUFFERS && !SINCE(6, 13) &&
            (clone->flags & ~1u || clone->source_offset || clone->offset || clone->count))
            return -EINVAL;
    }
    result = pass(REGISTER, (unsigned)fd, op, (unsigned long)argument, count, 0, 0);
    if (number == PROBE && result == 0) {
        for (i = last_of(operations) + 1; i < probe->count; i++)
            memset(&probe->ops[i], 0, sizeof probe->ops[i]);
        if (probe->last > last_of(operations))
            probe->last = (uint8_t)last_of(operations);
        if (probe->count > probe->last + 1)
            probe->count = (uint8_t)(probe->last + 1);
    }
    for (i = 0; number == RING_FDS && (long)i < result; i++)
        if (index[i].offset < INDICES_MAX)
            indices[index[i].offset] = (int)index[i].fd + 1;
    for (i = 0; number == UNREGISTER_RING_FDS && (long)i < result; i++)
        if (index[i].offset < INDICES_MAX)
            indices[index[i].offset] = 0;
    return result;
}

static volatile sig_atomic_t caught;

static void on_sigsys(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

    (void)number;
    caught = 1;
    switch (info->si_syscall) {
    case SETUP:
        regs[REG_RAX] = setup((unsigned)regs[REG_RDI], (struct params *)regs[REG_RSI]);
        return;
    case ENTER:
        regs[REG_RAX] = enter((int)regs[REG_RDI], (unsigned)regs[REG_RSI], (unsigned)regs[REG_RDX],
                              (unsigned)regs[REG_R10], (struct wait *)regs[REG_R8], (size_t)regs[REG_R9]);
        return;
    case REGISTER:
        regs[REG_RAX] = registration((int)regs[REG_RDI], (unsigned)regs[REG_RSI], (void *)regs[REG_RDX],
                                     (unsigned)regs[REG_R10]);
        return;
    }
    die("a system call that is not io_uring's was caught");
}

/* A fork's child has no ring: its mappings are not inherited, or must not be used. */
static void forget(void)
{
    memset(rings, 0, (size_t)rings_end * sizeof *rings);
    memset(indices, 0, sizeof indices);
}

__attribute__((constructor)) static void begin(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SETUP, 0, 4),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, REGISTER, 3, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MARK, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER};
    const char *wanted = getenv("OLD_KERNEL");
    unsigned major, minor;
    sigset_t sigsys;

    if (!wanted)
        return;
    if (sscanf(wanted, "%u.%u", &major, &minor) != 2 || VERSION(major, minor) < VERSION(6, 1))
        die("OLD_KERNEL has to be a version from 6.1 on");
    kernel = VERSION(major, minor);
    if (sigaction(SIGSYS, &action, NULL) != 0)
        die("no handler for SIGSYS");
    sigemptyset(&sigsys);
    sigaddset(&sigsys, SIGSYS);
    pthread_sigmask(SIG_UNBLOCK, &sigsys, NULL);
    pthread_atfork(NULL, NULL, forget);
    call(REGISTER, (unsigned)-1, 255, 0, 0, 0, 0);
    if (caught)
        return; /* the parent's filter holds for this process too */
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0 &&
        (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0))
        die("the kernel takes no seccomp filter");
}
