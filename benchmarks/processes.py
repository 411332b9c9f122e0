"""Processes under measurement: started on their CPU, awaited, accounted for, ended.

The first CPU that this process may use belongs to the server, the last to the load generator and to this process, which
only waits. Workers that the kernel starts for a ring (io-wq) count as threads of its process but may run elsewhere.
"""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

ALLOWED_CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU = ALLOWED_CPUS[0]
LOAD_CPU = ALLOWED_CPUS[-1]
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
ADDRESS = re.compile(r"(127\.0\.0\.1):(\d+)|listening on (\S*/\S+)")
START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 5
QUIET_S = 0.3


class Failed(Exception):
    """A process did not do what it should; the message says which and shows what it wrote."""


def start(command, cpus, stdin=subprocess.DEVNULL, **arguments):
    """Popen on these CPUs, in a session of its own so that the end reaches its children too."""
    os.sched_setaffinity(0, cpus)  # what is started inherits it
    try:
        return subprocess.Popen(command, stdin=stdin, start_new_session=True, **arguments)
    finally:
        os.sched_setaffinity(0, {LOAD_CPU})


class Server:
    """A server process, from its start until it is known to have ended. Use it in a `with` statement.

    It must write a line with its address: 127.0.0.1:PORT, or `listening on PATH`; unless it was told a port to speak
    HTTP on, which is then asked until there is an answer. What it writes goes to a file: a pipe that nobody empties
    would stop it.
    """

    def __init__(self, name, command, environment, log, port=None, cpus=frozenset({SERVER_CPU})):
        self.name = name
        self.log = Path(log)
        with open(self.log, "wb") as output:
            self.process = start(command, cpus, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            self.address = self._wait_for(self._announced if port is None else lambda: answering(port))
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def _wait_for(self, found):
        """What the function returns, when it is something: (host, port) or a path."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if address := found():
                return address
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with status {self.process.returncode}:\n{self.output()}")
            time.sleep(0.01)
        raise Failed(f"{self.name} did not begin to listen within {START_TIMEOUT_S} s:\n{self.output()}")

    def _announced(self):
        found = ADDRESS.search(self.output())
        return found and ((found[1], found[2]) if found[1] else found[3])

    def output(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        for number in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                pass
            try:
                self.process.wait(STOP_TIMEOUT_S)
                return
            except subprocess.TimeoutExpired:
                continue

    def cpu_seconds(self):
        return sum(process_cpu_seconds(pid) for pid in process_tree(self.process.pid))

    def resident_bytes(self):
        return sum(process_resident_bytes(pid) for pid in process_tree(self.process.pid))


def free_port():
    """A port that nobody listens on. Another process could take it before the server does, which then fails."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def answering(port):
    """The address, when an HTTP server answers there, whatever it says; listening alone does not mean that it is up."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")  # connection: close kills fastpysgi 0.6
            while b"\r\n\r\n" not in answer and (data := client.recv(4096)):
                answer += data
    except OSError:
        return None
    return ("127.0.0.1", str(port)) if answer.startswith(b"HTTP/") else None


def process_tree(pid):
    """The process and all its descendants; one that has gone meanwhile is left out."""
    found = [pid]
    for process in found:
        try:
            for thread in os.listdir(f"/proc/{process}/task"):
                children = Path(f"/proc/{process}/task/{thread}/children").read_text()
                found.extend(int(child) for child in children.split())
        except OSError:
            continue
    return found


def process_cpu_seconds(pid):
    """User and system time of all threads, those of the kernel that work for it included.

    schedstat counts nanoseconds where stat counts hundredths of a second; it is not in every kernel.
    """
    try:
        total_ns = 0
        for thread in os.listdir(f"/proc/{pid}/task"):
            total_ns += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
        if total_ns:
            return total_ns / 1e9
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
    except OSError:
        return 0.0


def process_resident_bytes(pid):
    """The proportional share of memory, so that pages shared by workers count once."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class CpuWatch:
    """How much of the two CPUs others used between two instants: what makes a measurement doubtful."""

    def __init__(self):
        self.started_at = time.monotonic()
        self.busy_before = self._busy_seconds()

    @staticmethod
    def _busy_seconds():
        """(busy, stolen) of the CPUs in use, in seconds."""
        names = {f"cpu{cpu}" for cpu in (SERVER_CPU, LOAD_CPU)}
        busy = stolen = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name in names:
                user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(int, ticks)
                busy += user + nice + system + irq + softirq
                stolen += steal
        return busy / TICKS_PER_SECOND, stolen / TICKS_PER_SECOND

    def foreign_share(self, own_seconds):
        """The share (0 to 1) of the CPUs' time that went to others, the hypervisor's other guests included."""
        busy, stolen = self._busy_seconds()
        others = busy - self.busy_before[0] - own_seconds + stolen - self.busy_before[1]
        capacity = (time.monotonic() - self.started_at) * len({SERVER_CPU, LOAD_CPU})
        return max(0.0, others / capacity)


def wait_for_quiet(share_max, seconds_max):
    """Waits until others leave the CPUs alone for a while, or the time is up. Returns the seconds that it took."""
    start = time.monotonic()
    while True:
        watch = CpuWatch()
        time.sleep(QUIET_S)
        waited = time.monotonic() - start
        if waited >= seconds_max or watch.foreign_share(0) <= share_max:
            return waited
