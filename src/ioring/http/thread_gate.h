/* A gate that one thread passes and others unlock: a futex, so that a thread can wait for it without the GIL, and can
 * tell another before that without having to take the GIL once more in between.
 */
#ifndef IORING_GATE_H
#define IORING_GATE_H

#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { IORING_GATE_SHUT, IORING_GATE_OPEN, IORING_GATE_AWAITED };

/* Lets the gate's thread pass, now or when it comes to it. In any thread. Whether the thread has to be woken for that. */
static inline int ioring_gate_unlock(uint32_t *gate)
{
    return __atomic_exchange_n(gate, IORING_GATE_OPEN, __ATOMIC_RELEASE) == IORING_GATE_AWAITED;
}

static inline void ioring_gate_wake(uint32_t *gate)
{
    syscall(SYS_futex, gate, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Waits until the gate is open, and shuts it. Only in the thread whose gate it is; without the GIL. */
static inline void ioring_gate_pass(uint32_t *gate)
{
    uint32_t state;

    for (;;) {
        state = IORING_GATE_OPEN;
        if (__atomic_compare_exchange_n(gate, &state, IORING_GATE_SHUT, 0, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE))
            return;
        state = IORING_GATE_SHUT;
        if (__atomic_compare_exchange_n(gate, &state, IORING_GATE_AWAITED, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED) ||
            state == IORING_GATE_AWAITED)
            syscall(SYS_futex, gate, FUTEX_WAIT_PRIVATE, IORING_GATE_AWAITED, NULL, NULL, 0);
    }
}

#endif
