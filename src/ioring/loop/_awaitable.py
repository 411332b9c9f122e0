"""What compiled methods return to be awaited: coroutines for asyncio, but without a frame."""

import collections.abc

import cython


class Awaitable(EngineOp):
    """An object that is awaited once. It may be an operation besides."""

    def __init__(self):
        raise TypeError("comes from a loop's method, and is awaited")

    # What the kinds say.

    def step(self):
        """Goes on. Returns ``until(future)`` to wait for that; or sets ``finished``, and returns the result."""
        raise NotImplementedError

    def leave(self):
        """Nobody waits any more: the task was cancelled, or the coroutine closed."""
        return 0

    # The methods of a coroutine. `await` itself uses the slots of awaitable.h instead.

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
    """What throw() raises: it is given an exception, or a class and perhaps an exception."""
    if isinstance(kind, BaseException):
        return kind
    return kind() if value is None else value


def shown_as(it, owner, method, name):
    """__getattr__() of what a method returns: the names that tasks show. Cython has no properties of these names."""
    if name == "__name__":
        return method
    if name == "__qualname__":
        return f"{owner}.{method}"
    raise AttributeError(f"{type(it).__name__!r} object has no attribute {name!r}")


def advance(it, finished):
    awaitable: Awaitable = cython.cast(Awaitable, it)
    value = awaitable.step()
    finished[0] = awaitable.finished
    return value


ioring_awaitable_install(Awaitable, advance)
collections.abc.Coroutine.register(Awaitable)


class Ready(Awaitable):
    """An awaitable whose result, None, is there at once."""

    def step(self):
        self.finished = True
        return


READY = cython.declare(Ready, Ready.__new__(Ready))


def ready():
    """An awaitable that does not wait: always the same object, which may be awaited any number of times."""
    return READY
