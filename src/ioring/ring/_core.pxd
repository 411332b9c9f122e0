from ioring.ring._completion_queue cimport *


cdef class RingCore(CompletionQueue):
    pass
