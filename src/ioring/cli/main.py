"""The command ``ioring`` and its subcommands."""

import click

import ioring
from ioring.cli.doctor import doctor
from ioring.cli.echo import echo
from ioring.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ioring.__version__, prog_name="ioring")
def commands() -> None:
    """io_uring for Python."""


commands.add_command(doctor)
commands.add_command(echo)
commands.add_command(serve)
