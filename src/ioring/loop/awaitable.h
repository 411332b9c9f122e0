/* The slots by which the interpreter awaits an Awaitable.
 *
 * In C because Cython knows no am_send, and because a StopIteration that is raised in compiled Python is given a
 * traceback, with a frame and a function of its own: more work than most operations are.
 */
#ifndef IORING_AWAITABLE_H
#define IORING_AWAITABLE_H

#include <Python.h>

/* A step: a new reference to what it yields, or, with *finished set, to the result; NULL with an exception. */
typedef PyObject *(*ioring_step)(PyObject *self, int *finished);

static ioring_step ioring_awaitable_step;

static PySendResult ioring_awaitable_send(PyObject *self, PyObject *Py_UNUSED(value), PyObject **result)
{
    int finished = 0;

    *result = ioring_awaitable_step(self, &finished);
    if (!*result)
        return PYGEN_ERROR;
    return finished ? PYGEN_RETURN : PYGEN_NEXT;
}

static PyObject *ioring_awaitable_next(PyObject *self)
{
    int finished = 0;
    PyObject *stop, *value = ioring_awaitable_step(self, &finished);

    if (!value || !finished)
        return value;
    if (value != Py_None) { /* nothing at all stands for StopIteration without a value */
        stop = PyObject_CallOneArg(PyExc_StopIteration, value);
        if (stop) {
#if PY_VERSION_HEX >= 0x030C0000
            PyErr_SetRaisedException(stop);
#else
            PyErr_SetObject(PyExc_StopIteration, stop);
            Py_DECREF(stop);
#endif
        }
    }
    Py_DECREF(value);
    return NULL;
}

/* To be called once, before the type has subclasses: they inherit. */
static void ioring_awaitable_install(PyObject *cls, ioring_step step)
{
    PyTypeObject *type = (PyTypeObject *)cls;

    ioring_awaitable_step = step;
    type->tp_iternext = ioring_awaitable_next;
    type->tp_as_async->am_send = ioring_awaitable_send;
    PyType_Modified(type);
}

#endif
