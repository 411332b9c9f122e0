"""Sockets to accept connections on."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import MutableMapping, Sequence

from ioring.http.addresses import Address, Descriptor, Tcp, Unix, parse
from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError
from ioring.http.process import owner_of
from ioring.loop.own_listeners import note_own

EVERY = {socket.AF_INET: "every IPv4 address", socket.AF_INET6: "every IPv6 address"}
FIRST_PASSED = 3  # SD_LISTEN_FDS_START of systemd


def listeners_of(configuration: Configuration) -> list[list[socket.socket]]:
    """The listening sockets that a configuration asks for: for each worker a list.

    Each worker has its own where the address is one of TCP (SO_REUSEPORT): the kernel spreads connections over them.
    (While it is replaced, two workers have it.) Other sockets are the same for all.

    Raises:
        ConfigurationError: they cannot be had.
    """
    found: list[list[socket.socket]] = [[] for _ in range(configuration.workers)]
    passed = [] if given(configuration) else passed_by_systemd()
    if passed:
        return [passed] * configuration.workers
    try:
        for address in addresses_of(configuration):
            listen_on(address, configuration, found)
    except BaseException:
        close_listeners(found)
        raise
    return found


def given(configuration: Configuration) -> bool:
    """Whether the addresses are said, and not left to what systemd passes."""
    return bool(configuration.bind) or configuration.fd >= 0 or bool(configuration.uds)


def addresses_of(configuration: Configuration) -> list[Address]:
    if configuration.bind:
        return [parse(text) for text in configuration.bind]
    if configuration.fd >= 0:
        return [Descriptor(configuration.fd)]
    if configuration.uds:
        return [Unix(configuration.uds)]
    return [Tcp(configuration.host, configuration.port)]


def listen_on(address: Address, configuration: Configuration, found: list[list[socket.socket]]) -> None:
    """Adds the sockets of an address to each worker's list."""
    backlog = configuration.backlog
    if isinstance(address, Tcp) and configuration.workers > 1:
        # With SO_REUSEPORT alone another server's port would seem free.
        probes = tcp_listeners(address.host, address.port, backlog, False, listen=False)
        port = probes[0].getsockname()[1]
        for probe in probes:
            probe.close()
        for each in found:
            each += tcp_listeners(address.host, port, backlog, True)
        return
    if isinstance(address, Tcp):
        shared = tcp_listeners(address.host, address.port, backlog, False)
    elif isinstance(address, Unix):
        owner = owner_of(configuration.uds_owner) if configuration.uds_owner else None
        mode = int(configuration.uds_mode, 8) if configuration.uds_mode else None
        shared = [unix_listener(address.path, backlog, mode, owner)]
    else:
        shared = [adopted(address.number)]
    for each in found:
        each += shared


def close_listeners(listeners: Sequence[Sequence[socket.socket]], unlink: bool = True) -> None:
    """Closes them all, and with ``unlink`` removes the names of Unix sockets that were made here."""
    for each in listeners:
        for listener in each:
            if unlink and isinstance(listener, UnixListener) and listener.inode is not None:
                with contextlib.suppress(OSError):
                    if os.lstat(listener.path).st_ino == listener.inode:
                        os.unlink(listener.path)
                listener.inode = None
            listener.close()


class UnixListener(socket.socket):
    """Remembers what file its name is, so that nobody else's is removed."""

    path = ""
    inode: int | None = None  # None: it is none, or removed already


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


def unix_listener(path: str, backlog: int, mode: int | None, owner: tuple[int, int] | None) -> UnixListener:
    """
    Parameters:
        path: its name; one that begins with a NUL is no file.
        mode, owner: permissions, user and group of the file; None: those of each new file.

    Raises:
        ConfigurationError: somebody listens there, or it cannot be made.
    """
    listener = UnixListener(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    shown = path.replace("\0", "@", 1)
    try:
        if path.startswith("\0"):
            listener.bind(path)
        else:
            if os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode) and not answers(path):
                os.unlink(path)  # left behind by a server that is gone
            listener.bind(path)
            listener.path = os.path.abspath(path)
            listener.inode = os.lstat(path).st_ino
            # Nobody can connect before it listens.
            if owner is not None:
                os.chown(path, *owner)
            if mode is not None:
                os.chmod(path, mode)
        listener.listen(backlog)
        note_own(listener)
    except OSError as error:
        close_listeners([[listener]])
        if error.filename is None:
            raise ConfigurationError(f"cannot listen on {shown}: {error.strerror or error}") from None
        raise ConfigurationError(
            f"cannot listen on {shown}: its mode or owner cannot be set: {error.strerror}"
        ) from None
    return listener


def answers(path: str) -> bool:
    """Whether somebody listens, also one whose queue is full or who does not let us in."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(path) not in (errno.ECONNREFUSED, errno.ENOENT)


def tcp_listeners(host: str, port: int, backlog: int, reuse_port: bool, listen: bool = True) -> list[socket.socket]:
    """One for each address that the name has; the same port on each.

    ``::`` is every address of IPv6 and of IPv4, as the empty name is: by two sockets, since on one for both clients of
    IPv4 would have addresses of IPv6. The empty name does without IPv6 where there is none.
    """
    try:
        found = socket.getaddrinfo(
            None if host == "::" else host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}: {error.strerror or error}") from None
    listeners: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            listener = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        except OSError as error:
            if not host and error.errno == errno.EAFNOSUPPORT and listeners:
                continue
            close_listeners([listeners])
            raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
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
            close_listeners([listeners])
            raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    return listeners


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """How a client would call it."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        # One of the abstract namespace is bytes.
        return f"{scheme}+unix://{os.fsdecode(name).replace(chr(0), '@', 1)}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{scheme}://{host}:{name[1]}"


def meaning_of(listener: socket.socket) -> str:
    """What is behind an address for every address of the machine; "" behind another."""
    if listener.family not in EVERY or listener.getsockname()[0] not in ("0.0.0.0", "::"):
        return ""
    return f" ({EVERY[listener.family]})"
