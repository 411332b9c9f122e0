"""Requests for ioring.os, Path and whole files: attributes, small files in one step, parts of large files, and calls in
threads."""

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.libc.errno import EAGAIN, EISDIR, EOPNOTSUPP
from cython.cimports.posix.unistd import close

SMALL_MAX = cython.declare(int64_t, 65536)
"""Files of up to this size are read in one step, which takes some ten microseconds."""

PAGE = cython.declare(int64_t, 4096)

NAME_COST = cython.declare(int64_t, 4096)
"""What looking up a name counts against the turn's limit, in bytes: it takes a microsecond or two."""


class Stat(FileOp):
    """statx(2): at once when the kernel has the attributes in its caches."""

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
        # os.path answers any error with no.
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
    """The file's mode (st_mode) alone; 0 on any error."""
    it: Stat = _stat(core, folder, name, follow)
    it.brief = True
    return it


def _stat(core, folder, name, follow):
    it: Stat = Stat.__new__(Stat)
    it.core = core
    it.fd = folder
    it.flags = 0 if follow else AT_SYMLINK_NOFOLLOW
    if name is None:
        it.flags |= AT_EMPTY_PATH
        name = b"\0"
    it.name = name
    return it


class ReadSmall(FileOp):
    """Reads a whole file if it is small and in the page cache. The result is its data, a descriptor, or -1.

    A descriptor is given for a file that is larger, or not cached in full. -1: not even its name is cached.
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
        # The file that was opened may have another size than the one that was looked up, so one byte more is asked for.
        # And fewer bytes than that, up to the end of a page, may mean that the next page is not cached.
        if size > SMALL_MAX:
            return True
        data = PyBytes_FromStringAndSize(cython.NULL, size + 1)
        n = ioring_read_now(fd, PyBytes_AS_STRING(data), size + 1, 0)
        if n == -EOPNOTSUPP and in_memory(cython.address(self.found)):
            n = ioring_read_blocking(fd, PyBytes_AS_STRING(data), size + 1, 0)
        if n == size and (size % PAGE != 0 or self.size_now() == size):
            self.core.immediate_left -= n
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
    it.core = core
    it.path = path
    it.fd = folder
    it.name = name
    return it


class Part(Transfer):
    """Reads a part of a file into its place in a bytes object that nobody else has yet."""

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
            # On tmpfs the kernel would copy this part and the others in the loop's thread. Its workers are to do that.
            sqe.flags = URING_SQE_ASYNC
        return Transfer.fill(self, sqe)


def empty_bytes(size):
    """A bytes object for parts to be read into. Nobody else may have it before."""
    return PyBytes_FromStringAndSize(cython.NULL, size)


def read_part(core, path, fd, offset, data, start, size):
    """Reads a part of a file into ``data``, ``start`` bytes from its beginning; how many, fewer only at the end."""
    it: Part = Part.__new__(Part)
    if start < 0 or size < 0 or start + size > len(data):
        raise ValueError("the part is outside")
    it.core = core
    it.path = path
    it.fd = fd
    it.data = data
    it.offset = offset
    it.size = size
    it.memory = PyBytes_AS_STRING(it.data) + cython.cast(cython.size_t, start)
    it.steady = True
    return it


class Work(FileOp):
    """A call in the loop's executor, for what the ring has no operation for."""

    def blocking(self):
        self.value = self.function()
        return 0

    def cancellable(self):
        return False

    def outcome(self):
        self.function = None
        return self.value


def work(core, function, steady):
    """Calls a function in a thread. If it is steady, a cancellation waits for its end."""
    it: Work = Work.__new__(Work)
    it.core = core
    it.function = function
    it.threaded = True
    it.steady = steady
    return it
