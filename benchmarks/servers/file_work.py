"""What files cost in coroutines, by one of the libraries of file_libraries.py, on one of the loops.

    python file_work.py --loop LOOP --library LIBRARY KIND FOLDER SECONDS

random      4 KiB at random offsets of one file, by 64 tasks
direct      the same past the page cache
small       all files of the folder opened, read and closed, again and again, by 64 tasks
append      4 KiB appended to each of 32 files and fdatasync, by a task for each
sequential  one file read from its beginning to its end, again and again, by one task

The files are those of benchmarks/data.py. The length of what is read is always compared, the content one time in
sixteen. The longest pause is by how much a timer of a millisecond was late. Prints a JSON object.
"""

import argparse
import asyncio
import itertools
import json
import math
import os
import random
import shutil
import tempfile
import time

from common import LOOPS, loop_factory
from file_libraries import LIBRARIES
from pattern import BLOCK, content

TASKS = 64
APPENDING = 32
TOGETHER = 16  # operations between two looks at the clock; one of them is compared
CHUNK = 262144
TICK_S = 0.001

readers = set()  # loops keep only weak references to their tasks


class Pauses:
    """Ticks, and keeps by how much the latest one was late."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.longest = 0.0
        self.begin()

    def begin(self):
        self.due = time.perf_counter() + TICK_S  # uvloop's own clock has milliseconds only
        self.timer = self.loop.call_later(TICK_S, self.tick)

    def tick(self):
        self.longest = max(self.longest, time.perf_counter() - self.due)
        self.begin()

    def end(self):
        """The longest in milliseconds; the one that has not ended counts too."""
        self.timer.cancel()
        return max(self.longest, time.perf_counter() - self.due) * 1000


def check(right):
    if not right:
        raise RuntimeError("wrong bytes were read")


async def together(work, things, seconds):
    """A task for each of the things, until the seconds are over."""
    until = time.perf_counter() + seconds
    return await asyncio.gather(*(work(thing, until) for thing in things))


async def read_at_random(library, file, blocks, until):
    """Reads until then; how many blocks."""
    done = 0
    while True:
        for place in random.choices(range(blocks), k=TOGETHER):
            data = await library.read_at(file, place * BLOCK, BLOCK)
            check(len(data) == BLOCK)
        check(data == content(place))
        done += TOGETHER
        if time.perf_counter() >= until:
            return done


async def random_reads(library, folder, measured, **options):
    path = os.path.join(folder, "0")
    blocks = os.path.getsize(path) // BLOCK
    files = [await library.open(path, "rb", **options) for _ in range(TASKS)]

    async def work(file, until):
        return await read_at_random(library, file, blocks, until)

    await together(work, files, 0)
    with measured:
        measured.operations = sum(await together(work, files, measured.seconds))
    for file in files:
        await library.close(file)


async def begin_reading(library, folder):
    """Begins the tasks of ``random_reads``, which go on for ever."""
    path = os.path.join(folder, "0")
    blocks = os.path.getsize(path) // BLOCK
    files = [await library.open(path, "rb") for _ in range(TASKS)]
    for file in files:
        task = asyncio.create_task(read_at_random(library, file, blocks, math.inf))
        readers.add(task)


async def direct_reads(library, folder, measured):
    await random_reads(library, folder, measured, direct=True)


async def small_files(library, folder, measured):
    names = os.listdir(folder)
    paths = [(int(name), library.path(os.path.join(folder, name))) for name in names]
    size = os.path.getsize(paths[0][1])

    async def work(paths, until):
        done = 0
        for number, path in paths:
            data = await library.read_file(path)
            check(len(data) == size)
            done += 1
            if done % TOGETHER == 0:
                check(data == content(number)[:size])
                if time.perf_counter() >= until:
                    break
        return done

    # All of the files once, by whoever comes next.
    await together(work, [iter(paths)] * TASKS, 3600)
    with measured:
        measured.operations = sum(await together(work, [itertools.cycle(paths)] * TASKS, measured.seconds))


async def appends(library, folder, measured):
    folder = tempfile.mkdtemp(dir=folder)
    mode = "rb+" if isinstance(library, LIBRARIES["aiofile"]) else "ab"
    names = [os.path.join(folder, str(number)) for number in range(APPENDING)]
    for name in names:
        open(name, "xb").close()
    files = [await library.open(name, mode) for name in names]

    async def work(number, until):
        done = 0
        while True:
            await library.append(files[number], done * BLOCK, content(done))
            done += 1
            if time.perf_counter() >= until:
                return done

    with measured:
        counts = await together(work, range(APPENDING), measured.seconds)
    measured.operations = sum(counts)
    for file, name, count in zip(files, names, counts, strict=True):
        await library.close(file)
        with open(name, "rb") as found:
            check(all(found.read(BLOCK) == content(place) for place in range(count)) and not found.read(1))
    shutil.rmtree(folder)


async def sequential(library, folder, measured):
    path = os.path.join(folder, "0")
    size = os.path.getsize(path)

    async def whole():
        file = await library.open(path, "rb")
        for offset in range(0, size, CHUNK):
            data = await library.read(file, offset, CHUNK)
            check(len(data) == min(CHUNK, size - offset))
            check(data[-BLOCK:] == content((offset + len(data)) // BLOCK - 1))
        await library.close(file)

    with measured:
        until = time.perf_counter() + measured.seconds
        while True:
            await whole()
            measured.operations += 1
            if time.perf_counter() >= until:
                break
    measured.bytes = measured.operations * size


class Measured:
    """What is measured within its `with` statement."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.operations = 0
        self.bytes = 0

    def __enter__(self):
        self.pauses = Pauses()
        self.began, self.cpu_began = time.perf_counter(), time.process_time()

    def __exit__(self, *exception):
        self.wall = time.perf_counter() - self.began
        self.cpu = time.process_time() - self.cpu_began
        self.longest_pause_ms = self.pauses.end()

    def numbers(self):
        found = {
            "operations_per_second": round(self.operations / self.wall, 1),
            "cpu_us_per_operation": round(self.cpu * 1e6 / self.operations, 3),
            "longest_pause_ms": round(self.longest_pause_ms, 3),
        }
        if self.bytes:
            found["mb_per_second"] = round(self.bytes / self.wall / 1e6, 1)
        return found


KINDS = {
    "random": random_reads,
    "direct": direct_reads,
    "small": small_files,
    "append": appends,
    "sequential": sequential,
}


async def run(options):
    measured = Measured(options.seconds)
    await KINDS[options.kind](LIBRARIES[options.library](), options.folder, measured)
    return measured.numbers()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loop", choices=LOOPS, required=True)
    parser.add_argument("--library", choices=LIBRARIES, required=True)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder")
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory(options.loop)) as runner:
        print(json.dumps(runner.run(run(options))))


if __name__ == "__main__":
    main()
