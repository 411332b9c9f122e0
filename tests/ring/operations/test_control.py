"""Doing nothing, polls, time-outs, links and cancellation do what their names say."""

import errno
import os
import select
import time

import pytest

from ioring import CancelFlags, Direct, Op, PollFlags, Sqe, SqeFlags, TimeoutFlags
from operations import TIMEOUT_S, by_user_data, complete, prepare, result, start, wait
from rings import needs, pipe_pair

SHORT_S = 0.02
LONG_S = 1000


@pytest.fixture
def two_pipes():
    with pipe_pair() as one, pipe_pair() as two:
        yield one[0], two[0]


def results(ring, count):
    """What the next completions say, by what their requests carried."""
    return {key: cqe.res for key, cqe in by_user_data(ring, count).items()}


# Nothing.


def test_nop(ring):
    data = ["anything"]
    cqe = complete(ring, Sqe.prep_nop, user_data=data)
    assert (cqe.res, cqe.flags, cqe.result()) == (0, 0, 0)
    assert cqe.user_data is data


@pytest.mark.parametrize("number", [5, 0, 2**31 - 1, -errno.EIO])
def test_nop_result(ring, number):
    cqe = complete(ring, Sqe.prep_nop_result, number)
    if number and cqe.res == 0:
        pytest.skip("the kernel injects no results")
    assert cqe.res == number


def test_nop_result_raises(ring):
    cqe = complete(ring, Sqe.prep_nop_result, -errno.ETIMEDOUT)
    if cqe.res in (0, -errno.EINVAL):
        pytest.skip("the kernel injects no results")
    with pytest.raises(TimeoutError) as caught:
        cqe.result()
    assert (caught.value.errno, caught.value.filename) == (errno.ETIMEDOUT, "nop")
    assert caught.value.strerror == os.strerror(errno.ETIMEDOUT)


# Polls.


def test_poll_add(ring, pipe):
    reading, writing = pipe
    assert result(ring, Sqe.prep_poll_add, writing, select.POLLOUT) == select.POLLOUT
    start(ring, Sqe.prep_poll_add, reading, select.POLLIN)
    assert ring.peek_cqe() is None
    writing.write(b"x")
    cqe = wait(ring)
    assert (cqe.result(), cqe.more) == (select.POLLIN, False)


def test_poll_add_of_a_direct_descriptor(ring, pipe):
    reading, writing = pipe
    assert result(ring, Sqe.prep_files_update, [reading], 3) == 1
    start(ring, Sqe.prep_poll_add, Direct(3), select.POLLIN)
    writing.close()
    assert wait(ring).result() & select.POLLHUP


def test_poll_multishot(ring, pipe):
    reading, writing = pipe
    start(ring, Sqe.prep_poll_multishot, reading, select.POLLIN, user_data="poll")
    for _ in range(3):
        writing.write(b"x")
        cqe = wait(ring)
        assert (cqe.result(), cqe.more, cqe.user_data) == (select.POLLIN, True, "poll")
        reading.read(1)
    start(ring, Sqe.prep_poll_remove, "poll", user_data="remove")
    assert results(ring, 2) == {"poll": -errno.ECANCELED, "remove": 0}


def test_poll_remove(ring, pipe):
    poll = start(ring, Sqe.prep_poll_add, pipe[0], select.POLLIN, user_data="poll")
    start(ring, Sqe.prep_poll_remove, poll, user_data="remove")
    assert results(ring, 2) == {"poll": -errno.ECANCELED, "remove": 0}
    with pytest.raises(FileNotFoundError) as caught:
        complete(ring, Sqe.prep_poll_remove, poll).result()
    assert caught.value.filename == "poll_remove"


def test_poll_update_of_events(ring, pipe):
    poll = start(ring, Sqe.prep_poll_add, pipe[1], select.POLLPRI, user_data="poll")
    start(ring, Sqe.prep_poll_update, poll, None, select.POLLOUT, PollFlags.UPDATE_EVENTS, user_data="update")
    assert results(ring, 2) == {"poll": select.POLLOUT, "update": 0}


def test_poll_update_of_user_data(ring, pipe):
    reading, writing = pipe
    new = ["new"]
    poll = start(ring, Sqe.prep_poll_multishot, reading, select.POLLIN, user_data="old")
    writing.write(b"x")
    assert wait(ring).user_data == "old"
    reading.read(1)
    assert result(ring, Sqe.prep_poll_update, "old", new, 0, PollFlags.UPDATE_USER_DATA) == 0
    assert poll.user_data is new
    writing.write(b"x")
    cqe = wait(ring)
    assert (cqe.user_data is new, cqe.more) == (True, True)
    start(ring, Sqe.prep_poll_remove, poll, user_data="remove")
    found = [wait(ring).user_data for _ in range(2)]
    assert sorted(map(str, found)) == ["['new']", "remove"]


def test_poll_update_of_nothing(ring, pipe):
    poll = start(ring, Sqe.prep_poll_add, pipe[1], select.POLLOUT, user_data="poll")
    assert wait(ring).user_data == "poll"
    both = PollFlags.UPDATE_EVENTS | PollFlags.UPDATE_USER_DATA
    assert complete(ring, Sqe.prep_poll_update, poll, "new", select.POLLIN, both).res == -errno.ENOENT
    assert poll.user_data != "new"


# Time.


def test_timeout(ring):
    begin = time.monotonic()
    cqe = complete(ring, Sqe.prep_timeout, SHORT_S)
    assert cqe.res == -errno.ETIME
    assert SHORT_S <= time.monotonic() - begin < TIMEOUT_S
    with pytest.raises(OSError, match="timeout") as caught:
        cqe.result()
    assert caught.value.errno == errno.ETIME


def test_timeout_that_enough_completions_end(ring):
    start(ring, Sqe.prep_timeout, LONG_S, 2, user_data="timeout")
    for number in range(2):
        prepare(ring, Sqe.prep_nop, user_data=number)
    ring.submit()
    assert results(ring, 3) == {"timeout": 0, 0: 0, 1: 0}


def test_timeout_at_a_point_of_time(ring):
    when = time.monotonic() + SHORT_S
    assert complete(ring, Sqe.prep_timeout, when, 0, TimeoutFlags.ABS).res == -errno.ETIME
    assert time.monotonic() >= when
    assert complete(ring, Sqe.prep_timeout, time.monotonic() - 1, 0, TimeoutFlags.ABS).res == -errno.ETIME


@pytest.mark.parametrize(
    ("flag", "clock"),
    [(TimeoutFlags.BOOTTIME, time.CLOCK_BOOTTIME), (TimeoutFlags.REALTIME, time.CLOCK_REALTIME)],
)
def test_timeout_of_another_clock(ring, flag, clock):
    when = time.clock_gettime(clock) + SHORT_S
    assert complete(ring, Sqe.prep_timeout, when, 0, TimeoutFlags.ABS | flag).res == -errno.ETIME
    assert time.clock_gettime(clock) >= when - 1e-6  # a float of seconds since 1970 has no nanoseconds


def test_timeout_as_success_does_not_break_a_chain(ring):
    for flags, expected in [(0, -errno.ECANCELED), (TimeoutFlags.ETIME_SUCCESS, 0)]:
        prepare(ring, Sqe.prep_timeout, SHORT_S, 0, flags, user_data="timeout", link=True)
        start(ring, Sqe.prep_nop, user_data="nop")
        assert results(ring, 2) == {"timeout": -errno.ETIME, "nop": expected}


def test_timeout_multishot(ring):
    request = start(ring, Sqe.prep_timeout, SHORT_S, 3, TimeoutFlags.MULTISHOT)
    cqe = wait(ring)
    if cqe.res == -errno.EINVAL:
        pytest.skip("the kernel has no multishot time-outs")
    cqes = [cqe, wait(ring), wait(ring)]
    assert [cqe.res for cqe in cqes] == [-errno.ETIME] * 3
    assert [cqe.more for cqe in cqes] == [True, True, False]
    assert complete(ring, Sqe.prep_timeout_remove, request).res == -errno.ENOENT


def test_timeout_remove(ring):
    for target in ("timeout", None):
        request = start(ring, Sqe.prep_timeout, LONG_S, user_data="timeout")
        start(ring, Sqe.prep_timeout_remove, target or request, user_data="remove")
        assert results(ring, 2) == {"timeout": -errno.ECANCELED, "remove": 0}
    assert complete(ring, Sqe.prep_timeout_remove, "nothing").res == -errno.ENOENT


def test_timeout_update(ring):
    request = start(ring, Sqe.prep_timeout, LONG_S, user_data="timeout")
    start(ring, Sqe.prep_timeout_update, SHORT_S, request, user_data="update")
    assert results(ring, 2) == {"timeout": -errno.ETIME, "update": 0}
    assert complete(ring, Sqe.prep_timeout_update, 1, request).res == -errno.ENOENT


def test_link_timeout(ring, pipe):
    prepare(ring, Sqe.prep_read, pipe[0], bytearray(1), user_data="read", link=True)
    start(ring, Sqe.prep_link_timeout, SHORT_S, user_data="timeout")
    assert results(ring, 2) == {"read": -errno.ECANCELED, "timeout": -errno.ETIME}


def test_link_timeout_that_is_not_needed(ring, pipe):
    prepare(ring, Sqe.prep_read, pipe[0], bytearray(1), user_data="read", link=True)
    start(ring, Sqe.prep_link_timeout, LONG_S, user_data="timeout")
    pipe[1].write(b"x")
    assert results(ring, 2) == {"read": 1, "timeout": -errno.ECANCELED}


def test_timeout_update_of_a_link_timeout(ring, pipe):
    prepare(ring, Sqe.prep_read, pipe[0], bytearray(1), user_data="read", link=True)
    timeout = start(ring, Sqe.prep_link_timeout, LONG_S, user_data="timeout")
    start(ring, Sqe.prep_timeout_update, SHORT_S, timeout, TimeoutFlags.LINK_UPDATE, user_data="update")
    assert results(ring, 3) == {"read": -errno.ECANCELED, "timeout": -errno.ETIME, "update": 0}


# Chains.


def test_link_goes_on_after_success(ring, tmp_path):
    content = bytearray(7)
    with open(tmp_path / "file", "w+b", buffering=0) as file:
        prepare(ring, Sqe.prep_write, file, b"written", None, 0, link=True, user_data="write")
        prepare(ring, Sqe.prep_fsync, file, link=True, user_data="fsync")
        start(ring, Sqe.prep_read, file, content, None, 0, user_data="read")
        assert results(ring, 3) == {"write": 7, "fsync": 0, "read": 7}
    assert content == b"written"


def test_link_stops_at_a_failure(ring, pipe):
    prepare(ring, Sqe.prep_read, pipe[1], bytearray(1), link=True, user_data="wrong end")
    prepare(ring, Sqe.prep_nop, link=True, user_data="second")
    start(ring, Sqe.prep_nop, user_data="third")
    assert results(ring, 3) == {
        "wrong end": -errno.EBADF,
        "second": -errno.ECANCELED,
        "third": -errno.ECANCELED,
    }


def test_link_stops_at_a_short_transfer(ring, pipe):
    pipe[1].write(b"short")
    prepare(ring, Sqe.prep_read, pipe[0], bytearray(10), link=True, user_data="read")
    start(ring, Sqe.prep_nop, user_data="nop")
    assert results(ring, 2) == {"read": 5, "nop": -errno.ECANCELED}


def test_hardlink_goes_on_after_a_failure(ring, pipe):
    prepare(ring, Sqe.prep_read, pipe[1], bytearray(1), hardlink=True, user_data="wrong end")
    start(ring, Sqe.prep_nop, user_data="nop")
    assert results(ring, 2) == {"wrong end": -errno.EBADF, "nop": 0}


def test_drain_waits_for_what_came_before(ring, pipe):
    reading, writing = pipe
    start(ring, Sqe.prep_read, reading, bytearray(1), user_data="read")
    start(ring, Sqe.prep_nop, drain=True, user_data="drained")
    start(ring, Sqe.prep_nop, user_data="behind")
    assert ring.peek_cqe() is None
    writing.write(b"x")
    assert [wait(ring).user_data for _ in range(3)] == ["read", "drained", "behind"]


def test_skip_success(ring, pipe):
    for number in range(3):
        prepare(ring, Sqe.prep_nop, skip_success=True, user_data=number)
    prepare(ring, Sqe.prep_read, pipe[1], bytearray(1), skip_success=True, user_data="fails")
    start(ring, Sqe.prep_nop, user_data="shown", flags=SqeFlags.IO_DRAIN)
    assert results(ring, 2) == {"fails": -errno.EBADF, "shown": 0}


# Cancelling.


@pytest.mark.parametrize("by", ["request", "user_data", "token"])
def test_cancel(ring, pipe, by):
    request = start(ring, Sqe.prep_read, pipe[0], bytearray(1), user_data=("read", 1))
    if by == "token":
        start(ring, Sqe.prep_cancel64, request.token, user_data="cancel")
    else:
        start(ring, Sqe.prep_cancel, request if by == "request" else ("read", 1), user_data="cancel")
    assert results(ring, 2) == {("read", 1): -errno.ECANCELED, "cancel": 0}
    if by == "token":
        cqe = complete(ring, Sqe.prep_cancel64, request.token)
    else:
        cqe = complete(ring, Sqe.prep_cancel, request if by == "request" else ("read", 1))
    with pytest.raises(FileNotFoundError) as caught:
        cqe.result()
    assert caught.value.filename == "async_cancel"


def test_cancel_leaves_others_alone(ring, two_pipes):
    requests = [start(ring, Sqe.prep_read, end, bytearray(1), user_data=end.fileno()) for end in two_pipes]
    start(ring, Sqe.prep_cancel, requests[1], user_data="cancel")
    assert results(ring, 2) == {two_pipes[1].fileno(): -errno.ECANCELED, "cancel": 0}
    start(ring, Sqe.prep_cancel, requests[0], user_data="cancel")
    assert results(ring, 2) == {two_pipes[0].fileno(): -errno.ECANCELED, "cancel": 0}


def test_cancel_of_ambiguous_user_data(ring, two_pipes):
    for end in two_pipes:
        start(ring, Sqe.prep_read, end, bytearray(1), user_data="same")
    with pytest.raises(ValueError, match="several requests"):
        prepare(ring, Sqe.prep_cancel, "same")
    start(ring, Sqe.prep_cancel, None, CancelFlags.ANY | CancelFlags.ALL)
    assert sorted(wait(ring).res for _ in range(4)) == [-errno.ECANCELED, -errno.ECANCELED, 0, 2]


@pytest.mark.parametrize("flags", [CancelFlags.ANY, CancelFlags.ANY | CancelFlags.ALL])
def test_cancel_everything(ring, two_pipes, flags):
    for number, end in enumerate(two_pipes):
        start(ring, Sqe.prep_poll_add, end, select.POLLIN, user_data=number)
    start(ring, Sqe.prep_timeout, LONG_S, user_data="timeout")
    start(ring, Sqe.prep_cancel, None, flags, user_data="cancel")
    assert results(ring, 4) == {**dict.fromkeys((0, 1, "timeout"), -errno.ECANCELED), "cancel": 3}


@pytest.mark.parametrize("direct", [False, True])
def test_cancel_fd(ring, two_pipes, direct):
    one, two = two_pipes
    if direct:
        assert result(ring, Sqe.prep_files_update, two_pipes) == 2
        one, two = Direct(0), Direct(1)
    for number in range(2):
        start(ring, Sqe.prep_read, one, bytearray(1), user_data=number)
    start(ring, Sqe.prep_read, two, bytearray(1), user_data="two")
    start(ring, Sqe.prep_cancel_fd, one, CancelFlags.ALL, user_data="cancel")
    assert results(ring, 3) == {0: -errno.ECANCELED, 1: -errno.ECANCELED, "cancel": 2}
    start(ring, Sqe.prep_cancel_fd, two, user_data="cancel")
    assert results(ring, 2) == {"two": -errno.ECANCELED, "cancel": 0}
    assert complete(ring, Sqe.prep_cancel_fd, two).res == -errno.ENOENT


@needs("FUTEX_WAIT")  # as new as cancelling by operation
def test_cancel_op(ring, two_pipes):
    start(ring, Sqe.prep_read, two_pipes[0], bytearray(1), user_data="read")
    start(ring, Sqe.prep_poll_add, two_pipes[0], select.POLLIN, user_data="poll")
    start(ring, Sqe.prep_cancel_op, Op.POLL_ADD, user_data="cancel")
    assert results(ring, 2) == {"poll": -errno.ECANCELED, "cancel": 0}
    start(ring, Sqe.prep_cancel_op, Op.READ, CancelFlags.ALL, user_data="cancel")
    assert results(ring, 2) == {"read": -errno.ECANCELED, "cancel": 1}


@pytest.mark.parametrize("by", ["request", "token"])
def test_register_sync_cancel(ring, two_pipes, by):
    request = start(ring, Sqe.prep_read, two_pipes[0], bytearray(1))
    target = request if by == "request" else request.token
    assert ring.register_sync_cancel(target, timeout=TIMEOUT_S) == 0
    assert wait(ring).res == -errno.ECANCELED
    with pytest.raises(FileNotFoundError) as caught:
        ring.register_sync_cancel(target)
    assert "sync_cancel" in caught.value.filename


@pytest.mark.parametrize("direct", [False, True])
def test_register_sync_cancel_of_descriptors(ring, two_pipes, direct):
    one, two = two_pipes
    if direct:
        assert result(ring, Sqe.prep_files_update, two_pipes) == 2
        one, two = Direct(0), Direct(1)
    for target in (one, one, two):
        start(ring, Sqe.prep_read, target, bytearray(1), user_data=target)
    flags = CancelFlags.FD | CancelFlags.ALL
    assert ring.register_sync_cancel(fd=one, flags=flags, timeout=TIMEOUT_S) == 2
    assert [(cqe.user_data, cqe.res) for cqe in ring.wait_cqes(2, timeout=TIMEOUT_S)] == [(one, -errno.ECANCELED)] * 2
    assert ring.register_sync_cancel(flags=CancelFlags.ANY | CancelFlags.ALL) == 1
    assert wait(ring).res == -errno.ECANCELED


@needs("FUTEX_WAIT")  # as new as cancelling by operation
def test_register_sync_cancel_of_an_operation(ring, two_pipes):
    start(ring, Sqe.prep_read, two_pipes[0], bytearray(1), user_data="read")
    start(ring, Sqe.prep_poll_add, two_pipes[0], select.POLLIN, user_data="poll")
    assert ring.register_sync_cancel(op=Op.POLL_ADD, flags=CancelFlags.OP) == 0
    assert wait(ring).user_data == "poll"
    assert ring.register_sync_cancel(op=Op.READ, flags=CancelFlags.OP | CancelFlags.ALL) == 1
    assert wait(ring).user_data == "read"
