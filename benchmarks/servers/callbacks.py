"""What a loop itself costs, without any I/O: one kind of operation, again and again.

    python callbacks.py --loop LOOP KIND SECONDS

call-soon    100 callbacks that each schedule themselves again; a turn of the loop runs all of them
call-later   1,000 timers outstanding; the oldest is cancelled and a new one started, 100 to a turn, as a server does
             with time-outs that are never reached
create-task  100 tasks started together and awaited one after the other; they do nothing
sleep-0      one task that gives up its turn, so that each is a whole turn of the loop
threadsafe   another thread calls call_soon_threadsafe and waits for the callback, which finds the loop asleep

Time is taken per chunk of operations, and the median chunk counts, so that being put off the processor once does not.
Prints the nanoseconds of an operation, and of the processor's time, as a JSON object.
"""

import argparse
import asyncio
import json
import statistics
import threading
import time
from collections import deque

from common import LOOPS, loop_factory

TOGETHER = 100  # operations to a turn of the loop
TIMERS = 1000
TIMEOUT_S = 60  # longer than anything here runs


class Chunks:
    """Times of chunks of operations, until the seconds are over."""

    def __init__(self, seconds, operations):
        self.operations = operations  # in a chunk
        self.wall_ns, self.cpu_ns = [], []
        self.wall, self.cpu = time.perf_counter_ns(), time.process_time_ns()
        self.end = self.wall + seconds * 1e9

    def over(self):
        """Ends a chunk; says whether it was the last."""
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        self.wall_ns.append((wall - self.wall) / self.operations)
        self.cpu_ns.append((cpu - self.cpu) / self.operations)
        self.wall, self.cpu = wall, cpu
        return wall >= self.end

    def numbers(self):
        return {
            "ns_per_operation": round(statistics.median(self.wall_ns), 2),
            "cpu_ns_per_operation": round(statistics.median(self.cpu_ns), 2),
            "operations": len(self.wall_ns) * self.operations,
        }


async def call_soon(seconds):
    loop = asyncio.get_running_loop()
    chunks = Chunks(seconds, 200 * TOGETHER)
    done = loop.create_future()
    count = 0

    def callback():
        nonlocal count
        count += 1
        if count == chunks.operations:
            count = 0
            if chunks.over():
                done.set_result(None)
        if not done.done():
            loop.call_soon(callback)

    for _ in range(TOGETHER):
        loop.call_soon(callback)
    await done
    return chunks


async def call_later(seconds):
    loop = asyncio.get_running_loop()

    def never():
        raise AssertionError("a cancelled timer ran")

    timers = deque(loop.call_later(TIMEOUT_S, never) for _ in range(TIMERS))
    chunks = Chunks(seconds, 100 * TOGETHER)
    while not chunks.over():
        for _ in range(chunks.operations // TOGETHER):
            for _ in range(TOGETHER):
                timers.popleft().cancel()
                timers.append(loop.call_later(TIMEOUT_S, never))
            await asyncio.sleep(0)
    for timer in timers:
        timer.cancel()
    return chunks


async def nothing():
    pass


async def create_task(seconds):
    loop = asyncio.get_running_loop()
    chunks = Chunks(seconds, 50 * TOGETHER)
    while not chunks.over():
        for _ in range(chunks.operations // TOGETHER):
            for task in [loop.create_task(nothing()) for _ in range(TOGETHER)]:
                await task
    return chunks


async def sleep_0(seconds):
    chunks = Chunks(seconds, 5000)
    while not chunks.over():
        for _ in range(chunks.operations):
            await asyncio.sleep(0)
    return chunks


async def threadsafe(seconds):
    loop = asyncio.get_running_loop()
    chunks = Chunks(seconds, 500)
    answer = threading.Lock()
    done = loop.create_future()

    def ask():
        answer.acquire()
        while not chunks.over():
            for _ in range(chunks.operations):
                loop.call_soon_threadsafe(answer.release)
                answer.acquire()
        loop.call_soon_threadsafe(done.set_result, None)

    thread = threading.Thread(target=ask)
    thread.start()
    await done
    thread.join()
    return chunks


KINDS = {
    "call-soon": call_soon,
    "call-later": call_later,
    "create-task": create_task,
    "sleep-0": sleep_0,
    "threadsafe": threadsafe,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", choices=LOOPS, required=True)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory(options.loop)) as runner:
        print(json.dumps(runner.run(KINDS[options.kind](options.seconds)).numbers()))


if __name__ == "__main__":
    main()
