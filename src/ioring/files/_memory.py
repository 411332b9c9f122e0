"""What a program gives as offset, size and memory, as C has it."""

import operator

import cython
from cython.cimports.cpython.buffer import (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_FillInfo,
    PyBuffer_Release,
    PyObject_GetBuffer,
)


def whole(value, name):
    """An offset or a size as a C integer. Raises what the functions of os raise."""
    if not isinstance(value, int):
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None
    return value


class Flat:
    """A buffer of any shape and format as plain bytes. memoryview.cast() refuses many formats."""

    def __getbuffer__(self, buffer: cython.pointer(Py_buffer), flags: cython.int):
        PyBuffer_FillInfo(buffer, self, self.view.buf, self.view.len, self.view.readonly, flags)

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(cython.address(self.view))


def flat(buffer, writable):
    """A memoryview of the bytes of a buffer.

    Raises:
        TypeError: it is no buffer, or is to be written to and cannot.
        BufferError: it has gaps.
    """
    it: Flat = Flat.__new__(Flat)
    if writable:
        take_writable(buffer, cython.address(it.view))
    else:
        PyObject_GetBuffer(buffer, cython.address(it.view), PyBUF_SIMPLE)
    it.held = True
    return memoryview(it)


def take_writable(buffer, view):
    """PyObject_GetBuffer for a buffer that is read into."""
    try:
        PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE)
    except BufferError as error:
        raise TypeError(
            f"a writable buffer without gaps is needed, not this {type(buffer).__name__}: {error}"
        ) from None
    return 0
