"""A request for an operation that moves no bytes. _operations.py has a function for each of these operations."""

import os

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING
from cython.cimports.ioring.files._cached_lookup import open_known, statx_t


class Call(FileOp):
    """Any other operation: its entry is filled in beforehand, and what does the same in a thread comes with it."""

    def hold(self, name):
        """Keeps a name as long as the kernel may read it. Its address."""
        if self.first is None:
            self.first = name
        else:
            self.second = name
        return cython.cast(cython.size_t, PyBytes_AS_STRING(name))

    def fill(self, sqe):
        sqe.opcode = self.entry.opcode
        sqe.fd = self.entry.fd
        sqe.addr = self.entry.addr
        sqe.len = self.entry.len
        sqe.off = self.entry.off
        sqe.op_flags = self.entry.op_flags
        sqe.flags = self.entry.flags
        return 0

    def blocking(self):
        try:
            self.value = self.fallback()
        except OSError as error:
            return -error.errno
        return self.value if isinstance(self.value, int) and not isinstance(self.value, bool) else 0

    def cancellable(self):
        return not self.steady and self.entry.opcode != URING_OP_CLOSE

    def drop(self):
        if self.makes_descriptor and self.result >= 0:
            os.close(self.result)
        return 0


def new_call(core, opcode, fd, path, fallback):
    """A request for an operation that moves no bytes; see _operations.py, where the rest of its entry is filled in.

    ``fallback`` does the same in a thread, and returns a number or None.
    """
    it: Call = Call.__new__(Call)
    it.core = core
    it.path = path
    it.fallback = fallback
    it.entry.opcode = opcode
    it.entry.fd = fd
    return it


def open_now(folder, path, flags, mode):
    """Opens a file without waiting. A descriptor or a negative error: -EAGAIN when that would have to wait."""
    found: statx_t
    name: bytes = path
    return open_known(folder, PyBytes_AS_STRING(name), flags, cython.address(found))
