cimport cython
from ioring.files._requests cimport *
from ioring.files._copy cimport Copying
from ioring.files._base cimport File


cdef class RawFile(Copying):
    pass
