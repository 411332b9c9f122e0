"""A ring's life: how it is made, what it says about itself, how it submits, waits and shows completions."""

import os
import socket

import pytest

import ioring
from ioring import Direct, Features, Ring, RingClosed, RingError, SetupFlags, SubmissionQueueFull
from rings import DEFER, FLAGS, WAIT_S, descriptors, drain, make, needs, needs_setup, ring_mappings, stream_pair

# Making a ring.


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (3, 4), (8, 8), (1000, 1024), (32768, 32768)])
def test_entries_are_rounded_up(asked, given):
    with Ring(asked) as ring:
        assert ring.sq_entries == given
        assert ring.cq_entries == 2 * given
        assert ring.sq_ready() == ring.cq_ready() == ring.in_flight == 0
        assert ring.sq_space_left() == given


@pytest.mark.parametrize("entries", [0, -1, 32769, 100000, 2**40])
def test_entries_out_of_range(entries):
    with pytest.raises(ValueError, match="entries must be between 1 and"):
        Ring(entries)


def test_clamp_takes_the_largest():
    with Ring(100000, flags=SetupFlags.CLAMP) as ring:
        assert ring.sq_entries == 32768
        assert ring.cq_entries == 65536


@pytest.mark.parametrize(("asked", "given"), [(4, 4), (5, 8), (64, 64)])
def test_cq_entries(asked, given):
    with Ring(4, cq_entries=asked) as ring:
        assert ring.cq_entries == given
        assert ring.flags & SetupFlags.CQSIZE


@pytest.mark.parametrize("cq_entries", [0, 3, 65537])
def test_cq_entries_out_of_range(cq_entries):
    with pytest.raises(ValueError, match="cq_entries must be between"):
        Ring(4, cq_entries=cq_entries)


@pytest.mark.parametrize(
    "flags",
    [
        SetupFlags.DEFER_TASKRUN,
        SetupFlags.TASKRUN_FLAG,
        SetupFlags.SQPOLL | SetupFlags.COOP_TASKRUN,
        SetupFlags.SQPOLL | SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN,
        SetupFlags.SQ_AFF,
        SetupFlags.HYBRID_IOPOLL,
        SetupFlags.NO_MMAP,
        SetupFlags.REGISTERED_FD_ONLY,
        SetupFlags.CQE_MIXED,
        SetupFlags.SQE_MIXED,
    ],
    ids=lambda flags: flags.name,
)
def test_flags_that_cannot_be(flags):
    with pytest.raises(ValueError, match=r"needs|go with|does not work with"):
        Ring(4, flags=flags)


def test_flags_unknown_to_the_kernel():
    with pytest.raises(ioring.RingUnavailable, match="does not accept") as caught:
        Ring(4, flags=1 << 30)
    assert caught.value.errno == 22


@pytest.mark.parametrize("argument", ["entries", "flags", "cq_entries", "sq_thread_idle", "sq_thread_cpu"])
def test_arguments_are_numbers(argument):
    arguments = {"entries": 4, argument: "4"}
    with pytest.raises(TypeError, match=f"{argument} must be an int"):
        Ring(**arguments)


def test_idle_without_polling_thread_says_nothing():
    with Ring(4, sq_thread_idle=50) as ring:
        assert not ring.flags & SetupFlags.SQPOLL


def test_workers_of_another_ring():
    with Ring(4) as one, Ring(4, wq_fd=one) as two, Ring(4, wq_fd=one.fileno()):
        assert two.flags & SetupFlags.ATTACH_WQ
        two.get_sqe()
        assert two.submit() == 1
        two.wait_cqe(WAIT_S)
    with pytest.raises(RingClosed):
        Ring(4, wq_fd=one)
    with pytest.raises(ioring.RingUnavailable), socket.socket() as other:
        Ring(4, wq_fd=other)


def test_attributes():
    with Ring(8, flags=SetupFlags.COOP_TASKRUN) as ring:
        assert ring.features & Features.NODROP
        assert ring.flags == SetupFlags.COOP_TASKRUN
        assert ring.fileno() > 2
        assert not ring.closed
        assert repr(ring) == f"<Ring fd={ring.fileno()} sq_entries=8 cq_entries=16 in_flight=0>"
    assert ring.closed
    assert repr(ring) == "<Ring closed>"


def test_made_once():
    with Ring(4) as ring, pytest.raises(RingError, match="opened once"):
        ring.__init__(4)
    never = Ring.__new__(Ring)
    with pytest.raises(RingClosed, match="never opened"):
        never.get_sqe()
    never.close()
    assert never.closed


def test_subclass():
    class Named(Ring):
        def __init__(self, name):
            super().__init__(4)
            self.name = name

    with Named("mine") as ring:
        assert ring.name == "mine"
        assert repr(ring).startswith("<Named fd=")


# Ending.


@pytest.mark.parametrize("flags", FLAGS)
def test_close_gives_everything_back(flags):
    before, mappings = descriptors(), ring_mappings()
    ring = make(flags)
    assert ring_mappings() > mappings
    ring.get_sqe()
    ring.submit()
    ring.close()
    ring.close()
    assert descriptors() == before
    assert ring_mappings() == mappings


def test_context_manager():
    with Ring(4) as ring, ring:
        pass
    with pytest.raises(RingClosed), ring:
        pass


@pytest.mark.parametrize("flags", FLAGS)
def test_many_rings_in_turn(flags):
    for _ in range(50):
        with make(flags) as ring:
            ring.get_sqe()
            ring.submit_and_wait(1, WAIT_S)


def test_registered_descriptor_is_given_back():
    # The kernel has 16 places for one thread.
    for _ in range(40):
        with Ring(1) as ring:
            assert ring.register_ring_fd() == 1
            ring.get_sqe()
            ring.submit_and_wait(1, WAIT_S)


# Submitting.


@pytest.mark.parametrize("flags", FLAGS)
def test_user_data_comes_back_identical(flags):
    things = [None, 1, "text", [1], object()]
    with make(flags) as ring:
        for thing in things:
            ring.get_sqe().user_data = thing
        assert ring.submit() == len(things)
        seen = [cqe.user_data for cqe in ring.wait_cqes(len(things), WAIT_S)]
        assert all(mine is theirs for mine, theirs in zip(things, seen, strict=True))
        assert ring.in_flight == 0


@pytest.mark.parametrize("flags", FLAGS)
def test_full_queue_submits_by_itself(flags):
    with make(flags, 4) as ring:
        for number in range(100):
            ring.get_sqe().user_data = number
        ring.submit()
        assert sorted(cqe.user_data for cqe in drain(ring)) == list(range(100))


def test_full_queue_of_a_disabled_ring():
    with Ring(2, flags=SetupFlags.R_DISABLED) as ring:
        ring.get_sqe()
        ring.get_sqe()
        assert ring.sq_space_left() == 0
        with pytest.raises((SubmissionQueueFull, RingError), match="enable_rings"):
            ring.get_sqe()
        ring.enable_rings()
        ring.get_sqe()
        assert ring.submit() == 1
        assert len(ring.wait_cqes(3, WAIT_S)) == 3


def test_submit_stops_behind_a_bad_entry():
    with Ring(8) as ring:
        refuse(ring)
        ring.get_sqe()
        ring.get_sqe()
        assert ring.submit() == 1
        assert ring.sq_ready() == 2
        assert ring.submit() == 2
        assert [cqe.res for cqe in ring.wait_cqes(3, WAIT_S)] == [-22, 0, 0]


def test_submit_all_goes_on():
    with Ring(8, flags=SetupFlags.SUBMIT_ALL) as ring:
        refuse(ring)
        ring.get_sqe()
        ring.get_sqe()
        assert ring.submit() == 3
        assert [cqe.res for cqe in ring.wait_cqes(3, WAIT_S)] == [-22, 0, 0]


def test_waiting_does_not_last_for_what_was_not_taken():
    with Ring(8) as ring:
        refuse(ring)
        ring.get_sqe()
        ring.get_sqe()
        assert ring.submit_and_wait(3, WAIT_S) in (1, 3)
        ring.submit()
        assert [cqe.res for cqe in ring.wait_cqes(3, WAIT_S)] == [-22, 0, 0]


def refuse(ring):
    """An entry that the kernel refuses to take."""
    sqe = ring.get_sqe()
    sqe.prep_cancel_op(0, 0xFFFF0000)
    return sqe


# Successes that are not shown.


@pytest.mark.parametrize("flags", FLAGS)
def test_skip_success(flags):
    with make(flags) as ring:
        for number in range(6):
            sqe = ring.get_sqe()
            if number == 3:
                sqe.prep_close(1 << 20)
            sqe.user_data = number
            sqe.skip_success = number % 3 == 0
        assert ring.submit_and_wait(5, WAIT_S) == 6
        assert [(cqe.user_data, cqe.res) for cqe in drain(ring)] == [(1, 0), (2, 0), (3, -9), (4, 0), (5, 0)]
        assert ring.in_flight == 0


def test_skip_success_alone_ends_the_wait_in_time():
    with Ring(4) as ring:
        ring.get_sqe().skip_success = True
        with pytest.raises(TimeoutError):
            ring.submit_and_wait(1, 0.01)
        assert ring.in_flight == 0
        assert list(ring.completions()) == []


@pytest.mark.parametrize("flags", FLAGS)
def test_skip_success_in_a_chain(flags):
    with make(flags) as ring:
        for number in range(4):
            sqe = ring.get_sqe()
            sqe.user_data = number
            sqe.link = number < 3
            sqe.skip_success = number < 3
        ring.submit()
        assert ring.wait_cqe(WAIT_S).user_data == 3
        assert ring.in_flight == 0


# Descriptors of completions that nobody saw.


def unseen_accept(ring):
    server = socket.create_server(("127.0.0.1", 0))
    peers = [socket.create_connection(server.getsockname()) for _ in range(3)]
    ring.get_sqe().prep_multishot_accept(server)
    return 3, [server, *peers]


def unseen_openat(ring):
    ring.get_sqe().prep_openat(None, __file__, os.O_RDONLY)
    return 1, []


def unseen_socket(ring):
    ring.get_sqe().prep_socket(socket.AF_INET, socket.SOCK_STREAM)
    return 1, []


def unseen_pipe(ring):
    ring.get_sqe().prep_pipe(memoryview(bytearray(9))[1:])
    return 1, []


def unseen_install(ring):
    ring.register_files([0])
    ring.get_sqe().prep_fixed_fd_install(Direct(0))
    return 1, []


UNSEEN = [
    unseen_accept,
    unseen_openat,
    pytest.param(unseen_socket, marks=needs("SOCKET")),
    pytest.param(unseen_pipe, marks=needs("PIPE")),
    pytest.param(unseen_install, marks=needs("FIXED_FD_INSTALL")),
]


@pytest.mark.parametrize("put_back", [False, True], ids=["in the queue", "put back"])
@pytest.mark.parametrize("start", UNSEEN)
@pytest.mark.parametrize("flags", FLAGS)
def test_descriptors_nobody_saw_are_closed(flags, start, put_back):
    before = descriptors()
    with make(flags) as ring:
        count, resources = start(ring)
        ring.submit_and_wait(count, WAIT_S)
        if put_back:
            with pytest.raises(TimeoutError):
                ring.wait_cqes(count + 1, 0.01)
    for resource in resources:
        resource.close()
    assert descriptors() == before


def test_descriptor_nobody_saw_may_be_closed_already():
    with stream_pair() as (here, _):
        buffer = bytearray(8)
        with Ring(8) as ring:
            unseen_openat(ring)
            ring.get_sqe().prep_recv(here, buffer)
            ring.submit_and_wait(1, WAIT_S)
            (opened,) = (fd for fd in descriptors() if os.path.realpath(f"/proc/self/fd/{fd}") == __file__)
            os.close(opened)
        buffer.extend(b"free again")


@pytest.mark.parametrize("flags", FLAGS)
def test_direct_sockets_end_at_close(flags):
    with socket.create_server(("127.0.0.1", 0)) as server:
        ring = make(flags)
        ring.register_files_sparse(4)
        ring.get_sqe().prep_multishot_accept_direct(server)
        ring.submit()
        peers = [socket.create_connection(server.getsockname(), WAIT_S) for _ in range(2)]
        ring.wait_cqes(2, WAIT_S)
        ring.get_sqe().prep_recv(Direct(0), bytearray(8))
        ring.submit()
        ring.close()
        for peer in peers:
            with peer:
                assert peer.recv(1) == b""


# Kinds of ring.


@needs_setup("SQPOLL")
def test_polling_thread_sleeps_and_is_woken():
    with Ring(4, flags=SetupFlags.SQPOLL, sq_thread_idle=1) as ring:
        for number in range(5):
            ring.get_sqe().user_data = number
            ring.submit()
            assert ring.wait_cqe(WAIT_S).user_data == number
            # Longer than the idle time, by a wait that ends with nothing.
            with pytest.raises(TimeoutError):
                ring.wait_cqe(0.02)


@needs_setup("SQE128", "CQE32")
@pytest.mark.parametrize("flags", [SetupFlags.SQE128, SetupFlags.CQE32, SetupFlags.SQE128 | SetupFlags.CQE32])
def test_large_entries(flags):
    with Ring(4, flags=flags) as ring:
        sqe = ring.get_sqe()
        sqe.prep_nop()
        assert len(bytes(sqe)) == (128 if flags & SetupFlags.SQE128 else 64)
        for number in range(10):
            ring.get_sqe().user_data = number
        ring.submit()
        seen = drain(ring)
        assert [cqe.user_data for cqe in seen] == [None, *range(10)]
        assert {cqe.extra for cqe in seen} == ({(0, 0)} if flags & SetupFlags.CQE32 else {None})


@needs_setup("DEFER_TASKRUN")
def test_multishot_accept_on_a_full_completion_queue():
    with Ring(2, flags=DEFER, cq_entries=2) as ring, socket.create_server(("127.0.0.1", 0)) as server:
        ring.get_sqe().prep_multishot_accept(server)
        ring.submit()
        peers = [socket.create_connection(server.getsockname(), WAIT_S) for _ in range(8)]
        accepted = 0
        while accepted < 8:
            cqe = ring.wait_cqe(WAIT_S)
            if cqe.res >= 0:
                os.close(cqe.res)
                accepted += 1
            if not cqe.more:
                ring.get_sqe().prep_multishot_accept(server)
                ring.submit()
        for peer in peers:
            peer.close()
