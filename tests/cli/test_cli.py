"""The commands, run as a user runs them."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys

import pytest

import ioring

WAIT_S = 20


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "ioring", *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        env=os.environ,
        check=False,
        **options,
    )


@pytest.fixture
def echo():
    """Starts `ioring echo` on a free port; its process and address."""
    started = []

    def start(*options):
        process = subprocess.Popen(
            [sys.executable, "-m", "ioring", "echo", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        started.append(process)
        line = process.stdout.readline()
        match = re.fullmatch(r"listening on (?:\[(.+)\]|([\d.]+)):(\d+)\n", line)
        assert match, line + process.stderr.read()
        return process, (match[1] or match[2], int(match[3]))

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WAIT_S)


def stop(process, number=signal.SIGINT):
    """Interrupts the server; the numbers in its line of totals."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, errors
    assert errors == ""
    match = re.fullmatch(r"(\d+) connections, (\d+) messages, (\d+) bytes, (\d+) failed accepts\n", output)
    assert match, output
    return tuple(map(int, match.groups()))


def connect(address):
    return socket.create_connection(address, timeout=WAIT_S)


def receive(client, count):
    data = bytearray()
    while len(data) < count:
        chunk = client.recv(count - len(data))
        assert chunk, f"the stream ended after {len(data)} of {count} bytes"
        data += chunk
    return bytes(data)


def exchange(client, data):
    client.sendall(data)
    assert receive(client, len(data)) == data


@pytest.mark.parametrize("options", [(), ("--sqpoll",), ("--entries", "2"), ("--entries", "32768")])
def test_echo(echo, options):
    process, address = echo(*options)
    for _ in range(3):
        with connect(address) as client:
            exchange(client, b"hello")
            exchange(client, os.urandom(300_000))
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
    connections, messages, octets, failed = stop(process)
    assert connections == 3
    assert messages >= 6
    assert octets == 3 * 300_005
    assert failed == 0


def test_echo_of_what_came_before_the_end(echo):
    process, address = echo()
    data = os.urandom(100_000)
    with connect(address) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert receive(client, len(data)) == data
        assert client.recv(1) == b""
    stop(process)


def test_echo_on_ipv6(echo):
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6")
    process, address = echo("--host", "::1")
    with connect(address) as client:
        exchange(client, b"six")
    assert stop(process, signal.SIGTERM)[0] == 1


def test_a_full_table_drops_nobody(echo):
    process, address = echo("--slots", "8")
    clients = [connect(address) for _ in range(100)]
    # Every client sends at once; none may see its connection closed, and those outside are served when others leave.
    for number, client in enumerate(clients):
        client.sendall(b"%03d" % number)
    for number, client in enumerate(clients):
        assert receive(client, 3) == b"%03d" % number
        client.close()
    connections, messages, octets, failed = stop(process)
    assert (connections, messages, octets, failed) == (100, 100, 300, 0)


def test_accepting_stops_at_the_number_of_slots(echo):
    process, address = echo("--slots", "4")
    inside = []
    for _ in range(4):
        inside.append(connect(address))
        exchange(inside[-1], b"in")
    # The accept is cancelled when the fourth came in; a fifth may slip in before that, but not many more.
    outside = [connect(address) for _ in range(20)]
    for client in outside:
        client.sendall(b"out")
        client.settimeout(0.2)
    waiting = 0
    for client in outside:
        try:
            assert client.recv(3) == b"out"
        except TimeoutError:
            waiting += 1
    assert waiting >= 10
    for client in inside:
        client.close()
    for client in outside:
        client.close()
    stop(process)


def test_readers_that_do_not_read(echo):
    """Peers that never read hold all buffers; the others go on when these are gone."""
    process, address = echo()
    lazy = [connect(address) for _ in range(4)]
    for client in lazy:
        client.setblocking(False)
        try:
            while True:
                client.send(bytes(65536))
        except BlockingIOError:
            pass
    for client in lazy:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()  # by a reset
    with connect(address) as client:
        exchange(client, os.urandom(1_000_000))
    stop(process)


def test_a_signal_that_comes_before_the_wait():
    """It ends the wait, though it was not there yet when signals were last looked at, and nothing else happens."""
    # A handler that is called while signals are looked at, and raises another signal without running any Python.
    program = """if True:
        import ctypes, functools, os, signal
        from ioring.cli.main import commands
        call = ctypes.PyDLL(None)["raise"]
        call.argtypes = [ctypes.c_int, ctypes.py_object, ctypes.py_object]
        signal.signal(signal.SIGUSR2, functools.partial(call, signal.SIGUSR1))
        signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"seen"))
        commands(["echo", "--port", "0"])
    """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=os.environ) as process:
        try:
            assert process.stdout.readline().startswith(b"listening")
            for _ in range(3):
                process.send_signal(signal.SIGUSR2)
                assert select.select([process.stdout], [], [], WAIT_S)[0], "it was not"
                assert os.read(process.stdout.fileno(), 4) == b"seen"
        finally:
            process.kill()


def test_resets(echo):
    process, address = echo()
    for size in (0, 1, 100_000):
        for _ in range(20):
            client = connect(address)
            client.sendall(bytes(size))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
    with connect(address) as client:
        exchange(client, b"still here")
    assert stop(process)[0] == 61


def test_a_busy_port_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = run("echo", "--port", str(server.getsockname()[1]))
    assert result.returncode == 1
    assert result.stdout == ""
    assert re.fullmatch(r"ioring echo: cannot listen on 127.0.0.1 port \d+: Address already in use\n", result.stderr)


def test_more_slots_than_descriptors_is_one_line():
    result = run("echo", "--port", "0", "--slots", "500000")
    assert result.returncode == 1
    assert "ulimit -n" in result.stderr
    assert result.stderr.count("\n") == 1


def test_doctor():
    result = run("doctor")
    assert result.returncode == 0, result.stderr
    assert "io_uring       available" in result.stdout
    assert "accept" in result.stdout


def test_doctor_json():
    result = run("doctor", "--json")
    found = json.loads(result.stdout)
    assert found["ioring"] == ioring.__version__
    assert found["available"] is True
    assert "ACCEPT" in found["operations"]
    assert found["limits"]["entries"] == 32768
    assert json.loads(json.dumps(ioring.features().as_dict())).items() <= found.items()


def test_version_and_help():
    assert ioring.__version__ in run("--version").stdout
    assert "echo" in run("--help").stdout
    assert "--sqpoll" in run("echo", "-h").stdout


def test_without_click(tmp_path):
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError(\"No module named 'click'\", name='click')\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    result = subprocess.run(
        [sys.executable, "-m", "ioring", "doctor"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        env=environment,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == "the commands need click: pip install 'ioring[serve]'\n"


def test_echo_can_be_ended_as_soon_as_it_listens(echo):
    for _ in range(5):
        process, _ = echo()  # which reads that it listens
        process.terminate()
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "0 connections" in out


def test_echo_tells_how_many_slots_there_can_be():
    result = run("echo", "--port", "0", "--slots", "2000000")
    assert result.returncode == 2
    assert "2000000 is not in the range" in result.stderr
