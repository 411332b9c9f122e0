from libc.stdint cimport int64_t, uint64_t

cpdef int64_t integer(object value, str name, int64_t low, int64_t high) except? -1
cpdef uint64_t unsigned64(object value, str name) except? 0
