"""`mair help`: the same as `--help`, for those who type it first."""

from __future__ import annotations

from typing import Annotated

import typer

from mair_cli.cli import completion
from mair_cli.cli.app import COMMANDS, build_app
from mair_cli.cli.usage import unknown_command
from mair_cli.errors import UsageError


def show_help(
    command: Annotated[
        str | None,
        typer.Argument(
            metavar="[COMMAND]",
            help="Name of a command.",
            autocompletion=completion.one_of(*(each.name for each in COMMANDS)),
        ),
    ] = None,
) -> int:
    """Show what `mair` or one of its commands does, and its options: the same as `mair COMMAND --help`."""
    names = [each.name for each in COMMANDS]
    if command is not None and command not in names:
        raise UsageError(unknown_command(command, names))
    words = [] if command is None else [command]
    build_app(words)([*words, "--help"], prog_name="mair")
    return 0
