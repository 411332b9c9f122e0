import socket

import pytest

from operations import RINGS, opened
from rings import listener, pipe_pair, stream_pair


@pytest.fixture(params=RINGS)
def ring(request):
    """A ring of each kind, with as many slots as the module's SLOTS says. Nothing is left in it at the end."""
    with opened(request.param, slots=getattr(request.module, "SLOTS", 8)) as ring:
        yield ring


@pytest.fixture
def pair():
    with stream_pair() as ends:
        yield ends


@pytest.fixture
def pipe():
    with pipe_pair() as ends:
        yield ends


@pytest.fixture
def tcp():
    """Two ends of a TCP connection."""
    with listener() as server, socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
        yield client, accepted


@pytest.fixture
def udp():
    """A UDP socket that sends, and one that receives."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        for end in (sender, receiver):
            end.bind(("127.0.0.1", 0))
            end.settimeout(5)
        yield sender, receiver
