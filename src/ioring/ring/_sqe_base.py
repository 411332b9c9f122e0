"""The submission queue entry while it is prepared: its bytes, and the objects that they point to.

Every ``prep_*`` method takes the same steps. ``begin`` clears a copy of the entry, the arguments are checked and put
into the copy, and ``end`` copies it into the queue: so an SQE whose preparation failed is a NOP. Reading an argument
may run arbitrary code (``fileno``, ``__index__``, ``__fspath__``), which may submit, close the ring, or prepare this
entry again. So nothing is written to the queue before ``end`` has checked the entry and the ring again.

The objects that the arguments point to are kept by the entry until the final completion.
"""

import os

import cython
from cython.cimports.cpython.buffer import (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.cpython.memoryview import PyMemoryView_GET_BUFFER
from cython.cimports.ioring.ring._direct import Direct
from cython.cimports.libc.string import memcpy, memset

from ioring.ring.constants import FILE_INDEX_ALLOC, SqeFlags
from ioring.ring.errors import RingError, SlotError, SqeSubmitted, operation_name

IOV_MAX = cython.declare(cython.int, 1024)

# Requests that may copy more bytes than this are submitted without the GIL.
LIGHT_LENGTH_MAX = cython.declare(cython.uint, 16384)


def file_offset(value):
    """An offset in a file as the kernel takes it; -1 is the file's own position."""
    return cython.cast(uint64_t, integer(value, "offset", -1, 0x7FFFFFFFFFFFFFFF))


class Entry(Op):
    """The part of ``Sqe`` that does not depend on the operation."""

    def __init__(self):
        raise TypeError("an Sqe comes from a ring: Ring.get_sqe()")

    def __dealloc__(self):
        if self.holding:
            PyBuffer_Release(cython.address(self.memory))

    def writable(self):
        """Raises unless the entry is in the queue, not submitted, and this thread's."""
        table: OpTable
        if self.table != cython.NULL:
            table = cython.cast(OpTable, self.table)
            if (
                table.state == STATE_OPEN
                and table.owner == uring_thread_self()
                and table.u.fd >= 0
                and self.position >= table.u.sq_published
            ):
                return 0
        return self.refuse()

    def refuse(self):
        """Raises the exception that says why the entry cannot be written."""
        table: OpTable
        if self.table == cython.NULL:
            raise SqeSubmitted("the request has completed, or its ring was closed: take a new SQE by Ring.get_sqe()")
        table = cython.cast(OpTable, self.table)
        table.check()
        raise SqeSubmitted("the SQE was submitted and belongs to the kernel: take a new one by Ring.get_sqe()")

    def owner(self):
        """The ring, checked again: code that reading an argument ran may have closed it."""
        self.writable()
        return cython.cast(OpTable, self.table)

    def begin(self):
        """Starts a preparation: empties the copy. Returns a number that end() compares."""
        self.writable()
        self.clear()
        while self.marks & MARK_HELD:
            self.marks &= ~cython.cast(cython.uchar, MARK_HELD)
            self.release()  # may run arbitrary code
            self.writable()
            self.clear()
        self.marks = 0
        memset(cython.address(self.sqe), 0, cython.sizeof(uring_sqe))
        self.fixed = 0
        self.fresh = False
        self.turn += 1
        return self.turn

    def end(self, opcode, turn):
        """Copies the prepared entry into the queue, unless it was prepared again since begin()."""
        self.writable()
        if turn != self.turn:
            raise RingError("the SQE was prepared again while its arguments were looked at")
        ioring_assert(self.place.user_data == self.token)
        self.sqe.opcode = self.opcode = opcode
        self.sqe.flags |= self.fixed
        self.sqe.user_data = self.token
        memcpy(self.place, cython.address(self.sqe), cython.sizeof(uring_sqe))
        if self.sqe.flags:
            self.note_flags()
        if self.sqe.len > LIGHT_LENGTH_MAX or not uring_op_is_light(opcode):
            cython.cast(OpTable, self.table).heavy = True
        return 0

    def clear(self):
        """Makes the entry in the queue a NOP."""
        table: OpTable = cython.cast(OpTable, self.table)
        memset(self.place, 0, cython.sizeof(uring_sqe) << table.u.sqe_shift)
        self.place.user_data = self.token
        self.opcode = 0

    def release(self):
        self.target = None
        self.kept = None
        if self.holding:
            self.holding = False
            PyBuffer_Release(cython.address(self.memory))

    def pipe_ends(self, ends):
        if self.opcode != URING_OP_PIPE:
            return False
        # The program's buffer may stand anywhere.
        memcpy(
            ends, cython.cast(cython.p_void, cython.cast(cython.size_t, self.sqe.addr)), 2 * cython.sizeof(cython.int)
        )
        return True

    def keep(self, thing):
        """Keeps an object alive until the final completion."""
        self.marks |= MARK_HELD
        if self.kept is None:
            self.kept = [thing]
        else:
            self.kept.append(thing)
        return 0

    # Arguments: each method checks one and keeps what the kernel will need.

    def descriptor(self, fd):
        """An int, something with fileno(), or a Direct: what goes into sqe.fd. Negative ints are refused."""
        direct: Direct
        table: OpTable
        number: cython.int
        if isinstance(fd, int):
            return integer(fd, "a file descriptor", 0, 0x7FFFFFFF)
        if isinstance(fd, Direct):
            direct = fd
            table = self.owner()
            if direct.slot >= table.files:
                raise SlotError(
                    f"slot {direct.slot} is outside the ring's file table of {table.files} slots"
                    + ("" if table.files else ": make one by Ring.register_files_sparse()")
                )
            self.fixed = URING_SQE_FIXED_FILE
            return direct.slot
        try:
            method = fd.fileno
        except AttributeError:
            raise TypeError(
                f"a descriptor is an int, an object with fileno(), or ioring.Direct, not {type(fd).__name__}"
            ) from None
        number = integer(method(), "fileno()", -1, 0x7FFFFFFF)
        if number < 0:
            raise ValueError(f"{fd!r} is closed")
        self.marks |= MARK_HELD
        self.target = fd  # kept, so that it is not closed with its last reference while the kernel works on it
        return number

    def directory(self, dfd):
        """A directory's descriptor, or None or AT_FDCWD for the working directory."""
        if dfd is None:
            return -100
        if isinstance(dfd, int) and dfd == -100:
            return -100
        number: cython.int = self.descriptor(dfd)
        if self.fixed:
            self.fixed = 0
            raise TypeError("the kernel takes no direct descriptor as a directory")
        return number

    def slot(self, file_index):
        """The slot for a new direct descriptor, as the kernel counts them (slot + 1)."""
        table: OpTable
        number: int64_t
        if isinstance(file_index, Direct):
            number = file_index.slot
        else:
            number = integer(file_index, "file_index", 0, FILE_INDEX_ALLOC)
        table = self.owner()
        if number == FILE_INDEX_ALLOC:
            if table.files == 0:
                raise SlotError("the ring has no file table: make one by Ring.register_files_sparse()")
            return URING_FILE_INDEX_ALLOC
        if number >= table.files:
            raise SlotError(
                f"slot {number} is outside the ring's file table of {table.files} slots"
                + ("" if table.files else ": make one by Ring.register_files_sparse()")
            )
        return number + 1

    def buffer(self, buf, nbytes, into):
        """Address of a buffer, kept until the final completion; sets sqe.len. ``into``: the kernel writes to it."""
        length: int64_t
        wanted: int64_t
        memory: Py_buffer
        turn: cython.uint = self.turn
        if buf is None:
            if nbytes is None:
                nbytes = 0  # a buffer of a group: as much as it holds
            self.sqe.len = integer(nbytes, "the length", 0, 0xFFFFFFFF)
            return 0
        try:
            PyObject_GetBuffer(buf, cython.address(memory), PyBUF_WRITABLE if into else PyBUF_SIMPLE)
        except BufferError as error:
            raise TypeError(f"a {type(buf).__name__} will not do: {error}") from None
        if self.holding or turn != self.turn:
            PyBuffer_Release(cython.address(memory))
            raise RingError("the SQE was prepared again while its arguments were looked at")
        self.memory = memory
        self.holding = True
        self.marks |= MARK_HELD
        length = self.memory.len
        if nbytes is not None:
            wanted = integer(nbytes, "the length", 0, 0xFFFFFFFF)
            if wanted > length:
                raise ValueError(f"the length {wanted} is more than the {length} bytes of the buffer")
            length = wanted
        elif length > 0xFFFFFFFF:
            raise ValueError(f"a request moves at most 4294967295 bytes, not {length}: say how many")
        self.sqe.len = length
        return cython.cast(cython.size_t, self.memory.buf)

    def sized(self, buf, size, into, what):
        """Address of a further buffer of at least ``size`` bytes, kept until the final completion."""
        view: object
        try:
            view = memoryview(buf)
        except TypeError:
            raise TypeError(f"{what} must be a buffer, not {type(buf).__name__}") from None
        if not view.c_contiguous:
            raise TypeError(f"{what} must be contiguous")
        if into and view.readonly:
            raise TypeError(f"{what} must be writable: the kernel writes into it")
        if view.nbytes < size:
            raise ValueError(f"{what} must have at least {size} bytes, not {view.nbytes}")
        self.keep(view)
        return cython.cast(cython.size_t, PyMemoryView_GET_BUFFER(view).buf)

    def path(self, path):
        """Address of a path in the file system's encoding, kept until the final completion."""
        encoded: bytes = os.fsencode(path)
        if b"\0" in encoded:
            raise ValueError(f"a path must not contain a NUL character: {path!r}")
        self.keep(encoded)
        return cython.cast(cython.size_t, PyBytes_AS_STRING(encoded))

    def vector(self, buffers, into):
        """Address of an array of iovecs, kept with its buffers until the final completion; sets sqe.len."""
        count: cython.Py_ssize_t
        words: cython.pointer(uint64_t)
        if isinstance(buffers, (bytes, bytearray, memoryview, str)):
            raise TypeError("a sequence of buffers is needed, not one buffer")
        views = [memoryview(buf) for buf in buffers]
        count = len(views)
        if count > IOV_MAX:
            raise ValueError(f"the kernel takes at most 1024 buffers in a vector, not {count}")
        array: bytes = PyBytes_FromStringAndSize(cython.NULL, count * 16 or 16)
        words = cython.cast(cython.pointer(uint64_t), PyBytes_AS_STRING(array))
        index: cython.Py_ssize_t
        for index in range(count):
            view = views[index]
            if not view.c_contiguous:
                raise TypeError(f"buffer {index} is not contiguous")
            if into and view.readonly:
                raise TypeError(f"buffer {index} must be writable: the kernel writes into it")
            words[2 * index] = cython.cast(cython.size_t, PyMemoryView_GET_BUFFER(view).buf)
            words[2 * index + 1] = view.nbytes
        self.keep(views)
        self.keep(array)
        self.sqe.len = count
        return cython.cast(cython.size_t, words)

    def duration(self, seconds):
        """Address of a timespec inside this entry."""
        number: cython.double
        whole: int64_t
        if isinstance(seconds, int):
            whole = integer(seconds, "seconds", 0, 0x7FFFFFFFF)
            self.timespec.tv_sec = whole
            self.timespec.tv_nsec = 0
            return cython.cast(cython.size_t, cython.address(self.timespec))
        try:
            number = float(seconds)
        except (TypeError, ValueError):
            raise TypeError(f"seconds must be a number, not {type(seconds).__name__}") from None
        if not 0 <= number <= 0x7FFFFFFFF:
            raise ValueError(f"seconds must be between 0 and 34359738367, not {seconds!r}")
        whole = cython.cast(int64_t, number)
        self.timespec.tv_sec = whole
        self.timespec.tv_nsec = cython.cast(int64_t, (number - whole) * 1e9 + 0.5)
        if self.timespec.tv_nsec > 999999999:
            self.timespec.tv_nsec = 999999999
        return cython.cast(cython.size_t, cython.address(self.timespec))

    # Fields that any operation may have.

    def set_flags(self, flags):
        """Sets how the request is treated (``io_uring_sqe_set_flags``), after the ``prep_*`` call.

        Parameters:
            flags: ``SqeFlags``; replaces those set before, except ``FIXED_FILE`` when the operation was given a
                ``Direct``.

        ``CQE_SKIP_SUCCESS`` is honoured by the ring itself: it takes the completion and does not show it, because
        it must know when the request is done with its memory.

        Raises:
            SqeSubmitted: the SQE was submitted before.
            ValueError: flags that do not exist, or ``IO_DRAIN`` for a zero-copy send, which would never end.
        """
        number: cython.uint = integer(flags, "flags", 0, 0x7F)
        self.writable()
        self.place.flags = number | self.fixed
        self.note_flags()

    def note_flags(self):
        """Notes which of the flags in the queue's entry the ring itself has to act on."""
        flags: cython.uint = self.place.flags
        if flags & URING_SQE_IO_DRAIN and self.place.opcode in (URING_OP_SEND_ZC, URING_OP_SENDMSG_ZC):
            self.place.flags ^= URING_SQE_IO_DRAIN
            raise ValueError(
                "a zero-copy send must not drain: the kernel has it wait for its own notification, for ever, and "
                "everything behind it; let a NOP before it drain"
            )
        self.marks &= ~(MARK_SKIP | MARK_SELECT)
        if flags & URING_SQE_CQE_SKIP_SUCCESS:
            self.marks |= MARK_SKIP
            cython.cast(OpTable, self.table).skipping = True
        if flags & URING_SQE_BUFFER_SELECT:
            self.marks |= MARK_SELECT
            self.buffer_group_id = self.place.buf_index
        return 0

    def put_flag(self, flag, on):
        self.writable()
        if on:
            self.place.flags |= cython.cast(cython.uchar, flag)
        else:
            self.place.flags &= ~cython.cast(cython.uchar, flag)
        return self.note_flags()

    def has_flag(self, flag):
        self.writable()
        return self.place.flags & cython.cast(cython.uchar, flag) != 0

    @property
    def flags(self):
        """The flags set so far, as ``SqeFlags``."""
        self.writable()
        return SqeFlags(self.place.flags)

    @flags.setter
    def flags(self, flags):
        self.set_flags(flags)

    @property
    def link(self):
        """Start the next SQE only when this one succeeded in full (``IOSQE_IO_LINK``)."""
        return self.has_flag(URING_SQE_IO_LINK)

    @link.setter
    def link(self, on):
        self.put_flag(URING_SQE_IO_LINK, on)

    @property
    def hardlink(self):
        """Start the next SQE when this one is done, whatever came of it (``IOSQE_IO_HARDLINK``)."""
        return self.has_flag(URING_SQE_IO_HARDLINK)

    @hardlink.setter
    def hardlink(self, on):
        self.put_flag(URING_SQE_IO_HARDLINK, on)

    @property
    def drain(self):
        """Start when everything submitted before is done (``IOSQE_IO_DRAIN``). Not for a zero-copy send."""
        return self.has_flag(URING_SQE_IO_DRAIN)

    @drain.setter
    def drain(self, on):
        self.put_flag(URING_SQE_IO_DRAIN, on)

    @property
    def always_async(self):
        """Give the request to a kernel worker at once (``IOSQE_ASYNC``): for what is known to block."""
        return self.has_flag(URING_SQE_ASYNC)

    @always_async.setter
    def always_async(self, on):
        self.put_flag(URING_SQE_ASYNC, on)

    @property
    def skip_success(self):
        """Show the completion only when it is an error (``IOSQE_CQE_SKIP_SUCCESS``)."""
        return self.has_flag(URING_SQE_CQE_SKIP_SUCCESS)

    @skip_success.setter
    def skip_success(self, on):
        self.put_flag(URING_SQE_CQE_SKIP_SUCCESS, on)

    @property
    def fixed_file(self):
        """Whether the descriptor is a slot of the ring's file table (``IOSQE_FIXED_FILE``).

        Set by itself when a ``Direct`` is given; set it by hand after a ``prep_*`` call with a plain number.
        """
        return self.has_flag(URING_SQE_FIXED_FILE)

    @fixed_file.setter
    def fixed_file(self, on):
        self.put_flag(URING_SQE_FIXED_FILE, on)
        self.fixed = self.place.flags & URING_SQE_FIXED_FILE

    @property
    def buffer_group(self):
        """The group that the kernel picks a buffer from, or ``None``.

        Setting it corresponds to ``io_uring_sqe_set_buf_group`` together with ``IOSQE_BUFFER_SELECT``; ``None``
        takes both back.
        """
        return self.place.buf_index if self.has_flag(URING_SQE_BUFFER_SELECT) else None

    @buffer_group.setter
    def buffer_group(self, group):
        number: cython.uint = 0 if group is None else integer(group, "buffer_group", 0, 0xFFFF)
        self.writable()
        self.place.buf_index = number
        self.put_flag(URING_SQE_BUFFER_SELECT, group is not None)

    @property
    def buf_index(self):
        """The registered buffer that a ``*_fixed`` operation uses."""
        self.writable()
        return self.place.buf_index

    @buf_index.setter
    def buf_index(self, index):
        number: cython.uint = integer(index, "buf_index", 0, 0xFFFF)
        self.writable()
        self.place.buf_index = number
        self.note_flags()

    @property
    def ioprio(self):
        """I/O priority; for accept, receive and send ``AcceptFlags`` or ``RecvSendFlags``."""
        self.writable()
        return self.place.ioprio

    @ioprio.setter
    def ioprio(self, value):
        number: cython.uint = integer(value, "ioprio", 0, 0xFFFF)
        self.writable()
        self.place.ioprio = number
        if self.opcode == URING_OP_SEND or self.opcode == URING_OP_RECV:
            self.marks &= ~MARK_BUNDLE
            if number & URING_RECVSEND_BUNDLE:
                self.marks |= MARK_BUNDLE

    @property
    def personality(self):
        """The credentials to use: what ``Ring.register_personality`` gave; 0 for the caller's own."""
        self.writable()
        return self.place.personality

    @personality.setter
    def personality(self, value):
        number: cython.uint = integer(value, "personality", 0, 0xFFFF)
        self.writable()
        self.place.personality = number

    def __bytes__(self):
        """The 64 bytes of the entry (128 on a ring with ``SQE128``), as the kernel will read them."""
        table: OpTable
        self.writable()
        table = cython.cast(OpTable, self.table)
        data = cython.cast(cython.p_char, self.place)
        return data[: 64 << table.u.sqe_shift]

    def __repr__(self):
        table: OpTable
        if self.table == cython.NULL:
            state = "completed"
        else:
            table = cython.cast(OpTable, self.table)
            state = "in flight" if self.position < table.u.sq_published else "prepared"
        return f"<Sqe {operation_name(self.opcode)}, {state}, user_data={self.user_data!r}>"
