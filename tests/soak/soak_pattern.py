"""Bytes that tell where they belong, for the soak: one lost, doubled or out of place shows."""

import random

LENGTH = (1 << 20) + 7
_BLOCK = random.Random(1).randbytes(LENGTH)
_TWICE = _BLOCK + _BLOCK  # so that no slice has to be put together


class Mangled(AssertionError):
    """What arrived is not what was sent."""


class Pattern:
    """A stream of bytes that both sides know from a number."""

    def __init__(self, seed):
        self.seed = seed
        self.count = 0

    def take(self, size):
        """The next so many bytes, to be sent."""
        assert size <= LENGTH
        start = (self.seed + self.count) % LENGTH
        self.count += size
        return _TWICE[start : start + size]

    def check(self, data):
        """That these are the next bytes; they were received."""
        before = self.count
        expected = self.take(len(data))
        if expected != data:
            at = next(place for place, pair in enumerate(zip(expected, data, strict=True)) if pair[0] != pair[1])
            where = _TWICE.find(bytes(data[at : at + 16]))
            found = f"the bytes of offset {(where - self.seed) % LENGTH}" if where >= 0 else "no bytes of the stream"
            raise Mangled(f"at offset {before + at} of stream {self.seed} there are {found}")
