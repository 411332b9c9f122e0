import socket
import ssl

import pytest

import ioring
from tls_peer import Certificates

both = pytest.fixture(params=[False, True], ids=["plain", "direct"])
"""For each of a loop's modes: whether it keeps its sockets in slots instead of descriptors."""


@both
def direct(request):
    return request.param


@both
def loop(request):
    """A loop in each of its modes; closed afterwards."""
    loop = ioring.Loop(direct_descriptors=request.param)
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def version(request):
    """A version of TLS."""
    return request.param


@pytest.fixture
def pair():
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()
