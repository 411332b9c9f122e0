"""How a server comes by its connections: what it does when its listening socket fails."""

import errno
import socket

import pytest

from http_servers import GET, hello, lifeless, read_response
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
