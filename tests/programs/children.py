"""Programs that run beside the tests: started with the loop of the test, ended with it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

TIMEOUT_S = 150 if "libasan" in os.environ.get("LD_PRELOAD", "") else 50
TESTS = Path(__file__).parent.parent


def environment(**more):
    """The variables of a child that can import what the tests import."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


class Child:
    """A process whose words are collected by a thread, so that its pipe never fills."""

    def __init__(self, arguments, **options):
        # A group of its own, so that what it starts can be ended with it.
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(arguments, start_new_session=True, text=True, **pipes, **options)
        self.lines = []
        self.more = threading.Condition()
        self.ended = False
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.more:
                self.lines.append(line)
                self.more.notify_all()
        with self.more:
            self.ended = True
            self.more.notify_all()

    @property
    def said(self):
        return "".join(self.lines)

    def wait_for(self, pattern):
        """The first match of what the child says."""

        def found():
            return re.search(pattern, self.said) or self.ended

        with self.more:
            match = self.more.wait_for(found, TIMEOUT_S)
        assert isinstance(match, re.Match), f"no {pattern!r} in:\n{self.said}"
        return match

    def stop(self, number=signal.SIGTERM):
        """Sends the signal; gives the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self):
        try:
            return self.process.wait(TIMEOUT_S)
        finally:
            self.close()

    def close(self):
        if self.process.stdout.closed:
            return
        # While anybody of the group holds the pipe there is a group.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


@contextlib.contextmanager
def running(arguments, **options):
    child = Child(arguments, **options)
    try:
        yield child
    finally:
        child.close()


def python(*arguments, **options):
    """A child that runs Python, with warnings as they are by default."""
    return running([sys.executable, *map(str, arguments)], env=environment(), **options)


def free_port():
    """A port for servers that cannot pick one themselves. Another process may take it first; it is not likely."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
