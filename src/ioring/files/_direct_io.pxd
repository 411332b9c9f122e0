cimport cython
from libc.stdint cimport int64_t
from ioring.files._base cimport lend, own
from ioring.files._raw cimport RawFile
from ioring.files._requests cimport *
from ioring.loop._engine cimport UNSENT_MAX, Engine


@cython.final
cdef class Pool:
    cdef object memory
    cdef Py_buffer view
    cdef char *base
    cdef bint held
    cdef bint registered
    cdef list free
    cdef object __weakref__

    cdef int lend(self, size_t size) except -2
    cdef int take_back(self, int slot) except -1
    cdef char *address(self, int slot) noexcept


cdef class DirectFile


cdef class Bounced(Transfer):
    # The memory is a slot of a pool, or a piece of its own.
    cdef Pool pool
    cdef int slot
    cdef object own

    cdef int aim(self, DirectFile file, int64_t offset, size_t size) except -1
    cdef int load(self) except -1
    cdef int borrow(self, size_t size) except -1
    cdef int give_back(self) except -1


@cython.final
cdef class DirectRead(Bounced):
    cdef size_t skip  # what comes before and is not wanted
    cdef size_t want
    cdef object target

    cdef int cover(self, DirectFile file, int64_t offset, size_t size) except -1
    cdef int fill_buffer(self, object buffer) except -1


@cython.final
cdef class DirectWrite(Bounced):
    cdef object source

    cdef int carry(self, DirectFile file, int64_t offset, object data) except -1


cdef class DirectFile(RawFile):
    cdef Pool pool
    cdef Engine pool_of

    cdef Pool find_pool(self)
    cdef DirectRead direct_read(self, int64_t offset, size_t size)
    cdef FileOp direct_write(self, int64_t offset, object data)
