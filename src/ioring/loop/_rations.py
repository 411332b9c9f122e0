"""Who may receive when a loop has too few buffers for all.

Usually nobody asks: a connection has one multishot receive, which takes as many buffers as there are data. When all
buffers of a turn are in use, other receives end with ENOBUFS. From then on buffers are scarce, until they have sufficed
for a while, and these rules hold:

- A receive is for one buffer, so in a turn a connection gets no more than that. A multishot one that brings much is
  cancelled.
- Whoever found no buffer waits in a line, and so does whoever has just received much and goes on, behind the others. At
  the beginning of a turn as many of them have their receives submitted as there are buffers, but for a reserve.
- The reserve is for those who receive little: connections that are new, and messages of which each waits for an answer.
  They need not stand in the line behind hundreds of uploads. But only so many in a turn that the line gets its part.

So of those that have much to receive everybody gets a buffer before anybody gets the next one.
"""

import collections

import cython

CALM_TURNS = cython.declare(cython.uint, 16)
"""After so many turns in a row in which buffers have sufficed they are not scarce any more."""


class Rations:
    """The line of receives that wait for one of a loop's buffers. An operation that waits has its retry() called."""

    def __cinit__(self, buffers):
        self.buffers = buffers
        self.line = collections.deque()  # each operation is in it once: they see to that
        self.reserve = self.buffers.entries // 4
        self.much = self.buffers.buffer_size // 4

    def starved(self):
        """A receive has found no buffer."""
        self.scarce = True
        self.calm = 0
        return 0

    def received(self, res):
        """Whether a receive has brought much, as long as buffers are scarce."""
        if res < cython.cast(int64_t, self.much):
            return False
        self.large += 1
        return True

    def spared(self):
        """Whether a receive that is likely to bring little may be submitted at once, in spite of the line."""
        if self.spare == 0:
            return False
        self.spare -= 1
        return True

    def serve(self):
        """Begins a turn in which buffers are scarce: the first in the line are submitted."""
        op: EngineOp
        count: cython.Py_ssize_t = len(self.line)
        share: cython.Py_ssize_t = max(cython.cast(cython.Py_ssize_t, self.buffers.available) - self.reserve, 1)
        # One connection that receives much takes nothing from others.
        self.calm = self.calm + 1 if count <= share and self.large <= 1 else 0
        if self.calm >= CALM_TURNS:
            self.scarce = False
        self.large = 0
        self.spare = self.reserve
        count = min(count, share)
        while count > 0 and self.line:
            count -= 1
            op = self.line.popleft()
            op.retry()
        return 0
