"""Child processes: asyncio's subprocess transport over this loop's pipes. A pidfd tells when a child has ended."""

import asyncio
import contextlib
import errno
import logging
import os
import sys
import threading
from typing import Any

from ioring.loop._readiness import Watching
from ioring.loop.asyncio_private import BaseEventLoop, SubprocessTransport, child_watcher

logger = logging.getLogger("asyncio")

NO_PIDFD = (errno.EPERM, errno.EACCES, errno.ENOSYS)
"""How pidfd_open fails where it is forbidden (seccomp: gVisor, old container runtimes) or not there."""


class Subprocesses(Watching, BaseEventLoop):
    """A loop with child processes."""

    def __init__(self) -> None:
        super().__init__()
        self._pidfds: dict[int, int] = {}
        """Of the children that run, by pid."""

    async def _make_subprocess_transport(
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> SubprocessTransport:
        waiter = self.create_future()
        watcher = child_watcher()
        with contextlib.nullcontext() if watcher is None else watcher as entered:
            if sys.version_info < (3, 12):  # where asyncio used what the with statement gave
                watcher = entered
            # Before there is a child for which nobody would wait.
            if watcher is not None and not watcher.is_active():
                raise RuntimeError("asyncio.get_child_watcher() is not activated, subprocess support is not installed.")
            transport = SubprocessTransport(
                self, protocol, args, shell, stdin, stdout, stderr, bufsize, waiter=waiter, extra=extra, **kwargs
            )
            try:
                if watcher is None:
                    self._watch_child(transport)
                else:
                    watcher.add_child_handler(transport.get_pid(), self._child_reported, transport)
            except BaseException:
                await asyncio.wait([waiter])  # then its pipes have transports, which close them
                transport.close()
                await transport.wait()
                raise
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport.wait()
            raise
        return transport

    def _child_reported(self, pid: int, returncode: int, transport: SubprocessTransport) -> None:
        """A child watcher of the program's has seen a child end."""
        self.call_soon_threadsafe(transport.exited, returncode)

    def _watch_child(self, transport: SubprocessTransport) -> None:
        pid = transport.get_pid()
        assert pid is not None  # it has just been started
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # somebody else has waited for it
            self.call_soon(transport.exited, _exit_code(pid))
            return
        except OSError as error:
            if error.errno in NO_PIDFD:
                threading.Thread(target=self._wait_for_child, args=(pid, transport), daemon=True).start()
                return
            transport.kill()  # no more descriptors: nothing would tell when it ends
            transport.exited(_exit_code(pid))
            raise
        self._pidfds[pid] = pidfd
        self._add_reader(pidfd, self._child_ended, pid, transport)

    def _child_ended(self, pid: int, transport: SubprocessTransport) -> None:
        pidfd = self._pidfds.pop(pid)
        self._remove_reader(pidfd)
        os.close(pidfd)
        transport.exited(_exit_code(pid))

    def _wait_for_child(self, pid: int, transport: SubprocessTransport) -> None:
        """In a thread of its own: waits where nothing else tells of a child's end."""
        code = _exit_code(pid)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self.call_soon_threadsafe(transport.exited, code)

    def _close_pidfds(self) -> None:
        """The loop is closed: whoever has started the children waits for them."""
        while self._pidfds:
            os.close(self._pidfds.popitem()[1])


def _exit_code(pid: int) -> int:
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        logger.warning("child process pid %d exit status already read:  will report returncode 255", pid)
        return 255
    return os.waitstatus_to_exitcode(status)
