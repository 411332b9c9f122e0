# gate.h as Cython sees it.

from libc.stdint cimport uint32_t

cdef extern from "thread_gate.h":
    int ioring_gate_unlock(uint32_t *gate) noexcept nogil
    void ioring_gate_wake(uint32_t *gate) noexcept nogil
    void ioring_gate_pass(uint32_t *gate) noexcept nogil
