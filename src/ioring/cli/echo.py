"""``ioring echo``: sends back what it receives."""

import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import click

import ioring
from ioring.cli._echo_server import Echo

BACKLOG = 128
BUFFERS = 1024
BUFFER_SIZE = 16384

# Slots that the kernel may fill between the moment the server is full and its cancellation of the accept.
SPARE_SLOTS = 2 * BACKLOG

SLOTS_MAX = (1 << 20) - SPARE_SLOTS
"""The kernel's largest file table has 1 << 20 slots (IORING_MAX_FIXED_FILES)."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on: numeric, or a name.")
@click.option("--port", default=7777, show_default=True, type=click.IntRange(0, 65535), help="Port; 0: a free one.")
@click.option(
    "--entries", default=1024, show_default=True, type=click.IntRange(2, 32768), help="Submission queue size."
)
@click.option(
    "--slots", default=4096, show_default=True, type=click.IntRange(1, SLOTS_MAX), help="Connections served at once."
)
@click.option("--sqpoll", is_flag=True, help="Let a kernel thread fetch submissions; it takes a processor of its own.")
def echo(host: str, port: int, entries: int, slots: int, sqpoll: bool) -> None:
    """Run an echo server.

    Accepts by one multishot request into the ring's file table, receives into a ring of buffers, sends back, closes.
    While --slots connections are open nobody else is accepted; clients wait in the listening queue. Ctrl-C ends it
    and prints totals.
    """
    try:
        listener = _listen(host, port)
    except OSError as error:
        sys.exit(f"ioring echo: cannot listen on {host} port {port}: {error.strerror or error}")
    with listener:
        try:
            server = _serve(listener, entries, slots, sqpoll)
        except OSError as error:
            sys.exit(f"ioring echo: {error.strerror or error}")
    click.echo(
        f"{server.accepted} connections, {server.messages} messages, {server.octets} bytes, "
        f"{server.refused} failed accepts"
    )


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _flags(sqpoll: bool) -> ioring.SetupFlags:
    flags = ioring.SetupFlags.SUBMIT_ALL | ioring.SetupFlags.SINGLE_ISSUER
    if sqpoll:
        return flags | ioring.SetupFlags.SQPOLL
    return flags | ioring.SetupFlags.DEFER_TASKRUN


def _serve(listener: socket.socket, entries: int, slots: int, sqpoll: bool) -> Echo:
    cq_entries = min(max(4 * entries, 4096), 65536)
    with _wakeup_socket() as wakeup, ioring.Ring(entries, flags=_flags(sqpoll), cq_entries=cq_entries) as ring:
        ring.register_files_sparse(slots + SPARE_SLOTS)
        buffers = ring.setup_buf_ring(BUFFERS, BUFFER_SIZE, 0)
        server = Echo(ring, buffers, listener.fileno(), slots, wakeup.fileno())
        host, port = listener.getsockname()[:2]
        try:
            for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job has SIGINT ignored
                signal.signal(number, _interrupt)
            # Who reads that may end the server right away.
            click.echo(f"listening on [{host}]:{port}" if ":" in host else f"listening on {host}:{port}")
            server.run()
        except KeyboardInterrupt:
            pass
    return server


@contextlib.contextmanager
def _wakeup_socket() -> Iterator[socket.socket]:
    """Where the interpreter tells of each signal that comes."""
    ours, interpreters = socket.socketpair()
    with ours, interpreters:
        interpreters.setblocking(False)
        before = signal.set_wakeup_fd(interpreters.fileno(), warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(before)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
