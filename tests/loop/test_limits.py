"""Limits met on purpose: nothing is dropped that asyncio would have delivered, and service resumes afterwards.

What makes no difference to the loop is tested on asyncio's own too, so that both promise the same. Slots of the file
table are in test_slots.py, locked memory in tests/ring/test_unavailable.py.
"""

import asyncio
import collections
import contextlib
import errno
import resource
import socket
import subprocess
import sys
import time

import pytest

import ioring
from ioring.loop.own_listeners import note_own
from needed import needs_program
from rings import WAIT_S, as_root, python
from running import descriptors_left, idle, in_flight, turns
from soak_pattern import Pattern


@pytest.fixture(params=["plain", "direct", "asyncio"])
def loop(request):
    if request.param == "asyncio":
        loop = asyncio.SelectorEventLoop()
    else:
        loop = ioring.Loop(direct_descriptors=request.param == "direct")
    yield loop
    loop.close()


@pytest.fixture(params=["plain", "direct"])
def ring_loop(request):
    loop = ioring.Loop(direct_descriptors=request.param == "direct")
    before = idle(loop)
    yield loop
    turns(loop, 10)
    now = loop.statistics()
    assert now["in_flight"] == before and now["slots_used"] == 0 and now["buffers_free"] == now["buffers"]
    loop.close()


def run(loop, coroutine):
    return loop.run_until_complete(asyncio.wait_for(coroutine, 3 * WAIT_S))


async def all_of(awaitables):
    return await asyncio.gather(*awaitables)


def pairs(count):
    """Connected sockets that do not block."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2 * count + 200:
        pytest.skip(f"the limit on open files is {soft}")
    found = [socket.socketpair() for _ in range(count)]
    for pair in found:
        for sock in pair:
            sock.setblocking(False)
    return found


class Greeter(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello")


class Checked(asyncio.Protocol):
    """Compares what it receives with a pattern, and says when it is all there."""

    def __init__(self, loop, seed, wanted):
        self.received = Pattern(seed)
        self.wanted = wanted
        self.all = loop.create_future()
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received.check(data)
        assert self.received.count <= self.wanted
        if self.received.count == self.wanted:
            self.all.set_result(None)

    def connection_lost(self, exception):
        self.lost.set_result(exception)


# Descriptors.


@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
def test_accepting_rests_without_descriptors(loop, own):
    """Only with a listening socket of one's own can connections have slots instead."""
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    direct = own and isinstance(loop, ioring.Loop) and loop.statistics()["slots"] > 0
    turns(loop)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        if own:
            note_own(listener)
        address = listener.getsockname()
        clients = [stack.enter_context(socket.create_connection(address, WAIT_S)) for _ in range(20)]
        for client in clients:
            client.setblocking(False)

        async def greeted(some):
            for client in some:
                assert await loop.sock_recv(client, 10) == b"hello"

        with descriptors_left(0 if direct else 5):
            # The kernel remembers the limit for an accept from when it was asked to.
            server = run(loop, loop.create_server(Greeter, sock=listener))
            if direct:
                run(loop, greeted(clients))
                assert reports == []
                clients = []
            deadline = time.monotonic() + WAIT_S
            while not (direct or reports):
                turns(loop, 1)
                assert time.monotonic() < deadline
            turns(loop, 10)
            assert {report["message"] for report in reports} <= {"socket.accept() out of system resource"}
            assert {report["exception"].errno for report in reports} <= {errno.EMFILE}
            assert {report["socket"].fileno() for report in reports} <= {listener.fileno()}
        run(loop, greeted(clients))
        server.close()
        turns(loop, 20)
    turns(loop, 20)


@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
def test_accepting_goes_on_without_descriptors(loop, own):
    """Clients come and go, more of them than there are descriptors, and each is served."""
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
    run(loop, loop.run_in_executor(None, int))  # a thread, and what it imports
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if own:
            note_own(listener)
        code = f"""
socks = [socket.create_connection({listener.getsockname()!r}, 30) for _ in range(40)]
print("connected", flush=True)
for sock in socks:
    assert sock.recv(5) == b"hello"
    sock.close()
"""
        child = subprocess.Popen([sys.executable, "-c", "import socket" + code], stdout=subprocess.PIPE)
        with child, descriptors_left(15):
            assert child.stdout.readline() == b"connected\n"
            server = run(loop, loop.create_server(Greeter, sock=listener))
            assert run(loop, loop.run_in_executor(None, child.wait)) == 0
            server.close()
        turns(loop, 20)
    run(loop, loop.shutdown_default_executor())
    direct = own and isinstance(loop, ioring.Loop) and loop.statistics()["slots"] > 0
    assert set(reports) == (set() if direct else {"socket.accept() out of system resource"})


def test_no_connection_without_descriptors(loop):
    server = run(loop, loop.create_server(Greeter, "127.0.0.1", 0))
    address = server.sockets[0].getsockname()

    async def connect():
        reader, writer = await asyncio.open_connection(*address)
        data = await reader.read(5)
        writer.close()
        await writer.wait_closed()
        return data

    turns(loop)
    with descriptors_left(0), pytest.raises(OSError) as caught:
        run(loop, connect())
    assert caught.value.errno == errno.EMFILE
    assert run(loop, connect()) == b"hello"
    server.close()
    turns(loop, 10)


def test_sock_accept_without_descriptors(loop):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        server.setblocking(False)
        turns(loop)
        with descriptors_left(0), pytest.raises(OSError) as caught:
            run(loop, loop.sock_accept(server))
        assert caught.value.errno == errno.EMFILE
        connection, address = run(loop, loop.sock_accept(server))
        connection.close()
        assert address == client.getsockname()


@pytest.mark.parametrize("left", range(12))
def test_children_without_descriptors(ring_loop, left):
    """A child is started or it is not, and then nothing is left of the attempt. asyncio's own leaks here (3.11)."""

    async def child():
        process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return (await process.communicate(b"data"))[0]

    turns(ring_loop)
    with descriptors_left(left):
        try:
            assert run(ring_loop, child()) == b"data"
        except OSError as error:
            assert error.errno == errno.EMFILE
    assert run(ring_loop, child()) == b"data"


# Listeners.


@pytest.mark.parametrize("turns_before", [0, 1, 2, 5])
def test_listener_closed_in_a_storm(ring_loop, turns_before):
    """Each client is greeted, or sees the end, or a reset; none waits for ever, as on asyncio's own."""
    loop = ring_loop
    server = run(loop, loop.create_server(Greeter, "127.0.0.1", 0, backlog=1000))
    address = server.sockets[0].getsockname()
    clients = [socket.socket() for _ in range(300)]

    def connects(some):
        for client in some:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(address)

    async def fate(client):
        try:
            return await loop.sock_recv(client, 10)
        except ConnectionError as error:
            return type(error)

    turns(loop)
    connects(clients[:150])
    turns(loop, turns_before)
    connects(clients[150:250])
    server.close()
    connects(clients[250:])
    fates = collections.Counter(run(loop, all_of(map(fate, clients))))
    assert set(fates) <= {b"hello", b"", ConnectionResetError, ConnectionRefusedError, BrokenPipeError}, fates
    assert fates[ConnectionRefusedError] >= 50
    for client in clients:
        client.close()
    turns(loop, 20)


# Buffers.


@contextlib.contextmanager
def hurried(loop):
    """Lets the loop call the kernel many times before it looks at what has come: by writing much, between callbacks."""
    [(here, there)] = pairs(1)
    protocol = Checked(loop, 0, 0)
    run(loop, loop.connect_accepted_socket(lambda: protocol, here))

    def hurry():
        for _ in range(100):
            loop.call_soon(protocol.transport.write, bytes(100_000))

    yield hurry
    protocol.transport.abort()
    run(loop, protocol.lost)
    there.close()


def test_more_arrives_than_there_are_buffers(ring_loop):
    """Four times all buffers arrive at once, and a third of the receivers does not want it now."""
    count = 4 * ring_loop.statistics()["buffers"]
    ends = pairs(count)
    protocols = []
    for number, (here, there) in enumerate(ends):
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        protocol = Checked(ring_loop, number, 100_000)
        run(ring_loop, ring_loop.connect_accepted_socket(lambda protocol=protocol: protocol, there))
        protocols.append(protocol)
    turns(ring_loop)
    paused = protocols[::3]
    with hurried(ring_loop) as hurry:
        for protocol in paused:
            protocol.transport.pause_reading()
        for number, (here, _) in enumerate(ends):
            assert here.send(Pattern(number).take(100_000)) == 100_000
        hurry()
        run(ring_loop, all_of(protocol.all for protocol in protocols if protocol not in paused))
    assert ring_loop.statistics()["starved"] > 0
    assert all(protocol.received.count == 0 for protocol in paused)
    for protocol in paused:
        protocol.transport.resume_reading()
    run(ring_loop, all_of(protocol.all for protocol in paused))
    for here, _ in ends:
        here.close()
    run(ring_loop, all_of(protocol.lost for protocol in protocols))


def test_more_sock_recv_than_there_are_buffers(ring_loop):
    ends = pairs(4 * ring_loop.statistics()["buffers"])

    async def main():
        tasks = [asyncio.create_task(ring_loop.sock_recv(here, 10)) for here, _ in ends]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number, (_, there) in enumerate(ends):
            there.send(b"%d" % number)
        hurry()
        assert await asyncio.gather(*tasks) == [b"%d" % number for number in range(len(ends))]

    with hurried(ring_loop) as hurry:
        run(ring_loop, main())
    assert ring_loop.statistics()["starved"] > 0
    for pair in ends:
        for sock in pair:
            sock.close()


class Numbers(asyncio.DatagramProtocol):
    def __init__(self):
        self.came = []

    def datagram_received(self, data, address):
        self.came.append(int(data))


def test_more_datagrams_than_there_are_buffers(ring_loop):
    """Of each socket as many as its own queue holds."""

    async def main():
        hurry()
        while any(len(protocol.came) < 100 for _, protocol in ends):  # noqa: ASYNC110
            await asyncio.sleep(0)

    ends = []
    for _ in range(5):
        transport, protocol = run(ring_loop, ring_loop.create_datagram_endpoint(Numbers, ("127.0.0.1", 0)))
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        ends.append((transport, protocol))
    turns(ring_loop)
    with hurried(ring_loop) as hurry, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for transport, _ in ends:
            for number in range(100):
                sender.sendto(b"%d" % number, transport.get_extra_info("sockname"))
        run(ring_loop, main())
    assert all(protocol.came == list(range(100)) for _, protocol in ends)
    assert ring_loop.statistics()["starved"] > 0
    for transport, _ in ends:
        transport.close()
    turns(ring_loop)


# The queues.


def test_completions_overflow(ring_loop):
    """More complete in one turn than the queue holds, while streams receive and connections are accepted."""
    loop = ring_loop
    calls = loop._ring.cq_entries + 1000
    made = []

    class Server(Checked):
        def __init__(self):
            super().__init__(loop, len(made), 50_000)
            made.append(self)

        def data_received(self, data):
            # A request of its own in the middle of the others', with direct descriptors.
            assert self.transport.get_extra_info("socket").fileno() >= 0
            super().data_received(data)

    server = run(loop, loop.create_server(Server, "127.0.0.1", 0))
    address = server.sockets[0].getsockname()
    clients = []
    for _ in range(20):
        clients.append(socket.create_connection(address, WAIT_S))
        while len(made) < len(clients):
            turns(loop, 1)
    [(here, there)] = pairs(1)

    async def main():
        tasks = [asyncio.create_task(loop.sock_recv(here, 10)) for _ in range(calls)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert in_flight(loop) > calls
        # All in one callback: nothing is reaped meanwhile.
        there.close()
        for number, client in enumerate(clients):
            client.sendall(Pattern(number).take(50_000))
        late = [socket.create_connection(address, WAIT_S) for _ in range(20)]
        assert await asyncio.gather(*tasks) == [b""] * calls
        await asyncio.gather(*(protocol.all for protocol in made[:20]))
        while len(made) < 40:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for client in clients + late:
            client.close()
        await asyncio.gather(*(protocol.lost for protocol in made))

    run(loop, main())
    here.close()
    server.close()


def test_thousands_of_operations_in_one_turn(loop):
    """More than the submission queue holds; each byte goes to one of them."""
    [(here, there)] = pairs(1)
    data = Pattern(5).take(5000)

    async def main():
        tasks = [asyncio.create_task(loop.sock_recv(here, 1)) for _ in range(5000)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await loop.sock_sendall(there, data)
        found = await asyncio.gather(*tasks)
        assert collections.Counter(found) == collections.Counter(data[at : at + 1] for at in range(5000))

    if isinstance(loop, ioring.Loop):  # asyncio's own has place for one receiver only
        run(loop, main())
    here.close()
    there.close()


def test_thousands_of_writes_in_one_callback(loop):
    ends = pairs(1500)
    protocols = []
    for number, (here, there) in enumerate(ends):
        for sock, wanted in ((here, 0), (there, 3000)):
            protocol = Checked(loop, number, wanted)
            run(loop, loop.connect_accepted_socket(lambda protocol=protocol: protocol, sock))
            protocols.append(protocol)

    async def main():
        for protocol in protocols[::2]:
            protocol.transport.write(Pattern(protocol.received.seed).take(3000))
        for protocol in protocols[::2]:
            protocol.transport.close()
        await asyncio.gather(*(protocol.all for protocol in protocols[1::2]))
        await asyncio.gather(*(protocol.lost for protocol in protocols))

    run(loop, main())


def test_thousands_of_cancellations_in_one_callback(ring_loop):
    [(here, there)] = pairs(1)

    async def main():
        tasks = [asyncio.create_task(ring_loop.sock_recv(here, 1)) for _ in range(5000)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        there.send(b"x")
        assert await ring_loop.sock_recv(here, 10) == b"x"

    run(ring_loop, main())
    here.close()
    there.close()


# Sending.


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tcp"])
def test_tiny_send_buffer(loop, family):
    """All arrives, in order, through a window of a few kilobytes that the receiver opens bit by bit."""
    if family == socket.AF_UNIX:
        here, there = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            here = socket.create_connection(server.getsockname())
            there, _ = server.accept()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for sock in (here, there):
        sock.setblocking(False)
    wanted = 300_000 if family == socket.AF_UNIX else 60_000

    async def main():
        sender = Checked(loop, 9, 0)
        await loop.connect_accepted_socket(lambda: sender, here)
        pattern, received = Pattern(9), Pattern(9)
        while pattern.count < wanted:
            sender.transport.write(pattern.take(10_000))
        while received.count < wanted:
            received.check(await loop.sock_recv(there, 1000))
        sender.transport.close()
        await sender.lost

    run(loop, main())
    there.close()


@pytest.mark.parametrize("dropped", [False, True], ids=["read", "dropped"])
def test_writes_of_all_sizes(loop, dropped):
    """Small ones wait for the end of the turn and large ones do not: all arrive as they were written.

    Dropped: the receiver goes away in the middle, with the rest of a large one on its way.
    """
    here, there = socket.socketpair()
    for sock in (here, there):
        sock.setblocking(False)
    sizes = [1, 40_000, 100, 32_768, 32_767, 70_000, 1_000_000, 5, 300_000, 40_000, 40_000, 2_000_000, 1]

    async def main():
        sender = Checked(loop, 4, 0)
        await loop.connect_accepted_socket(lambda: sender, here)
        pattern, received = Pattern(4), Pattern(4)

        def pieces(size):
            return [10_000] * (size // 10_000) + [size % 10_000]

        async def write():
            for size in sizes:
                sender.transport.write(b"".join(pattern.take(each) for each in pieces(size)))
                if size % 7 == 0:
                    await asyncio.sleep(0)

        writing = asyncio.ensure_future(write())
        while received.count < (sum(sizes) // 2 if dropped else sum(sizes)):
            received.check(await loop.sock_recv(there, 50_000))
        await writing
        if dropped:
            there.close()
        else:
            assert sender.transport.get_write_buffer_size() == 0
        sender.transport.close()
        await sender.lost

    run(loop, main())
    there.close()


# A network whose only way is a slow one: what is sent waits, and what is too much for the queue is refused.
SLOW_NETWORK = """
import asyncio, ctypes, subprocess

if ctypes.CDLL(None).unshare(0x40000000):
    print("no network namespaces here")
    sys.exit()
for command in ("ip link set lo up mtu 1500", "tc qdisc add dev lo root tbf rate 2mbit burst 3000 limit LIMIT"):
    if subprocess.run(command.split(), stderr=subprocess.DEVNULL).returncode:
        print("no", command.split()[0], "here")
        sys.exit()

class Receiver(asyncio.DatagramProtocol):
    def __init__(self):
        self.came = []

    def datagram_received(self, data, address):
        assert data == data[:1] * 1000
        self.came.append(data[0])

class Sender(asyncio.DatagramProtocol):
    def __init__(self):
        self.errors, self.events = [], []

    def error_received(self, error):
        self.errors.append(error)

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")

async def main():
    loop = asyncio.get_running_loop()
    receiver, there = await loop.create_datagram_endpoint(Receiver, ("127.0.0.1", 0))
    sender, here = await loop.create_datagram_endpoint(Sender, remote_addr=receiver.get_extra_info("sockname"))
    await check(loop, sender, here, there)
    receiver.close()
    sender.close()

loop = asyncio.SelectorEventLoop() if MODE == "asyncio" else ioring.Loop(direct_descriptors=MODE == "direct")
loop.run_until_complete(asyncio.wait_for(main(), 30))
loop.close()
"""

WAITS = """
async def check(loop, sender, here, there):
    sock = sender.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    for number in range(100):
        sender.sendto(bytes([number]) * 1000)
    assert sender.get_write_buffer_size() > 60000
    while len(there.came) < 100:
        await asyncio.sleep(0.001)
    assert sorted(there.came) == list(range(100)), there.came
    assert here.events == ["pause", "resume"] and here.errors == [], (here.events, here.errors)
"""

REFUSED = """
async def check(loop, sender, here, there):
    sock = sender.get_extra_info("socket")
    sock.setsockopt(socket.SOL_IP, 11, 1)  # IP_RECVERR: tells of what the network's queue refuses
    for number in range(100):
        sender.sendto(bytes([number]) * 1000)
    while len(there.came) + len(here.errors) < 100:
        await asyncio.sleep(0.001)
    assert here.errors and {error.errno for error in here.errors} == {105}, here.errors
    assert there.came == sorted(set(there.came)) and there.came[:1] == [0], there.came
    before = len(there.came)
    sender.sendto(b"z" * 1000)
    while len(there.came) == before:
        await asyncio.sleep(0.001)
"""


@as_root
@needs_program("ip")
@pytest.mark.parametrize("mode", ["plain", "direct", "asyncio"])
@pytest.mark.parametrize(("check", "limit"), [(WAITS, 1_000_000), (REFUSED, 6000)], ids=["waits", "refused"])
def test_slow_network(mode, check, limit):
    said = python(f"MODE = {mode!r}\n{check}" + SLOW_NETWORK.replace("LIMIT", str(limit)))
    if said:
        pytest.skip(said.strip())
