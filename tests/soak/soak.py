"""A mixed load on one loop, for minutes or for hours: everything at once, as in a server with many kinds of clients.

    python -m soak --minutes 60 --direct --seed 7      (here, with ioring and tests/helpers on the path)

Workers draw kinds of work (soak_kinds) from a shuffled deck. Every byte that arrives is compared with what was sent.
After each round there is silence, and everything has to be as it was: tasks, requests in flight, descriptors, slots,
buffers. Memory is compared between the end of the first third, when everything has been seen once, and the end.
"""

import argparse
import asyncio
import collections
import concurrent.futures
import contextlib
import ctypes
import gc
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings

import soak_servers
from soak_kinds import KINDS
from soak_pattern import Pattern
from tls_peer import Certificates

WORKERS = 24
THREADS = 12
ROUND_S = 300.0
JOB_S = 120.0
"""No piece of work takes so long, on any machine; it hangs."""

QUIET_S = 60.0
"""So long may what is left of a round take to end."""

BLOCKS = (1.02, 5000)
RSS = (1.05, 16 << 20)
"""Memory at the end: at most so many times, plus so much, what it was after the first third.

In blocks of Python's allocator, which hardly vary; and in bytes of the process, which vary with how the C library's
heap is cut up. A leak of a kilobyte a connection shows in the first within a minute, and in the second within some.
"""

ALSO = (
    "pause_writing",
    "resume_writing",
    "pause_reading",
    "set_protocol",
    "sendfile",
    "timeout",
)
"""What the kinds of work bring about on the way."""


class Failed(AssertionError):
    pass


class Soak:
    def __init__(self, loop, folder, seed):
        self.loop = loop
        self.on_ring = hasattr(loop, "statistics")
        self.folder = pathlib.Path(folder)
        self.seed = seed
        self.rng = random.Random(seed)
        self.did = collections.Counter()
        self.connections = {}  # protocols of servers
        self.servers = []
        self.tasks = set()
        self.failures = []
        self.deck = []
        self.threads = concurrent.futures.ThreadPoolExecutor(THREADS)
        self.file = self.folder / "file"
        with open(self.file, "wb") as file:
            pattern = Pattern(soak_servers.FILE_SEED)
            while file.tell() < soak_servers.FILE_SIZE:
                file.write(pattern.take(min(1 << 20, soak_servers.FILE_SIZE - file.tell())))
        certificates = Certificates(self.folder)
        self.server_context, self.client_context = certificates.server(), certificates.client()

    def start(self, coroutine):
        """A task of a server's."""
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def reported(self, loop, context):
        exception = context.get("exception")
        if not self.on_ring and "_call_connection_lost" in context["message"]:
            return  # asyncio's own transports sometimes end twice when sendfile() is broken off
        trace = "".join(traceback.format_exception(exception)) if exception else ""
        self.failures.append(f"{context['message']}: {context}\n{trace}")

    # The load.

    def draw(self):
        if not self.deck:
            self.deck = [name for name, (_, times) in KINDS.items() for _ in range(times)]
            self.rng.shuffle(self.deck)
        return self.deck.pop()

    async def work(self, until):
        while self.loop.time() < until and not self.failures:
            name = self.draw()
            seed = self.rng.getrandbits(32)
            try:
                async with asyncio.timeout(JOB_S):
                    await KINDS[name][0](self, random.Random(seed))
            except Exception:
                self.failures.append(f"{name}, seed {seed}:\n{traceback.format_exc()}")
                raise
            self.did[name] += 1

    async def round(self, seconds):
        until = self.loop.time() + seconds
        endpoint = await soak_servers.start_datagrams(self)
        workers = [asyncio.create_task(self.work(until)) for _ in range(WORKERS)]
        _, pending = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        for worker in pending:
            worker.cancel()
        await asyncio.wait(workers)
        for worker in workers:
            if not worker.cancelled():
                worker.exception()  # one of self.failures
        endpoint.close()

    # The silence.

    def busy(self):
        """What is not at rest yet, or None."""
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if tasks:
            return f"tasks: {tasks}"
        if self.connections:
            return f"{len(self.connections)} connections of servers: {list(self.connections)[:5]}"
        if self.on_ring:
            now = self.loop.statistics()
            wanted = {
                "in_flight": self.idle + len(self.servers),
                "slots_used": 0,
                "buffers_free": now["buffers"],
                "ready": 0,
                "timers": 0,
            }
            found = {key: now[key] for key in wanted}
            if found != wanted:
                return f"{found} instead of {wanted}"
        return None

    async def quiet(self):
        deadline = self.loop.time() + QUIET_S
        while True:
            gc.collect()
            await asyncio.sleep(0.02)
            busy = self.busy()
            if busy is None:
                return
            if self.loop.time() > deadline:
                raise Failed(f"left over: {busy}")

    def failed(self):
        if self.failures:
            first = "\n".join(self.failures[:3])
            raise Failed(f"seed {self.seed}: {len(self.failures)} failures, the first of them:\n{first}")

    async def run(self, seconds, say):
        """Everything; what was done, as a Counter."""
        self.loop.set_exception_handler(self.reported)
        self.idle = self.loop.statistics()["in_flight"] if self.on_ring else 0
        self.addresses = await soak_servers.start(self, self.folder)
        rounds = max(3, round(seconds / ROUND_S))
        for number in range(rounds):
            await self.round(seconds / rounds)
            self.failed()
            await self.quiet()
            self.failed()
            memory = Memory()
            say(f"round {number + 1} of {rounds}: {sum(self.did.values())} done, {memory}")
            if number == rounds // 3 - 1 or number == 0:
                first = memory
        first.compare(memory)
        wanted = [*KINDS, *ALSO, *(["cancelled sock_recv"] if self.on_ring else [])]
        missing = [name for name in wanted if not self.did[name]]
        if missing:
            raise Failed(f"these were never done: {missing}")
        await self.end()
        return self.did

    def give_up(self):
        """Ends what still runs, after a failure."""
        for server in self.servers:
            server.close()
        for connection in self.connections:
            getattr(connection, "transport", None) and connection.transport.abort()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=JOB_S))

    async def end(self):
        for server in self.servers:
            server.close()
            await server.wait_closed()
        self.servers.clear()
        self.threads.shutdown()
        await self.quiet()
        self.failed()


class Memory:
    """What the process uses, when everything that can be given back is."""

    def __init__(self):
        gc.collect()
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        self.blocks = sys.getallocatedblocks()
        with open("/proc/self/statm") as file:
            self.rss = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        self.descriptors = {}
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                self.descriptors[name] = os.readlink(f"/proc/self/fd/{name}")
        self.threads = threading.active_count()
        self.objects = collections.Counter(type(thing).__qualname__ for thing in gc.get_objects())

    def __str__(self):
        return (
            f"{self.blocks} blocks, {self.rss >> 20} MiB, {len(self.descriptors)} descriptors, {self.threads} threads, "
            f"{sum(self.objects.values())} objects"
        )

    def compare(self, later):
        grown = "; more of: " + ", ".join(
            f"{name} {count}" for name, count in (later.objects - self.objects).most_common(15)
        )
        if len(later.descriptors) > len(self.descriptors):
            new = {number: name for number, name in later.descriptors.items() if self.descriptors.get(number) != name}
            raise Failed(f"left open: {new}{grown}")
        if "libasan" in os.environ.get("LD_PRELOAD", ""):
            return  # its allocator keeps what is freed
        if later.blocks > self.blocks * BLOCKS[0] + BLOCKS[1]:
            raise Failed(f"memory has grown: {self.blocks} blocks, then {later.blocks}{grown}")
        if later.rss > self.rss * RSS[0] + RSS[1]:
            raise Failed(f"memory has grown: {self.rss} bytes, then {later.rss}{grown}")


def soak(loop, folder, seconds, seed, say=lambda line: None):
    """Runs the soak on a loop and closes the loop; what was done, as a Counter."""
    it = Soak(loop, folder, seed)
    try:
        with warnings.catch_warnings():
            # What is dropped without close() says so.
            warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
            done = loop.run_until_complete(it.run(seconds, say))
        loop.run_until_complete(loop.shutdown_default_executor())
        return done
    finally:
        it.give_up()
        it.threads.shutdown()
        loop.close()


def main():
    parser = argparse.ArgumentParser(description="A mixed load on one loop.")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--direct", action="store_true", help="with direct descriptors")
    parser.add_argument("--asyncio", action="store_true", help="on asyncio's own loop, to see that the load is right")
    options = parser.parse_args()
    if options.asyncio:
        loop = asyncio.SelectorEventLoop()
    else:
        import ioring

        loop = ioring.Loop(direct_descriptors=options.direct)
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        done = soak(loop, folder, options.minutes * 60, options.seed, lambda line: print(line, flush=True))
    for name, count in sorted(done.items()):
        print(f"{count:8} {name}")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr.decode())
