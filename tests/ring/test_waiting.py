"""Waiting for completions: time-outs, what stays in the queue, and signals that come meanwhile."""

import select
import signal
import socket
import time

import pytest

from ioring import Ring, RingClosed
from rings import FLAGS, WAIT_S, drain, make, stream_pair


@pytest.mark.parametrize("flags", FLAGS)
def test_timeouts_are_never_early(flags):
    with make(flags) as ring, stream_pair() as (here, _):
        ring.get_sqe().prep_recv(here, bytearray(1))
        ring.submit()
        for wait in (
            ring.wait_cqe,
            lambda seconds: ring.wait_cqes(2, seconds),
            lambda seconds: ring.submit_and_wait(1, seconds),
        ):
            for seconds in (0, 0.0, 0.001, 0.03):
                begin = time.monotonic()
                with pytest.raises(TimeoutError):
                    wait(seconds)
                assert time.monotonic() - begin >= seconds


@pytest.mark.parametrize("flags", FLAGS)
def test_timeout_leaves_completions_in_the_queue(flags):
    with make(flags) as ring:
        for number in range(3):
            ring.get_sqe().user_data = number
        ring.submit()
        for _ in range(3):
            with pytest.raises(TimeoutError, match="3 of 5"):
                ring.wait_cqes(5, 0.01)
        assert ring.cq_ready() == 3
        ring.get_sqe().user_data = 3
        with pytest.raises(TimeoutError):
            ring.submit_and_wait(5, 0.01)
        assert [cqe.user_data for cqe in ring.wait_cqes(4, WAIT_S)] == [0, 1, 2, 3]
        assert ring.peek_cqe() is None


@pytest.mark.parametrize("skipping", [False, True])
def test_order_is_kept_when_completions_were_put_back(skipping):
    with Ring(16) as ring:
        if skipping:
            ring.get_sqe().skip_success = True
        for number in range(4):
            ring.get_sqe().user_data = number
        ring.submit()
        with pytest.raises(TimeoutError):
            ring.wait_cqes(9, 0)
        ring.submit_and_wait(1)
        ring.submit_and_wait(2, 0)
        assert [cqe.user_data for cqe in ring.completions()] == [0, 1, 2, 3]


@pytest.mark.parametrize("flags", FLAGS)
def test_submit_and_wait(flags):
    with make(flags) as ring, stream_pair() as (here, there):
        assert ring.submit_and_wait(0) == 0
        for _ in range(3):
            ring.get_sqe()
        assert ring.submit_and_wait(3) == 3
        assert ring.cq_ready() == 3
        assert ring.submit_and_wait(3) == 0
        ring.wait_cqes(3)
        ring.get_sqe().prep_recv(here, bytearray(4))
        with pytest.raises(TimeoutError, match="0 of 1"):
            ring.submit_and_wait(1, 0.01)
        there.send(b"abc")
        assert ring.wait_cqe(WAIT_S).res == 3


def test_waiting_for_more_than_the_queue_holds():
    with Ring(4) as ring:
        with pytest.raises(ValueError, match="n must be between 0 and the 8 entries"):
            ring.submit_and_wait(9)
        for _ in range(40):
            ring.get_sqe()
        ring.submit()
        assert len(ring.wait_cqes(40, WAIT_S)) == 40


@pytest.mark.parametrize("flags", FLAGS)
def test_peek(flags):
    with make(flags) as ring:
        assert ring.peek_cqe() is None
        ring.get_sqe().user_data = "x"
        ring.submit_and_wait(1, WAIT_S)
        assert ring.peek_cqe().user_data == "x"
        assert ring.peek_cqe() is None


@pytest.mark.parametrize("flags", FLAGS)
def test_completions_of_a_loop_left_early(flags):
    with make(flags) as ring:
        for number in range(10):
            ring.get_sqe().user_data = number
        ring.submit_and_wait(10, WAIT_S)
        seen = []
        for cqe in ring.completions():
            seen.append(cqe.user_data)
            if len(seen) == 3:
                break
        seen += [cqe.user_data for cqe in ring.completions()]
        assert seen == list(range(10))
        assert list(ring.completions()) == []


def test_completions_of_a_loop_that_submits():
    with Ring(8) as ring:
        ring.get_sqe()
        ring.get_sqe()
        ring.submit_and_wait(2)
        rounds = 0
        for _ in ring.completions():
            rounds += 1
            ring.get_sqe()
            ring.submit()
        assert rounds == 2
        assert len(list(ring.completions())) == 2


def test_completions_iterator():
    with Ring(8) as ring:
        ring.get_sqe()
        ring.submit_and_wait(1)
        iterator = ring.completions()
        assert iter(iterator) is iterator
        assert ring.wait_cqe().res == 0
        assert next(iterator, "none") == "none"
        ring.get_sqe()
        ring.submit_and_wait(1)
        iterator = ring.completions()
    with pytest.raises(RingClosed):
        next(iterator)
    with pytest.raises(TypeError):
        type(iterator)()
    assert list(type(iterator).__new__(type(iterator))) == []


@pytest.mark.parametrize("flags", FLAGS)
def test_overflow_loses_nothing(flags):
    with make(flags, 4, cq_entries=4) as ring:
        for number in range(64):
            ring.get_sqe().user_data = number
        ring.submit()
        assert sorted(cqe.user_data for cqe in drain(ring)) == list(range(64))


@pytest.mark.parametrize("flags", FLAGS)
def test_overflow_of_multishot_loses_nothing(flags):
    with make(flags, 4, cq_entries=4) as ring, stream_pair() as (here, there):
        buffers = ring.setup_buf_ring(32, 64, 3)
        arm(ring, here)
        for number in range(16):
            there.send(bytes([number]) * 8)
        there.shutdown(socket.SHUT_WR)
        data = b""
        ends = 0
        while True:
            cqe = ring.wait_cqe(WAIT_S)
            if cqe.buffer_id is not None:
                data += buffers.read(cqe)
                buffers.recycle(cqe)
            if not cqe.more:
                if cqe.res == 0:
                    break
                ends += 1
                arm(ring, here)
        assert data == b"".join(bytes([number]) * 8 for number in range(16))
        assert buffers.available == 32


def arm(ring, sock):
    sqe = ring.get_sqe()
    sqe.prep_recv_multishot(sock)
    sqe.buffer_group = 3
    ring.submit()


def test_poll_tells_of_completions():
    with Ring(4) as ring:
        poll = select.poll()
        poll.register(ring, select.POLLIN)
        assert poll.poll(0) == []
        ring.get_sqe()
        ring.submit()
        assert poll.poll(WAIT_S * 1000) == [(ring.fileno(), select.POLLIN)]


# Signals.


@pytest.fixture
def alarm():
    """Calls a function from a signal handler after a while: alarm(function, seconds)."""
    before = signal.getsignal(signal.SIGALRM)

    def start(function, seconds=0.05):
        signal.signal(signal.SIGALRM, lambda *_: function())
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


class Interrupted(BaseException):
    """As KeyboardInterrupt, which would end the tests if it came too late."""


def interrupt():
    raise Interrupted


def waits(ring, sock):
    """All ways to wait, the last two with something to submit as they begin."""

    def submitting(wait):
        def prepared():
            ring.get_sqe().prep_recv(sock, bytearray(1))
            return wait()

        return prepared

    return {
        "wait_cqe": lambda: ring.wait_cqe(WAIT_S),
        "wait_cqes": lambda: ring.wait_cqes(3, WAIT_S),
        "submit_and_wait": lambda: ring.submit_and_wait(1, WAIT_S),
        "submit_and_wait submitting": submitting(lambda: ring.submit_and_wait(1, WAIT_S)),
        "submit_and_wait without limit": submitting(lambda: ring.submit_and_wait(1)),
    }


WAITS = ["wait_cqe", "wait_cqes", "submit_and_wait", "submit_and_wait submitting", "submit_and_wait without limit"]


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("flags", FLAGS)
def test_handler_raises_while_waiting(flags, wait, alarm):
    with make(flags) as ring, stream_pair() as (here, there):
        ring.get_sqe().prep_recv(here, bytearray(1))
        ring.submit()
        begin = time.monotonic()
        alarm(interrupt)
        with pytest.raises(Interrupted):
            waits(ring, here)[wait]()
        assert time.monotonic() - begin < WAIT_S / 2
        there.send(b"ab")
        assert {cqe.res for cqe in drain(ring)} == {1}


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("flags", FLAGS)
def test_handler_closes_while_waiting(flags, wait, alarm):
    with make(flags) as ring, stream_pair() as (here, _):
        buffer = bytearray(8)
        ring.get_sqe().prep_recv(here, buffer)
        ring.submit()
        alarm(ring.close)
        with pytest.raises(RingClosed):
            waits(ring, here)[wait]()
        buffer.extend(b"free again")


@pytest.mark.parametrize("flags", FLAGS)
def test_handler_submits_while_waiting(flags, alarm):
    def submit():
        ring.get_sqe().user_data = "from the handler"
        ring.submit()

    with make(flags) as ring:
        alarm(submit)
        assert ring.wait_cqe(WAIT_S).user_data == "from the handler"


@pytest.mark.parametrize("flags", FLAGS)
def test_handler_reaps_while_waiting(flags, alarm):
    def reap():
        for number in range(3):
            ring.get_sqe().user_data = number
        ring.submit_and_wait(3, WAIT_S)
        seen.append(ring.wait_cqe(WAIT_S).user_data)

    seen = []
    with make(flags) as ring:
        alarm(reap)
        seen += [cqe.user_data for cqe in ring.wait_cqes(2, WAIT_S)]
        assert seen == [0, 1, 2]


def test_signals_without_exceptions_do_not_shorten_the_wait(alarm):
    rings = [0]

    def again():
        rings[0] += 1
        signal.setitimer(signal.ITIMER_REAL, 0.005)

    with Ring(4) as ring:
        alarm(again, 0.005)
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            ring.wait_cqe(0.1)
        assert time.monotonic() - begin >= 0.1
        assert rings[0] > 3
