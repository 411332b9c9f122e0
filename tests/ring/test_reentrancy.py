"""Anybody's code that runs in the middle of a call: arguments, finalizers, garbage collection. Nothing may crash.

Each case runs in a Python of its own, since what is tested for is its end.
"""

import sys

import pytest

from rings import python

ACTS = {
    "close": "ring.close()",
    "submit": "ring.submit()",
    "reap": "ring.submit(); [ring.peek_cqe() for _ in range(3)]",
    "get": "[ring.get_sqe() for _ in range(20)]",
    "prepare": "sqe.prep_recv(right, bytearray(9)); sqe.prep_writev(right, [bytearray(9)])",
    "raise": "1 / 0",
    "drop": "globals().pop('ring', None); gc.collect()",
}
act = pytest.mark.parametrize("act", ACTS)

SETUP = """
warnings.simplefilter("ignore")
left, right = socket.socketpair()
left.setblocking(False)
right.setblocking(False)
ring = Ring(8)
ring.register_files_sparse(4)
group = ring.setup_buf_ring(4, 64, 1)
sqe = ring.get_sqe()

def act():
    # One level deep: what happens in here may come back.
    global busy
    if busy:
        return
    busy = True
    try:
        ACT
    except RingError:
        pass
    finally:
        busy = False

busy = False
MISUSE = (RingError, TypeError, ValueError, ZeroDivisionError, SlotError, OSError, NameError, StopIteration)

def empty(ring):
    deadline = time.monotonic() + 20
    while True:
        while ring.peek_cqe() is not None:
            pass
        if not ring.in_flight:
            return
        ring.get_sqe().prep_cancel(None, CancelFlags.ANY | CancelFlags.ALL)
        ring.submit_and_wait(1, 20)
        assert time.monotonic() < deadline, ring

def end():
    # Whatever happened, the ring still works or is closed, and an Sqe that is prepared again takes any arguments.
    global busy
    busy = True
    if "ring" in globals() and not ring.closed:
        for _ in range(4):
            s = ring.get_sqe()
            s.prep_recv(left, bytearray(10))
            s.prep_nop()
        ring.submit()
        empty(ring)
        ring.close()
    gc.collect()
    print("ended well")
"""


def run(act, code):
    assert "ended well" in python(SETUP.replace("ACT", ACTS[act]) + code + "\nend()")


ARGUMENTS = """
class Evil:
    def fileno(self):
        act()
        return left.fileno()
    def __index__(self):
        act()
        return 1
    def __float__(self):
        act()
        return 0.0
    def __bool__(self):
        act()
        return True
    def __fspath__(self):
        act()
        return "/dev/null"
    def __iter__(self):
        act()
        return iter([bytearray(4), bytearray(4)])
    def __eq__(self, other):
        act()
        return False
    __hash__ = None
    def __le__(self, other):
        act()
        return True
    __ge__ = __lt__ = __gt__ = __le__
    def __repr__(self):
        act()
        return "evil"
    def __bytes__(self):
        act()
        return b"1234"
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags):
            act()
            return memoryview(bytearray(256))
    def __len__(self):
        act()
        return 1
evil = Evil()
"""

PREPARATIONS = """
b = bytearray(300)
calls = [
    lambda: sqe.prep_recv(evil, b), lambda: sqe.prep_recv(left, evil), lambda: sqe.prep_recv(left, b, evil),
    lambda: sqe.prep_recv(left, b, 4, evil), lambda: sqe.prep_send(evil, b, evil), lambda: sqe.prep_readv(left, evil),
    lambda: sqe.prep_readv(left, [b, evil]), lambda: sqe.prep_writev(evil, [b], evil),
    lambda: sqe.prep_openat(evil, "x"), lambda: sqe.prep_openat(None, evil), lambda: sqe.prep_openat(None, "x", evil),
    lambda: sqe.prep_openat_direct(None, "/", 0, 0, evil), lambda: sqe.prep_openat_direct(None, evil, 0, 0, 1),
    lambda: sqe.prep_splice(evil, 0, Direct(1), 0, 1), lambda: sqe.prep_epoll_ctl(evil, Direct(1), 1),
    lambda: sqe.prep_close(evil),
    lambda: sqe.prep_close_direct(evil), lambda: sqe.prep_fixed_fd_install(evil),
    lambda: sqe.prep_files_update([evil]), lambda: sqe.prep_files_update(evil),
    lambda: sqe.prep_files_update([-1], evil), lambda: sqe.prep_statx(None, evil, 0, 0, b),
    lambda: sqe.prep_statx(None, "/", 0, 0, evil), lambda: sqe.prep_rename(evil, evil),
    lambda: sqe.prep_getxattr(evil, b, evil), lambda: sqe.prep_splice(evil, evil, evil, evil, evil),
    lambda: sqe.prep_pipe(evil), lambda: sqe.prep_accept(evil), lambda: sqe.prep_accept(left, None, evil),
    lambda: sqe.prep_connect(evil, ("127.0.0.1", 1)), lambda: sqe.prep_connect(left, evil),
    lambda: sqe.prep_socket(evil, evil), lambda: sqe.prep_cmd_sock(0, evil, 1, 1, b),
    lambda: sqe.prep_cmd_sock(evil, left, evil, evil, evil, evil), lambda: sqe.prep_sendto(left, b, address=evil),
    lambda: (sqe.prep_send(left, b), sqe.prep_send_set_addr(evil)), lambda: sqe.prep_recvmsg(evil, MsgHdr([b])),
    lambda: sqe.prep_recvmsg(left, MsgHdr(evil)), lambda: sqe.prep_sendmsg(left, MsgHdr([b], control=evil)),
    lambda: sqe.prep_poll_add(evil, evil), lambda: sqe.prep_timeout(evil), lambda: sqe.prep_timeout(1, evil),
    lambda: sqe.prep_cancel(evil), lambda: sqe.prep_cancel(1, evil), lambda: sqe.prep_cancel64(evil),
    lambda: sqe.prep_cancel_fd(evil), lambda: sqe.prep_cancel_op(evil), lambda: sqe.prep_poll_update(evil, 1, evil, 4),
    lambda: sqe.prep_provide_buffers(evil, 16, 4, 2), lambda: sqe.prep_provide_buffers(b, evil, evil, evil, evil),
    lambda: sqe.prep_epoll_ctl(evil, evil, 1, evil, evil), lambda: sqe.prep_epoll_wait(evil, evil, evil),
    lambda: sqe.prep_msg_ring(evil, evil, evil), lambda: sqe.prep_msg_ring_fd(evil, 0, evil, 0),
    lambda: sqe.prep_futex_wait(evil, evil), lambda: sqe.prep_futex_waitv([(b, evil)]),
    lambda: sqe.prep_futex_waitv(evil), lambda: sqe.prep_waitid(evil, evil, evil, evil),
    lambda: sqe.prep_uring_cmd(evil, left, evil, evil, evil), lambda: sqe.prep_madvise(evil, evil, 0),
]
calls += [lambda name=name: setattr(sqe, name, evil) for name in (
    "flags", "link", "hardlink", "drain", "always_async", "skip_success", "fixed_file", "buffer_group", "buf_index",
    "ioprio", "personality")]
calls += [lambda: sqe.set_flags(evil)]
"""

RING_CALLS = """
b = bytearray(4096)
calls = [
    lambda: ring.wait_cqe(evil), lambda: ring.wait_cqes(evil, evil), lambda: ring.wait_cqes(1, evil),
    lambda: ring.submit_and_wait(evil, evil), lambda: ring.submit_and_wait(0, evil),
    lambda: ring.register_buffers(evil), lambda: ring.register_buffers([b, evil]),
    lambda: ring.register_buffers_sparse(evil), lambda: ring.register_buffers_update(evil, [b]),
    lambda: ring.register_files_update(evil, [evil]), lambda: ring.register_files(evil),
    lambda: ring.register_file_alloc_range(evil, evil), lambda: ring.setup_buf_ring(evil, evil, evil),
    lambda: ring.setup_buf_ring(4, 64, evil), lambda: ring.register_buf_ring(group, evil),
    lambda: ring.register_eventfd(evil), lambda: ring.register_iowq_aff(evil),
    lambda: ring.register_iowq_max_workers(evil, evil), lambda: ring.register_sync_cancel(evil),
    lambda: ring.register_sync_cancel(0, fd=evil), lambda: ring.register_sync_cancel(0, timeout=evil),
    lambda: ring.register_restrictions(evil), lambda: ring.unregister_buf_ring(evil),
    lambda: ring.unregister_personality(evil), lambda: ring.buf_ring_head(evil), lambda: ring.register_clock(evil),
    lambda: send_msg_ring(evil, evil, evil, evil), lambda: group.add(evil), lambda: group.recycle(evil),
    lambda: group.advance(evil), lambda: group.buffer(evil), lambda: Ring(evil), lambda: Ring(4, wq_fd=evil),
    lambda: ring.__init__(evil), lambda: BufferRing(evil, evil), lambda: EpollEvents(evil), lambda: Direct(evil),
]
"""

LOOP = """

for number in range(len(calls)):
    if ring.closed if "ring" in globals() else True:
        ring = Ring(8)
        ring.register_files_sparse(4)
        group = ring.setup_buf_ring(4, 64, 1)
    while ring.peek_cqe() is not None:
        pass
    sqe = ring.get_sqe()
    try:
        calls[number]()
    except MISUSE:
        pass
    if sys.argv[1:]:
        print(number, flush=True)
"""


@act
def test_arguments_of_preparations(act):
    run(act, ARGUMENTS + PREPARATIONS + LOOP)


@act
def test_arguments_of_ring_methods(act):
    run(act, ARGUMENTS + RING_CALLS + LOOP)


TARGETS = """
class Target:
    def fileno(self):
        return right.fileno()
    def __del__(self):
        act()

class Tag:
    def __del__(self):
        act()

class Memory(bytearray):
    def __del__(self):
        act()

def fill(hidden):
    for number in range(6):
        s = ring.get_sqe()
        if number % 3 == 0:
            s.prep_send(Target(), Memory(b"x"))
        elif number % 3 == 1:
            s.prep_writev(Target(), [Memory(b"x"), Memory(b"y")])
        s.user_data = Tag()
        s.skip_success = hidden
    del s
    ring.submit()
"""

REAPERS = {
    "peek_cqe": "[ring.peek_cqe() for _ in range(6)]",
    "wait_cqe": "[ring.wait_cqe(0) for _ in range(6)]",
    "wait_cqes": "ring.wait_cqes(6, 0)",
    "completions": "list(ring.completions())",
    "submit_and_wait": "ring.submit_and_wait(6, 0); list(ring.completions())",
    "unregister_buf_ring": "ring.unregister_buf_ring(1)",
    "another group": "ring.unregister_buf_ring(1); ring.setup_buf_ring(4, 64, 1); list(ring.completions())",
    "get_sqe": "[ring.get_sqe() for _ in range(30)]",
    "close": "ring.close()",
    "prepare again": "s = ring.get_sqe(); s.prep_send(Target(), Memory(b'z')); s.prep_recv(Target(), Memory(3))",
}


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("reaper", REAPERS)
@act
def test_finalizers_of_arguments(act, reaper, hidden):
    code = (
        TARGETS
        + f"fill({hidden})\nfor _ in range(3):\n    try:\n        {REAPERS[reaper]}\n    except MISUSE:\n        pass\n"
    )
    run(act, code)


def test_accepted_descriptors_are_closed_when_the_wait_is_cut_short():
    python("""
server = socket.create_server(("127.0.0.1", 0))
peers = [socket.create_connection(server.getsockname()) for _ in range(3)]
before = len(os.listdir("/proc/self/fd"))
ring = Ring(8)
ring.get_sqe().prep_multishot_accept(server)
ring.submit_and_wait(3, 10)
signal.signal(signal.SIGALRM, lambda *_: ring.close())
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    ring.wait_cqes(5, 20)
except RingClosed:
    pass
assert len(os.listdir("/proc/self/fd")) == before, os.listdir("/proc/self/fd")
""")


COLLECTIONS = """
# gc.callbacks run Python code at every collection, and before 3.12 a collection may happen at every allocation.
count = 0
wanted = 0
collecting = False

def collected(phase, info):
    global count, collecting
    if phase == "stop" and not collecting:
        count += 1
        if count == wanted:
            collecting = True
            act()
            collecting = False

def prepare():
    sqe.prep_writev(right, [b"a", b"b"])

calls = {
    "get": lambda: ring.get_sqe(),
    "wait": lambda: ring.wait_cqes(4, 0),
    "completions": lambda: list(ring.completions()),
    "peek": lambda: ring.peek_cqe(),
    "submit_and_wait": lambda: (ring.get_sqe(), ring.submit_and_wait(2, 0)),
    "prepare": prepare,
    "cancel": lambda: sqe.prep_cancel("nobody"),
    "close": lambda: ring.close(),
}
gc.callbacks.append(collected)
for flags in (0, SetupFlags.CQE32):
    for name, call in calls.items():
        for wanted in range(1, 9):
            gc.set_threshold(0)
            ring = Ring(8, flags=flags)
            ring.register_files_sparse(4)
            group = ring.setup_buf_ring(4, 64, 1)
            right.send(b"something")
            for number in range(4):
                sqe = ring.get_sqe()
                if number == 1:
                    sqe.prep_recv(left, None)
                    sqe.buffer_group = 1
                elif number == 2:
                    sqe.prep_openat(None, "/dev/null")
                elif number == 3:
                    sqe.prep_pipe(array.array("i", [0, 0]))
                sqe.user_data = number
                sqe.skip_success = number == 0
            ring.submit()
            sqe = ring.get_sqe()
            keep = []
            count = 0
            gc.set_threshold(1, 1000, 1000)
            try:
                keep.append(call())
            except MISUSE + (TimeoutError,):
                pass
            gc.set_threshold(0)
            if "ring" in globals() and not ring.closed:
                ring.submit()
                empty(ring)
                ring.close()
gc.callbacks.clear()
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="allocations collect garbage only before Python 3.12")
@pytest.mark.parametrize("act", ["close", "submit", "reap", "get", "drop"])
def test_collections_of_garbage(act):
    run(act, COLLECTIONS)


def test_exporter_that_prepares_the_same_entry_again():
    if sys.version_info < (3, 12):
        pytest.skip("__buffer__ came with Python 3.12")
    python("""
one, two = bytearray(8), bytearray(8)
class Exporter:
    def __buffer__(self, flags):
        sqe.prep_recv(left, two)
        return memoryview(one)
left, right = socket.socketpair()
with Ring(8) as ring:
    sqe = ring.get_sqe()
    try:
        sqe.prep_recv(left, Exporter())
    except RingError:
        pass
    ring.submit()
    ring.close()
    gc.collect()
    one.append(0)
    two.append(0)
""")


def test_message_made_again_by_its_own_buffers():
    python("""
left, right = socket.socketpair()
big = bytearray(64)
msg = MsgHdr.__new__(MsgHdr)
with Ring(8) as ring:
    class Buffers:
        def __iter__(self):
            msg.__init__([big])
            ring.get_sqe().prep_recvmsg(left, msg)
            ring.submit()
            return iter([bytearray(8)])
    try:
        msg.__init__(Buffers())
    except RuntimeError:
        pass
    try:
        big.append(0)
    except BufferError:
        pass
    else:
        raise AssertionError("given to the kernel, and not locked")
""")


@pytest.mark.parametrize("kind", ["Cqe", "Sqe"])
def test_repr_of_itself(kind):
    python(f"""
with Ring(8) as ring:
    sqe = ring.get_sqe()
    ring.submit()
    thing = sqe if {kind == "Sqe"} else ring.wait_cqe(9)
    if {kind == "Sqe"}:
        sqe.user_data = sqe
    else:
        sqe.user_data = [thing]
        thing = sqe
    try:
        repr(thing)
    except RecursionError:
        pass
    sqe.user_data = None
""")


# Ends that nobody prepared.

PENDING = """
left, right = socket.socketpair()
memory = bytearray(4096)
def pend(ring):
    for _ in range(3):
        sqe = ring.get_sqe()
        sqe.prep_recv(left, memory)
        sqe.user_data = [sqe, left]
    ring.submit()
    return sqe
"""


@pytest.mark.parametrize("flags", ["0", "SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN", "SetupFlags.SQPOLL"])
def test_interpreter_ends_with_requests_in_flight(flags):
    python(PENDING + f"ring = Ring(8, flags={flags})\nsqe = pend(ring)\nring.get_sqe().prep_recv(left, memory)\n")


def test_interpreter_ends_while_a_thread_waits():
    python(
        PENDING
        + """
def wait():
    ring = Ring(8)
    pend(ring)
    ready.set()
    ring.wait_cqe()
ready = threading.Event()
threading.Thread(target=wait, daemon=True).start()
ready.wait()
"""
    )


@pytest.mark.parametrize("hidden_del", [False, True])
@pytest.mark.parametrize("filters", ["error", "ignore"])
def test_dropped_where_warnings_are_errors(filters, hidden_del):
    # What the finalizer raises nobody hears; that it does its work all the same is what counts.
    python(
        PENDING
        + f"""
class Careless(Ring):
    if {hidden_del}:
        def __del__(self):
            pass
sys.unraisablehook = lambda arguments: None
warnings.simplefilter("{filters}")
number = len(os.listdir("/proc/self/fd"))
ring = Careless(8)
sqe = pend(ring)
del ring
gc.collect()
assert len(os.listdir("/proc/self/fd")) == number
try:
    sqe.prep_nop()
except SqeSubmitted:
    pass
chunks = [bytearray(4096) for _ in range(1000)]
del memory, sqe
gc.collect()
right.send(b"x" * 3000)
assert not any(map(any, chunks))
for _ in range(3):
    with Ring(8) as ring:
        ring.get_sqe()
        ring.submit_and_wait(1)
if os.fork() == 0:
    os._exit(0)
os.wait()
""",
        arguments=["-W", filters],
    )


@pytest.mark.parametrize("wait", ["wait_cqe()", "wait_cqes(5)", "submit_and_wait(1)"])
@pytest.mark.parametrize("fresh", [False, True])
def test_control_c(wait, fresh):
    said = python(
        PENDING
        + f"""
ring = Ring(8)
pend(ring)
if {fresh}:
    ring.get_sqe().prep_recv(left, memory)
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    ring.{wait}
except KeyboardInterrupt:
    print("interrupted")
ring.close()
"""
    )
    assert said == "interrupted\n"
