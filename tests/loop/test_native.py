"""Tasks of what is compiled, as other programs see them: `python -m asyncio ps`; and classes that replace asyncio's."""

import asyncio
import gc
import sys
import threading
import time

import pytest

import ioring
from rings import python
from running import run

ASKED = """
async def other():
    await asyncio.sleep(30)

async def main():
    source, sink = os.pipe()
    file = await ioring.open(source, "rb", buffering=0)
    there, here = socket.socketpair()
    here.setblocking(False)
    loop = asyncio.get_running_loop()
    tasks = [
        asyncio.create_task(other(), name="a coroutine"),
        asyncio.ensure_future(file.read(1)),
        asyncio.create_task(loop.sock_recv(here, 1), name="a call"),
    ]
    await asyncio.sleep(0.1)
    for command in "ps", "pstree":
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "asyncio", command, str(os.getpid()), stdout=-1, stderr=-2
        )
        said = (await child.communicate())[0].decode()
        if "permi" in said.lower():
            print("forbidden")
            break
        assert child.returncode == 0, said
        assert "a coroutine" in said and "a call" in said, said
    os.write(sink, b"x")
    there.send(b"y")
    assert await tasks[1] == b"x" and await tasks[2] == b"y"
    tasks[0].cancel()
    await file.close()
ioring.run(main())
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="there is no such command")
def test_another_process_lists_the_tasks():
    said = python("import asyncio\n" + ASKED)
    if said == "forbidden\n":
        pytest.skip("reading another process's memory is forbidden here")
    assert said == ""


@pytest.mark.parametrize("started", [False, True])
def test_cancelled_task_of_a_call_closes_it(loop, pair, started):
    """No warning says that it was never awaited."""

    async def main():
        task = loop.create_task(loop.sock_recv(pair[0], 5))
        if started:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        pair[1].send(b"bytes")
        assert await loop.sock_recv(pair[0], 5) == b"bytes"

    run(loop, main())


@pytest.mark.parametrize("name", ["Task", "Future"])
def test_classes_are_looked_up_when_they_are_needed(loop, monkeypatch, name):
    original = getattr(asyncio, name)
    own = type("Own", (original,), {})
    monkeypatch.setattr(getattr(asyncio, f"{name.lower()}s"), name, own)

    async def main():
        made = loop.create_future() if name == "Future" else loop.create_task(asyncio.sleep(0))
        assert type(made) is own
        if name == "Task":
            await made

    run(loop, main())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio's own handles do not wait before")
@pytest.mark.parametrize("ask", ["cancel", "cancelled"])
def test_other_threads_wait_while_a_callback_runs(loop, ask):
    begun, seen = threading.Event(), []

    def callback():
        begun.set()
        time.sleep(0.05)
        seen.append("callback")

    def other():
        handle = loop.call_soon_threadsafe(callback)
        assert isinstance(handle, asyncio.events._ThreadSafeHandle)
        begun.wait()
        getattr(handle, ask)()
        seen.append("other")
        loop.call_soon_threadsafe(loop.stop)

    threads = [threading.Thread(target=other)]
    threads[0].start()
    loop.run_forever()
    threads[0].join()
    assert seen == ["callback", "other"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio's own handles do not wait before")
def test_callback_cancels_its_own_handle(loop):
    """And does not wait for itself; nor does somebody wait for a callback that raised."""
    handles = []

    def callback():
        handles[0].cancel()
        assert handles[0].cancelled()
        loop.stop()
        raise KeyboardInterrupt

    handles.append(loop.call_soon_threadsafe(callback))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread = threading.Thread(target=handles[0].cancel)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_policy_is_made_when_it_is_asked_for():
    """Python 3.14 warns of policies, and the import of ioring must not."""
    code = "import sys, ioring; print('ioring.loop.policy' in sys.modules)"
    assert python(code, arguments=["-W", "error"], prelude="") == "False\n"
    if sys.version_info < (3, 16):
        # asyncio's own name for it warns from Python 3.14 on.
        name = "_AbstractEventLoopPolicy" if sys.version_info >= (3, 14) else "AbstractEventLoopPolicy"
        assert issubclass(ioring.EventLoopPolicy, getattr(asyncio.events, name))
