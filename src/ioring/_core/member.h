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

/* Adds a member to a type that nobody has used yet. The field must never be NULL. 0, or -1 with an exception. */
static int ioring_add_member(PyObject *type, const char *name, Py_ssize_t offset, int readonly, const char *doc)
{
    PyTypeObject *owner = (PyTypeObject *)type;
    PyMemberDef *member = (PyMemberDef *)PyMem_Calloc(1, sizeof(*member)); /* lives as long as the type: for ever */
    PyObject *descriptor, *dict;
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
#if PY_VERSION_HEX >= 0x030C0000
    dict = PyType_GetDict(owner);
#else
    dict = Py_NewRef(owner->tp_dict);
#endif
    result = PyDict_SetItemString(dict, name, descriptor);
    Py_DECREF(dict);
    Py_DECREF(descriptor);
    PyType_Modified(owner);
    return result;
}

#endif
