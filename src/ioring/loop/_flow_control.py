"""Flow control of writing: a protocol that writes faster than the other side reads is paused.

One class for all transports that write, TLS included. What they wrote they hand on in prepare(), before the loop's next
wait.
"""

RESUME_WRITING = "resume_writing"


class FlowControl(LoopOp):
    """A transport with a write buffer and the two limits of ``asyncio.WriteTransport``."""

    # What heirs give.

    def get_protocol(self):
        """The protocol that is paused and resumed."""
        raise NotImplementedError

    def call(self, name, argument):
        """protocol.name(argument), or protocol.name() when that is None, in the transport's context."""
        raise NotImplementedError

    def report(self, message, exception):
        """Tells the loop's exception handler what a method of the protocol has raised."""
        self.loop.call_exception_handler(
            {"message": message, "exception": exception, "transport": self, "protocol": self.get_protocol()}
        )
        return 0

    def drop_output(self):
        """Drops what was written and not handed on yet, and cancels the send in flight."""
        return 0

    # After the end.

    def count_lost(self, lost, message):
        """Something was written after the end, and is dropped: says so once, when it was LOST_WRITES_MAX times before.

        Returns how often it was, to be given again with the next one.
        """
        if lost == LOST_WRITES_MAX:
            self.loop._warn(message)
        return lost + 1 if lost <= LOST_WRITES_MAX else lost

    # The limits.

    def limit(self, high):
        """Sets the default limits, in bytes."""
        self.high_default = self.high = high
        self.low = high // 4
        return 0

    def get_write_buffer_size(self):
        """Bytes that were written and not handed on yet."""
        return self.size

    def get_write_buffer_limits(self):
        """The low and the high limit, in bytes."""
        return (self.low, self.high)

    def set_write_buffer_limits(self, high=None, low=None):
        """Sets the limits at which ``pause_writing`` and ``resume_writing`` are called, in bytes.

        Parameters:
            high: a larger write buffer pauses the protocol. Default: four times ``low``; without that 65536, and 524288
                for TLS.
            low: a write buffer of this size or less resumes it. Default: a quarter of ``high``.

        Raises:
            ValueError: not high >= low >= 0.
        """
        if high is None:
            high = self.high_default if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high = high
        self.low = low
        self.check_high()

    def check_high(self):
        if self.size <= self.high or self.protocol_paused:
            return 0
        return self.pause_protocol()

    def pause_protocol(self):
        self.protocol_paused = True
        try:
            self.get_protocol().pause_writing()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            self.report("protocol.pause_writing() failed", exception)
        return 0

    def check_low(self):
        if not self.protocol_paused or self.size > self.low:
            return 0
        self.protocol_paused = False
        try:
            self.call(RESUME_WRITING, None)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            self.report("protocol.resume_writing() failed", exception)
        return 0

    @property
    def _protocol_paused(self):
        """asyncio's own name for it, which programs look at."""
        return self.protocol_paused
