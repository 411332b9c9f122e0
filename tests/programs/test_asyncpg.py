"""asyncpg against a real PostgreSQL: by TCP, by the path of its socket, and by TLS, which begins as plain TCP."""

import asyncio
import contextlib
import io
import ssl

import pytest

pytestmark = pytest.mark.no_sanitizer

asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is not installed")


@pytest.fixture(params=["tcp", "unix", "tls"])
def address(postgres, request):
    common = {"port": postgres.port, "user": "tester", "database": "postgres"}
    if request.param == "unix":
        return {"host": str(postgres.folder), **common}
    if request.param == "tcp":
        return {"host": "127.0.0.1", "ssl": False, **common}
    return {"host": "localhost", "ssl": ssl.create_default_context(cafile=str(postgres.authority)), **common}


@contextlib.asynccontextmanager
async def connected(address):
    connection = await asyncpg.connect(**address)
    try:
        yield connection
    finally:
        await connection.close()


async def test_queries(address):
    async with connected(address) as connection:
        row = await connection.fetchrow("SELECT $1::int + 1 AS a, $2::text AS b, now() IS NOT NULL AS c", 41, "ü")
        assert dict(row) == {"a": 42, "b": "ü", "c": True}
        assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == (
            bool(address.get("ssl"))
        )
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.fetchval("SELECT 1 / $1::int", 0)
        assert await connection.fetchval("SELECT 'still there'") == "still there"


async def test_large_results_and_arguments(address):
    async with connected(address) as connection:
        rows = await connection.fetch("SELECT n, repeat('x', 100) FROM generate_series(1, 50000) AS n")
        assert len(rows) == 50_000
        assert [row[0] for row in rows] == list(range(1, 50_001))
        blob = bytes(range(256)) * 40_000
        assert await connection.fetchval("SELECT $1::bytea", blob) == blob


async def test_prepared_statement(address):
    async with connected(address) as connection:
        statement = await connection.prepare("SELECT $1::int * 2")
        assert [await statement.fetchval(number) for number in range(300)] == [number * 2 for number in range(300)]


async def test_transactions_and_cursor(address):
    async with connected(address) as connection:
        await connection.execute("CREATE TEMP TABLE numbers (n int)")
        with pytest.raises(KeyError):
            async with connection.transaction():
                await connection.execute("INSERT INTO numbers VALUES (1)")
                raise KeyError
        assert await connection.fetchval("SELECT count(*) FROM numbers") == 0
        async with connection.transaction():
            await connection.executemany("INSERT INTO numbers VALUES ($1)", [(n,) for n in range(2000)])
            found = [row["n"] async for row in connection.cursor("SELECT n FROM numbers ORDER BY n", prefetch=70)]
        assert found == list(range(2000))


async def test_copy(address):
    async with connected(address) as connection:
        await connection.execute("CREATE TEMP TABLE copied (n int, word text)")
        records = [(number, f"word {number}" * 10) for number in range(20_000)]
        assert await connection.copy_records_to_table("copied", records=records) == "COPY 20000"
        assert await connection.fetchval("SELECT sum(n) FROM copied") == sum(range(20_000))
        out = io.BytesIO()
        await connection.copy_from_table("copied", output=out, format="csv")
        assert out.getvalue().decode().splitlines() == [f"{number},{word}" for number, word in records]
        out.seek(0)
        await connection.execute("TRUNCATE copied")
        assert await connection.copy_to_table("copied", source=out, format="csv") == "COPY 20000"


async def test_listen_and_notify(address):
    received = asyncio.Queue()
    async with connected(address) as connection, connected(address) as other:
        await connection.add_listener("news", lambda *arguments: received.put_nowait(arguments[2:]))
        for number in range(200):
            await other.execute("SELECT pg_notify('news', $1)", str(number))
        assert [await received.get() for _ in range(200)] == [("news", str(number)) for number in range(200)]


async def test_cancellation(address):
    """asyncpg opens a second connection to cancel what the first one does."""
    async with connected(address) as connection, connected(address) as other:
        process = connection.get_server_pid()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await connection.fetchval("SELECT pg_sleep(30)", timeout=0.1)
            state = "SELECT state FROM pg_stat_activity WHERE pid = $1"
            assert await connection.fetchval("SELECT 7") == 7
            assert await other.fetchval(state, process) == "idle"


async def test_cancelled_task(address):
    async with connected(address) as connection, connected(address) as other:
        task = asyncio.create_task(connection.fetchval("SELECT pg_sleep(30)"))
        running = "SELECT query = 'SELECT pg_sleep(30)' FROM pg_stat_activity WHERE pid = $1 AND state = 'active'"
        while not await other.fetchval(running, connection.get_server_pid()):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await connection.fetchval("SELECT 7") == 7


async def test_pool(address):
    async with asyncpg.create_pool(**address, min_size=2, max_size=8) as pool:

        async def work(number):
            async with pool.acquire() as connection, connection.transaction():
                return await connection.fetchval(
                    "SELECT $1::int + sum(n)::int FROM generate_series(1, 100) AS n", number
                )

        assert await asyncio.gather(*(work(number) for number in range(100))) == [5050 + n for n in range(100)]
        assert pool.get_size() <= 8


async def test_connection_that_the_server_ends(address):
    async with connected(address) as connection, connected(address) as other:
        ended = asyncio.Event()
        connection.add_termination_listener(lambda connection: ended.set())
        assert await other.fetchval("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await asyncio.wait_for(ended.wait(), 10)
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.AdminShutdownError)):
            await connection.fetchval("SELECT 1")


async def test_tls_that_is_not_trusted(postgres):
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncpg.connect(
            host="localhost", port=postgres.port, user="tester", database="postgres", ssl=ssl.create_default_context()
        )
