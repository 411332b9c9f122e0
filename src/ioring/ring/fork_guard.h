/* Rings and fork(): the child must close the descriptors of all rings that it inherits, and know that it did.
 *
 * The child of a fork keeps the descriptor of every ring, and with it the ring's direct sockets: a peer would see
 * no end of file until the child exits. So the child closes the descriptors at once. The list of open rings is
 * static, so only one extension module may include this file: the one that opens rings. The list changes only
 * under the GIL; a fork by C code that does not hold the GIL may see it half changed, so its links are written in
 * an order that keeps `next` walkable.
 */
#ifndef IORING_FORK_GUARD_H
#define IORING_FORK_GUARD_H

#include "uring.h"

static struct uring *uring_all;
static unsigned long uring_forks; /* how many fork() calls lie between the first process and this one */

static void uring_after_fork_in_child(void)
{
    struct uring *u;
    uring_forks++;
    for (u = uring_all; u; u = u->next) {
        if (u->fd >= 0)
            close(u->fd);
        u->fd = u->enter_fd = -1;
        /* MADV_DONTFORK: the mappings are not there in the child. */
        u->ring_memory = u->cq_memory = u->sqes_memory = NULL;
    }
    uring_all = NULL;
}

static inline int uring_watch_forks(void)
{
    return pthread_atfork(NULL, NULL, uring_after_fork_in_child);
}

static inline void uring_enlist(struct uring *u)
{
    ioring_assert(u->fd >= 0 && u != uring_all && !u->next && !u->previous);
    u->previous = NULL;
    u->next = uring_all;
    if (uring_all)
        uring_all->previous = u;
    uring_all = u;
}

static inline void uring_delist(struct uring *u)
{
    if (u->previous)
        u->previous->next = u->next;
    else if (uring_all == u)
        uring_all = u->next;
    if (u->next)
        u->next->previous = u->previous;
    u->next = u->previous = NULL;
}

static inline void uring_close(struct uring *u)
{
    uring_delist(u);
    uring_unmap(u);
    if (u->fd >= 0)
        close(u->fd);
    u->fd = u->enter_fd = -1;
}

static inline int uring_thread_is_alive(int tid)
{
    return syscall(SYS_tgkill, getpid(), tid, 0) == 0;
}

#endif
