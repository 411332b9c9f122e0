"""The options of ``serve`` and ``Configuration``, as type checkers know them."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Literal, TypedDict


class Options(TypedDict, total=False):
    """What each of them means is said by ``Configuration``."""

    config: str | PathLike[str]
    interface: Literal["auto", "asgi", "wsgi"]
    factory: bool
    app_dir: str | PathLike[str]
    root_path: str
    lifespan: Literal["auto", "on", "off"]
    threads: int
    pathsend: bool
    mount: Sequence[str] | Mapping[str, str | PathLike[str]]
    listing: bool
    hidden: bool
    spa: bool
    follow_links: bool
    cache_max_age: int
    bind: Sequence[str]
    host: str
    port: int
    uds: str | PathLike[str]
    fd: int
    uds_mode: str
    uds_owner: str
    backlog: int
    workers: int
    worker_timeout: float
    worker_lifetime: float
    worker_lifetime_jitter: float
    preload: bool
    reload: bool
    reload_dir: Sequence[str]
    reload_include: Sequence[str]
    user: str
    group: str
    umask: str
    chdir: str | PathLike[str]
    pidfile: str | PathLike[str]
    env_file: str | PathLike[str]
    ssl_certfile: str | PathLike[str] | Sequence[str | PathLike[str]]
    ssl_keyfile: str | PathLike[str] | Sequence[str | PathLike[str]]
    ssl_keyfile_password: str
    ssl_min_version: Literal["", "1.2", "1.3"]
    ssl_ca_certs: str | PathLike[str]
    ssl_cert_reqs: Literal["none", "optional", "required"]
    ssl_ciphers: str
    forwarded_allow_ips: str | Sequence[str]
    forwarded_headers: str | Sequence[str]
    proxy_protocol: bool
    access_log: bool
    access_log_format: str
    log_format: Literal["plain", "json"]
    log_level: Literal["debug", "info", "warning", "error"]
    log_file: str | PathLike[str]
    log_config: str | PathLike[str]
    metrics: str
    healthz: str
    readyz: str
    drain: float
    limit_max_requests: int
    limit_max_requests_jitter: int
    limit_max_memory: int | str
    limit_concurrency: int
    limit_head: int
    limit_headers: int
    limit_connections: int
    limit_body: int
    timeout_head: float
    timeout_handshake: float
    timeout_body: float
    timeout_keep_alive: float
    timeout_write: float
    timeout_graceful_shutdown: float
    ws_max_size: int
    ws_ping_interval: float
    ws_ping_timeout: float
    ws_deflate: bool
    ws_window_bits: int
    ws_context_takeover: bool
    ws_max_queue: int
    header: Sequence[str] | Mapping[str, str]
    server_header: bool
    date_header: bool
    fallback: Literal["", "asyncio"]
