/* Calling Python in a context, and the clock: what a loop does at every turn.
 *
 * In C because Cython wraps whatever has to be undone after an exception into saving and restoring the interpreter's
 * exception state, which costs as much as the call.
 */
#ifndef IORING_CONTEXT_CALL_H
#define IORING_CONTEXT_CALL_H

#include <Python.h>
#include <time.h>

/* Calls callback(*args) in the context. 0, or -1 with the exception set. */
static inline int ioring_run(PyObject *context, PyObject *callback, PyObject *args)
{
    PyObject *result;

    if (PyContext_Enter(context) < 0)
        return -1;
    result = PyObject_Call(callback, args, NULL);
    if (PyContext_Exit(context) < 0)
        Py_CLEAR(result);
    if (!result)
        return -1;
    Py_DECREF(result);
    return 0;
}

/* Calls self.name(argument), or self.name() when the argument is None, in the context, or in the one that holds when
 * that is None. A new reference, or NULL. */
static inline PyObject *ioring_run_method(PyObject *context, PyObject *self, PyObject *name, PyObject *argument)
{
    PyObject *arguments[3] = {NULL, self, argument};
    size_t count = argument == Py_None ? 1 : 2;
    PyObject *result;

    if (context != Py_None && PyContext_Enter(context) < 0)
        return NULL;
    result = PyObject_VectorcallMethod(name, arguments + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (context != Py_None && PyContext_Exit(context) < 0)
        Py_CLEAR(result);
    return result;
}

/* The same with two arguments. */
static inline PyObject *ioring_run_method2(PyObject *context, PyObject *self, PyObject *name, PyObject *first,
                                           PyObject *second)
{
    PyObject *arguments[4] = {NULL, self, first, second};
    PyObject *result;

    if (PyContext_Enter(context) < 0)
        return NULL;
    result = PyObject_VectorcallMethod(name, arguments + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (PyContext_Exit(context) < 0)
        Py_CLEAR(result);
    return result;
}

/* type(**arguments), with the dict as it is: to name an argument otherwise takes a dict for each call. */
static inline PyObject *ioring_make(PyObject *type, PyObject *arguments)
{
    static PyObject *nothing;

    if (!nothing && !(nothing = PyTuple_New(0)))
        return NULL;
    return PyObject_Call(type, nothing, arguments);
}

/* The monotonic clock in seconds. */
static inline double ioring_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif
