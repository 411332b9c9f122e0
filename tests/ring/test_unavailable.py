"""No ring to be had: why, and what to do, in words. Simulated by the limits and filters that cause it for real."""

import errno
import re
import resource
from importlib import import_module

import pytest

import ioring
from ioring import features
from rings import REFUSED, as_root, python, unprivileged


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSYS, ["CONFIG_IO_URING", "Podman", "io_uring_setup", "kernel"]),
        (errno.EPERM, ["seccomp", "Docker", "containerd", "--security-opt seccomp="]),
        (errno.EACCES, ["SELinux", "policy"]),
        (errno.ENOMEM, ["ulimit -l", "LimitMEMLOCK=", "--ulimit memlock="]),
        (errno.EMFILE, ["ulimit -n"]),
        (errno.ENFILE, ["fs.file-max"]),
        (errno.EINVAL, ["does not accept"]),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else "",
)
def test_setup_refused(number, words):
    disabled = _sysctl()
    if number == errno.EPERM and disabled not in (0, None):
        words = ["io_uring_disabled"]
    said = python(
        REFUSED
        + f"""
refuse({number})
try:
    Ring(8)
except RingUnavailable as error:
    assert error.errno == {number}, error.errno
    assert isinstance(error, OSError)
    print("RING", error)
found = features()
assert not found.available
assert found.operations == () and found.setup_flags == ()
assert found.kernel == platform.release()
print("FEATURES", found.reason)
assert found.as_dict()["available"] is False
"""
    )
    if "no seccomp here" in said:
        pytest.skip("the kernel has no seccomp filters")
    ring, _, reason = said.partition("FEATURES")
    for word in words:
        assert word in ring
        assert word in reason


def _sysctl():
    try:
        with open("/proc/sys/kernel/io_uring_disabled") as file:
            return int(file.read())
    except OSError:
        return None


@pytest.mark.any_kernel
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
@pytest.mark.parametrize("call", [426, 427], ids=["io_uring_enter", "io_uring_register"])
def test_only_one_of_the_other_calls_is_refused(number, call):
    """A ring that cannot be entered, or that nothing can be registered with, is none."""
    said = python(
        REFUSED
        + f"""
before = os.listdir("/proc/self/fd")
refuse({number}, {call})
for flags in (SetupFlags(0), SetupFlags.R_DISABLED, SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN):
    try:
        Ring(8, flags=flags)
    except RingUnavailable as error:
        assert error.errno == {number} and "seccomp" in str(error), error
    else:
        raise AssertionError(flags)
assert not features().available
assert os.listdir("/proc/self/fd") == before
"""
    )
    assert said in ("", "no seccomp here\n")


def test_refused_rings_leave_nothing_behind():
    said = python(
        REFUSED
        + """
ring = Ring(8)
refuse(1)
before = os.listdir("/proc/self/fd")
for _ in range(1000):
    try:
        Ring(8)
    except RingUnavailable:
        pass
assert os.listdir("/proc/self/fd") == before
ring.get_sqe()
ring.submit_and_wait(1)  # the one from before works
ring.close()
"""
    )
    assert said in ("", "no seccomp here\n")


@pytest.mark.parametrize(
    ("disabled", "words"),
    [
        (2, "switched off.*io_uring_disabled=0"),
        (1, "administrators.*io_uring_disabled=0"),
        (0, "seccomp"),
        (None, "seccomp"),
    ],
)
def test_reason_for_eperm_depends_on_the_sysctl(disabled, words, monkeypatch):
    module = import_module("ioring.ring.unavailable")
    monkeypatch.setattr(module, "_read_int", lambda path: disabled if path.endswith("disabled") else 1234)
    reason = module.explain(errno.EPERM)
    assert re.search(words, reason)
    assert ("1234" in reason) == (disabled == 1)


def test_too_many_open_files():
    python("""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))
open_files = []
try:
    while True:
        open_files.append(open("/dev/null"))
except OSError:
    pass
try:
    Ring(8)
except RingUnavailable as error:
    assert error.errno == 24, error
    assert "ulimit -n" in str(error)
else:
    raise AssertionError("a ring without a descriptor")
found = features()
assert not found.available and "ulimit -n" in found.reason, found
open_files.clear()
with Ring(8) as ring:
    try:
        ring.register_files_sparse(1000)
    except OSError as error:
        assert error.errno == 24 and "ulimit -n" in str(error), error
    else:
        raise AssertionError("more slots than open files are allowed")
    ring.register_files_sparse(5)
""")


@as_root
def test_memlock_too_small_for_a_ring():
    unprivileged(
        """
try:
    Ring(32768).close()
    print("not limited by this kernel")
except RingUnavailable as error:
    assert error.errno in (1, 12), error
    if error.errno == 1:
        print("available: False")
    else:
        for word in ("16 KiB", "ulimit -l", "LimitMEMLOCK=", "--ulimit memlock=", "fewer entries"):
            assert word in str(error), error
""",
        16384,
    )


@as_root
def test_flags_are_known_with_little_memory():
    """There may be none for the ring that each of them is tried with."""
    expected = ", ".join(repr(name) for name in features().setup_flags)
    unprivileged(
        f"""
found = features()
if found.available:
    missing = {{{expected}}} - set(found.setup_flags) - {{"SQPOLL", "SQ_AFF"}}
    assert not missing, missing
else:
    print("available: False")
""",
        65536,
    )


@as_root
def test_memlock_too_small_for_buffers():
    unprivileged(
        """
try:
    ring = Ring(1)
except RingUnavailable as error:
    assert error.errno == 1, error
    print("available: False")
    sys.exit()
buffer = bytearray(1 << 20)
try:
    ring.register_buffers([buffer])
except OSError as error:
    assert error.errno == 12, error
    assert "ulimit -l" in str(error), error
else:
    raise AssertionError("1 MiB pinned where 128 KiB are allowed")
buffer.append(0)  # not kept
ring.register_buffers([bytearray(4096)])
ring.unregister_buffers()
try:
    ring.setup_buf_ring(32768, 16, 0)
except OSError as error:
    assert error.errno == 12 and "ulimit -l" in str(error), error
else:
    print("buffer rings are not charged by this kernel")
ring.setup_buf_ring(8, 16, 0)
ring.close()
""",
        131072,
    )


@as_root
def test_root_is_not_limited():
    python("""
import resource
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
with Ring(4096) as ring:
    ring.register_buffers([bytearray(1 << 20)])
""")


def test_features_of_this_kernel():
    found = features()
    assert found.available
    assert found.reason is None
    assert {"NOP", "READ", "SEND", "ACCEPT"} <= set(found.operations)
    assert not set(found.operations) & set(found.missing)
    assert {"CLAMP", "CQSIZE", "R_DISABLED"} <= set(found.setup_flags)
    assert "NODROP" in found.feature_flags
    assert found.limits["open_files"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert found is features()
    with ioring.Ring(4) as ring:
        assert {ioring.Op[name].value for name in found.operations} <= ring.register_probe()


def test_probing_leaves_nothing_behind():
    said = python("""
before = sorted(os.listdir("/proc/self/fd"))
features()
assert sorted(os.listdir("/proc/self/fd")) == before
print(len(threading.enumerate()))
""")
    assert said == "1\n"


LOOPS = """
import asyncio

async def main():
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, ("127.0.0.1", 0))
    transport.close()
    return type(asyncio.get_running_loop()).__name__
"""


@as_root
@pytest.mark.parametrize("limit", [0, 4, 12, 16, 20, 24, 28, 40, 64, 128, 208, 1024])
def test_loop_with_little_memory(limit):
    """The ring gets smaller, or there is none and the reason is said. At no limit is there anything else.

    In between it depends on when the kernel gives back the memory of rings that were closed before.
    """
    said = unprivileged(
        LOOPS
        + """
try:
    loop = ioring.Loop()
except RingUnavailable as error:
    if error.errno == 1:
        print("available: False")
        sys.exit()
    assert error.errno == 12, error
    for word in ("the limit is LIMIT KiB", "ulimit -l", "LimitMEMLOCK=", "--ulimit memlock="):
        assert word in str(error), error
    print("no ring")
    warnings.simplefilter("ignore", RuntimeWarning)
    if LIMIT < 12:
        assert ioring.run(main(), fallback="asyncio") != "Loop"
else:
    loop.run_until_complete(asyncio.sleep(0.001))
    print("ring", loop._ring.sq_entries)
    loop.close()
""".replace("LIMIT", str(limit)),
        limit << 10,
    )
    assert "unclosed" not in said and "Exception ignored" not in said, said
    if limit < 12:
        assert said.startswith("no ring")
    elif limit > 20:
        assert said.startswith("ring ")


@as_root
def test_loop_with_datagrams_and_little_memory():
    """Also when the memory of rings that were tried is not given back yet."""
    said = unprivileged(LOOPS + "print(ioring.run(main()))", 64 << 10)
    assert said == "Loop\n"
