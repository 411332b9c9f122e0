"""Paths at which the server says itself how it is (``--healthz``, ``--readyz``): the application is not asked."""

from collections.abc import Callable

from ioring.http.configuration import Configuration

Probe = Callable[[], tuple[int, bytes]]


def probes_of(configuration: Configuration, leaving: Callable[[], bool]) -> dict[bytes, Probe] | None:
    """For each path the function that gives the status and the content; None without such paths.

    Parameters:
        configuration: it has the paths.
        leaving: whether the server was told to stop. Before the application has started nothing is accepted.
    """

    def alive() -> tuple[int, bytes]:
        return 200, b"alive\n"

    def ready() -> tuple[int, bytes]:
        return (503, b"stopping\n") if leaving() else (200, b"ready\n")

    found = {
        path.encode(): probe for path, probe in ((configuration.healthz, alive), (configuration.readyz, ready)) if path
    }
    return found or None
