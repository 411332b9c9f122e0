"""How a server is to be run: every option once, with its default, for the command, the environment and"
" Python."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from ioring.http.access_format import fields_of
from ioring.http.addresses import parse
from ioring.http.errors import ConfigurationError
from ioring.http.extra_headers import pairs_of
from ioring.http.option_sources import ADDRESSES, Merged
from ioring.http.option_values import mounts_checked, size, typed

WORKERS_MAX = 1024


def option(
    default: object,
    help: str,
    *,
    kind: Callable[[Any], int | float] | None = None,
    choices: tuple[str, ...] | None = None,
    metavar: str | None = None,
    flag: bool = False,
    several: bool = False,
) -> Any:
    """A field; ``help`` is what the command says of it. The value of an option that may be repeated is a tuple."""
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "kind": kind,
            "choices": choices,
            "metavar": metavar,
            "flag": flag,
            "several": several,
        },
    )


@dataclasses.dataclass
class Configuration:
    """The options of ``ioring serve``. Sizes are bytes and times seconds; 0 means no limit, or never."""

    target: object = None

    config: str = option(
        "",
        "File of options (TOML), or a pyproject.toml with a table [tool.ioring.serve]. What the command or a variable "
        "says comes first.",
        metavar="PATH",
    )

    # The application.
    interface: str = option(
        "auto", "Interface of the application; auto: found out by its signature.", choices=("auto", "asgi", "wsgi")
    )
    factory: bool = option(
        False, "APP is a function that is called without arguments and returns the application.", flag=True
    )
    app_dir: str = option("", "Directory to import the application from.", metavar="FOLDER")
    root_path: str = option(
        "",
        "URL path below which a proxy publishes the application (root_path in ASGI, SCRIPT_NAME in WSGI).",
        metavar="PATH",
    )
    lifespan: str = option(
        "auto",
        "Run the application's start-up and shutdown (the lifespan protocol of ASGI); auto: if it supports them.",
        choices=("auto", "on", "off"),
    )
    threads: int = option(
        0, "Threads that run a WSGI application. 0: four more than there are CPUs, at most 32.", kind=int
    )
    pathsend: bool = option(
        False,
        "Tell ASGI applications that they may leave the sending of files to the server (http.response.pathsend). "
        "Middleware that changes responses has to know of it.",
        flag=True,
    )

    # Files.
    mount: tuple[str, ...] = option(
        (),
        "Serve the files of a directory below a URL path, such as /static=./public. May be repeated.",
        metavar="PATH=FOLDER",
        several=True,
    )
    listing: bool = option(False, "List the files of directories that have no index.html.", flag=True)
    hidden: bool = option(False, "Serve files and directories whose names begin with a dot.", flag=True)
    spa: bool = option(
        False,
        "Answer with index.html where there is no file, unless the name has a dot; for single-page applications.",
        flag=True,
    )
    follow_links: bool = option(
        False,
        "Follow symbolic links out of a directory that is served. Whoever can make links can publish any file.",
        flag=True,
    )
    cache_max_age: int = option(
        -1,
        "Seconds for which clients may cache files (Cache-Control: max-age). 0: they revalidate them each time.",
        kind=int,
    )

    # Where to listen.
    bind: tuple[str, ...] = option(
        (),
        "Address to listen on: HOST:PORT, [::1]:PORT, unix:/path, unix:@name (abstract) or fd://NUMBER. May be "
        "repeated. Instead of --host, --port, --uds and --fd.",
        metavar="ADDRESS",
        several=True,
    )
    host: str = option(
        "127.0.0.1", "Host name or IP address to listen on. :: is every address of the machine, of IPv6 and IPv4."
    )
    port: int = option(8000, "TCP port to listen on. 0: any free port.", kind=int)
    uds: str = option("", "Listen on a Unix domain socket at this path instead of a TCP port.", metavar="PATH")
    fd: int = option(-1, "Listen on this file descriptor, an open listening socket, instead of a TCP port.", kind=int)
    uds_mode: str = option("", "Permissions of Unix domain sockets that are made, in octal: 660.", metavar="OCTAL")
    uds_owner: str = option("", "Owner of Unix domain sockets that are made.", metavar="USER:GROUP")
    backlog: int = option(2048, "Connections that wait in the kernel until they are accepted, at most.", kind=int)

    # Processes.
    workers: int = option(1, "Number of worker processes.", kind=int)
    worker_timeout: float = option(
        0.0, "Seconds after which a worker whose event loop is blocked is killed and replaced. 0: never.", kind=float
    )
    worker_lifetime: float = option(
        0.0, "Seconds after which a worker is replaced by a new one, without losing requests. 0: never.", kind=float
    )
    worker_lifetime_jitter: float = option(
        0.0,
        "Largest random number of seconds that is added to --worker-lifetime, so that workers are not all replaced at "
        "once.",
        kind=float,
    )
    preload: bool = option(
        False,
        "Import the application once, before the workers are forked, so that they share its memory. New code then "
        "needs a restart of the server.",
        flag=True,
    )
    reload: bool = option(False, "Restart the server when source files change; for development.", flag=True)
    reload_dir: tuple[str, ...] = option(
        (),
        "Directory that --reload watches. May be repeated.  [default: --app-dir, or .]",
        metavar="FOLDER",
        several=True,
    )
    reload_include: tuple[str, ...] = option(
        (),
        "Pattern of file names that --reload watches. May be repeated.  [default: *.py]",
        metavar="GLOB",
        several=True,
    )
    user: str = option(
        "",
        "User that a server which root has started becomes before it imports the application; a name or a number.",
        metavar="USER",
    )
    group: str = option("", "Group that it becomes, if not that of --user; a name or a number.", metavar="GROUP")
    umask: str = option("", "Permissions that files made by the server do not get, in octal: 027.", metavar="OCTAL")
    chdir: str = option("", "Folder to go to first; all other paths begin there.", metavar="FOLDER")
    pidfile: str = option(
        "",
        "File to write the number of the server's process to; it is there as long as the server listens.",
        metavar="PATH",
    )
    env_file: str = option(
        "", "File of KEY=VALUE lines: environment variables to set, except those that are set already.", metavar="PATH"
    )

    # TLS.
    ssl_certfile: tuple[str, ...] = option(
        (),
        "Serve HTTPS with this certificate (PEM, with its chain). May be repeated: clients get the first one that is "
        "for the host name they ask for (SNI), or else the first of all.",
        metavar="PATH",
        several=True,
    )
    ssl_keyfile: tuple[str, ...] = option(
        (),
        "Private key of the certificate (PEM), if it is in another file. One for each certificate, in the same order.",
        metavar="PATH",
        several=True,
    )
    ssl_keyfile_password: str = option("", "Password of the private keys.", metavar="TEXT")
    ssl_min_version: str = option(
        "", "Lowest version of TLS.  [default: that of OpenSSL, mostly 1.2]", choices=("", "1.2", "1.3")
    )
    ssl_ca_certs: str = option("", "CA certificates (PEM) that verify the certificates of clients.", metavar="PATH")
    ssl_cert_reqs: str = option(
        "none", "Whether clients have to show a certificate.", choices=("none", "optional", "required")
    )
    ssl_ciphers: str = option("", "Ciphers for TLS up to version 1.2, in OpenSSL's format.", metavar="LIST")

    # Proxies.
    forwarded_allow_ips: str = option(
        "127.0.0.1,::1,unix",
        "Proxies whose headers (--forwarded-headers) are trusted: IP addresses, networks, unix for clients on a Unix "
        "domain socket, or * for all.",
        metavar="LIST",
    )
    forwarded_headers: str = option(
        "x-forwarded-for,x-forwarded-proto",
        "Headers of trusted proxies that count: x-forwarded-for, x-forwarded-proto, x-forwarded-host, "
        "x-forwarded-port, forwarded. Name only what the proxy sets, or removes, in each request.",
        metavar="LIST",
    )
    proxy_protocol: bool = option(
        False,
        "Expect the PROXY protocol (version 1 or 2) at the beginning of connections from --forwarded-allow-ips.",
        flag=True,
    )

    # Logs and metrics.
    access_log: bool = option(True, "Log a line for each request.", flag=True)
    access_log_format: str = option(
        "",
        "Format of the line for a request: common, combined, or fields such as '%(h)s \"%(r)s\" %(s)s %(D)s'.",
        metavar="FORMAT",
    )
    log_format: str = option("plain", "Format of log lines.", choices=("plain", "json"))
    log_level: str = option(
        "info", "Lowest level of log lines that are printed.", choices=("debug", "info", "warning", "error")
    )
    log_file: str = option(
        "", "Write all lines to this file instead; SIGUSR1 opens it again after it was moved.", metavar="PATH"
    )
    log_config: str = option(
        "",
        "Hand all lines to Python's logging, as this file configures it (JSON or TOML for logging.config.dictConfig): "
        "loggers ioring.error and ioring.access.",
        metavar="PATH",
    )
    metrics: str = option("", "URL path at which the server's metrics are published for Prometheus.", metavar="PATH")

    # Health.
    healthz: str = option(
        "",
        "URL path at which the server answers 200 as long as it runs, without the application (liveness).",
        metavar="PATH",
    )
    readyz: str = option(
        "",
        "URL path at which the server answers 200 when the application has started, and 503 as soon as the server is "
        "told to stop (readiness).",
        metavar="PATH",
    )
    drain: float = option(
        0.0,
        "Seconds for which a server that was told to stop goes on serving, while --readyz answers 503, so that load "
        "balancers send requests elsewhere. A second signal ends them.",
        kind=float,
    )

    # Limits.
    limit_max_requests: int = option(
        0, "Requests after which a worker is replaced, or a server without workers stops. 0: never.", kind=int
    )
    limit_max_requests_jitter: int = option(
        0,
        "Largest random number that is added to --limit-max-requests, so that workers are not all replaced at once.",
        kind=int,
    )
    limit_max_memory: int = option(
        0,
        "Resident memory beyond which a worker is replaced, or a server without workers stops: bytes, or with a suffix "
        "K, M or G. 0: no limit.",
        kind=size,
        metavar="SIZE",
    )
    limit_concurrency: int = option(
        0, "Requests that a worker processes at once; further ones are answered with 503. 0: no limit.", kind=int
    )
    limit_head: int = option(
        65536, "Largest head of a request (request line and headers) in bytes. 0: no limit.", kind=int
    )
    limit_headers: int = option(0, "Headers that a request may have. 0: no limit but that of --limit-head.", kind=int)
    limit_connections: int = option(
        0, "Connections that a worker has at once; further ones are answered with 503. 0: no limit.", kind=int
    )
    limit_body: int = option(0, "Largest body of a request in bytes. 0: no limit.", kind=int)

    # Time-outs.
    timeout_head: float = option(
        30.0, "Seconds in which a client has to send the head of a request. 0: no limit.", kind=float
    )
    timeout_handshake: float = option(
        60.0, "Seconds in which a client has to complete the TLS handshake. 0: no limit.", kind=float
    )
    timeout_body: float = option(
        60.0,
        "Seconds for which a client may keep the server waiting for the body of a request; a client that "
        "sends at least 500 bytes a second may take as long as it needs. 0: no limit.",
        kind=float,
    )
    timeout_keep_alive: float = option(
        5.0, "Seconds for which a connection stays open between requests. 0: no limit.", kind=float
    )
    timeout_write: float = option(
        60.0,
        "Seconds after which a client that receives nothing of its response is disconnected. 0: no limit.",
        kind=float,
    )
    timeout_graceful_shutdown: float = option(
        30.0, "Seconds for which a server that stops waits for requests to finish. 0: no limit.", kind=float
    )

    # WebSockets.
    ws_max_size: int = option(16777216, "Largest WebSocket message in bytes. 0: no limit.", kind=int)
    ws_ping_interval: float = option(20.0, "Seconds between pings on a WebSocket. 0: no pings.", kind=float)
    ws_ping_timeout: float = option(
        20.0, "Seconds after which a WebSocket whose client has not answered a ping is closed. 0: no limit.", kind=float
    )
    ws_deflate: bool = option(
        True, "Compress WebSocket messages (permessage-deflate) if the client supports it.", flag=True
    )
    ws_window_bits: int = option(
        12,
        "Size of the window that compression of WebSocket messages looks back at, as a power of two: 9 to 15. Larger "
        "ones compress better and take more memory for each WebSocket.",
        kind=int,
    )
    ws_context_takeover: bool = option(
        True,
        "Keep the compression's window from message to message. Without it, a WebSocket that is idle keeps no memory "
        "for compression, and similar messages are compressed less.",
        flag=True,
    )
    ws_max_queue: int = option(
        256,
        "Messages of a WebSocket that wait for the application; while there are more, nothing is received. 0: no "
        "limit but that of 64 KiB.",
        kind=int,
    )

    # Responses.
    header: tuple[str, ...] = option(
        (),
        "Header for each response that has none of that name. May be repeated.",
        metavar="NAME:VALUE",
        several=True,
    )
    server_header: bool = option(True, "Send the header Server in responses.", flag=True)
    date_header: bool = option(True, "Send the header Date in responses.", flag=True)

    # The loop.
    fallback: str = option("", "Event loop to serve on when io_uring is not available.", choices=("", "asyncio"))

    # Where the values are from, by names of options; those that are not in it are defaults.
    origins: dict[str, str] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self.check(field)
        if self.bind:
            self.check_addresses()
        if self.log_format == "json" and self.access_log_format:
            raise ConfigurationError("access_log_format: with log_format json a line has its own fields; leave out one")
        if self.log_config and (self.log_file or self.log_format == "json"):
            other = "log_file" if self.log_file else "log_format"
            raise ConfigurationError(f"log_config: it says where lines go and how they look; leave out {other}")

    def check(self, field: dataclasses.Field[Any]) -> None:
        metadata = field.metadata
        if not metadata:
            return
        value = typed(field, getattr(self, field.name))
        setattr(self, field.name, value)
        if metadata.get("choices") and value not in metadata["choices"]:
            known = ", ".join(choice for choice in metadata["choices"] if choice)
            raise ConfigurationError(f"{field.name}: {value!r} is none of {known}")
        if field.name.startswith(("limit_", "timeout_", "ws_")) and value < 0:
            raise ConfigurationError(f"{field.name}: {value} is negative; 0 means none")
        if field.name == "header":
            pairs_of(value)
        if field.name == "mount":
            self.mount = mounts_checked(value)
        if field.name == "workers" and not 1 <= value <= WORKERS_MAX:
            raise ConfigurationError(f"workers: {value} is none: 1 to {WORKERS_MAX}")
        if field.name == "ws_window_bits" and not 9 <= value <= 15:
            raise ConfigurationError(f"ws_window_bits: {value} is none: 9 to 15")
        if field.name in ("worker_timeout", "worker_lifetime", "worker_lifetime_jitter") and not 0 <= value < math.inf:
            raise ConfigurationError(f"{field.name}: {value} is none; 0 means never")
        if field.name == "reload" and value and self.workers > 1:
            raise ConfigurationError("reload: there is one worker then, not several")
        if field.name == "reload" and value and self.preload:
            raise ConfigurationError("preload: with reload the application is imported again and again")
        if field.name == "reload" and value and not isinstance(self.target, (str, os.PathLike, type(None))):
            raise ConfigurationError('reload: name the application, as "module:name", so that it can be imported again')
        if field.name in PATHS and value:
            if not value.startswith("/"):
                raise ConfigurationError(f"{field.name}: {value!r} is no path: it begins with /")
            if not value.isascii() or any(character in "?#" or character <= " " for character in value):
                raise ConfigurationError(f"{field.name}: {value!r} is no path: it is as in a request, without a query")
            for other in PATHS[: PATHS.index(field.name)]:
                if value == getattr(self, other):
                    raise ConfigurationError(f"{field.name}: {value} is the path of {other} already")
        if field.name in MODES and value and (not set(value) <= set("01234567") or int(value, 8) > 0o777):
            example = MODES[field.name]
            raise ConfigurationError(f"{field.name}: {value!r} is none: octal digits are wanted, such as {example}")
        if field.name == "access_log_format":
            fields_of(value)
        if field.name == "drain" and not 0 <= value < math.inf:
            raise ConfigurationError(f"drain: {value} is none; 0 means that the server stops at once")
        if field.name == "threads" and value < 0:
            raise ConfigurationError(f"threads: {value} is negative")
        if field.name == "port" and not 0 <= value <= 65535:
            raise ConfigurationError(f"port: {value} is none: 0 to 65535")

    def check_addresses(self) -> None:
        for text in self.bind:
            parse(text)
            if self.bind.count(text) > 1:
                raise ConfigurationError(f"bind: {text} is given twice")
        for field in dataclasses.fields(self):
            if field.name in ADDRESSES and getattr(self, field.name) != field.default:
                raise ConfigurationError(f"bind: say either that or {field.name}; bind has all addresses")

    @classmethod
    def from_environment(
        cls, given: Mapping[str, Any], environment: MutableMapping[str, str] = os.environ
    ) -> "Configuration":
        """The given options; for others those of IORING_* variables, also of the ``env_file``; then the ``config``."""
        merged = Merged(given, "command line")
        merged.load_env_file(environment)
        merged.load_config(environment.get("IORING_CONFIG", ""), FIELDS)
        merged.load_env_file(environment)  # the file of configuration may name it
        merged.take_variables(environment, FIELDS)
        merged.take_file()
        if merged.values.get("reload") and "workers" not in given:
            merged.origins["workers"] = "reload"
            merged.values["workers"] = 1  # WEB_CONCURRENCY is set for a machine, not for this run
        return cls._of(merged)

    @classmethod
    def _of(cls, merged: Merged) -> "Configuration":
        made = cls(**merged.values)
        made.origins = merged.origins
        return made

    @classmethod
    def of_program(cls, target: object, options: Mapping[str, Any]) -> "Configuration":
        """The options that a program gives to ``serve``, and the ``config`` for others.

        Variables do not count, but those of ``env_file`` are set.
        """
        for name in options:
            if name not in FIELDS:
                raise ConfigurationError(f"{name}: there is no such option")
        given = dict(options) if target is None else {"target": target, **options}
        merged = Merged(given, "program")
        merged.load_config("", FIELDS)
        merged.load_env_file(os.environ)
        merged.take_file()
        return cls._of(merged)


FIELDS = {field.name: field for field in dataclasses.fields(Configuration) if field.metadata}
"""Each option by its name."""

PATHS = ("metrics", "healthz", "readyz")
"""The options that are paths of URLs which the server answers itself."""

MODES = {"umask": "027", "uds_mode": "660"}
"""The options that are permissions, with an example for each."""


def seconds(value: float) -> float:
    """A time-out as the Service has it: infinite instead of 0."""
    return value or math.inf
