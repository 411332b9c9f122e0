"""The kernel's calls that files are made of: each function makes the request for one, to be awaited.

They are named as in the kernel, and take its parameters in its order. Before these comes ``core``, which works for the
loop that runs; behind them comes ``path``, which an ``OSError`` names. A name is bytes without a NUL, as
``encode_path`` makes them, and begins at a folder: a descriptor, or ``AT_FDCWD`` for the working one.

Where there is no ring a thread makes the blocking call that each function has beside its request.

A request that is ``steady`` is over before a cancellation goes on. Changes of names always are: they were made, or they
were not, and will not be later.
"""

import os
from functools import partial

import cython

AT_FDCWD = -100
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
FSYNC_DATASYNC = 1

O_CLOEXEC = cython.declare(cython.int, os.O_CLOEXEC)


def encode_path(path):
    """A path as the kernel takes it.

    Raises:
        TypeError: it is no path.
        ValueError: it has a NUL in it.
    """
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded


def _folder(fd):
    """A folder as the functions of os take it: None for the working one."""
    return None if fd == AT_FDCWD else fd


# Descriptors.


def openat(core, folder, name, flags, mode, path=None, *, steady=False, punt=False):
    """Opens a file; the result is a descriptor, which children do not inherit.

    With ``punt`` a worker of the kernel does it from the start. In the loop's thread the kernel would not wait for the
    other end of a FIFO, and would refuse to open it for writing.
    """
    blocking = partial(os.open, name, flags | O_CLOEXEC, mode, dir_fd=_folder(folder))
    it: Call = new_call(core, URING_OP_OPENAT, folder, path, blocking)
    it.entry.addr = it.hold(name)
    it.entry.len = mode
    it.entry.op_flags = flags | O_CLOEXEC
    it.entry.flags = URING_SQE_ASYNC if punt else 0
    it.makes_descriptor = True
    it.marks = MARK_DESCRIPTOR
    it.steady = steady
    return it


def close(core, fd, path=None, *, steady=False, punt=False):
    """Closes a descriptor. With ``punt`` a worker of the kernel does it: closing what was written may take long."""
    it: Call = new_call(core, URING_OP_CLOSE, fd, path, partial(os.close, fd))
    it.entry.flags = URING_SQE_ASYNC if punt else 0
    it.steady = steady
    return it


# Content.


def pwrite(core, fd, data, offset, path=None):
    """Writes a buffer at an offset; how many bytes. Steady, and all of them unless an error ends it."""
    it: Write = new_write(core, path, fd, offset, data)
    it.steady = it.keep_going = True
    return it


def fsync(core, fd, flags=0, path=None, *, steady=False):
    """Waits until the storage has what was written; with ``FSYNC_DATASYNC`` without times and the like."""
    blocking = partial(os.fdatasync if flags & FSYNC_DATASYNC else os.fsync, fd)
    it: Call = new_call(core, URING_OP_FSYNC, fd, path, blocking)
    it.entry.op_flags = flags
    it.steady = steady
    return it


def ftruncate(core, fd, size, path=None, *, steady=False, threaded=False):
    """Makes a file so many bytes long. The ring has that since Linux 6.9; with ``threaded`` a thread does it."""
    length: int64_t = size
    it: Call = new_call(core, URING_OP_FTRUNCATE, fd, path, partial(os.ftruncate, fd, size))
    it.entry.off = cython.cast(uint64_t, length)
    it.threaded = threaded
    it.steady = steady
    return it


def fallocate(core, fd, offset, size, path=None, *, threaded=False):
    """Reserves storage; the file grows if it ends before (mode 0 of fallocate).

    With ``threaded`` a thread does it, which writes where the file system has no such call.
    """
    place: int64_t = offset
    length: int64_t = size
    it: Call = new_call(core, URING_OP_FALLOCATE, fd, path, partial(os.posix_fallocate, fd, offset, size))
    it.entry.addr = cython.cast(uint64_t, length)
    it.entry.off = cython.cast(uint64_t, place)
    it.threaded = threaded
    return it


def fadvise(core, fd, offset, size, advice, path=None):
    """Says how a part of a file will be used. A size of 2**32 or more means up to the end: the ring has no larger."""
    place: int64_t = offset
    it: Call = new_call(core, URING_OP_FADVISE, fd, path, partial(os.posix_fadvise, fd, offset, size, advice))
    it.entry.off = cython.cast(uint64_t, place)
    it.entry.len = size if size < 1 << 32 else 0
    it.entry.op_flags = advice
    return it


# Names.


def renameat(core, old_folder, old, new_folder, new, path=None):
    """Gives a file another name."""
    blocking = partial(os.rename, old, new, src_dir_fd=_folder(old_folder), dst_dir_fd=_folder(new_folder))
    it: Call = new_call(core, URING_OP_RENAMEAT, old_folder, path, blocking)
    it.entry.addr = it.hold(old)
    it.entry.len = cython.cast(cython.uint, cython.cast(cython.int, new_folder))
    it.entry.off = it.hold(new)
    it.steady = True
    return it


def linkat(core, old_folder, old, new_folder, new, flags, path=None):
    """Gives a file a second name. ``AT_SYMLINK_FOLLOW``: of a symbolic link, what it points to gets that."""
    blocking = partial(
        os.link,
        old,
        new,
        src_dir_fd=_folder(old_folder),
        dst_dir_fd=_folder(new_folder),
        follow_symlinks=bool(flags & AT_SYMLINK_FOLLOW),
    )
    it: Call = new_call(core, URING_OP_LINKAT, old_folder, path, blocking)
    it.entry.addr = it.hold(old)
    it.entry.len = cython.cast(cython.uint, cython.cast(cython.int, new_folder))
    it.entry.off = it.hold(new)
    it.entry.op_flags = flags
    it.steady = True
    return it


def symlinkat(core, target, folder, name, path=None):
    """Makes a symbolic link to a target."""
    it: Call = new_call(
        core, URING_OP_SYMLINKAT, folder, path, partial(os.symlink, target, name, dir_fd=_folder(folder))
    )
    it.entry.addr = it.hold(target)
    it.entry.off = it.hold(name)
    it.steady = True
    return it


def unlinkat(core, folder, name, flags, path=None):
    """Takes a name of a file away; with ``AT_REMOVEDIR`` an empty folder."""
    blocking = partial(os.rmdir if flags & AT_REMOVEDIR else os.unlink, name, dir_fd=_folder(folder))
    it: Call = new_call(core, URING_OP_UNLINKAT, folder, path, blocking)
    it.entry.addr = it.hold(name)
    it.entry.op_flags = flags
    it.steady = True
    return it


def mkdirat(core, folder, name, mode, path=None):
    """Makes a folder.

    Raises:
        OverflowError: the mode is no C integer.
    """
    number: cython.int = mode
    it: Call = new_call(core, URING_OP_MKDIRAT, folder, path, partial(os.mkdir, name, mode, dir_fd=_folder(folder)))
    it.entry.addr = it.hold(name)
    it.entry.len = cython.cast(cython.uint, number)
    it.steady = True
    return it
