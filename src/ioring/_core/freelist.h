/* A stock of memory for a type whose objects come and go with every completion.
 *
 * Cython's own @freelist is not to be had for a class that is written in a .py and typed in a .pxd. The stock stands
 * behind the type's tp_alloc and tp_free, so that making and clearing an object stays Cython's business. Only one
 * module may include this file, for one type: the stock is static. Everything happens under the GIL.
 */
#ifndef IORING_FREELIST_H
#define IORING_FREELIST_H

#include <Python.h>

#define IORING_FREELIST_MAX 256

static struct {
    PyTypeObject *type;
    int count;
    PyObject *memory[IORING_FREELIST_MAX];
} ioring_freelist;

static PyObject *ioring_freelist_alloc(PyTypeObject *type, Py_ssize_t items)
{
    PyObject *object;

    if (type != ioring_freelist.type || ioring_freelist.count == 0)
        return PyType_GenericAlloc(type, items);
    object = ioring_freelist.memory[--ioring_freelist.count];
    memset((char *)object + sizeof(PyObject), 0, (size_t)type->tp_basicsize - sizeof(PyObject));
    (void)PyObject_Init(object, type);
    PyObject_GC_Track(object);
    return object;
}

static void ioring_freelist_free(void *memory)
{
    if (ioring_freelist.count < IORING_FREELIST_MAX)
        ioring_freelist.memory[ioring_freelist.count++] = (PyObject *)memory;
    else
        PyObject_GC_Del(memory);
}

/* To be called once, for a type that has no subclasses and no object yet. */
static void ioring_freelist_install(PyObject *type)
{
    ioring_freelist.type = (PyTypeObject *)type;
    ioring_freelist.type->tp_alloc = ioring_freelist_alloc;
    ioring_freelist.type->tp_free = ioring_freelist_free;
}

#endif
