"""Loops where the system gives no ring, or less memory than a loop would like."""

import os
import threading

import pytest

import ioring
from ioring import SetupFlags
from rings import REFUSED, as_root, kernel_threads, python, unprivileged
from running import run

RUN = """
import asyncio

async def main():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    return type(asyncio.get_running_loop()).__name__
"""


def test_run_says_why_there_is_no_ring():
    """And nothing else: no loop that was half made complains on its own."""
    said = python(
        REFUSED
        + RUN
        + """
refuse(1)
for make in (Loop, new_event_loop, ioring.EventLoopPolicy().new_event_loop):
    try:
        make()
    except RingUnavailable as error:
        assert error.errno == 1 and len(str(error)) > 40, error
    else:
        raise AssertionError("there is a ring")
coroutine = main()
try:
    ioring.run(coroutine)
except RingUnavailable as error:
    print("refused:", error.strerror)
coroutine.close()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(ioring.run(main(), fallback="asyncio"))
assert [warning.category for warning in caught] == [RuntimeWarning], caught
"""
    )
    lines = said.splitlines()
    assert lines[0].startswith("refused:") and lines[1:] == ["_UnixSelectorEventLoop"]


@pytest.mark.any_kernel
@pytest.mark.parametrize("call", [426, 427], ids=["io_uring_enter", "io_uring_register"])
def test_the_fallback_also_where_only_one_of_the_calls_is_refused(call):
    said = python(
        REFUSED
        + RUN
        + f"""
refuse(1, {call})
warnings.simplefilter("ignore")
print(ioring.run(main(), fallback="asyncio"))

async def files():
    async with ioring.open("/proc/self/comm") as file:
        return await file.read()

print(asyncio.run(files()).strip() != "")
"""
    )
    assert said.split() == ["_UnixSelectorEventLoop", "True"]


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("number", ["EPERM", "ENOSYS"])
def test_children_where_pidfd_open_is_refused(direct, number):
    said = python(
        REFUSED
        + f"""
import asyncio, errno
refuse(errno.{number}, 434)

async def main():
    loop = asyncio.get_running_loop()
    codes = []
    for script in ("exit 0", "exit 7", "kill -9 $$", "exec sleep 0.05"):
        child = await asyncio.create_subprocess_shell(script)
        codes.append(await child.wait())
    child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    codes.append((await child.communicate(b"through"))[0])
    children = [await asyncio.create_subprocess_exec("true") for _ in range(20)]
    codes.append({{await child.wait() for child in children}})
    child = await asyncio.create_subprocess_exec("sleep", "60")
    child.terminate()
    codes.append(await child.wait())
    # Left to itself: it ends after the loop.
    left = await asyncio.create_subprocess_exec("sleep", "0.2")
    left._transport._proc.returncode = 0
    return codes

loop = Loop(direct_descriptors={direct})
print(loop.run_until_complete(main()))
loop.close()
time.sleep(0.4)
"""
    )
    assert said.strip() == "[0, 7, -9, 0, b'through', {0}, -15]"


@as_root
@pytest.mark.parametrize("kib", [64, 1024, 8192])
@pytest.mark.parametrize("direct", [False, True])
def test_little_lockable_memory(kib, direct):
    """What systems have by default is enough, from the 64 KiB of old ones on."""
    unprivileged(
        RUN
        + f"""
try:
    loop = Loop(direct_descriptors={direct})
except RingUnavailable as error:
    assert error.errno == 1, error
    print("available: False")
    sys.exit()
assert loop.run_until_complete(main()) == "Loop"
loop.close()
""",
        kib * 1024,
    )


@as_root
@pytest.mark.parametrize("kib", [4, 8, 12, 16, 24])
def test_too_little_lockable_memory(kib):
    """Either it is enough, or it is said what to do, and the program can run on asyncio's loop."""
    said = unprivileged(
        RUN
        + """
warnings.simplefilter("error", ResourceWarning)
try:
    Loop().close()
    print("enough")
except RingUnavailable as error:
    if error.errno == 1:
        print("available: False")
        sys.exit()
    assert error.errno == 12 and "ulimit -l" in str(error), error
    warnings.simplefilter("ignore", RuntimeWarning)
    print(ioring.run(main(), fallback="asyncio"))
""",
        kib * 1024,
    )
    # The second attempt may find the memory of the first one's rings, which comes back a little later.
    assert said in ("enough\n", "_UnixSelectorEventLoop\n", "Loop\n")


# What a loop does not do behind one's back.


def test_no_polling_thread():
    """SQPOLL burns a processor: nobody gets it without asking."""
    before = kernel_threads("iou-sqp")
    loop = ioring.Loop()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert not loop._ring._flags & SetupFlags.SQPOLL
    assert kernel_threads("iou-sqp") <= before
    loop.close()


def tasks_that_wait_for_io():
    with open("/proc/stat") as stat:
        return next(int(line.split()[1]) for line in stat if line.startswith("procs_blocked"))


@pytest.mark.skipif(
    "NO_IOWAIT" not in ioring.features().feature_flags, reason="this kernel always counts it as waiting for I/O"
)
def test_waiting_does_not_look_like_waiting_for_a_disk():
    """An idle server's processor is idle, and not 100 % iowait (IORING_ENTER_NO_IOWAIT, 6.15)."""
    loop = ioring.Loop()
    counts, others = [], []
    reading, writing = os.pipe()
    done = loop.create_future()

    def look():
        while len(counts) < 100:
            if loop.statistics()["in_flight"] > 1:
                counts.append(tasks_that_wait_for_io())
            threading.Event().wait(0.001)
        loop.call_soon_threadsafe(done.set_result, None)

    loop.add_reader(reading, print)
    watching = threading.Thread(target=look)
    watching.start()
    run(loop, done)
    watching.join()
    loop.remove_reader(reading)
    loop.close()
    os.close(reading), os.close(writing)
    for _ in range(100):
        others.append(tasks_that_wait_for_io())
        threading.Event().wait(0.001)
    assert min(counts) <= max(others)  # other programs may wait for disks


def test_the_count_shows_who_waits_without_that_flag():
    """The same count does show a task that waits for I/O: the test above sees what it looks for."""
    if "NO_IOWAIT" not in ioring.features().feature_flags:
        pytest.skip("this kernel always counts it as waiting for I/O")
    said = python("""
import ctypes
reading, writing = os.pipe()
libc = ctypes.CDLL(None)

def wait():
    with Ring(8) as ring:  # of the thread that waits: only its own requests count
        ring.get_sqe().prep_read(reading, bytearray(1), 1, 0)
        ring.submit()
        libc.syscall(426, ring.fileno(), 0, 1, 1, None, 8)

thread = threading.Thread(target=wait, daemon=True)
thread.start()
found, deadline = 0, time.monotonic() + 30  # the thread may have to wait for a processor
while not found and time.monotonic() < deadline:
    with open("/proc/stat") as stat:
        found = next(int(line.split()[1]) for line in stat if line.startswith("procs_blocked"))
    time.sleep(0.001)
os.write(writing, b"x")
thread.join()
print(found, flush=True)
os._exit(0)
""")
    assert int(said) >= 1
