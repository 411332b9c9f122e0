"""What compiled calls return to be awaited: coroutines to asyncio, without a frame."""

import collections.abc

import cython


class Awaitable:
    """Something that is awaited once."""

    def __init__(self):
        raise TypeError("comes from a loop's method, and is awaited")

    # What the kinds say.

    def step(self):
        """Goes on: the future to wait for, or, with ``finished`` set, the result."""
        raise NotImplementedError

    def leave(self):
        """Nobody waits any more."""
        return 0

    # What asyncio asks of a coroutine. `await` itself goes by the slots of awaitable.h.

    def run(self):
        value = self.step()
        if self.finished:
            raise StopIteration(value)
        return value

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.run()

    def send(self, value):
        return self.run()

    def throw(self, kind, value=None, traceback=None):
        self.leave()
        raise exception_of(kind, value)

    def close(self):
        self.leave()


def exception_of(kind, value):
    """What throw() is to raise: it is given an exception, or a class and perhaps an exception."""
    if isinstance(kind, BaseException):
        return kind
    return kind() if value is None else value


def advance(it, finished):
    awaitable: Awaitable = cython.cast(Awaitable, it)
    value = awaitable.step()
    finished[0] = awaitable.finished
    return value


ioring_awaitable_install(Awaitable, advance)
collections.abc.Coroutine.register(Awaitable)
