"""Copies a file: for each block a read and, linked to it, a write; several blocks at a time.

    python examples/copy_file.py SOURCE TARGET

A link says: start the write when the read has given all it was asked for. The kernel goes from one to the other
without the program in between. When a read or write was short, what is left of the block goes round again; where
nothing can be read any more, the file has become shorter meanwhile, and the copy ends there.
"""

import os
import stat
import sys
from collections import deque

import ioring

BLOCK_SIZE = 256 * 1024
BLOCKS = 8  # in flight


class Copy:
    """One block on its way: its place in the file, and what came of reading and writing it."""

    def __init__(self, offset: int, length: int, memory: memoryview) -> None:
        self.offset = offset
        self.length = length
        self.memory = memory
        self.read = 0

    def submit(self, ring: ioring.Ring, source: int, target: int) -> None:
        sqe = ring.get_sqe()
        sqe.prep_read(source, self.memory, self.length, self.offset)
        sqe.link = True
        sqe.user_data = self, "read"
        sqe = ring.get_sqe()
        sqe.prep_write(target, self.memory, self.length, self.offset)
        sqe.user_data = self, "write"


def copy(source: int, target: int, size: int) -> None:
    todo = deque((offset, min(BLOCK_SIZE, size - offset)) for offset in range(0, size, BLOCK_SIZE))
    memory = memoryview(bytearray(BLOCKS * BLOCK_SIZE))
    spare = [memory[begin : begin + BLOCK_SIZE] for begin in range(0, len(memory), BLOCK_SIZE)]
    # A link must not be torn by the end of the queue, where get_sqe() would submit its first half: so the queue has
    # room for all that can be in flight.
    with ioring.Ring(2 * BLOCKS) as ring:
        while todo or len(spare) < BLOCKS:
            while todo and spare:
                offset, length = todo.popleft()
                Copy(offset, length, spare.pop()).submit(ring, source, target)
            ring.submit_and_wait(1)
            for cqe in ring.completions():
                block, what = cqe.user_data
                if what == "read":
                    block.read = cqe.result()
                    continue
                spare.append(block.memory)
                if block.read == block.length:
                    written = cqe.result()
                    if written < block.length:
                        todo.append((block.offset + written, block.length - written))
                elif block.read > 0:  # the write was cancelled: what can be read, then the rest
                    todo += (block.offset, block.read), (block.offset + block.read, block.length - block.read)


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/copy_file.py SOURCE TARGET")
    source = os.open(sys.argv[1], os.O_RDONLY | os.O_CLOEXEC)
    status = os.fstat(source)
    if not stat.S_ISREG(status.st_mode):
        sys.exit(f"copy_file.py: not a regular file: {sys.argv[1]}")
    if os.path.exists(sys.argv[2]) and os.path.samefile(sys.argv[1], sys.argv[2]):
        sys.exit("copy_file.py: source and target are the same file")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    target = os.open(sys.argv[2], flags, stat.S_IMODE(status.st_mode))
    copy(source, target, status.st_size)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"copy_file.py: {error}")
