"""The stand-in for older kernels (old_kernel.c, scripts/test --kernel): it refuses what they would, and nothing else.

Each test starts a program under it. What is refused there, the kernel itself has to have.
"""

import json
import pathlib
import platform
import shlex
import subprocess
import sysconfig

import pytest

import ioring
import needed
from rings import needs, python

VERSIONS = ["6.1", "6.7", "6.12"]

pytestmark = [
    pytest.mark.no_sanitizer,  # which has to be preloaded itself
    pytest.mark.any_kernel,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="old_kernel.c is for x86-64"),
    needs("PIPE"),
]


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    made = tmp_path_factory.mktemp("old_kernel") / "old_kernel.so"
    source = pathlib.Path(__file__).parents[1] / "old_kernel.c"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    try:
        subprocess.run(
            [compiler, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", "-o", made, source], check=True
        )
    except FileNotFoundError:
        pytest.skip(needed.reason("cc"))
    return made


@pytest.fixture
def run(library, monkeypatch):
    """Runs a program on an older kernel; what it printed."""
    monkeypatch.setenv("LD_PRELOAD", str(library))

    def run(version, code, **options):
        monkeypatch.setenv("OLD_KERNEL", version)
        return python(code, **options)

    return run


# Refused: what fails with which errno when it is submitted. Prepared in a ring whose other requests are not touched.
REFUSED = """
def submitted(prepare, **options):
    with Ring(8, **options) as ring:
        before, sqe, behind = ring.get_sqe(), ring.get_sqe(), ring.get_sqe()
        before.user_data = behind.user_data = 1
        prepare(sqe)
        sqe.user_data = 2
        while ring.sq_ready():  # the kernel stops behind what it refuses
            ring.submit()
        found = {}
        for cqe in ring.wait_cqes(3, timeout=5):
            found.setdefault(cqe.user_data, []).append(cqe.res)
    assert found[1] == [0, 0], found
    return found[2][0]
"""


def features(run, version):
    return json.loads(run(version, "import json; print(json.dumps(features().as_dict()))"))


@pytest.mark.parametrize("version", VERSIONS)
def test_features_are_those_of_the_old_kernel(run, version):
    found = features(run, version)
    assert found["available"]
    number = tuple(map(int, version.split(".")))
    for names, introduced in [
        (found["operations"], {"READ_MULTISHOT": (6, 7), "FIXED_FD_INSTALL": (6, 8), "BIND": (6, 11), "PIPE": (6, 17)}),
        (found["setup_flags"], {"NO_SQARRAY": (6, 6), "HYBRID_IOPOLL": (6, 13)}),
        (found["feature_flags"], {"RECVSEND_BUNDLE": (6, 10), "MIN_TIMEOUT": (6, 12), "NO_IOWAIT": (6, 15)}),
        (found["registrations"], {"PBUF_STATUS": (6, 8), "CLONE_BUFFERS": (6, 12), "SEND_MSG_RING": (6, 13)}),
    ]:
        for name, since in introduced.items():
            assert name not in names or since <= number, f"{name} came with {since}"
    assert {"SENDMSG_ZC", "SOCKET"} <= set(found["operations"])
    assert {"DEFER_TASKRUN", "SQE128"} <= set(found["setup_flags"])
    assert {"SYNC_CANCEL", "PBUF_RING"} <= set(found["registrations"])


def test_newer_kernels_have_more(run):
    now, under = ioring.features().as_dict(), features(run, "6.18")
    for name in ("operations", "setup_flags", "feature_flags", "registrations"):
        assert set(under[name]) <= set(now[name])
    assert "PIPE" in under["operations"] and "NO_IOWAIT" in under["feature_flags"]
    assert set(features(run, "6.1")["operations"]) < set(features(run, "6.7")["operations"])


def test_operations(run):
    code = REFUSED + "print(submitted(lambda sqe: sqe.prep_ftruncate(0, 0), flags=FLAGS))"
    for flags in ("SetupFlags(0)", "SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN", "SetupFlags.SQE128"):
        assert run("6.1", code.replace("FLAGS", flags)) == "-22\n"
    # On descriptor 0 it would be EINVAL anyway.
    with_file = REFUSED + "memory = os.memfd_create('x')\nprint(submitted(lambda sqe: sqe.prep_ftruncate(memory, 9)))"
    assert run("6.8", with_file) == "-22\n"
    assert run("6.9", with_file) == "0\n"


FLAG = {
    "timeout": ("6.3", "6.4", "sqe.prep_timeout(0.01, 1, TimeoutFlags.MULTISHOT)", -22),
    "cancel": ("6.5", "6.6", "sqe.prep_cancel_op(Op.POLL_ADD)", -22),
    "sent_from_group": ("6.9", "6.10", "sqe.prep_send(here, None); sqe.buffer_group = 7", -95),
    "command": ("6.6", "6.7", "sqe.prep_cmd_sock(SocketOp.SETSOCKOPT, here, 1, 9, array.array('i', [1]))", -95),
    "accept": ("6.9", "6.10", "sqe.prep_accept(server); sqe.ioprio = AcceptFlags.DONTWAIT", -22),
    "fadvise": ("6.10", "6.11", "sqe.prep_fadvise64(memory, 0, 1 << 33, 0)", -22),
    "write": ("6.8", "6.9", "sqe.prep_writev2(memory, [b'x'], 0, RwFlags.NOAPPEND)", -95),
}


@pytest.mark.parametrize("name", FLAG)
def test_flags(run, name):
    before, since, prepare, errno = FLAG[name]
    code = f"""
here, there = socket.socketpair()
server = socket.create_server(("127.0.0.1", 0))
memory = os.memfd_create("x")
def prepare(sqe):
    {prepare}
print(submitted(prepare))
"""
    assert run(before, REFUSED + code) == f"{errno}\n"
    assert run(since, REFUSED + code) != f"{errno}\n"


def test_nop_ignores_what_later_became_a_flag(run):
    code = REFUSED + "print(submitted(lambda sqe: sqe.prep_nop_result(-5)))"
    assert run("6.1", code) == "0\n"
    assert run("6.10", code) == "-5\n"


def test_setup_and_registrations(run):
    said = run(
        "6.1",
        """
def errno_of(call):
    try:
        call()
    except OSError as error:
        return error.errno

print(errno_of(lambda: Ring(8, flags=SetupFlags.NO_SQARRAY)))
with Ring(8) as ring:
    print(errno_of(lambda: ring.register_clock(time.CLOCK_MONOTONIC)))
    print(errno_of(lambda: ring.setup_buf_ring(8, 16, 0, incremental=True)))
    print(errno_of(lambda: send_msg_ring(ring, 0, 0)))
    print(max(ring.register_probe()))
    assert not ring.features & Features.RECVSEND_BUNDLE
""",
    )
    assert said.split() == ["22", "22", "22", "22", str(ioring.Op.SENDMSG_ZC.value)]


def test_children_and_threads_are_on_the_old_kernel_too(run):
    said = run(
        "6.1",
        REFUSED
        + """
import subprocess
found = []
thread = threading.Thread(target=lambda: found.append(submitted(lambda sqe: sqe.prep_ftruncate(0, 0))))
thread.start()
thread.join()
print(found, flush=True)  # the child of the fork must not have it too
warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12 and later when the thread is not quite gone yet
child = os.fork()
if not child:
    print(submitted(lambda sqe: sqe.prep_ftruncate(0, 0)), flush=True)
    os._exit(0)
os.waitpid(child, 0)
subprocess.run([sys.executable, "-c", "import ioring; print(len(ioring.features().operations))"], check=True)
# Without the library it must not get on unnoticed.
environ = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "OLD_KERNEL")}
print(subprocess.run([sys.executable, "-c", "import ioring; ioring.features()"], env=environ).returncode)
""",
    )
    assert sorted(said.split()) == sorted(["[-22]", "-22", str(ioring.Op.SENDMSG_ZC.value + 1), "-31"])


LOOP = """
import asyncio

async def main():
    loop = asyncio.get_running_loop()
    ended, names = loop.create_future(), []
    async def serve(reader, writer):
        names.append(writer.get_extra_info("peername"))
        names.append(writer.get_extra_info("socket").getpeername())
        writer.write(await reader.readline())
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"line\\n")
    assert await reader.read() == b"line\\n"
    assert names == [writer.get_extra_info("sockname")] * 2
    writer.close()
    await writer.wait_closed()
    server.close()
    # Another thread ends a wait that has no limit.
    threading.Thread(target=lambda: loop.call_soon_threadsafe(ended.set_result, None)).start()
    await ended
    return loop.statistics()["slots"] > 0, loop._eventfd >= 0, SetupFlags.NO_SQARRAY in loop._ring.flags

with asyncio.Runner(loop_factory=lambda: Loop(direct_descriptors=True)) as runner:
    print(*runner.run(main()))
"""


@pytest.mark.parametrize(
    ("version", "direct", "by_eventfd", "no_array"),
    [("6.1", False, True, False), ("6.7", False, True, True), ("6.12", True, True, True), ("6.13", True, False, True)],
)
def test_loop_falls_back(run, version, direct, by_eventfd, no_array):
    assert run(version, LOOP).split() == [str(direct), str(by_eventfd), str(no_array)]
