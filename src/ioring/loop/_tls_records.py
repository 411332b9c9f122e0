"""Counts the TLS records that have arrived, so that SSLObject.read() is called only when one is whole.

Called in vain it raises an exception, which takes longer than to decrypt a small record.
"""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.string import memcpy

HEADER_SIZE = cython.declare(cython.int, 5)
LENGTH_MAX = cython.declare(cython.Py_ssize_t, 16384 + 2048)
"""Longest record that any version of TLS allows, in bytes: 16 KiB, and what encryption adds."""


class Records:
    """The records that were received and not read yet."""

    def add(self, data):
        """Counts the records that these data complete."""
        begin: cython.p_char = PyBytes_AS_STRING(data)
        left: cython.Py_ssize_t = PyBytes_GET_SIZE(data)
        step: cython.Py_ssize_t
        self.unread += left
        while left > 0 and not self.strange:
            if self.fill < HEADER_SIZE:
                step = min(HEADER_SIZE - self.fill, left)
                memcpy(cython.address(self.header[self.fill]), begin, step)
                self.fill += step
                begin += step
                left -= step
                if self.fill < HEADER_SIZE:
                    return 0
                self.length = self.missing = (self.header[3] << 8) | self.header[4]
                self.strange = (
                    self.header[0] < 20 or self.header[0] > 24 or self.header[1] != 3 or self.length > LENGTH_MAX
                )
            step = min(self.missing, left)
            self.missing -= step
            begin += step
            left -= step
            if self.missing == 0:
                self.whole += 1
                self.length = self.fill = 0
        if self.strange:
            self.whole += 1
        return 0

    def drop_one(self):
        """One record was read."""
        if self.whole > 0:
            self.whole -= 1
        if self.whole == 0:
            self.unread = self.fill + self.length - self.missing
        return 0

    def drop_all(self):
        """All whole records were read."""
        self.whole = 0
        self.unread = self.fill + self.length - self.missing
        return 0
