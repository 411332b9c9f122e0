"""How loops end: dropped without being closed, closed with much in flight, interrupted, left behind at exit."""

import asyncio
import gc
import os
import signal
import socket
import sys
import warnings
import weakref

import pytest

import ioring
from rings import WAIT_S, descriptors, python
from running import turns, until

# Everything that a loop can have in flight.


async def fill(loop, count, tmp_path):
    """Starts a bit of everything, `count` times: what keeps it alive."""
    kept = []

    class Quiet(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            kept.append(self)

    address = str(tmp_path / f"socket-{id(loop)}")
    server = await loop.create_unix_server(Quiet, address, backlog=count)
    kept.append(server)
    big = b"x" * (1 << 19)
    for number in range(count):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        kept.append(sock)
        await loop.sock_connect(sock, address)
        kept.append(loop.create_task(loop.sock_recv(sock, 100)))
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        kept += [ours, theirs]
        # Nobody reads: these are blocked.
        kept.append(loop.create_task(loop.sock_sendall(ours, big)))
        transport, _ = await loop.create_connection(Quiet, sock=theirs)
        transport.write(big)
        kept.append(loop.call_later(1000 + number, print))
        if number % 10 == 0:
            kept.append(await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)))
            reading, writing = os.pipe()
            kept.append(await loop.connect_read_pipe(Quiet, os.fdopen(reading, "rb", 0)))
            kept.append(await loop.connect_write_pipe(Quiet, os.fdopen(writing, "wb", 0)))
            kept[-1][0].write(big)
            listening = socket.create_server(("127.0.0.1", 0))
            listening.setblocking(False)
            kept += [listening, loop.create_task(loop.sock_accept(listening))]
            one, other = socket.socketpair()
            kept += [one, other]
            loop.add_reader(one, print)
            loop.add_reader(other, print)
        if number % 100 == 0:
            waiting = await asyncio.create_subprocess_exec("sleep", "1000", stdin=-1, stdout=-1)
            kept.append(waiting)
    await until(lambda: sum(isinstance(item, Quiet) for item in kept) >= 2 * count)
    return kept


def end_children(kept):
    for item in kept:
        if isinstance(item, asyncio.subprocess.Process):
            os.kill(item.pid, signal.SIGKILL)
            os.waitpid(item.pid, 0)


def let_go(kept):
    """Closes what is the program's own."""
    end_children(kept)
    for item in kept:
        if isinstance(item, socket.socket):
            item.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("count", [1, 50, pytest.param(1000, marks=pytest.mark.long)])
def test_closing_with_everything_in_flight(direct, count, tmp_path, caplog):
    before = descriptors()
    loop = ioring.Loop(direct_descriptors=direct)
    loop.set_exception_handler(lambda loop, context: None)
    kept = loop.run_until_complete(asyncio.wait_for(fill(loop, count, tmp_path), 3 * WAIT_S))
    assert loop.statistics()["in_flight"] > 4 * count
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loop.close()
        assert loop.is_closed() and loop._ring.closed
        let_go(kept)
        kept.clear()
        del loop
        gc.collect()
    gc.collect()
    assert descriptors() <= before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_dropping_with_everything_in_flight(direct, tmp_path):
    """Nobody closes the loop, and nothing refers to it: the collector finds all of it."""
    before = descriptors()

    def leave():
        loop = ioring.Loop(direct_descriptors=direct)
        kept = loop.run_until_complete(asyncio.wait_for(fill(loop, 20, tmp_path), WAIT_S))
        end_children(kept)
        return weakref.ref(loop)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reference = leave()
        for _ in range(3):
            gc.collect()
        said = [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)]
    caught.clear()  # a warning refers to what it is about
    gc.collect()
    assert reference() is None
    assert sum("unclosed event loop" in text for text in said) == 1
    assert any("unclosed transport" in text for text in said)
    assert descriptors() <= before


@pytest.mark.parametrize("kind", ["transport", "server", "timer", "sock_recv", "reader", "pipe", "datagram", "task"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_dropping_with_one_thing(direct, kind):
    before = descriptors()

    def leave():
        loop = ioring.Loop(direct_descriptors=direct)
        here, there = socket.socketpair()
        for end in (here, there):
            end.setblocking(False)
        starts = {
            "transport": lambda: loop.create_connection(asyncio.Protocol, sock=here),
            "server": lambda: loop.create_server(asyncio.Protocol, "127.0.0.1", 0),
            "datagram": lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)),
            "pipe": lambda: loop.connect_read_pipe(asyncio.Protocol, here.makefile("rb", 0)),
        }
        if kind == "timer":
            loop.call_later(1000, lambda: loop)
        elif kind == "sock_recv":
            loop.create_task(loop.sock_recv(here, 10))
        elif kind == "reader":
            loop.add_reader(here, lambda: loop)
        elif kind == "task":
            loop.create_task(asyncio.sleep(1000))
        else:
            kept = loop.run_until_complete(starts[kind]())
            loop.call_soon(lambda: kept)
        turns(loop)
        there.close()
        if kind != "transport":
            here.close()
        return weakref.ref(loop)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reference = leave()
        for _ in range(3):
            gc.collect()
        said = [str(warning.message) for warning in caught]
    caught.clear()  # a warning refers to what it is about
    gc.collect()
    assert reference() is None
    assert sum("unclosed event loop" in text for text in said) == 1
    assert descriptors() <= before


# Tasks and generators that are left.


def test_run_ends_tasks_that_are_left():
    said = []

    async def left(number):
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.001)
            said.append(number)

    async def stubborn():
        while len(said) < 3:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                said.append("stubborn")
                await asyncio.sleep(0)
                return

    async def main():
        tasks = [asyncio.create_task(left(number)) for number in range(2)] + [asyncio.create_task(stubborn())]
        await asyncio.sleep(0.001)
        return len(tasks)

    assert ioring.run(main()) == 3
    assert sorted(map(str, said)) == ["0", "1", "stubborn"]


def test_run_tells_what_a_task_raised_while_it_was_cancelled(caplog):
    async def failing():
        try:
            await asyncio.sleep(1000)
        finally:
            raise ArithmeticError("while being cancelled")

    async def main():
        task = asyncio.create_task(failing())
        await asyncio.sleep(0)
        return weakref.ref(task)

    ioring.run(main())
    assert "unhandled exception during asyncio.run() shutdown" in caplog.text
    assert "while being cancelled" in caplog.text


def test_generators_are_closed(direct):
    said = []

    async def numbers(name):
        try:
            for number in range(10):
                yield number
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0.001)  # the loop still runs
            said.append(name)

    async def main():
        kept = numbers("kept")
        assert await anext(kept) == 0
        dropped = numbers("dropped")
        assert await anext(dropped) == 0
        del dropped
        gc.collect()
        await asyncio.sleep(0.01)
        assert said == ["dropped"]
        return kept

    with asyncio.Runner(loop_factory=lambda: ioring.Loop(direct_descriptors=direct)) as runner:
        kept = runner.run(main())
    assert said == ["dropped", "kept"]
    with pytest.raises(StopAsyncIteration):
        kept.__anext__().send(None)


def test_hooks_of_generators_are_those_of_before(direct):
    before = sys.get_asyncgen_hooks()
    loop = ioring.Loop(direct_descriptors=direct)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.close()
    assert sys.get_asyncgen_hooks() == before


def test_threads_of_the_executor_end_with_run():
    async def main():
        await asyncio.to_thread(int)

    ioring.run(main())  # that none is left the fixture of all tests says


# The end of the process.

PREPARE = """
import asyncio
class Quiet(asyncio.Protocol): pass
loop = Loop(direct_descriptors={direct})
here, there = socket.socketpair()
"""

EXITS = {
    "unclosed": ("turns()", 0, ["unclosed event loop"]),
    "unclosed, with a transport": (
        "kept = loop.run_until_complete(loop.create_connection(Quiet, sock=here))",
        0,
        ["unclosed event loop"],
    ),
    "unclosed, with a server": (
        "kept = loop.run_until_complete(loop.create_server(Quiet, '127.0.0.1', 0))",
        0,
        ["unclosed event loop"],
    ),
    "unclosed, with a blocked send": (
        "here.setblocking(False); kept = loop.create_task(loop.sock_sendall(here, bytes(1 << 24))); turns()",
        0,
        ["unclosed event loop", "Task was destroyed"],
    ),
    "unclosed, with a task": (
        "kept = loop.create_task(asyncio.sleep(1000)); turns()",
        0,
        ["unclosed event loop", "Task was destroyed"],
    ),
    "exit in a callback": ("loop.call_soon(sys.exit, 3); loop.run_forever()", 3, ["unclosed event loop"]),
    "exit in a coroutine": ("async def main(): sys.exit(4)\nioring.run(main())", 4, ["unclosed event loop"]),
    "_exit in a callback": ("loop.call_soon(os._exit, 5); loop.run_forever()", 5, []),
    "an exception": ("async def main(): 1 / 0\nioring.run(main())", 1, ["ZeroDivisionError"]),
    "running in a daemon": (
        "threading.Thread(target=loop.run_forever, daemon=True).start(); time.sleep(0.05)",
        0,
        [],
    ),
    "a daemon that is busy": (
        "loop.add_writer(here, int); threading.Thread(target=loop.run_forever, daemon=True).start(); time.sleep(0.05)",
        0,
        [],
    ),
    "stopped by atexit": (
        "import atexit; atexit.register(lambda: (loop.run_until_complete(asyncio.sleep(0.001)), loop.close()))",
        0,
        [],
    ),
    "closed by a finalizer": (
        "class Last:\n    def __del__(self): loop.close(); print('closed')\nsys.last = Last()",
        0,
        [],
    ),
    "a child that runs": (
        "kept = loop.run_until_complete(asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1))",
        0,
        ["unclosed event loop"],
    ),
    "a fork that ends normally": (
        "turns()\nif os.fork(): os.wait()",
        0,
        ["unclosed event loop"],
    ),
}

TURNS = """
def turns():
    for _ in range(3):
        loop.call_soon(loop.stop)
        loop.run_forever()
"""


@pytest.mark.parametrize("name", EXITS)
def test_exit_of_the_process(name, direct):
    code, expected, words = EXITS[name]
    # A thread that comes back from a system call at the end looks, before it is ended, into memory that the interpreter
    # has freed (take_gil() of 3.11 and 3.12, whatever called). With a debug hook of allocators that is fatal.
    arguments = [] if "daemon" in name else ["-X", "dev"]
    said = python(
        PREPARE.format(direct=direct) + TURNS + code,
        arguments=[*arguments, "-W", "ignore::DeprecationWarning"],
        expect=expected,
    )
    for word in words:
        assert word in said, said
    assert "Fatal" not in said and "SystemError" not in said


# Signals at any moment.


def test_wakeup_descriptor_of_a_closed_loop(direct):
    """An interrupt that comes while the loop ends may leave the descriptor with the interpreter."""
    loop = ioring.Loop(direct_descriptors=direct)
    loop.run_until_complete(asyncio.sleep(0))
    assert loop._watch_signals() == -1
    assert loop._watch_signals() == -1  # and not its own, to be restored
    loop.close()
    assert signal.set_wakeup_fd(-1) == -1

    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        try:
            loop = ioring.Loop(direct_descriptors=direct)
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
        finally:
            assert signal.set_wakeup_fd(-1) == there.fileno()


INTERRUPTED = """
import asyncio, random, _thread

seed = {seed}
random.seed(seed)
pool = bytes(100000)

async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()

async def client(address):
    reader, writer = await asyncio.open_connection(*address)
    try:
        while True:
            size = random.choice([1, 100, 5000, 100000])
            writer.write(pool[:size])
            await reader.readexactly(size)
    finally:
        writer.close()

async def raw(loop):
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False), there.setblocking(False)
        while True:
            await loop.sock_sendall(here, b"data")
            await loop.sock_recv(there, 100)
            try:
                await asyncio.wait_for(loop.sock_recv(there, 1), 0.0005)
            except TimeoutError:
                pass

async def main():
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    async with server:
        await asyncio.gather(*(client(address) for _ in range(5)), raw(loop))

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def interrupt():
    # As the keyboard does it: to the process, at a moment that nobody has chosen. By a thread without any lock that an
    # interrupt could leave in disorder.
    over, ended = [], []
    strikes.append((over, ended))
    _thread.start_new_thread(strike, (random.random() * 0.05, over, ended))

def strike(delay, over, ended):
    when = time.monotonic() + delay
    while not over:
        if time.monotonic() >= when:
            os.kill(os.getpid(), signal.SIGINT)
            when += 1  # should that have been in a weak reference's callback, where the interpreter drops it
        time.sleep(0.001)
    ended.append(True)

def interrupted():
    # A task that was interrupted may end another one by the same exception before the next signal comes.
    while strikes:
        try:
            over, ended = strikes[-1]
            over.append(True)
            while not ended:
                time.sleep(0.001)
            strikes.pop()
        except KeyboardInterrupt:
            pass

strikes = []
warnings.simplefilter("ignore")
before = descriptors()
for turn in range(12):
    loop = Loop(direct_descriptors={direct})
    stopped = 0
    # By a KeyboardInterrupt out of run_forever, wherever it strikes; the loop is run again.
    task = loop.create_task(main())
    while stopped < 3:
        try:
            interrupt()
            loop.run_until_complete(task)
        except (KeyboardInterrupt, ConnectionError, asyncio.IncompleteReadError):  # or the server's side was
            stopped += 1
        interrupted()
        if task.done():
            break
    loop.set_exception_handler(lambda loop, context: None)
    while left := asyncio.all_tasks(loop):
        for one in left:
            one.cancel()
        waiting = loop.create_task(asyncio.wait(left))
        while not waiting.done():
            try:
                loop.run_until_complete(waiting)
            except KeyboardInterrupt:  # what ended one task ends the one that waits for it too
                pass
            except RuntimeError:  # a run that an interrupt has ended may have left a stop(), with asyncio's own too
                if waiting.done():
                    raise
        del waiting
    one = left = None
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    del task
    # By asyncio's way: the main task is cancelled.
    try:
        interrupt()
        with asyncio.Runner(loop_factory=lambda: Loop(direct_descriptors={direct})) as runner:
            runner.run(main())
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("not interrupted")
    interrupted()
loop = None
gc.collect()
deadline = time.monotonic() + 5
while descriptors() > before and time.monotonic() < deadline:
    gc.collect()
    time.sleep(0.01)
assert descriptors() <= before, (descriptors(), before)
print("sound")
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_interrupts_at_any_moment(seed, direct):
    said = python(INTERRUPTED.format(seed=seed, direct=direct), timeout=50)
    assert said.startswith("sound\n"), said  # and then what was told of tasks that were interrupted
