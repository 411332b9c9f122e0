"""``MsgHdr``: the argument of sendmsg and recvmsg, with all memory that it points to."""

import struct

import cython
from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.cpython.memoryview import PyMemoryView_GET_BUFFER
from cython.cimports.ioring.ring._integers import integer

from ioring.ring.sockaddr import STORAGE_SIZE, decode, encode


def _pack_control(messages):
    data = bytearray()
    for level, kind, payload in messages:
        payload = bytes(payload)
        level = integer(level, "a control message's level", -0x80000000, 0x7FFFFFFF)
        kind = integer(kind, "a control message's type", -0x80000000, 0x7FFFFFFF)
        data += struct.pack("@Nii", 16 + len(payload), level, kind) + payload
        data += bytes((8 - len(data) % 8) % 8)
    return data


def parse_control(data):
    """Ancillary data as ``socket.recvmsg`` gives it: a list of (level, type, bytes)."""
    messages = []
    at = 0
    while at + 16 <= len(data):
        length, level, kind = struct.unpack_from("@Nii", data, at)
        if length < 16 or at + length > len(data):
            break
        messages.append((level, kind, bytes(data[at + 16 : at + length])))
        at += (length + 7) // 8 * 8
    return messages


class MsgHdr:
    """A ``struct msghdr`` with all that it points to.

    Parameters:
        buffers: what is sent, or the writable buffers that are received into; at most 1024.
        address: where to send to: see ``prep_connect``.
        control: ancillary data to send: (level, type, bytes), as ``socket.sendmsg`` takes it.
        name_size: for receiving: room for the sender's address, in bytes; 128 holds any. 0: not wanted.
        control_size: for receiving: room for ancillary data, in bytes (``socket.CMSG_SPACE``).

    One object may be used for one request after the other; after a receive, ``address``, ``control`` and ``flags``
    say what came.

    Attributes:
        writable: whether every buffer is writable, so that the message can be received into.
        name_size: room for the sender's address, in bytes.
        control_size: room for ancillary data, in bytes.

    Raises:
        ValueError: both ``address`` and ``name_size``, or both ``control`` and ``control_size``; a size out of range.
    """

    def __init__(self, buffers=(), *, address=None, control=(), name_size=0, control_size=0):
        words: cython.pointer(uint64_t)
        index: cython.Py_ssize_t
        if isinstance(buffers, (bytes, bytearray, memoryview, str)):
            raise TypeError("a sequence of buffers is needed, not one buffer")
        if self.views is not None:
            raise RuntimeError("a MsgHdr is made once: requests may be using it")
        packed = _pack_control(control)
        room: cython.longlong = integer(name_size, "name_size", 0, STORAGE_SIZE)
        space: cython.longlong = integer(control_size, "control_size", 0, 0x7FFFFFFF)
        if (address is not None and room) or (packed and space):
            raise ValueError("a message is either sent (address, control) or received (name_size, control_size)")
        views = [memoryview(buf) for buf in buffers]
        if len(views) > 1024:
            raise ValueError(f"the kernel takes at most 1024 buffers in a vector, not {len(views)}")
        if self.views is not None:  # code that the buffers' iterator ran has called __init__
            raise RuntimeError("a MsgHdr is made once: requests may be using it")
        self.views = views
        self.writable = True
        self.iovecs = PyBytes_FromStringAndSize(cython.NULL, len(views) * 16 or 16)
        words = cython.cast(cython.pointer(uint64_t), PyBytes_AS_STRING(self.iovecs))
        for index in range(len(views)):
            view = views[index]
            if not view.c_contiguous:
                raise TypeError(f"buffer {index} is not contiguous")
            if view.readonly:
                self.writable = False
            words[2 * index] = cython.cast(cython.size_t, PyMemoryView_GET_BUFFER(view).buf)
            words[2 * index + 1] = view.nbytes
        self.name = bytearray(room) if address is None else bytearray(encode(address))
        self.ancillary = packed or bytearray(space)
        self.name_size = len(self.name)
        self.control_size = len(self.ancillary)
        self.header.msg_iov = cython.cast(cython.p_void, words)
        self.header.msg_iovlen = len(views)
        # The two bytearrays are reachable from here only, so they cannot be resized.
        self.header.msg_name = PyByteArray_AS_STRING(self.name) if self.name else cython.NULL
        self.header.msg_control = PyByteArray_AS_STRING(self.ancillary) if self.ancillary else cython.NULL
        self.reset()

    def reset(self):
        """Sets the lengths to what was given, before each request: a receive changes them."""
        self.header.msg_namelen = self.name_size
        self.header.msg_controllen = self.control_size
        self.header.msg_flags = 0

    @property
    def address(self):
        """The other side's address, as ``socket.recvmsg`` gives it, or ``None``."""
        return decode(bytes(self.name[: self.header.msg_namelen]))

    @property
    def control(self):
        """The ancillary data received: a list of (level, type, bytes)."""
        return parse_control(bytes(self.ancillary[: self.header.msg_controllen]))

    @property
    def flags(self):
        """``socket.MSG_*`` that the kernel gave with the message received."""
        return self.header.msg_flags

    @property
    def nbytes(self):
        """Bytes in all buffers together."""
        return sum(view.nbytes for view in self.views or ())

    def __repr__(self):
        return f"<MsgHdr {len(self.views or ())} buffers, {self.nbytes} bytes>"
