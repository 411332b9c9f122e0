"""Child processes: asyncio's subprocess transport over this loop's pipes, with the end seen by a pidfd."""

import asyncio
import asyncio.base_subprocess
import contextlib
import logging
import os
import subprocess
import sys
import warnings

logger = logging.getLogger("asyncio")


class SubprocessTransport(asyncio.base_subprocess.BaseSubprocessTransport):
    """One child. Its standard streams are pipes, so that it can open ``/dev/stdin`` and its like."""

    def _start(self, args, shell, stdin, stdout, stderr, bufsize, **kwargs):
        self._proc = subprocess.Popen(
            args,
            shell=shell,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            universal_newlines=False,
            bufsize=bufsize,
            **kwargs,
        )


class Children:
    """A loop with children; `_children` has their pidfds by number."""

    async def _make_subprocess_transport(
        self, protocol, args, shell, stdin, stdout, stderr, bufsize, extra=None, **kwargs
    ):
        waiter = self.create_future()
        watcher = _child_watcher()
        with contextlib.nullcontext() if watcher is None else watcher as entered:
            if sys.version_info < (3, 12):  # asyncio went by what the with statement gave
                watcher = entered
            # Before there is a child that nobody would wait for.
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
                await asyncio.wait([waiter])  # its pipes have transports by then, which close them
                transport.close()
                await transport._wait()
                raise
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport

    def _child_reported(self, pid, returncode, transport):
        self.call_soon_threadsafe(transport._process_exited, returncode)

    def _watch_child(self, transport):
        pid = transport.get_pid()
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # somebody else has waited for it
            self.call_soon(transport._process_exited, _exit_code(pid))
            return
        except OSError:  # no more descriptors: nobody would learn of its end
            transport.kill()
            transport._process_exited(_exit_code(pid))
            raise
        self._children[pid] = pidfd
        self._add_reader(pidfd, self._child_ended, pid, transport)

    def _child_ended(self, pid, transport):
        pidfd = self._children.pop(pid)
        self._remove_reader(pidfd)
        os.close(pidfd)
        transport._process_exited(_exit_code(pid))

    def _forget_children(self):
        """The loop is closed: whoever started the children waits for them."""
        while self._children:
            os.close(self._children.popitem()[1])


def _child_watcher():
    """The watcher that the program has set (Pythons before 3.14), unless asyncio itself would set it; or None.

    One that reaps every child would take the end of ours from us.
    """
    watcher = None
    if sys.version_info < (3, 14):
        watcher = getattr(asyncio.get_event_loop_policy(), "_watcher", None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if isinstance(watcher, (asyncio.ThreadedChildWatcher, asyncio.PidfdChildWatcher)):
                watcher = None
    return watcher


def _exit_code(pid):
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        logger.warning("child process pid %d exit status already read:  will report returncode 255", pid)
        return 255
    return os.waitstatus_to_exitcode(status)
