"""Autobahn's fuzzing client, against an application that sends back what it gets."""

import re

import pytest

from serving import Serving
from suites import autobahn, sdist

pytestmark = [pytest.mark.no_sanitizer, pytest.mark.any_kernel, pytest.mark.any_python]

ECHO = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send(message | {"type": "websocket.send"})
"""

GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")

LIMIT_MS = 1000
"""The shortest time that the client gives a server. One that has been stopped for so long may be asked once more."""

GROUPS = {
    "messages and frames": (["1.*", "2.*", "3.*", "4.*", "5.*"], 64),
    "UTF-8": (["6.*"], 145),
    "closing": (["7.*", "10.*"], 38),
    "sizes": (["9.1.1", "9.1.2", "9.2.1", "9.2.2", "9.3.5", "9.4.5", "9.5.5", "9.6.5", "9.7.1", "9.8.1"], 10),
    "deflate": ([f"12.{kind}.{size}" for kind in range(1, 6) for size in (1, 4)], 10),
    "windows": ([f"13.{kind}.{size}" for kind in range(1, 8) for size in (1, 4)], 14),
}

ALL = {
    "sizes": (["9.*"], 54),
    "deflate": ([f"12.{kind}.{size}" for kind in range(1, 6) for size in range(1, 14)], 65),
    "windows": ([f"13.{kind}.{size}" for kind in range(1, 8) for size in range(1, 14)], 91),
}
"""What is left out sends 1000 messages of 128 KiB, for which the client takes minutes."""

MAY_DIFFER = re.compile(r"3\.[2-4]|4\.[12]\.[345]|5\.15|6\.4\.[34]")
"""A whole message with an error right behind it: the connection fails, whether the application has answered or not. And
text that shows in the first bytes of a frame that it is none: it is looked at when the frame is there."""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with Serving(tmp_path_factory.mktemp("server"), "main:app", "--lifespan", "off", application=ECHO) as server:
        yield server.url.replace("http:", "ws:")


def check(url, folder, patterns, count, limit_s):
    try:
        found = autobahn.cases(url, patterns, folder, limit_s)
        slow = [name for name, each in found.items() if not good(each) and each["duration"] >= LIMIT_MS]
        if slow:
            (folder / "again").mkdir()
            found |= autobahn.cases(url, slow, folder / "again", limit_s)
    except sdist.Unavailable as reason:
        pytest.skip(str(reason))
    bad = {name: each["report"] for name, each in found.items() if not good(each)}
    told = "\n".join(
        f"{name} {report['behavior']}, {report['behaviorClose']}: {report['result']}; {report['resultClose']}; "
        f"expected {str(report['expected'])[:200]}, received {str(report['received'])[:200]}"
        for name, report in bad.items()
    )
    assert not bad, told
    assert len(found) == count
    lax = [name for name, each in found.items() if each["behavior"] == "NON-STRICT"]
    assert [name for name in lax if not MAY_DIFFER.fullmatch(name)] == []


def good(case):
    return case["behavior"] in GOOD and case["behaviorClose"] in GOOD


@pytest.mark.timeout(300)
@pytest.mark.parametrize("group", GROUPS)
def test_cases(url, tmp_path, group):
    check(url, tmp_path, *GROUPS[group], limit_s=200)


@pytest.mark.long
@pytest.mark.timeout(2000)
@pytest.mark.parametrize("group", ALL)
def test_all_cases(url, tmp_path, group):
    check(url, tmp_path, *ALL[group], limit_s=1900)
