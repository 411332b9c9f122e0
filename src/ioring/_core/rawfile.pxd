cimport cython
from ioring._core.fileops cimport *
from ioring._core.copying cimport Copying
from ioring._core.file cimport File


cdef class RawFile(Copying):
    pass
