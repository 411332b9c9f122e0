"""Tries an installed ioring, with nothing but Python and the packages of its extra `serve`: `import` time and result.

Prints ``TIME | RESULT`` for the table of wheels.py, and fails by an exception.
"""

import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

IMPORT = "import asyncio, time; a = time.perf_counter(); import ioring; b = time.perf_counter(); ioring.run; "
IMPORT += "print((b - a) * 1e3, (time.perf_counter() - a) * 1e3)"


def imports():
    """Milliseconds that ioring takes beyond asyncio, the shortest of some: alone, and with its loop."""
    told = [subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True).stdout for _ in range(7)]
    alone, loop = zip(*[map(float, line.split()) for line in told], strict=True)
    return f"{min(alone):.1f} ms, with run() {min(loop):.1f} ms"


def doctor():
    told = subprocess.run([sys.executable, "-m", "ioring", "doctor", "--json"], capture_output=True, check=False)
    return json.loads(told.stdout)["available"]


async def loop_and_files(folder):
    """A message over a socket, and a file written and read."""
    import ioring

    async def answer(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"there and back\n")
        assert await reader.readline() == b"there and back\n"
        writer.close()

    async with ioring.open(folder / "file", "w") as file:
        await file.write("written\nand read\n")
    async with ioring.open(folder / "file") as file:
        assert [line async for line in file] == ["written\n", "and read\n"]
    assert await ioring.Path(folder / "file").read_bytes() == b"written\nand read\n"


def serve(folder, *options):
    """An answer over HTTP by the command, and its end."""
    (folder / "page").write_text("served")
    command = [sys.executable, "-m", "ioring", "serve", str(folder), "--port", "0", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    told, found = [], None
    for line in server.stdout:  # to its end, when the server does not start
        told.append(line)
        if found := re.search(r" on (http://[\w.:]+)", line):
            break
    assert found, "".join(told)
    url = found[1]
    with urllib.request.urlopen(f"{url}/page", timeout=10) as response:
        assert response.read() == b"served"
    server.send_signal(signal.SIGTERM)
    assert server.wait(10) == 0


def main():
    start = time.monotonic()
    times = imports()
    import ioring

    available = doctor()
    fallback = [] if available else ["--fallback", "asyncio"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if available:
            with ioring.Ring(8) as ring:
                sqe = ring.get_sqe()
                sqe.prep_nop()
                sqe.user_data = "done"
                ring.submit_and_wait(1)
                assert [cqe.user_data for cqe in ring.completions()] == ["done"]
        ioring.run(loop_and_files(folder), fallback="asyncio" if fallback else None)
        serve(folder, *fallback)
    what = "ring, doctor, loop, files, serve" if available else "doctor, files, serve; no io_uring here"
    print(f"{times} | {what}: passed in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
