"""The examples, run as their users would: with real clients, and files of every awkward size."""

import contextlib
import errno
import hashlib
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
TIMEOUT_S = 30


@contextlib.contextmanager
def running(name, *arguments):
    """An example that serves, and its address; ended by Ctrl-C, which has to be quiet."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", EXAMPLES / name, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        words = process.stdout.readline().split()
        assert words[:2] == ["listening", "on"], process.stderr.read()
        host, port = words[2].split(":")
        yield process, (host, int(port))
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=TIMEOUT_S)
        assert complaints == ""
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def connect(address):
    return socket.create_connection(address, timeout=TIMEOUT_S)


def receive(client, count):
    data = bytearray()
    while len(data) < count:
        part = client.recv(1 << 16)
        assert part, f"the connection ended after {len(data)} of {count} bytes"
        data += part
    return bytes(data)


# accept.py


def test_accept_prints_a_slot_for_each_client():
    with running("accept.py") as (process, address), contextlib.ExitStack() as clients:
        for slot in range(8):
            clients.enter_context(connect(address))
            assert process.stdout.readline() == f"accept {slot} True\n"


def test_accept_says_when_its_table_is_full():
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "accept.py", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process, contextlib.ExitStack() as clients:
        address = ("127.0.0.1", int(process.stdout.readline().rpartition(":")[2]))
        for _ in range(9):
            clients.enter_context(connect(address))
        _, complaints = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert complaints == f"accept.py: [Errno {errno.ENFILE}] {os.strerror(errno.ENFILE)}: 'accept'\n"


# echo_server.py


@pytest.mark.parametrize("size", [1, 4096, 4097, 3_000_000])
def test_echo_gives_back_what_it_got(size):
    message = os.urandom(size)
    with running("echo_server.py") as (_, address), connect(address) as client:
        sender = threading.Thread(target=client.sendall, args=(message,))
        sender.start()
        assert receive(client, size) == message
        sender.join()


def test_echo_ends_when_the_client_does():
    with running("echo_server.py") as (_, address), connect(address) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 10) == b"last words"
        assert client.recv(1) == b""


def test_echo_survives_a_reset():
    with running("echo_server.py") as (_, address):
        with connect(address) as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            rude.sendall(b"never read")
        with connect(address) as client:
            client.sendall(b"hello")
            assert receive(client, 5) == b"hello"


def test_echo_stops_receiving_from_who_does_not_read():
    with running("echo_server.py") as (_, address), connect(address) as greedy:
        sent = 0
        greedy.settimeout(1)
        with pytest.raises(TimeoutError):
            while sent < 64 << 20:
                sent += greedy.send(bytes(1 << 16))
        with connect(address) as client:
            client.sendall(b"others are served")
            assert receive(client, 17) == b"others are served"
        greedy.settimeout(TIMEOUT_S)
        assert receive(greedy, sent) == bytes(sent)


# 200 slots are enough for a multishot accept, which has to give way to single ones before they are used up.
@pytest.mark.parametrize(("slots", "count"), [(8, 100), (16, 100), (200, 100), (200, 300)])
def test_echo_serves_many_clients_at_once(slots, count):
    together = threading.Barrier(count)
    answers = {}

    def talk(number):
        message = hashlib.sha512(str(number).encode()).digest() * 100
        together.wait(TIMEOUT_S)
        with connect(address) as client:
            for _ in range(3):
                client.sendall(message)
                answers[number] = receive(client, len(message)) == message

    with running("echo_server.py", "--slots", str(slots)) as (_, address):
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == dict.fromkeys(range(count), True)


def test_echo_lets_clients_wait_for_a_slot():
    with running("echo_server.py", "--slots", "200") as (_, address), contextlib.ExitStack() as stack:
        served = [stack.enter_context(connect(address)) for _ in range(200)]
        for client in served:
            client.sendall(b"served")
            assert receive(client, 6) == b"served"
        waiting = [stack.enter_context(connect(address)) for _ in range(20)]
        for client in waiting:
            client.sendall(b"waiting")
        waiting[0].settimeout(0.1)
        with pytest.raises(TimeoutError):
            waiting[0].recv(1)
        waiting[0].settimeout(TIMEOUT_S)
        for client in served:
            client.close()
        for client in waiting:
            assert receive(client, 7) == b"waiting"


# copy_file.py


def copy(*arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "copy_file.py", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize("size", [0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 12_345_678])
def test_copy_is_the_same(tmp_path, size):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(size))
    source.chmod(0o640)
    target.write_bytes(b"longer than nothing")
    target.chmod(0o600)
    result = copy(source, target)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert target.stat().st_size == size
    assert digest(target) == digest(source)


def test_copy_names_a_missing_file(tmp_path):
    result = copy(tmp_path / "missing", tmp_path / "target")
    assert result.returncode == 1
    assert result.stderr == f"copy_file.py: [Errno 2] No such file or directory: '{tmp_path / 'missing'}'\n"
    assert not (tmp_path / "target").exists()


def test_copy_says_when_the_device_is_full(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(bytes(1000))
    result = copy(source, "/dev/full")
    assert result.returncode == 1
    assert result.stderr == "copy_file.py: [Errno 28] No space left on device: 'write'\n"


def test_copy_does_not_empty_a_file_by_copying_it_to_itself(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"precious")
    assert copy(source, source).returncode == 1
    assert source.read_bytes() == b"precious"


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_copy_goes_on_after_short_writes(tmp_path, size):
    """A limit on the file size makes the write that crosses it short; the next one fails."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(size))
    limited = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, {size // 2}));"
        f"sys.argv[0] = {str(EXAMPLES / 'copy_file.py')!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", limited, source, target], check=False, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert result.returncode == 1
    assert "File too large" in result.stderr
    assert target.read_bytes() == source.read_bytes()[: size // 2]


def test_copy_goes_on_after_a_short_read(tmp_path):
    """Told that the source is longer than it is, as if it had become shorter meanwhile, it copies what there is."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(300_000))
    copy_of = runpy.run_path(str(EXAMPLES / "copy_file.py"))["copy"]
    with open(source, "rb") as readable, open(target, "wb") as writable:
        copy_of(readable.fileno(), writable.fileno(), 400_000)
    assert digest(target) == digest(source)


def test_copy_tells_how_it_is_used():
    result = copy()
    assert result.returncode == 1
    assert result.stderr.startswith("usage: ")


def test_examples_are_short_and_say_how_to_run_them():
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text()
        assert text.count("\n") < 120, path.name
        way = f"python examples/{path.name}"
        if path.stem.startswith("serve_"):
            way = f"ioring serve {path.stem}:app"
        elif path.stem.startswith("test_"):
            way = f"pytest examples/{path.name}"
        assert way in text.split('"""')[1], path.name


# chat.py


def test_chat_tells_the_others():
    with running("chat.py") as (_, address), connect(address) as one:
        with connect(address) as two:
            name = "{}:{}".format(*two.getsockname())
            hello = f"* {name} is here\n".encode()
            assert receive(one, len(hello)) == hello
            two.sendall(b"good morning\n")
            said = f"{name}: good morning\n".encode()
            assert receive(one, len(said)) == said
            one.sendall(b"and to you\n")
            said = "{}:{}: and to you\n".format(*one.getsockname()).encode()
            assert receive(two, len(said)) == said
        left = f"* {name} has left\n".encode()
        assert receive(one, len(left)) == left


# What `ioring serve` serves.


@contextlib.contextmanager
def served(name, package):
    """The URL of an application in examples/."""
    pytest.importorskip(package, reason=f"{package} is not installed")
    process = subprocess.Popen(
        [sys.executable, "-m", "ioring", "serve", f"{name}:app", "--app-dir", EXAMPLES, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        banner = process.stdout.readline()
        assert " on http://" in banner, banner + process.stderr.read()
        yield re.search("http://[0-9.:]+", banner).group()
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=TIMEOUT_S)
        assert "Traceback" not in complaints
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def fetch(url, data=None, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, data, headers or {}), timeout=TIMEOUT_S) as response:
        return response.read()


def test_fastapi():
    with served("serve_fastapi", "fastapi") as url:
        assert fetch(f"{url}/?name=you") == b'{"hello":"you"}'
        pen = fetch(f"{url}/items", b'{"name": "pen", "price": 2.5}', {"content-type": "application/json"})
        assert pen == b'{"to pay":2.5}'
        deadline = time.monotonic() + TIMEOUT_S
        while fetch(f"{url}/sold") != b'["pen"]':  # it is noted behind the response, in a thread
            assert time.monotonic() < deadline


def test_starlette():
    with served("serve_starlette", "starlette") as url:
        assert fetch(f"{url}/") == b"GET /\n"
        assert fetch(f"{url}/events") == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_flask():
    with served("serve_flask", "flask") as url:
        assert fetch(f"{url}/?name=you") == b"hello you\n"
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        body = head + bytes(300_000) + b"\r\n--x--\r\n"
        said = fetch(f"{url}/upload", body, {"content-type": "multipart/form-data; boundary=x"})
        assert b'"bytes":300000' in said


def test_django():
    with served("serve_django", "django") as url:
        assert fetch(f"{url}/?name=you") == b"hello you\n"
        assert fetch(f"{url}/slow") == b'{"waited": true}'
