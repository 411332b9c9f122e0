"""Libraries of one purpose: aiosqlite (a thread per connection), aiodns (add_reader or a thread), watchfiles."""

import asyncio
import socket

import pytest

pytestmark = pytest.mark.no_sanitizer


async def test_aiosqlite(tmp_path):
    aiosqlite = pytest.importorskip("aiosqlite", reason="aiosqlite is not installed")
    async with aiosqlite.connect(tmp_path / "base") as base:
        await base.execute("CREATE TABLE numbers (n INTEGER)")
        await base.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(1000)])
        await base.commit()
        async with base.execute("SELECT n FROM numbers ORDER BY n") as cursor:
            assert [row[0] async for row in cursor] == list(range(1000))
        with pytest.raises(aiosqlite.OperationalError):
            await base.execute("SELECT * FROM nothing")


async def test_aiodns_resolves_localhost():
    aiodns = pytest.importorskip("aiodns", reason="aiodns is not installed")
    async with aiodns.DNSResolver() as resolver:
        found = await resolver.getaddrinfo("localhost", port=80, family=socket.AF_INET)
        assert found.nodes[0].addr == (b"127.0.0.1", 80)


async def test_aiodns_asks_a_server():
    """A name server of our own, which answers every question with one address."""
    aiodns = pytest.importorskip("aiodns", reason="aiodns is not installed")
    asked = []

    class NameServer(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            end = data.index(b"\0", 12) + 5
            asked.append(data[12:end])
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\1\2\3"
            self.transport.sendto(data[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + data[12:end] + answer, address)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    async with aiodns.DNSResolver([f"127.0.0.1:{port}"], timeout=5, tries=2) as resolver:
        answers = await asyncio.gather(*(resolver.query_dns(f"host{n}.test.", "A") for n in range(20)))
    transport.close()
    assert {record.data.addr for answer in answers for record in answer.answer} == {"10.1.2.3"}
    assert {question.split(b"\x04test")[0][1:] for question in asked} == {b"host%d" % n for n in range(20)}


async def test_watchfiles(tmp_path):
    watchfiles = pytest.importorskip("watchfiles", reason="watchfiles is not installed")
    over, ready = asyncio.Event(), asyncio.Event()

    async def watch():
        watching = watchfiles.awatch(
            tmp_path, stop_event=over, debounce=10, step=5, rust_timeout=20, yield_on_timeout=True
        )
        async for changes in watching:
            ready.set()
            if any(path.endswith("new") for _, path in changes):
                return changes
        raise AssertionError("it stopped watching")

    task = asyncio.create_task(watch())
    await ready.wait()
    (tmp_path / "new").write_text("here")
    assert (watchfiles.Change.added, str(tmp_path / "new")) in await task
    over.set()
