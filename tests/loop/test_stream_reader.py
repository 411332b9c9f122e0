"""StreamReader.read(): a coroutine like any other, though it has no frame."""

import asyncio
import gc
import warnings

from rings import stream_pair
from running import run


def test_read_that_nobody_awaits_is_warned_about(loop):
    async def main():
        with stream_pair() as (ours, theirs):
            reader, writer = await asyncio.open_connection(sock=ours)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                reader.read(10)
                gc.collect()
            assert [str(warning.message) for warning in caught] == ["coroutine 'StreamReader.read' was never awaited"]
            caught.clear()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                reader.read(10).close()
                theirs.send(b"data")
                assert await reader.read(10) == b"data"
                gc.collect()
            writer.transport.abort()
            await asyncio.sleep(0)

    run(loop, main())


def test_task_shows_what_it_waits_in(loop):
    async def main():
        with stream_pair() as (ours, _):
            reader, writer = await asyncio.open_connection(sock=ours)
            task = asyncio.create_task(reader.read(10))
            await asyncio.sleep(0)
            assert "StreamReader.read" in repr(task) and "without" not in repr(task)
            task.cancel()
            writer.transport.abort()
            await asyncio.sleep(0)

    run(loop, main())
