cimport cython


cdef class Handle:
    cdef readonly object _callback
    cdef readonly tuple _args
    cdef readonly object _context
    cdef readonly object _loop
    cdef readonly bint _cancelled

    # Debug mode only.
    cdef public object _source_traceback
    cdef object _repr

    cdef object __weakref__

    cdef int run(self) except -1
    cdef int report(self) except -1


@cython.final
cdef class ThreadSafeHandle(Handle):
    # The thread that runs the callback now, or 0; and what other threads wait for meanwhile.
    cdef unsigned long runner
    cdef object finished

    cdef int settle(self) except -1


@cython.final
cdef class TimerHandle(Handle):
    cdef readonly double _when

    # The position in the heap, or -1. Handles for the same time run in the order in which they were made.
    cdef Py_ssize_t position
    cdef unsigned long sequence
    cdef Timers timers


@cython.final
cdef class Timers:
    cdef list heap
    cdef Py_ssize_t count
    cdef unsigned long sequence

    cdef int push(self, TimerHandle handle) except -1
    cdef int remove(self, TimerHandle handle) except -1
    cdef TimerHandle first(self)
    cdef int rise(self, TimerHandle handle, Py_ssize_t place) except -1
    cdef int sink(self, TimerHandle handle, Py_ssize_t place) except -1
    cdef int clear(self) except -1


cdef int reraise() except -1
cdef int set_up(Handle handle, object callback, tuple args, object context, object loop) except -1
cdef Handle new_handle(object callback, tuple args, object context, object loop)
cdef Handle new_threadsafe_handle(object callback, tuple args, object context, object loop)
