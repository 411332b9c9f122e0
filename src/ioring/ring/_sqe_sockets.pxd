from ioring.ring._sqe_files cimport *
from ioring.ring._msghdr cimport MsgHdr


cdef class SocketSqe(FileSqe):
    cdef int put_accept(self, object fd, object address, object flags, object file_index, bint multishot, bint direct) except -1
    cdef int put_address(self, int opcode, object fd, object address) except -1
    cdef int put_send(self, int opcode, object sockfd, object buf, object nbytes, object flags, unsigned ioprio, object buf_index, object address) except -1
    cdef int put_receive(self, object sockfd, object buf, object nbytes, object flags, unsigned ioprio) except -1
    cdef int put_message(self, int opcode, object fd, object msg, object flags, unsigned ioprio, object buf_index, bint into) except -1
    cdef int put_socket(self, object domain, object type, object protocol, object flags, object file_index, bint direct) except -1
