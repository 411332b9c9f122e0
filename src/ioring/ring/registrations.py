"""What is registered with a ring: files, buffers, buffer rings and limits (``io_uring_register``).

A registration is made once, not per message, so all of this is plain Python: each method packs the kernel's structure
and makes the system call through the compiled core.
"""

from __future__ import annotations

import array
import errno
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from ioring.ring._buffer_ring import BufferRing
from ioring.ring._core import address_of
from ioring.ring._direct import Direct
from ioring.ring._dispatcher import Driver
from ioring.ring._integers import integer, unsigned64
from ioring.ring.constants import (
    REGISTERED_BUFFERS_MAX,
    BufferRingFlags,
    CancelFlags,
    RegisterOp,
    RestrictionOp,
    SetupFlags,
)
from ioring.ring.errors import RegistrationError, SlotError, os_error
from ioring.ring.unavailable import explain

if TYPE_CHECKING:
    from _typeshed import HasFileno, WriteableBuffer

    from ioring.ring._sqe_base import _Descriptor

    # A descriptor of the process, or what has one: not a slot of the ring's file table.
    _ProcessDescriptor: TypeAlias = int | HasFileno

_SPARSE = 1  # IORING_RSRC_REGISTER_SPARSE
_WORKERS_MIN = 32
"""So many kernel workers for files a loop's ring has at least, as many as Python's executors have threads at most. The
kernel's own limit is 4 for each CPU: too few to keep a disk busy on a machine with few CPUs."""


def descriptor_of(fd: _ProcessDescriptor) -> int:
    if isinstance(fd, int):
        return integer(fd, "a file descriptor", -2, 0x7FFFFFFF)
    try:
        fileno = fd.fileno
    except AttributeError:
        raise TypeError(f"a descriptor is an int or an object with fileno(), not {type(fd).__name__}") from None
    return fileno()


class Registrations(Driver):
    """The ``register_*`` methods of ``Ring``, and those that take a registration back."""

    __slots__ = ()

    def _do(self, op: RegisterOp, argument: WriteableBuffer | None, count: int) -> int:
        """Calls io_uring_register and returns its result. An OSError names the operation."""
        result = self._register(op, argument, count)
        if result < 0:
            raise os_error(result, f"io_uring_register {op.name.lower()}")
        return result

    # The ring itself.

    def enable_rings(self) -> None:
        """Starts a ring made with ``SetupFlags.R_DISABLED`` (``io_uring_enable_rings``); it then is this thread's.

        Raises:
            RegistrationError: the ring is enabled already.
        """
        if not self._flags & SetupFlags.R_DISABLED:
            self.fileno()
            raise RegistrationError("the ring is enabled already")
        self._adopt_disabled()
        try:
            self._do(RegisterOp.ENABLE_RINGS, None, 0)
        except OSError as error:
            # It is enabled already: an interrupt came before that could be noted.
            if error.errno != errno.EBADFD:
                raise
        self._enabled()
        if self._registered_fd < 0:
            self._fd_asked = False
            self._spare_lookups()

    def register_ring_fd(self) -> int:
        """Spares the kernel looking up the ring's descriptor at each call (``io_uring_register_ring_fd``, 5.18).

        The ring does it by itself when it is made, as long as the thread has one of its 16 places free; this call
        makes sure of it. Returns 1, as liburing does.

        Raises:
            RegistrationError: it was called before.
            OSError: EBUSY: the thread has 16 rings registered.
        """
        self._check()
        if self._fd_asked:
            raise RegistrationError("the ring's descriptor is registered already")
        if self._registered_fd < 0:
            self._register_own_fd()
        self._fd_asked = True
        return 1

    def _register_own_fd(self) -> None:
        argument = bytearray(struct.pack("=IIQ", 0xFFFFFFFF, 0, self.fileno()))
        self._do(RegisterOp.RING_FDS, argument, 1)
        self._use_registered_fd(struct.unpack_from("=I", argument)[0])

    def _reopen_here(self) -> None:
        """Makes an idle ring that belongs to another thread this thread's, with everything that is registered.

        The file table has to be empty. If memory is short the ring may be left without buffers, and must be closed.
        """
        slots, views, groups = self._file_slots, self._fixed_buffers, dict(self._buffer_rings)
        self._open_anew()
        self._fd_asked = False
        self._spare_lookups()
        if slots:
            self._file_slots = 0
            self.register_files_sparse(slots)
        for group, buffers in groups.items():
            self._detach_buffers(group, False)
            self.register_buf_ring(buffers, group)
        if views is not None:
            self._fixed_buffers = None
            self.register_buffers(view for view in views if view is not None)

    def _spare_lookups(self) -> None:
        """Registers the descriptor if possible: io_uring_enter then takes 45 ns less (measured on 6.18)."""
        try:
            self._register_own_fd()
        except OSError:
            pass  # an older kernel, or this thread has 16 rings registered: the descriptor works too

    def unregister_ring_fd(self) -> None:
        """Takes ``register_ring_fd`` back (``io_uring_unregister_ring_fd``): each call looks the descriptor up again.

        Raises:
            RegistrationError: it is not registered.
        """
        self._check()
        index = self._registered_fd
        if index < 0:
            raise RegistrationError("the ring's descriptor is not registered")
        self._do(RegisterOp.UNREGISTER_RING_FDS, bytearray(struct.pack("=IIQ", index, 0, 0)), 1)
        self._use_registered_fd(-1)
        self._fd_asked = False

    # The file table.

    def _new_table(self, count: int) -> int:
        count = integer(count, "the number of slots", 1, 1 << 20)
        if self._file_slots:
            raise RegistrationError(f"a file table of {self._file_slots} slots is registered already")
        return count

    def _table_error(self, result: int, count: int) -> OSError:
        if result == -errno.EMFILE:
            return OSError(
                errno.EMFILE,
                f"a file table of {count} slots is more than the limit on open files allows: raise `ulimit -n`",
                "io_uring_register files",
            )
        return os_error(result, "io_uring_register files")

    def register_files_sparse(self, nr: int) -> None:
        """Makes a file table of ``nr`` empty slots (``io_uring_register_files_sparse``, kernel 5.19).

        Raises:
            RegistrationError: there is a table already.
            OSError: EMFILE when ``nr`` is above the limit on open files (``ulimit -n``).
        """
        self._check()
        count = self._new_table(nr)
        result = self._register(RegisterOp.FILES2, bytearray(struct.pack("=IIQQQ", count, _SPARSE, 0, 0, 0)), 32)
        if result < 0:
            raise self._table_error(result, count)
        self._file_slots = count

    def register_files(self, files: Iterable[_ProcessDescriptor]) -> None:
        """Makes a file table of these files (``io_uring_register_files``).

        Parameters:
            files: descriptors or objects with ``fileno()``; -1 for a slot that stays empty. The table has references
                of its own: the descriptors may be closed.
        """
        self._check()
        fds = array.array("i", [descriptor_of(fd) for fd in files])
        count = self._new_table(len(fds))
        result = self._register(RegisterOp.FILES, fds, count)
        if result < 0:
            raise self._table_error(result, count)
        self._file_slots = count

    def register_files_update(self, offset: int, files: Iterable[_ProcessDescriptor]) -> int:
        """Changes slots from ``offset`` on (``io_uring_register_files_update``).

        ``files`` as of ``register_files``; -1 empties a slot, ``FILES_SKIP`` leaves it. Returns the number changed.

        Raises:
            SlotError: slots outside the table.
            RegistrationError: there is no table.
        """
        self._check()
        fds = array.array("i", [descriptor_of(fd) for fd in files])
        self._need_table()
        offset = integer(offset, "offset", 0, 0xFFFFFFFF)
        if offset + len(fds) > self._file_slots:
            raise SlotError(f"slots {offset} to {offset + len(fds) - 1} are outside the table of {self._file_slots}")
        if not fds:
            return 0
        argument = bytearray(struct.pack("=IIQ", offset, 0, fds.buffer_info()[0]))
        return self._do(RegisterOp.FILES_UPDATE, argument, len(fds))

    def _need_table(self) -> None:
        if not self._file_slots:
            raise RegistrationError("there is no file table: call register_files_sparse() or register_files()")

    def register_file_alloc_range(self, off: int, nr: int) -> None:
        """Lets the kernel choose free slots only among ``nr`` from ``off`` on.

        Corresponds to ``io_uring_register_file_alloc_range``; kernel 6.0.

        Raises:
            SlotError: slots outside the table.
            RegistrationError: there is no table.
        """
        self._check()
        self._need_table()
        off = integer(off, "off", 0, 0xFFFFFFFF)
        nr = integer(nr, "nr", 1, 0xFFFFFFFF)
        if off + nr > self._file_slots:
            raise SlotError(f"slots {off} to {off + nr - 1} are outside the table of {self._file_slots}")
        self._do(RegisterOp.FILE_ALLOC_RANGE, bytearray(struct.pack("=IIQ", off, nr, 0)), 0)

    def unregister_files(self) -> None:
        """Gives up the file table and closes what only it held (``io_uring_unregister_files``).

        Raises:
            RegistrationError: there is no table.
        """
        self._check()
        self._need_table()
        self._do(RegisterOp.UNREGISTER_FILES, None, 0)
        self._file_slots = 0

    # Fixed buffers.

    def register_buffers(self, buffers: Iterable[WriteableBuffer]) -> None:
        """Pins buffers for the ``*_fixed`` operations (``io_uring_register_buffers``).

        Parameters:
            buffers: writable buffers, at most 16384 and 1 GiB each. The ring holds them until they are unregistered.

        Raises:
            RegistrationError: buffers are registered already.
            TypeError: a buffer is read-only.
            OSError: ENOMEM above the limit on locked memory (``ulimit -l``).
        """
        self._check()
        views, iovecs = _iovecs(buffers)
        if not 1 <= len(views) <= REGISTERED_BUFFERS_MAX:
            raise ValueError(f"1 to {REGISTERED_BUFFERS_MAX} buffers can be registered, not {len(views)}")
        self._new_buffers()
        self._memlock(self._register(RegisterOp.BUFFERS, iovecs, len(views)), "buffers")
        self._fixed_buffers = views

    def register_buffers_sparse(self, nr: int) -> None:
        """Makes room for ``nr`` registered buffers, to be filled later (``io_uring_register_buffers_sparse``, 5.19)."""
        self._check()
        count = integer(nr, "the number of buffers", 1, REGISTERED_BUFFERS_MAX)
        self._new_buffers()
        self._do(RegisterOp.BUFFERS2, bytearray(struct.pack("=IIQQQ", count, _SPARSE, 0, 0, 0)), 32)
        self._fixed_buffers = [None] * count

    def register_buffers_update(self, offset: int, buffers: Iterable[WriteableBuffer | None]) -> int:
        """Replaces registered buffers from ``offset`` on (``io_uring_register_buffers_update_tag``, kernel 5.13).

        ``None`` empties a place. Returns the number replaced. The ring lets go of the old buffers: requests in
        flight hold theirs themselves.
        """
        self._check()
        if self._fixed_buffers is None:
            raise RegistrationError("no buffers are registered: call register_buffers_sparse()")
        views, iovecs = _iovecs(buffers)
        offset = integer(offset, "offset", 0, 0xFFFFFFFF)
        if offset + len(views) > len(self._fixed_buffers):
            raise ValueError(f"there are {len(self._fixed_buffers)} places, and these end at {offset + len(views)}")
        if not views:
            return 0
        argument = bytearray(struct.pack("=IIQQII", offset, 0, address_of(iovecs), 0, len(views), 0))
        result = self._memlock(self._register(RegisterOp.BUFFERS_UPDATE, argument, 32), "buffers_update")
        self._fixed_buffers[offset : offset + result] = views[:result]
        return result

    def unregister_buffers(self) -> None:
        """Gives up the registered buffers (``io_uring_unregister_buffers``)."""
        self._check()
        if self._fixed_buffers is None:
            raise RegistrationError("no buffers are registered")
        self._do(RegisterOp.UNREGISTER_BUFFERS, None, 0)
        self._fixed_buffers = None

    def _new_buffers(self) -> None:
        if self._fixed_buffers is not None:
            raise RegistrationError(f"{len(self._fixed_buffers)} buffers are registered already")

    def _memlock(self, result: int, what: str) -> int:
        if result == -errno.ENOMEM:
            raise OSError(errno.ENOMEM, explain(errno.ENOMEM), f"io_uring_register {what}")
        if result < 0:
            raise os_error(result, f"io_uring_register {what}")
        return result

    # Buffer rings.

    def register_buf_ring(self, buffers: BufferRing, bgid: int) -> None:
        """Gives the kernel a group of buffers to pick from (``io_uring_register_buf_ring``, kernel 5.19).

        Parameters:
            buffers: a ``BufferRing``; one that is not registered.
            bgid: the group's id, 0 to 65535, for ``Sqe.buffer_group``.

        Raises:
            RegistrationError: the group, or the buffer ring, is registered already.
        """
        self._check()
        if not isinstance(buffers, BufferRing):
            raise TypeError(f"buffers must be an ioring.BufferRing, not {type(buffers).__name__}")
        group = integer(bgid, "bgid", 0, 0xFFFF)
        self._check()
        if group in self._buffer_rings:
            raise RegistrationError(f"group {group} is registered already")
        address = self._attach_buffers(group, buffers)
        flags = BufferRingFlags.INC if buffers.incremental else 0
        argument = bytearray(struct.pack("=QIHHQQQ", address, buffers.entries, group, flags, 0, 0, 0))
        try:
            self._memlock(self._register(RegisterOp.PBUF_RING, argument, 1), "pbuf_ring")
        except BaseException:
            self._detach_buffers(group, False)
            raise

    def setup_buf_ring(
        self, entries: int, size: int, bgid: int, *, incremental: bool = False, empty: bool = False
    ) -> BufferRing:
        """Makes a ``BufferRing`` and registers it (``io_uring_setup_buf_ring``)."""
        buffers = BufferRing(entries, size, incremental=incremental, empty=empty)
        self.register_buf_ring(buffers, bgid)
        return buffers

    def unregister_buf_ring(self, bgid: int) -> None:
        """Takes a group back from the kernel (``io_uring_unregister_buf_ring``). Its ``BufferRing`` stays usable.

        Raises:
            RegistrationError: there is no such group.
        """
        self._check()
        self._need_group(bgid)
        self._do(RegisterOp.UNREGISTER_PBUF_RING, bytearray(struct.pack("=QIHHQQQ", 0, 0, bgid, 0, 0, 0, 0)), 1)
        self._detach_buffers(bgid, True)

    def buf_ring_head(self, bgid: int) -> int:
        """The place from which the kernel takes the group's next buffer (``io_uring_buf_ring_head``, kernel 6.8)."""
        self._check()
        self._need_group(bgid)
        argument = bytearray(struct.pack("=II32x", bgid, 0))
        self._do(RegisterOp.PBUF_STATUS, argument, 1)
        (head,) = struct.unpack_from("=I", argument, 4)
        return int(head)

    def _need_group(self, bgid: int) -> None:
        self._check()
        if bgid not in self._buffer_rings:
            raise RegistrationError(f"no buffer ring is registered as group {bgid!r}")

    # Everything else.

    def register_eventfd(self, fd: _ProcessDescriptor) -> None:
        """Signals an eventfd at each completion (``io_uring_register_eventfd``)."""
        self._check()
        self._eventfd(RegisterOp.EVENTFD, fd)

    def register_eventfd_async(self, fd: _ProcessDescriptor) -> None:
        """The same only for completions that did not happen inside ``submit`` (``io_uring_register_eventfd_async``)."""
        self._check()
        self._eventfd(RegisterOp.EVENTFD_ASYNC, fd)

    def _eventfd(self, op: RegisterOp, fd: _ProcessDescriptor) -> None:
        result = self._register(op, array.array("i", [descriptor_of(fd)]), 1)
        if result == -errno.EBUSY:
            raise RegistrationError("an eventfd is registered already")
        if result < 0:
            raise os_error(result, f"io_uring_register {op.name.lower()}")

    def unregister_eventfd(self) -> None:
        """Ends ``register_eventfd`` (``io_uring_unregister_eventfd``)."""
        self._check()
        result = self._register(RegisterOp.UNREGISTER_EVENTFD, None, 0)
        if result == -errno.ENXIO:
            raise RegistrationError("no eventfd is registered")
        if result < 0:
            raise os_error(result, "io_uring_register unregister_eventfd")

    def register_probe(self) -> set[int]:
        """The numbers of the operations that this kernel has, as a set of ints (``io_uring_get_probe_ring``)."""
        self._check()
        argument = bytearray(16 + 256 * 8)
        self._do(RegisterOp.PROBE, argument, 256)
        count = argument[1]
        entries = (struct.unpack_from("=BBHI", argument, 16 + 8 * place) for place in range(count))
        return {op for op, _, flags, _ in entries if flags & 1}

    def register_personality(self) -> int:
        """Remembers the thread's credentials (``io_uring_register_personality``): an id for ``Sqe.personality``."""
        self._check()
        return self._do(RegisterOp.PERSONALITY, None, 0)

    def unregister_personality(self, personality: int) -> None:
        """Forgets credentials (``io_uring_unregister_personality``)."""
        self._check()
        number = integer(personality, "personality", 1, 0xFFFF)
        result = self._register(RegisterOp.UNREGISTER_PERSONALITY, None, number)
        if result < 0:
            raise RegistrationError(f"no personality {number} is registered")

    def register_restrictions(self, restrictions: Iterable[tuple[RestrictionOp | int, int]]) -> None:
        """Limits for good what a ring can be used for (``io_uring_register_restrictions``, kernel 5.10).

        Only before ``enable_rings``. What is not allowed completes with EACCES.

        Parameters:
            restrictions: pairs of a ``RestrictionOp`` and its ``RegisterOp``, ``Op`` or ``SqeFlags``. Allow
                ``RegisterOp.ENABLE_RINGS``, or the ring cannot be started, and ``Op.ASYNC_CANCEL``, or ``close`` has
                to wait for what is in flight.

        Raises:
            RegistrationError: the ring is enabled already, or has restrictions.
        """
        self._check()
        argument = bytearray()
        for kind, value in restrictions:
            argument += struct.pack("=HBB12x", RestrictionOp(kind), integer(value, "a restriction's value", 0, 255), 0)
        if not argument:
            raise ValueError("which restrictions? An empty list would forbid everything")
        result = self._register(RegisterOp.RESTRICTIONS, argument, len(argument) // 16)
        if result == -errno.EBADFD:
            raise RegistrationError("restrictions come before enable_rings(): make the ring with SetupFlags.R_DISABLED")
        if result == -errno.EBUSY:
            raise RegistrationError("restrictions are registered already")
        if result < 0:
            raise os_error(result, "io_uring_register restrictions")

    def register_iowq_aff(self, cpus: Iterable[int]) -> None:
        """Binds the ring's kernel workers to processors, an iterable of ints (``io_uring_register_iowq_aff``, 5.14)."""
        self._check()
        numbers = [integer(cpu, "a processor", 0, 8191) for cpu in cpus]
        if not numbers:
            raise ValueError("which processors?")
        mask = bytearray((max(numbers) // 64 + 1) * 8)
        for number in numbers:
            mask[number // 8] |= 1 << number % 8
        self._do(RegisterOp.IOWQ_AFF, mask, len(mask))

    def unregister_iowq_aff(self) -> None:
        """Ends ``register_iowq_aff`` (``io_uring_unregister_iowq_aff``)."""
        self._check()
        self._do(RegisterOp.UNREGISTER_IOWQ_AFF, None, 0)

    def register_iowq_max_workers(self, bounded: int = 0, unbounded: int = 0) -> tuple[int, int]:
        """Limits the kernel workers (``io_uring_register_iowq_max_workers``, kernel 5.15).

        Parameters:
            bounded: for regular files and block devices. 0: as it is.
            unbounded: for everything else. 0: as it is.

        Workers belong to a thread: the limits hold for all of its rings, and workers that are already there stay
        until they have been idle for five seconds.

        Returns the limits before, as a pair.
        """
        self._check()
        values = array.array(
            "I", [integer(bounded, "bounded", 0, 0xFFFFFFFF), integer(unbounded, "unbounded", 0, 0xFFFFFFFF)]
        )
        self._do(RegisterOp.IOWQ_MAX_WORKERS, values, 2)
        return values[0], values[1]

    def _ensure_workers(self) -> None:
        """Raises the limit on kernel workers for files to _WORKERS_MIN, if the kernel allows it.

        Workers belong to the thread, and the size of its first ring set the limit for all of its rings: if that had a
        single entry, requests that wait for a disk would be done one after the other.
        """
        try:
            allowed, _ = self.register_iowq_max_workers(0, 0)
            if allowed < _WORKERS_MIN:
                self.register_iowq_max_workers(_WORKERS_MIN, 0)
        except OSError:
            pass

    def register_napi(self, busy_poll_to: int, *, prefer_busy_poll: bool = False) -> tuple[int, bool]:
        """Polls network devices for so many microseconds before sleeping (``io_uring_register_napi``, kernel 6.9).

        Returns the settings before: (microseconds, preference).
        """
        self._check()
        time = integer(busy_poll_to, "busy_poll_to", 0, 0xFFFFFFFF)
        argument = bytearray(struct.pack("=IB3xQ", time, bool(prefer_busy_poll), 0))
        self._do(RegisterOp.NAPI, argument, 1)
        before, preference = struct.unpack_from("=IB", argument)
        return before, bool(preference)

    def unregister_napi(self) -> tuple[int, bool]:
        """Ends ``register_napi`` (``io_uring_unregister_napi``). Returns the settings before."""
        self._check()
        argument = bytearray(16)
        self._do(RegisterOp.UNREGISTER_NAPI, argument, 1)
        before, preference = struct.unpack_from("=IB", argument)
        return before, bool(preference)

    def register_clock(self, clockid: int) -> None:
        """Chooses the clock for waiting (``io_uring_register_clock``, 6.12): monotonic or boottime of ``time``."""
        self._check()
        number = integer(clockid, "clockid", 0, 0x7FFFFFFF)
        self._do(RegisterOp.CLOCK, bytearray(struct.pack("=I12x", number)), 0)

    def register_sync_cancel(
        self,
        target: object = None,
        *,
        fd: _Descriptor = -1,
        flags: int = CancelFlags(0),
        op: int = 0,
        timeout: float | None = None,
    ) -> int:
        """Cancels requests and waits until they are stopped (``io_uring_register_sync_cancel``, kernel 6.0).

        Parameters:
            target: the request's ``Sqe``, or its ``token``.
            fd: with ``CancelFlags.FD``: the descriptor, or a ``Direct``.
            flags: ``CancelFlags``.
            op: with ``CancelFlags.OP`` (kernel 6.6): the ``Op``.
            timeout: seconds; ``None``: without limit.

        Returns the number of requests cancelled with ``CancelFlags.ALL``, else 0. Their completions are yet to be
        reaped.

        Raises:
            FileNotFoundError: nothing matches (ENOENT).
            TimeoutError: not stopped in time.
        """
        self._check()
        flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        if isinstance(fd, Direct):
            flags |= CancelFlags.FD_FIXED
            fd = fd.slot
        else:
            fd = descriptor_of(fd)
        seconds = nanoseconds = -1
        if timeout is not None:
            if not 0 <= timeout <= 2**31:
                raise ValueError(f"timeout must be between 0 and 2147483648 seconds, not {timeout}")
            seconds, nanoseconds = divmod(int(timeout * 1e9), 10**9)
        token = 0
        if isinstance(target, int):
            token = unsigned64(target, "target")
        elif target is not None:
            token = self._token_of(target)
        op = integer(op, "op", 0, 255)
        argument = bytearray(struct.pack("=QiIqqB7x24x", token, fd, flags, seconds, nanoseconds, op))
        result = self._register(RegisterOp.SYNC_CANCEL, argument, 1)
        if result == -errno.ETIME:
            raise TimeoutError(errno.ETIMEDOUT, "the requests did not stop in time")
        if result < 0:
            raise os_error(result, "io_uring_register sync_cancel")
        return result


def _iovecs(buffers: Iterable[WriteableBuffer | None]) -> tuple[list[memoryview | None], bytearray]:
    """Views of writable buffers, and the array of iovecs over them."""
    views: list[memoryview | None] = []
    iovecs = bytearray()
    for index, buffer in enumerate(buffers):
        view = memoryview(bytearray(0)) if buffer is None else memoryview(buffer)
        if view.readonly:
            raise TypeError(f"buffer {index} must be writable: the kernel may write into it")
        if not view.c_contiguous:
            raise TypeError(f"buffer {index} must be contiguous")
        view = view.cast("B")
        if len(view) > 1 << 30:
            raise ValueError(f"a registered buffer has at most 1 GiB; buffer {index} has {len(view)} bytes")
        views.append(view)
        iovecs += struct.pack("=QQ", address_of(view), len(view))
    return views, iovecs
