# cython: boundscheck=False, nonecheck=False
"""Handles of scheduled callbacks, and the heap of timers.

For a program a Handle is the same as asyncio's, isinstance() included, but it takes a fraction of the time to make and
run.
"""

import asyncio
import reprlib
import threading

import cython
from cython.cimports.cpython.contextvars import PyContext_CopyCurrent
from cython.cimports.cpython.pythread import PyThread_get_thread_ident
from cython.cimports.ioring.loop.context_call import ioring_run
from cython.cimports.ioring.ring.assertions import IORING_ASSERTIONS, ioring_assert
from cython.cimports.ioring.ring.freelist import ioring_freelist_install, ioring_freelist_new

from ioring.loop.asyncio_private import ThreadSafeHandle as AsyncioThreadSafeHandle

THREADSAFE_HANDLE = cython.declare(object, AsyncioThreadSafeHandle)


def reraise():
    """Raises the exception that a call of context_call.h has left pending."""
    return -1


class Handle:
    """A callback that was scheduled (``asyncio.Handle``): what ``call_soon`` and ``call_soon_threadsafe`` return."""

    def __init__(self):
        raise TypeError("a Handle comes from a loop: call_soon(), call_soon_threadsafe()")

    @property
    def __class__(self):
        return asyncio.Handle

    def cancel(self):
        """Cancels the callback, unless it has run (``Handle.cancel``)."""
        if not self._cancelled:
            self._cancelled = True
            if self._loop.get_debug():
                # Made now, because the callback is dropped below.
                self._repr = repr(self)
            self._callback = None
            self._args = None

    def cancelled(self):
        """Whether ``cancel`` was called."""
        return self._cancelled

    def get_context(self):
        """The ``contextvars.Context`` that the callback runs in."""
        return self._context

    def run(self):
        """Calls the callback. Exceptions go to the loop's handler, but for KeyboardInterrupt and SystemExit."""
        if self._cancelled:
            return 0
        if ioring_run(self._context, self._callback, self._args) < 0:
            return self.report()
        return 0

    def report(self):
        """The callback has raised: tells the loop's exception handler."""
        try:
            reraise()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            context = {
                "message": f"Exception in callback {describe(self._callback, self._args)}",
                "exception": exception,
                "handle": self,
            }
            if self._source_traceback:
                context["source_traceback"] = self._source_traceback
            self._loop.call_exception_handler(context)
        return 0

    def _run(self):
        self.run()

    def _parts(self):
        parts = [type(self).__name__]
        if self._cancelled:
            parts.append("cancelled")
        if self._callback is not None:
            parts.append(describe(self._callback, self._args))
        if self._source_traceback:
            frame = self._source_traceback[len(self._source_traceback) - 1]
            parts.append(f"created at {frame[0]}:{frame[1]}")
        return parts

    def __repr__(self):
        if self._repr is not None:
            return self._repr
        return f"<{' '.join(self._parts())}>"


class ThreadSafeHandle(Handle):
    """What ``call_soon_threadsafe`` returns from Python 3.14 on, as asyncio's own loop.

    Other threads that cancel it, or ask whether it was cancelled, wait while its callback runs. So nothing of the
    callback happens after ``cancel`` has returned.
    """

    @property
    def __class__(self):
        return THREADSAFE_HANDLE

    def cancel(self):
        """Cancels the callback, unless it has run (``Handle.cancel``)."""
        self.settle()
        Handle.cancel(self)

    def cancelled(self):
        """Whether ``cancel`` was called."""
        self.settle()
        return self._cancelled

    def run(self):
        if self._cancelled:
            return 0
        self.runner = PyThread_get_thread_ident()
        try:
            return Handle.run(self)
        finally:
            self.runner = 0
            if self.finished is not None:
                self.finished.set()

    def settle(self):
        """Waits while another thread runs the callback."""
        if self.runner != 0 and self.runner != PyThread_get_thread_ident():
            event = threading.Event()
            if self.finished is None:
                self.finished = event
            if self.runner != 0:  # otherwise it has ended meanwhile, and did not see the event
                self.finished.wait()
        return 0


class TimerHandle(Handle):
    """A callback for a certain time (``asyncio.TimerHandle``): what ``call_later`` and ``call_at`` return."""

    def __cinit__(self):
        self.position = -1

    @property
    def __class__(self):
        return asyncio.TimerHandle

    def cancel(self):
        """Cancels the callback, unless it has run, and removes it from the loop (``TimerHandle.cancel``)."""
        if self.position >= 0:
            self.timers.remove(self)
        Handle.cancel(self)

    def when(self):
        """The time that it is scheduled for, by the loop's clock, in seconds."""
        return self._when

    @property
    def _scheduled(self):
        return self.position >= 0

    def _parts(self):
        parts = Handle._parts(self)
        parts.insert(2 if self._cancelled else 1, f"when={self._when}")
        return parts

    def __hash__(self):
        return hash(self._when)

    def __lt__(self, other):
        if isinstance(other, asyncio.TimerHandle):
            return self._when < other.when()
        return NotImplemented

    def __le__(self, other):
        if isinstance(other, asyncio.TimerHandle):
            return self._when <= other.when()
        return NotImplemented

    def __gt__(self, other):
        if isinstance(other, asyncio.TimerHandle):
            return self._when > other.when()
        return NotImplemented

    def __ge__(self, other):
        if isinstance(other, asyncio.TimerHandle):
            return self._when >= other.when()
        return NotImplemented

    def __eq__(self, other):
        return self is other


class Timers:
    """A binary heap whose members know their position, so that one that is cancelled is removed at once."""

    def __cinit__(self):
        self.heap = []

    def push(self, handle):
        handle.sequence = self.sequence
        self.sequence += 1
        handle.timers = self
        if self.count == len(self.heap):
            self.heap.append(None)
        self.count += 1
        return self.rise(handle, self.count - 1)

    def remove(self, handle):
        last: TimerHandle
        place: cython.Py_ssize_t = handle.position
        ioring_assert(handle.timers is self)
        ioring_assert(place >= 0)
        ioring_assert(place < self.count)
        if IORING_ASSERTIONS:
            ioring_assert(self.heap[place] is handle)
        handle.position = -1
        handle.timers = None
        self.count -= 1
        last = cython.cast(TimerHandle, self.heap[self.count])
        self.heap[self.count] = None
        if last is not handle:
            self.rise(last, place)
            if last.position == place:
                self.sink(last, place)
        return 0

    def first(self):
        ioring_assert(self.count > 0)
        return cython.cast(TimerHandle, self.heap[0])

    def rise(self, handle, place):
        """Puts a handle at a position or above it, and moves those that are later down."""
        above: cython.Py_ssize_t
        other: TimerHandle
        while place > 0:
            above = (place - 1) >> 1
            other = cython.cast(TimerHandle, self.heap[above])
            if other._when < handle._when or (other._when == handle._when and other.sequence < handle.sequence):
                break
            self.heap[place] = other
            other.position = place
            place = above
        self.heap[place] = handle
        handle.position = place
        return 0

    def sink(self, handle, place):
        """Puts a handle at a position or below it, and moves those that are earlier up."""
        below: cython.Py_ssize_t
        other: TimerHandle
        right: TimerHandle
        while True:
            below = 2 * place + 1
            if below >= self.count:
                break
            other = cython.cast(TimerHandle, self.heap[below])
            if below + 1 < self.count:
                right = cython.cast(TimerHandle, self.heap[below + 1])
                if right._when < other._when or (right._when == other._when and right.sequence < other.sequence):
                    other = right
                    below += 1
            if handle._when < other._when or (handle._when == other._when and handle.sequence < other.sequence):
                break
            self.heap[place] = other
            other.position = place
            place = below
        self.heap[place] = handle
        handle.position = place
        return 0

    def clear(self):
        handle: TimerHandle
        heap, self.heap, self.count = self.heap, [], 0
        for handle in heap:
            if handle is not None:
                handle.position = -1
                handle.timers = None
        return 0


def describe(callback, args):
    """A callback with its arguments, and where it is defined, as text for messages."""
    import functools
    import inspect

    suffix = ""
    while isinstance(callback, functools.partial):
        keywords = [f"{name}={reprlib.repr(value)}" for name, value in callback.keywords.items()]
        suffix = f"({', '.join([*map(reprlib.repr, args or ()), *keywords])}){suffix}"
        callback, args = callback.func, callback.args
    name = getattr(callback, "__qualname__", None) or getattr(callback, "__name__", None) or repr(callback)
    text = f"{name}({', '.join(map(reprlib.repr, args or ()))}){suffix}"
    code = getattr(inspect.unwrap(callback) if callable(callback) else callback, "__code__", None)
    if code is not None:
        text += f" at {code.co_filename}:{code.co_firstlineno}"
    return text


def set_up(handle, callback, args, context, loop):
    """Says what a new handle calls."""
    handle._callback = callback
    handle._args = args
    handle._context = PyContext_CopyCurrent() if context is None else context
    handle._loop = loop
    return 0


def new_handle(callback, args, context, loop):
    handle: Handle = cython.cast(Handle, ioring_freelist_new())
    set_up(handle, callback, args, context, loop)
    return handle


def new_threadsafe_handle(callback, args, context, loop):
    handle: ThreadSafeHandle
    if THREADSAFE_HANDLE is None:
        return new_handle(callback, args, context, loop)
    handle = ThreadSafeHandle.__new__(ThreadSafeHandle)
    set_up(handle, callback, args, context, loop)
    return handle


ioring_freelist_install(Handle.__new__(Handle))
