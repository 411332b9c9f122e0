import asyncio

import pytest

import ioring
from http_servers import Running


@pytest.fixture(params=["ring", "direct", "asyncio"])
def http_loop(request):
    """What makes each kind of loop that HTTP servers run on."""
    return {
        "ring": ioring.Loop,
        "direct": lambda: ioring.Loop(direct_descriptors=True),
        "asyncio": asyncio.SelectorEventLoop,
    }[request.param]


@pytest.fixture
def serving(request, http_loop):
    """Starts HTTP servers on each kind of loop, with the options that the module's SERVING names."""
    options = getattr(request.module, "SERVING", {})
    return lambda application, **more: Running(application, http_loop, **options | more)
