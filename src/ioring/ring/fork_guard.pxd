# fork_guard.h as Cython sees it: for the one module that opens rings.

from ioring.ring.uring cimport uring

cdef extern from "fork_guard.h" nogil:
    unsigned long uring_forks
    int uring_watch_forks()
    void uring_enlist(uring *u)
    void uring_close(uring *u)
    int uring_thread_is_alive(int tid)
