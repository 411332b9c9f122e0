"""Files past the page cache (O_DIRECT): what is read and written goes through memory that is aligned.

The kernel wants offsets, sizes and addresses that are multiples of the block size. A read that does not begin or end at
a block is made larger, and what is too much is cut off. A write that does not is refused: it would have to know the
other bytes of the block.

Each engine has a pool of slots: one piece of memory, registered with the ring, so that the kernel need not look up its
pages for each request. A request borrows a slot until its end. When no slot is free, or a slot is too small, it gets
memory of its own.
"""

import mmap
import weakref

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.libc.string import memcpy
from cython.cimports.posix.unistd import SEEK_CUR, SEEK_SET, lseek

from ioring.files._memory import flat
from ioring.files._requests import read_into

BLOCK = cython.declare(cython.size_t, 4096)
SECTOR = cython.declare(cython.size_t, 512)
SLOT = cython.declare(cython.size_t, 16384)
SLOTS = cython.declare(cython.int, 64)

QUARTER = cython.declare(cython.size_t, UNSENT_MAX // 4 + 1)
"""How many unsent bytes a request counts for. With four requests the loop submits before its turn is over, so that the
disk has something to do meanwhile."""

pools = weakref.WeakKeyDictionary()


class Pool:
    """Aligned memory of one engine."""

    def __init__(self, core):
        self.memory = mmap.mmap(-1, SLOT * SLOTS)
        PyObject_GetBuffer(self.memory, cython.address(self.view), PyBUF_WRITABLE)
        self.held = True
        self.base = cython.cast(cython.p_char, self.view.buf)
        self.free = list(range(SLOTS))
        ring = core._ring
        if ring is not None:
            try:
                ring.register_buffers([self.memory])
                self.registered = True
            except OSError:
                pass  # not enough memory may be locked: it works without, slower

    def lend(self, size):
        """A slot for so many bytes, or -1 when none is free, or large enough."""
        return self.free.pop() if size <= SLOT and self.free else -1

    def take_back(self, slot):
        """A slot is not used any more."""
        self.free.append(slot)
        return 0

    def address(self, slot):
        """Where a slot's memory begins."""
        return self.base + cython.cast(cython.size_t, slot) * SLOT

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(cython.address(self.view))


class Bounced(Transfer):
    """A request through aligned memory."""

    def aim(self, file, offset, size):
        """Says what is to be transferred: so many bytes of a file, at an offset; both are at whole blocks."""
        self.core = file.core
        self.path = file.name
        self.fd = file.fd
        self.pool = file.find_pool()
        self.offset = offset
        self.size = size
        return 0

    def borrow(self, size):
        """Gets memory for so many bytes."""
        buffer: Py_buffer
        self.slot = self.pool.lend(size)
        if self.slot >= 0:
            self.memory = self.pool.address(self.slot)
        else:
            self.own = mmap.mmap(-1, size)
            PyObject_GetBuffer(self.own, cython.address(buffer), PyBUF_SIMPLE)
            self.memory = cython.cast(cython.p_char, buffer.buf)  # which stays as long as `own`
            PyBuffer_Release(cython.address(buffer))
        return 0

    def start(self):
        if self.memory == cython.NULL:
            self.borrow(self.size or 1)
            self.load()
        self.core.unsent += QUARTER
        try:
            return Transfer.start(self)
        except BaseException:
            self.give_back()
            raise

    def load(self):
        """Called when the request has its memory."""
        return 0

    def error(self):
        self.give_back()
        return Transfer.error(self)

    def give_back(self):
        if self.slot >= 0:
            self.pool.take_back(self.slot)
            self.slot = -1
        self.own = None
        return 0

    def fill(self, sqe):
        Transfer.fill(self, sqe)
        if self.slot >= 0 and self.pool.registered:
            sqe.buf_index = 0
            sqe.opcode = URING_OP_READ_FIXED
        return 0

    def more(self, res):
        # A result that is not a multiple of the block size means the end of the file.
        return Transfer.more(self, res) and self.done % SECTOR == 0

    def drop(self):
        return self.give_back()


class DirectRead(Bounced):
    """Bytes of a file, into an object of their own or a buffer."""

    def cover(self, file, offset, size):
        """Says what is to be read. More is read than that, to whole blocks."""
        self.skip = cython.cast(cython.size_t, offset) % BLOCK
        self.want = size
        return self.aim(file, offset - self.skip, (self.skip + size + BLOCK - 1) // BLOCK * BLOCK)

    def fill_buffer(self, buffer):
        """The bytes go into a writable buffer, and the result is how many."""
        self.target = flat(buffer, True)
        return 0

    def fill(self, sqe):
        sqe.opcode = URING_OP_READ
        return Bounced.fill(self, sqe)

    def outcome(self):
        size: cython.size_t = 0
        if self.done > self.skip:
            size = min(self.done - self.skip, self.want)
        if self.target is None:
            value = PyBytes_FromStringAndSize(self.memory + self.skip, size)
        else:
            value = size
            self.target[:size] = memoryview(PyBytes_FromStringAndSize(self.memory + self.skip, size))
        self.give_back()
        return value


class DirectWrite(Bounced):
    """Bytes into a file."""

    def carry(self, file, offset, data):
        """Says what is to be written: all of ``data``, which is at whole blocks."""
        self.source = flat(data, False)
        return self.aim(file, offset, len(self.source))

    def load(self):
        view: Py_buffer
        PyObject_GetBuffer(self.source, cython.address(view), PyBUF_SIMPLE)
        memcpy(self.memory, view.buf, view.len)
        PyBuffer_Release(cython.address(view))
        self.source = None
        return 0

    def fill(self, sqe):
        sqe.opcode = URING_OP_WRITE
        Bounced.fill(self, sqe)
        if sqe.opcode == URING_OP_READ_FIXED:
            sqe.opcode = URING_OP_WRITE_FIXED
        return 0

    def writes(self):
        return True

    def outcome(self):
        self.give_back()
        return self.result

    def cancellable(self):
        return False


class DirectFile(RawFile):
    """A binary file past the page cache: ``ioring.open(path, "rb", direct=True)``.

    Reads may have any offset and size; they cost least at whole blocks of 4096 bytes. Writes have to be at whole
    blocks of 512 bytes, or of the block size of the storage if that is larger.
    """

    def find_pool(self):
        if self.pool is None or self.pool_of is not self.core:
            pool = pools.get(self.core)
            if pool is None:
                pool = Pool(self.core)
                pools[self.core] = pool
            self.pool = pool
            self.pool_of = self.core
        return self.pool

    def direct_read(self, offset, size):
        it: DirectRead = DirectRead.__new__(DirectRead)
        it.cover(self, offset, size)
        return it

    def direct_write(self, offset, data):
        it: DirectWrite
        view: Py_buffer
        PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
        try:
            if cython.cast(cython.size_t, offset) % SECTOR or cython.cast(cython.size_t, view.len) % SECTOR:
                raise ValueError(
                    f"a direct write has to be at whole blocks of {SECTOR} bytes, not {view.len} bytes at {offset}"
                )
            if cython.cast(cython.size_t, view.buf) % BLOCK == 0 and view.len:
                return new_write(self.core, self.name, self.fd, offset, data)
            it = DirectWrite.__new__(DirectWrite)
            it.carry(self, offset, data)
            return it
        finally:
            PyBuffer_Release(cython.address(view))

    # Methods of File. Every request has an offset, also when the position is the descriptor's own.

    def place(self):
        if self.can_seek and not self.tracked:
            self.position = lseek(self.fd, 0, SEEK_CUR)
        return self.position

    def advanced(self, count):
        self.position += count
        if self.can_seek and not self.tracked:
            lseek(self.fd, self.position, SEEK_SET)
        return 0

    def fetch(self, size, partial):
        return own(self, self.direct_read(self.place(), size))

    def fetch_part(self, offset, data, start, size):
        return None  # memory for these has to begin at whole blocks

    def push(self, data):
        op: FileOp = own(self, self.direct_write(self.place(), data))
        if isinstance(op, Write):
            cython.cast(Write, op).keep_going = True
        return op

    def caught_up(self, op, res):
        if isinstance(op, DirectWrite) and res > 0:
            self.wrote(res)
        return RawFile.caught_up(self, op, res)

    def read_at(self, offset, size):
        """Reads up to ``size`` bytes at an offset, whatever the position; many may run at once (``os.pread``)."""
        place: int64_t = whole(offset, "offset")
        count: int64_t = whole(size, "size")
        self.check_readable()
        if place < 0 or count < 0:
            raise ValueError("offset and size must not be negative")
        return lend(self, self.direct_read(place, count))

    def readinto_at(self, offset, buffer):
        """Reads at an offset into a writable buffer; how many bytes. Nothing is copied if it is at whole blocks."""
        op: DirectRead
        address: Py_buffer
        place: int64_t = whole(offset, "offset")
        self.check_readable()
        if place < 0:
            raise ValueError("offset must not be negative")
        take_writable(buffer, cython.address(address))
        size: cython.size_t = address.len
        aligned = (cython.cast(cython.size_t, address.buf) | cython.cast(cython.size_t, place) | size) % BLOCK == 0
        PyBuffer_Release(cython.address(address))
        if aligned and size:
            return lend(self, read_into(self.core, self.name, self.fd, place, buffer, False, True))
        op = self.direct_read(place, size)
        op.fill_buffer(buffer)
        return lend(self, op)

    def write_at(self, offset, data):
        """Writes all of ``data`` at an offset; how many bytes (``os.pwrite``).

        Raises:
            ValueError: it is not at whole blocks.
        """
        place: int64_t = whole(offset, "offset")
        self.check_writable()
        if place < 0:
            raise ValueError("offset must not be negative")
        return lend(self, self.direct_write(place, data))

    async def readv_at(self, offset, buffers):
        """Reads at an offset into several buffers, one after the other; how many bytes."""
        views = [flat(buffer, True) for buffer in buffers]
        data = await self.read_at(offset, sum([len(view) for view in views]))
        place = 0
        for view in views:
            piece = data[place : place + len(view)]
            view[: len(piece)] = piece
            place += len(piece)
        return len(data)

    async def writev_at(self, offset, buffers):
        """Writes several buffers at an offset; how many bytes."""
        return await self.write_at(offset, b"".join(buffers))
