"""A ring belongs to one thread of one process: what everybody else gets, and what is left when the owner ends."""

import contextlib
import gc
import multiprocessing
import os
import socket
import subprocess
import threading
import time
import warnings

import pytest

from calls import ALLOWED_ANYWHERE, ring_calls, sqe_calls
from ioring import (
    Direct,
    ForkedRing,
    Ring,
    RingClosed,
    RingError,
    SetupFlags,
    WrongThread,
    send_msg_ring,
)
from rings import (
    DEFER,
    FLAGS,
    WAIT_S,
    drain,
    kernel_threads,
    make,
    needs_setup,
    python,
    resizable,
    stream_pair,
    wait_until,
)


def test_closing_the_ring_of_a_thread_that_has_ended_leaves_others_alone():
    """A later thread has the same place in memory, and at the same number another ring."""
    kept = []

    def first():
        kept.append(Ring(8))
        return threading.get_ident()

    place = elsewhere(first)

    def later():
        if threading.get_ident() != place:
            return None
        with Ring(8) as ring:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                kept.pop()
                gc.collect()
            ring.get_sqe().prep_nop()
            ring.submit()
            return ring.wait_cqe(timeout=WAIT_S).res

    # The first thread is joined a little before its memory is free.
    found = next((res for res in (elsewhere(later) for _ in range(1000)) if res is not None), None)
    if found is None:
        kept.pop().close()
        pytest.skip("no thread got the place of another")
    assert found == 0


def elsewhere(function):
    """Calls a function in a thread of its own: its result, or its exception."""
    result = []

    def call():
        try:
            result.append(function())
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    return result[0]


def test_list_of_methods_is_complete():
    with Ring(4) as ring:
        public = {name for name in dir(Ring) if not name.startswith("_")}
        missing = public - ring_calls(ring, None, None).keys() - ALLOWED_ANYWHERE
        assert not missing


@pytest.mark.parametrize("flags", FLAGS)
def test_foreign_thread_is_refused(flags):
    with make(flags) as ring, stream_pair() as (here, _):
        ring.register_files([here])
        ring.register_buffers([bytearray(16)])
        group = ring.setup_buf_ring(2, 16, 3)
        sqe = ring.get_sqe()
        iterator = ring.completions()
        calls = ring_calls(ring, group, bytearray(8)) | sqe_calls(sqe) | {"next": lambda: next(iterator, None)}
        for name, call in calls.items():
            error = elsewhere(call)
            # What cannot be right in any thread may be said first.
            acceptable = WrongThread if name not in ("enable_rings", "register_files") else RingError
            assert isinstance(error, acceptable), f"{name}: {error!r}"
        assert "another thread" in str(elsewhere(ring.submit))
        assert isinstance(elsewhere(ring.close), WrongThread)
        assert elsewhere(ring.fileno) == ring.fileno()
        assert elsewhere(lambda: ring.in_flight) == 1
        # Nothing of all that had an effect.
        sqe.prep_nop()
        assert ring.submit_and_wait(1, WAIT_S) == 1
        assert ring.wait_cqe(WAIT_S).res == 0


def test_made_here_and_enabled_there():
    ring = Ring(8, flags=SetupFlags.R_DISABLED | DEFER)

    def run():
        ring.enable_rings()
        ring.get_sqe().user_data = "there"
        ring.submit_and_wait(1, WAIT_S)
        seen = ring.wait_cqe(WAIT_S).user_data
        with pytest.raises(RingError, match="enabled already"):
            ring.enable_rings()
        ring.close()
        return seen

    assert elsewhere(run) == "there"
    assert ring.closed


def test_disabled_ring_says_how_to_enable_it():
    with Ring(8, flags=SetupFlags.R_DISABLED) as ring:
        ring.get_sqe()
        for call in (ring.submit, lambda: ring.submit_and_wait(1), lambda: ring.wait_cqe(0.1)):
            with pytest.raises(RingError, match="enable_rings"):
                call()
        assert ring.peek_cqe() is None
        assert list(ring.completions()) == []
    never = Ring(8, flags=SetupFlags.R_DISABLED)
    assert elsewhere(never.enable_rings) is None
    time.sleep(0)
    never.close()


def test_descriptor_registered_before_another_thread_enables_the_ring():
    ring = Ring(8, flags=SetupFlags.R_DISABLED)
    with contextlib.suppress(RingError):
        ring.register_ring_fd()

    def run():
        ring.enable_rings()
        ring.get_sqe().user_data = "there"
        ring.submit()
        try:
            return ring.wait_cqe(WAIT_S).user_data
        finally:
            ring.close()

    with Ring(8) as mine:
        with contextlib.suppress(RingError):
            mine.register_ring_fd()
        assert elsewhere(run) == "there"
        assert mine.peek_cqe() is None


@pytest.mark.parametrize("flags", FLAGS)
def test_closed_by_another_thread_once_the_owner_ended(flags):
    buffers = []

    def start():
        ring = make(flags)
        buffers.append(bytearray(16))
        ring.get_sqe().prep_recv(here, buffers[0])
        ring.submit()
        return ring

    with stream_pair() as (here, there), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ring = elsewhere(start)
        assert isinstance(ring, Ring), ring
        begin = time.monotonic()
        ring.close()
        assert time.monotonic() - begin < 5
        assert ring.closed
        there.send(b"too late")
        if flags & SetupFlags.DEFER_TASKRUN:
            # The kernel lets nobody else ask for the request back; so its memory is kept, and that is said.
            assert len(caught) == (not resizable(buffers[0]))
        else:
            assert resizable(buffers[0])
            assert not caught


@pytest.mark.parametrize("flags", FLAGS[:3])
def test_join_is_enough(flags):
    for _ in range(100):
        ring = elsewhere(lambda: make(flags))
        ring.close()


def test_registered_descriptor_of_an_ended_thread_is_not_used():
    def start():
        ring = Ring(8)
        with contextlib.suppress(RingError):
            ring.register_ring_fd()
        ring.get_sqe().prep_recv(here, bytearray(8))
        ring.submit()
        return ring

    with stream_pair() as (here, there), Ring(8) as mine:
        with contextlib.suppress(RingError):
            mine.register_ring_fd()
        mine.get_sqe().prep_recv(there, bytearray(8))
        mine.submit()
        mine.get_sqe().user_data = "not yet"
        other = elsewhere(start)
        begin = time.monotonic()
        other.close()
        assert time.monotonic() - begin < 5
        assert mine.sq_ready() == 1
        here.send(b"mine")
        assert mine.wait_cqe(WAIT_S).res == 4


@pytest.mark.parametrize("flags", FLAGS)
def test_last_reference_dropped_in_another_thread(flags):
    # Nobody may free what the kernel still has, and no thread but the owner can always ask for it back.
    said = python(f"""
warnings.simplefilter("ignore")
here, there = socket.socketpair()
box = [Ring(8, flags={int(flags)}, sq_thread_idle=10)]
memory = [bytearray(b"." * 4096)]
for _ in range(3):
    box[0].get_sqe().prep_recv(here, memory[0])
box[0].submit()
ready, done = threading.Event(), threading.Event()
def drop():
    ready.wait()
    box.clear()
    memory.clear()
    gc.collect()
    done.set()
thread = threading.Thread(target=drop)
thread.start()
ready.set()
thread.join()
chunks = [bytearray(b"." * 4096) for _ in range(500)]
there.send(b"x" * 4096)
here.setblocking(False)
try:
    here.recv(10000)
except BlockingIOError:
    pass
assert all(set(chunk) == set(b".") for chunk in chunks)
with Ring(4) as ring:
    ring.get_sqe()
    ring.submit_and_wait(1)
print("well")
""")
    assert said == "well\n"


def test_rings_in_many_threads():
    def work(number):
        flags = DEFER if number % 2 else 0
        with Ring(32, flags=flags) as ring, stream_pair() as (here, there):
            total = 0
            for turn in range(200):
                buffer = bytearray(64)
                sqe = ring.get_sqe()
                sqe.prep_recv(here, buffer)
                sqe.user_data = (number, turn)
                ring.get_sqe().prep_send(there, b"%d-%d" % (number, turn))
                ring.submit_and_wait(2, WAIT_S)
                for cqe in drain(ring):
                    if cqe.user_data is not None:
                        assert cqe.user_data == (number, turn)
                        assert buffer[: cqe.res] == b"%d-%d" % (number, turn)
                        total += 1
            return total

    threads, results = [], {}
    for number in range(8):
        thread = threading.Thread(target=lambda number=number: results.update({number: work(number)}))
        threads.append(thread)
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(8), 200)


def test_messages_from_other_threads():
    with Ring(64) as ring:
        threads = [
            threading.Thread(target=lambda base=base: [send_msg_ring(ring, 1, base + turn) for turn in range(10)])
            for base in range(0, 100, 10)
        ]
        try:
            send_msg_ring(ring, 0, 0)
        except OSError:
            pytest.skip("the kernel has no SEND_MSG_RING")
        assert ring.wait_cqe(WAIT_S).user_data == 0
        for thread in threads:
            thread.start()
        assert sorted(cqe.user_data for cqe in ring.wait_cqes(100, WAIT_S)) == list(range(100))
        for thread in threads:
            thread.join()
    with pytest.raises(RingClosed):
        send_msg_ring(ring, 1, 1)


def test_sixteen_registered_descriptors():
    # More rings than the kernel registers descriptors for one thread: all of them work.
    assert elsewhere(register_twenty) <= 4


def register_twenty():
    with contextlib.ExitStack() as stack:
        rings = [stack.enter_context(Ring(1)) for _ in range(20)]
        refused = 0
        for ring in rings:
            try:
                ring.register_ring_fd()
            except OSError as error:
                assert error.errno == 16
                refused += 1
            except RingError:
                pass  # registered by itself
        for ring in rings:
            ring.get_sqe()
            assert ring.submit_and_wait(1, WAIT_S) == 1
        return refused


# Forks.


def child(function):
    """Runs a function in a forked child; its exit status. The child never returns into the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = function() or 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("flags", FLAGS)
def test_child_gets_forked_ring_from_everything(flags):
    with make(flags) as ring, stream_pair() as (here, there):
        ring.register_files([here])
        ring.register_buffers([bytearray(16)])
        group = ring.setup_buf_ring(2, 16, 3)
        buffer = bytearray(16)
        ring.get_sqe().prep_recv(here, buffer)
        ring.submit()
        sqe = ring.get_sqe()
        number = ring.fileno()
        iterator = ring.completions()

        def look():
            calls = ring_calls(ring, group, bytearray(8)) | sqe_calls(sqe) | {"next": lambda: next(iterator, None)}
            calls["fileno"] = ring.fileno
            calls["enter"] = ring.__enter__
            for name, call in calls.items():
                try:
                    result = call()
                except ForkedRing as error:
                    assert "parent" in str(error)
                except RingError as error:
                    assert name in ("enable_rings", "register_files"), f"{name}: {error!r}"
                else:
                    raise AssertionError(f"{name} gives {result!r}")
            assert ring.closed
            assert repr(ring) == "<Ring closed>"
            assert repr(sqe)
            with contextlib.suppress(FileNotFoundError):  # or it is the number of something else by now
                assert "io_uring" not in os.readlink(f"/proc/self/fd/{number}")
            with open("/proc/self/maps") as maps:
                assert "io_uring" not in maps.read()
            with Ring(4) as own:
                own.get_sqe().prep_nop()
                own.submit_and_wait(1, WAIT_S)
            ring.close()
            ring.close()
            assert resizable(buffer)

        assert child(look) == 0
        there.send(b"parent")
        assert ring.wait_cqe(WAIT_S).res == 6
        assert buffer[:6] == b"parent"
        ring.submit()
        assert len(drain(ring)) == 1


@pytest.mark.parametrize("flags", FLAGS[:3])
def test_buffers_of_the_parent_can_be_looked_at_in_the_child(flags):
    with make(flags) as ring, stream_pair() as (here, there):
        group = ring.setup_buf_ring(4, 64, 1)
        sqe = ring.get_sqe()
        sqe.prep_recv_multishot(here)
        sqe.buffer_group = 1
        ring.submit()
        there.send(b"before")
        cqe = ring.wait_cqe(WAIT_S)
        view = group.view(cqe)

        def look():
            assert bytes(view) == b"before"
            assert group.read(cqe) == b"before"
            assert len(group.buffer(3)) == 64
            repr(group)
            for call in (lambda: group.recycle(cqe), lambda: group.add(0), lambda: group.advance(0)):
                with contextlib.suppress(RingError, ValueError):
                    call()
            view[:] = b"child!"

        assert child(look) == 0
        assert bytes(view) == b"before"
        for number in range(20):
            there.send(b"%04d" % number)
            cqe = ring.wait_cqe(WAIT_S)
            assert group.read(cqe) == b"%04d" % number
            group.recycle(cqe)


def test_child_keeps_no_socket_alive():
    with socket.create_server(("127.0.0.1", 0)) as server:
        ring = Ring(8)
        ring.register_files_sparse(4)
        ring.get_sqe().prep_accept_direct(server)
        ring.submit()
        peer = socket.create_connection(server.getsockname(), WAIT_S)
        assert ring.wait_cqe(WAIT_S).res == 0
        ring.get_sqe().prep_recv(Direct(0), bytearray(8))
        ring.submit()
        waiting, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(go)
            os.read(waiting, 1)
            os._exit(0)
        os.close(waiting)
        with peer:
            ring.close()
            assert peer.recv(1) == b""
        os.close(go)
        os.waitpid(pid, 0)


def test_child_that_ends_disturbs_nobody():
    with Ring(8) as ring, stream_pair() as (here, there):
        for turn in range(5):
            buffer = bytearray(8)
            ring.get_sqe().prep_recv(here, buffer)
            ring.submit()
            assert child(lambda: None) == 0
            there.send(b"%d" % turn)
            assert ring.wait_cqe(WAIT_S).res == 1
            assert buffer[0] == ord("0") + turn


def test_child_that_ends_in_the_ordinary_way():
    said = python("""
ring = Ring(8)
here, there = socket.socketpair()
ring.get_sqe().prep_recv(here, bytearray(10))
ring.submit()
ring.get_sqe()
pid = os.fork()
if pid == 0:
    sys.exit(7)  # all finalizers run
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
there.send(b"abc")
assert ring.wait_cqe(10).res == 3
ring.close()
""")
    assert said == ""


def test_fork_in_a_signal_handler_while_waiting():
    said = python("""
ring = Ring(8)
def fork(*_):
    if os.fork() == 0:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
    else:
        os.wait()
signal.signal(signal.SIGALRM, fork)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    ring.wait_cqe(1)
except (ForkedRing, TimeoutError) as error:
    print(type(error).__name__, flush=True)
ring.close()
""")
    assert said == "ForkedRing\nTimeoutError\n"


def test_grandchildren():
    with Ring(8) as ring:

        def look():
            with Ring(8) as own:
                assert child(lambda: 0 if own.closed and ring.closed else 1) == 0
                own.get_sqe()
                own.submit_and_wait(1, WAIT_S)
            with pytest.raises(ForkedRing):
                ring.submit()

        assert child(look) == 0
        ring.get_sqe()
        ring.submit_and_wait(1, WAIT_S)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method):
    said = python(f"""
import multiprocessing
if __name__ == "__main__":
    from calls import count_to_ten
    with Ring(8) as ring, multiprocessing.get_context("{method}").Pool(2) as pool:
        assert pool.apply(count_to_ten) == 45
        assert pool.map_async(len, ["a", "bb"]).get(30) == [1, 2]
        ring.get_sqe()
        ring.submit_and_wait(1)
        pool.close()
        pool.join()
    print("well")
""")
    assert said == "well\n"
    assert method in multiprocessing.get_all_start_methods()


def test_programs_started_beside_a_ring():
    with Ring(8) as ring, stream_pair() as (here, there):
        buffer = bytearray(8)
        ring.get_sqe().prep_recv(here, buffer)
        ring.submit()
        for options in ({}, {"close_fds": False}, {"preexec_fn": lambda: None}):
            listing = subprocess.run(
                ["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True, **options
            )
            assert "io_uring" not in listing.stdout
        there.send(b"still")
        assert ring.wait_cqe(WAIT_S).res == 5


@needs_setup("SQPOLL")
def test_polling_thread_ends_with_its_ring():
    before = kernel_threads("iou-sqp")
    with Ring(8, flags=SetupFlags.SQPOLL):
        wait_until(lambda: len(kernel_threads("iou-sqp")) == len(before) + 1)
    wait_until(lambda: kernel_threads("iou-sqp") == before)
