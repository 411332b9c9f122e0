"""Calls that need no coroutine when the file's buffers already have what they want."""

import cython


class Quick(Awaitable):
    """A call that is answered from the buffers if possible, and by a coroutine otherwise."""

    def at_once(self):
        """The result, or None when the buffers are not enough."""
        return

    def slowly(self):
        """The coroutine that does it otherwise."""
        raise NotImplementedError

    def check(self, value):
        """Called with the result before it is given out."""
        return 0

    def step(self):
        finished: cython.int = False
        if self.coroutine is None:
            if self.begun:
                raise RuntimeError("cannot reuse already awaited coroutine")
            self.begun = True
            value = self.at_once()
            if value is not None:
                self.check(value)
                self.finished = True
                return value
            self.coroutine = self.slowly()
        value = ioring_send(self.coroutine, cython.address(finished))
        if finished:
            self.coroutine = None
            self.check(value)
            self.finished = True
        return value

    def throw(self, kind, value=None, traceback=None):
        self.begun = True
        if self.coroutine is not None:
            if isinstance(kind, BaseException):
                return self.coroutine.throw(kind)
            return self.coroutine.throw(kind, value, traceback)
        raise exception_of(kind, value)

    def close(self):
        self.begun = True
        if self.coroutine is not None:
            self.coroutine.close()
