"""Who uses a file's descriptor when.

Operations with the position run one after the other, in the order in which they were begun: each takes the file's turn
and gives it up again. A request that is cancelled holds its turn until the kernel is done with it.

Requests at an offset need no turn. The descriptor is lent to them, and is not closed before they have returned it.
"""

import asyncio
import collections

import cython

get_running_loop = cython.declare(object, asyncio.get_running_loop)


class Turns(Owner):
    """The order of a file's operations, and the loop that they belong to."""

    # What every operation asks first.

    def check_open(self):
        if self.detached:
            raise ValueError("raw stream has been detached")
        if self.shut or self.closing:
            raise ValueError("I/O operation on closed file.")
        return self.settle_core()

    def settle_core(self):
        """Finds the Engine for the running loop, if that is another loop than last time."""
        try:
            host = get_running_loop()
        except RuntimeError:
            # Another thread makes a request for the file's loop to await: asyncio.run_coroutine_threadsafe().
            if self.host is None or self.core._closed:
                raise
            return 0
        if host is not self.host or self.core._closed:
            core = self.find_engine(host)
            if self.host is not None and (self.core._closed or self.host.is_closed()):
                self.lent = 0  # the requests of a closed loop are over
            self.core = core
            self.host = host
        return 0

    # One after the other:
    #
    #     if not self.take_turn():
    #         await self._next_turn()
    #     try:
    #         ...
    #     finally:
    #         self.leave()
    #
    # Mostly nobody has the turn, and there is nothing to await. Awaiting something that is over already would cost a
    # small read of a text file five percent.

    def take_turn(self):
        """Takes the turn if nobody has it. Whether that was so."""
        if self.busy:
            return False
        self.busy = True
        return True

    async def _next_turn(self):
        """Waits for this operation's turn, which it has then.

        Raises:
            ValueError: the file was closed meanwhile.
        """
        await self._wait_for_turn()
        if self.shut:
            self.leave()
            raise ValueError("I/O operation on closed file.")

    async def _wait_for_turn(self):
        """The same, whatever becomes of the file meanwhile. The turn is handed over with ``busy`` set."""
        if self.waiting is None:
            self.waiting = collections.deque()
        future = self.host.create_future()
        self.waiting.append(future)
        try:
            await future
        except BaseException:
            if future.done() and not future.cancelled():
                self.leave()  # it had come already
            raise

    def leave(self):
        """The turn is over; the next one's has come."""
        if self.straggler is not None:
            return 0
        if self.sharing:
            self.share_position()
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                # The turn is handed over and never free in between: an operation that begins now has to wait.
                future.set_result(None)
                return 0
        self.busy = False
        if self.deserted:
            self.go_on_closing()
        return 0

    def share_position(self):
        """The file's position is the descriptor's own from now on."""
        return 0

    def go_on_closing(self):
        """A close() was cancelled, and nobody uses the descriptor now."""
        return 0

    def abandoned(self, op):
        self.straggler = op
        return 0

    def caught_up(self, op, res):
        if self.straggler is op:
            self.straggler = None
            self.leave()
        return 0

    # Requests that need no turn.

    def admit(self):
        if self.shut or self.closing:
            raise ValueError("I/O operation on closed file.")
        return 0

    def borrowed(self):
        self.lent += 1
        return 0

    def returned(self, core):
        if self.lent == 0 or (core is not self.core and core._closed):
            return 0
        self.lent -= 1
        if self.lent == 0:
            idle, self.idle = self.idle, None
            if idle is not None and not idle.done() and not idle.get_loop().is_closed():
                idle.set_result(None)
            elif self.deserted and not self.busy:
                self.go_on_closing()
        return 0
