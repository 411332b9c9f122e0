"""Server-sent events of Starlette (sse-starlette) under `ioring serve`."""

import pytest

from served import MARKS, Serving, asked, need, nothing_went_wrong, opened

pytestmark = MARKS


@pytest.fixture(autouse=True)
def loop_name():
    """Once: the server names its loop itself."""


APP = """
import asyncio
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

async def events(request):
    for number in range(3):
        yield {"event": "number", "data": str(number)}

async def endless(request):
    try:
        while True:
            yield {"data": "again"}
            await asyncio.sleep(0.01)
    finally:
        print("the stream has ended", flush=True)

app = Starlette(routes=[
    Route("/", lambda request: EventSourceResponse(events(request))),
    Route("/endless", lambda request: EventSourceResponse(endless(request))),
])
"""


def test_events(tmp_path):
    need("sse_starlette", "starlette")
    with Serving(tmp_path, "main:app", application=APP) as server:
        wanted = b"".join(b"event: number\r\ndata: %d\r\n\r\n" % number for number in range(3))
        assert asked(server, "/") == wanted
        with opened(server, "/endless") as response:
            assert response.readline() == b"data: again\r\n"
        server.wait_for("the stream has ended")  # with its client
    nothing_went_wrong(server)


def test_stop_ends_streams(tmp_path):
    need("sse_starlette", "starlette")
    options = ("--timeout-graceful-shutdown", "1")
    with (
        Serving(tmp_path, "main:app", *options, application=APP) as server,
        opened(server, "/endless") as response,
    ):
        assert response.readline() == b"data: again\r\n"
        server.process.terminate()
        assert server.ended() == 0
