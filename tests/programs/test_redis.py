"""redis-py's asyncio client against a real Redis, over TCP and by the path of a socket."""

import asyncio
import contextlib
import os

import pytest

pytestmark = pytest.mark.no_sanitizer

redis = pytest.importorskip("redis.asyncio", reason="redis is not installed")


@pytest.fixture(params=["tcp", "unix"])
def address(redis_server, request):
    if request.param == "tcp":
        return {"host": "127.0.0.1", "port": redis_server.port}
    return {"unix_socket_path": str(redis_server.path)}


@contextlib.asynccontextmanager
async def connected(address, **options):
    async with redis.Redis(**address, **options) as client:
        await client.flushall()
        yield client


async def test_values(address):
    async with connected(address) as client:
        assert await client.set("word", "hello") is True
        assert await client.get("word") == b"hello"
        assert await client.get("nothing") is None
        assert await client.hset("hash", mapping={"a": 1, "b": 2}) == 2
        assert await client.hgetall("hash") == {b"a": b"1", b"b": b"2"}
        with pytest.raises(Exception, match="WRONGTYPE"):
            await client.incr("hash")
        assert await client.ping() is True


async def test_pipeline(address):
    async with connected(address) as client:
        async with client.pipeline(transaction=False) as pipeline:
            for number in range(5000):
                pipeline.set(f"key{number}", number)
            for number in range(5000):
                pipeline.get(f"key{number}")
            answers = await pipeline.execute()
        assert answers == [True] * 5000 + [str(number).encode() for number in range(5000)]


async def test_transaction_that_is_disturbed(address):
    async with connected(address) as client:
        await client.set("balance", 10)
        async with client.pipeline() as pipeline:
            await pipeline.watch("balance")
            await client.set("balance", 20)
            pipeline.multi()
            pipeline.set("balance", 30)
            with pytest.raises(redis.WatchError):
                await pipeline.execute()
        assert await client.get("balance") == b"20"


async def test_large_values(address):
    async with connected(address) as client:
        for size in (1 << 16, 1 << 20, 20 << 20):
            value = os.urandom(size)
            await client.set("large", value)
            assert await client.get("large") == value


async def test_many_connections(address):
    async with connected(address, max_connections=100) as client:

        async def work(number):
            for _ in range(20):
                await client.incr("counter")
            return await client.incr(f"own {number}")

        assert await asyncio.gather(*(work(number) for number in range(100))) == [1] * 100
        assert await client.get("counter") == b"2000"


async def test_publish_and_subscribe(address):
    async with connected(address) as client, client.pubsub() as subscription:
        await subscription.subscribe("news")
        await subscription.psubscribe("other.*")
        for kind in ("subscribe", "psubscribe"):
            assert (await subscription.get_message(timeout=10))["type"] == kind
        for number in range(500):
            assert await client.publish("news", f"item {number}") == 1
        await client.publish("other.one", "matched")
        received = [await subscription.get_message(timeout=10) for _ in range(501)]
        assert [message["data"] for message in received[:500]] == [b"item %d" % number for number in range(500)]
        assert (received[500]["channel"], received[500]["data"]) == (b"other.one", b"matched")
        assert await subscription.get_message(timeout=0.05) is None


async def test_blocking_pop(address):
    async with connected(address) as client:
        waiting = [asyncio.create_task(client.blpop("queue", timeout=20)) for _ in range(10)]
        while int((await client.info("clients"))["blocked_clients"]) < 10:
            await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        await client.rpush("queue", *range(10))
        answers = await asyncio.gather(*waiting)
        assert sorted(int(value) for _, value in answers) == list(range(10))
        assert await client.blpop("queue", timeout=0.1) is None


async def test_cancelled_command_does_not_mix_answers(address):
    async with connected(address) as client:
        await client.set("word", "right")
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await client.blpop("nothing", timeout=5)
            assert await client.get("word") == b"right"


async def test_stream_of_entries(address):
    async with connected(address, protocol=2) as client:
        reading = asyncio.create_task(client.xread({"log": "$"}, block=20_000))
        while int((await client.info("clients"))["blocked_clients"]) < 1:
            await asyncio.sleep(0)
        await client.xadd("log", {"event": "started"})
        ((name, ((_, entry),)),) = await reading
        assert (name, entry) == (b"log", {b"event": b"started"})


async def test_client_that_the_server_throws_out(address):
    """The next command finds the connection closed, and opens another."""
    async with connected(address) as client, redis.Redis(**address) as other:
        number = await other.client_id()
        assert await client.client_kill_filter(_id=number) == 1
        assert await other.client_id() != number
