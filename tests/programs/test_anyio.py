"""anyio on its asyncio backend, and its pytest plugin."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

from programs import children

anyio = pytest.importorskip("anyio", reason="anyio is not installed")


async def echo(stream):
    async with stream:
        async for data in stream:
            await stream.send(data)


async def read_all(stream):
    return b"".join([part async for part in stream])


async def test_tcp():
    message = os.urandom(3_000_000)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, echo)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:

            async def send():
                await stream.send(message)
                await stream.send_eof()

            group.start_soon(send)
            assert await read_all(stream) == message
        group.cancel_scope.cancel()


async def test_tcp_many_clients():
    async with (
        await anyio.create_tcp_listener(local_host="localhost") as listener,
        anyio.create_task_group() as serving,
    ):
        serving.start_soon(listener.serve, echo)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        right = []

        async def talk(number):
            async with await anyio.connect_tcp("localhost", port) as stream:
                for turn in range(10):
                    await stream.send(b"%d %d" % (number, turn))
                    assert await stream.receive() == b"%d %d" % (number, turn)
            right.append(number)

        async with anyio.create_task_group() as talking:
            for number in range(50):
                talking.start_soon(talk, number)
        assert sorted(right) == list(range(50))
        serving.cancel_scope.cancel()


async def test_tls(certificates):
    from anyio.streams.tls import TLSListener

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as plain, anyio.create_task_group() as group:
        group.start_soon(TLSListener(plain, certificates.server).serve, echo)
        port = plain.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("localhost", port, ssl_context=certificates.client) as stream:
            message = os.urandom(500_000)
            group.start_soon(stream.send, message)
            received = b""
            while len(received) < len(message):
                received += await stream.receive()
            assert received == message
        group.cancel_scope.cancel()


async def test_connection_that_is_reset():
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        seen = []

        async def accept():
            async def handle(stream):
                async with stream:
                    with pytest.raises(anyio.BrokenResourceError) as caught:
                        await stream.receive()
                    seen.append(type(caught.value.__cause__))
                group.cancel_scope.cancel()

            await listener.serve(handle)

        async with anyio.create_task_group() as group:
            group.start_soon(accept)
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert seen == [ConnectionResetError]


async def test_udp():
    async with await anyio.create_udp_socket(local_host="127.0.0.1") as server:
        port = server.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.create_connected_udp_socket("127.0.0.1", port) as client:
            for number in range(100):
                await client.send(b"question %d" % number)
                data, (host, port) = await server.receive()
                await server.sendto(data.upper(), host, port)
                assert await client.receive() == b"QUESTION %d" % number


async def test_unix_socket(tmp_path):
    async with await anyio.create_unix_listener(tmp_path / "socket") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, echo)
        async with await anyio.connect_unix(tmp_path / "socket") as stream:
            message = os.urandom(1_000_000)
            group.start_soon(stream.send, message)
            received = b""
            while len(received) < len(message):
                received += await stream.receive()
            assert received == message
        group.cancel_scope.cancel()


async def test_descriptors_over_a_unix_socket(tmp_path):
    """anyio does this with add_reader and the socket itself."""
    (tmp_path / "file").write_text("by descriptor")
    async with await anyio.create_unix_listener(tmp_path / "socket") as listener, anyio.create_task_group() as group:

        async def give(stream):
            async with stream:
                with open(tmp_path / "file") as file:
                    await stream.send_fds(b"x", [file])

        group.start_soon(listener.serve, give)
        async with await anyio.connect_unix(tmp_path / "socket") as stream:
            message, descriptors = await stream.receive_fds(1, 1)
            assert message == b"x"
            with open(descriptors[0]) as file:
                assert file.read() == "by descriptor"
        group.cancel_scope.cancel()


async def test_unix_datagrams(tmp_path):
    async with await anyio.create_unix_datagram_socket(local_path=tmp_path / "server") as server:
        options = {"local_path": tmp_path / "client"}
        async with await anyio.create_connected_unix_datagram_socket(tmp_path / "server", **options) as client:
            await client.send(b"question")
            data, address = await server.receive()
            await server.sendto(data.upper(), address)
            assert await client.receive() == b"QUESTION"


async def test_processes():
    result = await anyio.run_process(["tr", "a-z", "A-Z"], input=b"word" * 100_000)
    assert (result.returncode, result.stdout) == (0, b"WORD" * 100_000)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        await anyio.run_process("echo no >&2; exit 3")
    assert (caught.value.returncode, caught.value.stderr) == (3, b"no\n")
    async with await anyio.open_process(["cat"]) as process:
        await process.stdin.send(b"there")
        assert await process.stdout.receive() == b"there"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == -signal.SIGTERM


async def test_task_groups_and_cancellation():
    order = []

    async def work(name):
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            order.append(name)
            raise

    with anyio.move_on_after(0.05) as scope:
        async with anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(work, number)
    assert scope.cancelled_caught
    assert sorted(order) == list(range(100))
    with pytest.raises(TimeoutError), anyio.fail_after(0.01):
        await anyio.sleep(10)


async def test_threads():
    def outside():
        assert threading.current_thread() is not threading.main_thread()
        return anyio.from_thread.run(inside, 20) + anyio.from_thread.run_sync(int, "1")

    async def inside(number):
        await anyio.sleep(0)
        return number * 2

    results = []

    async def work():
        results.append(await anyio.to_thread.run_sync(outside))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(work)
    assert results == [41] * 50


async def test_worker_process():
    assert await anyio.to_process.run_sync(pow, 3, 40) == 3**40


async def test_files(tmp_path):
    async with await anyio.open_file(tmp_path / "file", "w") as file:
        await file.write("line\n" * 1000)
    assert await anyio.Path(tmp_path / "file").read_text() == "line\n" * 1000


async def test_signals():
    with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await anext(aiter(signals)) == signal.SIGUSR1


async def test_waiting_for_a_socket():
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.wait_readable, here)
            await anyio.wait_writable(there)
            there.send(b"x")
        assert here.recv(1) == b"x"


def test_portal_in_another_thread(loop_factory):
    """A loop in a thread, driven from this one."""
    with anyio.from_thread.start_blocking_portal(backend_options={"loop_factory": loop_factory}) as portal:
        assert portal.call(type_of_loop) == type_name(loop_factory)
        future = portal.start_task_soon(anyio.sleep, 60)
        future.cancel()


async def type_of_loop():
    import asyncio

    return type(asyncio.get_running_loop()).__name__


def type_name(loop_factory):
    loop = loop_factory()
    loop.close()
    return type(loop).__name__


def test_run(loop_factory):
    assert anyio.run(type_of_loop, backend_options={"loop_factory": loop_factory}) == type_name(loop_factory)


PLUGIN_TESTS = """
import asyncio
import anyio
import pytest
from programs import loops

@pytest.fixture
def anyio_backend():
    return "asyncio", {{"loop_factory": loops.{loop_name}}}

@pytest.fixture
async def server(anyio_backend):
    async def handle(stream):
        async with stream:
            await stream.send(await stream.receive())
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        group.cancel_scope.cancel()

@pytest.mark.anyio
async def test_loop():
    assert type(asyncio.get_running_loop()).__name__ == "{type_name}"

@pytest.mark.anyio
async def test_fixture(server):
    async with await anyio.connect_tcp("127.0.0.1", server) as stream:
        await stream.send(b"x")
        assert await stream.receive() == b"x"

@pytest.mark.anyio
async def test_failure():
    await anyio.sleep(0.01)
    assert False, "on purpose"
"""


def test_plugin_of_pytest(loop_name, loop_factory, tmp_path):
    text = PLUGIN_TESTS.format(loop_name=loop_name, type_name=type_name(loop_factory))
    (tmp_path / "test_plugin.py").write_text(textwrap.dedent(text))
    arguments = [
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "-W",
        "error",
        "--rootdir",
        tmp_path,
        tmp_path,
    ]
    with children.running([sys.executable, *map(str, arguments)], env=children.environment(), cwd=tmp_path) as child:
        assert child.wait() == 1, child.said
    assert re.search("1 failed, 2 passed", child.said), child.said
    assert "on purpose" in child.said
