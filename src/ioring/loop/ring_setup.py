"""The loop's ring: its flags, its size, and the receive buffers."""

import errno
import resource
import time
from collections.abc import Sequence

from ioring.ring._buffer_ring import BufferRing
from ioring.ring.constants import SetupFlags
from ioring.ring.errors import RingUnavailable
from ioring.ring.ring import Ring

ENTRIES = 1024
ENTRIES_MIN = 32
COMPLETIONS = 8192

BUFFERS = 128
BUFFER_SIZE = 65536 + 64
"""In bytes. Not a power of two: then the beginnings of all buffers would fall into the same few lines of the cache."""

BUFFER_GROUP = 0

SLOTS_MAX = 65536
"""Most slots in the ring's file table."""

RELEASE_SECONDS = 0.02
"""How long to wait for memory: the kernel frees that of a closed ring a little later."""

RELEASE_ATTEMPTS = 5
"""How often to wait so when there is nothing smaller to try."""

# Buffers for datagrams, by whether the socket is a Unix one: group, number, size. Any datagram fits, behind 128 bytes
# for header and address: the kernel's limit is 64 KiB for UDP, and asyncio receives at most 256 KiB of others.
DATAGRAM_BUFFERS = {False: (1, 128, 65536 + 128 + 64), True: (2, 16, 262144 + 128 + 64)}

# From the best to the plainest: a kernel gets the first that it knows.
COMMON = SetupFlags.SUBMIT_ALL | SetupFlags.CLAMP | SetupFlags.R_DISABLED
ONE_THREAD = COMMON | SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN | SetupFlags.TASKRUN_FLAG
FLAGS = (
    ONE_THREAD | SetupFlags.NO_SQARRAY,
    ONE_THREAD,
    COMMON | SetupFlags.COOP_TASKRUN | SetupFlags.TASKRUN_FLAG,
    COMMON,
)
FLAGS_ANY_THREAD = (COMMON | SetupFlags.COOP_TASKRUN | SetupFlags.TASKRUN_FLAG, COMMON)


def open_ring(candidates: Sequence[SetupFlags]) -> tuple[Ring, BufferRing]:
    """A ring with the first flags that this kernel knows, as large as memory limits allow, and its receive buffers."""
    entries, completions, attempts = ENTRIES, COMPLETIONS, RELEASE_ATTEMPTS
    flags = list(candidates)
    while True:
        try:
            ring = Ring(entries, flags=flags[0], cq_entries=completions)
        except RingUnavailable as error:
            if error.errno == errno.EINVAL and len(flags) > 1:
                flags.pop(0)
                continue
            if error.errno != errno.ENOMEM or not attempts:
                raise
        else:
            try:
                buffers = BufferRing(BUFFERS, BUFFER_SIZE)
                ring.register_buf_ring(buffers, BUFFER_GROUP)
                return ring, buffers
            except BaseException as error:
                ring.close()
                if not isinstance(error, OSError) or error.errno != errno.ENOMEM:
                    raise
                if not attempts:
                    raise RingUnavailable(error.errno, error.strerror) from None
        time.sleep(RELEASE_SECONDS)
        if entries > ENTRIES_MIN:
            entries, completions = entries // 2, completions // 2
        else:
            attempts -= 1


def register_buffers(ring: Ring, count: int, size: int, group: int) -> BufferRing:
    """Buffers for a group, even if memory is short because a ring was closed a moment ago."""
    buffers = BufferRing(count, size)
    attempts = RELEASE_ATTEMPTS
    while True:
        try:
            ring.register_buf_ring(buffers, group)
            return buffers
        except OSError as error:
            attempts -= 1
            if error.errno != errno.ENOMEM or not attempts:
                raise
        time.sleep(RELEASE_SECONDS)


def file_table_size() -> int:
    """How many slots the ring's file table gets: as many as the limit on open files allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return SLOTS_MAX if soft == resource.RLIM_INFINITY else max(min(soft, SLOTS_MAX), 1)
