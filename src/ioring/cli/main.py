"""The command ``ioring`` and its subcommands."""

import importlib

import click

import ioring


class Commands(click.Group):
    """Imports the module of a subcommand when that is asked for: ``doctor`` needs no HTTP server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["doctor", "echo", "serve"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(f"ioring.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ioring.__version__, prog_name="ioring")
def commands() -> None:
    """io_uring for Python."""
