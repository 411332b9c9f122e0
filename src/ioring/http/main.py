"""Where serving begins: ``serve()`` for Python programs, and what the command runs."""

import asyncio
import threading
from typing import Unpack

import ioring
from ioring.http import reload as watcher
from ioring.http.app_loader import load
from ioring.http.configuration import Configuration
from ioring.http.forwarded import Proxies
from ioring.http.listeners import close_listeners, listeners_of, url_of
from ioring.http.log import log_of
from ioring.http.options import Options
from ioring.http.scoreboard import Statistics
from ioring.http.supervisor import Supervisor
from ioring.http.tls_context import context_of
from ioring.http.worker import Worker


def serve(target: object = None, **options: Unpack[Options]) -> None:
    """Serves an application until Ctrl-C or SIGTERM: what ``ioring serve`` does. For the main thread.

    Parameters:
        target: an ASGI or a WSGI application, its name as ``"module:name"``, or a folder's path; ``None``: a page
            about the server.
        options: as the command has them, ``--limit-body`` being ``limit_body``: see ``Configuration``.

    Raises:
        ConfigurationError: an option, the application or the address is none.
        RingUnavailable: no ring can be had here, and there is no ``fallback``.
        RuntimeError: this is not the main thread, or a loop is running in it.
    """
    run_configuration(Configuration.of_program(target, options))


def run_configuration(configuration: Configuration) -> None:
    """Serves what a configuration says, in this process or in several, until it is told to stop.

    Raises:
        ConfigurationError: it is not possible.
        RingUnavailable: no ring can be had here, and there is no fallback.
        RuntimeError: this is not the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("serve() is for the main thread: it handles signals")
    if has_loop():
        raise RuntimeError("serve() cannot be called from a running event loop")
    proxies = Proxies.of(configuration)
    log = log_of(configuration, proxies)
    tls = context_of(configuration)
    supervised = configuration.workers > 1 or configuration.reload or configuration.worker_timeout > 0
    if configuration.reload:
        watcher.check(configuration)
    application = None if supervised and isinstance(configuration.target, str) else load(configuration)
    listeners = listeners_of(configuration)
    statistics = Statistics(configuration.workers)
    name = application.name if application is not None else configuration.target

    def banner() -> None:
        count = f" with {configuration.workers} workers" if configuration.workers > 1 else ""
        for listener in listeners[0]:
            url = url_of(listener, "http" if tls is None else "https")
            log.info(f"serves {name} on {url}{count} (ioring {ioring.__version__})")

    try:
        if supervised or application is None:
            Supervisor(configuration, application, listeners, log, statistics, banner).run()
        else:
            Worker(configuration, application, listeners[0], log, statistics, statistics.take(0), banner).run()
    finally:
        close_listeners(listeners, configuration)
        statistics.close()


def has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
