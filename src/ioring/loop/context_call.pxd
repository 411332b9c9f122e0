# context_call.h as Cython sees it. A call that fails says so by its result, and leaves the exception pending.

from cpython.object cimport PyObject

cdef extern from "context_call.h":
    int ioring_run(object context, object callback, object args) noexcept
    PyObject *ioring_run_method(object context, object self, object name, object argument) noexcept
    # The same, for those who let the exception pass.
    object ioring_call_method "ioring_run_method" (object context, object self, object name, object argument)
    PyObject *ioring_run_method2(
        object context, object self, object name, object first, object second
    ) noexcept
    object ioring_make(object type, dict arguments)
    double ioring_now() noexcept nogil
