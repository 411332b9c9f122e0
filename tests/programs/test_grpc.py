"""grpc.aio with handlers written by hand: calls of each kind, errors, time limits, cancellation.

gRPC does its own networking in threads and wakes the loop by a socket that it watches with add_reader.
"""

import asyncio
import contextlib
import os
import sys

import pytest

from programs import children

pytestmark = pytest.mark.no_sanitizer

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")


async def upper(request, context):
    return request.upper()


async def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number


async def total(requests, context):
    return b"%d" % sum([len(request) async for request in requests])


async def echo(requests, context):
    async for request in requests:
        yield request[::-1]


async def refuse(request, context):
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you")


waiting, cancelled = asyncio.Event(), asyncio.Event()


async def wait(request, context):
    waiting.set()
    try:
        await asyncio.Event().wait()
    finally:
        cancelled.set()


HANDLERS = {
    "Upper": grpc.unary_unary_rpc_method_handler(upper),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
}


@contextlib.asynccontextmanager
async def serving():
    unlimited = [("grpc.max_receive_message_length", -1)]
    server = grpc.aio.server(options=unlimited)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Test", HANDLERS)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=unlimited) as channel:
            yield channel
    finally:
        await server.stop(None)


async def unary():
    async with serving() as channel:
        call = channel.unary_unary("/Test/Upper")
        for _ in range(50):
            assert await call(b"word") == b"WORD"
        assert await asyncio.gather(*(call(b"a%d" % n) for n in range(200))) == [b"A%d" % n for n in range(200)]
        big = os.urandom(10_000_000)
        assert await call(big) == big.upper()


async def streams():
    async with serving() as channel:
        assert [int(n) async for n in channel.unary_stream("/Test/Count")(b"2000")] == list(range(2000))

        async def requests():
            for number in range(500):
                yield bytes(number)

        assert await channel.stream_unary("/Test/Total")(requests()) == b"%d" % sum(range(500))
        call = channel.stream_stream("/Test/Echo")()
        for number in range(300):
            await call.write(b"ab%d" % number)
            assert await call.read() == (b"ab%d" % number)[::-1]
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def failures():
    async with serving() as channel:
        for name, limit, code in [
            ("Refuse", None, grpc.StatusCode.PERMISSION_DENIED),
            ("Nothing", None, grpc.StatusCode.UNIMPLEMENTED),
            ("Wait", 0.05, grpc.StatusCode.DEADLINE_EXCEEDED),
        ]:
            try:
                await channel.unary_unary(f"/Test/{name}")(b"", timeout=limit)
            except grpc.aio.AioRpcError as error:
                assert error.code() is code
            else:
                raise AssertionError(name)
        await cancelled.wait()
        waiting.clear()
        cancelled.clear()
        call = channel.unary_unary("/Test/Wait")(b"")
        await waiting.wait()
        call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            assert call.cancelled()
        else:
            raise AssertionError("it answered")
        await cancelled.wait()


SCRIPT = """
import asyncio
from programs import loops, test_grpc

complaints = []

async def main():
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with asyncio.timeout(20):
        await test_grpc.{name}()

with asyncio.Runner(loop_factory=loops.{loop_name}) as runner:
    runner.run(main())
assert complaints == [], complaints
print("passed")
"""


@pytest.mark.parametrize("name", ["unary", "streams", "failures"])
def test_calls(loop_name, name):
    """In a process of their own: gRPC keeps its threads and descriptors until the process ends."""
    script = SCRIPT.format(loop_name=loop_name, name=name)
    with children.running([sys.executable, "-c", script], env=children.environment(GRPC_VERBOSITY="NONE")) as child:
        assert child.wait() == 0, child.said
    assert child.said.endswith("passed\n")
