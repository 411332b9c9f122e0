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


class QuickFile:
    """A file that has lines and is written to through buffers: what the calls below need to know of it."""

    def line_at_once(self, limit):
        """The next line, or ``limit`` of it, or None when it cannot be had without waiting."""
        return

    def _readline_in_turn(self, limit):
        raise NotImplementedError

    def write_at_once(self, data):
        """Writes into the buffer. How much, or None when that is not possible without waiting."""
        return

    def _write_in_turn(self, data):
        raise NotImplementedError


class Line(Quick):
    """``await file.readline(limit)``, and what ``async for`` awaits.

    A program that reads line by line has one at a time. So the file keeps it when it is over, for the next line.
    """

    def at_once(self):
        return self.file.line_at_once(self.limit)

    def slowly(self):
        return self.file._readline_in_turn(self.limit)

    def check(self, value):
        file, self.file = self.file, None
        if file.spare is None:
            file.spare = self
        if self.iterating and not value:
            raise StopAsyncIteration
        return 0


class Writing(Quick):
    """``await file.write(data)``."""

    def at_once(self):
        return self.file.write_at_once(self.data)

    def slowly(self):
        return self.file._write_in_turn(self.data)


def new_line(file, limit, iterating):
    it: Line = file.spare
    if it is None or Py_REFCNT(it) != 2:  # the file's, and ours
        it = Line.__new__(Line)
    else:
        it.begun = it.finished = False
        it.coroutine = None
    file.spare = None
    it.file = file
    it.limit = limit
    it.iterating = iterating
    return it


def new_writing(file, data):
    it: Writing = Writing.__new__(Writing)
    it.file = file
    it.data = data
    return it
