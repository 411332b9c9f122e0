"""How a server comes by its connections: a listening socket that fails, and connections that come while it stops."""

import asyncio
import errno
import socket

import pytest

from http_servers import GET, LAST, WAIT_S, hello, lifeless, read_response
from ioring.http.app_loader import Application
from ioring.http.configuration import Configuration
from ioring.http.server import LEAVING_TURNS, Server
from ioring.loop.accept_pause import PAUSE_S, report
from rings import wait_until


def test_listener_that_fails_for_a_while(serving):
    """It is reported, and tried again a second later: not at once, over and over."""
    reports = []
    with serving(lifeless(hello)) as server:
        server.loop.set_exception_handler(lambda loop, context: reports.append(context))
        [listener] = server.server.listeners
        listener.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: reports)
        began = server.loop.time()
        listener.listen()
        server.address = listener.getsockname()  # the kernel has given its port away
        with server.connect() as client:
            client.sendall(GET)
            assert read_response(client)[0] == 200
        assert server.loop.time() - began > PAUSE_S / 2
    [told] = reports
    assert told["message"] == "socket.accept() failed"
    assert told["exception"].errno == errno.EINVAL
    assert told["socket"].family == socket.AF_INET


@pytest.mark.any_python
@pytest.mark.any_kernel
@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM"])
def test_report(name):
    """asyncio's words for a lack of descriptors or memory, and for nothing else."""
    error = OSError(getattr(errno, name), "said the kernel")
    with socket.socket() as sock:
        told = report(error, sock)
    assert told["exception"] is error
    assert (told["message"] == "socket.accept() out of system resource") == (name != "EPERM")


async def visit(address, late):
    """Connects, sends a request so many turns of the loop later, and returns what comes until the end."""
    loop = asyncio.get_running_loop()
    with socket.create_connection(address, WAIT_S) as client:  # waits for the kernel alone
        client.setblocking(False)
        for _ in range(late):
            await asyncio.sleep(0)
        await loop.sock_sendall(client, LAST)
        said = b""
        while data := await loop.sock_recv(client, 1 << 16):
            said += data
        return said


async def started():
    """A server on the running loop, the task in which it serves, and its address."""
    server = Server(Configuration(target="", lifespan="off"), Application("asgi", lifeless(hello), "application"))
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    await server.start([listener])
    return server, asyncio.create_task(server.serve()), listener.getsockname()


@pytest.mark.parametrize("late", [0, 1, 3], ids=lambda late: f"sent {late} turns late")
def test_connections_that_come_while_the_server_stops(http_loop, late):
    """Each client that could connect has an answer, in whichever turn of the loop that was."""

    async def main():
        server, serves, address = await started()
        visits = []
        for turn in range(1000):
            if turn == 5:
                server.stop()
            visits.append(asyncio.create_task(visit(address, late)))
            await asyncio.sleep(0)
            if visits[-1].done() and isinstance(visits[-1].exception(), ConnectionRefusedError):
                visits.pop()
                break
        async with asyncio.timeout(WAIT_S):
            await serves
            assert server.service.requests == len(visits)  # not later: the loop could have ended with the server
            said = await asyncio.gather(*visits, return_exceptions=True)
        assert {each if isinstance(each, Exception) else each[:15] for each in said} == {b"HTTP/1.1 200 OK"}
        assert 5 <= len(visits) < LEAVING_TURNS // 2  # it does not stop later than it has to

    with asyncio.Runner(loop_factory=http_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("late", [0, 30], ids=lambda late: f"sent {late} turns late")
@pytest.mark.parametrize("ahead", range(1, 8), ids=lambda ahead: f"{ahead} turns ahead")
def test_connection_that_comes_before_the_server_stops(http_loop, ahead, late):
    """The only one, so that the server has nothing else to wait for; in some of these turns it is half accepted."""

    async def main():
        server, serves, address = await started()
        await asyncio.sleep(0)
        visits = asyncio.create_task(visit(address, late))
        for _ in range(ahead):
            await asyncio.sleep(0)
        server.stop()
        async with asyncio.timeout(WAIT_S):
            await serves
            assert server.service.requests == 1  # not later: the loop could have ended with the server
            assert (await visits).startswith(b"HTTP/1.1 200 OK")

    with asyncio.Runner(loop_factory=http_loop) as runner:
        runner.run(main())
