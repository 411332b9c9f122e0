"""Listening sockets that several processes have: each gets its share, and nothing is lost when one dies."""

import asyncio
import os
import socket

import pytest

import ioring
from ioring.loop.own_listeners import is_own
from rings import WAIT_S, python
from running import connected, run, turns, until

WORKERS = """
import asyncio

def new_loop():
    return Loop(direct_descriptors=DIRECT)

class Answer(asyncio.Protocol):
    "Says who it is; asked to, it keeps its process busy until the pipe is written to."
    def connection_made(self, transport):
        transport.write(b"%d\\n" % os.getpid())
        self.transport = transport
    def data_received(self, data):
        if data == b"block":
            self.transport.write(b"blocks\\n")
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, os.read, blocked[0], 1)
        else:
            self.transport.close()

async def by_protocol(listener):
    server = await asyncio.get_running_loop().create_server(Answer, sock=listener)
    await server.serve_forever()

async def by_streams(listener):
    async def handle(reader, writer):
        writer.write(b"%d\\n" % os.getpid())
        if await reader.read(5) == b"block":
            writer.write(b"blocks\\n")
            await writer.drain()
            await asyncio.sleep(0)
            os.read(blocked[0], 1)
        writer.close()
    await (await asyncio.start_server(handle, sock=listener)).serve_forever()

async def by_unix_server(listener):
    server = await asyncio.get_running_loop().create_unix_server(Answer, sock=listener)
    await server.serve_forever()

async def by_sock_accept(listener):
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    async def handle(connection):
        with connection:
            await loop.sock_sendall(connection, b"%d\\n" % os.getpid())
            if await loop.sock_recv(connection, 5) == b"block":
                await loop.sock_sendall(connection, b"blocks\\n")
                os.read(blocked[0], 1)
    tasks = []
    while True:
        connection, _ = await loop.sock_accept(listener)
        tasks.append(asyncio.create_task(handle(connection)))

async def main(listener, ready):
    serving = asyncio.create_task(SERVE(listener))
    for _ in range(5):
        await asyncio.sleep(0)
    os.write(ready, b"r")
    await serving

blocked = os.pipe()
if SERVE is by_unix_server:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\\0ioring shared listener %d" % os.getpid())
    listener.listen(128)
else:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
children = []

def start():
    "A worker that accepts."
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            new_loop().run_until_complete(main(listener, writing))
        finally:
            os._exit(1)
    children.append(pid)
    assert os.read(reading, 1) == b"r"
    os.close(reading), os.close(writing)
    return pid

def connect():
    client = socket.socket(listener.family)
    client.settimeout(WAIT_S)
    client.connect(listener.getsockname())
    return client

def ask():
    "Who answers on a new connection."
    with connect() as client:
        return int(client.makefile("rb").readline())

def end():
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
"""

WAYS = ("by_protocol", "by_streams", "by_unix_server", "by_sock_accept")


def workers(way, direct, code):
    before, after = WORKERS.split("blocked = os.pipe()")
    return python(
        f"WAIT_S = {WAIT_S}\nDIRECT = {direct}\n{before}\nSERVE = {way}\nblocked = os.pipe(){after}"
        f"\ntry:\n    exec({code!r})\nfinally:\n    end()\n",
        arguments=["-W", "ignore::DeprecationWarning"],  # forking with threads
    )


@pytest.mark.parametrize("way", WAYS)
def test_connections_spread(direct, way):
    said = workers(
        way,
        direct,
        """
served = {start(): 0 for _ in range(3)}
for count in range(5000):
    served[ask()] += 1
    if min(served.values()) >= 20:
        break
print("spread" if min(served.values()) >= 20 else served)
""",
    )
    assert said == "spread\n"


@pytest.mark.parametrize("way", WAYS)
def test_the_idle_serve_while_one_computes(direct, way):
    said = workers(
        way,
        direct,
        """
for _ in range(3):
    start()
with connect() as client:
    lines = client.makefile("rb")
    busy = int(lines.readline())
    client.sendall(b"block")
    assert lines.readline() == b"blocks\\n"
    answers = [ask() for _ in range(20)]
    os.write(blocked[1], b"1")
print(busy in answers, len(answers))
""",
    )
    assert said == "False 20\n"


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_when_one_dies(direct, way, number):
    said = workers(
        way,
        direct,
        f"""
for _ in range(3):
    start()
for count in range(12):
    victim = ask()
    os.kill(victim, signal.{number})
    if count % 2:
        os.waitpid(victim, 0)  # otherwise it may still be dying
    for _ in range(3):
        ask()
    if not count % 2:
        os.waitpid(victim, 0)
    children.remove(victim)
    start()
print("all answered")
""",
    )
    assert said == "all answered\n"


FORK_LATER = """
import asyncio

class Answer(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"%d" % os.getpid())
        transport.close()

def child(listener):
    "Serves as a process of its own."
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        assert os.read(reading, 1) == b"r"
        return pid
    try:
        async def main():
            server = await asyncio.get_running_loop().create_server(Answer, sock=listener)
            os.write(writing, b"r")
            await server.serve_forever()
        Loop().run_until_complete(main())
    finally:
        os._exit(1)

def ask():
    with socket.create_connection(server.sockets[0].getsockname(), timeout=WAIT_S) as client:
        return int(client.recv(100))

async def asked(pid, turns):
    "Whether a child answers, after some turns of the loop."
    for _ in range(turns):
        await asyncio.sleep(0)
    print([ask() == pid for _ in range(3)])

async def alone(pid):
    "Whether this process answers when the child is gone."
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print(await loop.run_in_executor(None, ask) == os.getpid())

loop = Loop(direct_descriptors=DIRECT)
server = loop.run_until_complete(loop.create_server(Answer, "127.0.0.1", 0, start_serving=START))
for _ in range(3):
    loop.run_until_complete(asyncio.sleep(0))
"""

END = """
server.close()
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
"""


def forked_later(direct, start, code):
    return python(
        f"WAIT_S = {WAIT_S}\nDIRECT, START = {direct}, {start}\n{FORK_LATER}{code}{END}",
        arguments=["-W", "ignore::DeprecationWarning"],  # forking with threads
    )


def test_fork_after_the_server_was_made(direct):
    """Its loop does not run, or runs and computes: the child serves."""
    said = forked_later(
        direct,
        True,
        """
pid = child(server._sockets[0])
print([ask() == pid for _ in range(3)])
loop.run_until_complete(asked(pid, 3))
loop.run_until_complete(alone(pid))
""",
    )
    assert said == "[True, True, True]\n[True, True, True]\nTrue\n"


def test_fork_in_a_running_loop(direct):
    said = forked_later(
        direct,
        True,
        """
async def main():
    pid = child(server._sockets[0])
    await asked(pid, 2)
    await alone(pid)
loop.run_until_complete(main())
""",
    )
    assert said == "[True, True, True]\nTrue\n"


def test_fork_in_another_thread(direct):
    said = forked_later(
        direct,
        True,
        """
async def main():
    pid = await loop.run_in_executor(None, child, server._sockets[0])
    await asked(pid, 3)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
loop.run_until_complete(main())
""",
    )
    assert said == "[True, True, True]\n"


def test_fork_between_making_and_serving(direct):
    said = forked_later(
        direct,
        False,
        """
pid = child(server._sockets[0])
async def main():
    await server.start_serving()
    await asked(pid, 3)
    await alone(pid)
loop.run_until_complete(main())
""",
    )
    assert said == "[True, True, True]\nTrue\n"


class Silent(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport


@pytest.mark.parametrize("kind", ["host", "path", "sock", "inherited"])
def test_whose_listener_it_is(tmp_path, kind):
    """One that the loop has made is its own, and its connections have slots."""

    async def main():
        loop = asyncio.get_running_loop()
        made = []

        def factory():
            made.append(Silent())
            return made[-1]

        family = socket.AF_UNIX if kind == "path" else socket.AF_INET
        if kind == "path":
            server = await loop.create_unix_server(factory, tmp_path / "s")
        elif kind == "sock":
            server = await loop.create_server(factory, sock=socket.create_server(("127.0.0.1", 0)))
        else:
            server = await loop.create_server(factory, "127.0.0.1", 0, start_serving=False)
            if kind == "inherited":
                server._sockets[0].set_inheritable(True)
            await server.start_serving()
        own = is_own(server._sockets[0])
        assert own == (kind in ("host", "path"))
        with socket.socket(family) as client:
            await loop.run_in_executor(None, client.connect, server.sockets[0].getsockname())
            await until(lambda: made and hasattr(made[0], "transport"))
            # Before 6.8 there are no slots.
            used = loop.statistics()["slots_used"] if loop.statistics()["slots"] else own
            made[0].transport.abort()
        server.close()
        await server.wait_closed()
        await loop.shutdown_default_executor()
        return used

    with asyncio.Runner(loop_factory=lambda: ioring.Loop(direct_descriptors=True)) as runner:
        assert runner.run(main()) == (1 if kind in ("host", "path") else 0)


def test_whoever_is_busy_gets_as_many_as_come(loop):
    """From turn to turn more of a shared socket's connections are accepted, as long as there are more."""
    made = []

    class Counted(asyncio.Protocol):
        def connection_made(self, transport):
            made.append(transport)

    with socket.create_server(("127.0.0.1", 0), backlog=400) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(400)]
        server = run(loop, loop.create_server(Counted, sock=listener, backlog=400))
        begun = loop.statistics()["turns"]
        run(loop, until(lambda: len(made) == 400))
        assert loop.statistics()["turns"] - begun < 60
        # In a turn of their own it is one again.
        turns(loop)
        while made:
            made.pop().abort()
        turns(loop)
        more = [socket.create_connection(listener.getsockname()) for _ in range(2)]
        while not made:
            turns(loop, 1)
        assert len(made) == 1
        run(loop, until(lambda: len(made) == 2))
        server.close()
        while made:
            made.pop().abort()
        turns(loop)
        for client in clients + more:
            client.close()


def test_a_server_that_stops_leaves_connections_to_others(loop):
    """In the middle of a turn that accepts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
        made = []

        class Stopping(asyncio.Protocol):
            def connection_made(self, transport):
                made.append(transport)
                if len(made) == 3:
                    server.close()

        server = run(loop, loop.create_server(Stopping, sock=listener.dup(), start_serving=False))
        run(loop, server.start_serving())
        run(loop, until(lambda: len(made) == 3))
        turns(loop, 5)
        left = [listener.accept()[0] for _ in range(2)]
        assert len(made) == 3
        for each in clients + left:
            each.close()
        for transport in made:
            transport.abort()
        turns(loop)


def test_a_listener_that_somebody_lets_block(loop):
    """Another process may make accept() of the common socket wait; the loop must not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = []

        class Ending(asyncio.Protocol):
            def connection_made(self, transport):
                made.append(transport)
                transport.abort()

        server = run(loop, loop.create_server(Ending, sock=listener.dup()))
        turns(loop)
        listener.setblocking(True)
        # Of four connections the third batch is to have three, which is more than there are left.
        clients = [socket.create_connection(listener.getsockname()) for _ in range(4)]
        run(loop, until(lambda: len(made) == 4))
        turns(loop)
        assert not os.get_blocking(listener.fileno())
        server.close()
        for client in clients:
            client.close()
        turns(loop)


def test_sock_accept_on_a_blocking_listener(loop):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert listener.getblocking()
        accepting = loop.create_task(loop_accept(loop, listener))
        turns(loop)
        assert not accepting.done()
        with socket.create_connection(listener.getsockname()) as client:
            connection, address = run(loop, accepting)
            with connection:
                assert address == client.getsockname()


async def loop_accept(loop, listener):
    return await loop.sock_accept(listener)


def test_sock_accept_that_another_was_faster_than(loop):
    """The poll has seen a connection, and somebody else has taken it: it waits for the next."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        accepting = loop.create_task(loop_accept(loop, listener))
        turns(loop)
        with socket.create_connection(listener.getsockname()):
            loop._settle()  # now the poll has completed
            listener.accept()[0].close()
            turns(loop)
            assert not accepting.done()
        with socket.create_connection(listener.getsockname()) as second:
            connection, address = run(loop, accepting)
            with connection:
                assert address == second.getsockname()


def test_sock_accept_that_is_cancelled_takes_nothing(loop):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        accepting = loop.create_task(loop_accept(loop, listener))
        turns(loop)
        with socket.create_connection(listener.getsockname()) as client:
            accepting.cancel()
            turns(loop, 5)
            connection, address = listener.accept()
            with connection:
                assert address == client.getsockname()


def test_sock_accept_of_a_listener_that_is_closed_meanwhile(loop):
    """The number may be that of another listener by then, from which nothing must be taken."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    address = listener.getsockname()
    with listener.dup() as kept:
        accepting = loop.create_task(loop_accept(loop, listener))
        turns(loop)
        number = listener.fileno()
        listener.close()
        with socket.create_server(("127.0.0.1", 0)) as other:
            assert other.fileno() == number
            other.setblocking(False)
            with socket.create_connection(other.getsockname()) as client, socket.create_connection(address):
                with pytest.raises(OSError, match="Bad file descriptor"):
                    run(loop, accepting)
                connection, whose = other.accept()
                connection.close()
                assert whose == client.getsockname()
        kept.setblocking(False)
        kept.accept()[0].close()


async def accepted_and_answered():
    async with connected(Silent) as (protocol, peer):
        protocol.transport.write(b"here")
        return await asyncio.get_running_loop().run_in_executor(None, peer.recv, 10)


def test_an_own_listener_needs_no_request_for_each_connection(loop):
    assert run(loop, accepted_and_answered()) == b"here"

    async def main():
        made = []

        class Counted(asyncio.Protocol):
            def connection_made(self, transport):
                made.append(transport)
                transport.pause_reading()  # so receiving takes one request, and nothing else follows

        server = await loop.create_server(Counted, "127.0.0.1", 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        before = loop.statistics()["submissions"]
        clients = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(10)]
        await until(lambda: len(made) == 10)
        after = loop.statistics()["submissions"]
        for client in clients:
            client.close()
        for transport in made:
            transport.abort()
        server.close()
        await server.wait_closed()
        return after - before

    assert run(loop, main()) == 0
    run(loop, loop.shutdown_default_executor())
