"""`ioring serve` as a process of its own, as a user starts it."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import needed
from rings import REFUSED

WAIT_S = 20

# Where an application begins that has a start-up.
APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
"""

APPLICATION = (
    f"import os\n{APP}"
    + """
    said = str(os.getpid())
    if scope["path"] == "/seen":
        said = repr((scope["scheme"], scope["client"][0] if scope["client"] else None))
    if scope["path"] == "/slow":
        import asyncio
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said.encode()})
"""
)

WITHOUT_RING = "import os, struct, sys\n" + REFUSED + "refuse(1)\nfrom ioring.__main__ import main\nmain()\n"


class Serving:
    """A running server.

    Parameters:
        folder: where it runs; main.py is written there.
        arguments: those of the command.
        application: the source of main.py.
    """

    def __init__(self, folder, *arguments, application=APPLICATION, ring=True, port=True, environment=None, **options):
        self.folder = folder
        (folder / "main.py").write_text(textwrap.dedent(application))
        command = ["-m", "ioring"] if ring else ["-c", WITHOUT_RING]
        if port:
            arguments = (*arguments, "--port", "0")
        self.output, self.errors = [], []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, *command, "serve", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
            start_new_session=True,
            **options,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.output)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, file, lines):
        for line in file:
            with self._news:
                lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, pattern, count=1):
        """Waits until so many lines have what is looked for; the last of them as a match."""

        def found():
            matches = [match for line in self.output + self.errors if (match := re.search(pattern, line))]
            return matches[count - 1] if len(matches) >= count else None

        with self._news:
            match = self._news.wait_for(lambda: found() or self.process.poll() is not None, WAIT_S)
            match = found()
        assert match, (pattern, self.process.poll(), self.output, self.errors)
        return match

    def __enter__(self):
        try:
            self.url = self.wait_for(r"serves .* on (\S+)")[1]
            if match := re.search(r":(\d+)$", self.url):
                self.port = int(match[1])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # workers too; the session is our own
            self.process.wait(WAIT_S)
            raise
        finally:
            for reader in self._readers:
                reader.join(WAIT_S)
            self.process.stdout.close()
            self.process.stderr.close()

    def ended(self):
        """Waits for the end; the code."""
        try:
            return self.process.wait(WAIT_S)
        finally:
            for reader in self._readers:
                reader.join(WAIT_S)

    def signal(self, number):
        self.process.send_signal(number)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)

    def get(self, path="/", **headers):
        """The body of one request's response, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            assert response.status == 200, response.status
            return response.read().decode()
        finally:
            connection.close()

    def pids(self, count):
        """Asks until so many processes have answered."""
        found, deadline = set(), time.monotonic() + WAIT_S
        while len(found) < count:
            found.add(int(self.get()))
            assert time.monotonic() < deadline, found
        return found


class Load:
    """Threads that ask all the time; what failed is in `failures`, who answered in `pids`.

    Each request has a connection of its own; with `keep` it has that of the one before, as long as the server says
    that it may.
    """

    def __init__(self, serving, threads=4, keep=False):
        self.serving = serving
        self.keep = keep
        self.failures, self.pids = [], []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.serving.port, timeout=WAIT_S)
        while not self.over.is_set():
            try:
                if self.keep:
                    connection.request("GET", "/")
                    self.pids.append(int(connection.getresponse().read()))
                else:
                    self.pids.append(int(self.serving.get()))
            except Exception as error:
                self.failures.append(error)
                connection.close()
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(WAIT_S)

    def until(self, condition):
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, (len(self.pids), self.failures[:5])
            self.over.wait(0.01)


def command(*arguments, environment=None, **options):
    """The command, once it has ended."""
    return subprocess.run(
        [sys.executable, "-m", "ioring", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        env={**os.environ, **(environment or {})},
        **options,
    )


def refused(*arguments, environment=None, **options):
    """The one line that the command ends with."""
    done = command(*arguments, environment=environment, **options)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert re.fullmatch(r"ioring serve: [^\n]+\n", done.stderr), done.stderr
    return done.stderr


def curl(folder, *arguments):
    """What curl prints. It does without what is preloaded for the tests: under the sanitizers it would hang."""
    command = [needed.program("curl"), "-s", *arguments]
    environment = without_preloaded()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=WAIT_S, check=True
    )
    return done.stdout


def without_preloaded():
    """The environment for a program that has nothing to do with what is preloaded for the tests."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def whole_of(client, said):
    """A chunked response, of which ``said`` has come already."""
    while not said.endswith(b"0\r\n\r\n"):
        part = client.recv(1000)
        assert part, said
        said += part
    return said
