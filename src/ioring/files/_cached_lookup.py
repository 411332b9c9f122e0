"""Names and attributes that the kernel has in its caches: they can be looked up in the loop's thread.

RESOLVE_CACHED (Linux 5.12) walks a path only as far as the kernel's cache of names goes. When that succeeds, the inode
is in memory, and so are its attributes, unless the file system keeps these on a server. The kind of the file system is
read from the list of mounts, once for each mount; that waits for no server either.
"""

import os

import cython
from cython.cimports.libc.errno import EAGAIN

LOCAL = frozenset(b"ext2 ext3 ext4 xfs btrfs overlay f2fs bcachefs zfs erofs squashfs iso9660 vfat exfat".split())
"""File systems that have a file's attributes in memory when its name is in the cache."""

MEMORY = frozenset((b"tmpfs", b"devtmpfs", b"ramfs"))
"""File systems that have everything in memory. It may be swapped out, like the memory of any program."""

MOUNTS_MAX = 1024

mounts = cython.declare(dict, {})
"""For each mount: 0 if nothing is known to be in memory, 1 if attributes are, 2 if everything is. Emptied when full."""

stat_result = cython.declare(object, os.stat_result)


def stat_known(folder, path, flags, out):
    """statx without waiting: 0 or a negative error; -EAGAIN when it would have to wait."""
    number: int64_t
    error: cython.int = ioring_stat_now(folder, path, flags, out, cython.NULL)
    if error < 0:
        return error
    local = mounts.get(ioring_mount(out))
    if local is None:
        error = ioring_stat_now(folder, path, flags, out, cython.address(number))
        if error < 0:
            return error
        local = _kind(number)
        if len(mounts) >= MOUNTS_MAX:
            mounts.clear()
        mounts[ioring_mount(out)] = local
    return 0 if local else -EAGAIN


def in_memory(found):
    """Whether a file whose attributes stat_known gave is in memory."""
    return mounts.get(ioring_mount(found)) == 2


def _kind(number):
    """What a mount has in memory, as in `mounts`; it is given by its number in the list of mounts."""
    try:
        with open("/proc/self/mountinfo", "rb") as lines:
            for line in lines:
                # Number, parent, device, root, place, options, more of them, a dash, type, source, options.
                if int(line[: line.index(b" ")]) == number:
                    kind = line.partition(b" - ")[2].partition(b" ")[0]
                    return 2 if kind in MEMORY else 1 if kind in LOCAL else 0
    except (OSError, ValueError):
        pass
    return 0


def open_known(folder, path, flags, out):
    """Opens an ordinary file or a folder whose name is cached. A descriptor or a negative error; -EAGAIN if it might
    have to wait."""
    fd: cython.int = stat_known(folder, path, 0, out)
    if fd < 0:
        return fd
    # Opening something else may wait: a FIFO for its other end, a terminal for its line.
    if out.mode & 0o170000 != 0o100000 and out.mode & 0o170000 != 0o040000:
        return -EAGAIN
    fd = ioring_openat2(folder, path, cython.cast(cython.uint, flags), RESOLVE_CACHED)
    return -EAGAIN if fd < 0 and not ioring_is_final(fd) else fd


def open_beneath(folder: cython.int, path: bytes, flags: cython.int, cached: cython.bint, outside: cython.bint = False):
    """A descriptor of a path that the kernel does not let leave a folder, or a negative error (``openat2``).

    With ``outside`` symbolic links may lead out of it.

    With ``cached``, -EAGAIN means that it would have to wait for a disk. Without, it means that the path changed at
    the same time, and that the caller should try again.
    """
    fd: cython.int
    resolve: uint64_t = RESOLVE_NO_MAGICLINKS if outside else RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
    name: cython.p_char = path
    if cached:
        resolve |= RESOLVE_CACHED
    with cython.nogil:
        fd = ioring_openat2(folder, name, cython.cast(cython.uint, flags), resolve)
    return fd


def stat_result_of(found):
    """os.stat_result, as os.stat makes it."""
    atime: int64_t = found.atime.sec
    mtime: int64_t = found.mtime.sec
    ctime: int64_t = found.ctime.sec
    return stat_result(
        (
            found.mode,
            found.ino,
            ioring_device(found.dev_major, found.dev_minor),
            found.nlink,
            found.uid,
            found.gid,
            found.size,
            atime,
            mtime,
            ctime,
            atime + 1e-9 * found.atime.nsec,
            mtime + 1e-9 * found.mtime.nsec,
            ctime + 1e-9 * found.ctime.nsec,
            nanoseconds(atime, found.atime.nsec),
            nanoseconds(mtime, found.mtime.nsec),
            nanoseconds(ctime, found.ctime.nsec),
            found.blksize,
            found.blocks,
            ioring_device(found.rdev_major, found.rdev_minor),
        )
    )


def nanoseconds(seconds, rest):
    if -(1 << 33) < seconds < 1 << 33:
        return seconds * 1000000000 + rest
    whole: object = seconds  # more than 64 bits
    return whole * 1000000000 + rest
