"""Buffer rings: memory that the kernel picks receive buffers from.

A BufferRing owns one mapping with the ring's entries and all of its buffers. Each buffer is held either by the
kernel (added and visible), by the program (a completion handed it out), or is on its way back (added, not yet
advanced). Adding a buffer that the kernel has is refused: it would be filled twice, or sent in place of another.

The mapping lives as long as the BufferRing, every memoryview of it, and the ring that it is registered with while
requests may still write into it.
"""

import mmap

import cython
from cython.cimports.cpython.buffer import PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.ioring.ring._integers import integer
from cython.cimports.libc.stdlib import calloc, free

from ioring.ring.constants import BUFFER_RING_ENTRIES_MAX
from ioring.ring.errors import RegistrationError


def _power_of_two(value):
    number: cython.longlong = integer(value, "entries", -(1 << 62), 1 << 62)
    if not 1 <= number <= BUFFER_RING_ENTRIES_MAX or number & (number - 1):
        raise ValueError(
            f"entries must be a power of two between 1 and {BUFFER_RING_ENTRIES_MAX}, not {number}; "
            "for more buffers, register a second group"
        )
    return number


class BufferRing:
    """A group of equal buffers that receives and reads take their memory from, and sends their data (kernel 5.19).

    Corresponds to ``io_uring_setup_buf_ring`` and what goes with it. All buffers are given to the kernel at the
    start; register the group with ``Ring.register_buf_ring``, name it in an SQE by ``Sqe.buffer_group``, and give
    every buffer back with ``recycle`` when its bytes were used. For sends (``Sqe.prep_send_bundle``) make it
    ``empty``: fill a ``buffer`` and ``add`` it with its length.

    Parameters:
        entries: number of buffers, a power of two up to 32768. Their ids are 0 to ``entries`` - 1.
        size: bytes in each buffer.
        incremental: let completions consume a buffer bit by bit (``IOU_PBUF_RING_INC``, kernel 6.12); use few
            large buffers then.
        empty: all buffers are the program's at the start, to be filled and added.

    Attributes:
        entries, buffer_size, incremental: as given.
        group: the group id it is registered as, or ``None``.
        available: number of buffers that are with the kernel, or on the way.

    Raises:
        ValueError: a size that is not possible.
        MemoryError: no memory for the buffers.
    """

    def __cinit__(self, entries, size, *, incremental=False, empty=False):
        count: cython.uint = _power_of_two(entries)
        page: cython.size_t = mmap.PAGESIZE
        bid: cython.uint
        length: cython.longlong = integer(size, "size", 1, 0x7FFFFFFF)
        self.entries = count
        self.buffer_size = length
        self.incremental = bool(incremental)
        self.offset = (count * 16 + page - 1) // page * page
        try:
            self.memory = mmap.mmap(-1, self.offset + count * length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError, ValueError) as error:
            raise MemoryError(f"no memory for {count} buffers of {length} bytes") from error
        PyObject_GetBuffer(self.memory, cython.address(self.exported), PyBUF_WRITABLE)
        self.ring = cython.cast(buf_p, self.exported.buf)
        self.buffers = cython.cast(cython.p_char, self.exported.buf) + self.offset
        self.order = cython.cast(cython.pointer(uint16_t), calloc(count, 2))
        self.position = cython.cast(cython.pointer(uint16_t), calloc(count, 2))
        self.holder = cython.cast(cython.pointer(uint8_t), calloc(count, 1))
        self.consumed = cython.cast(cython.pointer(uint32_t), calloc(count, 4))
        self.length = cython.cast(cython.pointer(uint32_t), calloc(count, 4))
        if not (self.order and self.position and self.holder and self.consumed and self.length):
            raise MemoryError
        if not empty:
            for bid in range(count):
                self.holder[bid] = BY_KERNEL
                self.length[bid] = self.buffer_size
            self.available = count

    def __dealloc__(self):
        free(self.order)
        free(self.position)
        free(self.holder)
        free(self.consumed)
        free(self.length)
        if self.exported.buf != cython.NULL:
            PyBuffer_Release(cython.address(self.exported))

    def attach(self, group):
        """Prepares for a registration, after which the kernel reads from the first entry: adds all unused buffers."""
        bid: cython.uint
        if self.group is not None:
            raise RegistrationError(f"the buffer ring is registered already, as group {self.group}")
        self.group = group
        self.tail = self.added = 0
        self.available = 0
        for bid in range(self.entries):
            if self.holder[bid] != BY_PROGRAM:
                self.holder[bid] = BY_PROGRAM
                self.put_part(bid, self.length[bid])
        self.show(self.added)
        return 0

    def detach(self):
        """Notes that the buffer ring is no longer registered."""
        self.group = None

    # Giving buffers to the kernel.

    def put(self, bid):
        """Adds a buffer of the program behind those already added; the kernel does not see it before show()."""
        self.put_part(bid, self.buffer_size)

    def put_part(self, bid, length):
        """The same with the first ``length`` bytes of a buffer."""
        place: cython.uint = (self.tail + self.added) & (self.entries - 1)
        entry: buf_p = self.ring + place
        ioring_assert(bid < self.entries)
        ioring_assert(self.holder[bid] == BY_PROGRAM)
        ioring_assert(self.available < self.entries)
        entry.addr = cython.cast(cython.size_t, self.buffers + cython.cast(cython.size_t, bid) * self.buffer_size)
        entry.len = length
        entry.bid = bid
        self.order[place] = bid
        self.position[bid] = place
        self.holder[bid] = ADDED
        self.consumed[bid] = 0
        self.length[bid] = length
        self.added += 1
        self.available += 1

    def show(self, count):
        """Makes the oldest ``count`` added buffers visible to the kernel."""
        place: cython.uint
        ioring_assert(count <= self.added)
        for place in range(self.tail, self.tail + count):
            ioring_assert(self.holder[self.order[place & (self.entries - 1)]] == ADDED)
            self.holder[self.order[place & (self.entries - 1)]] = BY_KERNEL
        self.added -= count
        self.tail += count
        uring_store_release(cython.address(self.ring[0].resv), self.tail)

    def check_bid(self, bid):
        return integer(bid, "buffer id", 0, self.entries - 1)

    def check_held(self, bid):
        """The id as a number, if the program has the buffer; else ValueError."""
        number: cython.int = self.check_bid(bid)
        if self.holder[number] != BY_PROGRAM:
            raise ValueError(f"buffer {number} is with the kernel: only a buffer that a completion gave can be added")
        return number

    def add(self, bid, length=None):
        """Puts a buffer back behind those already added; the kernel sees it after ``advance``.

        Corresponds to ``io_uring_buf_ring_add``, which is told the place; here the ring counts.

        Parameters:
            length: bytes of it, from its beginning, that are to be sent, or at most received; ``None``: all.

        Raises:
            ValueError: the id is out of range, the buffer is not the program's to give, or it is shorter.
        """
        number: cython.uint = self.check_held(bid)
        count: cython.uint = self.buffer_size
        if length is not None:
            count = integer(length, "length", 1, self.buffer_size)
        if self.group is None:  # it goes into the ring at the next registration
            self.holder[number] = BY_KERNEL
            self.length[number] = count
            self.available += 1
        else:
            self.put_part(number, count)

    def advance(self, count):
        """Makes ``count`` added buffers visible to the kernel, oldest first (``io_uring_buf_ring_advance``).

        Raises:
            ValueError: fewer than ``count`` were added.
        """
        number: cython.longlong = integer(count, "count", 0, BUFFER_RING_ENTRIES_MAX)
        if not 0 <= number <= self.added:
            raise ValueError(f"{number} buffers cannot be made visible: {self.added} were added")
        self.show(number)

    def recycle(self, what):
        """Gives buffers back to the kernel at once: ``add`` and ``advance`` in one.

        Parameters:
            what: a buffer id, or the ``Cqe`` that handed the buffers out (several, when it was a bundle). A buffer
                that the kernel is still filling (``Cqe.buffer_more``) is left alone.

        Raises:
            ValueError: the buffer is not the program's to give, or the completion has none of this group.
        """
        if not isinstance(what, Cqe):
            self.add(what)
        else:
            segments = self.segments_of(what)
            if what.buffer_more:
                segments = segments[: len(segments) - 1]
            for bid, _, _ in segments:
                self.check_held(bid)
            for bid, _, _ in segments:
                self.add(bid)
        self.show(self.added)

    # Taking bytes from the kernel.

    def take(self, bid, res, bundle, more):
        """Notes that the buffers which a completion names are the program's.

        Returns where the bytes lie when that is not the beginning of one buffer, as a list of (id, begin, length): it
        cannot be told later, since recycled buffers overwrite the order of the entries.
        """
        left: cython.uint = res if res > 0 else 0
        place: cython.uint
        begin: cython.uint
        length: cython.uint
        if bid >= self.entries:
            return None
        if not bundle and not self.incremental:
            self.hand_out(bid)
            return None
        segments = []
        place = self.position[bid]
        while True:
            begin = self.consumed[bid]
            ioring_assert(begin <= self.length[bid])
            length = min(left, self.length[bid] - begin)
            segments.append((bid, begin, length))
            left -= length
            if self.incremental:
                self.consumed[bid] = begin + length
            if left == 0 or not bundle:
                break
            self.hand_out(bid)
            place += 1
            bid = self.order[place & (self.entries - 1)]
        if not more:
            self.hand_out(bid)
        return segments

    def hand_out(self, bid):
        """Notes that a buffer is the program's, if it was the kernel's."""
        if self.holder[bid] == BY_KERNEL:
            self.holder[bid] = BY_PROGRAM
            self.available -= 1

    def segments_of(self, cqe):
        """Where the bytes of a completion lie: a list of (id, begin, length)."""
        if cqe is None or cqe.additional is None or cqe.additional.source is not self:
            raise ValueError("the completion has no buffer of this group")
        if cqe.additional.segments is not None:
            return cqe.additional.segments
        return [(cqe.flags >> URING_CQE_BUFFER_SHIFT, 0, max(cqe.number, 0))]

    def views(self, cqe):
        """The bytes of a completion where they lie: a list of memoryviews, one per buffer.

        More than one only for a bundle. The views stay valid for as long as they exist, but their contents change
        once the buffer was recycled.

        Raises:
            ValueError: the completion has no buffer of this group.
        """
        whole = memoryview(self.memory)
        result = []
        for bid, begin, length in self.segments_of(cqe):
            begin += self.offset + bid * self.buffer_size
            result.append(whole[begin : begin + length])
        return result

    def view(self, cqe):
        """The bytes of a completion where they lie, as one memoryview. See ``views``.

        Raises:
            ValueError: the completion has no buffer of this group, or is a bundle of several.
        """
        views = self.views(cqe)
        if len(views) != 1:
            raise ValueError(f"the completion spans {len(views)} buffers: use views() or read()")
        return views[0]

    def read(self, cqe):
        """The bytes of a completion, copied. The buffers stay with the program until ``recycle``.

        Raises:
            ValueError: the completion has no buffer of this group.
        """
        return b"".join(self.views(cqe))

    def buffer(self, bid):
        """The whole memory of one buffer as a memoryview.

        Raises:
            ValueError: the id is out of range.
        """
        begin: cython.size_t = self.offset + cython.cast(cython.size_t, self.check_bid(bid)) * self.buffer_size
        return memoryview(self.memory)[begin : begin + self.buffer_size]

    def __len__(self):
        return self.entries

    def __repr__(self):
        where = "not registered" if self.group is None else f"group {self.group}"
        return f"<BufferRing {self.entries} x {self.buffer_size} bytes, {where}, {self.available} available>"
