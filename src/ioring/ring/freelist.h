/* A free list for a type whose objects are made and freed for every completion.
 *
 * Cython's own @freelist does not work for a class that is written in a .py and typed in a .pxd. An object is cleared by
 * the code that Cython made for it, which then calls tp_free, that is, puts the memory into the list. A new object is
 * filled with a copy of what a fresh one contains: numbers and references to None. The list is static, so each module
 * that includes this file has one, for one type. Everything happens under the GIL.
 */
#ifndef IORING_FREELIST_H
#define IORING_FREELIST_H

#include <Python.h>

#include "assertions.h"

#define IORING_FREELIST_MAX 256

static struct {
    PyTypeObject *type;
    int count;
    int nones;              /* fields of a new object that refer to None */
    size_t words;           /* size of an object behind its head, in machine words */
    PyObject *no_arguments; /* the empty tuple */
    uintptr_t *pristine;    /* what stands there in a new object */
    PyObject *memory[IORING_FREELIST_MAX];
} ioring_freelist;

static void ioring_freelist_free(void *memory)
{
    ioring_assert(Py_TYPE((PyObject *)memory) == ioring_freelist.type);
    ioring_assert(ioring_freelist.count >= 0 && ioring_freelist.count <= IORING_FREELIST_MAX);
    if (ioring_freelist.count < IORING_FREELIST_MAX)
        ioring_freelist.memory[ioring_freelist.count++] = (PyObject *)memory;
    else
        PyObject_GC_Del(memory);
}

/* A new object, as type.__new__(type) makes it; from the list unless that is empty. */
static inline PyObject *ioring_freelist_new(void)
{
    PyObject *object;
    uintptr_t *body;
    size_t i;
    int n;

    if (ioring_freelist.count == 0)
        return ioring_freelist.type->tp_new(ioring_freelist.type, ioring_freelist.no_arguments, NULL);
    object = ioring_freelist.memory[--ioring_freelist.count];
    ioring_assert(ioring_freelist.count >= 0 && Py_TYPE(object) == ioring_freelist.type);
    body = (uintptr_t *)((char *)object + sizeof(PyObject));
    for (i = 0; i < ioring_freelist.words; i++)
        body[i] = ioring_freelist.pristine[i];
    for (n = 0; n < ioring_freelist.nones; n++)
        Py_INCREF(Py_None);
#ifdef Py_REF_DEBUG
    _Py_NewReference(object);
#else
    Py_SET_REFCNT(object, 1);
#endif
    PyObject_GC_Track(object);
    return object;
}

/* To be called once, with a new object of a final type that has no others yet. 0, or -1 with an exception. */
static int ioring_freelist_install(PyObject *specimen)
{
    PyTypeObject *type = Py_TYPE(specimen);
    size_t i;

    ioring_freelist.words = ((size_t)type->tp_basicsize - sizeof(PyObject)) / sizeof(uintptr_t);
    ioring_freelist.pristine = (uintptr_t *)PyMem_Malloc(ioring_freelist.words * sizeof(uintptr_t));
    ioring_freelist.no_arguments = PyTuple_New(0);
    if (!ioring_freelist.pristine || !ioring_freelist.no_arguments) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(ioring_freelist.pristine, (char *)specimen + sizeof(PyObject), ioring_freelist.words * sizeof(uintptr_t));
    for (i = 0; i < ioring_freelist.words; i++)
        ioring_freelist.nones += ioring_freelist.pristine[i] == (uintptr_t)Py_None;
    ioring_freelist.type = type;
    type->tp_free = ioring_freelist_free;
    return 0;
}

#endif
