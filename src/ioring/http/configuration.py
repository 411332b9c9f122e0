"""How a server is to be run: every option once, with its default, for the command, the environment and Python."""

import dataclasses
import math
import os

from ioring.http.errors import ConfigurationError

WORKERS_MAX = 1024


def option(default, help, *, kind=None, choices=None, metavar=None, flag=False, several=False):
    """A field; ``help`` is what the command says of it. What there may be ``several`` of is a tuple."""
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
    """What ``ioring serve`` is told. Sizes are bytes and times seconds; 0 means no limit, or never."""

    target: object = None

    # The application.
    interface: str = option("auto", "What the application speaks.", choices=("auto", "asgi", "wsgi"))
    factory: bool = option(False, "APP is a function that returns the application.", flag=True)
    app_dir: str = option("", "Import the application from this folder.", metavar="FOLDER")
    root_path: str = option("", "The path under which a proxy shows the application.", metavar="PATH")
    lifespan: str = option("auto", "Run the application's start-up and shutdown.", choices=("auto", "on", "off"))
    threads: int = option(0, "Threads for a WSGI application; 0: four more than CPUs, up to 32.", kind=int)

    # Files.
    mount: tuple = option(
        (), "Serve the files of a folder below a path, such as /static=./public.", metavar="PATH=FOLDER", several=True
    )
    listing: bool = option(False, "Show what is in folders that have no index.html.", flag=True)
    hidden: bool = option(False, "Serve files and folders whose names begin with a dot.", flag=True)
    cache_max_age: int = option(
        -1, "Seconds for which clients may keep files; 0: they have to ask each time.", kind=int
    )

    # Where to listen.
    host: str = option("127.0.0.1", "Address to listen on.")
    port: int = option(8000, "Port to listen on; 0: a free one.", kind=int)
    uds: str = option("", "Listen on a Unix socket instead.", metavar="PATH")
    fd: int = option(-1, "Listen on this descriptor, a listening socket, instead.", kind=int)
    backlog: int = option(2048, "Connections that may wait to be accepted.", kind=int)

    # Processes.
    workers: int = option(1, "Processes that serve, each with a loop of its own.", kind=int)
    worker_timeout: float = option(
        0.0, "Seconds after which a worker whose loop stands still is killed and replaced.", kind=float
    )
    reload: bool = option(False, "Restart when files change, for development.", flag=True)
    reload_dir: tuple = option(
        (), "Watch this folder; may be repeated.  [default: --app-dir, or .]", metavar="FOLDER", several=True
    )
    reload_include: tuple = option(
        (), "Watch files of such names; may be repeated.  [default: *.py]", metavar="GLOB", several=True
    )
    env_file: str = option("", "Set the variables of this file, KEY=VALUE lines.", metavar="PATH")

    # TLS.
    ssl_certfile: str = option("", "Speak TLS, with this certificate (PEM, with its chain).", metavar="PATH")
    ssl_keyfile: str = option("", "The certificate's key, when it is in another file.", metavar="PATH")
    ssl_keyfile_password: str = option("", "What the key is encrypted with.", metavar="TEXT")
    ssl_ca_certs: str = option("", "Certificates that those of clients are checked with.", metavar="PATH")
    ssl_cert_reqs: str = option("none", "Certificates of clients.", choices=("none", "optional", "required"))
    ssl_ciphers: str = option("", "Ciphers up to TLS 1.2, as OpenSSL names them.", metavar="LIST")

    # Proxies.
    forwarded_allow_ips: str = option(
        "127.0.0.1,::1,unix",
        "Proxies whose X-Forwarded-For and -Proto count: addresses, networks, unix, or *.",
        metavar="LIST",
    )

    # What is told.
    access_log: bool = option(True, "Print a line for each request.", flag=True)
    log_format: str = option("plain", "How lines are printed.", choices=("plain", "json"))
    log_level: str = option("info", "Print what is at least so serious.", choices=("info", "warning", "error"))
    metrics: str = option("", "Show the server's figures for Prometheus at this path.", metavar="PATH")

    # Limits.
    limit_max_requests: int = option(0, "Requests after which a worker is replaced.", kind=int)
    limit_max_requests_jitter: int = option(0, "Up to so many more, so that not all end at once.", kind=int)
    limit_concurrency: int = option(0, "Requests worked on at once; further ones are answered with 503.", kind=int)
    limit_head: int = option(65536, "Bytes in the head of a request.", kind=int)
    limit_body: int = option(0, "Bytes in the body of a request.", kind=int)

    # Time-outs.
    timeout_head: float = option(30.0, "For the head of a request.", kind=float)
    timeout_body: float = option(
        60.0, "For a client to let a body wait; 500 bytes of it give a second back.", kind=float
    )
    timeout_keep_alive: float = option(5.0, "For the next request on a connection.", kind=float)
    timeout_write: float = option(60.0, "For a client to take something of a response.", kind=float)
    timeout_graceful_shutdown: float = option(30.0, "For requests to end when the server stops.", kind=float)

    # WebSockets.
    ws_max_size: int = option(16777216, "Bytes in a message of a WebSocket.", kind=int)
    ws_ping_interval: float = option(20.0, "Between pings of a WebSocket.", kind=float)
    ws_ping_timeout: float = option(20.0, "For the answer to one.", kind=float)
    ws_deflate: bool = option(True, "Compress the messages of WebSockets whose clients can.", flag=True)

    # Responses.
    server_header: bool = option(True, "Name the server in responses.", flag=True)
    date_header: bool = option(True, "Tell the date in responses.", flag=True)

    # The loop.
    fallback: str = option("", "Without io_uring, serve on this loop.", choices=("", "asyncio"))

    def __post_init__(self):
        for field in dataclasses.fields(self):
            self.check(field)

    def check(self, field):
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
        if field.name == "mount":
            self.mount = mounts_checked(value)
        if field.name == "workers" and not 1 <= value <= WORKERS_MAX:
            raise ConfigurationError(f"workers: {value} is none: 1 to {WORKERS_MAX}")
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
    def from_environment(cls, given, environment=os.environ):
        """What is given, and for the rest what IORING_* variables say, those of ``env_file`` included."""
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
            # Nothing at all is a list, too: nobody is trusted.
            if name not in values and (environment.get(variable) or (name == LISTED and variable in environment)):
                field = next(field for field in dataclasses.fields(cls) if field.name == name)
                values[name] = parsed(variable, environment[variable], field)
        if values.get("reload") and "workers" not in given:
            values["workers"] = 1  # WEB_CONCURRENCY is about the machine, not about this run
        return cls(**values)

    @classmethod
    def of_program(cls, target, options):
        """What a program gives to ``serve``; of the environment only what it names (``env_file``)."""
        known = {field.name for field in dataclasses.fields(cls) if field.metadata}
        for name in options:
            if name not in known:
                raise ConfigurationError(f"{name}: there is no such option")
        if options.get("env_file"):
            from ioring.http.env_file import load_environment

            load_environment(options["env_file"], os.environ)
        return cls(target=target, **options)


LISTED = "forwarded_allow_ips"
"""The option that is a list in a string."""

USUAL = {"port": "PORT", "workers": "WEB_CONCURRENCY", LISTED: "FORWARDED_ALLOW_IPS"}
"""Variables that platforms set, for any server."""


def typed(field, value):
    """A value from Python as the type that its option has; what says the same in another way is taken as well."""
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
                value = [f"{path}={os.fspath(folder)}" for path, folder in value.items()]
            value = [value] if isinstance(value, (str, os.PathLike)) else value
            return tuple(os.fsdecode(each) for each in value)
        if value is None and field.default == "":
            return ""
        if name == LISTED and isinstance(value, (list, tuple, set, frozenset)):
            return ",".join(map(str, value))
        return os.fsdecode(value)
    except (TypeError, ValueError, OverflowError):
        wanted = "a list" if metadata["several"] else "text"
        if metadata["flag"] or kind:
            wanted = "True or False" if metadata["flag"] else "a number"
        raise ConfigurationError(f"{name}: {value!r}: {wanted} is wanted") from None


def mounts_checked(mounts):
    """Mounts as a tuple of ``"/path=folder"``."""
    seen = set()
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


def parsed(name, text, field):
    """The value that a variable gives."""
    if field.metadata["flag"]:
        if text.lower() in TRUE:
            return True
        if text.lower() in FALSE:
            return False
        raise ConfigurationError(f"{name}={text}: {TRUE[1]} or {FALSE[1]} is wanted")
    if field.metadata["several"]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    kind = field.metadata["kind"]
    if kind is None:
        return text
    try:
        return kind(text)
    except ValueError:
        raise ConfigurationError(f"{name}={text}: a number is wanted") from None


def seconds(value):
    """A time-out as the core wants it."""
    return value or math.inf
