"""``ioring serve``: the HTTP server."""

import dataclasses
import signal
import sys
from collections.abc import Callable
from typing import Any

import click

from ioring.http.configuration import Configuration
from ioring.http.errors import ConfigurationError
from ioring.http.main import check_configuration, run_configuration
from ioring.http.option_listing import listing
from ioring.ring.errors import RingUnavailable

Command = Callable[..., None]


def options(command: Command) -> Command:
    """The command with an option for each of the configuration's fields."""
    for field in reversed(dataclasses.fields(Configuration)):
        if field.metadata:
            command = option_of(field)(command)
    return command


def option_of(field: dataclasses.Field[Any]) -> Callable[[Command], Command]:
    metadata = field.metadata
    name = field.name.replace("_", "-")
    shown = field.default not in ("", (), -1, False)
    if metadata["flag"]:
        names = f"--{name}/--no-{name}" if field.default else f"--{name}"
        return click.option(names, field.name, default=None, is_flag=True, help=metadata["help"])
    kind = metadata["kind"] if metadata["kind"] in (int, float) else None  # the configuration converts others
    if metadata["several"]:
        return click.option(
            f"--{name}", field.name, default=None, multiple=True, metavar=metadata["metavar"], help=metadata["help"]
        )
    if metadata["choices"]:
        kind = click.Choice([choice for choice in metadata["choices"] if choice])
    help = f"{metadata['help']}  [default: {field.default}]" if shown else metadata["help"]
    return click.option(f"--{name}", field.name, default=None, type=kind, metavar=metadata["metavar"], help=help)


@click.command()
@click.argument("app", required=False)
@options
@click.option("--check", is_flag=True, help="Only check whether it could serve: everything is read, nothing listens.")
@click.option("--print-config", is_flag=True, help="Only print the options in force, and where each is from.")
def serve(app: str | None, check: bool, print_config: bool, **given: Any) -> None:
    """Serve an application or a directory over HTTP.

    APP is an ASGI or WSGI application, named as module:name, or a directory. Without APP a page about the server is
    served. Each option can also be set by an environment variable, --limit-body by IORING_LIMIT_BODY, or in the file
    of --config.
    """
    given = {name: value for name, value in given.items() if value not in (None, ())}
    try:
        configuration = Configuration.from_environment({"target": app, **given} if app else given)
        if print_config:
            click.echo(listing(configuration), nl=False)
        if check:
            check_configuration(configuration)
            click.echo("ioring serve: the configuration is in order")
        if not print_config and not check:
            run_configuration(configuration)
    except (ConfigurationError, RingUnavailable) as error:
        sys.exit(f"ioring serve: {getattr(error, 'strerror', None) or error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # while the application was imported: as a shell says it
