"""NOPs through io_uring from Python, by one of the libraries.

    python nop.py ioring|liburing|liburing-array single|batch SECONDS

single: prepare, submit, wait, look at the completion, one at a time. batch: 256 are prepared, submitted together and
looked at. Every completion's user_data and res are checked, in every library. The ring has no setup flags. Time is
taken per chunk of NOPs, and the median chunk counts. Prints nanoseconds per NOP as a JSON object; nop.c does it in C.
"""

import json
import statistics
import sys
import time

BATCH = 256
CHUNK = 40 * BATCH


def ioring_single():
    import ioring

    ring = ioring.Ring(BATCH)

    def run():
        for i in range(CHUNK):
            sqe = ring.get_sqe()
            sqe.prep_nop()
            sqe.user_data = i
            ring.submit()
            cqe = ring.wait_cqe()
            if cqe.user_data != i or cqe.res != 0:
                raise AssertionError("a wrong completion")

    return run


def ioring_batch():
    import ioring

    ring = ioring.Ring(BATCH)

    def run():
        for _ in range(CHUNK // BATCH):
            for i in range(BATCH):
                sqe = ring.get_sqe()
                sqe.prep_nop()
                sqe.user_data = i
            ring.submit()
            expected = 0
            for cqe in ring.completions():
                if cqe.user_data != expected or cqe.res != 0:
                    raise AssertionError("a wrong completion")
                expected += 1
            if expected != BATCH:
                raise AssertionError(f"{expected} completions")

    return run


def liburing_single():
    from liburing import (
        Cqe,
        Ring,
        io_uring_cq_advance,
        io_uring_get_sqe,
        io_uring_prep_nop,
        io_uring_queue_init,
        io_uring_submit,
        io_uring_wait_cqe,
    )

    ring, cqe = Ring(), Cqe()
    io_uring_queue_init(BATCH, ring)

    def run():
        for i in range(CHUNK):
            sqe = io_uring_get_sqe(ring)
            io_uring_prep_nop(sqe)
            sqe.user_data = i
            io_uring_submit(ring)
            io_uring_wait_cqe(ring, cqe)
            entry = cqe[0]
            if entry.user_data != i or entry.res != 0:
                raise AssertionError("a wrong completion")
            io_uring_cq_advance(ring, 1)

    return run


def liburing_batch(prepare_by_array=False):
    from liburing import (
        Cqe,
        CqeIter,
        Ring,
        Sqe,
        io_uring_cq_advance,
        io_uring_get_sqe,
        io_uring_prep_nop,
        io_uring_queue_init,
        io_uring_submit,
        put_sqe,
    )

    ring, cqe, array = Ring(), Cqe(), Sqe(BATCH)
    io_uring_queue_init(BATCH, ring)

    def prepare():
        for i in range(BATCH):
            sqe = io_uring_get_sqe(ring)
            io_uring_prep_nop(sqe)
            sqe.user_data = i

    def prepare_array():
        for i in range(BATCH):
            sqe = array[i]
            io_uring_prep_nop(sqe)
            sqe.user_data = i
        if not put_sqe(ring, array):
            raise AssertionError("the submission queue is full")

    fill = prepare_array if prepare_by_array else prepare

    def run():
        for _ in range(CHUNK // BATCH):
            fill()
            io_uring_submit(ring)
            expected = 0
            # Indexing, cqe[1] and so on, does not wrap at the end of the queue; the iterator does, and is faster.
            for _ in CqeIter(ring, cqe):
                entry = cqe[0]
                if entry.user_data != expected or entry.res != 0:
                    raise AssertionError("a wrong completion")
                expected += 1
            io_uring_cq_advance(ring, expected)
            if expected != BATCH:
                raise AssertionError(f"{expected} completions")

    return run


SIDES = {
    ("ioring", "single"): ioring_single,
    ("ioring", "batch"): ioring_batch,
    ("liburing", "single"): liburing_single,
    ("liburing", "batch"): liburing_batch,
    ("liburing-array", "batch"): lambda: liburing_batch(prepare_by_array=True),
}


def main():
    try:
        library, mode, seconds = sys.argv[1:]
        make = SIDES[library, mode]
        seconds = float(seconds)
    except (KeyError, ValueError):
        sys.exit(__doc__)
    run = make()
    chunks = []
    start = time.perf_counter_ns()
    end = start + seconds * 1e9
    while start < end:
        run()
        now = time.perf_counter_ns()
        chunks.append((now - start) / CHUNK)
        start = now
    print(json.dumps({"ns_per_nop": round(statistics.median(chunks), 2), "nops": len(chunks) * CHUNK}))


if __name__ == "__main__":
    main()
