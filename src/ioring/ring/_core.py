# cython: boundscheck=False, nonecheck=False
"""The ring as a program has it, and what its registrations stand on: io_uring_register, and the groups of buffers.

A program prepares an Sqe and gets a Cqe: see _submission_queue.py and _completion_queue.py. Compiled code goes another
way: see _dispatcher.py.
"""

import cython
from cython.cimports.cpython.buffer import PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.ioring.ring.member import ioring_own_method
from cython.cimports.libc.string import memset

from ioring.ring.errors import os_error


class RingCore(CompletionQueue):
    """A ring as programs use it, without the registrations."""

    @property
    def _features(self):
        return self.u.features

    @property
    def _flags(self):
        return self.u.setup_flags

    # For Registrations: the system call, and what the core must know of it.

    def _register(self, opcode, argument, count):
        """Calls io_uring_register and returns its result. The argument is None or a writable buffer."""
        code: cython.int
        where: cython.p_void = cython.NULL
        operation: cython.uint = opcode
        number: cython.uint = count
        view: Py_buffer
        if argument is not None:
            PyObject_GetBuffer(argument, cython.address(view), PyBUF_WRITABLE)
            where = view.buf
        try:
            self.own()
            with cython.nogil:
                code = uring_sys_register(self.u.fd, operation, where, number)
        finally:
            if argument is not None:
                PyBuffer_Release(cython.address(view))
        return code

    @property
    def _file_slots(self):
        """The size of the registered file table; 0 without one."""
        return self.files

    @_file_slots.setter
    def _file_slots(self, count):
        self.files = count

    def _attach_buffers(self, group, buffers):
        """Notes a buffer ring that is about to be registered. Returns the address of its entries."""
        ring: BufferRing = buffers
        ring.attach(group)
        self.buffer_rings[group] = ring
        return cython.cast(cython.size_t, ring.ring)

    def _detach_buffers(self, group, registered):
        """Forgets a buffer ring: one that was unregistered, or whose registration failed."""
        ring: BufferRing = self.buffer_rings.get(group)
        if ring is None:
            return
        collected = []
        try:
            # Completions in the queue name the group, whose id may soon be another buffer ring's: taken before that.
            while registered and (cqe := self.pop()) is not None:
                collected.append(cqe)
        finally:
            self.put_back(collected)
            if registered:
                self.retired.append(ring)
            # Taking completions may have run arbitrary code, which has closed the ring or used the group's id again.
            if self.buffer_rings.get(group) is ring:
                del self.buffer_rings[group]
            if self.state == STATE_OPEN:
                ring.detach()
        self.drop_retired()

    @property
    def _buffer_rings(self):
        return self.buffer_rings

    def _token_of(self, target):
        return self.token_of(target)

    def __repr__(self):
        if self.closed:
            return f"<{type(self).__name__} closed>"
        return (
            f"<{type(self).__name__} fd={self.u.fd} sq_entries={self.u.sq_entries} cq_entries={self.u.cq_entries} "
            f"in_flight={self.in_flight}>"
        )


def send_message(fd, nbytes, data, flags):
    """Sends a message to a ring without a ring of one's own (IORING_REGISTER_SEND_MSG_RING)."""
    sqe: uring_sqe
    code: cython.int
    memset(cython.address(sqe), 0, cython.sizeof(uring_sqe))
    sqe.opcode = URING_OP_MSG_RING
    sqe.fd = fd
    sqe.len = cython.cast(cython.uint, cython.cast(cython.int, nbytes))
    sqe.off = data
    sqe.op_flags = flags
    # With the GIL: otherwise another thread could close the ring meanwhile, and its descriptor be reused.
    code = uring_sys_register(-1, URING_REGISTER_SEND_MSG_RING, cython.address(sqe), 1)
    if code < 0:
        raise os_error(code, "io_uring_register send_msg_ring")


def own_methods(ring_class):
    """Makes the methods that are called per request a subclass's own, which calls them faster: see member.h."""
    for name in ("get_sqe", "submit", "submit_and_wait", "wait_cqe", "wait_cqes", "peek_cqe", "completions"):
        ioring_own_method(ring_class, getattr(RingCore, name))
    return ring_class


def address_of(buffer):
    """The address of a writable object's bytes; 0 when it has none. The caller must keep the object alive."""
    address: cython.size_t
    view: Py_buffer
    PyObject_GetBuffer(buffer, cython.address(view), PyBUF_WRITABLE)
    address = cython.cast(cython.size_t, view.buf) if view.len else 0
    PyBuffer_Release(cython.address(view))
    return address
