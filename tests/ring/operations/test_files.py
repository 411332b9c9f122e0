"""Operations on files do what their names say."""

import array
import errno
import mmap
import os

import pytest

from ioring import (
    FILE_INDEX_ALLOC,
    FILES_SKIP,
    Direct,
    FixedFdFlags,
    FsyncFlags,
    OpenHow,
    ResolveFlags,
    RwFlags,
    SlotError,
    Sqe,
    Statx,
    StatxMask,
)
from operations import complete, needs_trial, prepare, result, start, wait
from rings import needs, pipe_pair

CONTENT = bytes(range(256)) * 64


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def file(path):
    with open(path, "r+b", buffering=0) as file:
        yield file


# Reading and writing.


def test_read(ring, file):
    buffer = bytearray(100)
    assert result(ring, Sqe.prep_read, file, buffer, 50, 1000) == 50
    assert buffer == CONTENT[1000:1050] + bytes(50)


def test_read_moves_the_position(ring, file):
    buffer = bytearray(10)
    for begin in (0, 10):
        assert result(ring, Sqe.prep_read, file, buffer) == 10
        assert buffer == CONTENT[begin : begin + 10]
    assert file.tell() == 20


def test_read_at_the_end(ring, file):
    buffer = bytearray(10)
    assert result(ring, Sqe.prep_read, file, buffer, None, len(CONTENT) - 3) == 3
    assert result(ring, Sqe.prep_read, file, buffer, None, len(CONTENT)) == 0


def test_read_into_a_slice(ring, file):
    buffer = bytearray(30)
    assert result(ring, Sqe.prep_read, file.fileno(), memoryview(buffer)[10:20], None, 0) == 10
    assert buffer == bytes(10) + CONTENT[:10] + bytes(10)


def test_read_past_the_cache(ring, path):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        pytest.skip("file system without O_DIRECT")
    try:
        with mmap.mmap(-1, 8192) as pages:
            assert result(ring, Sqe.prep_read, fd, pages, None, 4096) == 8192
            assert pages[:] == CONTENT[4096:12288]
    finally:
        os.close(fd)


def test_write(ring, file, path):
    assert result(ring, Sqe.prep_write, file, b"hello", None, 3) == 5
    assert result(ring, Sqe.prep_write, file, b"12345", 2, len(CONTENT)) == 2
    assert path.read_bytes() == CONTENT[:3] + b"hello" + CONTENT[8:] + b"12"


def test_write_moves_the_position(ring, file, path):
    for word in (b"ab", b"cd"):
        assert result(ring, Sqe.prep_write, file, word) == 2
    assert path.read_bytes()[:5] == b"abcd" + CONTENT[4:5]


def test_write_to_a_read_only_file(ring, path):
    with open(path, "rb") as file:
        cqe = complete(ring, Sqe.prep_write, file, b"x", None, 0)
    with pytest.raises(OSError, match="write") as caught:
        cqe.result()
    assert (caught.value.errno, caught.value.filename) == (errno.EBADF, "write")


def test_readv(ring, file):
    buffers = [bytearray(3), bytearray(0), bytearray(5)]
    assert result(ring, Sqe.prep_readv, file, buffers, 7) == 8
    assert buffers == [CONTENT[7:10], b"", CONTENT[10:15]]


def test_readv2_without_waiting(ring, file):
    buffers = [bytearray(3), bytearray(5)]
    os.pread(file.fileno(), 100, 0)  # cached now
    cqe = complete(ring, Sqe.prep_readv2, file, buffers, 0, RwFlags.NOWAIT)
    if cqe.res == -errno.EOPNOTSUPP:
        pytest.skip("file system without RWF_NOWAIT")
    assert cqe.result() == 8
    assert b"".join(buffers) == CONTENT[:8]


def test_writev(ring, file, path):
    assert result(ring, Sqe.prep_writev, file, [b"one", bytearray(b"two"), memoryview(b"three")], 1) == 11
    assert path.read_bytes() == CONTENT[:1] + b"onetwothree" + CONTENT[12:]


def test_writev2_appends(ring, file, path):
    assert result(ring, Sqe.prep_writev2, file, [b"x", b"y"], 0, RwFlags.APPEND) == 2
    assert path.read_bytes() == CONTENT + b"xy"


# Registered buffers.


def test_read_fixed(ring, file):
    buffers = [bytearray(100), bytearray(4096)]
    ring.register_buffers(buffers)
    assert result(ring, Sqe.prep_read_fixed, file, memoryview(buffers[1])[8:], 16, 0, 1) == 16
    assert buffers[1][:32] == bytes(8) + CONTENT[:16] + bytes(8)
    cqe = complete(ring, Sqe.prep_read_fixed, file, buffers[1], 16, 0, 0)
    with pytest.raises(OSError, match="read_fixed") as caught:
        cqe.result()
    assert caught.value.errno == errno.EFAULT


def test_write_fixed(ring, file, path):
    ring.register_buffers_sparse(2)
    buffer = bytearray(b"fixed buffer")
    assert ring.register_buffers_update(1, [buffer]) == 1
    assert result(ring, Sqe.prep_write_fixed, file, buffer, 5, 2, 1) == 5
    assert path.read_bytes()[:9] == CONTENT[:2] + b"fixed" + CONTENT[7:9]
    assert ring.register_buffers_update(1, [None]) == 1
    with pytest.raises(OSError, match="write_fixed"):
        complete(ring, Sqe.prep_write_fixed, file, buffer, 5, 2, 1).result()


@needs("READV_FIXED")
def test_readv_fixed(ring, file):
    buffer = bytearray(100)
    ring.register_buffers([buffer])
    view = memoryview(buffer)
    assert result(ring, Sqe.prep_readv_fixed, file, [view[50:60], view[:4]], 3) == 14
    assert (buffer[50:60], buffer[:4]) == (CONTENT[3:13], CONTENT[13:17])


@needs("WRITEV_FIXED")
def test_writev_fixed(ring, file, path):
    buffer = bytearray(b"some bytes")
    ring.register_buffers([buffer])
    view = memoryview(buffer)
    assert result(ring, Sqe.prep_writev_fixed, file, [view[5:], view[:5]], 0) == 10
    assert path.read_bytes()[:10] == b"bytessome "


# Opening and closing.


def test_openat_and_close(ring, path):
    directory = os.open(path.parent, os.O_PATH)
    fd = result(ring, Sqe.prep_openat, directory, path.name, os.O_RDONLY | os.O_CLOEXEC)
    assert os.pread(fd, 10, 0) == CONTENT[:10]
    assert not os.get_inheritable(fd)
    for number in (fd, directory):
        assert result(ring, Sqe.prep_close, number) == 0
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_open_creates_with_mode(ring, tmp_path):
    umask = os.umask(0o022)
    try:
        fd = result(ring, Sqe.prep_open, tmp_path / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    finally:
        os.umask(umask)
    os.close(fd)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o644
    with pytest.raises(FileExistsError) as caught:
        complete(ring, Sqe.prep_open, tmp_path / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666).result()
    assert caught.value.filename == "openat"


def test_open_of_nothing(ring, tmp_path):
    with pytest.raises(FileNotFoundError):
        result(ring, Sqe.prep_open, tmp_path / "nothing")


@pytest.mark.parametrize("relative", [False, True])
def test_open_direct_chooses_a_slot(ring, path, relative):
    directory = os.open(path.parent, os.O_PATH)
    try:
        for expected in range(8):
            if relative:
                slot = result(ring, Sqe.prep_openat_direct, directory, path.name, os.O_RDONLY)
            else:
                slot = result(ring, Sqe.prep_open_direct, path, os.O_RDONLY)
            assert slot == expected
    finally:
        os.close(directory)
    buffer = bytearray(10)
    assert result(ring, Sqe.prep_read, Direct(7), buffer, None, 20) == 10
    assert buffer == CONTENT[20:30]
    with pytest.raises(OSError, match="openat") as caught:
        result(ring, Sqe.prep_open_direct, path, os.O_RDONLY)
    assert caught.value.errno == errno.ENFILE


def test_open_direct_into_a_slot(ring, path):
    assert result(ring, Sqe.prep_open_direct, path, os.O_RDONLY, 0, 5) == 0
    buffer = bytearray(4)
    assert result(ring, Sqe.prep_read, Direct(5), buffer) == 4
    assert buffer == CONTENT[:4]
    with pytest.raises(SlotError):
        prepare(ring, Sqe.prep_open_direct, path, os.O_RDONLY, 0, 8)
    assert ring.submit() == 1
    assert wait(ring).result() == 0  # what could not be prepared is a NOP


@pytest.mark.parametrize("close", [Sqe.prep_close, Sqe.prep_close_direct])
def test_close_direct(ring, path, close):
    slot = Direct(result(ring, Sqe.prep_open_direct, path))
    assert result(ring, close, slot) == 0
    for method, arguments in [(Sqe.prep_read, (slot, bytearray(1))), (close, (slot,))]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            complete(ring, method, *arguments).result()


def test_openat2(ring, path):
    directory = os.open(path.parent, os.O_PATH)
    beneath = OpenHow(os.O_RDONLY, resolve=ResolveFlags.BENEATH)
    try:
        fd = result(ring, Sqe.prep_openat2, directory, path.name, beneath)
        os.close(fd)
        cqe = complete(ring, Sqe.prep_openat2, directory, f"../{path.parent.name}/{path.name}", beneath)
        with pytest.raises(OSError, match="openat2") as caught:
            cqe.result()
    finally:
        os.close(directory)
    assert caught.value.errno == errno.EXDEV


def test_openat2_direct(ring, path):
    how = OpenHow(os.O_RDONLY, resolve=ResolveFlags.NO_SYMLINKS)
    link = path.with_name("link")
    link.symlink_to(path)
    slot = result(ring, Sqe.prep_openat2_direct, None, path, how)
    buffer = bytearray(3)
    assert result(ring, Sqe.prep_read, Direct(slot), buffer) == 3
    assert buffer == CONTENT[:3]
    cqe = complete(ring, Sqe.prep_openat2_direct, None, link, how)
    assert cqe.res == -errno.ELOOP


@needs("FIXED_FD_INSTALL")
@pytest.mark.parametrize("flags", [0, FixedFdFlags.NO_CLOEXEC])
def test_fixed_fd_install(ring, path, flags):
    slot = Direct(result(ring, Sqe.prep_open_direct, path))
    fd = result(ring, Sqe.prep_fixed_fd_install, slot, flags)
    try:
        assert result(ring, Sqe.prep_close, slot) == 0
        assert os.pread(fd, 5, 0) == CONTENT[:5]
        assert os.get_inheritable(fd) == bool(flags)
    finally:
        os.close(fd)


def test_files_update(ring, path, tmp_path):
    (tmp_path / "other").write_bytes(b"other")
    with open(path, "rb") as one, open(tmp_path / "other", "rb") as two:
        assert result(ring, Sqe.prep_files_update, [one, two.fileno()], 3) == 2
        assert result(ring, Sqe.prep_files_update, [-1, FILES_SKIP], 3) == 2
    buffer = bytearray(5)
    assert result(ring, Sqe.prep_read, Direct(4), buffer) == 5
    assert buffer == b"other"
    assert complete(ring, Sqe.prep_read, Direct(3), buffer).res == -errno.EBADF


def test_files_update_chooses_slots(ring, path):
    assert result(ring, Sqe.prep_open_direct, path, 0, 0, 1) == 0
    with open(path, "rb") as file:
        slots = array.array("i", [file.fileno()] * 3)
        assert result(ring, Sqe.prep_files_update, slots, FILE_INDEX_ALLOC) == 3
    assert len(set(slots) | {1}) == 4
    buffer = bytearray(5)
    assert result(ring, Sqe.prep_read, Direct(slots[2]), buffer, None, 5) == 5
    assert buffer == CONTENT[5:10]


# What is done with an open file.


@pytest.mark.parametrize("flags", [0, FsyncFlags.DATASYNC])
def test_fsync(ring, file, flags):
    file.write(b"x")
    assert result(ring, Sqe.prep_fsync, file, flags) == 0
    with pipe_pair() as (reading, _):
        assert complete(ring, Sqe.prep_fsync, reading, flags).res == -errno.EINVAL  # so it was an fsync


def test_sync_file_range(ring, file):
    file.write(b"x" * 8192)
    every = 1 | 2 | 4  # wait before, write, wait after
    assert result(ring, Sqe.prep_sync_file_range, file, 4096, 4096, every) == 0
    assert result(ring, Sqe.prep_sync_file_range, file) == 0
    assert complete(ring, Sqe.prep_sync_file_range, file, 1, 0, 8).res == -errno.EINVAL


def test_fallocate(ring, file):
    before = os.fstat(file.fileno())
    assert result(ring, Sqe.prep_fallocate, file, 0, len(CONTENT), 1 << 20) == 0
    after = os.fstat(file.fileno())
    assert after.st_size == len(CONTENT) + (1 << 20)
    assert after.st_blocks >= before.st_blocks + (1 << 20) // 512


def test_fallocate_punches_a_hole(ring, file, path):
    keep_size_and_punch = 1 | 2
    cqe = complete(ring, Sqe.prep_fallocate, file, keep_size_and_punch, 4096, 4096)
    if cqe.res == -errno.EOPNOTSUPP:
        pytest.skip("file system without holes")
    assert cqe.res == 0
    assert path.read_bytes() == CONTENT[:4096] + bytes(4096) + CONTENT[8192:]


@needs("FTRUNCATE")
def test_ftruncate(ring, file, path):
    assert result(ring, Sqe.prep_ftruncate, file, 10) == 0
    assert path.read_bytes() == CONTENT[:10]
    assert result(ring, Sqe.prep_ftruncate, file, 2**33) == 0
    assert path.stat().st_size == 2**33


# To a pipe no advice can be given, and that is what a kernel says that knows these.
with pipe_pair() as (reading, _):
    FADVISE64 = pytest.param(
        Sqe.prep_fadvise64, marks=needs_trial("wide advice", Sqe.prep_fadvise64, reading, 0, 1, os.POSIX_FADV_NORMAL)
    )
    MADVISE64 = pytest.param(Sqe.prep_madvise64, marks=FADVISE64.marks)


@pytest.mark.parametrize("method", [Sqe.prep_fadvise, FADVISE64])
def test_fadvise(ring, file, method):
    assert result(ring, method, file, 0, len(CONTENT), os.POSIX_FADV_WILLNEED) == 0
    assert complete(ring, method, file, 0, 1, 99).res == -errno.EINVAL  # so the kernel saw the advice
    with pipe_pair() as (reading, _):
        assert complete(ring, method, reading, 0, 1, os.POSIX_FADV_NORMAL).res == -errno.ESPIPE


@pytest.mark.parametrize("method", [Sqe.prep_madvise, MADVISE64])
def test_madvise_empties_pages(ring, method):
    page = mmap.PAGESIZE
    with mmap.mmap(-1, 2 * page, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[:] = b"x" * (2 * page)
        assert result(ring, method, memory, page, mmap.MADV_DONTNEED) == 0
        assert memory[:] == bytes(page) + b"x" * page


def test_statx(ring, path):
    found = Statx()
    assert result(ring, Sqe.prep_statx, None, path, 0, StatxMask.BASIC_STATS | StatxMask.BTIME, found) == 0
    expected = os.stat(path)
    assert found.mask & StatxMask.BASIC_STATS == StatxMask.BASIC_STATS
    assert (found.mode, found.nlink, found.uid, found.gid) == (
        expected.st_mode,
        expected.st_nlink,
        expected.st_uid,
        expected.st_gid,
    )
    assert (found.ino, found.size, found.blocks) == (expected.st_ino, expected.st_size, expected.st_blocks)
    assert found.blksize == expected.st_blksize
    assert (found.atime_ns, found.mtime_ns, found.ctime_ns) == (
        expected.st_atime_ns,
        expected.st_mtime_ns,
        expected.st_ctime_ns,
    )
    assert found.dev == (os.major(expected.st_dev), os.minor(expected.st_dev))
    assert found.btime_ns <= found.ctime_ns


def test_statx_of_a_device(ring):
    found = Statx()
    assert result(ring, Sqe.prep_statx, None, "/dev/null", 0, StatxMask.BASIC_STATS, found) == 0
    assert found.rdev == (1, 3)


def test_statx_of_an_open_file_and_of_a_link(ring, file, path):
    link = path.with_name("link")
    link.symlink_to(path)
    found = Statx()
    empty_path, no_follow = 0x1000, 0x100
    assert result(ring, Sqe.prep_statx, file, "", empty_path, StatxMask.INO, found) == 0
    assert found.ino == path.stat().st_ino
    assert result(ring, Sqe.prep_statx, None, link, no_follow, StatxMask.INO, found) == 0
    assert found.ino == link.lstat().st_ino


class Descriptor:
    """Closes its descriptor when nobody refers to it any more."""

    def __init__(self, fd):
        self.fd = fd

    def fileno(self):
        return self.fd

    def __del__(self):
        os.close(self.fd)


def test_request_keeps_its_file_open(ring):
    reading, writing = os.pipe()
    start(ring, Sqe.prep_read, Descriptor(reading), bytearray(1))
    os.fstat(reading)
    os.write(writing, b"x")
    assert wait(ring).result() == 1
    os.close(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)
