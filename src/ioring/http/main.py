"""Where serving begins: ``serve()`` for Python programs, and what the command runs."""

import asyncio
import gc
import signal
import threading
from types import FrameType
from typing import Unpack

import ioring
from ioring.http import reload as watcher
from ioring.http.app_loader import load
from ioring.http.configuration import WORKERS_MAX, Configuration
from ioring.http.forwarded import Proxies
from ioring.http.listeners import close_listeners, listeners_of, meaning_of, url_of
from ioring.http.log import Log
from ioring.http.logs import check_log, log_of
from ioring.http.option_listing import said
from ioring.http.options import Options
from ioring.http.pid_file import PidFile
from ioring.http.process import Identity, identity_of, owner_of, settle
from ioring.http.scoreboard import Statistics
from ioring.http.static import files_of, mounts_of
from ioring.http.supervisor import MORE_MAX, Supervisor
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
    settle(configuration)
    pid_file = PidFile(configuration.pidfile)
    identity = identity_of(configuration)
    log = log_of(configuration, Proxies.of(configuration))
    # Before the application is imported, which may want it for itself. Without files of logs it means nothing, and
    # would end the process otherwise.
    by_name = isinstance(configuration.target, str | None)
    usual = by_name and signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    if usual:
        signal.signal(signal.SIGUSR1, nothing)
    try:
        if identity is not None and identity.user is not None:
            log.give_to(identity.user, identity.group)
        for line in said(configuration):
            log.debug(line)
        run(configuration, log, pid_file, identity)
    finally:
        if usual:
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        log.close()


def nothing(number: int, frame: FrameType | None) -> None:
    """A signal that means nothing."""


def run(configuration: Configuration, log: Log, pid_file: PidFile, identity: Identity | None) -> None:
    """Listens and serves."""
    tls = context_of(configuration)
    supervised = configuration.workers > 1 or configuration.reload or configuration.preload
    supervised = supervised or configuration.worker_timeout > 0 or configuration.worker_lifetime > 0
    if configuration.reload:
        watcher.check(configuration)
    # In each worker, or as soon as the rights of root are given up.
    later = supervised or identity is not None
    application = None if later and isinstance(configuration.target, str) else load(configuration)
    listeners = listeners_of(configuration)
    statistics = Statistics(configuration.workers, min(MORE_MAX, WORKERS_MAX - configuration.workers) * supervised)
    name = application.name if application is not None else configuration.target

    def banner() -> None:
        count = f" with {configuration.workers} workers" if configuration.workers > 1 else ""
        for listener in listeners[0]:
            url = url_of(listener, "http" if tls is None else "https")
            log.info(f"serves {name} on {url}{meaning_of(listener)}{count} (ioring {ioring.__version__})")

    try:
        pid_file.write()
        if supervised:
            if configuration.preload:
                if identity is not None:
                    identity.take()
                application = application or load(configuration)
                gc.collect()
                gc.freeze()  # a collection would write into memory that all workers share
            supervisor = Supervisor(configuration, application, listeners, log, statistics, banner, tls, identity)
            supervisor.run()
        else:
            if identity is not None:
                identity.take()
            application = application or load(configuration)
            row = statistics.take(0)
            Worker(configuration, application, listeners[0], log, statistics, row, banner, tls=tls).run()
    finally:
        pid_file.remove()
        close_listeners(listeners)
        statistics.close()


def check_configuration(configuration: Configuration) -> None:
    """Does all that comes before serving but for listening: files are read, and the application is imported.

    Raises:
        ConfigurationError: it could not be served.
    """
    settle(configuration)
    identity = identity_of(configuration)
    if configuration.uds_owner:
        owner_of(configuration.uds_owner)
    Proxies.of(configuration)
    check_log(configuration)
    context_of(configuration)
    if configuration.reload:
        watcher.check(configuration)
    if identity is not None:
        identity.take()
    application = load(configuration)
    files, _ = mounts_of(configuration)
    if application.kind == "folder":
        files.append(files_of(application.subject, configuration))
    for each in files:
        each.close()


def has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
