"""Children by asyncio.subprocess: pipelines, much data, signals, time limits."""

import asyncio
import hashlib
import os
import signal
import sys

import pytest

PIPE = asyncio.subprocess.PIPE


async def start(*arguments, **options):
    return await asyncio.create_subprocess_exec(*arguments, **options)


async def test_pipeline():
    """cat FILE | tr | wc, as a shell would connect them: by a pipe that the loop does not touch."""
    reading, writing = os.pipe()
    try:
        first = await start("seq", "100000", stdout=writing)
        second = await start("tr", "0-9", "a-j", stdin=reading, stdout=PIPE)
    finally:
        os.close(reading)
        os.close(writing)
    output, _ = await second.communicate()
    assert await first.wait() == 0
    expected = "".join(f"{number}\n" for number in range(1, 100_001)).translate(
        str.maketrans("0123456789", "abcdefghij")
    )
    assert output.decode() == expected
    assert second.returncode == 0


async def test_pipeline_through_the_program():
    """What one child says is carried to the next by coroutines."""
    first = await start("seq", "200000", stdout=PIPE)
    second = await start("tr", "1", "x", stdin=PIPE, stdout=PIPE)

    async def carry():
        while chunk := await first.stdout.read(1 << 16):
            second.stdin.write(chunk)
            await second.stdin.drain()
        second.stdin.close()

    carrying = asyncio.create_task(carry())
    output = await second.stdout.read()
    await carrying
    assert output.decode() == "".join(f"{number}\n".replace("1", "x") for number in range(1, 200_001))
    assert [await first.wait(), await second.wait()] == [0, 0]


async def test_big_data():
    data = os.urandom(30_000_000)
    child = await start("cat", stdin=PIPE, stdout=PIPE)
    output, errors = await child.communicate(data)
    assert hashlib.sha256(output).digest() == hashlib.sha256(data).digest()
    assert (errors, child.returncode) == (None, 0)


async def test_both_outputs():
    script = "for i in $(seq 5000); do echo out $i; echo err $i >&2; done"
    child = await asyncio.create_subprocess_shell(script, stdout=PIPE, stderr=PIPE)
    output, errors = await child.communicate()
    assert output.decode().split("\n")[:-1] == [f"out {number}" for number in range(1, 5001)]
    assert errors.decode().split("\n")[:-1] == [f"err {number}" for number in range(1, 5001)]


async def test_errors_joined_to_output():
    child = await asyncio.create_subprocess_shell(
        "echo a; echo b >&2; exit 7", stdout=PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert await child.communicate() == (b"a\nb\n", None)
    assert child.returncode == 7


async def test_conversation():
    program = "import sys\nfor line in sys.stdin: print(eval(line), flush=True)"
    child = await start(sys.executable, "-c", program, stdin=PIPE, stdout=PIPE)
    for number in range(200):
        child.stdin.write(b"%d + 1\n" % number)
        assert await child.stdout.readline() == b"%d\n" % (number + 1)
    child.stdin.close()
    assert await child.wait() == 0


async def test_lines_longer_than_the_limit():
    child = await start("head", "-c", "200000", "/dev/zero", stdout=PIPE, limit=1000)
    with pytest.raises(ValueError, match="limit"):
        await child.stdout.readline()
    assert len(await child.stdout.read()) <= 200_000
    assert await child.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
async def test_signals(number):
    child = await start("sleep", "60")
    child.send_signal(number)
    assert await child.wait() == -number
    with pytest.raises(ProcessLookupError):
        child.terminate()


async def test_child_that_catches_the_signal():
    script = 'trap "echo caught; exit 5" TERM; echo ready; while :; do sleep 0.01; done'
    child = await asyncio.create_subprocess_shell(script, stdout=PIPE)
    assert await child.stdout.readline() == b"ready\n"
    child.terminate()
    assert await child.stdout.read() == b"caught\n"
    assert await child.wait() == 5


async def test_time_limit():
    child = await start("sleep", "60", stdout=PIPE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(child.communicate(), 0.05)
    assert child.returncode is None
    child.kill()
    assert await child.wait() == -signal.SIGKILL


async def test_child_that_does_not_read():
    """communicate() swallows that the pipe is gone."""
    child = await start("true", stdin=PIPE)
    await child.communicate(bytes(5_000_000))
    assert child.returncode == 0


async def test_write_to_a_child_that_is_gone():
    child = await start("true", stdin=PIPE)
    await child.wait()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(100):
            child.stdin.write(bytes(100_000))
            await child.stdin.drain()


async def test_many_at_once():
    async def run(number):
        child = await asyncio.create_subprocess_shell(f"cat; exit {number}", stdin=PIPE, stdout=PIPE)
        output, _ = await child.communicate(b"%d" % number)
        return child.returncode, output

    assert await asyncio.gather(*(run(number) for number in range(40))) == [(n, b"%d" % n) for n in range(40)]


async def test_output_to_files(tmp_path):
    with open(tmp_path / "out", "wb") as out:
        child = await start("echo", "to a file", stdout=out, stderr=asyncio.subprocess.DEVNULL)
        assert await child.wait() == 0
    assert (tmp_path / "out").read_text() == "to a file\n"


async def test_environment_and_folder(tmp_path):
    child = await asyncio.create_subprocess_shell("echo $WORD; pwd", stdout=PIPE, cwd=tmp_path, env={"WORD": "yes"})
    output, _ = await child.communicate()
    assert output.decode() == f"yes\n{tmp_path}\n"


async def test_inherited_descriptor():
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe:
        child = await asyncio.create_subprocess_shell(f"echo through >/dev/fd/{writing}", pass_fds=[writing])
        os.close(writing)
        assert await child.wait() == 0
        assert pipe.read() == b"through\n"


async def test_standard_input_can_be_opened_by_its_name():
    child = await asyncio.create_subprocess_shell("cat /dev/stdin", stdin=PIPE, stdout=PIPE)
    assert await child.communicate(b"by name") == (b"by name", None)


async def test_program_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        await start("/nothing/here")
    with pytest.raises(PermissionError):
        await start("/etc/passwd")


async def test_group_of_processes():
    """start_new_session, then the whole group is ended."""
    child = await asyncio.create_subprocess_shell("sleep 60 & echo $!; wait", stdout=PIPE, start_new_session=True)
    grandchild = int(await child.stdout.readline())
    os.killpg(child.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    assert await child.stdout.read() == b""  # the grandchild held the other end too
    assert grandchild != child.pid
