"""How a server is to be run: every option once, with its default, for the command, the environment and"
" Python."""

import dataclasses
import math
import os
from collections.abc import Mapping, MutableMapping
from typing import Any

from ioring.http.errors import ConfigurationError
from ioring.http.extra_headers import pairs_of

WORKERS_MAX = 1024


def option(
    default: object,
    help: str,
    *,
    kind: type[int] | type[float] | None = None,
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
    host: str = option("127.0.0.1", "Host name or IP address to listen on.")
    port: int = option(8000, "TCP port to listen on. 0: any free port.", kind=int)
    uds: str = option("", "Listen on a Unix domain socket at this path instead of a TCP port.", metavar="PATH")
    fd: int = option(-1, "Listen on this file descriptor, an open listening socket, instead of a TCP port.", kind=int)
    backlog: int = option(2048, "Connections that wait in the kernel until they are accepted, at most.", kind=int)

    # Processes.
    workers: int = option(1, "Number of worker processes.", kind=int)
    worker_timeout: float = option(
        0.0, "Seconds after which a worker whose event loop is blocked is killed and replaced. 0: never.", kind=float
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
    log_format: str = option("plain", "Format of log lines.", choices=("plain", "json"))
    log_level: str = option("info", "Lowest level of log lines that are printed.", choices=("info", "warning", "error"))
    metrics: str = option("", "URL path at which the server's metrics are published for Prometheus.", metavar="PATH")

    # Limits.
    limit_max_requests: int = option(
        0, "Requests after which a worker is replaced, or a server without workers stops. 0: never.", kind=int
    )
    limit_max_requests_jitter: int = option(
        0,
        "Largest random number that is added to --limit-max-requests, so that workers are not all replaced at once.",
        kind=int,
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

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self.check(field)

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
        if field.name == "worker_timeout" and not 0 <= value < math.inf:
            raise ConfigurationError(f"worker_timeout: {value} is none; 0 means never")
        if field.name == "reload" and value and self.workers > 1:
            raise ConfigurationError("reload: there is one worker then, not several")
        if field.name == "reload" and value and not isinstance(self.target, (str, os.PathLike, type(None))):
            raise ConfigurationError('reload: name the application, as "module:name", so that it can be imported again')
        if field.name == "metrics" and value and not value.startswith("/"):
            raise ConfigurationError(f"metrics: {value!r} is no path: it begins with /")
        if field.name == "threads" and value < 0:
            raise ConfigurationError(f"threads: {value} is negative")
        if field.name == "port" and not 0 <= value <= 65535:
            raise ConfigurationError(f"port: {value} is none: 0 to 65535")

    @classmethod
    def from_environment(
        cls, given: Mapping[str, Any], environment: MutableMapping[str, str] = os.environ
    ) -> "Configuration":
        """The given options, and for all others those of IORING_* variables, also of the ``env_file``."""
        values = dict(given)
        file = values.get("env_file") or environment.get("IORING_ENV_FILE")
        if file:
            from ioring.http.env_file import load_environment

            load_environment(file, environment)
        for field in dataclasses.fields(cls):
            name = f"IORING_{field.name.upper()}"
            if field.metadata and field.name not in values and name in environment:
                values[field.name] = parsed(name, environment[name], field)
        for name, variable in USUAL.items():
            # An empty list counts: no proxy is trusted.
            if name not in values and (environment.get(variable) or (name == ALLOWED and variable in environment)):
                field = next(field for field in dataclasses.fields(cls) if field.name == name)
                values[name] = parsed(variable, environment[variable], field)
        if values.get("reload") and "workers" not in given:
            values["workers"] = 1  # WEB_CONCURRENCY is set for a machine, not for this run
        return cls(**values)

    @classmethod
    def of_program(cls, target: object, options: Mapping[str, Any]) -> "Configuration":
        """The options that a program gives to ``serve``. Variables do not count, but those of ``env_file`` are set."""
        known = {field.name for field in dataclasses.fields(cls) if field.metadata}
        for name in options:
            if name not in known:
                raise ConfigurationError(f"{name}: there is no such option")
        if options.get("env_file"):
            from ioring.http.env_file import load_environment

            load_environment(options["env_file"], os.environ)
        return cls(target=target, **options)


ALLOWED = "forwarded_allow_ips"
LISTED = (ALLOWED, "forwarded_headers")
"""The options that are a list in a string."""

USUAL = {"port": "PORT", "workers": "WEB_CONCURRENCY", ALLOWED: "FORWARDED_ALLOW_IPS"}
"""Variables that hosting platforms set for any server."""


def typed(field: dataclasses.Field[Any], value: Any) -> Any:
    """A value from Python, converted to the type of its option."""
    name, metadata = field.name, field.metadata
    kind = metadata["kind"]
    try:
        if metadata["flag"]:
            if not isinstance(value, bool):
                raise TypeError
            return value
        if kind is not None:
            number = kind(value)
            if isinstance(value, bool) or math.isnan(number) or (isinstance(value, float) and number != value):
                raise ValueError
            return number
        if metadata["several"]:
            if value is None:
                return ()
            if isinstance(value, dict):
                sign = ":" if name == "header" else "="
                value = [f"{key}{sign}{os.fspath(each)}" for key, each in value.items()]
            value = [value] if isinstance(value, (str, os.PathLike)) else value
            return tuple(os.fsdecode(each) for each in value)
        if value is None and field.default == "":
            return ""
        if name in LISTED and isinstance(value, (list, tuple, set, frozenset)):
            return ",".join(map(str, value))
        return os.fsdecode(value)
    except (TypeError, ValueError, OverflowError):
        wanted = "a list" if metadata["several"] else "text"
        if metadata["flag"] or kind:
            wanted = "True or False" if metadata["flag"] else "a number"
        raise ConfigurationError(f"{name}: {value!r}: {wanted} is wanted") from None


def mounts_checked(mounts: tuple[str, ...]) -> tuple[str, ...]:
    """Mounts as a tuple of ``"/path=folder"``."""
    seen: set[str] = set()
    for mount in mounts:
        path, separator, folder = mount.partition("=")
        path = path.rstrip("/")
        if not separator or not folder or not path.startswith("/") or "//" in path:
            raise ConfigurationError(f"mount: {mount!r} is none: /path=folder is wanted")
        if any(not 0x21 <= ord(character) < 0x7F or character in "%?#" for character in path):
            raise ConfigurationError(f"mount: {mount!r} has a path with characters other than plain ASCII")
        if path in seen:
            raise ConfigurationError(f"mount: {path} is given twice")
        seen.add(path)
    return tuple(mounts)


TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def parsed(name: str, text: str, field: dataclasses.Field[Any]) -> Any:
    """The value that a variable gives."""
    if field.metadata["flag"]:
        if text.lower() in TRUE:
            return True
        if text.lower() in FALSE:
            return False
        raise ConfigurationError(f"{name}={text}: {TRUE[1]} or {FALSE[1]} is wanted")
    if field.metadata["several"]:
        separator = "\n" if field.name == "header" else ","  # values of headers have commas
        return tuple(part.strip() for part in text.split(separator) if part.strip())
    kind = field.metadata["kind"]
    if kind is None:
        return text
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"{name}={text}: a number is wanted") from None


def seconds(value: float) -> float:
    """A time-out as the Service has it: infinite instead of 0."""
    return value or math.inf
