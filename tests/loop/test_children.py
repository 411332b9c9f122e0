"""Child processes on the loop."""

import asyncio
import contextlib
import gc
import logging
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

import ioring
from ioring.loop import subprocesses as children
from rings import WAIT_S, pipe_pair
from running import run, turns, unclosed

PIPE = subprocess.PIPE


def children_now():
    """The processes this one has started and not waited for, dead or alive."""
    found = set()
    for thread in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread may have ended
            found.update(map(int, (thread / "children").read_text().split()))
    return found


@pytest.fixture(autouse=True)
def no_children():
    """Fails a test that leaves a child, dead or alive. Other tests may have left one: multiprocessing keeps helpers."""
    before = children_now()
    yield
    deadline = time.monotonic() + WAIT_S
    while left := children_now() - before:
        assert time.monotonic() < deadline, f"nobody has waited for {left}"
        time.sleep(0.01)


def python(code, *arguments, **options):
    """A child that runs Python."""
    return asyncio.create_subprocess_exec(sys.executable, "-S", "-c", code, *arguments, **options)


async def output(code, *arguments, data=None, **options):
    """What a child that must end well has printed."""
    child = await python(code, *arguments, stdin=PIPE, stdout=PIPE, **options)
    printed, _ = await child.communicate(data)
    assert child.returncode == 0
    return printed


class Events(asyncio.SubprocessProtocol):
    """Says what it is told, in order."""

    def __init__(self, loop):
        self.events = []
        self.data = {1: b"", 2: b""}
        self.exited = loop.create_future()
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")

    def pipe_data_received(self, fd, data):
        self.data[fd] += data

    def pipe_connection_lost(self, fd, exception):
        self.events.append(("pipe", fd, exception))

    def process_exited(self):
        self.events.append("exited")
        self.exited.set_result(self.transport.get_returncode())

    def connection_lost(self, exception):
        self.events.append("lost")
        self.lost.set_result(exception)


# How children end.


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_code(loop, code):
    async def main():
        child = await python(f"raise SystemExit({code})")
        return await child.wait(), child.returncode

    assert run(loop, main()) == (code, code)


def test_ended_by_a_signal(loop):
    async def main():
        codes = []
        for end in (
            lambda child: child.kill(),
            lambda child: child.terminate(),
            lambda child: child.send_signal(signal.SIGUSR1),
            lambda child: os.kill(child.pid, signal.SIGINT),
        ):
            # The default actions: this process may have been started with some of them ignored.
            child = await python(
                "import signal\n"
                "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1): signal.signal(number, signal.SIG_DFL)\n"
                "print(flush=True); signal.pause()",
                stdout=PIPE,
            )
            await child.stdout.readline()
            end(child)
            codes.append(await child.wait())
            # Newer asyncio says nothing until the pipes have ended as well.
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        return codes

    assert run(loop, main()) == [-signal.SIGKILL, -signal.SIGTERM, -signal.SIGUSR1, -signal.SIGINT]


def test_what_a_protocol_is_told(loop):
    async def main():
        transport, protocol = await loop.subprocess_exec(
            lambda: Events(loop),
            sys.executable,
            "-S",
            "-c",
            "import sys; sys.stderr.write('error'); sys.stdout.write(sys.stdin.read()); sys.exit(3)",
        )
        assert isinstance(transport, asyncio.SubprocessTransport)
        assert protocol.transport is transport and transport.get_returncode() is None
        stdin = transport.get_pipe_transport(0)
        stdin.write(b"input")
        stdin.close()
        assert await protocol.exited == 3
        assert await protocol.lost is None
        assert protocol.data == {1: b"input", 2: b"error"}
        pipes = [event for event in protocol.events if isinstance(event, tuple)]
        assert sorted(pipes) == [("pipe", 0, None), ("pipe", 1, None), ("pipe", 2, None)]
        assert protocol.events[0] == "made" and protocol.events[-1] == "lost" and "exited" in protocol.events
        assert transport.get_returncode() == 3
        transport.close()

    run(loop, main())


def test_end_is_told_while_pipes_stay_open(loop):
    """A grandchild has them."""

    async def main():
        transport, protocol = await loop.subprocess_shell(lambda: Events(loop), "exec 3<&0; cat <&3 & exit 4")
        assert await protocol.exited == 4
        assert "lost" not in protocol.events
        transport.close()
        await protocol.lost

    run(loop, main())


def test_waiting_is_cancelled_and_tried_again(loop):
    async def main():
        child = await python("input()", stdin=PIPE, stderr=subprocess.DEVNULL)
        waiting = [asyncio.create_task(child.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(child.wait(), 0.001)
        child.stdin.close()
        assert await asyncio.gather(*waiting[1:]) == [1, 1]
        assert await child.wait() == 1

    run(loop, main())


def test_many_at_once(loop):
    async def one(number):
        child = await asyncio.create_subprocess_shell(f"echo {number}; exit {number}", stdout=PIPE)
        printed, _ = await child.communicate()
        return int(printed), child.returncode

    async def main():
        return await asyncio.gather(*(one(number) for number in range(30)))

    assert run(loop, main()) == [(number, number) for number in range(30)]


def test_ends_that_come_all_at_once(loop):
    async def main():
        reading, writing = os.pipe()
        try:
            children = [await asyncio.create_subprocess_exec("cat", stdin=reading) for _ in range(20)]
        finally:
            os.close(reading)
            os.close(writing)  # the end of input for all of them
        return await asyncio.gather(*(child.wait() for child in children))

    assert run(loop, main()) == [0] * 20


# Pipes.


@pytest.mark.parametrize("size", [0, 1, 65536, 3_000_000])
def test_communicate(loop, size):
    data = random.Random(size).randbytes(size)

    async def main():
        child = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        return await child.communicate(data), child.returncode

    assert run(loop, main()) == ((data, None), 0)


def test_standard_streams_can_be_opened_by_name(loop):
    """Sockets could not."""

    async def main():
        child = await asyncio.create_subprocess_shell(
            "cat /dev/stdin > /dev/stdout; echo end > /dev/stderr", stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        return await child.communicate(b"through")

    assert run(loop, main()) == (b"through", b"end\n")


def test_where_streams_go(loop):
    async def main():
        child = await python(
            "import sys; print('out', flush=True); print('error', file=sys.stderr); assert sys.stdin.read() == ''",
            stdin=subprocess.DEVNULL,
            stdout=PIPE,
            stderr=subprocess.STDOUT,
        )
        assert await child.communicate() == (b"out\nerror\n", None)
        with pipe_pair() as (source, sink):
            child = await python("print('there')", stdout=sink)
            assert await child.wait() == 0
            assert source.read(100) == b"there\n"

    run(loop, main())


def test_lines_to_and_fro(loop):
    async def main():
        child = await python(
            "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)", stdin=PIPE, stdout=PIPE
        )
        for number in range(100):
            child.stdin.write(b"line %d\n" % number)
            assert await child.stdout.readline() == b"LINE %d\n" % number
        child.stdin.close()
        await child.stdin.wait_closed()
        assert await child.stdout.read() == b""
        assert await child.wait() == 0

    run(loop, main())


def test_child_that_does_not_read(loop):
    async def main():
        child = await asyncio.create_subprocess_exec("true", stdin=PIPE, stdout=PIPE)
        assert await child.communicate(b"x" * 1_000_000) == (b"", None)
        assert child.returncode == 0

    run(loop, main())


def test_drain_tells_that_the_child_is_gone(loop):
    async def main():
        child = await python("input()", stdin=PIPE)
        child.stdin.write(b"x" * 1_000_000)
        child.kill()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                child.stdin.write(b"x" * 65536)
                await child.stdin.drain()
                await asyncio.sleep(0)
        assert await child.wait() == -signal.SIGKILL

    run(loop, main())


def test_options_of_popen(loop, tmp_path):
    async def main():
        code = "import os; print(os.getcwd(), os.environ['NAME'], os.getpgrp() == os.getpid())"
        printed = await output(code, cwd=tmp_path.resolve(), env={"NAME": "value"}, start_new_session=True)
        assert printed.decode().split() == [str(tmp_path.resolve()), "value", "True"]

    run(loop, main())


def test_child_inherits_nothing_of_the_loop(loop):
    async def main():
        with pipe_pair() as (source, _):
            loop.add_reader(source, print)
            first = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
            printed = await output(
                "import os\n"
                "for name in os.listdir('/proc/self/fd'):\n"
                "    try: print(os.readlink('/proc/self/fd/' + name))\n"
                "    except FileNotFoundError: pass",
                close_fds=False,
            )
            loop.remove_reader(source)
            first.stdin.close()
            assert await first.wait() == 0
        assert b"io_uring" not in printed and b"pidfd" not in printed

    run(loop, main())


# When something goes wrong.


def test_no_such_program(loop):
    async def main():
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                await asyncio.create_subprocess_exec("/no/such/program", stdin=PIPE, stdout=PIPE)

    run(loop, main())


def test_somebody_else_has_waited_for_it(loop, caplog):
    async def main():
        with pipe_pair() as (source, sink):
            child = await asyncio.create_subprocess_exec("cat", stdin=source)
            sink.close()
            assert os.waitpid(child.pid, 0)[0] == child.pid  # noqa: ASYNC222
            return await child.wait()

    with caplog.at_level(logging.WARNING, "asyncio"):
        assert run(loop, main()) == 255
    assert "exit status already read" in caplog.text


def test_somebody_else_was_faster_still(loop, caplog, monkeypatch):
    """The child is gone before the loop begins to watch it."""
    watch = children.os.pidfd_open

    def pidfd_open(pid, flags=0):
        os.waitpid(pid, 0)
        return watch(pid, flags)

    monkeypatch.setattr(children.os, "pidfd_open", pidfd_open)

    async def main():
        child = await asyncio.create_subprocess_exec("true")
        return await child.wait()

    with caplog.at_level(logging.WARNING, "asyncio"):
        assert run(loop, main()) == 255
    assert "exit status already read" in caplog.text


def test_child_that_cannot_be_watched_is_not_left_alone(loop, monkeypatch):
    def pidfd_open(pid, flags=0):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(children.os, "pidfd_open", pidfd_open)

    async def main():
        with pytest.raises(OSError, match="Too many open files"):
            await asyncio.create_subprocess_exec("cat", stdin=PIPE)

    run(loop, main())
    gc.collect()


def test_starting_is_cancelled(loop):
    async def main():
        for steps in range(6):
            task = asyncio.create_task(python("input()", stdin=PIPE, stdout=PIPE, stderr=PIPE))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            try:
                child = await task
            except asyncio.CancelledError:
                continue
            child.kill()
            await child.communicate()

    run(loop, main())
    turns(loop)


def test_transport_is_closed_over_a_running_child(loop):
    async def main():
        transport, protocol = await loop.subprocess_exec(lambda: Events(loop), "cat")
        transport.close()
        assert await protocol.exited == -signal.SIGKILL
        assert await protocol.lost is None
        assert transport.get_returncode() == -signal.SIGKILL

    run(loop, main())


def test_child_that_nobody_refers_to(loop):
    class Closing(Events):
        def process_exited(self):
            Events.process_exited(self)
            self.transport.close()

    async def main():
        with pipe_pair() as (source, sink):
            _, protocol = await loop.subprocess_exec(lambda: Closing(loop), "cat", stdin=source, stderr=None)
            exited, lost, reference = protocol.exited, protocol.lost, weakref.ref(protocol)
            del protocol, _
            gc.collect()
            sink.close()
            assert await exited == 0
            assert await lost is None
            return reference

    reference = run(loop, main())
    turns(loop)
    gc.collect()
    assert reference() is None


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there are no child watchers any more")
def test_no_watcher_in_the_policy(loop):
    """A policy of the program's own need not know about children."""

    class Policy(asyncio.AbstractEventLoopPolicy):
        def get_event_loop(self):
            return loop

        def set_event_loop(self, loop):
            pass

    asyncio.set_event_loop_policy(Policy())
    try:
        assert run(loop, output("print('fine')")) == b"fine\n"
    finally:
        asyncio.set_event_loop_policy(None)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there are no child watchers any more")
@pytest.mark.filterwarnings("ignore:.*Watcher:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*child_watcher:DeprecationWarning")
def test_watcher_that_is_not_active(loop):
    class Watcher(asyncio.SafeChildWatcher):
        def is_active(self):
            return False

        def __enter__(self):
            return self if sys.version_info < (3, 12) else None  # asyncio does not look at it any more

    asyncio.set_child_watcher(Watcher())
    try:
        with pytest.raises(RuntimeError, match="not activated"):
            run(loop, output("print('fine')"))
    finally:
        asyncio.set_child_watcher(None)


# Threads.


def test_loop_of_another_thread(loop):
    results = []

    def work():
        results.append(run(loop, output("print(input())", data=b"there\n")))
        turns(loop)
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [b"there\n"]


def test_several_loops_at_once():
    results = []

    async def main(number):
        return await asyncio.gather(
            *(output("print(input())", data=b"%d\n" % (number * 100 + child)) for child in range(5))
        )

    def work(number):
        with contextlib.closing(ioring.Loop()) as loop:
            results.append((number, run(loop, main(number))))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [
        (number, [b"%d\n" % (number * 100 + child) for child in range(5)]) for number in range(4)
    ]


# The end of the loop.


def reap(pid):
    """Waits for a child, unless Popen has done it, as it does for those whose object is gone."""
    with contextlib.suppress(ChildProcessError):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_loop_is_closed_over_a_running_child(loop):
    """The child is killed when its transport goes, and no descriptor of it stays."""

    async def main():
        child = await asyncio.create_subprocess_exec("cat", stdin=source, stdout=PIPE)
        return child.pid

    with pipe_pair() as (source, _):
        pid = run(loop, main())
        with unclosed():
            loop.close()
        assert reap(pid) in (None, -signal.SIGKILL)


def test_loop_is_closed_before_an_end_is_told(loop):
    async def main():
        child = await asyncio.create_subprocess_exec("cat", stdin=source)
        return child.pid

    with pipe_pair() as (source, sink):
        pid = run(loop, main())
        sink.close()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with unclosed():
            loop.close()
        assert reap(pid) in (None, 0)
