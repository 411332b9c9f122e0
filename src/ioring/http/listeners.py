"""Sockets to accept connections on."""

import contextlib
import os
import socket
import stat
from collections.abc import MutableMapping, Sequence

from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError
from ioring.loop.own_listeners import note_own

FIRST_PASSED = 3  # SD_LISTEN_FDS_START of systemd


def listeners_of(configuration: Configuration) -> list[list[socket.socket]]:
    """The listening sockets that a configuration asks for: for each worker a list.

    Each worker has its own where the address is one of TCP (SO_REUSEPORT): the kernel spreads connections over them.
    (While it is replaced, two workers have it.) Other sockets are the same for all.

    Raises:
        ConfigurationError: they cannot be had.
    """
    if configuration.fd >= 0:
        shared: list[socket.socket] = [adopted(configuration.fd)]
    elif configuration.uds:
        shared = [unix_listener(configuration.uds, configuration.backlog)]
    else:
        shared = passed_by_systemd()
    if shared:
        return [shared] * configuration.workers
    host, port, backlog = configuration.host, configuration.port, configuration.backlog
    if configuration.workers == 1:
        return [tcp_listeners(host, port, backlog, False)]
    # With SO_REUSEPORT alone another server's port would seem free.
    probes = tcp_listeners(host, port, backlog, False, listen=False)
    port = probes[0].getsockname()[1]
    for probe in probes:
        probe.close()
    found = []
    try:
        for _ in range(configuration.workers):
            found.append(tcp_listeners(host, port, backlog, True))
    except ConfigurationError:
        close_listeners(found, configuration)
        raise
    return found


def close_listeners(
    listeners: Sequence[Sequence[socket.socket]], configuration: Configuration, unlink: bool = True
) -> None:
    """Closes them all, and with ``unlink`` removes the name of a Unix socket that was made here."""
    if unlink and configuration.uds and configuration.fd < 0:
        with contextlib.suppress(OSError):
            if os.lstat(configuration.uds).st_ino == getattr(listeners[0][0], "inode", None):
                os.unlink(configuration.uds)
    for each in listeners:
        for listener in each:
            listener.close()


class UnixListener(socket.socket):
    """Remembers what file its name is, so that nobody else's is removed."""

    inode: int | None = None


def passed_by_systemd(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """What socket activation gave (sd_listen_fds(3)); the variables are taken out, so that no child believes them."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(environment.get("LISTEN_FDS") or 0)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    return [adopted(FIRST_PASSED + number) for number in range(count)]


def adopted(descriptor: int) -> socket.socket:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise ConfigurationError(f"descriptor {descriptor} is no socket")
        listener = socket.socket(fileno=descriptor)
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.detach()
            raise ConfigurationError(f"descriptor {descriptor} is a socket that does not listen")
    except OSError as error:
        raise ConfigurationError(f"cannot listen on descriptor {descriptor}: {error.strerror}") from None
    listener.setblocking(False)
    listener.set_inheritable(False)
    return listener


def unix_listener(path: str, backlog: int) -> UnixListener:
    listener = UnixListener(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode) and not answers(path):
            os.unlink(path)  # left behind by a server that is gone
        listener.bind(path)
        listener.inode = os.lstat(path).st_ino
        listener.listen(backlog)
        note_own(listener)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {path}: {error.strerror or error}") from None
    return listener


def answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0


def tcp_listeners(host: str, port: int, backlog: int, reuse_port: bool, listen: bool = True) -> list[socket.socket]:
    """One for each address that the name has; the same port on each."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}: {error.strerror or error}") from None
    listeners: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        listener = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        listeners.append(listener)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
            listener.bind((address[0], port or listeners[0].getsockname()[1], *address[2:]))
            if listen:
                listener.listen(backlog)
                note_own(listener)
        except OSError as error:
            for each in listeners:
                each.close()
            raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    return listeners


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """How a client would call it."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"{scheme}+unix://{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{scheme}://{host}:{name[1]}"
