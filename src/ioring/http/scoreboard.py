"""The figures of all workers: a table in shared memory, with a row for each process.

A worker writes its own row, about twice a second and when it is asked for figures; every process can read all rows.
Each number is one aligned word, which processors write at once. When a process has ended, the supervisor adds its
counters to the row of its worker's number, so that counters never decrease.
"""

import mmap
import os
import time

from ioring.http._service import Service

COUNTERS = (
    "requests",
    "accepted",
    "refused",
    "failures",
    "sent",
    "received",
    "status_1",
    "status_2",
    "status_3",
    "status_4",
    "status_5",
    "turns",
    "enters",
    "waits",
    "submissions",
    "completions",
    "rearmed",
    "starved",
    "restarts",
)
GAUGES = (
    "pid",  # 0: nobody has the row
    "number",  # of the worker, from 0 on
    "began_ms",  # since the epoch
    "beat",  # another number each time that the worker shows that its loop turns; 0: it does not
    "connections",
    "active",
    "memory",
    "in_flight",
    "buffers",
    "buffers_free",
    "slots",
    "slots_used",
    "ready",
    "timers",
)
FIELDS = COUNTERS + GAUGES
AT = {name: place for place, name in enumerate(FIELDS)}
LOOP = [name for name in FIELDS if name in ("turns", "enters", "waits", "submissions", "completions", "rearmed")]
LOOP += ["starved", "in_flight", "buffers", "buffers_free", "slots", "slots_used", "ready", "timers"]
HEAD = 2  # words before the rows: one that is odd while a row changes its place, and the number of workers
WORD = 8
PAGE = os.sysconf("SC_PAGE_SIZE")
READS_MAX = 100


class Statistics:
    """The table. Made before the workers are forked.

    Parameters:
        workers: how many there are. There is room for four times as many processes, since those that are replaced
            work on until their requests are done; one that finds no room is not counted.
        more: how many more there may be later.
    """

    def __init__(self, workers: int = 1, more: int = 0) -> None:
        self.room = workers + more
        self.rows = self.room * 5
        self.began = time.time()
        self._memory = mmap.mmap(-1, (HEAD + self.rows * len(FIELDS)) * WORD)
        self._words = memoryview(self._memory).cast("q")
        self._words[1] = workers

    @property
    def workers(self) -> int:
        """How many there are, or were when there were most."""
        return self._words[1]

    def widen(self, workers: int) -> None:
        """There are so many now."""
        self._words[1] = max(self._words[1], workers)

    def close(self) -> None:
        self._words.release()
        self._memory.close()

    def take(self, number: int, restarted: bool = False) -> int | None:
        """A row for a worker that begins; None when there is none."""
        if restarted:
            self._words[self._place(number) + AT["restarts"]] += 1
        for row in range(self.room, self.rows):
            place = self._place(row)
            if not self._words[place + AT["began_ms"]]:
                self._words[place + AT["number"]] = number
                self._words[place + AT["began_ms"]] = int(time.time() * 1000)
                return row
        return None

    def beat(self, row: int | None, number: int) -> None:
        """The worker's loop turns, or does not any more and has no need to: 0."""
        if row is not None:
            self._words[self._place(row) + AT["beat"]] = number

    def beat_of(self, row: int | None) -> int:
        """What a worker said last; 0 of one that is not counted."""
        return self._words[self._place(row) + AT["beat"]] if row is not None else 0

    def give_back(self, row: int | None) -> None:
        """The worker is gone."""
        if row is None:
            return
        words, place = self._words, self._place(row)
        past = self._place(words[place + AT["number"]])
        words[0] += 1  # odd: readers try again
        for offset in range(len(COUNTERS)):
            words[past + offset] += words[place + offset]
        for offset in range(len(FIELDS)):
            words[place + offset] = 0
        words[0] += 1

    def publish(self, row: int | None, service: Service) -> None:
        """Writes a worker's row."""
        if row is None:
            return
        words, place = self._words, self._place(row)
        statuses = service.statuses
        values = {
            "pid": os.getpid(),
            "requests": service.requests,
            "accepted": service.accepted,
            "refused": service.refused,
            "failures": service.failures,
            "sent": service.sent,
            "received": service.received,
            "connections": len(service.connections),
            "active": service.active,
            "memory": resident(),
        }
        for digit in range(1, 6):
            values[f"status_{digit}"] = statuses[digit]
        figures = getattr(service.loop, "statistics", None)  # asyncio's own loop has none
        if figures is not None:
            figures = figures()
            for name in LOOP:
                values[name] = figures[name]
        for name, value in values.items():
            words[place + AT[name]] = value

    def read(self) -> list[dict[str, int]]:
        """For each worker's number, a dict of what its processes did together."""
        for _ in range(READS_MAX):
            before = self._words[0]
            words = self._words.tolist()
            if not before & 1 and self._words[0] == before:
                break
        result = []
        for number in range(self.workers):
            place = self._place(number)
            result.append({name: words[place + AT[name]] for name in COUNTERS} | dict.fromkeys(GAUGES, 0))
        for row in range(self.room, self.rows):
            place = self._place(row)
            if not words[place + AT["pid"]]:
                continue
            total = result[words[place + AT["number"]]]
            for name in FIELDS:
                if name in ("pid", "number", "began_ms"):
                    total[name] = max(total[name], words[place + AT[name]])
                else:
                    total[name] += words[place + AT[name]]
        return result

    def _place(self, row: int) -> int:
        return HEAD + row * len(FIELDS)


def resident() -> int:
    """Bytes of memory that this process has."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read().split()[1]) * PAGE
    except OSError:
        return 0
