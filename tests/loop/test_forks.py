"""Loops, threads and processes: forks of a program whose loop runs, and the ways in which Python starts processes."""

import asyncio
import concurrent.futures
import sys
import threading

import pytest

import ioring
from rings import WAIT_S, python
from running import run

FORK = """
import asyncio, socket
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads

def fork(child):
    "Runs a function in a child of a fork; the parent's loop goes on meanwhile. What the child said with its end."
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writing, 1)
            child()
            sys.stdout.flush()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    return pid, reading

async def ended(pid, reading):
    loop = asyncio.get_running_loop()
    with open(reading) as said:
        while not (found := os.waitpid(pid, os.WNOHANG))[0]:
            await asyncio.sleep(0.001)
        assert found[1] == 0, found
        return said.read()
"""


def forked(code, direct, **options):
    return python(
        FORK + code + f"\nwith asyncio.Runner(loop_factory=lambda: Loop(direct_descriptors={direct})) as runner:"
        "\n    runner.run(main())\n",
        **options,
    )


def test_fork_in_resume_writing():
    """It is told in the middle of a turn, of a send that was handed over early."""
    said = python(
        FORK
        + """
import contextlib

class Protocol(asyncio.Protocol):
    children = []

    def resume_writing(self):
        if not self.children:
            self.children.append(os.fork())

async def main():
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        transports = []
        for _ in range(6):
            here, there = socket.socketpair()
            stack.enter_context(there)
            here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            transport, _ = await loop.create_connection(Protocol, sock=here)
            transport.set_write_buffer_limits(high=100, low=50)
            transports.append(transport)
        for transport in transports:
            transport.write(bytes(20_000))
        while not Protocol.children:
            await asyncio.sleep(0)
        print(os.waitstatus_to_exitcode(os.waitpid(Protocol.children[0], 0)[1]))
        for transport in transports:
            transport.abort()

try:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
except ForkedRing:
    os._exit(3)
"""
    )
    assert said == "3\n"


TOUCHED = """
async def main():
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    here.setblocking(False), there.setblocking(False)
    accepted = []
    server = await asyncio.start_server(lambda *streams: accepted.append(streams), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    while not accepted:
        await asyncio.sleep(0)
    receiving = loop.create_task(loop.sock_recv(here, 100))
    loop.add_signal_handler(signal.SIGTERM, lambda: print("parent's"))
    child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    await asyncio.sleep(0.01)

    def touch():
        assert asyncio._get_running_loop() is None and not loop.is_running()
        refused = {
            "call_soon": lambda: loop.call_soon(print),
            "call_soon_threadsafe": lambda: loop.call_soon_threadsafe(print),
            "call_later": lambda: loop.call_later(1, print),
            "add_reader": lambda: loop.add_reader(there, print),
            "add_signal_handler": lambda: loop.add_signal_handler(signal.SIGUSR1, print),
            "sock_recv": lambda: loop.sock_recv(there, 1).send(None),
            "sock_accept": lambda: loop.sock_accept(server.sockets[0]).send(None),
            "run_forever": loop.run_forever,
            "run_until_complete": lambda: loop.run_until_complete(asyncio.sleep(0)),
            "create_task": lambda: loop.create_task(asyncio.sleep(0)),
        }
        warnings.simplefilter("ignore")  # coroutines that nobody awaits
        for name, call in refused.items():
            try:
                call()
            except ForkedRing as error:
                assert "parent process" in str(error)
            else:
                print(name, "was not refused")
        # These do nothing, or say why not.
        for call in (loop.close, loop.statistics, lambda: repr(loop), writer.close, server.close, loop.stop,
                     lambda: writer.write(b"x"), lambda: accepted[0][1].write(b"x"), accepted[0][1].close,
                     lambda: accepted[0][1].get_extra_info("socket"), writer.transport.abort, receiving.cancel,
                     lambda: child.stdin.write(b"x"), child.stdin.close, lambda: loop.remove_reader(there)):
            try:
                call()
            except ForkedRing:
                pass
        gc.collect()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and signal.set_wakeup_fd(-1) == -1
        print(ioring.run(asyncio.sleep(0.001, "a loop of its own")))
        print(asyncio.run(asyncio.sleep(0.001, "asyncio's")))

    said = await ended(*fork(touch))
    assert said == "a loop of its own\\nasyncio's\\n", said
    # Nothing of that was felt here.
    there.send(b"data")
    assert await receiving == b"data"
    writer.write(b"ping")
    assert await accepted[0][0].read(100) == b"ping"
    accepted[0][1].write(b"pong")
    assert await reader.read(100) == b"pong"
    assert await child.communicate(b"to the child") == (b"to the child", None)
    for stream in (writer, accepted[0][1]):
        stream.close()
        await stream.wait_closed()
    server.close()
    await server.wait_closed()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.001)
    loop.remove_signal_handler(signal.SIGTERM)
    here.close(), there.close()
"""


def test_child_is_told_and_has_a_loop_of_its_own(direct):
    assert forked(TOUCHED, direct) == "parent's\n"


def test_child_that_goes_on_in_a_coroutine_of_the_parent(direct):
    """The loop does not run in the child: it ends by an exception that says why."""
    code = """
async def main():
    here, there = socket.socketpair()
    with here, there:
        pid = os.fork()
        if pid == 0:
            sys.stderr = sys.stdout
        else:
            asyncio.get_running_loop().call_later(60, print)
            _, status = await asyncio.to_thread(os.waitpid, pid, 0)
            assert os.waitstatus_to_exitcode(status) == 1, status
            return
        await asyncio.sleep(0.001)

def excepthook(kind, error, traceback):
    print(kind.__name__, error)

sys.excepthook = excepthook
"""
    assert "ForkedRing the loop belongs to the parent process" in forked(code, direct)


@pytest.mark.parametrize("place", ["data_received", "call_soon", "call_later", "add_reader", "signal"])
def test_fork_in_a_callback(place, direct):
    """The turn that was going on in the parent comes to no end in the child, but not to a crash either."""
    code = f"""
async def main():
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    here.setblocking(False)
    done = loop.create_future()

    def callback(*arguments):
        loop.remove_reader(here) if "{place}" == "add_reader" else None
        pid = os.fork()
        if pid == 0:
            return
        _, status = os.waitpid(pid, 0)
        done.set_result(os.waitstatus_to_exitcode(status))

    class Protocol(asyncio.Protocol):
        data_received = callback

    if "{place}" == "data_received":
        Protocol.data_received = lambda self, data: callback()
        await loop.create_connection(Protocol, sock=here)
        there.send(b"data")
    elif "{place}" == "call_soon":
        loop.call_soon(callback)
    elif "{place}" == "call_later":
        loop.call_later(0.001, callback)
    elif "{place}" == "add_reader":
        loop.add_reader(here, callback)
        there.send(b"data")
    else:
        loop.add_signal_handler(signal.SIGUSR1, callback)
        signal.raise_signal(signal.SIGUSR1)
    print("child:", await done, flush=True)
    if "{place}" == "signal":
        loop.remove_signal_handler(signal.SIGUSR1)
    there.close(), here.close()

def excepthook(kind, error, traceback):
    print(kind.__name__, flush=True)
    os._exit(7)

warnings.simplefilter("ignore")
sys.excepthook = excepthook
"""
    said = forked(code, direct)
    assert "ForkedRing\n" in said and "child: 7\n" in said


def test_child_of_a_fork_in_another_thread(direct):
    """While the loop waits in the main thread."""
    code = """
async def main():
    loop = asyncio.get_running_loop()

    def child():
        try:
            loop.call_soon_threadsafe(print)
        except ForkedRing:
            print("refused")
        print(ioring.run(asyncio.sleep(0.001, "ran")))

    for _ in range(5):
        said = await ended(*await asyncio.to_thread(fork, child))
        assert said == "refused\\nran\\n", said
"""
    forked(code, direct)


def test_grandchildren(direct):
    code = """
def generation(depth):
    async def main():
        if depth == 0:
            return await asyncio.sleep(0.001, "the last")
        return await ended(*fork(lambda: print(ioring.run(generation(depth - 1)))))
    return main()

async def main():
    print(await generation(3))
"""
    assert forked(code, direct).strip() == "the last"


# The ways in which Python starts processes.

PROCESSES = """
import asyncio, concurrent.futures, multiprocessing
import ioring

def double(number):
    return 2 * number

async def a_little(number):
    await asyncio.sleep(0.001)
    return 3 * number

def in_a_loop(number):
    return ioring.run(a_little(number))

def put(queue, number):
    queue.put(ioring.run(a_little(number)))

async def main(method):
    loop = asyncio.get_running_loop()
    context = multiprocessing.get_context(method)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = loop.create_task(tick())
    queue = context.Queue()
    process = context.Process(target=put, args=(queue, 5))
    process.start()
    assert await loop.run_in_executor(None, queue.get, True, 60) == 15
    await loop.run_in_executor(None, process.join)
    assert process.exitcode == 0, process.exitcode
    process.close()
    queue.close()
    queue.join_thread()

    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        found = [loop.run_in_executor(executor, call, 7) for call in (double, in_a_loop, double, in_a_loop)]
        assert await asyncio.gather(*found) == [14, 21, 14, 21]

    with context.Pool(2) as pool:
        done = loop.create_future()
        pool.map_async(in_a_loop, range(4), callback=lambda found: loop.call_soon_threadsafe(done.set_result, found))
        assert await done == [0, 3, 6, 9]
        pool.close()
        await loop.run_in_executor(None, pool.join)

    child = await asyncio.create_subprocess_exec("echo", "done", stdout=-1)
    assert await child.communicate() == (b"done\\n", None)
    assert ticks
    ticking.cancel()
    server.close()
    await server.wait_closed()
"""


@pytest.mark.no_sanitizer  # whose locks a fork may find taken by another thread
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, direct, tmp_path):
    """Process, Queue, ProcessPoolExecutor, Pool and a subprocess, from a loop that runs; children have loops too."""
    (tmp_path / "processes.py").write_text(PROCESSES)
    code = f"""
warnings.simplefilter("ignore", DeprecationWarning)
sys.path.insert(0, "{tmp_path}")
import processes
import asyncio
with asyncio.Runner(loop_factory=lambda: Loop(direct_descriptors={direct})) as runner:
    runner.run(processes.main("{method}"))
print("ended")
"""
    assert python(code, timeout=110).endswith("ended\n")


def test_child_is_terminated(direct):
    """SIGTERM ends the child of a fork, though the parent's loop has a handler for it."""
    code = """
import multiprocessing

def child(connection):
    connection.send("here")
    time.sleep(60)

async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, print, "the parent's")
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=(theirs,))
    process.start()
    assert await loop.run_in_executor(None, ours.recv) == "here"
    process.terminate()
    await loop.run_in_executor(None, process.join)
    assert process.exitcode == -signal.SIGTERM, process.exitcode
    await asyncio.sleep(0.001)
    loop.remove_signal_handler(signal.SIGTERM)
"""
    assert forked(code, direct) == ""


# Threads.


def test_loops_in_threads_call_each_other(direct):
    """Each of several loops in threads of their own sends numbers around."""
    count, rounds = 4, 200
    loops, results = [None] * count, [[] for _ in range(count)]
    ready, finished = threading.Barrier(count), threading.Barrier(count)

    def work(place):
        loop = loops[place] = ioring.Loop(direct_descriptors=direct)
        done = loop.create_future()

        def got(number):
            results[place].append(number)
            if number < rounds:
                loops[(place + 1) % count].call_soon_threadsafe(calls[(place + 1) % count], number + 1)
            if len(results[place]) == rounds + 1:
                done.set_result(None)

        calls[place] = got
        ready.wait(WAIT_S)
        loop.call_soon(got, 0)
        run(loop, done)
        finished.wait(WAIT_S)  # nobody calls a loop that is closed
        loop.close()

    calls = [None] * count
    with concurrent.futures.ThreadPoolExecutor(count) as executor:
        for future in [executor.submit(work, place) for place in range(count)]:
            future.result(WAIT_S)
    assert all(sorted(found) == list(range(rounds + 1)) for found in results)


def test_made_in_one_thread_and_run_with_connections_in_another(direct):
    loop = ioring.Loop(direct_descriptors=direct)
    said = []

    async def main():
        async def echo(reader, writer):
            writer.write(await reader.read(100))
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"data")
            said.append(await reader.read())
            writer.close()
            await writer.wait_closed()

    def work():
        run(loop, main())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(WAIT_S)
    assert said == [b"data"] and loop.is_closed()


LEAVES = """
import asyncio
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads

async def main():
    child = os.fork()
    if child == 0:
        {leave}
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)

async def later():
    async def nested():
        return await main()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(nested())
    return task.result()

print({run})
"""

RUNS = {
    "ioring.run": "ioring.run(main())",
    "runner": "asyncio.Runner(loop_factory=ioring.new_event_loop).__enter__().run(main())",
    "loop": "(loop := Loop()).run_until_complete(main()), loop.close()",
    "task": "ioring.run(later())",
}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio's tasks cannot end there since Python 3.12")
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(
    ("leave", "code"), [("sys.exit(7)", 7), ("sys.exit()", 0), ("sys.exit('a reason')", 1), ("os._exit(5)", 5)]
)
def test_exit_code_of_a_child_that_leaves_from_a_coroutine(run, leave, code):
    said = python(LEAVES.format(leave=leave, run=RUNS[run]))
    parent = [line for line in said.splitlines() if line.startswith(("(", str(code)))]
    assert parent == [f"{code} None" if run == "loop" else str(code)]
    assert "ForkedRing" not in said and "never awaited" not in said
    assert "Traceback" not in said
