"""A ring driven at random against a model: every request ends exactly once, and nothing else ever comes.

The model knows which requests were prepared, with which object as user_data, and which of them may complete more than
once. After every step the counts must agree; at the end, or when the ring is closed or dropped, so must everything
else: descriptors, mappings, and that each buffer can be resized again.

The seed is printed; IORING_MODEL_SEED=N runs that one again, and IORING_MODEL_SECONDS says for how long to run.
"""

import contextlib
import gc
import os
import random
import select
import socket
import threading
import time
import warnings

import hypothesis
import pytest
from hypothesis import strategies

from ioring import CancelFlags, Direct, ForkedRing, MsgHdr, Op, Ring, RingClosed, SetupFlags, WrongThread
from rings import DEFER, descriptors, resizable, ring_mappings

SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
SECONDS = float(os.environ.get("IORING_MODEL_SECONDS", "7" if SANITIZED else "10"))
SECONDS_LONG = float(os.environ.get("IORING_MODEL_SECONDS", "300"))
SEED = int(os.environ.get("IORING_MODEL_SEED", "0")) or random.SystemRandom().getrandbits(32)
SLOTS = 8
KINDS = [0, 0, DEFER, DEFER | SetupFlags.TASKRUN_FLAG, SetupFlags.SUBMIT_ALL, SetupFlags.SQPOLL]


class Tag:
    """The user_data of one request, and what the model knows about it."""

    def __init__(self, name, *, multishot=False, hidden=False, buffers=(), descriptor=False, direct=False):
        self.name = name
        self.multishot = multishot
        self.hidden = hidden
        self.buffers = list(buffers)
        self.descriptor = descriptor
        self.direct = direct
        self.shown = 0
        self.sqe = None

    def done(self):
        return "completed" in repr(self.sqe)

    def __repr__(self):
        return f"<{self.name}>"


class Machine:
    """One ring and its model."""

    def __init__(self, generator):
        self.random = generator
        self.stack = contextlib.ExitStack()
        flags = generator.choice(KINDS)
        self.polled = flags == SetupFlags.SQPOLL
        entries = generator.choice([1, 2, 4, 16, 64])
        cq_entries = generator.choice([None, entries, 4 * entries])
        self.ring = Ring(entries, flags=flags, sq_thread_idle=1, cq_entries=cq_entries)
        self.tags = {}  # in flight by id, so that a completion that repeats or was never asked for is noticed
        self.finished = []
        self.log = [f"Ring({entries}, flags={flags})"]
        self.pairs = []
        for _ in range(2):
            pair = socket.socketpair()
            self.pairs += [pair, pair[::-1]]
        self.pipe = os.pipe()
        for end in self.pipe:
            self.stack.callback(os.close, end)
        for here, there in self.pairs:
            for sock in (here, there):
                self.stack.callback(sock.close)
        os.set_blocking(self.pipe[1], False)
        self.server = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.ring.register_files_sparse(SLOTS)
        self.groups = {0: self.ring.setup_buf_ring(4, 64, 0), 1: self.ring.setup_buf_ring(16, 16, 1)}
        self.held = []
        self.prepared = 0

    # Preparing.

    def sqe(self, name, **settings):
        sqe = self.ring.get_sqe()
        tag = Tag(name, **settings)
        assert sqe.user_data is None, "left over from another request"
        sqe.user_data = tag
        tag.sqe = sqe
        assert id(tag) not in self.tags
        self.tags[id(tag)] = tag
        return sqe

    def buffer(self):
        return bytearray(self.random.choice([1, 8, 64, 5000]))

    def prepare(self):
        # What an SQE is made into is decided after it is taken: taking it may submit those before.
        kind = self.random.choice(PREPARATIONS)
        name = kind.removeprefix("put_")
        self.log.append(name)
        sqe = getattr(self, kind)()
        self.decorate(sqe)

    def decorate(self, sqe):
        tag = sqe.user_data
        choice = self.random.random()
        if choice < 0.08:
            sqe.link = True
        elif choice < 0.12:
            sqe.hardlink = True
        elif choice < 0.15:
            sqe.always_async = True
        elif choice < 0.18 and not tag.multishot and not self.polled:
            sqe.drain = True
        if self.random.random() < 0.1 and not tag.multishot and not tag.descriptor and not tag.direct:
            sqe.skip_success = True
            tag.hidden = True

    def put_nop(self):
        return self.sqe("nop")

    def put_recv(self):
        buffer = self.buffer()
        sqe = self.sqe("recv", buffers=[buffer])
        sqe.prep_recv(self.random.choice(self.pairs)[0], buffer)
        return sqe

    def put_recv_group(self):
        sqe = self.sqe("recv of a group")
        sqe.prep_recv(self.random.choice(self.pairs)[0], None)
        sqe.buffer_group = self.random.choice([0, 1])
        return sqe

    def put_recv_multishot(self):
        sqe = self.sqe("multishot recv", multishot=True)
        sqe.prep_recv_multishot(self.random.choice(self.pairs)[0])
        sqe.buffer_group = self.random.choice([0, 1])
        return sqe

    def put_recvmsg(self):
        buffers = [self.buffer(), self.buffer()]
        sqe = self.sqe("recvmsg", buffers=buffers)
        sqe.prep_recvmsg(self.random.choice(self.pairs)[0], MsgHdr(buffers, name_size=64))
        return sqe

    def put_send(self):
        buffer = self.buffer()
        sqe = self.sqe("send", buffers=[buffer])
        sqe.prep_send(self.random.choice(self.pairs)[0], buffer, flags=socket.MSG_DONTWAIT)
        return sqe

    def put_readv(self):
        buffers = [self.buffer() for _ in range(3)]
        sqe = self.sqe("readv", buffers=buffers)
        sqe.prep_readv(self.pipe[0], buffers)
        return sqe

    def put_write(self):
        buffer = self.buffer()
        sqe = self.sqe("write", buffers=[buffer])
        sqe.prep_write(self.pipe[1], buffer)
        return sqe

    def put_timeout(self):
        sqe = self.sqe("timeout")
        sqe.prep_timeout(self.random.choice([0, 0.0001, 0.002, 1000]), self.random.choice([0, 0, 1, 3]))
        return sqe

    def put_poll(self):
        sqe = self.sqe("poll")
        sqe.prep_poll_add(self.random.choice(self.pairs)[0], self.random.choice([select.POLLIN, select.POLLOUT]))
        return sqe

    def put_poll_multishot(self):
        sqe = self.sqe("multishot poll", multishot=True)
        sqe.prep_poll_multishot(self.random.choice(self.pairs)[0], select.POLLIN)
        return sqe

    def put_accept(self):
        sqe = self.sqe("accept", descriptor=True)
        sqe.prep_accept(self.server)
        return sqe

    def put_accept_direct(self):
        sqe = self.sqe("direct accept", direct=True)
        sqe.prep_accept_direct(self.server)
        return sqe

    def put_accept_multishot(self):
        sqe = self.sqe("multishot accept", multishot=True, descriptor=True)
        sqe.prep_multishot_accept(self.server)
        return sqe

    def put_open(self):
        sqe = self.sqe("open", descriptor=True)
        sqe.prep_openat(None, "/dev/null")
        return sqe

    def put_open_direct(self):
        sqe = self.sqe("direct open", direct=True)
        sqe.prep_openat_direct(None, "/dev/null")
        return sqe

    def put_close_direct(self):
        sqe = self.sqe("direct close")
        sqe.prep_close_direct(self.random.randrange(SLOTS))
        return sqe

    def put_direct_read(self):
        buffer = self.buffer()
        sqe = self.sqe("direct read", buffers=[buffer])
        sqe.prep_read(Direct(self.random.randrange(SLOTS)), buffer)
        return sqe

    def put_statx(self):
        buffer = bytearray(256)
        sqe = self.sqe("statx", buffers=[buffer])
        sqe.prep_statx(None, "/", 0, 0x7FF, buffer)
        return sqe

    def put_cancel(self):
        sqe = self.sqe("cancel")
        way = self.random.randrange(6)
        tag = self.random.choice([*self.tags.values(), *self.finished[-3:]])
        if way == 0:
            sqe.prep_cancel(tag.sqe)
        elif way == 1:
            sqe.prep_cancel(tag)
        elif way == 2:
            sqe.prep_cancel64(tag.sqe.token)
        elif way == 3:
            sqe.prep_cancel_fd(self.random.choice(self.pairs)[0], self.random.choice([0, CancelFlags.ALL]))
        elif way == 4:
            sqe.prep_cancel_op(self.random.choice([Op.RECV, Op.ACCEPT, Op.TIMEOUT, Op.READV]), CancelFlags.ALL)
        else:
            sqe.prep_cancel(None, CancelFlags.ANY | self.random.choice([0, CancelFlags.ALL]))
        return sqe

    def put_timeout_update(self):
        sqe = self.sqe("timeout update")
        sqe.prep_timeout_update(0.001, self.random.choice(list(self.tags.values())).sqe)
        return sqe

    def put_poll_remove(self):
        sqe = self.sqe("poll remove")
        sqe.prep_poll_remove(self.random.choice(list(self.tags.values())).sqe)
        return sqe

    def put_linked(self):
        first = self.put_recv()
        first.link = True
        limit = self.sqe("link timeout")
        limit.prep_link_timeout(0.001)
        return limit

    def put_spoilt(self):
        sqe = self.sqe("spoilt")
        sqe.prep_recv(self.pairs[0][0], bytearray(10))
        with contextlib.suppress(TypeError):
            sqe.prep_send(0, 5)
        return sqe

    # Completions.

    def seen(self, cqe):
        tag = cqe.user_data
        assert isinstance(tag, Tag), f"a completion of nothing: {cqe!r}"
        assert self.tags.get(id(tag)) is tag, f"a completion after the last one, or of another request: {cqe!r}"
        assert tag.multishot or not cqe.more, f"more to come of {cqe!r}"
        assert not (tag.hidden and cqe.res >= 0), f"was to be hidden: {cqe!r}"
        tag.shown += 1
        if not cqe.more:
            self.end(tag)
        if cqe.res >= 0 and tag.descriptor:
            os.close(cqe.res)
        if cqe.buffer_id is not None:
            group = next(group for group in self.groups.values() if self.owns(group, cqe))
            assert len(group.read(cqe)) == max(cqe.res, 0)  # one that was interrupted may bring a buffer, too
            if self.random.random() < 0.8:
                group.recycle(cqe)
            else:
                self.held.append((group, cqe))

    @staticmethod
    def owns(group, cqe):
        try:
            group.views(cqe)
        except ValueError:
            return False
        return True

    def end(self, tag):
        del self.tags[id(tag)]
        if len(self.finished) > 10:
            self.finished.pop(0)
        self.finished.append(tag)
        # Somebody else's buffers may still be in flight; this request's are free.
        assert all(map(resizable, tag.buffers)), f"{tag} is done and holds its memory"

    def drop_hidden(self):
        """Successes that were not shown end without a word: the SQE tells, once nothing is left to be shown."""
        if self.ring.cq_ready() == 0:
            for tag in [tag for tag in self.tags.values() if tag.hidden and tag.done()]:
                self.end(tag)

    def check(self):
        self.drop_hidden()
        # What a wait took from the queue and put back is no longer in flight, and yet to be seen.
        flying = [tag for tag in self.tags.values() if not tag.done()]
        assert self.ring.in_flight == len(flying), (self.ring, list(self.tags.values())[:20])
        hidden = sum(tag.hidden for tag in self.tags.values() if tag.done())
        assert len(self.tags) - len(flying) - hidden <= self.ring.cq_ready()
        for tag in flying:
            assert not any(map(resizable, tag.buffers)), f"{tag} is in flight and its memory free"

    # Steps.

    def submit(self):
        self.ring.submit()

    def submit_and_wait(self):
        with contextlib.suppress(TimeoutError):
            self.ring.submit_and_wait(self.random.randint(0, min(3, self.ring.cq_entries)), 0.002)

    def peek(self):
        cqe = self.ring.peek_cqe()
        if cqe is not None:
            self.seen(cqe)

    def wait(self):
        with contextlib.suppress(TimeoutError):
            self.seen(self.ring.wait_cqe(0.001))

    def wait_several(self):
        with contextlib.suppress(TimeoutError):
            for cqe in self.ring.wait_cqes(self.random.randint(1, 5), 0.001):
                self.seen(cqe)

    def completions(self):
        limit = self.random.choice([1, 2, 1000])
        for number, cqe in enumerate(self.ring.completions(), 1):
            self.seen(cqe)
            if number == limit:
                break

    def happen(self):
        here, _ = self.random.choice(self.pairs)
        with contextlib.suppress(BlockingIOError):
            here.send(b"h" * self.random.choice([1, 10, 300]), socket.MSG_DONTWAIT)

    def swallow(self):
        here, _ = self.random.choice(self.pairs)
        with contextlib.suppress(BlockingIOError):
            here.recv(100000, socket.MSG_DONTWAIT)

    def fill_pipe(self):
        with contextlib.suppress(BlockingIOError):
            os.write(self.pipe[1], b"p" * 100)

    def connect(self):
        with socket.socket() as peer:
            peer.setblocking(False)
            peer.connect_ex(self.server.getsockname())

    def recycle(self):
        while self.held:
            group, cqe = self.held.pop(self.random.randrange(len(self.held)))
            group.recycle(cqe)

    def another_thread(self):
        def use():
            for call in (self.ring.get_sqe, self.ring.submit, self.ring.peek_cqe, self.ring.close):
                try:
                    call()
                except WrongThread:
                    refused.append(call)

        refused = []
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert len(refused) == 4

    def fork(self):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self.ring.submit()
            except ForkedRing:
                self.ring.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    def collect(self):
        gc.collect()

    def cancel_now(self):
        with contextlib.suppress(FileNotFoundError, BlockingIOError, TimeoutError):
            self.ring.register_sync_cancel(flags=CancelFlags.ANY | CancelFlags.ALL, timeout=1)

    def step(self):
        name = self.random.choices(list(STEPS), list(STEPS.values()))[0]
        if name != "prepare":
            self.log.append(name)
        getattr(self, name)()
        self.check()

    # The end.

    def settle(self):
        """Everything in flight ends."""
        deadline = time.monotonic() + 20
        while True:
            self.ring.submit()
            while (cqe := self.ring.peek_cqe()) is not None:
                self.seen(cqe)
            self.check()
            if not self.tags:
                return
            # An SQE would wait behind a drain; a call does not reach the workers of a polling thread.
            if self.polled:
                self.sqe("cancel").prep_cancel(None, CancelFlags.ANY | CancelFlags.ALL)
                with contextlib.suppress(TimeoutError):
                    self.ring.submit_and_wait(1, 0.01)
            else:
                self.cancel_now()
            assert time.monotonic() < deadline, f"{self.ring} does not settle: {list(self.tags.values())[:20]}"

    def close(self):
        tags = list(self.tags.values())
        way = self.random.choice(["settle", "close", "drop"])
        self.log.append(way)
        if way == "settle":
            self.settle()
            self.ring.close()
        elif way == "close":
            self.ring.close()
            with pytest.raises(RingClosed):
                self.ring.submit()
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                self.ring = None
                gc.collect()
        for tag in tags:
            assert all(map(resizable, tag.buffers)), f"{tag} holds its memory after the end"
        self.stack.close()


PREPARATIONS = [name for name in vars(Machine) if name.startswith("put_")]
STEPS = {
    "prepare": 40,
    "submit": 12,
    "submit_and_wait": 6,
    "peek": 10,
    "wait": 4,
    "wait_several": 3,
    "completions": 8,
    "happen": 8,
    "swallow": 4,
    "fill_pipe": 4,
    "connect": 4,
    "recycle": 4,
    "another_thread": 0.2,
    "fork": 0.1,
    "collect": 0.2,
    "cancel_now": 0.5,
}


class Script(random.Random):
    """A generator whose numbers hypothesis wrote down beforehand; zeros behind their end.

    Beforehand, because what the machine asks for depends on the kernel's timing, and hypothesis wants to be asked for
    the same each time.
    """

    def __new__(cls, data):
        return super().__new__(cls)

    def __init__(self, data):
        super().__init__(0)
        self.data = iter(data)

    def getrandbits(self, k):
        number = 0
        for _ in range((k + 7) // 8):
            number = number << 8 | next(self.data, 0)
        return number >> -k % 8

    def random(self):
        return self.getrandbits(16) / 65536


def play(generator, steps, name):
    before, mappings = descriptors(), ring_mappings()
    machine = Machine(generator)
    try:
        for _ in range(steps):
            machine.step()
        machine.close()
    except BaseException as error:
        error.add_note(f"{name}: {' '.join(machine.log[-60:])}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            if machine.ring is not None:
                machine.ring.close()
        machine.stack.close()
        raise
    del machine
    assert descriptors() == before, f"{name}: descriptors"
    assert ring_mappings() == mappings, f"{name}: mappings"


def run(seconds, seed):
    """Lets hypothesis play for so long: games whose choices it writes down, and can make smaller, and games of which it
    chooses the seed."""
    if "IORING_MODEL_SEED" in os.environ:
        play(random.Random(SEED), 150, f"IORING_MODEL_SEED={SEED}")
        return
    print(f"seed {seed}", flush=True)
    deadline = time.monotonic() + seconds
    rounds = 0

    @hypothesis.settings(
        max_examples=40,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
    )
    @hypothesis.given(
        strategies.one_of(strategies.binary(min_size=60, max_size=400), strategies.integers(1, 2**32 - 1)),
        strategies.sampled_from([5, 15, 30, 150]),
    )
    def game(choices, steps):
        nonlocal rounds
        if time.monotonic() > deadline:
            return
        if isinstance(choices, int):
            play(random.Random(choices), steps, f"IORING_MODEL_SEED={choices}")
        else:
            play(Script(choices), steps, f"script {choices!r}")
        rounds += 1

    while time.monotonic() < deadline:
        hypothesis.seed(seed)(game)()
        seed += 1
    print(f"{rounds} rounds", flush=True)
    assert rounds > 0


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("part", range(3))
def test_random_use(part):
    run(SECONDS, SEED + part)


@pytest.mark.long
@pytest.mark.timeout(SECONDS_LONG + 60)
def test_random_use_for_long():
    run(SECONDS_LONG, SEED)
