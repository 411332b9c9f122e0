"""Operations on pipes do what their names say."""

import array
import errno
import os

import pytest

from ioring import Direct, SlotError, SpliceFlags, Sqe
from operations import complete, result, start, wait
from rings import make, needs, pipe_pair


def test_splice_from_a_file_through_a_pipe(ring, pipe, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"0123456789")
    target.write_bytes(b"abcdefghij")
    reading, writing = pipe
    with open(source, "rb", buffering=0) as file:
        assert result(ring, Sqe.prep_splice, file, 2, writing, -1, 5) == 5
        assert file.tell() == 0
        assert result(ring, Sqe.prep_splice, file, -1, writing, -1, 2) == 2
        assert file.tell() == 2
    with open(target, "r+b", buffering=0) as file:
        assert result(ring, Sqe.prep_splice, reading, -1, file, 3, 100, SpliceFlags.MOVE) == 7
    assert target.read_bytes() == b"abc2345601"


def test_splice_of_direct_descriptors(ring, pipe, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    reading, writing = pipe
    file = Direct(result(ring, Sqe.prep_open_direct, path, os.O_RDWR))
    assert result(ring, Sqe.prep_files_update, [reading, writing], 4) == 2
    assert result(ring, Sqe.prep_splice, file, 5, Direct(5), -1, 3) == 3
    assert result(ring, Sqe.prep_splice, Direct(4), -1, file, 0, 3) == 3
    assert path.read_bytes() == b"5673456789"
    assert result(ring, Sqe.prep_splice, file, 8, writing, -1, 2) == 2
    assert os.read(reading.fileno(), 10) == b"89"


def test_splice_of_an_empty_pipe_without_waiting(ring, pipe):
    with pipe_pair() as (_, other):
        cqe = complete(ring, Sqe.prep_splice, pipe[0], -1, other, -1, 1, SpliceFlags.NONBLOCK)
    with pytest.raises(BlockingIOError) as caught:
        cqe.result()
    assert caught.value.filename == "splice"


def test_tee(ring, pipe):
    reading, writing = pipe
    writing.write(b"twice")
    with pipe_pair() as (other_reading, other_writing):
        assert result(ring, Sqe.prep_tee, reading, other_writing, 4) == 4
        assert other_reading.read(10) == b"twic"
        assert result(ring, Sqe.prep_files_update, [reading], 0) == 1
        assert result(ring, Sqe.prep_tee, Direct(0), other_writing, 100) == 5
        assert other_reading.read(10) == b"twice"
    assert reading.read(10) == b"twice"


@needs("READ_MULTISHOT")
def test_read_multishot(ring, pipe):
    reading, writing = pipe
    buffers = ring.setup_buf_ring(4, 16, 3)
    request = start(ring, Sqe.prep_read_multishot, reading, 0, -1, 3, user_data="read")
    for word in (b"one", b"two", b"three", b"four", b"five", b"six"):
        writing.write(word)
        cqe = wait(ring)
        assert (cqe.result(), cqe.more, cqe.user_data) == (len(word), True, "read")
        assert buffers.view(cqe) == word
        buffers.recycle(cqe)
    assert request.user_data == "read"
    writing.close()
    cqe = wait(ring)
    assert (cqe.res, cqe.more) == (0, False)


@needs("PIPE")
@pytest.mark.parametrize("flags", [0, os.O_NONBLOCK | os.O_CLOEXEC])
def test_pipe(ring, flags):
    ends = array.array("i", [-1, -1])
    assert result(ring, Sqe.prep_pipe, ends, flags) == 0
    reading, writing = ends
    try:
        assert os.write(writing, b"through") == 7
        assert os.read(reading, 10) == b"through"
        assert [os.get_blocking(end) for end in ends] == [not flags] * 2
        assert [os.get_inheritable(end) for end in ends] == [not flags] * 2
    finally:
        os.close(reading)
        os.close(writing)


@needs("PIPE")
@pytest.mark.parametrize("chosen", [False, True])
def test_pipe_direct(ring, chosen):
    ends = array.array("i", [-1, -1])
    assert result(ring, Sqe.prep_pipe_direct, ends, 0, *([4] if chosen else [])) == 0
    if chosen:
        slots = (4, 5)
    else:
        slots = tuple(ends)
        assert len(set(slots) & set(range(8))) == 2
    assert result(ring, Sqe.prep_write, Direct(slots[1]), b"through") == 7
    buffer = bytearray(7)
    assert result(ring, Sqe.prep_read, Direct(slots[0]), buffer) == 7
    assert buffer == b"through"
    for slot in slots:
        assert result(ring, Sqe.prep_close_direct, slot) == 0
    assert complete(ring, Sqe.prep_read, Direct(slots[0]), buffer).res == -errno.EBADF


def test_pipe_direct_needs_a_table():
    with make() as ring, pytest.raises(SlotError):
        ring.get_sqe().prep_pipe_direct(array.array("i", [-1, -1]))
