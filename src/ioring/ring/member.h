/* Attributes that the interpreter reads and writes without a call.
 *
 * For an object attribute of an extension type Cython writes a pair of functions (a getset). The interpreter
 * specialises only member descriptors, the kind that __slots__ makes: 2 ns instead of 12 (measured on 3.11). So the
 * few attributes that are used once per completion are put into their type as members.
 */
#ifndef IORING_MEMBER_H
#define IORING_MEMBER_H

#include <Python.h>
#include <structmember.h>

static int ioring_set_in_dict(PyTypeObject *type, const char *name, PyObject *value)
{
    PyObject *dict;
    int result;

#if PY_VERSION_HEX >= 0x030C0000
    dict = PyType_GetDict(type);
#else
    dict = Py_NewRef(type->tp_dict);
#endif
    result = PyDict_SetItemString(dict, name, value);
    Py_DECREF(dict);
    PyType_Modified(type);
    return result;
}

/* Adds a member to a type that nobody has used yet. The field must never be NULL. 0, or -1 with an exception. */
static int ioring_add_member(PyObject *type, const char *name, Py_ssize_t offset, int readonly, const char *doc)
{
    PyTypeObject *owner = (PyTypeObject *)type;
    PyMemberDef *member = (PyMemberDef *)PyMem_Calloc(1, sizeof(*member)); /* lives as long as the type: for ever */
    PyObject *descriptor;
    int result;

    if (!member) {
        PyErr_NoMemory();
        return -1;
    }
    member->name = name;
    member->type = T_OBJECT_EX;
    member->offset = offset;
    member->flags = readonly ? READONLY : 0;
    member->doc = doc;
    descriptor = PyDescr_NewMember(owner, member);
    if (!descriptor)
        return -1;
    result = ioring_set_in_dict(owner, name, descriptor);
    Py_DECREF(descriptor);
    return result;
}

/* Gives a type methods of its base as its own. The interpreter calls a method without detour only when the object's
 * type is the very one that the method was defined in: 15 ns less per call (3.11). 0, or -1 with an exception.
 */
static int ioring_own_method(PyObject *type, PyObject *descriptor)
{
    PyMethodDef *definition;
    PyObject *own;
    int result;

    if (!Py_IS_TYPE(descriptor, &PyMethodDescr_Type)) {
        PyErr_Format(PyExc_TypeError, "%R is not a method of a compiled class", descriptor);
        return -1;
    }
    definition = ((PyMethodDescrObject *)descriptor)->d_method;
    own = PyDescr_NewMethod((PyTypeObject *)type, definition);
    if (!own)
        return -1;
    if (((PyTypeObject *)type)->tp_flags & Py_TPFLAGS_HEAPTYPE)
        result = PyObject_SetAttrString(type, definition->ml_name, own);
    else
        result = ioring_set_in_dict((PyTypeObject *)type, definition->ml_name, own);
    Py_DECREF(own);
    return result;
}

#endif
