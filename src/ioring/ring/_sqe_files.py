"""Operations on files, paths and pipes."""

import array

import cython
from cython.cimports.ioring.ring._direct import Direct

from ioring.ring.errors import SlotError

PAGE = cython.declare(cython.size_t, 4096)


class FileSqe(Entry):
    """The part of ``Sqe`` that concerns files."""

    # Reading and writing.

    def put_transfer(self, opcode, fd, buf, nbytes, offset, buf_index, into):
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.addr = self.buffer(buf, nbytes, into)
        self.sqe.off = file_offset(offset)
        if buf_index is not None:
            self.sqe.buf_index = integer(buf_index, "buf_index", 0, 0xFFFF)
        return self.end(opcode, turn)

    def put_vector(self, opcode, fd, iovecs, offset, flags, buf_index, into):
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.addr = self.vector(iovecs, into)
        self.sqe.off = file_offset(offset)
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        if buf_index is not None:
            self.sqe.buf_index = integer(buf_index, "buf_index", 0, 0xFFFF)
        return self.end(opcode, turn)

    def prep_read(self, fd, buf, nbytes=None, offset=-1):
        """Reads into ``buf`` (``io_uring_prep_read``, kernel 5.6).

        Parameters:
            fd: what to read from: an int, an object with ``fileno()``, or ``Direct``.
            buf: a writable buffer, or ``None`` to let the kernel pick one of ``Sqe.buffer_group``.
            nbytes: bytes to read at most; the size of ``buf`` by default.
            offset: where in the file; -1, the default, is the file's own position, which moves on.

        The result is the number of bytes; 0 at the end.

        Raises:
            TypeError: ``buf`` is read-only, or is no buffer.
            ValueError: a number out of range, or more bytes than ``buf`` has.
        """
        self.put_transfer(URING_OP_READ, fd, buf, nbytes, offset, None, True)

    def prep_write(self, fd, buf, nbytes=None, offset=-1):
        """Writes from ``buf`` (``io_uring_prep_write``, kernel 5.6). Parameters and errors as of ``prep_read``."""
        self.put_transfer(URING_OP_WRITE, fd, buf, nbytes, offset, None, False)

    def prep_read_fixed(self, fd, buf, nbytes=None, offset=-1, buf_index=0):
        """Reads into a part of registered buffer ``buf_index`` (``io_uring_prep_read_fixed``).

        ``buf`` is a view of the object that was registered by ``Ring.register_buffers``; the kernel answers EFAULT
        when it lies elsewhere.
        """
        self.put_transfer(URING_OP_READ_FIXED, fd, buf, nbytes, offset, buf_index, True)

    def prep_write_fixed(self, fd, buf, nbytes=None, offset=-1, buf_index=0):
        """Writes a part of registered buffer ``buf_index`` (``io_uring_prep_write_fixed``)."""
        self.put_transfer(URING_OP_WRITE_FIXED, fd, buf, nbytes, offset, buf_index, False)

    def prep_readv(self, fd, iovecs, offset=-1):
        """Reads into several buffers in turn, up to 1024 (``io_uring_prep_readv``)."""
        self.put_vector(URING_OP_READV, fd, iovecs, offset, 0, None, True)

    def prep_readv2(self, fd, iovecs, offset=-1, flags=0):
        """The same with ``RwFlags`` (``io_uring_prep_readv2``)."""
        self.put_vector(URING_OP_READV, fd, iovecs, offset, flags, None, True)

    def prep_writev(self, fd, iovecs, offset=-1):
        """Writes several buffers in turn, up to 1024 (``io_uring_prep_writev``)."""
        self.put_vector(URING_OP_WRITEV, fd, iovecs, offset, 0, None, False)

    def prep_writev2(self, fd, iovecs, offset=-1, flags=0):
        """The same with ``RwFlags`` (``io_uring_prep_writev2``)."""
        self.put_vector(URING_OP_WRITEV, fd, iovecs, offset, flags, None, False)

    def prep_readv_fixed(self, fd, iovecs, offset=-1, flags=0, buf_index=0):
        """``prep_readv2`` into parts of one registered buffer (``io_uring_prep_readv_fixed``, kernel 6.15)."""
        self.put_vector(URING_OP_READV_FIXED, fd, iovecs, offset, flags, buf_index, True)

    def prep_writev_fixed(self, fd, iovecs, offset=-1, flags=0, buf_index=0):
        """``prep_writev2`` from parts of one registered buffer (``io_uring_prep_writev_fixed``, kernel 6.15)."""
        self.put_vector(URING_OP_WRITEV_FIXED, fd, iovecs, offset, flags, buf_index, False)

    def prep_read_multishot(self, fd, nbytes=0, offset=-1, buf_group=0):
        """Reads again and again into buffers of a group (``io_uring_prep_read_multishot``, kernel 6.7).

        For what can be polled: pipes, terminals, eventfds. ``nbytes`` 0 is as much as a buffer holds; the kernel takes
        no other (EINVAL, 6.18).
        """
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.len = integer(nbytes, "nbytes", 0, 0xFFFFFFFF)
        self.sqe.off = file_offset(offset)
        self.sqe.buf_index = integer(buf_group, "buf_group", 0, 0xFFFF)
        self.buffer_group_id = self.sqe.buf_index
        self.sqe.flags = URING_SQE_BUFFER_SELECT
        self.end(URING_OP_READ_MULTISHOT, turn)

    # Opening and closing.

    def put_open(self, dfd, path, flags, mode, file_index, direct):
        turn: cython.uint = self.begin()
        self.sqe.fd = self.directory(dfd)
        self.sqe.addr = self.path(path)
        self.sqe.op_flags = integer(flags, "flags", 0, 0x7FFFFFFF)
        self.sqe.len = integer(mode, "mode", 0, 0o7777)
        if direct:
            self.sqe.file_index = self.slot(file_index)
        self.end(URING_OP_OPENAT, turn)
        if not direct:
            self.marks |= MARK_DESCRIPTOR
        return 0

    def prep_openat(self, dfd, path, flags=0, mode=0):
        """Opens a file (``io_uring_prep_openat``). The result is a descriptor.

        Parameters:
            dfd: the directory that ``path`` starts from; ``None`` or ``AT_FDCWD`` for the working directory.
            path: str, bytes or ``os.PathLike``.
            flags: ``os.O_*``. As in liburing, ``O_CLOEXEC`` is not added.
            mode: permissions of a file that is created.
        """
        self.put_open(dfd, path, flags, mode, 0, False)

    def prep_openat_direct(self, dfd, path, flags=0, mode=0, file_index=0xFFFFFFFF):
        """Opens a file into a slot of the ring's table (``io_uring_prep_openat_direct``, kernel 5.15).

        ``file_index`` is the slot, a ``Direct``, or ``FILE_INDEX_ALLOC``: then the result is the slot, else 0. The
        kernel refuses ``O_CLOEXEC`` here.

        Raises:
            SlotError: the slot is outside the table, or there is no table.
        """
        self.put_open(dfd, path, flags, mode, file_index, True)

    def prep_open(self, path, flags=0, mode=0):
        """``prep_openat`` from the working directory (``io_uring_prep_open``)."""
        self.prep_openat(None, path, flags, mode)

    def prep_open_direct(self, path, flags=0, mode=0, file_index=0xFFFFFFFF):
        """``prep_openat_direct`` from the working directory (``io_uring_prep_open_direct``)."""
        self.prep_openat_direct(None, path, flags, mode, file_index)

    def put_openhow(self, dfd, path, how, file_index, direct):
        turn: cython.uint = self.begin()
        self.sqe.fd = self.directory(dfd)
        self.sqe.addr = self.path(path)
        self.sqe.off = self.sized(how, 24, False, "how")
        self.sqe.len = 24
        if direct:
            self.sqe.file_index = self.slot(file_index)
        self.end(URING_OP_OPENAT2, turn)
        if not direct:
            self.marks |= MARK_DESCRIPTOR
        return 0

    def prep_openat2(self, dfd, path, how):
        """Opens a file as an ``OpenHow`` says (``io_uring_prep_openat2``)."""
        self.put_openhow(dfd, path, how, 0, False)

    def prep_openat2_direct(self, dfd, path, how, file_index=0xFFFFFFFF):
        """The same into a slot of the ring's table (``io_uring_prep_openat2_direct``)."""
        self.put_openhow(dfd, path, how, file_index, True)

    def prep_close(self, fd):
        """Closes a descriptor (``io_uring_prep_close``). A ``Direct`` closes its slot, as ``prep_close_direct``."""
        if isinstance(fd, Direct):
            self.prep_close_direct(fd)
            return
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.end(URING_OP_CLOSE, turn)

    def prep_close_direct(self, file_index):
        """Empties a slot of the ring's table (``io_uring_prep_close_direct``, kernel 5.15).

        Raises:
            SlotError: the slot is outside the table.
        """
        turn: cython.uint = self.begin()
        self.sqe.file_index = self.slot(file_index)
        if self.sqe.file_index == URING_FILE_INDEX_ALLOC:
            raise SlotError("which slot shall be closed? FILE_INDEX_ALLOC names none")
        self.end(URING_OP_CLOSE, turn)

    def prep_fixed_fd_install(self, fd, flags=0):
        """Makes an ordinary descriptor for a direct one (``io_uring_prep_fixed_fd_install``, kernel 6.8).

        Parameters:
            fd: a ``Direct`` or its slot.
            flags: ``FixedFdFlags.NO_CLOEXEC``, or 0.

        The result is the descriptor.
        """
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd if isinstance(fd, Direct) else Direct(fd))
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.end(URING_OP_FIXED_FD_INSTALL, turn)
        self.marks |= MARK_DESCRIPTOR

    def prep_files_update(self, fds, offset=0):
        """Puts descriptors into the ring's table (``io_uring_prep_files_update``).

        Parameters:
            fds: a sequence of descriptors: -1 empties the slot, ``FILES_SKIP`` leaves it; or an
                ``array.array("i")``, into which the kernel writes the slots when it chooses them.
            offset: the first slot, or ``FILE_INDEX_ALLOC`` (kernel 6.0) to let the kernel choose.

        The result is the number of slots changed.
        """
        turn: cython.uint = self.begin()
        if not isinstance(fds, array.array):
            fds = array.array("i", [fd if isinstance(fd, int) else self.plain_descriptor(fd) for fd in fds])
        self.sqe.addr = self.sized(fds, 0, True, "fds")
        view = self.kept[len(self.kept) - 1]
        if view.format != "i":
            raise TypeError(f'fds must be an array of typecode "i", not "{view.format}"')
        self.sqe.fd = -1
        self.sqe.len = view.nbytes // 4
        self.sqe.off = integer(offset, "offset", 0, 0xFFFFFFFF)
        if self.sqe.off == 0xFFFFFFFF:
            self.sqe.off = 0xFFFFFFFFFFFFFFFF  # liburing passes an int, which is sign-extended
        self.end(URING_OP_FILES_UPDATE, turn)

    def plain_descriptor(self, fd):
        try:
            return fd.fileno()
        except AttributeError:
            raise TypeError(f"a descriptor is an int or an object with fileno(), not {type(fd).__name__}") from None

    # What is done with an open file.

    def prep_fsync(self, fd, fsync_flags=0):
        """Writes a file's data to the device (``io_uring_prep_fsync``); ``FsyncFlags.DATASYNC`` as fdatasync."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.op_flags = integer(fsync_flags, "fsync_flags", 0, 0xFFFFFFFF)
        self.end(URING_OP_FSYNC, turn)

    def prep_sync_file_range(self, fd, nbytes=0, offset=0, flags=0):
        """Writes a part of a file to the device (``io_uring_prep_sync_file_range``). 0 bytes: to the end."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.len = integer(nbytes, "nbytes", 0, 0xFFFFFFFF)
        self.sqe.off = integer(offset, "offset", 0, 0x7FFFFFFFFFFFFFFF)
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        self.end(URING_OP_SYNC_FILE_RANGE, turn)

    def prep_fallocate(self, fd, mode, offset, nbytes):
        """Reserves or frees a part of a file (``io_uring_prep_fallocate``). ``mode`` is ``FALLOC_FL_*``, 0: reserve."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.len = integer(mode, "mode", 0, 0x7FFFFFFF)
        self.sqe.off = integer(offset, "offset", 0, 0x7FFFFFFFFFFFFFFF)
        self.sqe.addr = integer(nbytes, "nbytes", 0, 0x7FFFFFFFFFFFFFFF)
        self.end(URING_OP_FALLOCATE, turn)

    def prep_ftruncate(self, fd, length):
        """Sets a file's length in bytes (``io_uring_prep_ftruncate``, kernel 6.9)."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.off = integer(length, "length", 0, 0x7FFFFFFFFFFFFFFF)
        self.end(URING_OP_FTRUNCATE, turn)

    def prep_fadvise(self, fd, offset, nbytes, advice):
        """Says how a file will be used (``io_uring_prep_fadvise``). ``advice`` is ``os.POSIX_FADV_*``."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.off = integer(offset, "offset", 0, 0x7FFFFFFFFFFFFFFF)
        self.sqe.len = integer(nbytes, "nbytes", 0, 0xFFFFFFFF)
        self.sqe.op_flags = integer(advice, "advice", 0, 0x7FFFFFFF)
        self.end(URING_OP_FADVISE, turn)

    def prep_fadvise64(self, fd, offset, nbytes, advice):
        """The same for parts of 4 GiB and more (``io_uring_prep_fadvise64``, kernel 6.11)."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.descriptor(fd)
        self.sqe.off = integer(offset, "offset", 0, 0x7FFFFFFFFFFFFFFF)
        self.sqe.addr = integer(nbytes, "nbytes", 0, 0x7FFFFFFFFFFFFFFF)
        self.sqe.op_flags = integer(advice, "advice", 0, 0x7FFFFFFF)
        self.end(URING_OP_FADVISE, turn)

    def prep_madvise(self, buf, nbytes, advice):
        """Says how memory will be used (``io_uring_prep_madvise``). ``advice`` is ``mmap.MADV_*``.

        Parameters:
            buf: a writable buffer of whole pages, as ``mmap.mmap`` makes them: advice may empty the pages, and
                memory around the buffer must not go with it.

        Raises:
            ValueError: the memory does not consist of whole pages.
        """
        self.put_advice(buf, nbytes, advice, False)

    def prep_madvise64(self, buf, nbytes, advice):
        """The same for 4 GiB and more (``io_uring_prep_madvise64``, kernel 6.11)."""
        self.put_advice(buf, nbytes, advice, True)

    def put_advice(self, buf, nbytes, advice, wide):
        turn: cython.uint = self.begin()
        length: cython.Py_ssize_t = integer(nbytes, "nbytes", 0, 0x7FFFFFFFFFFFFFFF if wide else 0xFFFFFFFF)
        self.sqe.fd = -1
        self.sqe.addr = self.sized(buf, length, True, "buf")
        if self.sqe.addr % PAGE or length % PAGE:
            raise ValueError("advice is given for whole pages: use an mmap.mmap, and a multiple of mmap.PAGESIZE")
        if wide:
            self.sqe.off = length
        else:
            self.sqe.len = length
        self.sqe.op_flags = integer(advice, "advice", 0, 0x7FFFFFFF)
        return self.end(URING_OP_MADVISE, turn)

    def prep_statx(self, dfd, path, flags, mask, statxbuf):
        """Gets a file's attributes (``io_uring_prep_statx``).

        Parameters:
            dfd: as of ``prep_openat``; with ``path`` "" and ``AT_EMPTY_PATH`` in ``flags``, the file itself.
            flags: ``AT_*``.
            mask: ``StatxMask``: what is wanted.
            statxbuf: an ``ioring.Statx``, or another writable buffer of at least 256 bytes.
        """
        turn: cython.uint = self.begin()
        self.sqe.fd = self.directory(dfd)
        self.sqe.addr = self.path(path)
        self.sqe.op_flags = integer(flags, "flags", 0, 0x7FFFFFFF)
        self.sqe.len = integer(mask, "mask", 0, 0xFFFFFFFF)
        self.sqe.off = self.sized(statxbuf, 256, True, "statxbuf")
        self.end(URING_OP_STATX, turn)

    # Names.

    def prep_unlinkat(self, dfd, path, flags=0):
        """Removes a name (``io_uring_prep_unlinkat``); with ``AT_REMOVEDIR`` (0x200) an empty directory."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.directory(dfd)
        self.sqe.addr = self.path(path)
        self.sqe.op_flags = integer(flags, "flags", 0, 0x7FFFFFFF)
        self.end(URING_OP_UNLINKAT, turn)

    def prep_unlink(self, path, flags=0):
        """``prep_unlinkat`` from the working directory (``io_uring_prep_unlink``)."""
        self.prep_unlinkat(None, path, flags)

    def put_two_paths(self, opcode, olddfd, oldpath, newdfd, newpath, flags):
        turn: cython.uint = self.begin()
        self.sqe.fd = self.directory(olddfd)
        self.sqe.addr = self.path(oldpath)
        self.sqe.len = self.directory(newdfd)
        self.sqe.off = self.path(newpath)
        self.sqe.op_flags = integer(flags, "flags", 0, 0xFFFFFFFF)
        return self.end(opcode, turn)

    def prep_renameat(self, olddfd, oldpath, newdfd, newpath, flags=0):
        """Renames (``io_uring_prep_renameat``); ``flags`` is ``RENAME_*``."""
        self.put_two_paths(URING_OP_RENAMEAT, olddfd, oldpath, newdfd, newpath, flags)

    def prep_rename(self, oldpath, newpath):
        """``prep_renameat`` from and to the working directory (``io_uring_prep_rename``)."""
        self.prep_renameat(None, oldpath, None, newpath)

    def prep_linkat(self, olddfd, oldpath, newdfd, newpath, flags=0):
        """Gives a file a further name (``io_uring_prep_linkat``); ``flags`` is ``AT_*``."""
        self.put_two_paths(URING_OP_LINKAT, olddfd, oldpath, newdfd, newpath, flags)

    def prep_link(self, oldpath, newpath, flags=0):
        """``prep_linkat`` from and to the working directory (``io_uring_prep_link``)."""
        self.prep_linkat(None, oldpath, None, newpath, flags)

    def prep_symlinkat(self, target, newdirfd, linkpath):
        """Makes a symbolic link ``linkpath`` to ``target`` (``io_uring_prep_symlinkat``)."""
        turn: cython.uint = self.begin()
        self.sqe.addr = self.path(target)
        self.sqe.fd = self.directory(newdirfd)
        self.sqe.off = self.path(linkpath)
        self.end(URING_OP_SYMLINKAT, turn)

    def prep_symlink(self, target, linkpath):
        """``prep_symlinkat`` from the working directory (``io_uring_prep_symlink``)."""
        self.prep_symlinkat(target, None, linkpath)

    def prep_mkdirat(self, dfd, path, mode=0o777):
        """Makes a directory (``io_uring_prep_mkdirat``)."""
        turn: cython.uint = self.begin()
        self.sqe.fd = self.directory(dfd)
        self.sqe.addr = self.path(path)
        self.sqe.len = integer(mode, "mode", 0, 0o7777)
        self.end(URING_OP_MKDIRAT, turn)

    def prep_mkdir(self, path, mode=0o777):
        """``prep_mkdirat`` from the working directory (``io_uring_prep_mkdir``)."""
        self.prep_mkdirat(None, path, mode)

    # Extended attributes.

    def put_xattr(self, opcode, fd, name, value, path, flags, nbytes):
        turn: cython.uint = self.begin()
        into: cython.bint = opcode == URING_OP_GETXATTR or opcode == URING_OP_FGETXATTR
        if fd is not None:
            self.sqe.fd = self.descriptor(fd)
        self.sqe.addr = self.path(name)
        self.sqe.off = self.buffer(value, nbytes, into)
        if path is not None:
            self.sqe.addr3 = self.path(path)
        self.sqe.op_flags = integer(flags, "flags", 0, 0x7FFFFFFF)
        return self.end(opcode, turn)

    def prep_getxattr(self, name, value, path, nbytes=None):
        """Reads an extended attribute into the buffer ``value`` (``io_uring_prep_getxattr``, kernel 5.19).

        The result is the attribute's length in bytes; with ``nbytes`` 0 nothing is copied.
        """
        self.put_xattr(URING_OP_GETXATTR, None, name, value, path, 0, nbytes)

    def prep_fgetxattr(self, fd, name, value, nbytes=None):
        """The same of an open file (``io_uring_prep_fgetxattr``)."""
        self.put_xattr(URING_OP_FGETXATTR, fd, name, value, None, 0, nbytes)

    def prep_setxattr(self, name, value, path, flags=0, nbytes=None):
        """Sets an extended attribute (``io_uring_prep_setxattr``); ``flags`` is ``os.XATTR_*``."""
        self.put_xattr(URING_OP_SETXATTR, None, name, value, path, flags, nbytes)

    def prep_fsetxattr(self, fd, name, value, flags=0, nbytes=None):
        """The same of an open file (``io_uring_prep_fsetxattr``)."""
        self.put_xattr(URING_OP_FSETXATTR, fd, name, value, None, flags, nbytes)

    # Pipes.

    def prep_splice(self, fd_in, off_in, fd_out, off_out, nbytes, splice_flags=0):
        """Moves bytes between a pipe and something else (``io_uring_prep_splice``).

        An offset is -1 for a pipe and for a file's own position. Either descriptor may be a ``Direct``.
        """
        turn: cython.uint = self.begin()
        flags: cython.uint = integer(splice_flags, "splice_flags", 0, 0x7FFFFFFF)
        self.sqe.file_index = self.descriptor(fd_in)
        if self.fixed:
            flags |= URING_SPLICE_F_FD_IN_FIXED
            self.fixed = 0
        if self.target is not None:
            self.keep(self.target)
        self.sqe.fd = self.descriptor(fd_out)
        self.sqe.addr = file_offset(off_in)
        self.sqe.off = file_offset(off_out)
        self.sqe.len = integer(nbytes, "nbytes", 0, 0xFFFFFFFF)
        self.sqe.op_flags = flags
        self.end(URING_OP_SPLICE, turn)

    def prep_tee(self, fd_in, fd_out, nbytes, splice_flags=0):
        """Copies bytes from pipe to pipe without consuming them (``io_uring_prep_tee``)."""
        turn: cython.uint = self.begin()
        flags: cython.uint = integer(splice_flags, "splice_flags", 0, 0x7FFFFFFF)
        self.sqe.file_index = self.descriptor(fd_in)
        if self.fixed:
            flags |= URING_SPLICE_F_FD_IN_FIXED
            self.fixed = 0
        if self.target is not None:
            self.keep(self.target)
        self.sqe.fd = self.descriptor(fd_out)
        self.sqe.len = integer(nbytes, "nbytes", 0, 0xFFFFFFFF)
        self.sqe.op_flags = flags
        self.end(URING_OP_TEE, turn)

    def prep_pipe(self, fds, pipe_flags=0):
        """Makes a pipe (``io_uring_prep_pipe``, kernel 6.17).

        ``fds`` is ``array.array("i", [-1, -1])`` or another writable buffer of 8 bytes, which receives the two
        descriptors, the reading one first.
        """
        turn: cython.uint = self.begin()
        self.sqe.addr = self.sized(fds, 8, True, "fds")
        self.sqe.op_flags = integer(pipe_flags, "pipe_flags", 0, 0x7FFFFFFF)
        self.end(URING_OP_PIPE, turn)
        self.marks |= MARK_DESCRIPTOR

    def prep_pipe_direct(self, fds, pipe_flags=0, file_index=0xFFFFFFFF):
        """Makes a pipe of two direct descriptors (``io_uring_prep_pipe_direct``, kernel 6.17).

        ``fds`` receives two slots, as ``prep_pipe`` writes descriptors. With a slot instead of ``FILE_INDEX_ALLOC`` the
        pipe takes this slot and the next.
        """
        turn: cython.uint = self.begin()
        self.sqe.addr = self.sized(fds, 8, True, "fds")
        self.sqe.op_flags = integer(pipe_flags, "pipe_flags", 0, 0x7FFFFFFF)
        self.sqe.file_index = self.slot(file_index)
        self.end(URING_OP_PIPE, turn)
