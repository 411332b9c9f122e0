"""Requests for ioring.os, Path and whole files: attributes, small files in one step, parts of large ones, threads."""

import asyncio

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.libc.errno import EAGAIN, EISDIR, EOPNOTSUPP
from cython.cimports.posix.unistd import close

get_running_loop = cython.declare(object, asyncio.get_running_loop)

SMALL_MAX = cython.declare(int64_t, 65536)
"""A file of this size is read in one step: some ten microseconds."""

PAGE = cython.declare(int64_t, 4096)

NAME_COST = cython.declare(int64_t, 4096)
"""What a look at a name costs, in bytes read: a microsecond or two."""


class Stat:
    """statx: at once when the kernel has it in its caches."""

    def cost(self):
        return NAME_COST

    def attempt(self):
        self.result = stat_known(self.fd, PyBytes_AS_STRING(self.name), self.flags, cython.address(self.found))
        return self.result != -EAGAIN

    def fill(self, sqe):
        sqe.opcode = URING_OP_STATX
        sqe.fd = self.fd
        sqe.addr = cython.cast(cython.size_t, PyBytes_AS_STRING(self.name))
        sqe.len = IORING_STATX_WANTED
        sqe.off = cython.cast(cython.size_t, cython.address(self.found))
        sqe.op_flags = self.flags
        return 0

    def blocking(self):
        error: cython.int
        name: cython.p_char = PyBytes_AS_STRING(self.name)
        with cython.nogil:
            error = ioring_statx(self.fd, name, self.flags, cython.address(self.found))
        return error

    def finish(self):
        # As os.path has it: these errors mean no, and so does any other.
        if self.brief and self.result < 0 and self.cancellation is None:
            self.found.mode = 0
            self.result = 0
        return FileOp.finish(self)

    def outcome(self):
        return self.found.mode if self.brief else stat_result_of(cython.address(self.found))


def stat(core, path, folder, name, follow):
    """os.stat_result of a name, which ends with a NUL, or of the descriptor ``folder`` when it is None."""
    it: Stat = _stat(core, folder, name, follow)
    it.path = path
    return it


def mode_of(core, folder, name, follow):
    """The mode alone, 0 when nothing can be found out."""
    it: Stat = _stat(core, folder, name, follow)
    it.brief = True
    return it


def _stat(core, folder, name, follow):
    it: Stat = Stat.__new__(Stat)
    it.loop = core
    it.fd = folder
    it.flags = 0 if follow else AT_SYMLINK_NOFOLLOW
    if name is None:
        it.flags |= AT_EMPTY_PATH
        name = b"\0"
    it.name = name
    return it


class ReadSmall:
    """A whole file, if it is small and cached. What it gives is the data, a descriptor, or -1.

    A descriptor is that of a larger file, or of one that is not cached. With -1 not even the name is.
    """

    def cost(self):
        return 2 * NAME_COST

    def attempt(self):
        n: int64_t
        size: int64_t
        data: object
        fd: cython.int = open_known(self.fd, PyBytes_AS_STRING(self.name), 0, cython.address(self.found))
        if fd < 0:
            self.result = -1 if fd == -EAGAIN else fd
            if fd == -EAGAIN:
                self.result = 0
                self.fd = -1
            return True
        self.result = 0
        self.fd = fd
        if self.found.mode & 0o170000 == 0o040000:
            close(fd)
            self.result = -EISDIR
            return True
        size = self.found.size
        # The size of the file that was opened may be another; so one byte more is asked for. And at the end of a page
        # less than was asked for may mean that the next page is not cached.
        if size > SMALL_MAX:
            return True
        data = PyBytes_FromStringAndSize(cython.NULL, size + 1)
        n = ioring_read_now(fd, PyBytes_AS_STRING(data), size + 1, 0)
        if n == -EOPNOTSUPP and in_memory(cython.address(self.found)):
            n = ioring_read_blocking(fd, PyBytes_AS_STRING(data), size + 1, 0)
        if n == size and (size % PAGE != 0 or self.size_now() == size):
            self.loop.immediate_left -= n
            self.data = data[:n]
            close(fd)
            self.fd = -1
        return True

    def size_now(self):
        ioring_statx(self.fd, b"", AT_EMPTY_PATH, cython.address(self.found))
        return self.found.size

    def outcome(self):
        return self.fd if self.data is None else self.data

    def drop(self):
        if self.fd >= 0:
            close(self.fd)
        return 0


def read_small(core, path, folder, name):
    """A request for a file in one step; the name ends with a NUL."""
    it: ReadSmall = ReadSmall.__new__(ReadSmall)
    it.loop = core
    it.path = path
    it.fd = folder
    it.name = name
    return it


class Part:
    """A part of a file, into its place in a bytes object that nobody else has yet."""

    def cost(self):
        return NAME_COST + cython.cast(int64_t, self.size - self.done)

    def attempt(self):
        n: int64_t = ioring_read_now(self.fd, self.memory, self.size, self.offset)
        if n < 0:
            self.never_at_once = n == -EOPNOTSUPP
            return False
        self.done = n
        self.result = n
        return n == 0 or self.done == self.size

    def fill(self, sqe):
        sqe.opcode = URING_OP_READ
        if self.never_at_once:
            # The kernel would read all of it in the loop's thread, and the other parts too: tmpfs.
            sqe.flags = URING_SQE_ASYNC
        return Transfer.fill(self, sqe)

    def blocking(self):
        n: int64_t
        place: int64_t = self.place()
        with cython.nogil:
            n = ioring_read_blocking(self.fd, self.memory + self.done, self.size - self.done, place)
        return n


def empty_bytes(size):
    """A bytes object to be filled by parts, and to be given away only then."""
    return PyBytes_FromStringAndSize(cython.NULL, size)


def read_part(core, path, fd, offset, data, start, size):
    """Reads a part of a file into ``data``, ``start`` bytes from its beginning; how many, fewer only at the end."""
    it: Part = Part.__new__(Part)
    if start < 0 or size < 0 or start + size > len(data):
        raise ValueError("the part is outside")
    it.loop = core
    it.path = path
    it.fd = fd
    it.data = data
    it.offset = offset
    it.size = size
    it.memory = PyBytes_AS_STRING(it.data) + cython.cast(cython.size_t, start)
    it.steady = True
    return it


class Work:
    """What the ring has no operation for, in the loop's executor."""

    def start(self):
        get_running_loop().run_in_executor(None, self.blocking).add_done_callback(self._thread_done)
        return 0

    def blocking(self):
        try:
            self.value = self.function()
        except BaseException as failure:
            self.failure = failure
        return 0

    def cancellable(self):
        return False

    def outcome(self):
        self.function = None
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return self.value


def work(core, function, steady):
    """Calls a function in a thread. A steady one is over before a cancellation goes on."""
    it: Work = Work.__new__(Work)
    it.loop = core
    it.function = function
    it.steady = steady
    return it
