/* A pool of bytes objects, for received data.
 *
 * A message of some KiB is a bytes object at the top of the heap, for a moment. When it is freed, glibc gives its memory
 * back to the kernel, and gets it again, page fault by page fault, for the next message; that takes longer than to
 * handle the message. So the pool keeps references to the last objects that it has returned, and uses one again when
 * nothing else refers to it. For the program it is as if malloc() had returned the same memory again.
 */
#ifndef IORING_BYTES_POOL_H
#define IORING_BYTES_POOL_H

#include <Python.h>
#include <string.h>

#define IORING_POOL_MAX 128

struct ioring_pool {
    Py_ssize_t capacity;    /* bytes that each object has room for */
    int count;              /* objects that there are */
    int next;               /* where to look first: the one that was handed out longest ago */
    PyObject *objects[IORING_POOL_MAX];
};

/* A bytes object with a copy of `size` bytes, which must not be more than the pool's capacity. */
static inline PyObject *ioring_pool_bytes(struct ioring_pool *pool, const char *from, Py_ssize_t size)
{
    PyObject *object;
    int tries, at;

    for (tries = 0; tries < 4 && tries < pool->count; tries++) {
        at = pool->next;
        pool->next = at + 1 < pool->count ? at + 1 : 0;
        object = pool->objects[at];
        if (Py_REFCNT(object) != 1)
            continue;
        memcpy(PyBytes_AS_STRING(object), from, (size_t)size);
        PyBytes_AS_STRING(object)[size] = 0;
        Py_SET_SIZE((PyVarObject *)object, size);
_Py_COMP_DIAG_PUSH
_Py_COMP_DIAG_IGNORE_DEPR_DECLS
        ((PyBytesObject *)object)->ob_shash = -1;
_Py_COMP_DIAG_POP
        return Py_NewRef(object);
    }
    if (pool->count == IORING_POOL_MAX)
        return PyBytes_FromStringAndSize(from, size);
    object = PyBytes_FromStringAndSize(NULL, pool->capacity);
    if (!object)
        return NULL;
    pool->objects[pool->count++] = Py_NewRef(object);
    memcpy(PyBytes_AS_STRING(object), from, (size_t)size);
    PyBytes_AS_STRING(object)[size] = 0;
    Py_SET_SIZE((PyVarObject *)object, size);
    return object;
}

static inline void ioring_pool_clear(struct ioring_pool *pool)
{
    while (pool->count)
        Py_DECREF(pool->objects[--pool->count]);
    pool->next = 0;
}

#endif
