"""What users of other event loops ask for, one behaviour after the other.

Many are shown by tests of what they are about; ELSEWHERE says where.
"""

import asyncio
import contextlib
import contextvars
import errno
import gc
import logging
import os
import pathlib
import socket
import sys
import time

import pytest

import ioring
from ioring.loop._core import FACTORY_TAKES_ALL
from rings import WAIT_S
from running import run, until

HERE = pathlib.Path(__file__).parent

ELSEWHERE = {
    "writes after the end are dropped and warned about": [
        "test_tls_ends.py::test_writes_after_the_end_are_dropped",
        "test_pipes_written.py::test_writes_to_a_lost_pipe_are_dropped_and_then_warned_about",
        "test_datagram_ends.py::test_sending_after_the_end_is_dropped_and_then_warned_about",
    ],
    "one owner per descriptor": [
        "test_poll.py::test_number_of_a_closed_file_is_used_again",
        "test_poll.py::test_replaced_when_the_number_means_another_file",
    ],
    "closing TLS does not stall": [
        "test_tls_ends.py::test_close_while_the_peer_sends",
        "test_tls_ends.py::test_peer_that_never_answers_close",
        "test_tls_ends.py::test_peer_that_never_reads",
        "test_tls_ends.py::test_close_while_reading_is_paused",
    ],
    "start_tls keeps what was received": ["test_tls.py::test_start_tls_keeps_what_came_before"],
    "TLS needs little memory": ["test_tls.py::test_idle_connections_are_small"],
    "files over TLS": ["test_tls.py::test_sendfile"],
    "timers are never early": ["test_loop.py::test_timers_are_never_early_and_come_in_order"],
    "standard streams of children are pipes": ["test_children.py::test_standard_streams_can_be_opened_by_name"],
    "several loops in several threads": [
        "test_children.py::test_several_loops_at_once",
        "test_forks.py::test_loops_in_threads_call_each_other",
    ],
    "Ctrl-C and signals": [
        "test_signals.py::test_interrupt_ends_a_wait",
        "test_signals.py::test_interrupt_cancels_the_main_task_of_run",
        "test_ends.py::test_interrupts_at_any_moment",
    ],
    "datagrams over Unix sockets": [
        "test_datagram.py::test_unix_sockets_by_path",
        "test_datagram.py::test_abstract_names",
    ],
    "what was written may be changed": [
        "test_pipes_written.py::test_what_was_written_may_be_changed_afterwards",
        "test_datagram.py::test_what_is_sent_may_be_changed_afterwards",
    ],
    "no ring, in words": [
        "test_unavailable.py::test_run_says_why_there_is_no_ring",
        "test_loop.py::test_run_falls_back_only_when_asked",
    ],
    "lockable memory": ["test_unavailable.py::test_too_little_lockable_memory"],
    "waiting is not I/O wait": ["test_unavailable.py::test_waiting_does_not_look_like_waiting_for_a_disk"],
    "no polling thread": ["test_unavailable.py::test_no_polling_thread"],
}


@pytest.mark.parametrize("behaviour", ELSEWHERE)
def test_is_shown_elsewhere(behaviour):
    for place in ELSEWHERE[behaviour]:
        file, _, name = place.partition("::")
        assert f"def {name}(" in (HERE / file).read_text(), place


class Accepting(asyncio.Protocol):
    """A server's protocol that keeps what comes."""

    def __init__(self, made):
        self.made = made
        self.data = bytearray()
        self.lost = False

    def connection_made(self, transport):
        self.transport = transport
        self.made.append(self)

    def data_received(self, data):
        self.data += data

    def connection_lost(self, exception):
        self.lost = True


@contextlib.asynccontextmanager
async def connection(loop):
    """A protocol of a server and a socket that is connected to it."""
    made = []
    server = await loop.create_server(lambda: Accepting(made), "127.0.0.1", 0)
    with socket.socket() as peer:
        peer.setblocking(False)
        await loop.sock_connect(peer, server.sockets[0].getsockname())
        await until(lambda: made)
        yield made[0], peer
    if made[0].transport is not None:
        made[0].transport.abort()
    server.close()
    await until(lambda: made[0].lost)


# Writing.


def test_writes_after_close_are_dropped(loop, caplog):
    async def main():
        async with connection(loop) as (protocol, peer):
            protocol.transport.write(b"before")
            protocol.transport.close()
            for _ in range(10):
                protocol.transport.write(b"after")
            assert await loop.sock_recv(peer, 100) == b"before"
            assert await loop.sock_recv(peer, 100) == b""
            await until(lambda: protocol.lost)

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(loop, main())
    assert caplog.text == ""


def test_writes_to_a_connection_that_is_gone_are_warned_about_once_after_five(loop, caplog):
    async def main():
        async with connection(loop) as (protocol, _):
            protocol.transport.abort()
            for count in range(1, 11):
                caplog.clear()
                with caplog.at_level(logging.WARNING, "asyncio"):
                    protocol.transport.write(b"after")
                assert bool(caplog.records) == (count == 5), count

    run(loop, main())


def test_what_was_written_may_be_changed_afterwards(loop):
    async def main():
        async with connection(loop) as (protocol, peer):
            written = []
            for size in (10, 5000, 300_000):
                buffer = bytearray(b"a" * size)
                protocol.transport.write(buffer)
                protocol.transport.write(memoryview(buffer))
                protocol.transport.writelines([buffer, memoryview(buffer)])
                buffer[:] = b"b" * size
                buffer.clear()  # nobody holds it
                written.append(4 * size)
            got = bytearray()
            while len(got) < sum(written):
                got += await loop.sock_recv(peer, 1 << 16)
            assert got == b"a" * sum(written)

    run(loop, main())


# One owner per descriptor.


def test_number_of_a_closed_transport_is_somebody_elses(loop):
    """A transport closes its descriptor once, and never what got the same number later."""

    async def main():
        async with connection(loop) as (protocol, _):
            number = protocol.transport.get_extra_info("socket").fileno()
            protocol.transport.close()
            await until(lambda: protocol.lost)
            await asyncio.sleep(0)
            taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
            assert number in taken
            protocol.transport.close()
            protocol.transport.abort()
            del protocol.transport
            gc.collect()
            await asyncio.sleep(0.001)
            for descriptor in taken:
                assert os.readlink(f"/proc/self/fd/{descriptor}") == "/dev/null"
                os.close(descriptor)
            protocol.transport = None

    run(loop, main())


def test_transport_keeps_others_off_its_descriptor(loop):
    async def main():
        async with connection(loop) as (protocol, _):
            sock = protocol.transport.get_extra_info("socket")
            for call in (loop.add_reader, loop.add_writer):
                with pytest.raises(RuntimeError, match="is used by transport"):
                    call(sock.fileno(), print)
            for call in (loop.remove_reader, loop.remove_writer):
                with pytest.raises(RuntimeError, match="is used by transport"):
                    call(sock.fileno())

    run(loop, main())


def test_receive_on_a_closed_socket_takes_nothing_from_its_successor(loop):
    async def main():
        here, there = socket.socketpair()
        here.setblocking(False)
        number = here.fileno()
        waiting = loop.create_task(loop.sock_recv(here, 100))
        await asyncio.sleep(0.001)
        here.close()
        with there:
            one, other = socket.socketpair()
            with one, other:
                successor = one if one.fileno() == number else other if other.fileno() == number else None
                assert successor is not None
                successor.setblocking(False)
                (other if successor is one else one).send(b"for the successor")
                assert await loop.sock_recv(successor, 100) == b"for the successor"
                waiting.cancel()
                await asyncio.wait([waiting])

    run(loop, main())


# Memory of TLS.


@pytest.mark.no_sanitizer
def test_memory_of_tls_does_not_grow(loop, certificates):
    def resident():
        gc.collect()
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    server_context, client_context = certificates.server(), certificates.client()

    async def echo(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def talk(address, count):
        reader, writer = await asyncio.open_connection(*address, ssl=client_context, server_hostname="localhost")
        for _ in range(count):
            writer.write(b"x" * 20_000)
            await reader.readexactly(20_000)
        writer.close()
        await writer.wait_closed()

    async def main():
        async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context) as server:
            address = server.sockets[0].getsockname()
            for _ in range(30):
                await talk(address, 10)
            before = resident()
            for _ in range(100):  # connections
                await talk(address, 1)
            await talk(address, 1000)  # messages: 20 MB each way
            assert resident() - before < 6 << 20

    loop.run_until_complete(asyncio.wait_for(main(), 4 * WAIT_S))


# Files and single datagrams.


def test_sendfile(loop, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1 << 20))
    content = path.read_bytes()

    async def receive(sock, count):
        got = bytearray()
        while len(got) < count:
            got += await loop.sock_recv(sock, 1 << 16)
        return bytes(got)

    async def main():
        async with connection(loop) as (protocol, peer):
            with path.open("rb") as file:
                receiving = loop.create_task(receive(peer, 6 + (1 << 20) - 100))
                protocol.transport.write(b"before")
                sent = await loop.sendfile(protocol.transport, file, 100)
                assert (sent, file.tell()) == ((1 << 20) - 100, 1 << 20)
                assert await receiving == b"before" + content[100:]
                sending = loop.create_task(loop.sock_sendfile(peer, file, 50, 1000))
                await until(lambda: len(protocol.data) == 1000)
                assert await sending == 1000 and protocol.data == content[50:1050]

    run(loop, main())


@pytest.mark.parametrize("offset", [100, 1000, 5000])
def test_sendfile_leaves_the_position_behind_what_was_sent(loop, tmp_path, offset):
    """Also when nothing is left to send there."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))

    async def main():
        async with connection(loop) as (protocol, peer):
            for send in (loop.sendfile, loop.sock_sendfile):
                with path.open("rb") as file:
                    file.seek(7)
                    sent = await send(protocol.transport if send == loop.sendfile else peer, file, offset)
                    assert (sent, file.tell()) == (max(1000 - offset, 0), max(offset, 1000))

    run(loop, main())


@pytest.mark.parametrize("name", ["/proc/self/status", "/dev/zero", "/sys/kernel/mm/transparent_hugepage/enabled"])
def test_sendfile_of_a_file_without_a_size(loop, name):
    if not os.path.exists(name):
        pytest.skip("there is no such file")

    async def main(file, again):
        async with connection(loop) as (protocol, peer):
            assert await loop.sendfile(protocol.transport, file, count=5) == 5
            assert await loop.sock_sendfile(peer, file, 0, 3) == 3
            assert await loop.sock_recv(peer, 100) == again.read(5)

    with open(name, "rb") as file, open(name, "rb") as again:
        run(loop, main(file, again))


def test_sendfile_that_is_cancelled_while_it_begins(loop, tmp_path):
    """What was written before still waits to be sent. The transport goes on."""
    path = tmp_path / "file"
    path.write_bytes(b"file")

    async def main():
        async with connection(loop) as (protocol, peer):
            written = 0
            while not protocol.transport.get_write_buffer_size():
                protocol.transport.write(bytes(1 << 20))
                written += 1 << 20
                await asyncio.sleep(0)
            with path.open("rb") as file:
                sending = loop.create_task(loop.sendfile(protocol.transport, file))
                await asyncio.sleep(0)
                sending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sending
                assert protocol.transport.is_reading()
                while written > 0:
                    written -= len(await loop.sock_recv(peer, 1 << 20))
                assert await loop.sendfile(protocol.transport, file) == 4
            assert await loop.sock_recv(peer, 10) == b"file"
            peer.send(b"answer")
            await until(lambda: protocol.data == b"answer")

    run(loop, main())


def test_single_datagrams(loop):
    async def main():
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        ):
            for sock in (here, there):
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
            assert await loop.sock_sendto(here, b"data", there.getsockname()) == 4
            assert await loop.sock_recvfrom(there, 100) == (b"data", here.getsockname())
            await loop.sock_sendto(there, b"answer", here.getsockname())
            buffer = bytearray(100)
            assert await loop.sock_recvfrom_into(here, buffer) == (6, there.getsockname())
            assert buffer[:6] == b"answer"

    run(loop, main())


# Connecting.


@contextlib.contextmanager
def silent():
    """An address that answers nothing: its queue is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.2", 0))
        listening.listen(0)
        address = listening.getsockname()
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(address)
        yield address


def found(*addresses):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]


def with_addresses(loop, monkeypatch, *addresses):
    async def getaddrinfo(host, port, **options):
        return found(*addresses)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)


def test_happy_eyeballs(loop, monkeypatch):
    """A second address is tried while the first is silent."""

    async def main():
        with silent() as first, socket.create_server(("127.0.0.1", 0)) as second:
            with_addresses(loop, monkeypatch, first, second.getsockname())
            transport, _ = await loop.create_connection(
                asyncio.Protocol, "both", 1, happy_eyeballs_delay=0.01, interleave=1
            )
            assert transport.get_extra_info("peername") == second.getsockname()
            transport.close()
            await asyncio.sleep(0)

    run(loop, main())


def test_every_error_is_told(loop, monkeypatch):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            addresses = one.getsockname(), two.getsockname()
        with_addresses(loop, monkeypatch, *addresses)
        with pytest.raises(OSError) as caught:
            await loop.create_connection(asyncio.Protocol, "both", 1)
        assert caught.value.errno == errno.ECONNREFUSED or "Multiple exceptions" in str(caught.value)
        if sys.version_info >= (3, 12):
            with pytest.raises(ExceptionGroup) as caught:
                await loop.create_connection(asyncio.Protocol, "both", 1, all_errors=True)
            assert [type(error) for error in caught.value.exceptions] == [ConnectionRefusedError] * 2

    run(loop, main())


# Tasks.


def test_factory_is_given_what_create_task_was_given(loop):
    given = []

    def factory(loop, coroutine, **options):
        given.append(options)
        return asyncio.Task(coroutine, loop=loop, **options)

    def old_factory(loop, coroutine):
        given.append("old")
        return asyncio.Task(coroutine, loop=loop)

    async def main():
        loop.set_task_factory(factory)
        await loop.create_task(asyncio.sleep(0))
        assert given.pop() == {}
        loop.set_task_factory(old_factory)
        await loop.create_task(asyncio.sleep(0))
        task = asyncio.create_task(asyncio.sleep(0)) if not FACTORY_TAKES_ALL else None
        assert given.pop() == "old"
        if task is not None:
            await task
        loop.set_task_factory(None)

    run(loop, main())


@pytest.mark.parametrize(
    "options", [{"name": "n"}, {"name": None}, {"context": None}, {"name": "n", "context": True}], ids=str
)
def test_factory_is_given_what_it_is_given_by_asyncio(loop, options):
    """It has changed with versions, small ones too: the name is given, or set by the loop afterwards."""
    if options.get("context"):
        options = options | {"context": contextvars.copy_context()}

    def created(loop):
        given = []

        def factory(loop, coroutine, **options):
            given.append(options)
            return asyncio.Task(coroutine, loop=loop, context=options.get("context"))

        async def main():
            loop.set_task_factory(factory)
            try:
                task = loop.create_task(asyncio.sleep(0), **options)
            finally:
                loop.set_task_factory(None)
            await task
            return task.get_name() == options.get("name")

        return loop.run_until_complete(main()), given

    with contextlib.closing(asyncio.SelectorEventLoop()) as stock:
        assert created(loop) == created(stock)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="since Python 3.12")
def test_eager_tasks(loop):
    async def at_once():
        return 5

    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)
        assert loop.create_task(at_once()).result() == 5
        loop.set_task_factory(None)

    run(loop, main())


# Timers.


def test_timers_finer_than_a_millisecond(loop):
    """The shortest of many waits of 0.2 ms takes less than the 1 ms that readiness loops round up to."""

    async def main():
        times = []
        for _ in range(100):
            began = time.monotonic()
            await asyncio.sleep(0.0002)
            times.append(time.monotonic() - began)
        return times

    times = run(loop, main())
    assert min(times) >= 0.0002
    assert min(times) < 0.001


def test_call_later_at_once_is_a_timer(loop):
    timer = loop.call_later(0, print)
    assert isinstance(timer, asyncio.TimerHandle) and timer.when() <= loop.time()
    timer.cancel()


# Unix sockets.


def test_abstract_names(loop):
    name = f"\0ioring-test-{os.getpid()}"

    async def main():
        async def echo(reader, writer):
            writer.write(await reader.read(100))
            writer.close()

        server = await asyncio.start_unix_server(echo, name)
        assert server.sockets[0].getsockname() == name.encode()
        reader, writer = await asyncio.open_unix_connection(name)
        assert writer.get_extra_info("peername") == name.encode()
        writer.write(b"data")
        assert await reader.read() == b"data"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(loop, main())


def test_run_within_a_loop_that_runs():
    """What is the matter is said."""

    async def main():
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match=r"cannot be called from a running event loop"):
            ioring.run(coroutine)
        coroutine.close()

    ioring.run(main())
