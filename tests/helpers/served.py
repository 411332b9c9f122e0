"""Real applications under `ioring serve`, as tests ask them."""

import importlib.util
import urllib.request

import pytest

from programs import loops
from serving import WAIT_S, Serving

MARKS = [
    pytest.mark.no_sanitizer,
    pytest.mark.skipif("plain" not in loops.CHOSEN, reason="the server has a loop of its own"),
]


def need(*modules):
    """Skips the test without these packages."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def opened(server, path, data=None, headers=None):
    """The response to a request; the caller closes it."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data, headers or {})
    return urllib.request.urlopen(request, timeout=WAIT_S)


def asked(server, path, data=None, headers=None):
    with opened(server, path, data, headers) as response:
        return response.read()


def nothing_went_wrong(server):
    """Of a server that has ended."""
    assert not any("Traceback" in line or "exception" in line for line in server.errors), "".join(server.errors)


__all__ = ["MARKS", "WAIT_S", "Serving", "asked", "need", "nothing_went_wrong", "opened"]
