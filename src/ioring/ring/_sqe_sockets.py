"""Operations on sockets."""

import cython

from ioring.ring.constants import FILE_INDEX_ALLOC
from ioring.ring.sockaddr import STORAGE_SIZE, SockAddr, encode


class SocketSqe(FileSqe):
    """The part of ``Sqe`` that concerns sockets."""

    # Connections.

    def put_accept(self, fd, address, flags, file_index, multishot, direct):
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        if address is not None:
            if not isinstance(address, SockAddr):
                raise TypeError(f"address must be an ioring.SockAddr, not {type(address).__name__}")
            self.sqe.addr = self.sized(address, STORAGE_SIZE + 4, True, "address")
            address.reset()
            self.sqe.off = self.sqe.addr + STORAGE_SIZE
        self.sqe.op_flags = integer(flags, "flags", 0, 0x7FFFFFFF)
        if multishot:
            self.sqe.ioprio = URING_ACCEPT_MULTISHOT
        if direct:
            self.sqe.file_index = self.slot(file_index)
        self.end(URING_OP_ACCEPT, turn)
        if not direct:
            self.marks |= MARK_DESCRIPTOR
        return 0

    def prep_accept(self, fd, address=None, flags=0):
        """Accepts one connection (``io_uring_prep_accept``). The result is a descriptor.

        Parameters:
            fd: the listening socket.
            address: a ``SockAddr`` that receives the peer's address.
            flags: ``socket.SOCK_CLOEXEC``, ``socket.SOCK_NONBLOCK``. As in liburing, nothing is added.
        """
        self.put_accept(fd, address, flags, 0, False, False)

    def prep_accept_direct(self, fd, address=None, flags=0, file_index=0xFFFFFFFF):
        """Accepts one connection into a slot (``io_uring_prep_accept_direct``, kernel 5.15).

        ``file_index`` as of ``prep_openat_direct``. The kernel refuses ``SOCK_CLOEXEC`` here. When the table is
        full, the connection is accepted and closed again, and the result is ENFILE.
        """
        self.put_accept(fd, address, flags, file_index, False, True)

    def prep_multishot_accept(self, fd, address=None, flags=0):
        """Accepts connections until it fails or is cancelled (``io_uring_prep_multishot_accept``, kernel 5.19).

        One completion for each; the last has no ``Cqe.more``. ``address`` is shared by all of them, so that it is
        of little use; leave it out.
        """
        self.put_accept(fd, address, flags, 0, True, False)

    def prep_multishot_accept_direct(self, fd, address=None, flags=0):
        """The same into free slots of the ring's table (``io_uring_prep_multishot_accept_direct``, kernel 5.19).

        The results are slots. Cancel it before the table is full: see ``prep_accept_direct``.
        """
        self.put_accept(fd, address, flags, FILE_INDEX_ALLOC, True, True)

    def put_address(self, opcode, fd, address):
        turn: cython.uint = self.begin()
        raw: bytes
        self.sqe.fd = self.descriptor(fd)
        raw = encode(address)
        self.sqe.addr = self.sized(raw, 0, False, "address")
        self.sqe.off = len(raw)
        return self.end(opcode, turn)

    def prep_connect(self, fd, address):
        """Connects (``io_uring_prep_connect``).

        Parameters:
            address: ``(host, port)`` with a numeric host, ``(host, port, flowinfo, scope_id)``, a Unix socket's path,
                or a ``SockAddr``.

        Raises:
            ValueError: no such address. Names are not looked up.
        """
        self.put_address(URING_OP_CONNECT, fd, address)

    def prep_bind(self, fd, address):
        """Gives a socket its address (``io_uring_prep_bind``, kernel 6.11)."""
        self.put_address(URING_OP_BIND, fd, address)

    def prep_listen(self, fd, backlog=128):
        """Lets a socket be connected to (``io_uring_prep_listen``, kernel 6.11)."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.len = integer(backlog, "backlog", 0, 0x7FFFFFFF)
        self.end(URING_OP_LISTEN, turn)

    def prep_shutdown(self, fd, how):
        """Ends one or both directions (``io_uring_prep_shutdown``); ``how`` is ``socket.SHUT_*``."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.len = integer(how, "how", 0, 0x7FFFFFFF)
        self.end(URING_OP_SHUTDOWN, turn)

    def put_socket(self, domain, type, protocol, flags, file_index, direct):
        turn: cython.uint = self.begin()
        self.sqe.fd = integer(domain, "domain", 0, 0x7FFFFFFF)
        self.sqe.off = integer(type, "type", 0, 0x7FFFFFFF)
        self.sqe.len = integer(protocol, "protocol", 0, 0x7FFFFFFF)
        self.sqe.op_flags = integer(flags, "flags", 0, 0x7FFFFFFF)
        if direct:
            self.sqe.file_index = self.slot(file_index)
        self.end(URING_OP_SOCKET, turn)
        if not direct:
            self.marks |= MARK_DESCRIPTOR
        return 0

    def prep_socket(self, domain, type, protocol=0, flags=0):
        """Makes a socket (``io_uring_prep_socket``, kernel 5.19). The result is a descriptor.

        Parameters:
            domain: ``socket.AF_*``.
            type: ``socket.SOCK_STREAM`` and so on, with ``SOCK_CLOEXEC`` and ``SOCK_NONBLOCK``.
            protocol: ``socket.IPPROTO_*``, or 0.
            flags: none exist.
        """
        self.put_socket(domain, type, protocol, flags, 0, False)

    def prep_socket_direct(self, domain, type, protocol=0, file_index=0xFFFFFFFF, flags=0):
        """Makes a socket in a slot (``io_uring_prep_socket_direct``). ``file_index`` as of ``prep_openat_direct``."""
        self.put_socket(domain, type, protocol, flags, file_index, True)

    def prep_socket_direct_alloc(self, domain, type, protocol=0, flags=0):
        """Makes a socket in a free slot, which is the result (``io_uring_prep_socket_direct_alloc``)."""
        self.put_socket(domain, type, protocol, flags, FILE_INDEX_ALLOC, True)

    def prep_cmd_sock(self, cmd_op, fd, level, optname, optval, optlen=None):
        """A command to a socket (``io_uring_prep_cmd_sock``, kernel 6.7).

        Parameters:
            cmd_op: ``SocketOp``; ``GETSOCKOPT`` knows only ``SOL_SOCKET``.
            level, optname: as of ``socket.setsockopt``.
            optval: a buffer with the value, or a writable one for the value; ``None`` where there is none.
            optlen: bytes of it to use; all by default.

        The result is the number of bytes written to ``optval``, or the number asked for.
        """
        turn: cython.uint = self.begin()
        size: cython.Py_ssize_t
        operation: cython.int = integer(cmd_op, "cmd_op", 0, 0x7FFFFFFF)
        self.sqe.fd = self.descriptor(fd)
        self.sqe.off = cython.cast(cython.uint, operation)
        self.sqe.addr = cython.cast(cython.uint, integer(level, "level", -0x80000000, 0x7FFFFFFF))
        self.sqe.addr |= cython.cast(uint64_t, integer(optname, "optname", 0, 0x7FFFFFFF)) << 32
        if optval is not None:
            size = memoryview(optval).nbytes if optlen is None else integer(optlen, "optlen", 0, 0x7FFFFFFF)
            self.sqe.addr3 = self.sized(optval, size, operation != 3, "optval")
            self.sqe.file_index = size
        self.end(URING_OP_URING_CMD, turn)

    # Sending.

    def put_send(self, opcode, sockfd, buf, nbytes, flags, ioprio, buf_index, address):
        turn: cython.uint = self.begin()
        raw: bytes
        self.sqe.fd = self.descriptor(sockfd)
        self.sqe.addr = self.buffer(buf, nbytes, False)
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.sqe.ioprio = ioprio
        if buf_index is not None:
            self.sqe.buf_index = integer(buf_index, "buf_index", 0, 0xFFFF)
        if address is not None:
            raw = encode(address)
            self.sqe.off = self.sized(raw, 0, False, "address")
            self.sqe.file_index = len(raw)
        self.end(opcode, turn)
        if ioprio & URING_RECVSEND_BUNDLE:
            self.marks |= MARK_BUNDLE
        return 0

    def prep_send(self, sockfd, buf, nbytes=None, flags=0):
        """Sends (``io_uring_prep_send``). The result is the number of bytes taken.

        Parameters:
            buf: what to send; ``None`` to take a buffer of ``Sqe.buffer_group`` (kernel 6.10).
            nbytes: bytes of it; all by default.
            flags: ``socket.MSG_*``; with ``MSG_WAITALL`` the kernel goes on until everything is sent.

        Have one send in flight per connection: two may be interleaved.
        """
        self.put_send(URING_OP_SEND, sockfd, buf, nbytes, flags, 0, None, None)

    def prep_send_bundle(self, sockfd, nbytes=0, flags=0):
        """Sends several buffers of a group in one (``io_uring_prep_send_bundle``, kernel 6.10).

        Set ``Sqe.buffer_group`` afterwards. ``nbytes`` 0: as much as there is. Use a ``BufferRing`` that is made
        ``empty``, to which buffers are added with the lengths of what is in them.
        """
        self.put_send(URING_OP_SEND, sockfd, None, nbytes, flags, URING_RECVSEND_BUNDLE, None, None)

    def prep_sendto(self, sockfd, buf, nbytes=None, flags=0, address=None):
        """Sends to an address (``io_uring_prep_sendto``, kernel 6.0). ``address`` as of ``prep_connect``."""
        self.put_send(URING_OP_SEND, sockfd, buf, nbytes, flags, 0, None, address)

    def prep_send_set_addr(self, address):
        """Adds an address to a prepared ``prep_send`` or ``prep_send_zc`` (``io_uring_prep_send_set_addr``).

        Raises:
            ValueError: the SQE is not a send.
        """
        raw: bytes = encode(address)
        self.writable()
        if self.opcode != URING_OP_SEND and self.opcode != URING_OP_SEND_ZC:
            raise ValueError("an address can only be added to prep_send or prep_send_zc")
        where: uint64_t = self.sized(raw, 0, False, "address")
        self.place.off = where
        self.place.file_index = len(raw)

    def prep_send_zc(self, sockfd, buf, nbytes=None, flags=0, zc_flags=0):
        """Sends without copying, where the network can (``io_uring_prep_send_zc``, kernel 6.0).

        Two completions: the result, and, when it has ``Cqe.more``, a ``Cqe.notification`` once the memory is no
        longer used. ``zc_flags`` is ``RecvSendFlags``.
        """
        number: cython.uint = integer(zc_flags, "zc_flags", 0, 0xFFFF)
        self.put_send(URING_OP_SEND_ZC, sockfd, buf, nbytes, flags, number, None, None)

    def prep_send_zc_fixed(self, sockfd, buf, nbytes=None, flags=0, zc_flags=0, buf_index=0):
        """The same from a part of a registered buffer (``io_uring_prep_send_zc_fixed``)."""
        number: cython.uint = integer(zc_flags, "zc_flags", 0, 0xFFFF)
        self.put_send(URING_OP_SEND_ZC, sockfd, buf, nbytes, flags, number | URING_RECVSEND_FIXED_BUF, buf_index, None)

    def put_message(self, opcode, fd, msg, flags, ioprio, buf_index, into):
        turn: cython.uint = self.begin()
        message: MsgHdr
        if not isinstance(msg, MsgHdr):
            raise TypeError(f"msg must be an ioring.MsgHdr, not {type(msg).__name__}")
        message = msg
        if into and not message.writable:
            raise TypeError("the buffers of msg must be writable: the kernel writes into them")
        self.sqe.fd = self.descriptor(fd)
        self.keep(message)
        message.reset()
        self.sqe.addr = cython.cast(cython.size_t, cython.address(message.header))
        self.sqe.len = 1
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.sqe.ioprio = ioprio
        if buf_index is not None:
            self.sqe.buf_index = integer(buf_index, "buf_index", 0, 0xFFFF)
        return self.end(opcode, turn)

    def prep_sendmsg(self, fd, msg, flags=0):
        """Sends a ``MsgHdr`` (``io_uring_prep_sendmsg``)."""
        self.put_message(URING_OP_SENDMSG, fd, msg, flags, 0, None, False)

    def prep_sendmsg_zc(self, fd, msg, flags=0):
        """Sends a ``MsgHdr`` without copying (``io_uring_prep_sendmsg_zc``, kernel 6.1). See ``prep_send_zc``."""
        self.put_message(URING_OP_SENDMSG_ZC, fd, msg, flags, 0, None, False)

    def prep_sendmsg_zc_fixed(self, fd, msg, flags=0, buf_index=0):
        """The same from parts of a registered buffer (``io_uring_prep_sendmsg_zc_fixed``, kernel 6.15)."""
        self.put_message(URING_OP_SENDMSG_ZC, fd, msg, flags, URING_RECVSEND_FIXED_BUF, buf_index, False)

    # Receiving.

    def put_receive(self, sockfd, buf, nbytes, flags, ioprio):
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(sockfd)
        self.sqe.addr = self.buffer(buf, nbytes, True)
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.sqe.ioprio = ioprio
        return self.end(URING_OP_RECV, turn)

    def prep_recv(self, sockfd, buf, nbytes=None, flags=0):
        """Receives (``io_uring_prep_recv``). The result is the number of bytes; 0 at the end.

        Parameters:
            buf: a writable buffer, or ``None`` to let the kernel pick one of ``Sqe.buffer_group``.
            nbytes: bytes to receive at most; the size of ``buf`` by default, and 0 without one: a whole buffer.
            flags: ``socket.MSG_*``.
        """
        self.put_receive(sockfd, buf, nbytes, flags, 0)

    def prep_recv_multishot(self, sockfd, buf=None, nbytes=0, flags=0):
        """Receives again and again into buffers of a group (``io_uring_prep_recv_multishot``, kernel 6.0).

        Set ``Sqe.buffer_group`` afterwards; ``buf`` must be ``None`` and ``nbytes`` 0. It ends, without
        ``Cqe.more``, at the end of the stream, at an error, and with ENOBUFS when the group is empty: then arm it
        again, nothing is lost. For bundles add ``RecvSendFlags.BUNDLE`` to ``Sqe.ioprio`` (kernel 6.10; sound
        since 6.16). A kernel before 7.0 that is not maintained may miss an end that comes right behind data.
        """
        if buf is not None:
            raise ValueError("a multishot receive takes its buffers from a group: leave buf out")
        self.put_receive(sockfd, None, nbytes, flags, URING_RECV_MULTISHOT)

    def prep_recvmsg(self, fd, msg, flags=0):
        """Receives into a ``MsgHdr`` (``io_uring_prep_recvmsg``)."""
        self.put_message(URING_OP_RECVMSG, fd, msg, flags, 0, None, True)

    def prep_recvmsg_multishot(self, fd, msg, flags=0):
        """Receives messages into buffers of a group (``io_uring_prep_recvmsg_multishot``, kernel 6.0).

        Of ``msg`` only ``name_size`` and ``control_size`` count. Set ``Sqe.buffer_group`` afterwards, and take each
        buffer apart by ``RecvmsgOut``. An empty message ends it (6.18): arm it again.
        """
        self.put_message(URING_OP_RECVMSG, fd, msg, flags, URING_RECV_MULTISHOT, None, True)
