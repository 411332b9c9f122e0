"""The submission queue entry: polls, time-outs, cancellation, messages between rings, and everything else."""

import struct

import cython
from cython.cimports.ioring.ring._direct import Direct
from cython.cimports.ioring.ring.member import ioring_own_method
from cython.cimports.libc.string import memcpy

from ioring.ring.constants import FILE_INDEX_ALLOC, FutexFlags


def _message_data(data):
    value = unsigned64(data, "data")
    if value & TOKEN_BIT:
        raise ValueError("data must be below 2**63: the other half of the numbers marks a ring's own requests")
    return value


class Sqe(SocketSqe):
    """One request, from ``Ring.get_sqe`` to its submission (``struct io_uring_sqe``).

    Call one ``prep_*`` method, then set what the request needs besides: ``user_data``, ``flags``, ``buffer_group``.
    An SQE that nothing was called on is a NOP. The methods are named after liburing's ``io_uring_prep_*``, with the
    arguments in the same order, except that a pointer and its length are one object.

    What is handed to a ``prep_*`` method (buffers, addresses, paths, sockets) is held by the ring until the final
    completion. A writable buffer is locked meanwhile: resizing a ``bytearray`` raises ``BufferError``.

    All ``prep_*`` methods raise ``SqeSubmitted`` once the SQE was submitted, ``WrongThread``, ``ForkedRing`` or
    ``RingClosed`` where the ring would, and ``TypeError`` or ``ValueError`` for an argument that cannot be right.
    After such an error the SQE is a NOP.

    Attributes:
        user_data: any object; comes back with every ``Cqe`` of the request. ``None`` by default.
        token: the 64 bits that stand for the request in the kernel.
    """

    def completed(self, table, res, flags):
        target: Op
        if res < 0:
            return 0
        if self.opcode == URING_OP_PROVIDE_BUFFERS:
            group, first, count, view = self.provided
            for number in range(first, first + count):
                table.provided.setdefault((group, number & 0xFFFF), []).append(view)
        elif self.opcode == URING_OP_REMOVE_BUFFERS:
            # Which were removed is not known, unless it was all.
            known = [key for key in table.provided if key[0] == self.provided[0]]
            if sum(len(table.provided[key]) for key in known) == res:
                for key in known:
                    del table.provided[key]
        elif self.rewritten is not None:
            target, user_data = self.rewritten
            target.user_data = user_data
        return 0

    def release(self):
        self.rewritten = None
        self.provided = None
        SocketSqe.release(self)

    def prep_nop(self):
        """Does nothing (``io_uring_prep_nop``)."""
        if self.fresh:
            self.writable()
        else:
            self.begin()
        self.place.fd = -1

    def prep_nop_result(self, result):
        """Does nothing and completes with ``result`` (a NOP with ``IORING_NOP_INJECT_RESULT``, kernel 6.10).

        For tests: a negative errno stands for a failure that is hard to bring about.
        """
        turn: cython.uint = self.begin()
        self.sqe.fd = -1
        self.sqe.len = cython.cast(cython.uint, integer(result, "result", -0x80000000, 0x7FFFFFFF))
        self.sqe.op_flags = 1
        self.end(URING_OP_NOP, turn)

    # Polls.

    def put_poll(self, fd, poll_mask, multishot):
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.op_flags = integer(poll_mask, "poll_mask", 0, 0xFFFFFFFF)
        if multishot:
            self.sqe.len = URING_POLL_ADD_MULTI
        return self.end(URING_OP_POLL_ADD, turn)

    def prep_poll_add(self, fd, poll_mask):
        """Waits until a descriptor is ready (``io_uring_prep_poll_add``). The result is the ready ``select.POLL*``."""
        self.put_poll(fd, poll_mask, False)

    def prep_poll_multishot(self, fd, poll_mask):
        """The same at each new event (``io_uring_prep_poll_multishot``, kernel 5.13): edges, not levels."""
        self.put_poll(fd, poll_mask, True)

    def put_target(self, opcode, target, flags):
        turn: cython.uint = self.begin()
        self.sqe.fd = -1
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.sqe.addr = self.owner().token_of(target)
        return self.end(opcode, turn)

    def prep_poll_remove(self, target):
        """Ends a poll (``io_uring_prep_poll_remove``). ``target`` as of ``prep_cancel``."""
        self.put_target(URING_OP_POLL_REMOVE, target, 0)

    def prep_poll_update(self, target, new_user_data, poll_mask, flags):
        """Changes a poll (``io_uring_prep_poll_update``, kernel 5.13).

        Parameters:
            target: the poll, as of ``prep_cancel``.
            new_user_data: with ``PollFlags.UPDATE_USER_DATA``: the object that it carries from then on.
            poll_mask: with ``PollFlags.UPDATE_EVENTS``: what to wait for.
            flags: ``PollFlags``.
        """
        turn: cython.uint = self.begin()
        number: cython.uint = integer(flags, "flags", 0, 0xFFFFFFFF)
        op: Op
        self.rewritten = None
        self.sqe.fd = -1
        self.sqe.len = number
        self.sqe.op_flags = integer(poll_mask, "poll_mask", 0, 0xFFFFFFFF)
        self.sqe.addr = self.owner().token_of(target)
        if number & URING_POLL_UPDATE_USER_DATA:
            # The kernel's number for the request stays; what it stands for is changed when the kernel agrees.
            self.sqe.off = self.sqe.addr
            op = self.owner().find(self.sqe.addr)
            self.rewritten = None if op is None else (op, new_user_data)
        self.end(URING_OP_POLL_REMOVE, turn)
        if self.rewritten is not None:
            self.marks |= MARK_HOOK | MARK_HELD

    # Time.

    def prep_timeout(self, seconds, count=0, flags=0):
        """Completes after a time (``io_uring_prep_timeout``), with ETIME, or 0 when ``count`` came first.

        Parameters:
            seconds: int or float; with ``TimeoutFlags.ABS`` a point on the clock, ``time.monotonic`` by default.
            count: complete as soon as so many other requests have; 0: none.
            flags: ``TimeoutFlags``.
        """
        turn: cython.uint = self.begin()
        self.sqe.fd = -1
        self.sqe.addr = self.duration(seconds)
        self.sqe.len = 1
        self.sqe.off = integer(count, "count", 0, 0xFFFFFFFF)
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.end(URING_OP_TIMEOUT, turn)

    def prep_timeout_remove(self, target, flags=0):
        """Ends a time-out early (``io_uring_prep_timeout_remove``). ``target`` as of ``prep_cancel``."""
        self.put_target(URING_OP_TIMEOUT_REMOVE, target, flags)

    def prep_timeout_update(self, seconds, target, flags=0):
        """Gives a time-out another time (``io_uring_prep_timeout_update``, kernel 5.11)."""
        turn: cython.uint = self.begin()
        self.sqe.fd = -1
        self.sqe.off = self.duration(seconds)
        self.sqe.addr = self.owner().token_of(target)
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF) | URING_TIMEOUT_UPDATE
        self.end(URING_OP_TIMEOUT_REMOVE, turn)

    def prep_link_timeout(self, seconds, flags=0):
        """Cancels the request linked before it after a time (``io_uring_prep_link_timeout``)."""
        turn: cython.uint = self.begin()
        self.sqe.fd = -1
        self.sqe.addr = self.duration(seconds)
        self.sqe.len = 1
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.end(URING_OP_LINK_TIMEOUT, turn)

    # Cancelling.

    def prep_cancel(self, target, flags=0):
        """Cancels a request (``io_uring_prep_cancel``).

        Parameters:
            target: the ``Sqe`` of the request, or its ``user_data``. Not used with ``CancelFlags.ANY``: ``None``.
            flags: ``CancelFlags``.

        The result is 0, or the number of requests with ``CancelFlags.ALL`` or ``ANY``; ENOENT when there is none,
        EALREADY when it can no longer be stopped. What was cancelled completes with ECANCELED: it is not done, and its
        memory not free, before.

        Raises:
            ValueError: several requests in flight carry this ``user_data``.
        """
        number = integer(flags, "flags", 0, 0xFFFFFFFF)
        if number & URING_CANCEL_ANY:
            self.prep_cancel64(0, flags)
        else:
            self.put_target(URING_OP_ASYNC_CANCEL, target, flags)

    def prep_cancel64(self, token, flags=0):
        """The same by number (``io_uring_prep_cancel64``): ``Sqe.token``."""
        turn: cython.uint = self.begin()
        self.sqe.fd = -1
        self.sqe.addr = unsigned64(token, "token")
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.end(URING_OP_ASYNC_CANCEL, turn)

    def prep_cancel_fd(self, fd, flags=0):
        """Cancels a request on a descriptor (``io_uring_prep_cancel_fd``, kernel 5.19); all with ``CancelFlags.ALL``.

        A ``Direct`` adds ``CancelFlags.FD_FIXED`` by itself.
        """
        turn: cython.uint = self.begin()
        number: cython.uint = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.sqe.fd = self.descriptor(fd)
        if self.fixed:
            self.fixed = 0
            number |= URING_CANCEL_FD_FIXED
        self.sqe.op_flags = number | URING_CANCEL_FD
        self.end(URING_OP_ASYNC_CANCEL, turn)

    def prep_cancel_op(self, op, flags=0):
        """Cancels a request by its operation (``CancelFlags.OP``, kernel 6.6); ``op`` is an ``Op``."""
        turn: cython.uint = self.begin()
        self.sqe.fd = -1
        self.sqe.len = integer(op, "op", 0, 255)
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF) | URING_CANCEL_OP
        self.end(URING_OP_ASYNC_CANCEL, turn)

    # Buffers of a group, given one request at a time.

    def prep_provide_buffers(self, buf, nbytes, nr, bgid, bid=0):
        """Gives memory to a group (``io_uring_prep_provide_buffers``). ``BufferRing`` is faster.

        Parameters:
            buf: a writable buffer of at least ``nr * nbytes`` bytes. The ring keeps it until completions have handed
                out all of its buffers, or the ring is closed.
            nbytes: bytes in each buffer.
            nr: number of buffers, up to 65536.
            bgid: the group.
            bid: the first buffer's id.
        """
        turn: cython.uint = self.begin()
        length: cython.uint = integer(nbytes, "nbytes", 1, 0x7FFFFFFF)
        count: cython.uint = integer(nr, "nr", 1, 65536)
        self.sqe.fd = count
        self.sqe.len = length
        self.sqe.off = integer(bid, "bid", 0, 65535)
        self.sqe.buf_index = integer(bgid, "bgid", 0, 65535)
        self.sqe.addr = self.sized(buf, cython.cast(cython.Py_ssize_t, length) * count, True, "buf")
        view = self.kept[len(self.kept) - 1]
        self.end(URING_OP_PROVIDE_BUFFERS, turn)
        self.provided = (self.sqe.buf_index, self.sqe.off, count, view)
        self.marks |= MARK_HOOK

    def prep_remove_buffers(self, nr, bgid):
        """Takes buffers back from a group (``io_uring_prep_remove_buffers``). The result is how many."""
        turn: cython.uint = self.begin()
        self.sqe.fd = integer(nr, "nr", 1, 65536)
        self.sqe.buf_index = integer(bgid, "bgid", 0, 65535)
        self.end(URING_OP_REMOVE_BUFFERS, turn)
        self.provided = (self.sqe.buf_index,)
        self.marks |= MARK_HOOK | MARK_HELD

    # epoll.

    def prep_epoll_ctl(self, epfd, fd, op, events=0, data=0):
        """Changes an epoll set (``io_uring_prep_epoll_ctl``).

        ``op`` is 1, 2 or 3 (add, delete, change), ``events`` is ``select.EPOLL*``; ``data`` comes back in
        ``EpollEvents``.
        """
        turn: cython.uint = self.begin()
        event: bytes = struct.pack("=IQ", integer(events, "events", 0, 0xFFFFFFFF), unsigned64(data, "data"))
        self.sqe.fd = self.descriptor(epfd)
        fixed: cython.uchar = self.fixed
        if self.target is not None:
            self.keep(self.target)
        self.sqe.off = self.descriptor(fd)
        self.fixed = fixed
        self.sqe.len = integer(op, "op", 1, 3)
        self.sqe.addr = self.sized(event, 12, False, "event")
        self.end(URING_OP_EPOLL_CTL, turn)

    def prep_epoll_wait(self, fd, events, maxevents=None, flags=0):
        """Waits on an epoll set (``io_uring_prep_epoll_wait``, kernel 6.15).

        ``events`` is an ``EpollEvents`` or another writable buffer of 12 bytes per event. The result is how many.
        """
        turn: cython.uint = self.begin()
        count = memoryview(events).nbytes // 12 if maxevents is None else maxevents
        self.sqe.fd = self.descriptor(fd)
        self.sqe.len = integer(count, "maxevents", 1, 0x7FFFFFFF // 12)
        self.sqe.addr = self.sized(events, cython.cast(cython.Py_ssize_t, self.sqe.len) * 12, True, "events")
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.end(URING_OP_EPOLL_WAIT, turn)

    # Messages between rings.

    def put_message_to(self, fd, nbytes, data, flags, cqe_flags):
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.len = cython.cast(cython.uint, integer(nbytes, "nbytes", -0x80000000, 0xFFFFFFFF))
        self.sqe.off = _message_data(data)
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        if cqe_flags is not None:
            self.sqe.file_index = integer(cqe_flags, "cqe_flags", 0, 0xFFFFFFFF)
            self.sqe.op_flags |= URING_MSG_RING_FLAGS_PASS
        return self.end(URING_OP_MSG_RING, turn)

    def prep_msg_ring(self, fd, nbytes, data, flags=0):
        """Puts a completion into another ring (``io_uring_prep_msg_ring``, kernel 5.18).

        Parameters:
            fd: the other ``Ring``, or its descriptor.
            nbytes: what the completion has as ``res``.
            data: what it has as ``user_data``: an int below 2**63.
            flags: ``MsgRingFlags``.
        """
        self.put_message_to(fd, nbytes, data, flags, None)

    def prep_msg_ring_cqe_flags(self, fd, nbytes, data, flags=0, cqe_flags=0):
        """The same with ``flags`` for the completion (``io_uring_prep_msg_ring_cqe_flags``, kernel 6.3)."""
        self.put_message_to(fd, nbytes, data, flags, cqe_flags)

    def prep_msg_ring_fd(self, fd, source_fd, target_fd, data, flags=0):
        """Copies a direct descriptor into another ring's table (``io_uring_prep_msg_ring_fd``, kernel 6.0).

        Parameters:
            fd: the other ``Ring``, or its descriptor.
            source_fd: the slot here, or a ``Direct``.
            target_fd: the slot there, or ``FILE_INDEX_ALLOC``; then the result is the slot.
            data: ``user_data`` of the completion there; ``MsgRingFlags.CQE_SKIP`` in ``flags`` for none.
        """
        turn: cython.uint = self.begin()
        slot: int64_t = (
            target_fd.slot if isinstance(target_fd, Direct) else integer(target_fd, "target_fd", 0, FILE_INDEX_ALLOC)
        )
        self.sqe.addr3 = self.descriptor(source_fd if isinstance(source_fd, Direct) else Direct(source_fd))
        self.fixed = 0
        self.sqe.fd = self.descriptor(fd)
        self.sqe.addr = URING_MSG_SEND_FD
        self.sqe.off = _message_data(data)
        self.sqe.file_index = URING_FILE_INDEX_ALLOC if slot == FILE_INDEX_ALLOC else slot + 1
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.end(URING_OP_MSG_RING, turn)

    def prep_msg_ring_fd_alloc(self, fd, source_fd, data, flags=0):
        """The same into a free slot (``io_uring_prep_msg_ring_fd_alloc``)."""
        self.prep_msg_ring_fd(fd, source_fd, FILE_INDEX_ALLOC, data, flags)

    # Futexes: memory that several threads or processes wait on.

    def put_futex(self, opcode, futex, val, mask, futex_flags, flags):
        turn: cython.uint = self.begin()
        self.sqe.fd = integer(futex_flags, "futex_flags", 0, 0x7FFFFFFF)
        self.sqe.addr = self.sized(futex, 4, True, "futex")
        if self.sqe.addr % 4:
            raise ValueError("a futex stands at an address that is a multiple of 4")
        self.sqe.off = unsigned64(val, "val")
        self.sqe.addr3 = unsigned64(mask, "mask")
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        return self.end(opcode, turn)

    def prep_futex_wait(self, futex, val, mask=0xFFFFFFFF, futex_flags=2, flags=0):
        """Waits until the futex is woken, while it holds ``val`` (``io_uring_prep_futex_wait``, kernel 6.7).

        ``futex`` is a writable buffer of 4 bytes at an aligned address (``array``, ``mmap``, ``ctypes``).
        """
        self.put_futex(URING_OP_FUTEX_WAIT, futex, val, mask, futex_flags, flags)

    def prep_futex_wake(self, futex, val, mask=0xFFFFFFFF, futex_flags=2, flags=0):
        """Wakes up to ``val`` waiters (``io_uring_prep_futex_wake``, kernel 6.7). The result is how many."""
        self.put_futex(URING_OP_FUTEX_WAKE, futex, val, mask, futex_flags, flags)

    def prep_futex_waitv(self, futexes, flags=0):
        """Waits on several futexes at once (``io_uring_prep_futex_waitv``, kernel 6.7).

        ``futexes`` is a sequence of (buffer, val) or (buffer, val, ``FutexFlags``), up to 128. The result is the index
        of the one that was woken.
        """
        turn: cython.uint = self.begin()
        vector = bytearray()
        for futex, val, *rest in futexes:
            where: uint64_t = self.sized(futex, 4, True, "futex")
            if where % 4:
                raise ValueError("a futex stands at an address that is a multiple of 4")
            width = integer(rest[0] if rest else FutexFlags.SIZE_U32, "futex_flags", 0, 0x7FFFFFFF)
            vector += struct.pack("=QQII", unsigned64(val, "val"), where, width, 0)
        if not 1 <= len(vector) <= 128 * 24:
            raise ValueError(f"the kernel waits on 1 to 128 futexes, not {len(vector) // 24}")
        self.sqe.addr = self.sized(bytes(vector), 24, False, "futexes")
        self.sqe.len = len(vector) // 24
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.end(URING_OP_FUTEX_WAITV, turn)

    # Children.

    def prep_waitid(self, idtype, id, infop, options, flags=0):
        """Waits for a child (``io_uring_prep_waitid``, kernel 6.7).

        Parameters:
            idtype, id, options: as of ``os.waitid``.
            infop: an ``ioring.SigInfo``, another writable buffer of at least 128 bytes, or ``None``.
        """
        turn: cython.uint = self.begin()
        self.sqe.len = integer(idtype, "idtype", 0, 3)
        self.sqe.fd = integer(id, "id", 0, 0x7FFFFFFF)
        self.sqe.file_index = integer(options, "options", 0, 0xFFFFFFFF)
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        if infop is not None:
            self.sqe.off = self.sized(infop, 128, True, "infop")
        self.end(URING_OP_WAITID, turn)

    # Commands to drivers.

    def prep_uring_cmd(self, cmd_op, fd, cmd=b"", nbytes=0, addr=None):
        """A command to a driver or file system (``io_uring_prep_uring_cmd``, kernel 5.19).

        Parameters:
            cmd_op: the command.
            cmd: its argument inside the SQE: up to 16 bytes, or 80 on a ring with ``SetupFlags.SQE128``.
            nbytes: what the command expects in ``len``.
            addr: a writable buffer or ``None``: what the command expects in ``addr``.

        What the bytes mean is between the program and the driver. Pointers among them are not looked after.
        """
        turn: cython.uint = self.begin()
        room: cython.Py_ssize_t = 80 if self.owner().u.sqe_shift else 16
        data: bytes = memoryview(cmd).tobytes()
        if len(data) > room:
            raise ValueError(f"a command has at most {room} bytes on this ring, not {len(data)}")
        self.sqe.fd = self.descriptor(fd)
        self.sqe.off = integer(cmd_op, "cmd_op", 0, 0xFFFFFFFF)
        self.sqe.len = integer(nbytes, "nbytes", 0, 0xFFFFFFFF)
        if addr is not None:
            self.sqe.addr = self.sized(addr, self.sqe.len, True, "addr")
        self.end(URING_OP_URING_CMD, turn)
        memcpy(cython.cast(cython.p_char, self.place) + 48, cython.cast(cython.p_char, data), len(data))

    def prep_cmd_discard(self, fd, offset, nbytes):
        """Discards a part of a block device (``io_uring_prep_cmd_discard``, kernel 6.12). Its data is lost."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.off = URING_BLOCK_CMD_DISCARD
        self.sqe.addr = integer(offset, "offset", 0, 0x7FFFFFFFFFFFFFFF)
        self.sqe.addr3 = integer(nbytes, "nbytes", 0, 0x7FFFFFFFFFFFFFFF)
        self.end(URING_OP_URING_CMD, turn)


def _own_methods():
    for base in (Entry, FileSqe, SocketSqe):
        for name, method in list(vars(base).items()):
            if name.startswith("prep_") or name == "set_flags":
                ioring_own_method(Sqe, method)


_own_methods()
